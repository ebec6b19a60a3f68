//! Requests as they are sent, and what has to come back.

use std::io;

use rand::{RngExt, rngs::SmallRng};

use super::{forgery, wire::Wire};

/// What the backend is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Plain,
    Chunked,
    Long,
    /// Break the answer off, counted or in chunks.
    Cut,
    CutChunk,
    /// Close after the answer, announced or not.
    Close,
    Leave,
    /// Nothing: the request's own body breaks off.
    Half,
}

impl Order {
    const ALL: [(Self, &str); 8] = [
        (Self::Plain, "plain"),
        (Self::Chunked, "chunked"),
        (Self::Long, "long"),
        (Self::Cut, "cut"),
        (Self::CutChunk, "cutchunk"),
        (Self::Close, "close"),
        (Self::Leave, "leave"),
        (Self::Half, "half"),
    ];

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(order, _)| *order)
    }

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(order, _)| *order == self).map_or("", |(_, word)| word)
    }

    /// Whether the backend closes after it.
    pub(super) fn closes(self) -> bool {
        matches!(self, Self::Cut | Self::CutChunk | Self::Close | Self::Leave)
    }

    fn breaks_off(self) -> bool {
        matches!(self, Self::Cut | Self::CutChunk)
    }
}

/// Whom the backend has to be told a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// This caller.
    Caller(usize),
    /// Nobody known.
    Nobody,
    /// It must not get there: the answer is this status, and ours.
    Never(u16),
}

/// One request.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) route: &'static str,
    pub(super) whom: Whom,
    pub(super) order: Order,
    /// The value of `Authorization`.
    pub(super) authorization: Option<&'a str>,
    /// How often the body has the request's number in it, and whether it goes in chunks.
    pub(super) body: Option<(usize, bool)>,
}

impl<'a> Request<'a> {
    pub(super) fn get(whom: Whom, authorization: Option<&'a str>) -> Self {
        Self { method: "GET", route: "", whom, order: Order::Plain, authorization, body: None }
    }

    /// Appends it to `bytes`, among forged headers, and returns what is to come back.
    pub(super) fn write(&self, seq: u64, rng: &mut SmallRng, bytes: &mut Vec<u8>) -> Sent {
        let whom = match self.whom {
            Whom::Caller(number) => number.to_string(),
            Whom::Nobody => "anonymous".to_owned(),
            Whom::Never(_) => "never".to_owned(),
        };
        let Self { method, route, .. } = self;
        let order = self.order.word();
        let mut lines = vec![format!("Host: api.example.com\r\n")];
        lines.extend(self.authorization.map(|value| format!("Authorization: {value}\r\n")));
        let chunked = match self.body {
            Some((_, true)) => {
                lines.push("Transfer-Encoding: chunked\r\n".to_owned());
                true
            }
            Some((times, false)) => {
                lines.push(format!("Content-Length: {}\r\n", times * seq.to_string().len()));
                false
            }
            None => false,
        };
        for _ in 0..rng.random_range(0..4) {
            let place = rng.random_range(0..=lines.len());
            lines.insert(place, forgery::line(rng));
        }
        let query = if rng.random_ratio(1, 4) { "?x-wx-openid=oForged&token=wxg_" } else { "" };
        bytes.extend_from_slice(format!("{method} {route}/m/{whom}/{seq}/{order}{query} HTTP/1.1\r\n").as_bytes());
        for line in &lines {
            bytes.extend_from_slice(line.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        if let Some((times, _)) = self.body {
            write_body(seq, times, chunked, rng, bytes);
        }
        Sent { seq, whom: self.whom, order: self.order, method, either: false }
    }
}

fn write_body(seq: u64, times: usize, chunked: bool, rng: &mut SmallRng, bytes: &mut Vec<u8>) {
    let body = seq.to_string().repeat(times);
    let mut rest = body.as_bytes();
    while chunked && !rest.is_empty() {
        let (chunk, after) = rest.split_at(rng.random_range(1..=rest.len()));
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
    }
    bytes.extend_from_slice(rest);
    if chunked {
        let trailer = if rng.random() { "X-WX-OPENID: oForged\r\n" } else { "" };
        bytes.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
    }
}

/// What has to come back for a request.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) seq: u64,
    pub(super) whom: Whom,
    pub(super) order: Order,
    pub(super) method: &'static str,
    /// Whether the caller was logging out meanwhile: then 401 is as good.
    pub(super) either: bool,
}

impl Sent {
    /// Reads the answer and compares. Says whether the connection is still of use.
    pub(super) fn check(&self, wire: &mut Wire, openid: &str) -> Result<bool, String> {
        let head = wire.head().map_err(|error| format!("no answer to {self:?}: {error}"))?;
        let status = head.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse::<u16>().ok());
        let open = super::wire::header(head, "connection") != Some(b"close");
        let echo = super::wire::header(head, "x-echo").map(|echo| String::from_utf8_lossy(echo).into_owned());
        let mut body = Vec::new();
        let whole = if self.method == "HEAD" { Ok(false) } else { wire.body(|piece| body.extend_from_slice(piece)) };
        let due = match self.whom {
            Whom::Caller(_) => Some(format!("{} {openid}", self.seq)),
            Whom::Nobody => Some(format!("{} -", self.seq)),
            Whom::Never(_) => None,
        };
        let wrong = || Err(format!("{self:?} was answered with {status:?}, {echo:?}, {whole:?}"));
        match (self.whom, status) {
            (Whom::Never(expected), Some(status)) if status == expected && echo.is_none() => return Ok(open),
            (_, Some(401)) if self.either && echo.is_none() => return Ok(open),
            // The backend closed a connection as this was on its way into it, as it does unannounced after some answers to
            // HEAD, and asking twice might do it twice.
            (_, Some(502)) if !matches!(self.method, "GET" | "HEAD" | "OPTIONS") && echo.is_none() => return Ok(open),
            (_, Some(200)) if echo == due && due.is_some() => {}
            _ => return wrong(),
        }
        if self.order.breaks_off() && self.method != "HEAD" {
            // What broke off must not look whole.
            return if whole.is_err() { Ok(false) } else { wrong() };
        }
        let padding = if self.order == Order::Long { super::backend::LONG } else { 0 };
        let echoed = due.unwrap_or_default();
        let right = body.starts_with(echoed.as_bytes()) && body.len() == echoed.len() + padding;
        if whole.is_ok() && (right || self.method == "HEAD") { Ok(open) } else { wrong() }
    }
}

/// Sends what there is; a connection that the other side has closed is found out when reading.
pub(super) fn send(wire: &mut Wire, bytes: &[u8]) {
    let _: io::Result<()> = wire.send(bytes);
}
