//! The request that another proxy holds and asks about, as that proxy tells it in headers.
//!
//! A client may send the same headers, and the proxy may pass them on. So everything that is decided on must be told:
//! a proxy that is not set up to tell it gets no decision for anybody, rather than the client's word for some. And where
//! a thing is told under two names, or in two lines, they must not differ.

use http::{HeaderMap, HeaderName, Method, Uri};

use super::{BadTarget, Host, PathError, Target, canonicalise, target::host_of};
use crate::web::headers::{
    X_FORWARDED_HOST, X_FORWARDED_METHOD, X_FORWARDED_URI, X_ORIGINAL_HOST, X_ORIGINAL_METHOD, X_ORIGINAL_URI,
    X_ORIGINAL_URL,
};

const METHOD: [HeaderName; 2] = [X_ORIGINAL_METHOD, X_FORWARDED_METHOD];
const TARGET: [HeaderName; 3] = [X_ORIGINAL_URI, X_ORIGINAL_URL, X_FORWARDED_URI];
const HOST: [HeaderName; 2] = [X_ORIGINAL_HOST, X_FORWARDED_HOST];

/// The request that a proxy asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original<'h> {
    /// Its method.
    pub method: Method,
    /// Its target, as the proxy received it.
    pub uri: Uri,
    /// Its host, where that is told apart from the target.
    host: Option<Host<'h>>,
}

/// Why nothing can be decided about the request that a proxy asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOriginal {
    /// Neither header has it.
    #[error("the proxy does not tell the original {0}")]
    Missing(What),
    /// Two lines of one header.
    #[error("the original {0} is told in two lines")]
    TwoLines(What),
    /// Two headers that say different things.
    #[error("the original {0} is told in two ways")]
    Differs(What),
    /// Something that can't be a method, a target or a host.
    #[error("the original {0} can't be read")]
    Unreadable(What),
    /// A path that would have to be mended. Here nobody could: the proxy forwards it as it came, and a backend may take
    /// `//public/x` for `/x` on a host called `public`.
    #[error("the original path is not in its canonical form, and would be forwarded as it is")]
    NotCanonical,
    /// What an ordinary request would be refused for too.
    #[error("the original request: {0}")]
    Target(#[from] BadTarget),
}

/// What there is to tell of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `X-Original-Method` or `X-Forwarded-Method`.
    Method,
    /// `X-Original-URI`, `X-Original-URL` or `X-Forwarded-Uri`.
    Target,
    /// `X-Original-Host` or `X-Forwarded-Host`, or in an absolute target.
    Host,
}

impl<'h> Original<'h> {
    /// Reads what is told in the headers of a request for a decision. Whether who sent it may be believed is another
    /// question.
    pub fn read(headers: &'h HeaderMap) -> Result<Self, BadOriginal> {
        let method = told(headers, &METHOD, What::Method)?.ok_or(BadOriginal::Missing(What::Method))?;
        let target = told(headers, &TARGET, What::Target)?.ok_or(BadOriginal::Missing(What::Target))?;
        let host = told(headers, &HOST, What::Host)?.map(Host::parse).transpose().map_err(BadTarget::Host)?;
        // The parser would cut it off, where the proxy may not.
        if target.contains('#') {
            return Err(BadTarget::Path(PathError::Fragment).into());
        }
        Ok(Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| BadOriginal::Unreadable(What::Method))?,
            uri: target.parse().map_err(|_| BadOriginal::Unreadable(What::Target))?,
            host,
        })
    }

    /// What it is for, by the rules for any other request, and two more: there is a host, and a path that needs no
    /// mending.
    pub fn target(&self) -> Result<Target<'_>, BadOriginal> {
        let host = host_of(&self.uri, self.host.clone())?.ok_or(BadOriginal::Missing(What::Host))?;
        let path = canonicalise(self.uri.path()).map_err(BadTarget::Path)?;
        if path.as_str() != self.uri.path() {
            return Err(BadOriginal::NotCanonical);
        }
        Ok(Target { host: Some(host), path, query: self.uri.query() })
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Method => "method (X-Original-Method or X-Forwarded-Method)",
            Self::Target => "target (X-Original-URI, X-Original-URL or X-Forwarded-Uri)",
            Self::Host => "host (X-Original-Host or X-Forwarded-Host)",
        })
    }
}

