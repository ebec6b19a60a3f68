//! Which shape of runtime makes the cheaper proxy? The same small reverse proxy twice, to be measured side by side.
//!
//! `local` is the shape wxgate has: a single-threaded runtime per worker with its own listening socket and its own pool
//! of connections. `shared` is the usual one: a work-stealing runtime and hyper-util's pooled client. Both look a token
//! up in moka and add one header; nothing else.
//!
//! ```text
//! cargo run --release --example runtime_shapes -- local  2 8201 127.0.0.1:9000
//! cargo run --release --example runtime_shapes -- shared 2 8202 127.0.0.1:9000
//! ```
//!
//! They take `Authorization: Bearer tok` and 40 digits, up to 9999. `docs/PERFORMANCE.md` has the figures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measuring tool that can't go on has nothing better to do")]
#![expect(clippy::disallowed_methods, reason = "the shared shape is the one that spawns with Send")]

use std::{
    cell::RefCell,
    convert::Infallible,
    env,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    thread,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use hyper::{body::Incoming, client::conn::http1::SendRequest, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use moka::sync::Cache;
use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

type Sessions = Cache<String, HeaderValue>;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [shape, workers, port, upstream] = args.as_slice() else {
        panic!("local|shared WORKERS PORT UPSTREAM");
    };
    let (workers, port): (usize, u16) = (workers.parse().unwrap(), port.parse().unwrap());
    let upstream: SocketAddr = upstream.parse().unwrap();
    let sessions = Cache::builder().max_capacity(1_000_000).build();
    for n in 0..10_000 {
        sessions.insert(format!("tok{n:040}"), HeaderValue::from_str(&format!("openid{n:022}")).unwrap());
    }
    if shape == "local" {
        local(workers, port, upstream, &sessions);
    } else {
        shared(workers, port, upstream, &sessions);
    }
}

fn listener(port: u16) -> std::net::TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.listen(4096).unwrap();
    socket.into()
}

/// Adds the header, if the token is known.
fn admit(request: &mut Request<Incoming>, sessions: &Sessions) -> bool {
    let token = request.headers().get("authorization").and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "));
    let Some(openid) = token.and_then(|token| sessions.get(token)) else { return false };
    request.headers_mut().insert("x-wx-openid", openid);
    true
}

fn refusal<B>() -> Response<Either<B, Empty<Bytes>>> {
    let mut response = Response::new(Either::Right(Empty::new()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

fn shared(workers: usize, port: u16, upstream: SocketAddr, sessions: &Sessions) {
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener(port)).unwrap();
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (client, sessions) = (client.clone(), sessions.clone());
            tokio::spawn(async move {
                let service = service_fn(move |mut request: Request<Incoming>| {
                    let (client, admitted) = (client.clone(), admit(&mut request, &sessions));
                    async move {
                        if !admitted {
                            return Ok::<_, hyper_util::client::legacy::Error>(refusal());
                        }
                        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
                        *request.uri_mut() = format!("http://{upstream}{path}").parse().unwrap();
                        Ok(client.request(request).await?.map(Either::Left))
                    }
                });
                // A client that went away.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

type Pool = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

fn local(workers: usize, port: u16, upstream: SocketAddr, sessions: &Sessions) {
    let threads = (0..workers).map(|_| (listener(port), sessions.clone())).map(|(listener, sessions)| {
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(work(listener, upstream, sessions));
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

async fn work(listener: std::net::TcpListener, upstream: SocketAddr, sessions: Sessions) {
    let listener = TcpListener::from_std(listener).unwrap();
    let pool = Pool::default();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (pool, sessions) = (Rc::clone(&pool), sessions.clone());
        spawn_local(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                let (pool, admitted) = (Rc::clone(&pool), admit(&mut request, &sessions));
                async move {
                    if !admitted {
                        return Ok::<_, Infallible>(refusal());
                    }
                    Ok(forward(request, pool, upstream).await.map(Either::Left))
                }
            });
            // A client that went away.
            let _ = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(mut request: Request<Incoming>, pool: Pool, upstream: SocketAddr) -> Response<Kept> {
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    let kept = pool.borrow_mut().pop();
    let mut sender = match ready(kept).await {
        Some(sender) => sender,
        None => connect(upstream).await,
    };
    let response = sender.send_request(request).await.unwrap();
    response.map(|body| Kept { body, home: Some((sender, pool)) })
}

async fn ready(kept: Option<SendRequest<Incoming>>) -> Option<SendRequest<Incoming>> {
    let mut sender = kept?;
    sender.ready().await.ok().map(|()| sender)
}

async fn connect(upstream: SocketAddr) -> SendRequest<Incoming> {
    let stream = TcpStream::connect(upstream).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    spawn_local(async move { drop(connection.await) });
    sender
}

/// An answer's body that brings its connection home.
struct Kept {
    body: Incoming,
    home: Option<(SendRequest<Incoming>, Pool)>,
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
