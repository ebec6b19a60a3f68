//! Other ways to a backend: through TLS, and through a socket of the file system. What comes is handed on to it, and back.

use std::{net::SocketAddr, path::Path, thread};

use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, TcpStream, UnixListener},
    runtime::{self, LocalOptions},
    task::spawn_local,
};
use tokio_rustls::TlsAcceptor;

/// An address with this door, behind which is the backend.
pub fn through_tls(backend: SocketAddr, door: TlsAcceptor) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let addr = listener.local_addr().expect("an address");
    forever(async move {
        let listener = TcpListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            let door = door.clone();
            spawn_local(async move {
                // Who does not come in has not asked for anything.
                if let Ok(stream) = door.accept(stream).await {
                    hand_on(stream, backend).await;
                }
            });
        }
    });
    addr
}

/// A socket at this path, behind which is the backend.
pub fn through_a_socket(backend: SocketAddr, path: &Path) {
    let listener = std::os::unix::net::UnixListener::bind(path).expect("a socket");
    listener.set_nonblocking(true).expect("a socket");
    forever(async move {
        let listener = UnixListener::from_std(listener).expect("a listener");
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(hand_on(stream, backend));
        }
    });
}

async fn hand_on(mut from: impl AsyncRead + AsyncWrite + Unpin, backend: SocketAddr) {
    let Ok(mut to) = TcpStream::connect(backend).await else { return };
    // How either side ends is for the story to say.
    let _ = copy_bidirectional(&mut from, &mut to).await;
}

/// On a thread that ends with the test's process.
fn forever(work: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.expect("a runtime").block_on(work);
    });
}