/// The one value that these headers have, under however many of the names.
fn told<'h>(headers: &'h HeaderMap, names: &[HeaderName], what: What) -> Result<Option<&'h str>, BadOriginal> {
    let mut found = None;
    for name in names {
        let mut lines = headers.get_all(name).iter();
        let Some(line) = lines.next() else { continue };
        if lines.next().is_some() {
            return Err(BadOriginal::TwoLines(what));
        }
        let line = line.to_str().map_err(|_| BadOriginal::Unreadable(what))?;
        if found.is_some_and(|other| other != line) {
            return Err(BadOriginal::Differs(what));
        }
        found = Some(line);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::routing::{BadHost, target_of};

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    /// What these lines tell, as `method|host|path|query`.
    fn told(lines: &[(&'static str, &str)]) -> Result<String, BadOriginal> {
        let headers = headers(lines);
        let original = Original::read(&headers)?;
        let target = original.target()?;
        let query = target.query.unwrap_or("-");
        Ok(format!("{}|{}|{}|{query}", original.method, target.host_name(), target.path.as_str()))
    }

    const GET: (&str, &str) = ("x-original-method", "GET");
    const ORDERS: (&str, &str) = ("x-original-uri", "/orders?a=1");
    const HOST: (&str, &str) = ("x-forwarded-host", "A.example:8443");

    fn at(target: &str) -> Result<String, BadOriginal> {
        told(&[GET, HOST, ("x-original-uri", target)])
    }

    #[test]
    fn each_thing_is_read_under_each_of_its_names() {
        let expected = Ok("GET|a.example|/orders|a=1".to_owned());
        for method in ["x-original-method", "x-forwarded-method"] {
            for target in ["x-original-uri", "x-original-url", "x-forwarded-uri"] {
                for host in ["x-original-host", "x-forwarded-host"] {
                    assert_eq!(told(&[(method, "GET"), (target, ORDERS.1), (host, HOST.1)]), expected);
                }
            }
        }
    }

    #[test]
    fn an_absolute_target_names_the_host_and_nobody_may_differ_from_it() {
        let absolute = ("x-original-url", "https://A.example/orders?a=1");
        let expected = Ok("GET|a.example|/orders|a=1".to_owned());
        assert_eq!(told(&[GET, absolute]), expected);
        assert_eq!(told(&[GET, absolute, ("x-forwarded-host", "a.example:443")]), expected);
        for host in ["b.example", "a.example:8443"] {
            assert_eq!(
                told(&[GET, absolute, ("x-forwarded-host", host)]),
                Err(BadTarget::HostDiffers.into()),
                "{host}"
            );
        }
    }

    #[test]
    fn what_is_not_told_is_not_guessed() {
        assert_eq!(told(&[ORDERS, HOST]), Err(BadOriginal::Missing(What::Method)));
        assert_eq!(told(&[GET, HOST]), Err(BadOriginal::Missing(What::Target)));
        assert_eq!(told(&[GET, ORDERS, ("host", "a.example")]), Err(BadOriginal::Missing(What::Host)));
        assert_eq!(told(&[GET, HOST, ("x_original_uri", "/orders")]), Err(BadOriginal::Missing(What::Target)));
    }

    /// A proxy sets one of the names, and its client another.
    #[test]
    fn what_is_told_twice_must_be_the_same_and_in_one_line_each() {
        let same = [GET, ORDERS, HOST, ("x-forwarded-method", "GET"), ("x-forwarded-uri", ORDERS.1)];
        assert_eq!(told(&same), Ok("GET|a.example|/orders|a=1".to_owned()));
        for (more, what) in [
            (("x-forwarded-method", "POST"), What::Method),
            (("x-forwarded-method", "get"), What::Method),
            (("x-forwarded-uri", "/public/"), What::Target),
            (("x-original-url", "http://a.example:8443/orders?a=1"), What::Target),
            (("x-original-url", "/orders"), What::Target),
            (("x-original-host", "b.example"), What::Host),
            (("x-original-host", ""), What::Host),
        ] {
            assert_eq!(told(&[GET, ORDERS, HOST, more]), Err(BadOriginal::Differs(what)), "{more:?}");
        }
        for (more, what) in [(GET, What::Method), (ORDERS, What::Target), (HOST, What::Host)] {
            assert_eq!(told(&[GET, ORDERS, HOST, more]), Err(BadOriginal::TwoLines(what)), "{more:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(told(&[("x-original-method", "G T"), ORDERS, HOST]), Err(BadOriginal::Unreadable(What::Method)));
        assert_eq!(told(&[("x-original-method", ""), ORDERS, HOST]), Err(BadOriginal::Unreadable(What::Method)));
        assert_eq!(told(&[GET, ORDERS, ("x-forwarded-host", "a, b")]), Err(BadTarget::Host(BadHost::Name).into()));
        assert_eq!(told(&[GET, ORDERS, ("x-forwarded-host", "")]), Err(BadTarget::Host(BadHost::Empty).into()));
        for target in ["", "/a b", "/é", "/a\tb", "http://", "//a"] {
            assert!(at(target).is_err(), "{target:?}");
        }
        for (target, why) in [
            ("*", BadTarget::Asterisk),
            ("orders", BadTarget::AuthorityForm),
            ("a.example:80", BadTarget::AuthorityForm),
            ("ftp://a.example/", BadTarget::Scheme),
            ("/public/#/../orders", PathError::Fragment.into()),
            ("/orders?a=1#b", PathError::Fragment.into()),
            ("/public/../orders", PathError::ParentSegment.into()),
            ("/public/%2e%2e/orders", PathError::ParentSegment.into()),
            ("/public/%252e%252e/orders", PathError::ParentSegment.into()),
            ("/public\\orders", PathError::Backslash.into()),
            ("/public/%00", PathError::Control.into()),
        ] {
            assert_eq!(at(target), Err(why.into()), "{target}");
        }
    }

    /// A backend that resolves `//public/orders` against a base URL serves `/orders`.
    #[test]
    fn what_would_have_to_be_mended_is_refused_since_the_proxy_forwards_it_unmended() {
        for target in ["//public/orders", "/public//orders", "/public/./orders", "/%70ublic/orders", "/public/."] {
            assert_eq!(at(target), Err(BadOriginal::NotCanonical), "{target}");
        }
        assert_eq!(at("/caf%C3%A9/~me?x=//./%70"), Ok("GET|a.example|/caf%C3%A9/~me|x=//./%70".to_owned()));
    }

    proptest! {
        /// Nothing passes here that would be refused, or taken for something else, as an ordinary request.
        #[test]
        fn what_is_decided_on_is_what_an_ordinary_request_would_be_decided_on(
            target in r"(https?://a\.example)?(/|/public|%2e|%2f|\.|;|%5c|\\|%61|[a-z]){0,8}(\?[a-z/.%]{0,6})?",
        ) {
            let (here, ordinary) = (at(&target), target.parse::<Uri>());
            if let Ok(told) = here {
                let uri = ordinary.unwrap();
                let host = if uri.authority().is_some() { "a.example" } else { HOST.1 };
                let headers = headers(&[("host", host)]);
                let other = target_of(Version::HTTP_11, &uri, &headers).unwrap();
                let query = other.query.unwrap_or("-");
                prop_assert_eq!(told, format!("GET|{}|{}|{query}", other.host_name(), other.path.as_str()));
            }
        }
    }
}
