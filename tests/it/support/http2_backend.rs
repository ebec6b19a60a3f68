//! A backend that speaks HTTP/2 as it should, writes down what it was sent, and answers as it is told. Nastier ones are put
//! together frame by frame: see `http2_server`.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::{self, LocalOptions},
    task::spawn_local,
};
use tokio_rustls::TlsAcceptor;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Scheme, authority and path.
    pub uri: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Asked {
    /// A header's value; it fails when there are two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().expect("text"));
        assert!(values.next().is_none(), "two {name}");
        value
    }
}

/// What is answered.
#[derive(Clone, Default)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Vec<Bytes>,
    pub trailers: Option<HeaderMap>,
}

type Behaviour = dyn Fn(&Asked) -> Answer + Send + Sync;

struct State {
    asked: Mutex<Vec<Asked>>,
    came: Condvar,
    behaviour: Mutex<Arc<Behaviour>>,
    connections: AtomicUsize,
}

/// The backend. Its thread ends with the test's process.
pub struct Backend {
    addr: SocketAddr,
    state: Arc<State>,
}

impl Answer {
    pub fn ok(body: &str) -> Self {
        Self { body: vec![Bytes::from(body.to_owned())], ..Self::default() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.head.headers_mut().append(name, value.parse().expect("a value"));
        self
    }

    pub fn ending_with(mut self, name: &'static str, value: &str) -> Self {
        self.trailers.get_or_insert_default().append(name, value.parse().expect("a value"));
        self
    }
}

impl Backend {
    pub fn start() -> Self {
        Self::over(None)
    }

    /// The same behind TLS.
    pub fn over(tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            asked: Mutex::default(),
            came: Condvar::new(),
            behaviour: Mutex::new(Arc::new(|_: &Asked| Answer::ok("ok"))),
            connections: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            runtime.expect("a runtime").block_on(accept(listener, tls, shared));
        });
        Self { addr, state }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on every request is answered so.
    pub fn answers(&self, answer: Answer) {
        self.does(move |_| answer.clone());
    }

    /// From now on this happens to every request.
    pub fn does(&self, behaviour: impl Fn(&Asked) -> Answer + Send + Sync + 'static) {
        *self.state.behaviour.lock().unwrap() = Arc::new(behaviour);
    }

    pub fn count(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }

    pub fn last(&self) -> Asked {
        self.state.asked.lock().unwrap().last().cloned().expect("the backend was asked")
    }

    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, count: usize) {
        let asked = self.state.asked.lock().unwrap();
        let waited = self.state.came.wait_timeout_while(asked, Duration::from_secs(20), |asked| asked.len() < count);
        assert!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "waited in vain for {count} requests");
    }
}

async fn accept(listener: std::net::TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        state.connections.fetch_add(1, Ordering::SeqCst);
        let (state, tls) = (Arc::clone(&state), tls.clone());
        spawn_local(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let state = Arc::clone(&state);
        spawn_local(async move {
            // A gateway that hangs up is what some stories are about.
            let _: Result<(), h2::Error> = answer(request, respond, &state).await;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    state: &State,
) -> Result<(), h2::Error> {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await?;
    let (method, uri) = (parts.method.to_string(), parts.uri.to_string());
    let asked = Asked { method, uri, headers: parts.headers, body, trailers };
    let behaviour = state.behaviour.lock().unwrap().clone();
    let answer = behaviour(&asked);
    state.asked.lock().unwrap().push(asked);
    state.came.notify_all();
    let ends = answer.body.is_empty() && answer.trailers.is_none();
    let mut out = respond.send_response(answer.head, ends)?;
    let pieces = answer.body.len();
    for (n, piece) in answer.body.into_iter().enumerate() {
        out.send_data(piece, n + 1 == pieces && answer.trailers.is_none())?;
    }
    answer.trailers.map_or(Ok(()), |trailers| out.send_trailers(trailers))
}
