//! Headers that concern one connection only, and must not be passed on (RFC 9110, 7.6.1).

use http::{HeaderMap, HeaderName, header};

use smallvec::SmallVec;

use crate::web::headers::HOP_BY_HOP;

/// Names of headers that are left out. Nearly always few.
pub(super) type Names = SmallVec<[HeaderName; 4]>;

/// The names of those of these headers that their `Connection` lines list, each once, so that a long list costs no more than the
/// headers themselves. They go whether or not they mean anything to us: the other side says they are for us alone. `Keep-Alive`, which
/// nearly all of them list, goes by its own name.
pub(super) fn named_in_connection(headers: &HeaderMap) -> Names {
    let listed = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        // Names are case-insensitive, and `from_bytes` folds them. What is no name names nothing.
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| headers.contains_key(name));
    let mut known = HeaderMap::<()>::default();
    listed.filter(|name| known.insert(name.clone(), ()).is_none()).collect()
}

/// Whether a header is hop-by-hop by its own name.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn connection_lists_are_read_in_every_spelling() {
        let mut headers = HeaderMap::new();
        headers.append(header::CONNECTION, HeaderValue::from_static("close,\tX-WX-OPENID , ,"));
        headers.append(header::CONNECTION, HeaderValue::from_static("x-real-ip,b@d,X-Wx-Openid, x-absent"));
        for name in ["close", "x-wx-openid", "x-real-ip"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        let named = named_in_connection(&headers);
        let named: Vec<_> = named.iter().map(HeaderName::as_str).collect();
        assert_eq!(named, ["close", "x-wx-openid", "x-real-ip"]);
    }

    /// What is looked at for each line must not be as long as a client likes.
    #[test]
    fn a_list_of_many_names_is_no_longer_than_there_are_headers() {
        let mut headers = HeaderMap::new();
        let many = "a,b,x-absent,".repeat(4000);
        headers.append(header::CONNECTION, HeaderValue::from_str(&many).unwrap());
        for name in ["a", "b"] {
            headers.insert(name, HeaderValue::from_static("1"));
        }
        assert_eq!(named_in_connection(&headers).as_slice(), ["a", "b"]);
    }

    #[test]
    fn the_hop_by_hop_names_are_known() {
        for name in [
            "connection",
            "keep-alive",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "http2-settings",
            "expect",
            "proxy-authorization",
            "proxy-authenticate",
        ] {
            assert!(is_hop_by_hop(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_hop_by_hop(&header::CONTENT_LENGTH));
        assert!(!is_hop_by_hop(&header::HOST));
    }
}
