//! Heads: that of a request as it is read, that of an answer as it is written.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::Body;
use httparse::{Header, ParserConfig, Status};

use crate::web::{Answer, Decoder, Framing, Refusal, header_line, line_of};

/// Up to so many lines lie on the stack while they are read.
const FEW: usize = 100;

/// A longer target is none to the library that takes it apart.
const LONGEST_TARGET: usize = 65_534;

/// What has to be known of a request beside what it asks for.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) body: Decoder,
    pub(super) facts: Facts,
    /// Whether the client waits to be told to go on before it sends the body.
    pub(super) awaits_word: bool,
}

/// What has to be known of a request when it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    /// Whether the client means to send another request.
    pub(super) keeps_alive: bool,
    /// Whether it knows no chunks.
    pub(super) is_old: bool,
    /// Whether it wants no body.
    pub(super) is_head: bool,
}

/// Takes a head out of what was read, which is so long and has passed the screen. It goes into `request`, in the place of the one before:
/// to hand it on from here would cost more than to read it.
pub(super) fn read<B>(read: &mut BytesMut, end: usize, most: usize, request: &mut Request<B>) -> Result<Head, Refusal> {
    let bytes = read.split_to(end).freeze();
    let mut few = [const { MaybeUninit::<Header<'_>>::uninit() }; FEW];
    let mut many = Vec::new();
    let fields = if most <= FEW {
        &mut few[..]
    } else {
        many.resize_with(most, MaybeUninit::uninit);
        &mut many[..]
    };
    let mut parsed = httparse::Request::new(&mut []);
    let parser = ParserConfig::default();
    let status = parser.parse_request_with_uninit_headers(&mut parsed, &bytes, fields);
    let (Ok(Status::Complete(whole)), Some(method), Some(target), Some(minor)) =
        (status, parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::Malformed);
    };
    if whole != end {
        return Err(Refusal::Malformed);
    }
    if target.len() > LONGEST_TARGET {
        return Err(Refusal::TargetTooLong);
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::Malformed)?;
    // Nearly always it is empty, and to empty it once more would cost as much as to fill it.
    if !request.headers().is_empty() {
        request.headers_mut().clear();
    }
    let target = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes()));
    *request.uri_mut() = target.map_err(|_| Refusal::Malformed)?;
    *request.version_mut() = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut said = Said::default();
    request.headers_mut().reserve(parsed.headers.len());
    for field in &*parsed.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::Malformed)?;
        let value = bytes.slice_ref(field.value);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Refusal::Malformed)?;
        said.note(&name, &value)?;
        request.headers_mut().append(name, value);
    }
    let is_old = minor == 0;
    let facts = Facts {
        // Behind a CONNECT comes what is meant for somebody else.
        keeps_alive: !said.closes && (!is_old || said.stays) && method != Method::CONNECT,
        is_old,
        is_head: method == Method::HEAD,
    };
    *request.method_mut() = method;
    let body = said.body(is_old)?;
    Ok(Head { body, facts, awaits_word: said.awaits_word && !is_old })
}

/// What a head says of its connection and of its body.
#[derive(Debug, Default)]
struct Said {
    closes: bool,
    stays: bool,
    awaits_word: bool,
    body: Ending,
}

/// What a head says of where its body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Unsaid,
    Length(u64),
    Chunks,
}

impl Said {
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Refusal> {
        if *name == header::CONNECTION {
            for word in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                self.closes |= word.eq_ignore_ascii_case(b"close");
                self.stays |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if *name == header::CONTENT_LENGTH {
            let length = Some(value.as_bytes()).filter(|digits| digits.iter().all(u8::is_ascii_digit));
            let length = length.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
            self.end_with(Ending::Length(length.ok_or(Refusal::Framing)?))?;
        } else if *name == header::TRANSFER_ENCODING {
            if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::Framing);
            }
            self.end_with(Ending::Chunks)?;
        } else if *name == header::EXPECT {
            self.awaits_word = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        }
        Ok(())
    }

    /// It is said once, and in one way.
    fn end_with(&mut self, ending: Ending) -> Result<(), Refusal> {
        let before = std::mem::replace(&mut self.body, ending);
        if before == Ending::Unsaid { Ok(()) } else { Err(Refusal::Framing) }
    }

    /// What is behind the head (RFC 9112, 6.3).
    fn body(&self, is_old: bool) -> Result<Decoder, Refusal> {
        match self.body {
            Ending::Unsaid => Ok(Decoder::nothing()),
            Ending::Length(length) => Ok(Decoder::exact(length)),
            // HTTP/1.0 has no chunks.
            Ending::Chunks if is_old => Err(Refusal::Framing),
            Ending::Chunks => Ok(Decoder::chunks()),
        }
    }
}

/// An answer to a request of these facts.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) framing: Framing,
    /// Whether another request may follow.
    pub(super) keeps_alive: bool,
}

/// Writes the head of an answer. Of how long its body is and what becomes of the connection, only what is true is said, and once.
pub(super) fn write<B: Body>(
    answer: &Answer<B>,
    facts: Facts,
    ends_here: bool,
    date: &[u8],
    to: &mut Vec<u8>,
) -> Written {
    let status = answer.status;
    to.extend_from_slice(if facts.is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    match answer.reason() {
        Some(reason) => to.extend_from_slice(reason.as_bytes()),
        None => to.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes()),
    }
    to.extend_from_slice(b"\r\n");
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let (mut closes, mut is_dated, mut length) = (ends_here || !facts.keeps_alive, answer.is_dated(), None);
    answer.headers().into_iter().flatten().for_each(|(name, value)| {
        if *name == header::CONTENT_LENGTH {
            length = Some(value);
        } else if *name == header::CONNECTION && !switches {
            let mut words = value.as_bytes().split(|byte| *byte == b',');
            closes |= words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if *name != header::TRANSFER_ENCODING {
            is_dated |= *name == header::DATE;
            header_line(to, name.as_str(), value.as_bytes());
        }
    });
    to.extend_from_slice(answer.lines().as_bytes());
    let framing = framing(answer, facts, length, to);
    closes |= framing == Framing::UntilClose;
    if closes && !switches {
        to.extend_from_slice(b"connection: close\r\n");
    } else if facts.is_old {
        to.extend_from_slice(b"connection: keep-alive\r\n");
    }
    if !is_dated {
        line_of(to, b"date: ", date);
    }
    to.extend_from_slice(b"\r\n");
    Written { framing, keeps_alive: !closes && !switches }
}

/// Says where the body ends, where it has one or could have had one. `said` is what the service says of it.
fn framing<B: Body>(answer: &Answer<B>, facts: Facts, said: Option<&HeaderValue>, to: &mut Vec<u8>) -> Framing {
    let (body, status) = (&answer.body, answer.status);
    let mut tell = |length: u64| line_of(to, b"content-length: ", itoa::Buffer::new().format(length).as_bytes());
    let promised = said.and_then(|value| value.to_str().ok()?.parse().ok());
    let exact = body.size_hint().exact();
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || (status == StatusCode::NOT_MODIFIED && !facts.is_head)
    {
        return Framing::Nothing;
    }
    if facts.is_head {
        // What it would be.
        if let Some(length) = promised.or(exact.filter(|length| *length > 0)) {
            tell(length);
        }
        return Framing::Nothing;
    }
    let length = if body.is_end_stream() { Some(0) } else { exact.or(promised) };
    match length {
        Some(length) => {
            tell(length);
            if length == 0 { Framing::Nothing } else { Framing::Length(length) }
        }
        None if facts.is_old => Framing::UntilClose,
        None => {
            to.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
    }
}

#[cfg(test)]
mod tests;
