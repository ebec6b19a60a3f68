//! An answer that is left to whoever sends for all, where he finds no room for it; and what a connection keeps while nothing is said.

use std::{future::ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    runtime,
    sync::Semaphore,
    task::{spawn_local, yield_now},
    time::timeout,
};

use super::{
    super::{
        Arrival, Options,
        arrival::{Accepted, introduce},
        connection::run,
        current::Current,
        date::Date,
        drain::Drain,
        http2::UnderWay,
        listener::Manner,
        stream::{Socket, Stream},
    },
    *,
};
use crate::{
    config::sections,
    web::{RequestBody, RequestTimer, later, taken},
};

/// Nothing here takes as long, unless it never ends.
const AGES: Duration = Duration::from_secs(20);

/// Answers at once, and goes on reading what it was sent.
struct Early;

impl Service for Early {
    type Conn = ();
    type Tunnel = ();
    type Body = Full<Bytes>;

    fn connected(&self, _: Arrival) {}

    fn call<'a>(
        &'a self,
        request: &mut Request<RequestBody>,
        _: &'a Rc<()>,
        _: RequestTimer,
    ) -> impl Future<Output = Answer<Full<Bytes>>> + use<'a> {
        let mut body = taken(request).into_body();
        spawn_local(async move { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} });
        ready(Response::new(Full::from("early")).into())
    }

    fn refuse(&self, _: Refusal, (): &()) -> Response<Bytes> {
        Response::default()
    }
}

fn shared() -> Shared<Early> {
    let options = Options::from_section(&sections::Server::default());
    Shared {
        service: Rc::new(Current::new(Early)),
        date: Date::default(),
        room: Room::default(),
        under_way: UnderWay::at_most(options.max_requests()),
        options: Rc::new(options),
        drain: Rc::new(Drain::default()),
        handshakes: Semaphore::new(0),
        tls: None,
    }
}

/// Its own task sees to it then, whatever else it waits for: here that is the rest of the request.
#[test]
fn it_goes_out_as_soon_as_there_is_room() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build_local(runtime::LocalOptions::default());
    runtime.unwrap().block_on(async {
        let (near, mut client) = UnixStream::pair().unwrap();
        near.writable().await.unwrap();
        let mut before = 0;
        while let Ok(more) = near.try_write(&[b'x'; 4096]) {
            before += more;
        }
        spawn_local(later::carry());
        let held = BytesMut::from("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
        spawn_local(async move {
            serve(Parked { stream: Stream::Bare(Socket::Unix(near)), held }, &Rc::new(()), &shared()).await;
        });
        for _ in 0..100 {
            yield_now().await;
        }
        timeout(AGES, client.read_exact(&mut vec![0; before])).await.unwrap().unwrap();
        for rest in ["otherGET / HTTP/1.1\r\nHost: a\r\n\r\n", ""] {
            let mut answer = Vec::new();
            while !answer.ends_with(b"early") {
                answer.push(timeout(AGES, client.read_u8()).await.expect("an answer").unwrap());
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
            client.write_all(rest.as_bytes()).await.unwrap();
        }
    });
}

/// There may be thousands of them, and a future is as large as all that it ever holds.
#[test]
fn a_connection_on_which_nothing_is_said_keeps_little() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build_local(runtime::LocalOptions::default());
    runtime.unwrap().block_on(async {
        let (near, far) = UnixStream::pair().unwrap();
        let (shared, peer, manner) = (shared(), ([127, 0, 0, 1], 1).into(), Manner { tls: true, proxied: true });
        let accepted = Accepted { socket: Socket::Unix(near), peer, listener: 0, manner };
        // Of one type, and so of one size, whatever comes before the first request.
        let introduced = size_of_val(&introduce(accepted, &shared));
        assert!(introduced <= 768, "before the first request: {introduced}");
        let served = size_of_val(&run(Stream::Bare(Socket::Unix(far)), BytesMut::new(), Rc::new(()), &shared));
        assert!(served <= 512, "between two requests: {served}");
    });
}
