//! The opening of a WebSocket (RFC 6455, 4): what a client offers, and whether the upstream's 101 is an answer to it.
//!
//! Both are read strictly. Behind a 101 no request is looked at any more, so a gateway that takes for an opening what its
//! upstream does not, or the other way round, lets bytes past that nobody has decided about.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
    },
};
use sha1_smol::Sha1;

use super::Error;
use crate::{
    auth::carriers::{MARKER, holds_a_token},
    upstream::Fields,
};

/// What every server puts behind the client's key (RFC 6455, 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a client asks for with the opening of a WebSocket.
#[derive(Debug)]
pub struct Offer {
    /// What the right `Sec-WebSocket-Accept` is.
    accept: String,
    /// The key of ours, where the client has none: HTTP/2 does without.
    key: Option<HeaderValue>,
    protocols: Vec<Vec<u8>>,
    /// By their names, without parameters.
    extensions: Vec<Vec<u8>>,
    /// Whether the client would have the answer name a subprotocol that only says that there is a gateway.
    marked: bool,
}

impl Offer {
    /// The offer of a request, where it asks for a WebSocket. Whoever asks for something else, `h2c` for one, is answered
    /// as if nothing had been asked (RFC 9110, 7.8); whoever asks for a WebSocket in any other than the one way is refused.
    /// Where it came over HTTP/2, `nonce` is what the upstream has to answer to.
    pub fn find<B>(request: &Request<B>, nonce: impl FnOnce() -> [u8; 16]) -> Result<Option<Self>, Error> {
        let headers = request.headers();
        if !list(headers, &UPGRADE).any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
            return Ok(None);
        }
        let over_http2 = Self::is_all_that_is_asked(request);
        let well_formed = *request.method() == Method::GET
            && (over_http2 || request.version() == Version::HTTP_11)
            && only(headers, &UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
            && list(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
            && only(headers, &SEC_WEBSOCKET_VERSION) == Some(b"13")
            && has_no_body(headers);
        let own = over_http2.then(|| BASE64_STANDARD.encode(nonce()));
        let key = own.as_deref().map(str::as_bytes).or_else(|| only(headers, &SEC_WEBSOCKET_KEY));
        let key = key.filter(|key| well_formed && is_key(key)).ok_or(Error::NoHandshake)?;
        let protocols = list(headers, &SEC_WEBSOCKET_PROTOCOL);
        Ok(Some(Self {
            accept: accept(key),
            key: own.and_then(|own| HeaderValue::try_from(own).ok()),
            // A token is not to come back in the answer, where each proxy on the way could write it down.
            protocols: protocols.filter(|offer| !holds_a_token(offer)).map(<[u8]>::to_vec).collect(),
            extensions: extensions(headers).map(<[u8]>::to_vec).collect(),
            marked: false,
        }))
    }

    /// Whether a request is for a WebSocket or for nothing: over HTTP/2 it takes a method of its own, and to be answered
    /// as if nothing had been asked would say that it is open. Whoever speaks HTTP/2 can't send the header by itself.
    pub fn is_all_that_is_asked<B>(request: &Request<B>) -> bool {
        request.version() == Version::HTTP_2 && request.headers().contains_key(UPGRADE)
    }

    /// The same where [`MARKER`] was offered besides, or not.
    #[must_use]
    pub fn marked(self, marked: bool) -> Self {
        Self { marked, ..self }
    }

    /// Chooses a subprotocol where the upstream has chosen none. Browsers close a WebSocket that they have offered some for
    /// and been given none.
    pub(super) fn choose_for(&self, headers: &mut HeaderMap) {
        if self.marked {
            headers.entry(SEC_WEBSOCKET_PROTOCOL).or_insert(HeaderValue::from_static(MARKER));
        }
    }

    /// Whether what the upstream has to answer to is a key of ours.
    pub(super) fn has_own_key(&self) -> bool {
        self.key.is_some()
    }

    /// Says so in the head of a request, from which all that concerns one connection has been removed.
    pub(super) fn tell(&self, fields: &mut Fields) {
        tell(|name, value| fields.tell(&name, &value));
        if let Some(key) = &self.key {
            fields.tell(&SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Whether an answer would tell the client that its WebSocket is open, though it is not.
    pub(super) fn is_belied_by(&self, status: StatusCode) -> bool {
        self.key.is_some() && status.is_success()
    }

    /// Whether an answer with 101 is the right one. What it chooses must have been offered.
    pub(super) fn is_met_by(&self, headers: &HeaderMap) -> bool {
        let protocols = list(headers, &SEC_WEBSOCKET_PROTOCOL).collect::<Vec<_>>();
        only(headers, &UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
            && list(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case(b"upgrade"))
            && only(headers, &SEC_WEBSOCKET_ACCEPT) == Some(self.accept.as_bytes())
            && protocols.len() <= 1
            && protocols.iter().all(|chosen| self.protocols.iter().any(|offered| offered == chosen))
            && extensions(headers).all(|chosen| self.extensions.iter().any(|offered| offered == chosen))
    }
}

/// Says in a head, from which all that concerns one connection has been removed, that this connection is to be a WebSocket.
pub(super) fn tell(mut tell: impl FnMut(HeaderName, HeaderValue)) {
    tell(CONNECTION, HeaderValue::from_static("Upgrade"));
    tell(UPGRADE, WEBSOCKET);
}

/// The value of a header that is there once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    lines.next().is_none().then(|| line.as_bytes().trim_ascii())
}

/// The elements of a header that is a list.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> + use<'h> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

fn extensions(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let name = |element: &'_ [u8]| element.iter().position(|b| *b == b';').unwrap_or(element.len());
    list(headers, &SEC_WEBSOCKET_EXTENSIONS).map(move |element| element[..name(element)].trim_ascii())
}

/// Sixteen bytes as base64 writes them.
fn is_key(key: &[u8]) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

fn has_no_body(headers: &HeaderMap) -> bool {
    !headers.contains_key(TRANSFER_ENCODING) && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
}

fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    BASE64_STANDARD.encode(hash.digest().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn opening() -> Request<()> {
        let request = Request::builder().header("connection", "keep-alive, Upgrade").header("upgrade", "websocket");
        let request = request.header("sec-websocket-key", KEY).header("sec-websocket-version", "13");
        let request = request.header("sec-websocket-protocol", "chat, v2.chat");
        request.header("sec-websocket-extensions", "permessage-deflate; client_max_window_bits").body(()).unwrap()
    }

    fn changed(change: impl FnOnce(&mut Request<()>)) -> Result<Option<Offer>, Error> {
        let mut request = opening();
        change(&mut request);
        find(&request)
    }

    fn find(request: &Request<()>) -> Result<Option<Offer>, Error> {
        Offer::find(request, || *b"the sample nonce")
    }

    /// Gives a header exactly these lines.
    fn set(request: &mut Request<()>, name: &str, lines: &[&'static str]) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().remove(&name);
        for line in lines {
            request.headers_mut().append(&name, HeaderValue::from_static(line));
        }
    }

    fn answer(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn an_opening_is_taken_for_one_and_nothing_like_it() {
        assert_eq!(find(&opening()).unwrap().unwrap().accept, ACCEPT);
        let cases: [(&str, &[&'static str]); 11] = [
            ("upgrade", &["h2c, websocket"]),
            ("upgrade", &["websocket", "websocket"]),
            ("connection", &[]),
            ("connection", &["close"]),
            ("sec-websocket-key", &[]),
            ("sec-websocket-key", &[KEY, KEY]),
            ("sec-websocket-key", &["eA=="]),
            ("sec-websocket-version", &[]),
            ("sec-websocket-version", &["8"]),
            ("content-length", &["1"]),
            ("transfer-encoding", &["chunked"]),
        ];
        for (name, lines) in cases {
            let offer = changed(|request| set(request, name, lines));
            assert!(matches!(offer, Err(Error::NoHandshake)), "{name} {lines:?}");
        }
        assert!(matches!(changed(|request| *request.method_mut() = Method::POST), Err(Error::NoHandshake)));
        assert!(matches!(changed(|request| *request.version_mut() = Version::HTTP_10), Err(Error::NoHandshake)));
    }

    #[test]
    fn who_asks_for_something_else_asks_for_nothing() {
        for other in ["h2c", "TLS/1.0", "websockets", ""] {
            let offer = changed(|request| set(request, "upgrade", &[other]));
            assert!(matches!(offer, Ok(None)), "{other}");
        }
        assert!(matches!(changed(|r| r.headers_mut().clear()), Ok(None)));
    }

    #[test]
    fn an_answer_fits_its_offer_or_is_none() {
        let offer = find(&opening()).unwrap().unwrap();
        let right = [("connection", "upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-accept", ACCEPT)];
        let with = |more: &[(&'static str, &'static str)]| offer.is_met_by(&answer(&[&right, more].concat()));
        assert!(with(&[]) && with(&[("sec-websocket-protocol", "chat")]));
        assert!(with(&[("sec-websocket-extensions", "permessage-deflate; server_no_context_takeover")]));
        for more in [
            ("sec-websocket-protocol", "other"),
            ("sec-websocket-protocol", "chat, v2.chat"),
            ("sec-websocket-extensions", "x-unheard-of"),
            ("sec-websocket-accept", ACCEPT),
            ("upgrade", "h2c"),
        ] {
            assert!(!with(&[more]), "{more:?}");
        }
        for missing in 0..right.len() {
            let rest: Vec<_> = (0..right.len()).filter(|n| *n != missing).map(|n| right[n]).collect();
            assert!(!offer.is_met_by(&answer(&rest)), "{:?}", right[missing]);
        }
        let wrong = [right[0], right[1], ("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")];
        assert!(!offer.is_met_by(&answer(&wrong)));
    }

    #[test]
    fn over_http2_the_key_is_ours_and_so_is_what_has_to_be_answered_to() {
        let mut request = opening();
        *request.version_mut() = Version::HTTP_2;
        request.headers_mut().remove("sec-websocket-key");
        let offer = find(&request).unwrap().unwrap();
        assert_eq!(offer.accept, ACCEPT);
        let mut told = Fields::default();
        offer.tell(&mut told);
        let expected = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", KEY)];
        assert_eq!(told.all(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        for (status, belied) in [(200, true), (204, true), (101, false), (302, false), (403, false)] {
            assert_eq!(offer.is_belied_by(StatusCode::from_u16(status).unwrap()), belied, "{status}");
        }
        assert!(!find(&opening()).unwrap().unwrap().is_belied_by(StatusCode::OK));
        request.headers_mut().remove("sec-websocket-version");
        assert!(matches!(find(&request), Err(Error::NoHandshake)));
    }
}
