//! The backend that judges: for each request it reads from the path whom it has to come from, and from the headers whom it
//! is said to come from.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{Complaints, Who, request::Order, wire::Wire};

/// What follows an answer's first line where a long one is asked for. No socket takes it all at once.
pub(super) const LONG: usize = 300 * 1024;

/// The backend. It keeps counts and complaints, nothing else.
pub(super) struct Backend {
    pub(super) addr: SocketAddr,
    judge: Arc<Judge>,
}

struct Judge {
    cast: Arc<[Who]>,
    complaints: Arc<Complaints>,
    identified: AtomicU64,
    anonymous: AtomicU64,
    padding: Vec<u8>,
}

/// What a request's path says of it.
struct Asked<'a> {
    seq: &'a str,
    order: Order,
    /// Who it was said to come from, in the headers.
    openid: Option<&'a str>,
}

impl Backend {
    pub(super) fn start(cast: Arc<[Who]>, complaints: Arc<Complaints>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (identified, anonymous) = <(AtomicU64, AtomicU64)>::default();
        let judge = Arc::new(Judge { cast, complaints, identified, anonymous, padding: vec![b'.'; LONG] });
        let shared = Arc::clone(&judge);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let judge = Arc::clone(&shared);
                // The end of a connection is an error here, and how every one of them ends.
                thread::spawn(move || Wire::new(stream).and_then(|wire| judge.serve(wire)));
            }
        });
        Self { addr, judge }
    }

    /// How many requests came from somebody, and how many from nobody.
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.judge.identified.load(Ordering::Relaxed), self.judge.anonymous.load(Ordering::Relaxed))
    }
}

impl Judge {
    fn serve(&self, mut wire: Wire) -> io::Result<()> {
        let (mut head, mut body, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            head.clear();
            head.extend_from_slice(wire.head()?);
            let text = String::from_utf8_lossy(&head);
            let asked = match self.judge(&text) {
                Ok(asked) => asked,
                Err(what) => {
                    self.complaints.add(format!("the backend: {what} in {text:?}"));
                    return Ok(());
                }
            };
            let count = if asked.openid.is_some() { &self.identified } else { &self.anonymous };
            count.fetch_add(1, Ordering::Relaxed);
            body.clear();
            let trailers = wire.body(|piece| body.extend_from_slice(piece))?;
            if trailers || !asked.owns(&body) {
                let body = String::from_utf8_lossy(&body);
                self.complaints.add(format!("the backend: trailers ({trailers}), or a body not of {text:?}: {body:?}"));
            }
            self.write(&asked, &mut answer);
            wire.send(&answer)?;
            if asked.order.closes() {
                return Ok(());
            }
        }
    }

    /// Compares what a head's path says with what its headers say.
    fn judge<'a>(&self, head: &'a str) -> Result<Asked<'a>, String> {
        let (target, lines) = head.split_once("\r\n").ok_or("no request line")?;
        let marker = target.split_once("/m/").ok_or("no marker")?.1;
        let mut parts = marker.split(['/', '?', ' ']);
        let mut part = || parts.next().ok_or("a short marker");
        let (whom, seq, order) = (part()?, part()?, part()?);
        let order = Order::from_word(order).ok_or("an unknown order")?;
        let told = identity(lines)?;
        let due = match whom {
            "never" => return Err("a request that must not get here".to_owned()),
            "anonymous" => [None; 4],
            number => {
                let who = number.parse().ok().and_then(|n: usize| self.cast.get(n)).ok_or("an unknown caller")?;
                [Some(who.openid.as_str()), Some(who.app), who.unionid.as_deref(), Some("wx_client")]
            }
        };
        if told == due {
            Ok(Asked { seq, order, openid: told[0] })
        } else {
            Err(format!("{told:?} instead of {due:?}"))
        }
    }

    fn write(&self, asked: &Asked<'_>, answer: &mut Vec<u8>) {
        let echo = format!("{} {}", asked.seq, asked.openid.unwrap_or("-"));
        let padding = if asked.order == Order::Long { &*self.padding } else { b"" };
        let length = echo.len() + padding.len();
        let (framing, body) = match asked.order {
            Order::Chunked => ("transfer-encoding: chunked".to_owned(), format!("{length:x}\r\n{echo}\r\n0\r\n\r\n")),
            Order::CutChunk => ("transfer-encoding: chunked".to_owned(), format!("{length:x}\r\n{echo}\r\n")),
            Order::Cut => (format!("content-length: {}", length + 1), echo.clone()),
            Order::Close => (format!("content-length: {length}\r\nconnection: close"), echo.clone()),
            Order::Plain | Order::Long | Order::Leave | Order::Half => {
                (format!("content-length: {length}"), echo.clone())
            }
        };
        answer.clear();
        answer.extend_from_slice(format!("HTTP/1.1 200 OK\r\nx-echo: {echo}\r\n{framing}\r\n\r\n{body}").as_bytes());
        answer.extend_from_slice(padding);
    }
}

