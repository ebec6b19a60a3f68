//! A body on its way, and what becomes of it where the answer comes first.

use super::*;

/// A socket that takes so many bytes at once, and each second time none.
struct Reluctant {
    takes: usize,
    taken: Vec<u8>,
    is_full: bool,
}

impl AsyncWrite for Reluctant {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_full = !self.is_full;
        if self.is_full {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = bytes.len().min(self.takes);
        self.taken.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_body_arrives_whole_and_once_however_little_the_socket_takes() {
    on_a_worker(async {
        for takes in [1, 2, 5, 1000] {
            let mut socket = Reluctant { takes, taken: Vec::new(), is_full: false };
            let mut upload = Transfer::default();
            let (come, body) = frames(&["hello", "", "you"]);
            let request: Outgoing<_> = Request::post("/").body(body).unwrap().into();
            upload.begin(|to| head::write(&request, to));
            upload.follow_with(request.body);
            let mut later = Some(come);
            poll_fn(|cx| {
                let written = upload.poll(&mut socket, cx);
                // The rest of it comes when all that came before has gone out.
                if written.is_pending() && socket.taken.ends_with(b"you\r\n") {
                    later.take().inspect(|come| come.send("!").unwrap());
                }
                written.map(Result::unwrap)
            })
            .await;
            let expected =
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n1\r\n!\r\n0\r\n\r\n";
            assert_eq!(String::from_utf8(socket.taken).unwrap(), expected, "by {takes}");
            assert!(upload.is_over());
        }
    });
}

#[test]
fn an_answer_that_comes_before_the_server_stops_reading_is_an_answer() {
    for goes in [false, true] {
        on_a_worker(early_answer(goes));
    }
}

/// The server answers without having read the body, and says that it says no more, or goes.
async fn early_answer(goes: bool) {
    let (mut lease, mut server) = connected().await;
    let much = Full::new(Bytes::from(vec![b'.'; 32 << 20]));
    let (head, server) = tokio::join!(head_of(&mut lease, Request::post("/").body(much).unwrap()), async {
        read_head(&mut server).await;
        server.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        server.shutdown().await.unwrap();
        // With so much unread that is a reset.
        (!goes).then_some(server)
    });
    let mut head = head.unwrap();
    lease.set_going();
    let no = poll_fn(|cx| lease.poll_frame(cx, &mut head.body)).await.unwrap().unwrap();
    assert_eq!((head.status, &no.into_data().unwrap()[..]), (StatusCode::PAYLOAD_TOO_LARGE, &b"no"[..]));
    assert!(head.body.is_end_stream() && !lease.is_ready());
    drop(server);
}

/// A connection on which a request has its answer, and no end yet: who goes on with its body, and the server's end.
async fn answered_early(status: &str) -> (Lease<Frames>, mpsc::UnboundedSender<&'static str>, TcpStream) {
    let (mut lease, mut server) = connected().await;
    let (come, body) = frames(&["hello"]);
    let (head, ()) = tokio::join!(head_of(&mut lease, Request::post("/").body(body).unwrap()), async {
        read_head(&mut server).await;
        server.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    });
    assert!(head.unwrap().body.is_end_stream());
    (lease, come, server)
}

/// The rest of the request goes on behind an early answer, and then the connection is as good as any.
#[test]
fn once_the_rest_of_a_request_is_written_its_connection_can_be_used_again() {
    on_a_worker(async {
        let (mut lease, come, mut server) = answered_early("200 OK").await;
        lease.set_going();
        assert!(!lease.is_ready() && !lease.has_sent());
        drop(come);
        while !lease.is_ready() {
            yield_now().await;
        }
        let mut sent = String::new();
        let (_, body) = frames(&[]);
        let (head, ()) = tokio::join!(head_of(&mut lease, Request::put("/next").body(body).unwrap()), async {
            sent = read_head(&mut server).await;
            sent += &read_head(&mut server).await;
            server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        });
        assert_eq!(head.unwrap().status, StatusCode::NO_CONTENT);
        let next = "PUT /next HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(sent, format!("5\r\nhello\r\n0\r\n\r\n{next}"));
    });
}

/// Nobody goes on sending to a server that has gone behind its answer.
#[test]
fn a_server_that_goes_behind_an_early_answer_is_sent_nothing_more() {
    on_a_worker(async {
        let (lease, come, mut server) = answered_early("413 Content Too Large").await;
        server.shutdown().await.unwrap();
        lease.let_go(|| true);
        // Its body is dropped then, and nobody could send another part of it.
        come.closed().await;
    });
}

/// Whatever the server makes of what it has got of the request, it was not the request.
#[test]
fn a_request_that_breaks_off_takes_its_answer_with_it() {
    on_a_worker(async {
        let (mut lease, mut server) = connected().await;
        let (come, body) = frames(&["hello"]);
        let body = body.map_frame(|frame| frame);
        let breaks = http_body_util::Limited::new(body, 6);
        let request = Request::post("/").body(Box::pin(breaks)).unwrap();
        let (head, ()) = tokio::join!(head_of(&mut lease, request), async {
            read_head(&mut server).await;
            server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
        });
        let mut head = head.unwrap();
        lease.set_going();
        assert_eq!(
            poll_fn(|cx| lease.poll_frame(cx, &mut head.body)).await.unwrap().unwrap().into_data().unwrap(),
            "he"
        );
        let (fault, ()) = tokio::join!(poll_fn(|cx| lease.poll_frame(cx, &mut head.body)), async {
            yield_now().await;
            come.send("too much").unwrap();
        });
        assert!(matches!(fault, Some(Err(Fault::Body(_)))), "{fault:?}");
        assert!(!lease.is_ready());
    });
}
