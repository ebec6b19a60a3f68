//! A client that speaks HTTP/2 as it should, with bodies of any length. One that sends what no library would: see `http2`.

use std::{future::poll_fn, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{Builder, SendRequest},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime, select,
    time::timeout,
};

use super::tls::Dialler;

/// Whom it takes the other side for.
const HOST: &str = "api.example.com";
/// What it lets the other side send before it has read anything.
const WINDOW: u32 = 1024 * 1024;
/// Where nothing could be sent for so long, nothing is taken.
const PATIENCE: Duration = Duration::from_millis(500);

/// A story on one connection to this address, over TLS where somebody dials.
pub fn talk<T>(addr: SocketAddr, dialler: Option<&Dialler>, story: impl AsyncFnOnce(SendRequest<Bytes>) -> T) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = TcpStream::connect(addr).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let Some(dialler) = dialler else { return talk_over(stream, story).await };
        let name = ServerName::try_from(HOST).expect("a name");
        talk_over(dialler.connector().connect(name, stream).await.expect("a handshake"), story).await
    })
}

async fn talk_over<T>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    story: impl AsyncFnOnce(SendRequest<Bytes>) -> T,
) -> T {
    let mut builder = Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (client, connection) = builder.handshake(stream).await.expect("HTTP/2");
    select! {
        told = story(client) => told,
        ended = connection => panic!("the connection ends: {ended:?}"),
    }
}

/// Sends data as soon as the windows let it.
pub async fn send(out: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        out.reserve_capacity(data.len());
        if out.capacity() == 0 {
            poll_fn(|cx| out.poll_capacity(cx)).await.transpose()?;
        }
        let room = out.capacity().min(data.len());
        out.send_data(data.split_to(room), false)?;
    }
    Ok(())
}

/// Sends a body for as long as the other side takes of it, and says how much that was.
pub async fn send_while_taken(out: &mut SendStream<Bytes>, at_most: usize) -> usize {
    let mut taken = 0;
    while taken < at_most {
        // A little at once, since what does not go as a whole is not counted.
        match timeout(PATIENCE, send(out, Bytes::from_static(&[b'y'; 1000]))).await {
            Ok(sent) => sent.expect("an open stream"),
            Err(_) => break,
        }
        taken += 1000;
    }
    taken
}
