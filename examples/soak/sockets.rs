//! A WebSocket that stays open as long as it is let, one for each of some users, and the backend that echoes what comes
//! through it.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{Place, lean};

/// The key of RFC 6455, 1.3, and what a server answers to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const OPENED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;

const BETWEEN_ECHOES: Duration = Duration::from_secs(1);

/// Longer than any echo takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of all of them.
#[derive(Default)]
pub(super) struct Sockets {
    pub(super) opened: AtomicU64,
    pub(super) echoes: AtomicU64,
    ends: Mutex<BTreeMap<String, u64>>,
}

impl Sockets {
    /// One user's WebSocket, opened again whenever it has ended, as long as it goes on.
    pub(super) fn keep_open(&self, number: u32, place: Place, goes_on: impl Fn() -> bool) {
        let mut token = None;
        while goes_on() {
            let end = match self.live(number, place, &mut token, &goes_on) {
                Ok(None) => return,
                Ok(Some(code)) => format!("closed with {code}"),
                Err(error) => {
                    token = None;
                    error.to_string()
                }
            };
            *self.ends.lock().unwrap_or_else(PoisonError::into_inner).entry(end).or_default() += 1;
        }
    }

    /// How they ended, and how often.
    pub(super) fn ends(&self) -> BTreeMap<String, u64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From its opening to its end: the code that it was closed with, if it was.
    fn live(
        &self,
        number: u32,
        place: Place,
        token: &mut Option<String>,
        goes_on: impl Fn() -> bool,
    ) -> io::Result<Option<u16>> {
        let token = match token {
            Some(token) => &*token,
            none => none.insert(lean::login(place.gateway, place.wechat, &format!("oSocket-{number}"))?),
        };
        let mut stream = open(place.gateway, token)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        while goes_on() {
            let text = b"are you there?";
            write_frame(&mut stream, TEXT, MASKED, text)?;
            match read_frame(&mut stream)? {
                (TEXT, echo) if echo == text => _ = self.echoes.fetch_add(1, Ordering::Relaxed),
                (CLOSE, code) => return Ok(Some(code.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)))),
                (kind, _) => return Err(io::Error::other(format!("a frame of kind {kind:#x} that is no echo"))),
            }
            if let Some(code) = ends_within(&mut stream, BETWEEN_ECHOES)? {
                return Ok(Some(code));
            }
        }
        Ok(None)
    }
}

/// Starts the backend.
pub(super) fn start_echo() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The end of a connection is an error here, and how some of them end.
            thread::spawn(move || echo(stream));
        }
    });
    Ok(addr)
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    read_head(&mut stream)?;
    stream.write_all(OPENED.as_bytes())?;
    loop {
        let (kind, payload) = read_frame(&mut stream)?;
        write_frame(&mut stream, kind, 0, &payload)?;
        if kind == CLOSE {
            return Ok(());
        }
    }
}

fn open(gateway: SocketAddr, token: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!(
        "GET /ws/echo HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let head = read_head(&mut stream)?;
    if head.starts_with("HTTP/1.1 101 ") {
        return Ok(stream);
    }
    Err(io::Error::other(format!("not opened: {}", head.lines().next().unwrap_or_default())))
}

/// A head, byte by byte, so that nothing behind it is taken.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// Waits so long for a goodbye.
fn ends_within(stream: &mut TcpStream, time: Duration) -> io::Result<Option<u16>> {
    stream.set_read_timeout(Some(time))?;
    let peeked = stream.peek(&mut [0]);
    stream.set_read_timeout(Some(PATIENCE))?;
    match peeked {
        Ok(0) => Err(io::Error::other("ended without a word")),
        Ok(_) => {
            let (_, code) = read_frame(stream)?;
            Ok(Some(code.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nothing here is longer than what its length says in one byte.
fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let [kind, length] = head;
    let mut mask = [0; 4];
    if length & MASKED != 0 {
        stream.read_exact(&mut mask)?;
    }
    let mut payload = vec![0; usize::from(length & !MASKED)];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((kind, payload))
}

/// Masked with zeros, where it is masked.
fn write_frame(stream: &mut TcpStream, kind: u8, masked: u8, payload: &[u8]) -> io::Result<()> {
    let length = u8::try_from(payload.len()).map_err(io::Error::other)?;
    let mask: &[u8] = if masked == 0 { &[] } else { &[0; 4] };
    stream.write_all(&[&[kind, masked | length], mask, payload].concat())
}
