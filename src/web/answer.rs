//! An answer on its way to a client.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::{Lines, RequestId};

/// Room for so many headers is kept from one request to the next. A connection may last long behind one that had more.
const KEPT: usize = 48;

/// Room for the head of an answer: mostly that of the request, which is of no use any more when the answer comes.
#[derive(Default)]
pub struct Room {
    headers: HeaderMap,
    lines: Lines,
}

impl Room {
    /// That of these, of which nothing is left.
    pub fn of(mut headers: HeaderMap, mut lines: Lines) -> Self {
        headers.clear();
        lines.clear();
        Self { headers, lines }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

/// What `http` has for it, and beside the map of its headers those that nobody on the way looks at: to put each into a map and take it out
/// again would cost more than to write them all.
pub struct Answer<B> {
    /// Its status.
    pub status: StatusCode,
    /// What the reason is, where the server has its own.
    pub reason: Option<ReasonPhrase>,
    /// The version of the protocol it was given in.
    pub version: Version,
    /// Its headers, those that somebody looks at among them.
    pub headers: HeaderMap,
    /// The others come behind them.
    lines: Lines,
    is_dated: bool,
    /// Its body.
    pub body: B,
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

impl<B> Answer<B> {
    /// With this status, and nothing else yet.
    pub fn new(status: StatusCode, version: Version, room: Room, body: B) -> Self {
        let Room { headers, lines } = room;
        Self { status, reason: None, version, headers, lines, is_dated: false, body }
    }

    /// Another header, behind all others.
    pub fn tell(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.lines.add(name, value);
    }

    /// The id of the request, likewise.
    pub fn tell_id(&mut self, id: &RequestId) {
        self.lines.add_id(id);
    }

    /// Another header, as a server has said it, which goes to the client as it is.
    pub fn pass(&mut self, name: &str, value: &[u8]) {
        self.is_dated |= name.eq_ignore_ascii_case(header::DATE.as_str());
        self.lines.add_read(name, value);
    }

    /// Takes back all that was told and passed.
    pub fn forget_lines(&mut self) {
        self.lines.clear();
        self.is_dated = false;
    }

    /// The headers that are not in the map.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Whether one of those is the date.
    pub fn is_dated(&self) -> bool {
        self.is_dated
    }

    /// The same with another body.
    pub fn map<C>(self, change: impl FnOnce(B) -> C) -> Answer<C> {
        let Self { status, reason, version, headers, lines, is_dated, body } = self;
        Answer { status, reason, version, headers, lines, is_dated, body: change(body) }
    }

    /// The room that its headers took, unless that is more than most need, and its body.
    pub fn into_room_and_body(mut self) -> (HeaderMap, B) {
        self.headers.clear();
        let is_small = self.headers.capacity() <= KEPT;
        (if is_small { self.headers } else { HeaderMap::new() }, self.body)
    }

    /// All of it as `http` has it, for HTTP/2, which has no reasons.
    pub fn into_response(self) -> Response<B> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        for (name, value) in self.lines.into_fields() {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl<B> From<Response<B>> for Answer<B> {
    fn from(response: Response<B>) -> Self {
        let (mut parts, body) = response.into_parts();
        let reason = parts.extensions.remove();
        Self { reason, headers: parts.headers, ..Self::new(parts.status, parts.version, Room::default(), body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection may stay in an answer's body for hours.
    #[test]
    fn room_is_used_again_empty_and_only_where_it_is_small() {
        let value = HeaderValue::from_static("secret");
        for (count, is_kept) in [(8, true), (100, false)] {
            let names = (0..count).map(|n| HeaderName::try_from(format!("x-{n}")).unwrap());
            let (mut headers, mut lines) =
                (names.map(|name| (name, value.clone())).collect::<HeaderMap>(), Lines::default());
            lines.add(&header::VIA, &value);
            headers.append(header::VIA, value.clone());
            let answer = Answer::new(StatusCode::OK, Version::HTTP_11, Room::of(headers, lines), ());
            assert!(answer.headers.is_empty() && answer.lines().as_bytes().is_empty());
            let (headers, ()) = answer.into_room_and_body();
            assert_eq!((headers.is_empty(), headers.capacity() > 0), (true, is_kept), "{count}");
        }
    }

    #[test]
    fn what_passes_as_it_came_is_found_again_in_its_order() {
        let mut answer = Answer::from(Response::builder().status(404).header("x-a", "1").body("text").unwrap());
        answer.pass("Set-Cookie", b"a=1");
        assert!(!answer.is_dated());
        answer.pass("DATE", b"today");
        answer.pass("set-cookie", b"b=2");
        answer.tell(&header::VIA, &HeaderValue::from_static("us"));
        assert!(answer.is_dated());
        let response = answer.map(str::len).into_response();
        assert_eq!((response.status().as_u16(), *response.body()), (404, 4));
        let said: Vec<_> = response.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        assert_eq!(
            said,
            ["x-a: \"1\"", "set-cookie: \"a=1\"", "set-cookie: \"b=2\"", "date: \"today\"", "via: \"us\""]
        );
    }
}