impl Asked<'_> {
    /// Whether a body is this request's: its number again and again. One that was to break off must not be whole.
    fn owns(&self, body: &[u8]) -> bool {
        let number = self.seq.as_bytes();
        self.order != Order::Half
            && body.len().is_multiple_of(number.len())
            && body.chunks(number.len()).all(|c| c == number)
    }
}

/// The openid, the AppID, the unionid and the source that the header lines tell. Anything else that could be read as one
/// of them is an error, and so is a token.
fn identity(lines: &str) -> Result<[Option<&str>; 4], String> {
    let mut told = [None; 4];
    for line in lines.split("\r\n") {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if value.contains("wxg_") {
            return Err(format!("a token in {name}"));
        }
        let folded = name.to_ascii_lowercase().replace('_', "-");
        if !folded.starts_with("x-wx-") {
            continue;
        }
        let names = ["x-wx-openid", "x-wx-appid", "x-wx-unionid", "x-wx-source"];
        let place = names.iter().position(|ours| name.eq_ignore_ascii_case(ours));
        let place = place.ok_or_else(|| format!("the foreign header {name}"))?;
        if told[place].replace(value.trim_ascii()).is_some() {
            return Err(format!("two lines of {name}"));
        }
    }
    Ok(told)
}

/// A judge that lets everything pass would make the whole story worthless.
#[test]
fn the_backend_complains_of_what_it_must_not_see() {
    let (cast, complaints) = (super::cast(), Arc::<Complaints>::default());
    let backend = Backend::start(Arc::clone(&cast), Arc::clone(&complaints));
    let (openid, app) = (&cast[1].openid, cast[1].app);
    let right = format!("x-wx-openid: {openid}\r\nx-wx-appid: {app}\r\nx-wx-source: wx_client\r\n");
    let ask = |marker: &str, lines: &str| {
        let mut wire = Wire::connect(backend.addr).unwrap();
        wire.send(format!("GET /m/{marker} HTTP/1.1\r\n{lines}\r\n").as_bytes()).unwrap();
        wire.head().is_ok_and(|head| head.starts_with(b"HTTP/1.1 200 "))
    };
    assert!(ask("1/77/plain", &right));
    assert!(ask("anonymous/77/plain", "accept: */*\r\n"));
    assert_eq!(complaints.count(), 0);
    for (marker, lines) in [
        ("1/77/plain", String::new()),
        ("1/77/plain", right.replace(openid, &cast[3].openid)),
        ("1/77/plain", right.replace(app, cast[0].app)),
        ("1/77/plain", format!("{right}x_wx_openid: {openid}\r\n")),
        ("1/77/plain", format!("{right}x-wx-openid: {openid}\r\n")),
        ("1/77/plain", format!("{right}x-wx-unionid: u\r\n")),
        ("1/77/plain", format!("{right}cookie: wxg_secret\r\n")),
        ("0/77/plain", right.clone()),
        ("anonymous/77/plain", right.clone()),
        ("anonymous/77/plain", "X-Wx-Anything: 1\r\n".to_owned()),
        ("never/77/plain", String::new()),
    ] {
        let before = complaints.count();
        assert!(!ask(marker, &lines), "{marker} {lines}");
        assert_eq!(complaints.count(), before + 1, "{marker} {lines}");
    }
}
