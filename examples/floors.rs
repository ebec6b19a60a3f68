//! What is the least that a request can cost here? Three proxies that do ever less, to be measured beside wxgate.
//!
//! `hyper` serves and forwards by hyper, looks a token up in moka and adds one header; nothing else. `bytes` does the same by httparse
//! alone: no hyper, no header map, a head copied once. `relay` passes on what it reads without looking at it. All have wxgate's shape, a
//! single-threaded runtime whose tasks take turns before they write; the relay has no pool, but a connection per client. None is fit for use: they
//! end at bad input and keep no deadline.
//!
//! ```text
//! cargo run --release --example floors -- hyper 8201 127.0.0.1:9000
//! ```
//!
//! They take `Authorization: Bearer tok` and 40 digits, up to 9999. `docs/PERFORMANCE.md` has the figures.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a measuring tool that can't go on has nothing better to do")]

mod small_proxy;

use std::{
    cell::RefCell,
    env,
    future::poll_fn,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    str,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
};

use small_proxy::{Senders, Sessions, dial, openid};

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let [floor, port, upstream] = args.as_slice() else {
        panic!("hyper|bytes|relay PORT UPSTREAM");
    };
    let (port, upstream): (u16, SocketAddr) = (port.parse().unwrap(), upstream.parse().unwrap());
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(16)
        .build_local(LocalOptions::default())
        .unwrap();
    runtime.block_on(serve(floor, small_proxy::listener(port), upstream, small_proxy::sessions()));
}

async fn serve(floor: &str, listener: std::net::TcpListener, upstream: SocketAddr, sessions: Sessions) {
    let listener = TcpListener::from_std(listener).unwrap();
    let (by_hyper, by_bytes) = (Senders::default(), Streams::default());
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        let sessions = sessions.clone();
        _ = match floor {
            "hyper" => spawn_local(small_proxy::serve(client, Rc::clone(&by_hyper), upstream, sessions, Turns::from)),
            "bytes" => spawn_local(through_bytes(client, Rc::clone(&by_bytes), upstream, sessions)),
            "relay" => spawn_local(through_relay(client, upstream)),
            _ => panic!("{floor}?"),
        };
    }
}

/// A socket whose task lets the others go first before it writes.
struct Turns {
    stream: TcpStream,
    has_yielded: bool,
}

impl Turns {
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
            None => Turns::from(dial(upstream).await),
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
    let (mut client, mut server) = (Turns::from(client), Turns::from(dial(upstream).await));
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
