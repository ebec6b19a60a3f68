//! Trailers: the fields behind a body. Those of a request go nowhere; those of an answer pass where both sides speak
//! HTTP/2, as gRPC needs them to, which says there how a call has ended.
//!
//! HTTP/1.1 has them too, and there they are dropped: a server sends them only to who asks with `TE`, which is not passed on
//! to it, and most clients and proxies behind us would not see them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Version, header};
use http_body::Frame;

use super::hop;
use crate::upstream::{AnswerBody, Lease, Outgoing};
use crate::web::RequestBody;

/// What is to become of the trailers of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trailers {
    /// Whether the client's connection has a place for them.
    pass: bool,
    /// Whether the client says that it reads them.
    asked: bool,
}

impl Trailers {
    /// As the client has it.
    pub(super) fn wanted_by<B>(request: &Request<B>) -> Self {
        let pass = request.version() == Version::HTTP_2;
        // HTTP/2 allows `TE` no other value.
        let asked = pass && request.headers().get(header::TE).is_some_and(|value| value == "trailers");
        Self { pass, asked }
    }

    /// Tells a server that can send them.
    pub(super) fn ask(self, lease: &Lease<RequestBody>, request: &mut Outgoing<RequestBody>) {
        request.fields.ask_for_trailers(self.asked && lease.is_http2());
    }

    /// What the client gets of them.
    pub(super) fn pass(self, frame: Frame<Bytes>, from: &AnswerBody) -> Option<Frame<Bytes>> {
        let mut fields = frame.into_trailers().ok()?;
        if !self.pass || !matches!(from, AnswerBody::Http2(_)) {
            return None;
        }
        clean(&mut fields);
        (!fields.is_empty()).then(|| Frame::trailers(fields))
    }
}

/// Takes out what means something only in a head (RFC 9110, 6.5.1): whoever puts both together, as some libraries do, would
/// take it for what the head has said.
fn clean(fields: &mut HeaderMap) {
    let doomed: Vec<HeaderName> = fields.keys().filter(|name| belongs_to_a_head(name)).cloned().collect();
    for name in &doomed {
        fields.remove(name);
    }
}

fn belongs_to_a_head(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 16] = [
        header::AGE,
        header::CACHE_CONTROL,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::DATE,
        header::EXPIRES,
        header::HOST,
        header::LOCATION,
        header::RETRY_AFTER,
        header::SET_COOKIE,
        header::STRICT_TRANSPORT_SECURITY,
        header::VARY,
        header::VIA,
        header::WWW_AUTHENTICATE,
    ];
    hop::is_hop_by_hop(name) || NAMES.contains(name) || name.as_str().starts_with("access-control-")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn how_a_call_has_ended_stays_and_what_belongs_to_a_head_goes() {
        let mut fields = HeaderMap::new();
        for name in ["grpc-status", "grpc-message", "x-own", "content-length", "set-cookie", "transfer-encoding"] {
            fields.insert(name, HeaderValue::from_static("0"));
        }
        fields.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        clean(&mut fields);
        let names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["grpc-status", "grpc-message", "x-own"]);
    }

    #[test]
    fn only_a_client_of_http2_that_says_so_is_asked_for() {
        let request = |version, te: &str| Request::builder().version(version).header("te", te).body(()).unwrap();
        for (version, te, pass, asked) in [
            (Version::HTTP_2, "trailers", true, true),
            (Version::HTTP_2, "deflate", true, false),
            (Version::HTTP_11, "trailers", false, false),
        ] {
            let trailers = Trailers::wanted_by(&request(version, te));
            assert_eq!((trailers.pass, trailers.asked), (pass, asked), "{te}");
        }
    }
}
