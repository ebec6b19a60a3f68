//! What would happen to a request, in words: the answer of `wxgate explain GET https://host/path`.

use std::fmt;

use http::{HeaderMap, HeaderValue, Method, Uri, Version, header::HOST, uri::InvalidUri};

use super::{AuthRule, BadTarget, Carriers, PathError, Rule, Table, Target, UnknownUpstream, strip_prefix, target_of};
use crate::{config::Config, web::endpoints};

/// What would happen to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// It is answered 400, since two parsers could read it differently.
    Refused(BadTarget),
    /// wxgate answers it itself.
    Ours {
        /// The endpoint's path.
        path: String,
        /// What it can be called with, where that is not what was asked for.
        wrong_method: Option<&'static str>,
    },
    /// No route takes it: 404.
    NoRoute {
        /// The host as it was compared; empty when there was none.
        host: String,
        /// The canonical path.
        path: String,
    },
    /// A route takes it.
    Routed(Box<Routed>),
}

/// What the route that takes a request does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The route.
    pub rule: Rule,
    /// The name of the upstream.
    pub upstream: String,
    /// The canonical path, which the route was chosen by.
    pub path: String,
    /// The path that the upstream sees.
    pub forwarded_path: String,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The method.
    #[error("'{0}' is not an HTTP method")]
    Method(String),
    /// The URL.
    #[error("this is not an http URL, nor a path")]
    Url(#[source] InvalidUri),
    /// The config.
    #[error(transparent)]
    Config(#[from] UnknownUpstream),
}

/// Says what a gateway with this config would do with this request. `url` is an http or https URL, or a path alone, and
/// is taken letter by letter: nothing is normalised on the way.
pub fn explain(config: &Config, method: &str, url: &str) -> Result<Explanation, ExplainError> {
    let names: Vec<_> = config.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
    let table = Table::new(&config.routes, &names)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| ExplainError::Method(method.to_owned()))?;
    if let Some(path_error) = unparsable(url) {
        return Ok(Explanation::Refused(path_error.into()));
    }
    let uri: Uri = url.parse().map_err(ExplainError::Url)?;
    let headers = host_header(&uri);
    Ok(match target_of(Version::HTTP_10, &uri, &headers) {
        Ok(target) => decide(config, &table, &method, &target).unwrap_or_else(Explanation::Refused),
        Err(refusal) => Explanation::Refused(refusal),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "refused with 400: {why}"),
            Self::Ours { path, wrong_method: None } => write!(f, "answered by wxgate itself: {path}"),
            Self::Ours { path, wrong_method: Some(allow) } => {
                write!(f, "refused with 405: {path} is wxgate's own and takes {allow}")
            }
            Self::NoRoute { host, path } => write!(f, "refused with 404: no route for {host}{path} with this method"),
            Self::Routed(routed) => routed.fmt(f),
        }
    }
}

impl fmt::Display for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let auth = match self.rule.auth {
            AuthRule::Required => "required: without a live session 401",
            AuthRule::Optional => "optional: without a live session anonymous",
            AuthRule::None => "none: always anonymous",
        };
        writeln!(f, "route     {} (number {} in the file)", self.rule.label, self.rule.id + 1)?;
        writeln!(f, "session   {auth}")?;
        let Carriers { header, query, subprotocol } = &self.rule.carriers;
        if let Some(name) = header {
            writeln!(f, "token     also in the header {name}")?;
        }
        if let Some(name) = query {
            writeln!(f, "token     also in the query's {name}")?;
        }
        if *subprotocol {
            writeln!(f, "token     also among a WebSocket's subprotocols")?;
        }
        if let Some(apps) = &self.rule.apps {
            let apps: Vec<_> = apps.iter().map(ToString::to_string).collect();
            writeln!(f, "apps      {}", apps.join(", "))?;
        }
        if let Some(rate) = self.rule.limit_per_ip {
            writeln!(f, "limit     {rate} from one address, else 429")?;
        }
        if let Some(rate) = self.rule.limit_per_user {
            writeln!(f, "limit     {rate} of one user, else 429")?;
        }
        if let Some(most) = self.rule.websocket_per_user {
            writeln!(f, "limit     {most} WebSockets of one user at once, else 429")?;
        }
        writeln!(f, "path      {}", self.path)?;
        write!(f, "upstream  {}, which sees {}", self.upstream, self.forwarded_path)?;
        if self.rule.forward_token {
            write!(f, " and the session token")?;
        }
        if self.rule.forward_phone {
            write!(f, " and the caller's phone number")?;
        }
        Ok(())
    }
}

