//! Whatever a client says over HTTP/1.1 and in whatever pieces, the requests that wxgate makes of it are those that hyper's server
//! makes of it, one after the other, up to where wxgate goes no further: it may refuse more, and it may not find a request, or the
//! end of a body, where hyper finds none.
//!
//! Input: a byte that says how large the pieces are; then what the client says. A `\n` alone is written as one with a carriage
//! return, unless the highest bit of the first byte is set.

#![no_main]

mod line_ends;

use std::{
    cell::RefCell,
    convert::Infallible,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    pin::Pin,
    rc::Rc,
    sync::{LazyLock, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime,
};
use wxgate::{
    config::sections,
    server::{Arrival, Listener, Options, Running, Service, start},
    web::{Answer, Refusal, RequestBody, RequestTimer, taken},
};

/// A request whose body came to its end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    first: String,
    lines: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// What wxgate's server has made of what was said.
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

struct Server {
    addr: SocketAddr,
    _running: Mutex<Running>,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).expect("a port");
    let options = Options { workers: 1, ..Options::from_section(&sections::Server::default()) };
    let running = start(vec![listener], &options, |_| Witness).expect("it starts");
    Server { addr: running.addrs()[0], _running: Mutex::new(running) }
});

/// Reads each request to its end and says what it was.
struct Witness;

impl Service for Witness {
    type Conn = ();
    type Tunnel = ();
    type Body = Empty<Bytes>;

    fn connected(&self, _: Arrival) {}

    fn call<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        _: &'a Rc<()>,
        _: RequestTimer,
    ) -> impl Future<Output = Answer<Self::Body>> + use<'a> {
        let request = taken(request);
        async {
            if let Some(seen) = seen(request).await {
                SEEN.lock().expect("nobody panics").push(seen);
            }
            Response::default().into()
        }
    }

    fn refuse(&self, _: Refusal, (): &()) -> Response<Bytes> {
        Response::default()
    }
}

/// The whole of a request; nothing where its body breaks off.
async fn seen<B: Body<Data = Bytes>>(request: Request<B>) -> Option<Seen> {
    let (parts, body) = request.into_parts();
    let lines = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let first = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
    let lines = lines.collect();
    let body = Pin::from(Box::new(body)).collect().await.ok()?.to_bytes().to_vec();
    Some(Seen { first, lines, body })
}

fuzz_target!(|input: &[u8]| {
    let Some((how, said)) = input.split_first() else { return };
    let bytes = line_ends::written(said, how & 0x80 == 0x80);
    let piece = match how & 0x7f {
        0 => bytes.len().max(1),
        size => usize::from(size),
    };
    let ours = ours(&bytes, piece);
    let theirs = theirs(bytes.clone());
    assert!(theirs.starts_with(&ours), "{}\nmeans {ours:?}\nand to hyper {theirs:?}", bytes.escape_ascii());
});

fn ours(bytes: &[u8], piece: usize) -> Vec<Seen> {
    SEEN.lock().expect("nobody panics").clear();
    let mut stream = TcpStream::connect(SERVER.addr).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    for piece in bytes.chunks(piece) {
        // It may have heard enough.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answers = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answers) {
        assert!(error.kind() != std::io::ErrorKind::WouldBlock, "no end: {}", bytes.escape_ascii());
    }
    std::mem::take(&mut *SEEN.lock().expect("nobody panics"))
}

fn theirs(bytes: Vec<u8>) -> Vec<Seen> {
    let all = Rc::new(RefCell::new(Vec::new()));
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (near, mut far) = tokio::io::duplex(bytes.len().max(1));
        far.write_all(&bytes).await.expect("there is room");
        far.shutdown().await.expect("it can be closed");
        let service = service_fn(|request| {
            let all = Rc::clone(&all);
            async move {
                if let Some(seen) = seen(request).await {
                    all.borrow_mut().push(seen);
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut http = http1::Builder::new();
        // How many lines there may be, also behind chunks, is no matter of what they mean. wxgate bounds the latter by their bytes.
        http.half_close(true).max_headers(8192);
        let mut answers = Vec::new();
        // Whether it ends well is told by what it has made of it.
        let served = async { drop(http.serve_connection(TokioIo::new(near), service).await) };
        let _ = tokio::join!(served, far.read_to_end(&mut answers));
    });
    Rc::into_inner(all).expect("all is over").into_inner()
}
