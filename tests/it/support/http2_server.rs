//! A server that speaks HTTP/2 frame by frame, and does what no library would.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::{
    http2::{DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, RESET, SETTINGS, WINDOW_UPDATE, block, frame},
    until,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// `:status: 200`, as the static table has it.
const OK: u8 = 0x88;

/// `:status` and the length of what follows, as a literal with the static table's name for it.
const STATUS: [u8; 2] = [0x08, 3];

/// A connection as its server sees it.
pub struct Talk {
    stream: TcpStream,
    /// The how-manieth it is.
    pub nth: usize,
}

type Seen = Arc<Mutex<Vec<(usize, Frame)>>>;

/// The server. Its threads end with the test's process.
pub struct Http2Server {
    addr: SocketAddr,
    seen: Seen,
}

impl Http2Server {
    /// Says these settings, and then `does` something with each frame that comes, until it returns an error.
    pub fn start(
        settings: &'static [(u16, u32)],
        does: impl Fn(&mut Talk, &Frame) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (addr, seen, does) = (listener.local_addr().expect("an address"), Seen::default(), Arc::new(does));
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for (nth, stream) in listener.incoming().flatten().enumerate() {
                let (seen, does) = (Arc::clone(&shared), Arc::clone(&does));
                std::thread::spawn(move || {
                    let mut talk = Talk { stream, nth };
                    // How a talk ends is for the story to say.
                    let _ = talk.run(settings, &seen, &*does);
                    let _ = talk.stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { addr, seen }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many frames of this kind have come, on all connections.
    pub fn count(&self, kind: u8) -> usize {
        self.seen.lock().unwrap().iter().filter(|(_, frame)| frame.kind == kind).count()
    }

    /// Waits until so many have.
    pub fn wait_for(&self, kind: u8, count: usize) {
        until(&format!("{count} frames of kind {kind}"), || (self.count(kind) >= count).then_some(()));
    }

    /// The connections and reasons of the streams that were reset.
    pub fn resets(&self) -> Vec<u32> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, frame)| frame.kind == RESET).map(|(_, frame)| frame.reason(0)).collect()
    }

    /// All bytes of bodies.
    pub fn bytes(&self) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, frame)| frame.kind == DATA)
            .map(|(_, frame)| frame.payload.len())
            .sum()
    }

    /// How much room was made on this stream of any connection, beside what there was.
    pub fn given(&self, stream: u32) -> usize {
        let seen = self.seen.lock().unwrap();
        let updates = seen.iter().filter(|(_, frame)| frame.kind == WINDOW_UPDATE && frame.stream == stream);
        updates.map(|(_, frame)| frame.reason(0) as usize).sum()
    }

    /// On which connections requests came, in their order.
    pub fn places(&self) -> Vec<usize> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(_, frame)| frame.kind == HEADERS).map(|(nth, _)| *nth).collect()
    }
}

impl Talk {
    fn run(
        &mut self,
        settings: &[(u16, u32)],
        seen: &Seen,
        does: &dyn Fn(&mut Self, &Frame) -> io::Result<()>,
    ) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut preface = [0; PREFACE.len()];
        self.stream.read_exact(&mut preface)?;
        assert_eq!(preface, PREFACE);
        let settings = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        self.frame(SETTINGS, 0, 0, &settings.collect::<Vec<_>>())?;
        loop {
            let frame = self.next()?;
            if frame.kind == SETTINGS && frame.flags & 1 == 0 {
                self.frame(SETTINGS, 1, 0, &[])?;
            }
            seen.lock().unwrap().push((self.nth, frame.clone()));
            does(self, &frame)?;
        }
    }

    fn next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head)?;
        let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
        self.stream.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(kind, flags, stream, payload))
    }

    /// The head of an answer with 200 and these fields, and its end or not.
    pub fn head(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) -> io::Result<()> {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.frame(HEADERS, flags, stream, &[&[OK][..], &block(fields)].concat())
    }

    /// The head of an interim answer, a 103 with these fields.
    pub fn interim(&mut self, stream: u32, fields: &[(&str, &str)]) -> io::Result<()> {
        self.frame(HEADERS, END_HEADERS, stream, &[&STATUS[..], b"103", &block(fields)].concat())
    }

    /// A whole answer.
    pub fn answer(&mut self, stream: u32, body: &str) -> io::Result<()> {
        self.head(stream, &[], false)?;
        self.frame(DATA, END_STREAM, stream, body.as_bytes())
    }

    pub fn reset(&mut self, stream: u32, reason: u32) -> io::Result<()> {
        self.frame(RESET, 0, stream, &reason.to_be_bytes())
    }

    /// Says that it is leaving, and which stream is the last that it has come to.
    pub fn leave(&mut self, last: u32, reason: u32) -> io::Result<()> {
        self.frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
    }

    /// Says what may be no frame.
    pub fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether something has come that was not read yet, be it the end.
    pub fn is_spoken_to(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let said = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match said {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            said => said.map(|_| true),
        }
    }

    /// Ends the connection.
    pub fn hang_up(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Both)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}
