//! A request that is left to whoever sends for all, and what may happen before he comes.

use std::task::Waker;

use tokio::runtime::{self, LocalOptions};

use super::*;

/// Whoever sends for all, on a thread where he comes when he is told to.
struct Carrier(Pin<Box<dyn Future<Output = ()>>>);

impl Carrier {
    fn new() -> Self {
        let mut this = Self(Box::pin(later::carry()));
        this.comes();
        this
    }

    fn comes(&mut self) {
        assert!(self.0.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}

/// Begins a request, which is not sent yet.
async fn begun(method: &str) -> (Lease<Full<Bytes>>, TcpStream, Carrier) {
    let (carrier, (mut lease, server)) = (Carrier::new(), connected().await);
    lease.send(Box::new(request(method).into()));
    assert!(poll_fn(|cx| Poll::Ready(lease.poll_answer(cx).is_pending())).await);
    assert!(!lease.has_sent());
    (lease, server, carrier)
}

/// Does it on one thread.
pub(super) fn alone<T>(story: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(story)
}

#[test]
fn it_is_sent_when_he_comes_and_its_answer_is_its_own() {
    alone(async {
        let (mut lease, mut server, mut carrier) = begun("GET").await;
        carrier.comes();
        assert!(lease.has_sent());
        assert!(read_head(&mut server).await.starts_with("GET /a?b HTTP/1.1\r\n"));
        server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        assert_eq!(poll_fn(|cx| lease.poll_answer(cx)).await.unwrap().status, 204);
        assert!(lease.is_ready());
    });
}

/// Until the runtime has heard of all that has happened so far.
async fn news() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut one = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    one.write_all(b"a").await.unwrap();
    other.read_u8().await.unwrap();
}

/// What was said before the request is no answer to it, and nothing of the request has gone out: it can go elsewhere, whatever it asks for.
#[test]
fn where_the_server_speaks_or_goes_before_he_comes_nothing_is_sent_and_the_request_is_still_there() {
    for says in ["HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", ""] {
        for is_first in [true, false] {
            alone(async {
                let (mut lease, mut server, mut carrier) = begun("DELETE").await;
                server.write_all(says.as_bytes()).await.unwrap();
                server.shutdown().await.unwrap();
                news().await;
                if is_first {
                    carrier.comes();
                }
                let why = poll_fn(|cx| lease.poll_answer(cx)).await.unwrap_err();
                carrier.comes();
                let (error, _) = lease.failure(why);
                assert_eq!(error.unsent.map(|request| request.method), Some(Method::DELETE), "{says:?}");
                drop(lease);
                let mut heard = Vec::new();
                // Bytes that nobody has read make the close a reset.
                let _ = server.read_to_end(&mut heard).await;
                assert_eq!(String::from_utf8_lossy(&heard), "", "{says:?}");
            });
        }
    }
}

#[test]
fn who_is_gone_before_he_comes_is_not_sent_for() {
    alone(async {
        let (lease, mut server, mut carrier) = begun("GET").await;
        drop(lease);
        carrier.comes();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), "");
    });
}
