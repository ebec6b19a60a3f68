//! A backend that writes down exactly what it was sent, and answers as it is told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The head, byte for byte, with the empty line.
    pub head: String,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// Decoded, when it came in chunks.
    pub body: Vec<u8>,
    /// Lines behind the last chunk.
    pub trailers: Vec<String>,
    /// The how-manieth request of its connection it is, counted from 0.
    pub nth: usize,
}

impl Seen {
    /// A header's value; it fails when there are two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "two {name} in {:?}", self.head);
        values.first().copied()
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }
}

/// What happens to a connection after a request.
pub enum Then {
    KeepOpen,
    Close,
    /// Without an end: what comes next is a reset.
    Reset,
}

type Behaviour = dyn Fn(&Seen, &mut TcpStream) -> Then + Send + Sync;
type HeadHook = dyn Fn(&Seen, &mut TcpStream) -> Option<Then> + Send + Sync;

struct State {
    seen: Mutex<Vec<Seen>>,
    came: Condvar,
    behaviour: Mutex<Arc<Behaviour>>,
    /// Called when a head is there and before its body is read.
    early: Mutex<Option<Arc<HeadHook>>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    bytes: AtomicUsize,
    stop: AtomicBool,
}

/// The backend. It runs until it is dropped.
pub struct Recorder {
    addr: SocketAddr,
    state: Arc<State>,
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The same at an address of the story's own.
    pub fn at(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).expect("a port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            seen: Mutex::default(),
            came: Condvar::new(),
            behaviour: Mutex::new(Arc::new(|_: &Seen, out: &mut TcpStream| {
                answer(
                    out,
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}",
                )
            })),
            early: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stop.load(Ordering::SeqCst) {
                    return;
                }
                let state = shared.clone();
                state.connections.fetch_add(1, Ordering::SeqCst);
                state.open.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(stream, &state);
                    state.open.fetch_sub(1, Ordering::SeqCst);
                    state.came.notify_all();
                });
            }
        });
        Self { addr, state }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on every request is answered with these bytes.
    pub fn answers(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.does(move |_, out| answer(out, &bytes));
    }

    /// From now on this happens to every request.
    pub fn does(&self, behaviour: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static) {
        *lock(&self.state.behaviour) = Arc::new(behaviour);
    }

    /// From now on this happens to every request before its body is read. `None` goes on as usual.
    pub fn early(&self, hook: impl Fn(&Seen, &mut TcpStream) -> Option<Then> + Send + Sync + 'static) {
        *lock(&self.state.early) = Some(Arc::new(hook));
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        lock(&self.state.seen).len()
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// The last request.
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the upstream has seen a request")
    }

    /// Waits until so many requests have come.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        let seen = lock(&self.state.seen);
        let (seen, late) = self
            .state
            .came
            .wait_timeout_while(seen, Duration::from_secs(20), |seen| seen.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "waited in vain for {count} requests; there are {}", seen.len());
        seen.clone()
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Connections that are open at the moment.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> usize {
        self.state.bytes.load(Ordering::SeqCst)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

/// Writes an answer and keeps the connection.
pub fn answer(out: &mut TcpStream, bytes: impl AsRef<[u8]>) -> Then {
    match out.write_all(bytes.as_ref()) {
        Ok(()) => Then::KeepOpen,
        Err(_) => Then::Close,
    }
}

/// Counts what passes.
struct Counted<'a>(TcpStream, &'a AtomicUsize);

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buf)?;
        self.1.fetch_add(n, Ordering::SeqCst);
        Ok(n)
    }
}

fn serve(stream: TcpStream, state: &State) {
    let Ok(mut out) = stream.try_clone() else { return };
    let mut input = BufReader::new(Counted(stream, &state.bytes));
    for nth in 0.. {
        let Some(mut seen) = read_head(&mut input, nth) else { break };
        let early = lock(&state.early).clone();
        if let Some(then) = early.and_then(|hook| hook(&seen, &mut out)) {
            lock(&state.seen).push(seen);
            state.came.notify_all();
            match then {
                Then::KeepOpen => continue,
                Then::Close => break,
                Then::Reset => return reset(&out),
            }
        }
        if read_body(&mut input, &mut seen).is_none() {
            break;
        }
        lock(&state.seen).push(seen.clone());
        state.came.notify_all();
        let behaviour = lock(&state.behaviour).clone();
        match behaviour(&seen, &mut out) {
            Then::KeepOpen => {}
            Then::Close => break,
            Then::Reset => return reset(&out),
        }
    }
    let _ = out.shutdown(Shutdown::Both);
}

/// Has the connection reset when it is dropped.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn read_line(input: &mut impl BufRead) -> Option<String> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

fn read_head(input: &mut impl BufRead, nth: usize) -> Option<Seen> {
    let mut head = String::new();
    let mut headers = Vec::new();
    let first = read_line(input)?;
    head.push_str(&first);
    loop {
        let line = read_line(input)?;
        head.push_str(&line);
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Seen { head, method, target, headers, body: Vec::new(), trailers: Vec::new(), nth })
}

fn read_body(input: &mut impl BufRead, seen: &mut Seen) -> Option<()> {
    if seen.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(read_line(input)?.trim_end(), 16).ok()?;
            if size == 0 {
                break;
            }
            let start = seen.body.len();
            seen.body.resize(start + size, 0);
            input.read_exact(&mut seen.body[start..]).ok()?;
            read_line(input)?;
        }
        loop {
            let line = read_line(input)?.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            seen.trailers.push(line);
        }
    } else if let Some(length) = seen.header("content-length") {
        seen.body = vec![0; length.parse().ok()?];
        input.read_exact(&mut seen.body).ok()?;
    }
    Some(())
}
