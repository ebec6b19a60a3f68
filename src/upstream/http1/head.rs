//! Heads: that of a request as it is written, that of an answer as it is read.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use http_body::Body;
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memmem;

use super::Error;
use crate::upstream::{Fault, Outgoing, length};
use crate::web::{
    Answer, Decoder, Framing, Lines, header_line,
    headers::{HOP_BY_HOP, REQUEST_ID},
    line_of,
};

/// The head of an answer may have so many lines.
const MOST_FIELDS: usize = 100;

/// And so many bytes.
const LONGEST: usize = 400 * 1024;

/// Writes the head of a request. Of how long its body is, only what is true of the body is said, and once.
pub(super) fn write<B: Body>(request: &Outgoing<B>, to: &mut Vec<u8>) -> Framing {
    let framing = Framing::of(&request.body);
    for part in [request.method.as_str(), " ", request.target.as_str(), " HTTP/1.1\r\n"] {
        to.extend_from_slice(part.as_bytes());
    }
    to.extend_from_slice(request.fields.lines().as_bytes());
    for (name, value) in request.fields.in_confidence() {
        header_line(to, name.as_str(), value.as_bytes());
    }
    match framing {
        // Left out where the client has left it out.
        Framing::Nothing if !request.fields.says_length() => {}
        Framing::Nothing => to.extend_from_slice(b"content-length: 0\r\n"),
        Framing::Length(length) => line_of(to, b"content-length: ", itoa::Buffer::new().format(length).as_bytes()),
        Framing::Chunked | Framing::UntilClose => to.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    to.extend_from_slice(b"\r\n");
    framing
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) answer: Answer<Decoder>,
    /// Whether another request may follow on the connection, as far as the head says.
    pub(super) keeps_alive: bool,
}

/// Takes the next head out of what was read, of an answer to a HEAD or not. `seen` is how much of it there was the last time,
/// which was too little. `room` is that of the request, asked for when there is an answer and not before: one of which the server
/// has said only that it goes on may be sent again.
pub(super) fn read(
    read: &mut BytesMut,
    seen: &mut usize,
    is_head: bool,
    room: impl FnOnce() -> Lines,
) -> Result<Option<Head>, Fault> {
    skip_blank_lines(read, seen);
    if !may_be_whole(read, *seen) {
        return Ok(incomplete(read, seen)?);
    }
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = ParserConfig::default();
    let status = parser.parse_response_with_uninit_headers(&mut parsed, read, &mut fields).map_err(Error::from)?;
    let (Status::Complete(end), Some(code), Some(minor)) = (status, parsed.code, parsed.version) else {
        return Ok(incomplete(read, seen)?);
    };
    let status = StatusCode::from_u16(code).map_err(|_| Error::NoHead(httparse::Error::Status))?;
    let version = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let is_interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
    let room = if is_interim { Lines::default() } else { room() };
    let reason = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason));
    let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let mut answer = Answer::new(status, version, room, Decoder::nothing()).with_reason(reason);
    let keeps_alive = if is_interim { true } else { of_fields(parsed.headers, &mut answer, is_head)? };
    *seen = 0;
    read.advance(end);
    Ok(Some(Head { answer, keeps_alive }))
}

