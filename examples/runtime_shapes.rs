//! Which shape of runtime makes the cheaper proxy, and which pool? The same small reverse proxy three times, to be measured
//! side by side.
//!
//! `local` is the shape wxgate has: a single-threaded runtime per worker with its own listening socket and its own pool
//! of connections. `pooled` has hyper-util's pooled client instead of that pool. `shared` is the usual one: a work-stealing
//! runtime and hyper-util's pooled client. All look a token up in moka and add one header; nothing else.
//!
//! ```text
//! cargo run --release --example runtime_shapes -- local  2 8201 127.0.0.1:9000
//! cargo run --release --example runtime_shapes -- pooled 2 8202 127.0.0.1:9000
//! cargo run --release --example runtime_shapes -- shared 2 8203 127.0.0.1:9000
//! ```
//!
//! They take `Authorization: Bearer tok` and 40 digits, up to 9999. `docs/PERFORMANCE.md` has the figures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measuring tool that can't go on has nothing better to do")]
#![expect(clippy::disallowed_methods, reason = "the shared shape is the one that spawns with Send")]

mod small_proxy;

use std::{env, net::SocketAddr, rc::Rc, thread};

use http::Request;
use http_body_util::Either;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

use small_proxy::{Senders, Sessions, admit, listener, refusal};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [shape, workers, port, upstream] = args.as_slice() else {
        panic!("local|pooled|shared WORKERS PORT UPSTREAM");
    };
    let (workers, port): (usize, u16) = (workers.parse().unwrap(), port.parse().unwrap());
    let upstream: SocketAddr = upstream.parse().unwrap();
    let sessions = small_proxy::sessions();
    match shape.as_str() {
        "local" => local(workers, port, upstream, &sessions, Pool::Own),
        "pooled" => local(workers, port, upstream, &sessions, Pool::HyperUtil),
        _ => shared(workers, port, upstream, &sessions),
    }
}

/// Who keeps a worker's connections to the upstream.
#[derive(Clone, Copy)]
enum Pool {
    Own,
    HyperUtil,
}

type Pooled = Client<HttpConnector, Incoming>;

fn pooled() -> Pooled {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

fn shared(workers: usize, port: u16, upstream: SocketAddr, sessions: &Sessions) {
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener(port)).unwrap();
        let client = pooled();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(serve(stream, client.clone(), upstream, sessions.clone()));
        }
    });
}

/// Serves one client by hyper-util's connections.
async fn serve(stream: TcpStream, client: Pooled, upstream: SocketAddr, sessions: Sessions) {
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
}

fn local(workers: usize, port: u16, upstream: SocketAddr, sessions: &Sessions, pool: Pool) {
    let threads = (0..workers).map(|_| (listener(port), sessions.clone())).map(|(listener, sessions)| {
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(work(listener, upstream, sessions, pool));
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

async fn work(listener: std::net::TcpListener, upstream: SocketAddr, sessions: Sessions, pool: Pool) {
    let listener = TcpListener::from_std(listener).unwrap();
    let (own, client) = (Senders::default(), pooled());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let sessions = sessions.clone();
        match pool {
            Pool::Own => {
                spawn_local(small_proxy::serve(stream, Rc::clone(&own), upstream, sessions, |stream| stream));
            }
            Pool::HyperUtil => {
                spawn_local(serve(stream, client.clone(), upstream, sessions));
            }
        }
    }
}
