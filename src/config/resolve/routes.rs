//! `[[routes]]`: each rule by itself.

use http::{HeaderName, Method};

use super::identity::header;
use crate::{
    config::{
        fields::{At, Fields, quoted},
        paths::canonical,
        sections::{AuthRule, HostPattern, Rate, Route},
        units,
    },
    model::AppId,
};

const RULES: [(&str, AuthRule); 3] =
    [("required", AuthRule::Required), ("optional", AuthRule::Optional), ("none", AuthRule::None)];

/// A route with the lines that a message about it points to. Where a part is wrong it has a stand-in, which is never
/// used: a file with an error gives no configuration.
pub(super) struct RouteLines {
    pub(super) route: Route,
    pub(super) line: usize,
    /// The upstream as named, where it is.
    pub(super) upstream: Option<At<String>>,
    /// The apps as named, each with its line.
    pub(super) apps: Vec<At<AppId>>,
    /// Whether host, path and methods are what the file says.
    pub(super) comparable: bool,
}

pub(super) fn routes(root: &mut Fields<'_, '_>) -> Vec<RouteLines> {
    let tables = root.tables("routes");
    tables.into_iter().map(|At { line, value }| route(root.item("routes", line, value))).collect()
}

fn route(mut fields: Fields<'_, '_>) -> RouteLines {
    let line = fields.line;
    let errors = fields.walk.errors.len();
    let host = host(&mut fields);
    let path = path(&mut fields);
    let methods = methods(&mut fields);
    let comparable = fields.walk.errors.len() == errors;

    let auth = fields.choice("auth", AuthRule::default(), &RULES);
    let apps = apps(&mut fields);
    if let (Some(apps), AuthRule::None) = (&apps, auth) {
        fields.error(apps.line, "apps", "is never asked for where auth = \"none\"; take one of the two out");
    }
    let limit_per_user = rate(&mut fields, "limit_per_user");
    if let (Some(limit), AuthRule::None) = (&limit_per_user, auth) {
        let message = "counts nobody where auth = \"none\"; take one of the two out";
        fields.error(limit.line, "limit_per_user", message);
    }
    let forward_phone = fields.boolean("forward_phone", false);
    if let (true, AuthRule::None, Some(line)) = (forward_phone, auth, fields.line_of("forward_phone")) {
        fields.error(line, "forward_phone", "tells of nobody where auth = \"none\"; take one of the two out");
    }
    let upstream =
        fields.required("upstream", "\"app\"").map(|At { line, value }| At { line, value: value.to_owned() });
    let default = Route::new(path.unwrap_or_default(), upstream.as_ref().map(|u| u.value.clone()).unwrap_or_default());
    let route = Route {
        host,
        methods,
        auth,
        strip_prefix: fields.boolean("strip_prefix", default.strip_prefix),
        apps: apps.as_ref().map(|apps| apps.value.iter().map(|app| app.value.clone()).collect()),
        limit_per_ip: rate(&mut fields, "limit_per_ip").map(|limit| limit.value),
        limit_per_user: limit_per_user.map(|limit| limit.value),
        token_header: fields.parsed("token_header", None, |text| token_header(text).map(Some)),
        token_query: fields.parsed("token_query", None, |text| token_query(text).map(Some)),
        token_subprotocol: fields.boolean("token_subprotocol", default.token_subprotocol),
        forward_token: fields.boolean("forward_token", default.forward_token),
        forward_phone,
        allow_encoded_slash: fields.boolean("allow_encoded_slash", default.allow_encoded_slash),
        allow_semicolon: fields.boolean("allow_semicolon", default.allow_semicolon),
        websocket: fields.boolean("websocket", default.websocket),
        websocket_idle: fields.duration("websocket_idle", default.websocket_idle),
        websocket_max_age: fields.duration_if_given("websocket_max_age"),
        connect_timeout: fields.duration_if_given("connect_timeout"),
        response_timeout: fields.duration_if_given("response_timeout"),
        ..default
    };
    if route.path.contains(';') && !route.allow_semicolon {
        let line = fields.line_of("path").unwrap_or(line);
        fields.error(line, "path", "has a ; in it, which no request may have without allow_semicolon = true");
    }
    doubts(&mut fields, &route);
    fields.finish();
    RouteLines { route, line, upstream, apps: apps.map(|apps| apps.value).unwrap_or_default(), comparable }
}

fn path(fields: &mut Fields<'_, '_>) -> Option<String> {
    let At { line, value } = fields.required("path", "\"/\"")?;
    if let Err(why) = canonical(value) {
        fields.error(line, "path", format!("{} {why}", quoted(value)));
    }
    Some(value.to_owned())
}

fn host(fields: &mut Fields<'_, '_>) -> Option<HostPattern> {
    let At { line, value } = fields.text("host")?;
    let pattern = host_pattern(value);
    if let Err(why) = pattern {
        fields.error(line, "host", format!("{} {why}", quoted(value)));
    }
    pattern.ok()
}

