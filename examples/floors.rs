//! What is the least that a request can cost here? Three proxies that do ever less, to be measured beside wxgate.
//!
//! `hyper` serves and forwards by hyper, looks a token up in moka and adds one header; nothing else. `bytes` does the same by httparse
//! alone: no hyper, no header map, each head copied once. `relay` passes on what it reads without looking at it. All have wxgate's shape,
//! a single-threaded runtime with a pool of its own, whose tasks take turns before they write. None is fit for real use: they
//! end at bad input and keep no deadline.
//!
//! ```text
//! cargo run --release --example floors -- hyper 8201 127.0.0.1:9000
//! ```
//!
//! They take `Authorization: Bearer tok` and 40 digits, up to 9999. `docs/PERFORMANCE.md` has the figures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measuring tool that can't go on has nothing better to do")]

use std::{
    cell::RefCell,
    convert::Infallible,
    env,
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    str,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, client::conn::http1::SendRequest, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use moka::sync::Cache;
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

type Sessions = Cache<String, HeaderValue>;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [floor, port, upstream] = args.as_slice() else {
        panic!("hyper|bytes|relay PORT UPSTREAM");
    };
    let (port, upstream): (u16, SocketAddr) = (port.parse().unwrap(), upstream.parse().unwrap());
    let sessions = Cache::builder().max_capacity(1_000_000).build();
    for n in 0..10_000 {
        sessions.insert(format!("tok{n:040}"), HeaderValue::from_str(&format!("openid{n:022}")).unwrap());
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(16)
        .build_local(LocalOptions::default())
        .unwrap();
    runtime.block_on(serve(floor, listener(port), upstream, sessions));
}

fn listener(port: u16) -> std::net::TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

async fn serve(floor: &str, listener: std::net::TcpListener, upstream: SocketAddr, sessions: Sessions) {
    let listener = TcpListener::from_std(listener).unwrap();
    let (by_hyper, by_bytes) = (Senders::default(), Streams::default());
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let sessions = sessions.clone();
        match floor {
            "hyper" => drop(spawn_local(through_hyper(client, Rc::clone(&by_hyper), upstream, sessions))),
            "bytes" => drop(spawn_local(through_bytes(client, Rc::clone(&by_bytes), upstream, sessions))),
            _ => drop(spawn_local(through_relay(client, upstream))),
        }
    }
}

fn openid(sessions: &Sessions, authorization: &[u8]) -> Option<HeaderValue> {
    sessions.get(str::from_utf8(authorization).ok()?.strip_prefix("Bearer ")?)
}

/// A socket whose task lets the others go first before it writes.
struct Turns {
    stream: TcpStream,
    has_yielded: bool,
}

impl Turns {
    async fn connect(upstream: SocketAddr) -> Self {
        let stream = TcpStream::connect(upstream).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::from(stream)
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads until all of a message is there, and says where it ends.
    async fn message(&mut self, read: &mut Vec<u8>, end: fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(end) = end(read) {
                return Some(end);
            }
            read.reserve(4096);
            if self.stream.read_buf(read).await.ok()? == 0 {
                return None;
            }
        }
    }
}

impl From<TcpStream> for Turns {
    fn from(stream: TcpStream) -> Self {
        Self { stream, has_yielded: false }
    }
}

impl AsyncRead for Turns {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Turns {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_yielded = false;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

// ---- hyper

type Sender = SendRequest<Incoming>;
type Senders = Rc<RefCell<Vec<Sender>>>;

async fn through_hyper(client: TcpStream, pool: Senders, upstream: SocketAddr, sessions: Sessions) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        let pool = Rc::clone(&pool);
        let known = request.headers().get("authorization").and_then(|value| openid(&sessions, value.as_bytes()));
        async move {
            let Some(openid) = known else {
                let mut response = Response::new(Either::Right(Empty::<Bytes>::new()));
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                return Ok::<_, Infallible>(response);
            };
            request.headers_mut().insert("x-wx-openid", openid);
            Ok(forward(request, pool, upstream).await.map(Either::Left))
        }
    });
    // A client that went away.
    let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(Turns::from(client)), service).await;
}