/// The paths that wxgate answers itself with this config.
pub fn own_paths(config: &Config) -> Vec<String> {
    let prefix = &config.api.prefix;
    let pictures = config.avatars.as_ref().map(|_| format!("{prefix}{}…", endpoints::AVATARS));
    let keys = config.assertion.as_ref().map(|_| endpoints::JWKS.to_owned());
    endpoints::ALL.iter().map(|(path, _)| format!("{prefix}{path}")).chain(pictures).chain(keys).collect()
}

fn decide(config: &Config, table: &Table, method: &Method, target: &Target) -> Result<Explanation, BadTarget> {
    let path = target.path.as_str();
    let is_picture = path.strip_prefix(&config.api.prefix).is_some_and(|rest| rest.starts_with(endpoints::AVATARS));
    let looks = config.avatars.is_some() && is_picture || config.assertion.is_some() && path == endpoints::JWKS;
    let looks = looks.then_some(endpoints::LOOK);
    if let Some(allow) = endpoints::methods_of(&config.api.prefix, path).or(looks) {
        let wrong_method = (!allow.split(", ").any(|name| name == method.as_str())).then_some(allow);
        return Ok(Explanation::Ours { path: path.to_owned(), wrong_method });
    }
    let Some(rule) = table.rule_for(target.host_name(), &target.path, method)? else {
        return Ok(Explanation::NoRoute { host: target.host_name().to_owned(), path: path.to_owned() });
    };
    target.path.refuse_unless_allowed(rule)?;
    let forwarded_path = match &rule.strip_prefix {
        Some(prefix) => strip_prefix(&target.path, prefix)?.as_str().to_owned(),
        None => path.to_owned(),
    };
    let upstream = config.upstreams[rule.upstream].name.clone();
    Ok(Explanation::Routed(Box::new(Routed { rule: rule.clone(), upstream, path: path.to_owned(), forwarded_path })))
}

/// What the URL parser would cut off or choke on, found before it does.
fn unparsable(url: &str) -> Option<PathError> {
    let path = url.split('?').next().unwrap_or(url);
    if url.contains('#') {
        Some(PathError::Fragment)
    } else if path.bytes().any(|b| b.is_ascii_control()) {
        Some(PathError::Control)
    } else if path.contains(' ') || !path.is_ascii() {
        Some(PathError::Unencoded)
    } else {
        None
    }
}

