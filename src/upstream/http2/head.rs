//! A request's head, as HTTP/2 says it (RFC 9113, 8.3.1).

use http::{
    Request, Uri, Version, header,
    uri::{self, Authority, Scheme},
};

use crate::upstream::Outgoing;

/// The head of a request. None where it has no host that could be one.
pub(super) fn of(request: &Outgoing<()>, scheme: &Scheme) -> Option<Request<()>> {
    let mut place = uri::Parts::default();
    place.scheme = Some(scheme.clone());
    let mut headers = request.fields.to_map();
    // The authority says it.
    place.authority = Some(Authority::try_from(headers.remove(header::HOST)?.as_bytes()).ok()?);
    place.path_and_query = Some(request.target.clone());
    let mut head = Request::new(());
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = Uri::from_parts(place).ok()?;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = headers;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(host: &str) -> Outgoing<()> {
        let request = Request::post("/a?b=c").header("host", host);
        request.header("cookie", "a=b").header("te", "trailers").body(()).unwrap().into()
    }

    #[test]
    fn the_host_becomes_the_authority() {
        let head = of(&request("api.example.com:8080"), &Scheme::HTTPS).unwrap();
        assert_eq!(head.uri(), "https://api.example.com:8080/a?b=c");
        let mut names: Vec<_> = head.headers().keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cookie", "te"]);
    }

    #[test]
    fn without_a_host_there_is_no_head() {
        for host in ["", "a b", "a/b"] {
            assert!(of(&request(host), &Scheme::HTTP).is_none(), "{host}");
        }
    }
}
