//! Where a session token may come in beside `Authorization`, that it is taken out of what goes on, and that two are one too
//! many.

use wxgate::config::{
    Config,
    sections::{AuthRule, Route},
};

use crate::support::{Seen, TestGateway, User};

/// A route with every carrier, one that forwards tokens, one that asks for nobody, and one with no carrier.
fn carriers(config: &mut Config) {
    let route = |path: &str| Route {
        token_header: Some("x-session-token".parse().unwrap()),
        token_query: Some("token".to_owned()),
        token_subprotocol: true,
        ..Route::new(path, "app")
    };
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    config.routes = vec![
        Route::new("/", "app"),
        route("/any/"),
        Route { forward_token: true, ..route("/told/") },
        Route { auth: AuthRule::None, ..route("/public/") },
    ];
}

fn start() -> (TestGateway, User) {
    let gw = TestGateway::with(carriers);
    let alice = gw.login("oAlice");
    (gw, alice)
}

/// What the upstream saw of a GET with these headers and without `Authorization`.
fn seen(gw: &TestGateway, target: &str, headers: &[(&str, &str)]) -> Seen {
    let reply = gw.client().request("GET", target, headers, "");
    assert_eq!(reply.status, 200, "{target}: {reply:?}");
    gw.upstream.last()
}

fn verdict(gw: &TestGateway, target: &str, headers: &[(&str, &str)]) -> String {
    gw.client().request("GET", target, headers, "").verdict()
}

#[test]
fn a_token_is_found_wherever_its_route_lets_it_be_and_goes_no_further() {
    let (gw, alice) = start();
    let (token, offer) = (alice.token.as_str(), format!("chat, {}", alice.token));
    for (target, headers) in [
        ("/any/x", &[("X-Session-Token", token)][..]),
        (&*format!("/any/x?token={token}"), &[]),
        (&*format!("/any/x?%74ok%65n={token}"), &[]),
        ("/any/x", &[("Sec-WebSocket-Protocol", &offer)]),
    ] {
        let seen = seen(&gw, target, headers);
        assert_eq!(seen.header("x-wx-openid"), Some("oAlice"), "{target} {headers:?}");
        assert_eq!(seen.target, "/any/x");
        assert!(!seen.head.contains("wxg_"), "{}", seen.head);
    }
    gw.log.line("\"path\":\"/any/x\"");
    assert!(!gw.log.text().contains(&alice.token[4..]) && !gw.log.text().contains('?'), "{}", gw.log.text());
}

#[test]
fn the_rest_of_a_query_and_the_backends_own_credentials_go_along() {
    let (gw, alice) = start();
    let seen = seen(
        &gw,
        &format!("/any/x?a=%41&&b=c+d;e&token={}&%74=1&next=/x?y", alice.token),
        &[("Authorization", "Bearer a.jwt.of-the-backend")],
    );
    assert_eq!(seen.target, "/any/x?a=%41&&b=c+d;e&%74=1&next=/x?y");
    assert_eq!(seen.header("authorization"), Some("Bearer a.jwt.of-the-backend"));
    assert_eq!(seen.header("x-wx-openid"), Some("oAlice"));
}

#[test]
fn a_place_that_the_route_does_not_name_is_not_looked_at_and_stays_as_it_is() {
    let (gw, mut alice) = start();
    let token = alice.token.clone();
    let target = format!("/orders?token={token}");
    let headers = [("X-Session-Token", token.as_str()), ("Sec-WebSocket-Protocol", "wxg_x, wxgate")];
    assert_eq!(verdict(&gw, &target, &headers), "401 token_missing");
    assert_eq!(alice.request("GET", &target, &headers, "").status, 200);
    let seen = gw.upstream.last();
    assert_eq!((seen.target.as_str(), seen.header("x-session-token")), (target.as_str(), Some(token.as_str())));
    assert_eq!(seen.header("sec-websocket-protocol"), Some("wxg_x, wxgate"));
}

/// Threat 11, CVE-2021-32777: of several, one was checked and another one believed.
#[test]
fn two_tokens_are_one_too_many_even_where_they_are_the_same() {
    let (gw, alice) = start();
    let (token, bearer) = (alice.token.as_str(), format!("Bearer {}", alice.token));
    let (query, twice) = (format!("/any/x?token={token}"), format!("/any/x?token={token}&x&token={token}"));
    let header = ("X-Session-Token", token);
    for (target, headers) in [
        ("/any/x", &[header, ("Authorization", &bearer)][..]),
        ("/any/x", &[header, ("Authorization", "Bearer wxg_")]),
        ("/any/x", &[header, header]),
        ("/any/x", &[header, ("Sec-WebSocket-Protocol", token)]),
        ("/any/x", &[("Sec-WebSocket-Protocol", &format!("{token}, {token}"))]),
        (&query, &[("Authorization", &bearer)]),
        (&query, &[("X-Session-Token", "")]),
        (&twice, &[]),
        (&query.replace('?', "?%74oken&"), &[]),
        (&twice.replace("/any/", "/public/"), &[]),
    ] {
        let attack =
            gw.reached(|| assert_eq!(verdict(&gw, target, headers), "400 bad_request", "{target} {headers:?}"));
        assert_eq!(attack.1, 0, "{target} {headers:?}");
    }
}

