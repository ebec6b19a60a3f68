//! A request as it is to go out: what the client says, without what it may not say, and what is told beside it.
//!
//! Nothing is taken out of a map of headers and nothing put into one, which would cost more than to write them all. They are written out
//! at once, as HTTP/1.1 has them.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use smallvec::SmallVec;

use crate::web::{Lines, RequestId};

/// Room for the lines of most requests.
const ROOM: usize = 1024;

/// A request on its way to a server.
#[derive(Clone, Debug)]
pub struct Outgoing<B> {
    /// Its method.
    pub method: Method,
    /// What it asks for.
    pub target: PathAndQuery,
    /// Its header lines.
    pub fields: Fields,
    /// Its body.
    pub body: B,
}

impl<B> Outgoing<B> {
    /// The same with another body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Outgoing<C> {
        let Self { method, target, fields, body } = self;
        Outgoing { method, target, fields, body: change(body) }
    }

    /// Its head, and its body.
    pub(super) fn split(self) -> (Outgoing<()>, B) {
        let Self { method, target, fields, body } = self;
        (Outgoing { method, target, fields, body: () }, body)
    }

    /// A copy of its head.
    pub fn head(&self) -> Outgoing<()> {
        let Self { method, target, fields, .. } = self;
        Outgoing { method: method.clone(), target: target.clone(), fields: fields.clone(), body: () }
    }
}

/// The header lines of a request: what the client says and what is told beside it.
#[derive(Clone, Debug)]
pub struct Fields {
    lines: Lines,
    /// What is not to be remembered on the way.
    in_confidence: SmallVec<[(HeaderName, HeaderValue); 1]>,
    /// What the client says of how long its body is. What is true of it, the body itself knows.
    length: Option<HeaderValue>,
    asks_for_trailers: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            lines: Lines::with_capacity(ROOM),
            in_confidence: SmallVec::new(),
            length: None,
            asks_for_trailers: false,
        }
    }
}

impl Fields {
    /// A line that the client says. Those of one name keep their order where all of them come in confidence or none does.
    pub fn say(&mut self, name: &HeaderName, value: &HeaderValue, in_confidence: bool) {
        if *name == header::CONTENT_LENGTH {
            self.length = Some(value.clone());
        } else if in_confidence {
            self.in_confidence.push((name.clone(), value.clone()));
        } else if *name != header::TRANSFER_ENCODING {
            self.lines.add(name, value);
        }
    }

    /// Takes back all that was said.
    pub fn unsay(&mut self) {
        self.lines.clear();
        self.in_confidence.clear();
        self.length = None;
    }

    /// A line that the client does not say, or is not heard saying.
    pub fn tell(&mut self, name: &HeaderName, value: &HeaderValue) {
        if value.is_sensitive() {
            self.in_confidence.push((name.clone(), value.clone()));
        } else {
            self.lines.add(name, value);
        }
    }

    /// The same of a value that is known to be visible ASCII.
    pub fn tell_visible(&mut self, name: &HeaderName, value: &[u8]) {
        self.lines.add_visible(name, value);
    }

    /// One that is written already.
    pub fn tell_written(&mut self, line: &'static str) {
        self.lines.add_written(line);
    }

    /// The request's id, likewise.
    pub fn tell_id(&mut self, id: &RequestId) {
        self.lines.add_id(id);
    }

    /// More of them.
    pub fn tell_lines(&mut self, lines: &Lines) {
        self.lines.extend(lines);
    }

    /// Whether the server is told that trailers are read, over HTTP/2.
    pub fn ask_for_trailers(&mut self, asks: bool) {
        self.asks_for_trailers = asks;
    }

    /// The room that they took, when nobody is told any of it any more. Nothing of them is in it.
    pub(super) fn into_room(mut self) -> Lines {
        self.lines.clear();
        self.lines
    }

    /// Nearly all of it.
    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The rest.
    pub(super) fn in_confidence(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.in_confidence.iter().map(|(name, value)| (name, value))
    }

    /// Whether the client says how long its body is.
    pub(super) fn says_length(&self) -> bool {
        self.length.is_some()
    }

    /// All of it as a map, for HTTP/2.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(32);
        for (name, value) in self.lines.clone().into_fields().chain(self.in_confidence.iter().cloned()) {
            map.append(name, value);
        }
        if let Some(length) = &self.length {
            map.insert(header::CONTENT_LENGTH, length.clone());
        }
        if self.asks_for_trailers {
            map.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        map
    }

    /// All of it, in its order, for tests of what is told.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let all = self.in_confidence.iter().cloned().chain(self.lines.clone().into_fields());
        all.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }
}

#[cfg(test)]
impl<B> From<http::Request<B>> for Outgoing<B> {
    fn from(request: http::Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let (target, mut fields) = (parts.uri.path_and_query().cloned().unwrap(), Fields::default());
        parts.headers.iter().for_each(|(name, value)| fields.say(name, value, value.is_sensitive()));
        Self { method: parts.method, target, fields, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_and_told_goes_out_in_its_order_and_secrets_apart_from_it() {
        let mut secret = HeaderValue::from_static("13800000000");
        secret.set_sensitive(true);
        let (x_id, x_phone) = (HeaderName::from_static("x-id"), HeaderName::from_static("x-phone"));
        let mut fields = Fields::default();
        for (name, value) in [
            (header::COOKIE, "a=1"),
            (header::COOKIE, "b=2"),
            (header::CONTENT_LENGTH, "3"),
            (header::TRANSFER_ENCODING, "chunked"),
            (header::VIA, "1.0 x"),
        ] {
            fields.say(&name, &HeaderValue::from_static(value), false);
        }
        for value in ["plain", "never indexed"] {
            fields.say(&header::WARNING, &HeaderValue::from_static(value), true);
        }
        let told = [
            (header::HOST, HeaderValue::from_static("good")),
            (x_phone, secret),
            (x_id.clone(), HeaderValue::from_static("")),
            (header::VIA, HeaderValue::from_bytes(b"1.1 us: \xe9").unwrap()),
        ];
        for (name, value) in &told {
            fields.tell(name, value);
        }
        let mut more = Lines::default();
        more.add(&x_id, &HeaderValue::from_static("2"));
        fields.tell_lines(&more);
        fields.ask_for_trailers(true);
        let apart: Vec<_> =
            fields.in_confidence().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(apart, [("warning", "plain"), ("warning", "never indexed"), ("x-phone", "13800000000")]);
        assert_eq!(
            fields.lines().as_bytes(),
            b"cookie: a=1\r\ncookie: b=2\r\nvia: 1.0 x\r\nhost: good\r\nx-id: \r\nvia: 1.1 us: \xe9\r\nx-id: 2\r\n"
        );
        assert!(fields.says_length());
        let map = fields.to_map();
        assert_eq!(map.len(), 12);
        assert!(map.get("te").unwrap() == "trailers" && map.get("host").unwrap() == "good");
        assert!(map.get("content-length").unwrap() == "3" && !map.contains_key("transfer-encoding"));
        assert!(map.get("x-phone").unwrap().is_sensitive());
        assert!(map.get_all("x-id").iter().eq(["", "2"]) && map.get_all("cookie").iter().eq(["a=1", "b=2"]));
        assert!(map.get_all("via").iter().eq([&b"1.0 x"[..], b"1.1 us: \xe9"]));
        assert!(map.get_all("warning").iter().eq(["plain", "never indexed"]));
        assert!(!format!("{fields:?}").contains("13800000000"));
        assert!(fields.clone().into_room().as_bytes().is_empty());
        fields.unsay();
        assert!(fields.all().is_empty() && !fields.says_length());
    }
}
