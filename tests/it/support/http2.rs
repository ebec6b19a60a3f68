//! A client that speaks HTTP/2 frame by frame, and sends what no library would.

use std::io;

use super::Client;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// What nothing is said of in a GET of `/public/`.
pub const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "api.example.com"), (":path", "/public/")];
pub const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "api.example.com"), (":path", "/public/")];

/// One connection.
pub struct Http2 {
    pub client: Client,
    next: u32,
    /// Whether the other side has said that it takes no more streams.
    pub told_to_go: bool,
}

/// One frame as it came.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, `200` or not, with this body.
    Answer(bool, String),
    /// The stream was reset with this reason.
    Reset(u32),
    /// The connection went, with this reason where one was given.
    Gone(Option<u32>),
}

impl Http2 {
    /// Begins with HTTP/2, whatever the other side thinks of it.
    pub fn over(client: Client) -> Self {
        Self::with_settings(client, &[])
    }

    /// The same with settings of its own, each a number and a value.
    pub fn with_settings(mut client: Client, settings: &[(u16, u32)]) -> Self {
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut this = Self::begun(client);
        let settings = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        this.frame(SETTINGS, 0, 0, &settings.collect::<Vec<_>>());
        this
    }

    /// A connection on which the beginning was sent already.
    pub fn begun(client: Client) -> Self {
        Self { client, next: 1, told_to_go: false }
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.client.send(frame(kind, flags, stream, payload));
    }

    /// Opens a stream with these fields, and ends it there or not.
    pub fn open(&mut self, fields: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.stream();
        self.head(stream, &block(fields), end);
        stream
    }

    /// Sends a head in as many frames as it needs, and ends the stream there or not.
    pub fn head(&mut self, stream: u32, block: &[u8], end: bool) {
        let (mut kind, mut flags) = (HEADERS, if end { END_STREAM } else { 0 });
        let mut pieces = block.chunks(16_384).peekable();
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { END_HEADERS } else { 0 };
            self.frame(kind, flags | last, stream, piece);
            (kind, flags) = (CONTINUATION, 0);
        }
    }

    /// The number of the next stream.
    pub fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Sends a request without a body and reads until it is known what became of it.
    pub fn ask(&mut self, fields: &[(&str, &str)]) -> Outcome {
        let stream = self.open(fields, true);
        self.outcome(stream)
    }

    /// Reads until it is known what became of a request. Windows are opened for what comes.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut ok, mut body) = (false, Vec::new());
        loop {
            let Ok(frame) = self.next_frame() else { return Outcome::Gone(None) };
            match frame.kind {
                GOAWAY if frame.reason(4) != 0 => return Outcome::Gone(Some(frame.reason(4))),
                // What is read of any stream makes room for all of them.
                DATA if !frame.payload.is_empty() => {
                    let more = u32::try_from(frame.payload.len()).expect("a frame").to_be_bytes();
                    self.frame(WINDOW_UPDATE, 0, 0, &more);
                    self.frame(WINDOW_UPDATE, 0, frame.stream, &more);
                    if frame.stream == stream {
                        body.extend_from_slice(&frame.payload);
                    }
                }
                _ if frame.stream != stream => continue,
                RESET => return Outcome::Reset(frame.reason(0)),
                // The static table has this status at 8.
                HEADERS => ok = frame.payload.first() == Some(&0x88),
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return Outcome::Answer(ok, String::from_utf8(body).expect("UTF-8"));
            }
        }
    }

    /// What the other side asks for at the beginning, each a number and a value.
    pub fn settings(&mut self) -> Vec<(u16, u32)> {
        let settings = self.until(SETTINGS).payload;
        let pair = |bytes: &[u8]| {
            let (id, value) = bytes.split_at(2);
            (
                u16::from_be_bytes(id.try_into().expect("a number")),
                u32::from_be_bytes(value.try_into().expect("a value")),
            )
        };
        settings.chunks_exact(6).map(pair).collect()
    }

    /// Whether a stream is answered with 200. More may follow.
    pub fn agrees(&mut self, stream: u32) -> bool {
        loop {
            let frame = self.next_frame().expect("an answer");
            if frame.stream == stream && matches!(frame.kind, HEADERS | RESET) {
                return frame.kind == HEADERS && frame.payload.first() == Some(&0x88);
            }
        }
    }

    /// What comes through a stream, up to so many bytes or its end; and whether that was its end.
    pub fn data(&mut self, stream: u32, most: usize) -> (Vec<u8>, bool) {
        let mut data = Vec::new();
        while data.len() < most {
            let Ok(frame) = self.next_frame() else { return (data, true) };
            if frame.stream == stream && frame.kind == DATA {
                data.extend_from_slice(&frame.payload);
            }
            if frame.stream == stream && (frame.kind == RESET || frame.flags & END_STREAM != 0) {
                return (data, true);
            }
        }
        (data, false)
    }

    /// Reads up to a frame of this kind.
    pub fn until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next_frame().expect("a frame");
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads to the end of the connection, which has to come. The reason of a goodbye, where there was one.
    pub fn last_words(&mut self) -> Option<u32> {
        let mut reason = None;
        loop {
            match self.next_frame() {
                Ok(frame) if frame.kind == GOAWAY => reason = Some(frame.reason(4)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the connection does not end"),
                Err(_) => return reason,
            }
        }
    }

    fn next_frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.exactly(&mut head)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.exactly(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        self.told_to_go |= frame.kind == GOAWAY;
        // Settings and pings are confirmed, as the protocol asks for.
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & 1 == 0 {
            let payload = if frame.kind == SETTINGS { &[][..] } else { &frame.payload };
            self.frame(frame.kind, 1, 0, payload);
        }
        Ok(frame)
    }

    fn exactly(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.client.try_some(bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => bytes = &mut bytes[n..],
            }
        }
        Ok(())
    }
}

impl Frame {
    pub fn reason(&self, at: usize) -> u32 {
        self.payload[at..at + 4].try_into().map(u32::from_be_bytes).expect("a reason")
    }
}

impl Outcome {
    /// `200`, the machine word of an answer of wxgate's own, or how it ended otherwise.
    pub fn verdict(&self) -> String {
        match self {
            Self::Answer(true, _) => "200".to_owned(),
            Self::Answer(false, body) => serde_json::from_str::<serde_json::Value>(body)
                .map_or_else(|_| "refused".to_owned(), |body| body["code"].as_str().unwrap_or_default().to_owned()),
            Self::Reset(reason) => format!("reset {reason}"),
            Self::Gone(_) => "gone".to_owned(),
        }
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as they are, without tables and without compression.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// Puts a field into the table, from where [`again`] takes it.
pub fn remember(name: &str, value: &str) -> Vec<u8> {
    let mut block = vec![0x40];
    text(&mut block, name);
    text(&mut block, value);
    block
}

/// The field that was remembered last, so many times, for a byte each.
pub fn again(times: usize) -> Vec<u8> {
    vec![0xbe; times]
}

fn text(block: &mut Vec<u8>, text: &str) {
    if let Ok(short @ ..127) = u8::try_from(text.len()) {
        block.push(short);
    } else {
        let mut rest = text.len() - 127;
        block.push(127);
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).expect("seven bits") | 0x80);
            rest /= 128;
        }
        block.push(u8::try_from(rest).expect("seven bits"));
    }
    block.extend_from_slice(text.as_bytes());
}
