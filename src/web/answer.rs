//! An answer on its way to a client.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;

use super::{Lines, RequestId};

/// What `http` has for it, and beside the map of its headers those that nobody on the way looks at: to put each into a map and take it out
/// again would cost more than to write them all.
pub struct Answer<B> {
    /// Its status.
    pub status: StatusCode,
    /// The version of the protocol it was given in.
    pub version: Version,
    is_dated: bool,
    /// What the reason is, where the server has its own. Boxed, like the headers: an answer is handed on often, and nearly none has either.
    reason: Option<Box<ReasonPhrase>>,
    /// Its headers, those that somebody looks at among them.
    headers: Option<Box<HeaderMap>>,
    /// The others come behind them.
    lines: Lines,
    /// Its body.
    pub body: B,
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

impl<B> Answer<B> {
    /// With this status, and nothing else yet. `lines` is room for them, with none in it.
    pub fn new(status: StatusCode, version: Version, lines: Lines, body: B) -> Self {
        debug_assert!(lines.as_bytes().is_empty());
        Self { status, version, is_dated: false, reason: None, headers: None, lines, body }
    }

    /// The same with a reason of the server's own.
    #[must_use]
    pub fn with_reason(self, reason: Option<ReasonPhrase>) -> Self {
        Self { reason: reason.map(Box::new), ..self }
    }

    /// That.
    pub fn reason(&self) -> Option<&ReasonPhrase> {
        self.reason.as_deref()
    }

    /// The headers that somebody looks at, where there are any.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.headers.as_deref()
    }

    /// The same, to be changed.
    pub fn headers_mut(&mut self) -> Option<&mut HeaderMap> {
        self.headers.as_deref_mut()
    }

    /// The same, to be added to.
    pub fn make_headers(&mut self) -> &mut HeaderMap {
        self.headers.get_or_insert_default()
    }

    /// Another header, behind all others.
    pub fn tell(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.lines.add(name, value);
    }

    /// One that is written already, likewise.
    pub fn tell_written(&mut self, line: &'static str) {
        self.lines.add_written(line);
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

    /// Takes back all that was told and passed, and all headers.
    pub fn forget(&mut self) {
        self.headers = None;
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
        let Self { status, version, is_dated, reason, headers, lines, body } = self;
        Answer { status, version, is_dated, reason, headers, lines, body: change(body) }
    }

    /// All of it as `http` has it, for HTTP/2, which has no reasons.
    pub fn into_response(self) -> Response<B> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.map(|headers| *headers).unwrap_or_default();
        for (name, value) in self.lines.into_fields() {
            response.headers_mut().append(name, value);
        }
        response
    }
}

impl<B> From<Response<B>> for Answer<B> {
    fn from(response: Response<B>) -> Self {
        let (mut parts, body) = response.into_parts();
        let headers = Some(Box::new(parts.headers));
        let answer = Self { headers, ..Self::new(parts.status, parts.version, Lines::default(), body) };
        answer.with_reason(parts.extensions.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
