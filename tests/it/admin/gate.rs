//! Who may ask: under which name, from which page, with which token.

use crate::support::TestGateway;

use super::{BEARER, TOKEN, operator, sessions_of, with_token};

const REFUSED: [(&str, &str); 3] = [
    ("host_not_allowed", "This Host is not one of the operators' listener; admin.hosts lists more names for it."),
    ("origin_not_allowed", "Pages of another origin get nothing here."),
    ("admin_token_invalid", "This is not the admin token."),
];

#[test]
fn without_the_token_there_is_nothing() {
    let gw = with_token();
    let missing = gw.admin().get("/v1/sessions/count");
    assert_eq!((missing.status, missing.code().as_str()), (401, "admin_token_missing"));
    for value in [
        "",
        "Bearer ",
        "Bearer operators-token",
        "Bearer operators-token?",
        "Bearer operators-token!!",
        "Basic operators-token!",
        TOKEN,
    ] {
        for (method, path) in [("GET", "/v1/sessions/count"), ("DELETE", &sessions_of("oAlice")), ("GET", "/nothing")] {
            let reply = gw.admin().request(method, path, &[("Authorization", value)], "");
            assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{value}");
            let body = reply.json();
            assert_eq!((body["code"].as_str().unwrap(), body["error"].as_str().unwrap()), REFUSED[2]);
            assert_eq!(body["requestId"].as_str(), reply.header("x-request-id"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
        }
    }
    let with_it = operator(&gw, "GET", "/nothing");
    assert_eq!((with_it.status, with_it.code().as_str()), (404, "not_found"));
}

#[test]
fn the_token_comes_in_authorization_and_nowhere_else() {
    let gw = with_token();
    let cookie = format!("token={TOKEN}");
    let path = format!("/v1/sessions/count?token={TOKEN}");
    for headers in [&[("Cookie", cookie.as_str())][..], &[("X-Token", TOKEN)], &[]] {
        assert_eq!(gw.admin().request("GET", &path, headers, "").code(), "admin_token_missing");
    }
    assert_eq!(gw.admin().request("GET", &path, &[BEARER, BEARER], "").code(), "admin_token_invalid");
}

#[test]
fn where_no_token_is_configured_nobody_looks_at_sessions() {
    let gw = TestGateway::start();
    for headers in [&[][..], &[("Authorization", "Bearer ")], &[("Authorization", "")], &[BEARER]] {
        for (method, path) in [("GET", "/v1/sessions/count"), ("DELETE", &sessions_of("oAlice")), ("GET", "/")] {
            let reply = gw.admin().request(method, path, headers, "");
            assert_eq!((reply.status, reply.code().as_str()), (401, "admin_token_unset"), "{method} {path}");
        }
    }
}

/// Threat 2.5 (CVE-2024-47616): one kind of token is never taken for another.
#[test]
fn a_session_token_is_no_operators_token_and_the_other_way_round() {
    let gw = with_token();
    let bearer = format!("Bearer {}", gw.login("oAlice").token);
    let reply = gw.admin().request("GET", "/v1/sessions/count", &[("Authorization", &bearer)], "");
    assert_eq!(reply.code(), "admin_token_invalid");
    for path in ["/orders", "/v1/session"] {
        assert_eq!(gw.client().request("GET", path, &[BEARER], "").code(), "token_invalid");
    }
}

/// Threat 2.5 (CVE-2026-27589): a page that rebinds its own name to this machine reads nothing and ends nothing.
#[test]
fn under_a_foreign_name_there_is_nothing_but_the_state_of_health() {
    let gw = with_token();
    let mut alice = gw.login("oAlice");
    for host in ["evil.example", "evil.example:9901", "localhost.evil.example", "10.0.0.1", "x@127.0.0.1"] {
        for (method, path) in [("GET", "/metrics"), ("GET", "/v1/sessions/count"), ("DELETE", &sessions_of("oAlice"))] {
            let reply = gw.admin().calling(host).request(method, path, &[BEARER], "");
            let body = reply.json();
            assert_eq!(reply.status, 403, "{host}");
            assert_eq!((body["code"].as_str().unwrap(), body["error"].as_str().unwrap()), REFUSED[0]);
        }
        for path in ["/healthz", "/readyz"] {
            assert_eq!(gw.admin().calling(host).get(path).status, 200, "a probe may use any name");
        }
    }
    assert_eq!(alice.get("/orders").status, 200);
}

#[test]
fn its_own_names_are_the_address_loopback_and_what_is_configured() {
    let gw = TestGateway::with(|config| {
        super::token(config);
        config.admin.hosts = vec!["wxgate.internal".to_owned()];
    });
    let port = gw.app().admin_addrs()[0].port();
    for host in ["localhost", "127.0.0.1", "[::1]", "wxgate.internal", "WXGATE.internal"] {
        for host in [host.to_owned(), format!("{host}:{port}"), format!("{host}:1")] {
            let reply = gw.admin().calling(&host).request("GET", "/v1/sessions/count", &[BEARER], "");
            assert_eq!(reply.status, 200, "{host}");
        }
    }
}

#[test]
fn a_foreign_page_gets_nothing_though_it_has_the_token() {
    let gw = with_token();
    let mut alice = gw.login("oAlice");
    let addr = gw.app().admin_addrs()[0];
    let (near, port) = (format!("http://127.0.0.1:{}", addr.port() ^ 1), format!("http://localhost:{}", addr.port()));
    for origin in ["http://evil.example", "null", "", &near, &port] {
        for (method, path) in [("GET", "/metrics"), ("GET", "/v1/sessions/count"), ("DELETE", &sessions_of("oAlice"))] {
            let reply = gw.admin().request(method, path, &[BEARER, ("Origin", origin)], "");
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None), "{origin}");
            assert_eq!(reply.code(), REFUSED[1].0);
        }
    }
    let own = format!("http://{addr}");
    let reply = gw.admin().request("GET", "/v1/sessions/count", &[BEARER, ("Origin", &own)], "");
    assert_eq!(reply.status, 200);
    assert_eq!(alice.get("/orders").status, 200);
}

#[test]
fn each_path_says_which_methods_it_takes() {
    let gw = with_token();
    let session = format!("{}/0123", sessions_of("oAlice"));
    for (path, allowed) in [
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/v1/sessions/count", "GET, HEAD"),
        (sessions_of("oAlice").as_str(), "GET, HEAD, DELETE"),
        (session.as_str(), "DELETE"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let reply = operator(&gw, method, path);
            let refused = !allowed.split(", ").any(|known| known == method);
            assert_eq!(reply.status == 405, refused, "{method} {path}: {reply:?}");
            assert_eq!(reply.header("allow"), refused.then_some(allowed), "{method} {path}");
        }
    }
}

#[test]
fn a_body_is_not_read_and_no_next_request() {
    let gw = with_token();
    let mut admin = gw.admin();
    let reply = admin.request("DELETE", &sessions_of("oAlice"), &[BEARER], r#"{"openid":"oBob"}"#);
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"ended":0}"#));
}
