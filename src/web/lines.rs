//! Header lines that are written out at once and looked at no more.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::{RequestId, header_line, line_of};

/// Header lines as HTTP/1.1 has them.
#[derive(Clone, Default)]
pub struct Lines(Vec<u8>);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines(…)")
    }
}

impl Lines {
    /// None yet, and room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Another line.
    pub fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        header_line(&mut self.0, name.as_str(), value.as_bytes());
    }

    /// One of a value that is known to be visible ASCII, and so needs no looking at.
    pub fn add_visible(&mut self, name: &HeaderName, value: &[u8]) {
        debug_assert!(value.iter().all(u8::is_ascii_graphic));
        header_line(&mut self.0, name.as_str(), value);
    }

    /// The line of a request's id.
    pub fn add_id(&mut self, id: &RequestId) {
        line_of(&mut self.0, b"x-request-id: ", id.as_bytes());
    }

    /// A line that is written already, with its end.
    pub fn add_written(&mut self, line: &'static str) {
        debug_assert!(line.ends_with("\r\n") && line.contains(": "));
        self.0.extend_from_slice(line.as_bytes());
    }

    /// Another line, as it was read: a name and a value that a parser has found, the name in any case.
    pub fn add_read(&mut self, name: &str, value: &[u8]) {
        debug_assert!(![name.as_bytes(), value].iter().any(|part| memchr::memchr2(b'\r', b'\n', part).is_some()));
        let begin = self.0.len();
        header_line(&mut self.0, name, value);
        self.0[begin..begin + name.len()].make_ascii_lowercase();
    }

    /// None any more, and the same room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// More of them.
    pub fn extend(&mut self, more: &Self) {
        self.0.extend_from_slice(&more.0);
    }

    /// Whether the last line is this one.
    pub fn ends_with(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        let rest = self.0.strip_suffix(b"\r\n").and_then(|rest| rest.strip_suffix(value.as_bytes()));
        let rest = rest.and_then(|rest| rest.strip_suffix(b": ")?.strip_suffix(name.as_str().as_bytes()));
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\n"))
    }

    /// The same without room for more.
    #[must_use]
    pub fn packed(mut self) -> Self {
        self.0.shrink_to_fit();
        self
    }

    /// The bytes of all of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// One after the other, for whoever writes them in another way. None is left out that was a name and a value when it came here.
    pub fn into_fields(self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let mut rest = Bytes::from(self.0);
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', &rest)?;
            Some(rest.split_to(end + 1))
        })
        .filter_map(|line| {
            let colon = memchr::memchr(b':', &line)?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            let value =
                line.len().checked_sub(2).filter(|end| *end >= colon + 2).map(|end| line.slice(colon + 2..end))?;
            Some((name, HeaderValue::from_maybe_shared(value).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;
    use crate::web::headers::X_REQUEST_ID;

    #[test]
    fn the_last_line_is_known_by_its_whole_name_and_value() {
        let (host, value) = (HeaderName::from_static("x-host"), HeaderValue::from_static("a.example"));
        let mut lines = Lines::default();
        assert!(!lines.ends_with(&host, &value));
        lines.add(&host, &value);
        assert!(lines.ends_with(&host, &value));
        for (name, value) in [("host", "a.example"), ("x-host", "example"), ("x-host", "")] {
            assert!(
                !lines.ends_with(&HeaderName::from_static(name), &HeaderValue::from_static(value)),
                "{name} {value}"
            );
        }
        lines.add(&header::VIA, &value);
        assert!(!lines.ends_with(&host, &value) && lines.ends_with(&header::VIA, &value));
    }

    #[test]
    fn what_is_written_beforehand_is_a_line_like_any_other() {
        let (mut lines, mut others) = (Lines::default(), Lines::default());
        lines.add_id(&RequestId::told(b"id1").unwrap());
        lines.add_written("via: 1.1 us\r\n");
        others.add(&X_REQUEST_ID, &HeaderValue::from_static("id1"));
        others.add(&header::VIA, &HeaderValue::from_static("1.1 us"));
        assert_eq!(lines.as_bytes(), others.as_bytes());
    }

    #[test]
    fn what_was_read_is_written_in_one_way_and_found_again() {
        let mut lines = Lines::default();
        for (name, value) in
            [("ETag", &b"\"A\""[..]), ("X-Empty", b""), ("set-cookie", b"a: B\xe9"), ("SET-COOKIE", b"c")]
        {
            lines.add_read(name, value);
        }
        assert_eq!(lines.as_bytes(), b"etag: \"A\"\r\nx-empty: \r\nset-cookie: a: B\xe9\r\nset-cookie: c\r\n");
        let found: Vec<_> =
            lines.clone().into_fields().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        let is = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let all = [is("etag", b"\"A\""), is("x-empty", b""), is("set-cookie", b"a: B\xe9"), is("set-cookie", b"c")];
        assert_eq!(found, all);
        assert_eq!(format!("{lines:?}"), "Lines(…)");
    }
}
