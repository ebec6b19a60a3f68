//! What a request must be before the service may see it, beyond what the protocol's own parser has made sure of: pseudo
//! fields that are there once and come first, no field that belongs to an HTTP/1 connection, no control characters, a body
//! as long as its `Content-Length` (RFC 9113, 8.1 to 8.3). The counterpart of [`screen`](super::super::screen).

use http::{
    HeaderMap, HeaderValue, Request, header,
    uri::{Authority, PathAndQuery},
};
use hyper::{
    body::{Body, Incoming},
    ext::Protocol,
};

use super::super::screen::HeadLimits;
use crate::web::Refusal;

/// What a field counts beside its bytes (RFC 9113, 6.5.2).
const FIELD: usize = 32;

/// Lets a request through, in the form that HTTP/1 upstreams understand, or says why not.
pub(super) fn admit(mut request: Request<Incoming>, limits: &HeadLimits) -> Result<Request<Incoming>, Refusal> {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.target {
        return Err(Refusal::TargetTooLong);
    }
    let is_empty = request.body().is_end_stream();
    let left = limits.bytes.saturating_sub(pseudo_fields(&request));
    admit_fields(request.headers_mut(), is_empty, &HeadLimits { bytes: left, ..*limits })?;
    Ok(request)
}

/// As many bytes as the pseudo fields count.
fn pseudo_fields<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let fields = [
        (":method", Some(request.method().as_str())),
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(Authority::as_str)),
        (":path", uri.path_and_query().map(PathAndQuery::as_str)),
        (":protocol", request.extensions().get::<Protocol>().map(Protocol::as_str)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some(name.len() + value?.len() + FIELD)).sum()
}

/// A field costs a client one byte where the table of the compression has it, and an upstream a whole line. So they are
/// counted as they would be written, and each crumb of a cookie is one.
fn admit_fields(fields: &mut HeaderMap, is_empty: bool, limits: &HeadLimits) -> Result<(), Refusal> {
    if fields.len() > limits.lines {
        return Err(Refusal::TooManyHeaders);
    }
    if fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum::<usize>() > limits.bytes {
        return Err(Refusal::HeadTooLarge);
    }
    // Whoever writes them into lines would have them cut off again, and compare them with what is left (RFC 9113, 8.2.1).
    if fields.values().any(|value| is_padded(value.as_bytes())) {
        return Err(Refusal::Malformed);
    }
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        // Twice, even with equal values, is a list that some refuse, some join and some cut.
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        let promised = length.as_bytes().iter().any(|digit| *digit != b'0');
        if !digits || lengths.next().is_some() || (is_empty && promised) {
            return Err(Refusal::Framing);
        }
    }
    join_crumbs(fields)
}

/// Whether a value begins or ends with a blank.
fn is_padded(value: &[u8]) -> bool {
    [value.first(), value.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'))
}

/// HTTP/2 may cut a cookie into crumbs; HTTP/1 has one line for them (RFC 9113, 8.2.3).
fn join_crumbs(fields: &mut HeaderMap) -> Result<(), Refusal> {
    let crumbs: Vec<&[u8]> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).map_err(|_| Refusal::Malformed)?;
        fields.insert(header::COOKIE, whole);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, lines: 4, target: 64 };

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn the_crumbs_of_a_cookie_are_joined_in_their_order() {
        let mut some = fields(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        admit_fields(&mut some, true, &LIMITS).unwrap();
        let lines: Vec<_> = some.get_all("cookie").iter().collect();
        assert_eq!(lines, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn every_crumb_is_counted() {
        let mut many = fields(&[("cookie", "a=1"); 5]);
        assert_eq!(admit_fields(&mut many, true, &LIMITS), Err(Refusal::TooManyHeaders));
        assert_eq!(admit_fields(&mut fields(&[("cookie", "a=1"); 4]), true, &LIMITS), Ok(()));
    }

    #[test]
    fn a_field_counts_32_bytes_more_than_it_has() {
        let limits = HeadLimits { bytes: 2 * (1 + 3 + FIELD), ..LIMITS };
        let mut some = fields(&[("a", "123"), ("b", "456")]);
        assert_eq!(admit_fields(&mut some, true, &limits), Ok(()));
        some.insert("b", HeaderValue::from_static("4567"));
        assert_eq!(admit_fields(&mut some, true, &limits), Err(Refusal::HeadTooLarge));
        let request = Request::get("https://a.example/x").body(()).unwrap();
        let without = 7 + 3 + 7 + 5 + 10 + 9 + 5 + 2 + 4 * FIELD;
        assert_eq!(pseudo_fields(&request), without);
        let protocol = Protocol::from_static("websocket");
        let opening = Request::get("https://a.example/x").extension(protocol).body(()).unwrap();
        assert_eq!(pseudo_fields(&opening), without + 9 + 9 + FIELD);
    }

    #[test]
    fn a_value_has_no_blanks_around_it() {
        for (value, verdict) in [(" a", false), ("a\t", false), (" ", false), ("a b", true), ("", true)] {
            assert_eq!(admit_fields(&mut fields(&[("x", value)]), true, &LIMITS).is_ok(), verdict, "{value:?}");
        }
    }

    #[test]
    fn where_a_body_ends_is_not_left_to_opinion() {
        for (lines, is_empty, verdict) in [
            (&[("content-length", "5")][..], false, Ok(())),
            (&[("content-length", "0")], true, Ok(())),
            (&[("content-length", "5")], true, Err(Refusal::Framing)),
            (&[("content-length", "+5")], false, Err(Refusal::Framing)),
            (&[("content-length", "")], false, Err(Refusal::Framing)),
            (&[("content-length", "5"), ("content-length", "5")], false, Err(Refusal::Framing)),
        ] {
            assert_eq!(admit_fields(&mut fields(lines), is_empty, &LIMITS), verdict, "{lines:?} {is_empty}");
        }
    }
}
