//! A request's head, as HTTP/2 says it (RFC 9113, 8.3.1).

use http::{
    Request, Uri, Version, header,
    request::Parts,
    uri::{self, Authority, Scheme},
};

/// The head of a request that was prepared for HTTP/1.1. None where it has no host that could be one.
pub(super) fn of(parts: &Parts, scheme: &Scheme) -> Option<Request<()>> {
    let mut place = uri::Parts::default();
    place.scheme = Some(scheme.clone());
    place.authority = Some(Authority::try_from(parts.headers.get(header::HOST)?.as_bytes()).ok()?);
    place.path_and_query = parts.uri.path_and_query().cloned();
    let mut head = Request::new(());
    *head.method_mut() = parts.method.clone();
    *head.uri_mut() = Uri::from_parts(place).ok()?;
    *head.version_mut() = Version::HTTP_2;
    head.headers_mut().clone_from(&parts.headers);
    // The authority says it; and where a body ends is said by its frames.
    head.headers_mut().remove(header::HOST);
    head.headers_mut().remove(header::TRANSFER_ENCODING);
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(host: &str) -> Parts {
        let request = Request::post("/a?b=c").header("host", host).header("transfer-encoding", "chunked");
        request.header("cookie", "a=b").header("te", "trailers").body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_host_becomes_the_authority_and_nothing_of_one_connection_is_left() {
        let head = of(&parts("api.example.com:8080"), &Scheme::HTTPS).unwrap();
        assert_eq!(head.uri(), "https://api.example.com:8080/a?b=c");
        let mut names: Vec<_> = head.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cookie", "te"]);
    }

    #[test]
    fn without_a_host_there_is_no_head() {
        for host in ["", "a b", "a/b"] {
            assert!(of(&parts(host), &Scheme::HTTP).is_none(), "{host}");
        }
    }
}
