//! Heads: that of a request as it is written, that of an answer as it is read.

use std::mem::MaybeUninit;

use bytes::{Buf, BytesMut};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};
use http_body::Body;
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memmem;
use smallvec::SmallVec;

use super::Error;
use crate::upstream::{Fault, Outgoing, length};
use crate::web::{Decoder, Framing, header_line};

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
    let mut is_told = false;
    // Not a loop: the lines lie in two places, and from within each of them it goes faster.
    request.fields.separate().for_each(|(name, value)| {
        if *name == header::CONTENT_LENGTH {
            is_told = true;
        } else if *name != header::TRANSFER_ENCODING {
            header_line(to, name.as_str(), value.as_bytes());
        }
    });
    to.extend_from_slice(request.fields.told().as_bytes());
    match framing {
        // Left out where the client has left it out.
        Framing::Nothing if !is_told => {}
        Framing::Nothing => header_line(to, "content-length", b"0"),
        Framing::Length(length) => header_line(to, "content-length", itoa::Buffer::new().format(length).as_bytes()),
        Framing::Chunked | Framing::UntilClose => header_line(to, "transfer-encoding", b"chunked"),
    }
    to.extend_from_slice(b"\r\n");
    framing
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<Decoder>,
    /// Whether another request may follow on the connection, as far as the head says.
    pub(super) keeps_alive: bool,
}

/// What is told to the client beside what the server says.
const ROOM: usize = 2;

/// Takes the next head out of what was read, of an answer to a HEAD or not. `seen` is how much of it there was the last time,
/// which was too little.
pub(super) fn read(read: &mut BytesMut, seen: &mut usize, is_head: bool) -> Result<Option<Head>, Fault> {
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
    let mut response = Response::new(Decoder::nothing());
    *response.status_mut() = StatusCode::from_u16(code).map_err(|_| Error::NoHead(httparse::Error::Status))?;
    *response.version_mut() = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let reason = parsed.reason.filter(|reason| response.status().canonical_reason() != Some(reason));
    if let Some(reason) = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()) {
        response.extensions_mut().insert(reason);
    }
    let base = read.as_ptr().addr();
    let place = |of: &[u8]| of.as_ptr().addr() - base..of.as_ptr().addr() - base + of.len();
    // Not collected, since all the room would be moved then.
    let mut places = SmallVec::<[_; 32]>::new();
    places.extend(parsed.headers.iter().map(|field| (place(field.name.as_bytes()), place(field.value))));
    *seen = 0;
    let bytes = read.split_to(end).freeze();
    let mut connection = OfConnection::default();
    response.headers_mut().reserve(places.len() + ROOM);
    for (name, value) in places {
        let name = HeaderName::from_bytes(&bytes[name]).map_err(|_| Error::NoHead(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(value));
        let value = value.map_err(|_| Error::NoHead(httparse::Error::HeaderValue))?;
        if !connection.takes(&name, &value) {
            response.headers_mut().append(name, value);
        }
    }
    if response.status().is_informational() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Some(Head { response, keeps_alive: true }));
    }
    let decoder = connection.body_of(&mut response, is_head)?;
    let keeps_alive = connection.keeps_alive(&response) && !decoder.needs_close();
    Ok(Some(Head { response: response.map(|_| decoder), keeps_alive }))
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
}

impl OfConnection {
    /// Whether this line is for us alone. What else `Connection` may list is for whoever passes the head on.
    fn takes(&mut self, name: &HeaderName, value: &HeaderValue) -> bool {
        if *name == header::CONNECTION {
            for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.closes |= word.eq_ignore_ascii_case(b"close");
                self.stays |= word.eq_ignore_ascii_case(b"keep-alive");
            }
            return [&b"close"[..], b"keep-alive"].iter().any(|word| value.as_bytes().eq_ignore_ascii_case(word));
        }
        if *name == header::TRANSFER_ENCODING {
            self.codings += 1;
            self.is_chunked = value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
            return true;
        }
        false
    }

    /// What comes behind the head.
    fn body_of<B>(&mut self, response: &mut Response<B>, is_head: bool) -> Result<Decoder, Fault> {
        let status = response.status();
        if self.codings > 0 {
            if !self.is_chunked || self.codings > 1 || response.version() == Version::HTTP_10 {
                return Err(Error::Coded.into());
            }
            // With both of them there, this one counts (RFC 9112, 6.3), and what comes behind is not to be relied on.
            self.closes |= response.headers_mut().remove(header::CONTENT_LENGTH).is_some();
        }
        let is_told = response.headers().contains_key(header::CONTENT_LENGTH);
        let length = length::settle(response.headers_mut(), status)?;
        // It has no body, and whoever says that it has one may send it.
        let has_none = status == StatusCode::NO_CONTENT;
        self.closes |= has_none && (self.codings > 0 || (is_told && length != Some(0)));
        Ok(match status {
            _ if is_head => Decoder::nothing(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS => Decoder::nothing(),
            _ if self.codings > 0 => Decoder::chunks(),
            _ => length.map_or_else(Decoder::until_close, Decoder::exact),
        })
    }

    fn keeps_alive<B>(&self, response: &Response<B>) -> bool {
        !self.closes && (self.stays || response.version() == Version::HTTP_11)
    }
}