/// Takes over the header lines of an answer, and finds out what comes behind them. Whether the connection is good for more.
fn of_fields(fields: &[Header<'_>], answer: &mut Answer<Decoder>, is_head: bool) -> Result<bool, Fault> {
    let mut said = OfConnection::default();
    let mut are_plain = answer.status != StatusCode::SWITCHING_PROTOCOLS;
    for field in fields {
        are_plain = are_plain && said.take_plain(field, answer)?;
    }
    if !are_plain {
        // Any name may be one that is to be taken out, and a length is to be agreed on: all of them are looked at.
        said = OfConnection::default();
        answer.forget();
        for field in fields {
            said.take(field, answer)?;
        }
    }
    answer.body = said.body_of(answer, is_head)?;
    Ok(said.keeps_alive(answer.version) && !answer.body.needs_close())
}

/// No name of a line that anybody but the client has to see is longer.
const LONGEST_SEEN: usize = 20;

/// For each length the letters that those names begin with, a bit for each: most lines are none of them, and are known for it at once.
const SEEN: [u32; LONGEST_SEEN + 1] = {
    let mut letters = [0; LONGEST_SEEN + 1];
    letters["content-length".len()] |= letter(b'c');
    letters[REQUEST_ID.len()] |= letter(REQUEST_ID.as_bytes()[0]);
    let mut at = 0;
    while at < HOP_BY_HOP.len() {
        letters[HOP_BY_HOP[at].len()] |= letter(HOP_BY_HOP[at].as_bytes()[0]);
        at += 1;
    }
    letters
};

/// The bit of a letter, in either case.
const fn letter(byte: u8) -> u32 {
    1 << (byte & 0x1f)
}

/// A short name, as it is compared: all of it at once.
type Folded = [u8; LONGEST_SEEN];

/// A name in either case. Among what a name is made of, a letter is the only thing that becomes one.
const fn folded(name: &[u8]) -> Folded {
    let mut folded = [0x20; LONGEST_SEEN];
    let mut at = 0;
    while at < name.len() {
        folded[at] = name[at] | 0x20;
        at += 1;
    }
    folded
}

const CONTENT_LENGTH: Folded = folded(b"content-length");
const CONNECTION: Folded = folded(b"connection");
const OF_THE_REQUEST: Folded = folded(REQUEST_ID.as_bytes());
const OF_THE_HOP: [Folded; HOP_BY_HOP.len()] = {
    let mut names = [[0; LONGEST_SEEN]; HOP_BY_HOP.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = folded(HOP_BY_HOP[at].as_bytes());
        at += 1;
    }
    names
};

/// A longer name is none to anybody else.
const LONGEST_NAME: usize = u16::MAX as usize;

/// Who is to see a line.
enum Seen {
    /// The client alone.
    Passing,
    /// Whoever passes the head on.
    OnTheWay,
    /// Whoever looks for the end of the body.
    Length,
    /// Whoever has to do with the connection.
    Connection,
}

impl Seen {
    fn of(name: &str) -> Self {
        // As nearly all servers write them.
        match name {
            "Content-Length" | "content-length" => return Self::Length,
            "Connection" | "connection" => return Self::Connection,
            _ => {}
        }
        let letters = SEEN.get(name.len()).copied().unwrap_or_default();
        if name.bytes().next().is_none_or(|first| letters & letter(first) == 0) {
            return Self::Passing;
        }
        match folded(name.as_bytes()) {
            CONTENT_LENGTH => Self::Length,
            CONNECTION => Self::Connection,
            OF_THE_REQUEST => Self::OnTheWay,
            name if OF_THE_HOP.contains(&name) => Self::OnTheWay,
            _ => Self::Passing,
        }
    }
}

fn incomplete(read: &BytesMut, seen: &mut usize) -> Result<Option<Head>, Error> {
    *seen = read.len();
    if read.len() > LONGEST { Err(Error::TooLong) } else { Ok(None) }
}

/// Some servers send the end of a line too many behind a body.
pub(super) fn skip_blank_lines(read: &mut BytesMut, seen: &mut usize) {
    while let Some(end) = [&b"\r\n"[..], b"\n"].iter().find(|end| read.starts_with(end)) {
        read.advance(end.len());
        *seen = seen.saturating_sub(end.len());
    }
}

/// Whether what has come since then could be the end of a head: or else one that comes byte by byte would be read as often.
fn may_be_whole(read: &[u8], seen: usize) -> bool {
    let new = &read[seen.saturating_sub(3)..];
    !new.is_empty() && (seen == 0 || memmem::find(new, b"\n\r\n").is_some() || memmem::find(new, b"\n\n").is_some())
}

/// What a head says of its connection and of where the body ends, as far as that is nobody else's business.
#[derive(Debug, Default)]
struct OfConnection {
    closes: bool,
    /// Said where it needs saying, in HTTP/1.0.
    stays: bool,
    codings: usize,
    is_chunked: bool,
    /// Where it is not among the headers.
    length: Option<u64>,
}

impl OfConnection {
    /// Takes a line over, as long as nothing else has to be known for that. Nearly always that is all that there is to do.
    fn take_plain(&mut self, field: &Header<'_>, answer: &mut Answer<Decoder>) -> Result<bool, Error> {
        match Seen::of(field.name) {
            Seen::Passing if field.name.len() > LONGEST_NAME => {
                return Err(Error::NoHead(httparse::Error::HeaderName));
            }
            Seen::Passing => answer.pass(field.name, field.value),
            Seen::OnTheWay => self.take(field, answer)?,
            Seen::Length if self.length.is_some() => return Ok(false),
            Seen::Length => {
                self.length = length::number(field.value);
                return Ok(self.length.is_some());
            }
            Seen::Connection if field.value == b"keep-alive" || field.value.eq_ignore_ascii_case(b"keep-alive") => {
                self.stays = true;
            }
            Seen::Connection if field.value.eq_ignore_ascii_case(b"close") => self.closes = true,
            Seen::Connection => return Ok(false),
        }
        Ok(true)
    }

    /// Takes a line over in whatever way it is right. What else `Connection` may list is for whoever passes the head on.
    fn take(&mut self, field: &Header<'_>, answer: &mut Answer<Decoder>) -> Result<(), Error> {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Error::NoHead(httparse::Error::HeaderName))?;
        if name == header::TRANSFER_ENCODING {
            self.codings += 1;
            self.is_chunked = field.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            return Ok(());
        }
        if name == header::CONNECTION {
            let mut is_all = true;
            for word in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let (closes, stays) = (word.eq_ignore_ascii_case(b"close"), word.eq_ignore_ascii_case(b"keep-alive"));
                self.closes |= closes;
                self.stays |= stays;
                is_all &= closes | stays;
            }
            if is_all {
                return Ok(());
            }
        }
        let value = HeaderValue::from_bytes(field.value);
        answer.make_headers().append(name, value.map_err(|_| Error::NoHead(httparse::Error::HeaderValue))?);
        Ok(())
    }

    /// What comes behind the head. Whoever passes it on reads its length off the decoder; where that can't say it, the length is among
    /// the headers.
    fn body_of<B>(&mut self, answer: &mut Answer<B>, is_head: bool) -> Result<Decoder, Fault> {
        let status = answer.status;
        if self.codings > 0 {
            if !self.is_chunked || self.codings > 1 || answer.version == Version::HTTP_10 {
                return Err(Error::Coded.into());
            }
            // With both of them there, this one counts (RFC 9112, 6.3), and what comes behind is not to be relied on.
            let is_told = answer.headers_mut().is_some_and(|headers| headers.remove(header::CONTENT_LENGTH).is_some());
            self.closes |= is_told | self.length.take().is_some();
        }
        let is_among = answer.headers().is_some_and(|headers| headers.contains_key(header::CONTENT_LENGTH));
        let is_told = self.length.is_some() || is_among;
        let length = match (self.length, answer.headers_mut()) {
            (None, Some(headers)) => length::settle(headers, status)?,
            (length, _) => length,
        };
        // It has no body, and whoever says that it has one may send it.
        let has_none = status == StatusCode::NO_CONTENT;
        self.closes |= has_none && (self.codings > 0 || (is_told && length != Some(0)));
        let decoder = match status {
            _ if is_head => Decoder::nothing(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS => Decoder::nothing(),
            _ if self.codings > 0 => Decoder::chunks(),
            _ => length.map_or_else(Decoder::until_close, Decoder::exact),
        };
        if let Some(length) = self.length.filter(|_| decoder.is_over()) {
            answer.make_headers().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(decoder)
    }

    fn keeps_alive(&self, version: Version) -> bool {
        !self.closes && (self.stays || version == Version::HTTP_11)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_to_see_a_line_sees_it_in_every_spelling_and_nobody_sees_any_other() {
        let seen = |name: &str| match Seen::of(name) {
            Seen::Passing => "passing",
            Seen::OnTheWay => "on the way",
            Seen::Length => "length",
            Seen::Connection => "connection",
        };
        let of_the_way = HOP_BY_HOP.into_iter().filter(|name| *name != "connection").chain([REQUEST_ID]);
        let all = of_the_way.map(|name| (name, "on the way"));
        for (name, by) in all.chain([("content-length", "length"), ("connection", "connection")]) {
            let first = name[..1].to_ascii_uppercase();
            for spelled in [name.to_owned(), name.to_ascii_uppercase(), format!("{first}{}", &name[1..])] {
                assert_eq!(seen(&spelled), by, "{spelled}");
            }
            for other in [format!("{name}x"), format!("x{name}"), name[1..].to_owned(), name.replace(['e', 'i'], "_")] {
                assert_eq!(seen(&other), "passing", "{other}");
            }
        }
        for name in ["", "c", "set-cookie", "content-type", "server", "date", "\u{e9}onnection", &"c".repeat(300)] {
            assert_eq!(seen(name), "passing", "{name}");
        }
    }
}
