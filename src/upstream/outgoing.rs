//! A request as it is to go out: what the client says, without what it may not say, and what is told beside it.
//!
//! Nothing is taken out of a map of headers and nothing put into one, which would cost more than to write them all.

use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};
use smallvec::SmallVec;

/// Names that are left out. Nearly always these few.
pub type Names = SmallVec<[HeaderName; 4]>;

/// Room for what is told of an authenticated request.
const TOLD: usize = 12;

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
    told: Vec<(HeaderName, HeaderValue)>,
}

impl Fields {
    /// What the client has said, without the lines of these names.
    pub fn new(said: HeaderMap, without: Names) -> Self {
        Self { said, without, told: Vec::with_capacity(TOLD) }
    }

    /// Another line. Where the client may have said it too, its name has to be among those that are left out.
    pub fn tell(&mut self, name: HeaderName, value: HeaderValue) {
        self.told.push((name, value));
    }

    /// Takes back what was told by this name.
    pub fn untell(&mut self, name: &HeaderName) {
        self.told.retain(|(told, _)| told != name);
    }

    /// All lines: first the client's.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let said = self.said.iter().filter(|(name, _)| !self.without.contains(name));
        said.chain(self.told.iter().map(|(name, value)| (name, value)))
    }

    /// The first line of this name.
    pub(super) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.iter().find(|(said, _)| *said == name).map(|(_, value)| value)
    }

    /// As a map.
    pub(super) fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.said.len() + self.told.len());
        for (name, value) in self.iter() {
            map.append(name.clone(), value.clone());
        }
        map
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
        for (name, value) in [(header::HOST, "good"), (x_id, "2"), (header::VIA, "1.1 us"), (header::TE, "trailers")] {
            fields.tell(name, HeaderValue::from_static(value));
        }
        fields.untell(&header::TE);
        let lines: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected = [
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("via", "1.0 x"),
            ("host", "good"),
            ("x-id", "2"),
            ("via", "1.1 us"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(fields.get(&header::HOST).unwrap(), "good");
        let map = fields.to_map();
        assert_eq!(map.len(), expected.len());
        assert!(expected.iter().all(|(name, value)| map.get_all(*name).iter().any(|line| line == value)));
    }
}
