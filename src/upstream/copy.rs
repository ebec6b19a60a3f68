//! The head of a request as it was written: should its connection break without an answer, it may be sent once more.
//!
//! Nearly every request has its answer, so nearly no copy is ever read. Bytes are copied sooner than a map of headers, and
//! made into one again when somebody needs it.

use std::{cell::RefCell, fmt, io::IoSlice, rc::Rc};

use http::{HeaderName, HeaderValue, Request};

/// Room for more than this is not kept for the next request.
const KEPT: usize = 4096;

/// What a connection keeps of the request that it carries.
#[derive(Clone, Default)]
pub(super) struct Copy(Rc<RefCell<Written>>);

#[derive(Default)]
struct Written {
    is_wanted: bool,
    head: Vec<u8>,
}

impl fmt::Debug for Copy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Copy")
    }
}

impl Copy {
    /// The next request is to be copied. It has no body.
    pub(super) fn begin(&self) {
        let mut written = self.0.borrow_mut();
        written.head.clear();
        written.is_wanted = true;
    }

    /// Nobody needs the copy any more.
    pub(super) fn end(&self) {
        let mut written = self.0.borrow_mut();
        written.is_wanted = false;
        if written.head.capacity() > KEPT {
            written.head = Vec::new();
        }
    }

    /// This is about to be written. hyper hands all that it has over at once, and on a connection that owes nothing that is
    /// this head, whole; whatever becomes of the try.
    pub(super) fn take(&self, pieces: &[IoSlice<'_>]) {
        let mut written = self.0.borrow_mut();
        if written.is_wanted && written.head.is_empty() {
            for piece in pieces {
                written.head.extend_from_slice(piece);
            }
        }
    }

    /// The request, if it was copied. None of its values can be printed, since nobody knows any more which ones might be.
    pub(super) fn request(&self) -> Option<Request<()>> {
        let written = self.0.borrow();
        if written.is_wanted { parse(&written.head) } else { None }
    }
}

fn parse(head: &[u8]) -> Option<Request<()>> {
    let lines = memchr::memchr_iter(b'\n', head).count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut read = httparse::Request::new(&mut fields);
    if read.parse(head) != Ok(httparse::Status::Complete(head.len())) {
        return None;
    }
    let mut request = Request::builder().method(read.method?).uri(read.path?).body(()).ok()?;
    for field in read.headers.iter() {
        // Said by hyper to a server of HTTP/1.0 only, and another one may speak HTTP/2.
        if field.name == "connection" && field.value == b"keep-alive" {
            continue;
        }
        let mut value = HeaderValue::from_bytes(field.value).ok()?;
        value.set_sensitive(true);
        request.headers_mut().append(HeaderName::from_bytes(field.name.as_bytes()).ok()?, value);
    }
    Some(request)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const HEAD: &str = "GET /a/b?c=%20&d HTTP/1.1\r\nhost: a.example:1\r\nx-wx-openid: oAlice\r\ncookie: a=1\r\ncookie: b=\"2\"\r\n\
        x-empty: \r\nx-latin: \u{e9}\r\nconnection: keep-alive\r\n\r\n";

    fn copied(pieces: &[&[u8]]) -> Option<Request<()>> {
        let copy = Copy::default();
        copy.begin();
        copy.take(&pieces.iter().map(|piece| IoSlice::new(piece)).collect::<Vec<_>>());
        copy.request()
    }

    #[test]
    fn a_head_is_what_it_was_before_it_was_written() {
        let request = copied(&[HEAD.as_bytes()]).unwrap();
        assert_eq!((request.method(), &*request.uri().to_string()), (&Method::GET, "/a/b?c=%20&d"));
        let lines: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 6] = [
            ("host", b"a.example:1"),
            ("x-wx-openid", b"oAlice"),
            ("cookie", b"a=1"),
            ("cookie", b"b=\"2\""),
            ("x-empty", b""),
            ("x-latin", "\u{e9}".as_bytes()),
        ];
        assert_eq!(lines, expected);
        assert!(!format!("{request:?}").contains("oAlice"), "a value was printed");
    }

    #[test]
    fn what_is_no_whole_head_is_nothing_to_send() {
        for pieces in [&[][..], &[&HEAD.as_bytes()[..40]], &[HEAD.as_bytes(), b"x"], &[b"\r\n\r\n"]] {
            assert!(copied(pieces).is_none(), "{pieces:?}");
        }
    }

    #[test]
    fn only_what_is_tried_first_is_kept_and_only_while_it_is_wanted() {
        let copy = Copy::default();
        let write = || copy.take(&[IoSlice::new(HEAD.as_bytes())]);
        write();
        assert!(copy.request().is_none(), "nobody wanted it");
        copy.begin();
        write();
        write();
        assert_eq!(copy.request().unwrap().headers().len(), 6);
        copy.end();
        assert!(copy.request().is_none(), "it was answered");
        copy.begin();
        assert!(copy.request().is_none(), "the next one is not written yet");
    }
}
