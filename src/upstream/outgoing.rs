//! A request as it is to go out: what the client says, without what it may not say, and what is told beside it.
//!
//! Nothing is taken out of a map of headers and nothing put into one, which would cost more than to write them all. What is told is
//! written out at once, as HTTP/1.1 has it.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header, uri::PathAndQuery};
use smallvec::SmallVec;

use crate::web::{Lines, Room};

/// Names that are left out. Nearly always these few.
pub type Names = SmallVec<[HeaderName; 4]>;

/// Room for what is told of an authenticated request.
const TOLD: usize = 512;

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

/// The header lines of a request.
#[derive(Clone, Debug)]
pub struct Fields {
    said: HeaderMap,
    without: Names,
    told: Lines,
    /// What is told and not to be remembered on the way.
    in_confidence: SmallVec<[(HeaderName, HeaderValue); 1]>,
    asks_for_trailers: bool,
}

impl Fields {
    /// What the client has said, without the lines of these names.
    pub fn new(said: HeaderMap, without: Names) -> Self {
        let told = Lines::with_capacity(TOLD);
        Self { said, without, told, in_confidence: SmallVec::new(), asks_for_trailers: false }
    }

    /// Another line. Where the client may have said it too, its name has to be among those that are left out.
    pub fn tell(&mut self, name: &HeaderName, value: &HeaderValue) {
        if value.is_sensitive() {
            self.in_confidence.push((name.clone(), value.clone()));
        } else {
            self.told.add(name, value);
        }
    }

    /// More of them.
    pub fn tell_lines(&mut self, lines: &Lines) {
        self.told.extend(lines);
    }

    /// Whether the server is told that trailers are read, over HTTP/2.
    pub fn ask_for_trailers(&mut self, asks: bool) {
        self.asks_for_trailers = asks;
    }

    /// Its room, when nobody is told any of it any more.
    pub(super) fn into_room(self) -> Room {
        Room::of(self.said, self.told)
    }

    /// The client's lines, and what is told in confidence.
    pub(super) fn separate(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let said = self.said.iter().filter(|(name, _)| !self.without.contains(name));
        said.chain(self.in_confidence.iter().map(|(name, value)| (name, value)))
    }

    /// All else that is told.
    pub(super) fn told(&self) -> &Lines {
        &self.told
    }

    /// All of it as a map, for HTTP/2.
    pub(super) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.said.len() + 16);
        for (name, value) in self.separate() {
            map.append(name.clone(), value.clone());
        }
        for (name, value) in self.told.clone().into_fields() {
            map.append(name, value);
        }
        if self.asks_for_trailers {
            map.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        map
    }

    /// All of it, in its order, for tests of what is told.
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<(String, String)> {
        let separate = self.separate().map(|(name, value)| (name.clone(), value.clone()));
        let all = separate.chain(self.told.clone().into_fields());
        all.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }
}

#[cfg(test)]
impl<B> From<http::Request<B>> for Outgoing<B> {
    fn from(request: http::Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        let target = parts.uri.path_and_query().cloned().unwrap();
        Self { method: parts.method, target, fields: Fields::new(parts.headers, Names::new()), body }
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn what_is_told_stands_in_the_place_of_what_the_client_has_said() {
        let mut said = HeaderMap::new();
        for (name, value) in
            [("host", "evil"), ("cookie", "a=1"), ("cookie", "b=2"), ("via", "1.0 x"), ("x-id", "0"), ("x-id", "1")]
        {
            said.append(name, HeaderValue::from_static(value));
        }
        let x_id = HeaderName::from_static("x-id");
        let mut fields = Fields::new(said, Names::from_iter([header::HOST, x_id.clone()]));
        let mut secret = HeaderValue::from_static("13800000000");
        secret.set_sensitive(true);
        let told = [
            (header::HOST, HeaderValue::from_static("good")),
            (HeaderName::from_static("x-phone"), secret),
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
        let separate: Vec<_> =
            fields.separate().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(separate, [("cookie", "a=1"), ("cookie", "b=2"), ("via", "1.0 x"), ("x-phone", "13800000000")]);
        assert_eq!(fields.told().as_bytes(), b"host: good\r\nx-id: \r\nvia: 1.1 us: \xe9\r\nx-id: 2\r\n");
        let map = fields.to_map();
        assert_eq!(map.len(), 9);
        assert!(map.get("te").unwrap() == "trailers" && map.get("host").unwrap() == "good");
        assert!(map.get("x-phone").unwrap().is_sensitive());
        assert!(map.get_all("x-id").iter().eq(["", "2"]));
        assert!(map.get_all("via").iter().eq([&b"1.0 x"[..], b"1.1 us: \xe9"]));
        assert!(!format!("{fields:?}").contains("13800000000"));
    }
}