#[test]
fn what_stands_in_the_place_of_a_token_and_is_none_is_invalid() {
    let (gw, alice) = start();
    let escaped = alice.token.replacen('w', "%77", 1);
    for target in ["/any/x?token=", "/any/x?a&token", "/any/x?token=x", &format!("/any/x?token={escaped}")] {
        assert_eq!(verdict(&gw, target, &[]), "401 token_invalid", "{target}");
    }
    assert_eq!(verdict(&gw, "/any/x", &[("X-Session-Token", &format!("Bearer {}", alice.token))]), "401 token_invalid");
    assert_eq!(verdict(&gw, "/any/x", &[("Sec-WebSocket-Protocol", "chat, wxg_x")]), "401 token_invalid");
}

#[test]
fn a_token_is_taken_out_where_nobody_asks_for_it_too() {
    let (gw, alice) = start();
    let offer = format!("{}, chat", alice.token);
    for value in [alice.token.as_str(), "wxg_x", "x"] {
        let seen = seen(&gw, &format!("/public/x?token={value}&a=1"), &[]);
        assert_eq!((seen.target.as_str(), seen.header("x-wx-openid")), ("/public/x?a=1", None));
    }
    assert_eq!(seen(&gw, "/public/x", &[("X-Session-Token", &alice.token)]).header("x-session-token"), None);
    assert_eq!(
        seen(&gw, "/public/x", &[("Sec-WebSocket-Protocol", &offer)]).header("sec-websocket-protocol"),
        Some("chat")
    );
}

#[test]
fn a_route_that_forwards_tokens_forwards_them_as_they_came() {
    let (gw, alice) = start();
    let target = format!("/told/x?a=1&token={}", alice.token);
    assert_eq!(seen(&gw, &target, &[("Referer", &target)]).target, target);
    assert_eq!(gw.upstream.last().header("referer"), Some(target.as_str()));
    let offer = format!("b, {},a", alice.token);
    assert_eq!(
        seen(&gw, "/told/x", &[("Sec-WebSocket-Protocol", &offer)]).header("sec-websocket-protocol"),
        Some(&*offer)
    );
    let seen = seen(&gw, "/told/x", &[("X-Session-Token", &alice.token)]);
    assert_eq!((seen.header("x-session-token"), seen.header("x-wx-openid")), (Some(&*alice.token), Some("oAlice")));
}

/// A page whose URL has a token tells it to all that it loads. What a proxy in front tells of the URL that it was asked for goes
/// no further in any case.
#[test]
fn where_tokens_come_in_urls_no_header_tells_of_one() {
    let (gw, mut alice) = start();
    let url = format!("https://api.example.com/any/x?token={}", alice.token);
    let escaped = url.replace("wxg_", "wxg%5F");
    for name in ["Referer", "X-Original-URI", "X-Original-URL", "X-Forwarded-Uri", "X-Rewrite-URL"] {
        for value in [&url, &escaped] {
            assert_eq!(alice.request("GET", "/orders", &[(name, value)], "").status, 200);
            assert_eq!(gw.upstream.last().header(name), None, "{name}");
        }
        assert_eq!(alice.request("GET", "/orders", &[(name, "/any/x?a=1")], "").status, 200);
        let kept = (name == "Referer").then_some("/any/x?a=1");
        assert_eq!(gw.upstream.last().header(name), kept, "{name}");
    }
}

#[test]
fn a_question_of_another_proxy_is_decided_by_the_same_carriers() {
    let (gw, alice) = start();
    let (token, offer) = (alice.token.as_str(), format!("chat, {}", alice.token));
    let ask = |target: &str, path: &str, headers: &[(&str, &str)]| {
        let held = [("X-Original-Method", "GET"), ("X-Original-URI", path), ("X-Forwarded-Host", "api.example.com")];
        let reply = gw.client().request("GET", target, &[&held, headers].concat(), "");
        (reply.verdict(), reply.header("x-wx-openid").map(str::to_owned))
    };
    let in_query = format!("/any/x?a=1&token={token}");
    for (path, headers) in [
        (in_query.as_str(), &[][..]),
        ("/any/x", &[("X-Session-Token", token)]),
        ("/any/x", &[("Sec-WebSocket-Protocol", &offer)]),
    ] {
        assert_eq!(
            ask("/v1/authorize", path, headers),
            ("200".to_owned(), Some("oAlice".to_owned())),
            "{path} {headers:?}"
        );
    }
    let answer = |target: &str, path: &str, headers: &[(&str, &str)]| ask(target, path, headers).0;
    assert_eq!(answer("/v1/authorize", &in_query.replace("/any/", "/"), &[]), "401 token_missing");
    assert_eq!(answer(&format!("/v1/authorize?token={token}"), "/any/x", &[]), "401 token_missing");
    assert_eq!(answer("/v1/authorize", &in_query, &[("X-Session-Token", token)]), "400 bad_request");
    assert_eq!(answer("/v1/authorize", &format!("{in_query}&token="), &[]), "400 bad_request");
    gw.log.line("\"path\":\"/any/x\"");
    assert!(!gw.log.text().contains(&token[4..]), "{}", gw.log.text());
}

#[test]
fn what_wxgate_answers_itself_takes_a_token_from_authorization_alone() {
    let (gw, alice) = start();
    let target = format!("/v1/session?token={}", alice.token);
    assert_eq!(verdict(&gw, &target, &[("X-Session-Token", &alice.token)]), "401 token_missing");
}
