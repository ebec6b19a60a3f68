//! A small reverse proxy on hyper for measurements: it looks a token up in moka and adds one header, nothing else.

#![expect(clippy::unwrap_used, reason = "a measuring tool that can't go on has nothing better to do")]

use std::{
    cell::RefCell,
    convert::Infallible,
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
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::spawn_local,
};

pub(super) type Sessions = Cache<String, HeaderValue>;

/// The idle connections to the upstream.
pub(super) type Senders = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// Ten thousand of them: `tok` and 40 digits.
pub(super) fn sessions() -> Sessions {
    let sessions = Cache::builder().max_capacity(1_000_000).build();
    for n in 0..10_000 {
        sessions.insert(format!("tok{n:040}"), HeaderValue::from_str(&format!("openid{n:022}")).unwrap());
    }
    sessions
}

/// Several may listen at one port.
pub(super) fn listener(port: u16) -> std::net::TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// Whose session it is.
pub(super) fn openid(sessions: &Sessions, authorization: &[u8]) -> Option<HeaderValue> {
    sessions.get(str::from_utf8(authorization).ok()?.strip_prefix("Bearer ")?)
}

/// Adds the header, if the token is known.
pub(super) fn admit(request: &mut Request<Incoming>, sessions: &Sessions) -> bool {
    let authorization = request.headers().get("authorization");
    let Some(openid) = authorization.and_then(|value| openid(sessions, value.as_bytes())) else { return false };
    request.headers_mut().insert("x-wx-openid", openid);
    true
}

pub(super) fn refusal<B>() -> Response<Either<B, Empty<Bytes>>> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

/// Serves one client by connections that all clients of this thread share. `wrap` makes of each socket what hyper sees.
pub(super) async fn serve<S>(
    client: TcpStream,
    pool: Senders,
    upstream: SocketAddr,
    sessions: Sessions,
    wrap: fn(TcpStream) -> S,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (pool, admitted) = (Rc::clone(&pool), admit(&mut request, &sessions));
        async move {
            if !admitted {
                return Ok::<_, Infallible>(refusal());
            }
            Ok(forward(request, pool, upstream, wrap).await.map(Either::Left))
        }
    });
    // A client that went away.
    let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(wrap(client)), service).await;
}

async fn forward<S>(
    mut request: Request<Incoming>,
    pool: Senders,
    upstream: SocketAddr,
    wrap: fn(TcpStream) -> S,
) -> Response<Kept>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let kept = pool.borrow_mut().pop();
    let mut sender = match ready(kept).await {
        Some(sender) => sender,
        None => connect(wrap(dial(upstream).await)).await,
    };
    let response = sender.send_request(request).await.unwrap();
    response.map(|body| Kept { body, home: Some((sender, pool)) })
}

async fn ready(kept: Option<SendRequest<Incoming>>) -> Option<SendRequest<Incoming>> {
    let mut sender = kept?;
    sender.ready().await.ok().map(|()| sender)
}

/// A connection to the upstream.
pub(super) async fn dial(upstream: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(upstream).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn connect<S>(stream: S) -> SendRequest<Incoming>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    spawn_local(async move { drop(connection.await) });
    sender
}

/// An answer's body that brings its connection home.
struct Kept {
    body: Incoming,
    home: Option<(SendRequest<Incoming>, Senders)>,
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