/// The line that a client would send with this URL.
fn host_header(uri: &Uri) -> HeaderMap {
    let value = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    value.map(|value| HeaderMap::from_iter([(HOST, value)])).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::sections::{self, Rate, Route, Upstream},
        model::{AppId, Secret, SigningKey},
    };

    fn config() -> Config {
        let app = AppId::parse("wx4f4bc4dec97d474b").unwrap();
        let routes = vec![
            Route { auth: AuthRule::Optional, methods: Some(vec![Method::GET]), ..Route::new("/public/", "files") },
            Route {
                strip_prefix: true,
                apps: Some(vec![app]),
                limit_per_ip: Some(Rate { count: 600.try_into().unwrap(), per: Duration::from_mins(1) }),
                limit_per_user: Some(Rate { count: 20.try_into().unwrap(), per: Duration::from_secs(1) }),
                forward_token: true,
                ..Route::new("/api", "app")
            },
            Route { auth: AuthRule::None, allow_encoded_slash: true, ..Route::new("/raw", "app") },
        ];
        Config {
            server: sections::Server::default(),
            admin: sections::Admin::default(),
            internal: None,
            webhook: None,
            api: sections::Api::default(),
            apps: Vec::new(),
            wechat: sections::WeChat::default(),
            sessions: sections::Sessions::default(),
            identity: sections::IdentityHeaders::default(),
            assertion: None,
            avatars: None,
            limits: sections::Limits::default(),
            log: sections::Log::default(),
            upstreams: ["app", "files"]
                .map(|name| Upstream::new::<sections::UpstreamServer>(name, Vec::new()))
                .to_vec(),
            routes,
        }
    }

    fn said(method: &str, url: &str) -> String {
        explain(&config(), method, url).unwrap().to_string()
    }

    #[test]
    fn the_public_keys_are_wxgates_own_where_identity_is_signed() {
        let url = "https://host/.well-known/jwks.json";
        assert_eq!(said("GET", url), "refused with 404: no route for host/.well-known/jwks.json with this method");
        let key = SigningKey::parse(&Secret::new(include_str!("../../tests/keys/ed25519.pem"))).unwrap();
        let config = Config { assertion: Some(sections::Assertion::new("https://host", key)), ..config() };
        let said = |method| explain(&config, method, url).unwrap().to_string();
        assert_eq!(said("HEAD"), "answered by wxgate itself: /.well-known/jwks.json");
        let expected = "refused with 405: /.well-known/jwks.json is wxgate's own and takes GET, HEAD";
        assert_eq!(said("POST"), expected);
    }

    #[test]
    fn a_routed_request_is_told_its_route_policy_upstream_and_path() {
        let expected = "route     GET /public/ (number 1 in the file)\n\
                        session   optional: without a live session anonymous\n\
                        path      /public/a\n\
                        upstream  files, which sees /public/a";
        assert_eq!(said("GET", "https://host/public//./a?b=/../c"), expected);
        let expected = "route     /api (number 2 in the file)\n\
                        session   required: without a live session 401\n\
                        apps      wx4f4bc4dec97d474b\n\
                        limit     600 per 1m from one address, else 429\n\
                        limit     20 per 1s of one user, else 429\n\
                        path      /api/x\n\
                        upstream  app, which sees /x and the session token";
        assert_eq!(said("POST", "/api/x"), expected);
    }

    #[test]
    fn a_refused_request_is_told_why() {
        for (url, why) in [
            ("https://host/public/%2e%2e/admin", "the path has a segment that climbs: '..'"),
            ("https://host/public/../admin", "the path has a segment that climbs: '..'"),
            ("https://host/public#x", "the path has a '#'"),
            ("https://host/a b", "the path has a character that must be percent-encoded"),
            ("https://host/api/a%2fb", "the path has an encoded slash, which this route does not allow"),
            ("https://me@host/", "the Host has a user in it"),
            ("ftp://host/", "the request target has a scheme that is not http"),
            ("host:80", "the request target is neither a path nor an http URL"),
        ] {
            assert_eq!(said("GET", url), format!("refused with 400: {why}"), "{url}");
        }
        assert!(said("GET", "/raw/a%2fb").starts_with("route     /raw"), "the route that opted in takes it");
    }

    #[test]
    fn what_no_route_takes_and_what_is_ours_is_said_too() {
        assert_eq!(said("POST", "http://h/public/x"), "refused with 404: no route for h/public/x with this method");
        assert_eq!(said("POST", "http://h/v1/verify"), "answered by wxgate itself: /v1/verify");
        assert_eq!(said("GET", "http://h/v1/%76erify"), "refused with 405: /v1/verify is wxgate's own and takes POST");
    }

    #[test]
    fn a_question_that_makes_no_sense_has_no_answer() {
        let error = |method, url| explain(&config(), method, url).unwrap_err().to_string();
        assert_eq!(error("G T", "/"), "'G T' is not an HTTP method");
        assert_eq!(error("GET", ""), "this is not an http URL, nor a path");
        let lost = Config { upstreams: Vec::new(), ..config() };
        let error = explain(&lost, "GET", "/").unwrap_err();
        assert_eq!(error.to_string(), "the route GET /public/ leads to the unknown upstream files");
    }
}