async fn forward(mut request: Request<Incoming>, pool: Senders, upstream: SocketAddr) -> Response<Kept> {
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let kept = pool.borrow_mut().pop();
    let mut sender = match is_ready(kept).await {
        Some(sender) => sender,
        None => sender(upstream).await,
    };
    let response = sender.send_request(request).await.unwrap();
    response.map(|body| Kept { body, home: Some((sender, pool)) })
}

async fn is_ready(kept: Option<Sender>) -> Option<Sender> {
    let mut sender = kept?;
    sender.ready().await.ok().map(|()| sender)
}

async fn sender(upstream: SocketAddr) -> Sender {
    let io = TokioIo::new(Turns::connect(upstream).await);
    let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    spawn_local(async move { drop(connection.await) });
    sender
}

/// An answer's body that brings its connection home.
struct Kept {
    body: Incoming,
    home: Option<(Sender, Senders)>,
}

impl Body for Kept {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if (frame.is_none() || self.body.is_end_stream())
            && let Some((sender, pool)) = self.home.take()
        {
            pool.borrow_mut().push(sender);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// ---- bytes

type Streams = Rc<RefCell<Vec<Turns>>>;

async fn through_bytes(client: TcpStream, pool: Streams, upstream: SocketAddr, sessions: Sessions) {
    let mut client = Turns::from(client);
    let (mut read, mut answer, mut out) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(end) = client.message(&mut read, end_of_request).await {
        out.clear();
        let is_known = rewrite(&read[..end], &sessions, &mut out);
        read.drain(..end);
        if !is_known {
            return;
        }
        let kept = pool.borrow_mut().pop();
        let mut server = match kept {
            Some(server) => server,
            None => Turns::connect(upstream).await,
        };
        send(&mut server, &out).await;
        let end = server.message(&mut answer, end_of_answer).await.unwrap();
        pool.borrow_mut().push(server);
        send(&mut client, &answer[..end]).await;
        answer.drain(..end);
    }
}

async fn send(to: &mut Turns, bytes: &[u8]) {
    poll_fn(|cx| to.poll_turn(cx)).await;
    to.stream.write_all(bytes).await.unwrap();
    to.has_yielded = false;
}

/// The head with the openid of its session, and the body. False where nobody knows the session.
fn rewrite(message: &[u8], sessions: &Sessions, out: &mut Vec<u8>) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(end)) = request.parse(message) else { return false };
    out.extend_from_slice(request.method.unwrap().as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.path.unwrap().as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut known = None;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("x-wx-openid") || header.name.eq_ignore_ascii_case("connection") {
            continue;
        }
        if header.name.eq_ignore_ascii_case("authorization") {
            known = openid(sessions, header.value);
        }
        line(out, header.name, header.value);
    }
    let Some(openid) = known else { return false };
    line(out, "x-wx-openid", openid.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&message[end..]);
    true
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn end_of_request(read: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(read).unwrap() else { return None };
    whole(head, request.headers, read.len())
}

fn end_of_answer(read: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(read).unwrap() else { return None };
    whole(head, response.headers, read.len())
}

fn whole(head: usize, headers: &[httparse::Header<'_>], read: usize) -> Option<usize> {
    let length = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let body: usize = length.map_or(0, |header| str::from_utf8(header.value).unwrap().parse().unwrap());
    (read >= head + body).then_some(head + body)
}

// ---- relay

async fn through_relay(client: TcpStream, upstream: SocketAddr) {
    let (mut client, mut server) = (Turns::from(client), Turns::connect(upstream).await);
    let mut read = Vec::new();
    while client.message(&mut read, anything).await.is_some() {
        send(&mut server, &read).await;
        read.clear();
        server.message(&mut read, anything).await.unwrap();
        send(&mut client, &read).await;
        read.clear();
    }
}

fn anything(read: &[u8]) -> Option<usize> {
    (!read.is_empty()).then_some(read.len())
}