fn host_pattern(text: &str) -> Result<HostPattern, &'static str> {
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    let (name, wildcard) = match host.strip_prefix('*') {
        Some(rest) if rest.starts_with('.') => (rest.get(1..).unwrap_or_default(), true),
        _ => (host, false),
    };
    if name.contains('*') {
        return Err("has a * elsewhere than in a leading *.");
    }
    if name.starts_with('[') && name.ends_with(']') && !wildcard {
        return ipv6(name);
    }
    if name.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        return Err("has a port in it; a route is for a host on every port");
    }
    let label = |label: &str| {
        let fits = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        !label.is_empty() && label.len() <= 63 && fits
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err("is not a host name (write api.example.com, *.example.com, or punycode)");
    }
    Ok(if wildcard { HostPattern::Suffix(format!(".{name}")) } else { HostPattern::Exact(name.to_owned()) })
}

fn ipv6(name: &str) -> Result<HostPattern, &'static str> {
    let address = name.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>();
    address.map(|_| HostPattern::Exact(name.to_owned())).map_err(|_| "is not an IPv6 address in brackets")
}

fn methods(fields: &mut Fields<'_, '_>) -> Option<Vec<Method>> {
    let At { line, value: texts } = fields.list("methods")?;
    if texts.is_empty() {
        fields.error(line, "methods", "names no method; leave the key out for all");
    }
    let mut methods = Vec::new();
    for text in texts {
        match method(text.value) {
            Ok(method) if methods.contains(&method) => {
                fields.error(text.line, "methods", format!("{} is listed twice", quoted(text.value)));
            }
            Ok(method) => methods.push(method),
            Err(why) => fields.error(text.line, "methods", format!("{} {why}", quoted(text.value))),
        }
    }
    Some(methods)
}

fn method(text: &str) -> Result<Method, String> {
    let method = Method::from_bytes(text.as_bytes()).map_err(|_| "is not a method".to_owned())?;
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(format!("must be in capitals; write {}", text.to_ascii_uppercase()));
    }
    if method == Method::CONNECT || method == Method::TRACE {
        return Err("is refused before any route is looked for".to_owned());
    }
    Ok(method)
}

/// What works otherwise than it may have been meant.
fn doubts(fields: &mut Fields<'_, '_>, route: &Route) {
    let default = Route::new("", "");
    if let Some(line) = fields.line_of("token_query") {
        let message =
            "puts session tokens into URLs, and those into logs, histories and referrers; prefer another carrier";
        fields.warn(line, "token_query", message);
    }
    let terms = [
        ("websocket_idle", route.websocket_idle != default.websocket_idle),
        ("websocket_max_age", route.websocket_max_age.is_some()),
    ];
    for (key, given) in terms {
        if let Some(line) = fields.line_of(key).filter(|_| given && !route.websocket) {
            fields.warn(line, key, "means something only with websocket = true");
        }
    }
    let opens = route.methods.as_ref().is_none_or(|methods| methods.contains(&Method::GET));
    if let Some(line) = fields.line_of("websocket").filter(|_| route.websocket && !opens) {
        fields.warn(line, "websocket", "opens nothing: a WebSocket begins with GET, which methods leaves out");
    }
}

fn token_header(text: &str) -> Result<HeaderName, String> {
    let name = header(text)?;
    if name.as_str().starts_with("x-wx-") {
        return Err("is a name that only wxgate may use; choose one of your own".to_owned());
    }
    Ok(name)
}

/// A name that is written in one way only.
fn token_query(text: &str) -> Result<String, String> {
    let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if (1..=64).contains(&text.len()) && fits {
        Ok(text.to_owned())
    } else {
        Err("is not 1 to 64 letters, digits, - and _".to_owned())
    }
}

fn rate(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<At<Rate>> {
    let line = fields.line_of(key);
    let value = fields.parsed(key, None, |text| units::rate(text).map(Some))?;
    Some(At { line: line?, value })
}

fn apps(fields: &mut Fields<'_, '_>) -> Option<At<Vec<At<AppId>>>> {
    let At { line, value: texts } = fields.list("apps")?;
    if texts.is_empty() {
        fields.error(line, "apps", "names no app; leave the key out for all");
    }
    let mut apps: Vec<At<AppId>> = Vec::new();
    for text in texts {
        match AppId::parse(text.value) {
            Ok(value) if apps.iter().any(|app| app.value == value) => {
                fields.error(text.line, "apps", format!("{} is listed twice", quoted(text.value)));
            }
            Ok(value) => apps.push(At { line: text.line, value }),
            Err(why) => fields.error(text.line, "apps", format!("has an AppID that {why}")),
        }
    }
    Some(At { line, value: apps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_held_as_requests_are_compared() {
        assert_eq!(host_pattern("API.Example.com."), Ok(HostPattern::Exact("api.example.com".to_owned())));
        assert_eq!(host_pattern("*.Example.com"), Ok(HostPattern::Suffix(".example.com".to_owned())));
        assert_eq!(host_pattern("[::1]"), Ok(HostPattern::Exact("[::1]".to_owned())));
        assert_eq!(host_pattern("127.0.0.1"), Ok(HostPattern::Exact("127.0.0.1".to_owned())));
    }

    #[test]
    fn a_host_that_no_request_can_have_is_refused() {
        for text in
            ["", ".", "*", "*.", "a..b", "*.*.b", "a.*.b", "*b.c", "a:80", "[::1]:80", "a/b", "bücher.de", "[x]"]
        {
            assert!(host_pattern(text).is_err(), "{text}");
        }
    }
}
