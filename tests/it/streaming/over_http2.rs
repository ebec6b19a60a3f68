//! The same over HTTP/2, with TLS or without, to backends of either version.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest, server::SendResponse};
use http::{Request, Response};
use tokio::{
    join,
    runtime::{self, LocalOptions},
    task::spawn_local,
};

use super::{MIB, config, echo, impatient, tells_events};
use crate::support::{
    TestGateway,
    binary::Binary,
    http2::{GET, Http2},
    http2_client::{send, send_while_taken, talk},
    tls::Authority,
    upstream::Then,
};

const NAME: &str = "api.example.com";

/// A backend that answers a request with its own body, each piece when it comes.
fn echo_over_http2() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                spawn_local(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        spawn_local(give_back(request, respond));
                    }
                });
            }
        });
    });
    addr
}

async fn give_back(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    let mut out = respond.send_response(Response::new(()), false)?;
    while let Some(data) = body.data().await {
        let data = data?;
        let size = data.len();
        send(&mut out, data).await?;
        body.flow_control().release_capacity(size)?;
    }
    out.send_data(Bytes::new(), true)
}

/// Each tells where it stands, as far as a byte can.
fn bytes() -> Bytes {
    (0..MIB + 251).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// Sends so much, and reads what comes back meanwhile.
async fn there_and_back(client: SendRequest<Bytes>, size: usize) {
    let bytes = bytes();
    let mut client = client.ready().await.unwrap();
    let request = Request::post(format!("https://{NAME}/public/")).header("content-length", size).body(()).unwrap();
    let (answer, mut out) = client.send_request(request, false).unwrap();
    let sending = async {
        for at in (0..size).step_by(MIB) {
            let begin = at % 251;
            send(&mut out, bytes.slice(begin..begin + MIB)).await.unwrap();
        }
        out.send_data(Bytes::new(), true).unwrap();
    };
    let reading = async {
        let mut body = answer.await.unwrap().into_body();
        let mut at = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            let begin = at % 251;
            assert!(data == bytes[begin..begin + data.len()], "other bytes behind {at}");
            at += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(at, size);
    };
    join!(sending, reading);
}

#[test]
fn hundreds_of_megabytes_pass_both_ways_over_http2_and_none_of_them_stays_in_memory() {
    const SIZE: usize = 200 * MIB;
    let ca = Authority::new();
    let files = ca.files("api", &[NAME]);
    let tls = format!("[server.tls]\ncert = {:?}\nkey = {:?}", files.cert, files.key);
    let backends = [("http1", format!("http://{}", echo())), ("http2", format!("h2c://{}", echo_over_http2()))];
    for (name, backend) in backends {
        let gw = Binary::serve(&format!("streaming_to_{name}"), &config(&tls, &backend), &[]);
        talk(gw.addr(), Some(&ca.dialler().offering(&["h2"])), async |client| {
            there_and_back(client.clone(), MIB).await;
            let before = gw.peak_memory();
            there_and_back(client, SIZE).await;
            let grown = gw.peak_memory() - before;
            assert!(grown < 32 * MIB, "{grown} bytes more than before, to {name}");
        });
    }
}

#[test]
fn a_stream_of_events_outlives_every_limit_on_time_over_http2_too() {
    let gw = TestGateway::with(|config| {
        config.server.http2.prior_knowledge = true;
        impatient(config);
    });
    let go_on = tells_events(&gw);
    let mut client = Http2::over(gw.client());
    let stream = client.open(&GET, true);
    for _ in 0..4 {
        go_on.send(()).unwrap();
        assert_eq!(client.data(stream, 8), (b"data: x\n".to_vec(), false));
        assert!(client.client.stays_silent(Duration::from_millis(500)));
    }
}

#[test]
fn an_upstream_that_reads_nothing_holds_a_client_of_http2_back() {
    const SIZE: usize = 90_000_000;
    let gw = TestGateway::with(|config| {
        config.server.http2.prior_knowledge = true;
        config.server.max_body = 100_000_000;
        config.upstreams[0].response_timeout = Duration::from_hours(1);
    });
    let (_open, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    gw.upstream.early(move |_, _| {
        let _ = wait.lock().unwrap().recv();
        Some(Then::Close)
    });
    let taken = talk(gw.addr(), None, async |client| {
        let request = Request::post(format!("http://{NAME}/public/")).body(()).unwrap();
        let (_answer, mut out) = client.ready().await.unwrap().send_request(request, false).unwrap();
        send_while_taken(&mut out, SIZE).await
    });
    assert!(taken < 20_000_000, "{taken}, and the kernel has most of it");
}
