//! What another proxy hears when it asks whether a request may pass that it holds: what the request itself would hear.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, Method};
use serde_json::{Value, json};
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, HostPattern, IdentityHeaders, Route, Upstream},
    },
    store::Store,
};

use crate::{
    assertion::{claims, signing},
    support::{APP, OTHER_APP, Reply, TestGateway, User, refusal::shows_no, scripted::Scripted, until},
};

const UNREADABLE: &str =
    "The original request is not told, is told in two ways, or could be read in more than one way.";
const OURS: [&str; 4] = ["x-wx-openid", "x-wx-appid", "x-wx-unionid", "x-wx-source"];

/// Believes what this machine says, as if a proxy ran here.
fn trusting(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

fn behind_a_proxy() -> TestGateway {
    TestGateway::with(trusting)
}

/// What a proxy tells of a request that it holds.
fn held(method: &str, target: &str) -> String {
    format!("X-Original-Method: {method}\r\nX-Original-URI: {target}\r\nX-Forwarded-Host: api.example.com\r\n")
}

/// Asks with exactly these header lines.
fn ask(gw: &TestGateway, lines: &str) -> Reply {
    gw.raw(format!("GET /v1/authorize HTTP/1.1\r\nHost: wxgate.internal\r\n{lines}\r\n"))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// What the answer tells of the caller: each name, with what it says.
fn told(reply: &Reply) -> [Option<&str>; 4] {
    OURS.map(|name| reply.header(name))
}

const ANONYMOUS: [Option<&str>; 4] = [Some(""); 4];

fn known<'a>(app: &'a str, openid: &'a str) -> [Option<&'a str>; 4] {
    [Some(openid), Some(app), Some(""), Some("wx_client")]
}

// --- who may ask

/// Threat 19, CVE-2026-40575: the header chose the rule, and everybody was believed.
#[test]
fn a_stranger_gets_no_decision_whatever_it_says() {
    let elsewhere = |config: &mut Config| {
        config.server.trusted_proxies =
            ["10.0.0.0/8", "127.0.0.2/32", "::1/128"].map(|net| net.parse().unwrap()).into();
    };
    for gw in [TestGateway::start(), TestGateway::with(elsewhere)] {
        let alice = gw.login("oAlice");
        let forwarded = "X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n";
        for lines in
            [held("GET", "/public/") + forwarded, held("GET", "/orders") + &bearer(&alice.token), String::new()]
        {
            let reply = ask(&gw, &lines);
            let sentence = "Only a proxy that this gateway trusts may ask whether a request may pass.";
            let line = gw.says_no(&reply, 403, "proxy_not_trusted", sentence, &[]);
            assert_eq!(line["cause"], "the peer is not in server.trusted_proxies");
            assert_eq!((&line["path"], &line["client"]), (&json!("/v1/authorize"), &json!("127.0.0.1")), "{line}");
        }
    }
}

// --- what is decided

/// Routes with every kind of rule, and nothing for what none of them fits.
fn many_rules(config: &mut Config) {
    trusting(config);
    let app = config.apps[0].app_id.clone();
    let route = |path| Route::new(path, "app");
    let apps = || Some(vec![app.clone()]);
    config.routes[0] = route("/orders");
    config.routes.extend([
        Route { apps: apps(), ..route("/shop/") },
        Route { apps: apps(), auth: AuthRule::Optional, ..route("/maybe-shop/") },
        Route { methods: Some(vec![Method::POST]), ..route("/public/forms") },
        Route { methods: Some(vec![Method::PUT]), auth: AuthRule::None, ..route("/drop") },
        Route { host: Some(HostPattern::Exact("admin.example.com".to_owned())), ..route("/public/") },
        Route { strip_prefix: true, auth: AuthRule::None, ..route("/open") },
        Route { allow_semicolon: true, auth: AuthRule::None, ..route("/semi") },
        Route { allow_encoded_slash: true, auth: AuthRule::None, ..route("/slash") },
    ]);
}

/// Lines with the token of each kind of caller.
fn callers(gw: &TestGateway) -> Vec<String> {
    let expired = gw.login("oOld").token;
    gw.later(Duration::from_hours(25));
    let mut gone = gw.login("oGone");
    assert_eq!(gone.post("/v1/logout", "").status, 204);
    let alice = bearer(&gw.login("oAlice").token);
    let bob = bearer(&gw.login_to(OTHER_APP, "oBob").token);
    let others = ["Authorization: Bearer wxg_garbage\r\n", "Authorization: Basic ZXZpbA==\r\n", ""];
    let lines = [bearer(&expired), bearer(&gone.token), alice.clone() + &bob, alice, bob];
    lines.into_iter().chain(others.map(str::to_owned)).collect()
}

/// Sends the request itself, and says what came of it and what the upstream was told of the caller.
fn sent(gw: &TestGateway, method: &str, target: &str, host: &str, lines: &str) -> (String, [Option<String>; 4]) {
    let attack = gw.attack(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"));
    let seen = attack.seen.first();
    let told = OURS.map(|name| Some(seen?.header(name).unwrap_or_default().to_owned()));
    (attack.answer, told)
}

#[test]
fn who_passes_here_is_who_passes_through_the_gateway_itself() {
    let gw = TestGateway::with(many_rules);
    let targets = [
        "/orders?a=/public/",
        "/orders/7",
        "/maybe/1",
        "/public/1",
        "/public/forms",
        "/drop",
        "/shop/1",
        "/maybe-shop/1",
        "/nowhere",
        "/public/../orders",
        "/public/%2e%2e/orders",
        "/public/.%2e/orders",
        "/public/%252e%252e/orders",
        "/public/..;/orders",
        "/public%2f..%2forders",
        "/public\\orders",
        "/public/%00",
        "/public/a%2fb",
        "/slash/a%2fb",
        "/public/a;b",
        "/semi/a;b",
        "/open/x",
        "/open/..%2forders",
        "/public/%",
        "http://api.example.com/orders",
        "ftp://api.example.com/public/",
        "internal:80",
        "*",
    ];
    for lines in callers(&gw) {
        for method in ["GET", "POST", "PUT"] {
            for (target, host) in targets.iter().flat_map(|t| [(t, "api.example.com"), (t, "Admin.example.com:8443")]) {
                let question = format!(
                    "X-Forwarded-Method: {method}\r\nX-Forwarded-Uri: {target}\r\nX-Forwarded-Host: {host}\r\n{lines}"
                );
                let reply = ask(&gw, &question);
                let heard = (reply.verdict(), told(&reply).map(|value| value.map(str::to_owned)));
                assert_eq!(heard, sent(&gw, method, target, host, &lines), "{method} {target} {host} {lines}");
            }
        }
    }
}

/// A proxy forwards what it received. `//public/orders`, resolved by a backend against a base URL, is `/orders`.
#[test]
fn a_path_that_the_gateway_would_mend_is_refused_because_the_proxy_does_not() {
    let gw = behind_a_proxy();
    for target in [
        "//public/orders",
        "/public//1",
        "/public/./1",
        "/%70ublic/1",
        "/public/%7e",
        "http://api.example.com/public//1",
    ] {
        assert_eq!(sent(&gw, "GET", target, "api.example.com", "").0, "200", "{target}");
        let line = gw.says_no(&ask(&gw, &held("GET", target)), 400, "bad_request", UNREADABLE, &[]);
        assert!(line["cause"].as_str().unwrap().contains("canonical"), "{line}");
    }
}

#[test]
fn our_own_endpoints_are_no_routes() {
    let gw = behind_a_proxy();
    let alice = bearer(&gw.login("oAlice").token);
    for path in ["/v1/verify", "/v1/session", "/v1/logout", "/v1/authorize"] {
        let reply = ask(&gw, &(held("GET", path) + &alice));
        assert_eq!((reply.verdict().as_str(), told(&reply)), ("404 no_route", [None; 4]), "{path}");
    }
    assert_eq!(ask(&gw, &(held("GET", "/v1/orders") + &alice)).status, 200);
}

#[test]
fn what_is_never_forwarded_never_passes() {
    let gw = behind_a_proxy();
    for method in ["TRACE", "CONNECT"] {
        assert_eq!(ask(&gw, &held(method, "/public/")).verdict(), "405 method_not_allowed", "{method}");
    }
}

/// Threat 20, CVE-2026-34457: to a health check every path was open.
#[test]
fn no_user_agent_is_told_that_it_may_pass() {
    let gw = behind_a_proxy();
    for agent in
        ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "wxgate-health", "wxgate", "Prometheus/3.0"]
    {
        for path in ["/orders", "/healthz", "/readyz", "/metrics", "/ping"] {
            let reply = ask(&gw, &format!("{}User-Agent: {agent}\r\n", held("GET", path)));
            assert_eq!((reply.verdict().as_str(), told(&reply)), ("401 token_missing", [None; 4]), "{agent} {path}");
        }
    }
}

/// Threat 29, CVE-2021-32637: a target that could not be parsed was let through.
#[test]
fn an_original_target_that_can_not_be_read_opens_nothing() {
    let gw = behind_a_proxy();
    let alice = bearer(&gw.login("oAlice").token);
    let targets = [
        "",
        "/public/%",
        "/public/%2",
        "/public/%zz",
        "/public/%00",
        "/public/\\x",
        "/public/ /x",
        "/public/\tx",
        "/public/\u{7f}",
        "/public/\u{80}",
        "/public/<x>\"",
        "public/",
        "?/public/",
        "#",
        "://",
        "http://",
        "http:///public/",
        "http://a:b:c/public/",
        "http://api.example.com:99999/public/",
        "http://[::1/public/",
        "http:/public/",
        "//",
        "/public/é",
        "/public/x HTTP/1.1",
        "%2fpublic%2f",
        "\\public\\",
        "*",
        "a:80",
        "data:,/public/",
    ];
    for target in targets {
        for name in ["X-Original-URI", "X-Original-URL", "X-Forwarded-Uri"] {
            let original =
                format!("X-Original-Method: GET\r\n{name}: {target}\r\nX-Forwarded-Host: api.example.com\r\n");
            for token in ["", alice.as_str()] {
                let reply = ask(&gw, &format!("{original}{token}"));
                assert!((400..500).contains(&reply.status), "{name}: {target:?} {reply:?}");
                assert_eq!(told(&reply), [None; 4], "{name}: {target:?}");
            }
        }
    }
}

// --- how it is asked

#[test]
fn what_is_not_told_or_told_in_two_ways_is_refused() {
    let gw = behind_a_proxy();
    let (method, target, host) =
        ("X-Original-Method: GET\r\n", "X-Original-URI: /public/\r\n", "X-Forwarded-Host: a\r\n");
    let whole = [method, target, host].concat();
    assert_eq!(ask(&gw, &whole).status, 200);
    let wrong = [
        [target, host].concat(),
        [method, host].concat(),
        [method, target].concat(),
        [method, target, "X_Forwarded_Host: a\r\nForwarded: host=a\r\n"].concat(),
        [method, host, "X_Original_URI: /public/\r\nX-Rewrite-URL: /public/\r\n"].concat(),
        whole.clone() + "X-Forwarded-Method: POST\r\n",
        whole.clone() + "X-Forwarded-Uri: /orders\r\n",
        whole.clone() + "X-Original-URL: http://a/public/\r\n",
        whole.clone() + "X-Original-Host: b\r\n",
        whole.clone() + method,
        whole.clone() + target,
        whole.clone() + host,
        [method, target, "X-Forwarded-Host: a, b\r\n"].concat(),
        [method, "X-Original-URI: /public/é\r\n", host].concat(),
        [method, "X-Original-URI: /public/ x\r\n", host].concat(),
        [method, "X-Original-URI: /public/#x\r\n", host].concat(),
        ["X-Original-Method: G T\r\n", target, host].concat(),
    ];
    let replies = wrong.map(|lines| (ask(&gw, &lines), lines));
    for (reply, lines) in &replies {
        assert_eq!(reply.verdict(), "400 bad_request", "{lines}");
        let line = gw.logs(&shows_no(reply, 400, "bad_request", UNREADABLE, &[]));
        assert!(line["cause"].as_str().unwrap().contains("original"), "{line}");
    }
}

#[test]
fn it_is_asked_with_get_head_or_post_and_nothing_else() {
    let gw = behind_a_proxy();
    let mut client = gw.client();
    let lines =
        [("X-Forwarded-Method", "DELETE"), ("X-Forwarded-Uri", "/public/"), ("X-Forwarded-Host", "api.example.com")];
    for method in ["GET", "HEAD", "POST"] {
        let reply = client.request(method, "/v1/authorize", &lines, "");
        assert_eq!((reply.status, told(&reply), reply.body.len()), (200, ANONYMOUS, 0), "{method}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"] {
        let reply = client.request(method, "/v1/authorize", &lines, "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, POST, HEAD")), "{method}");
    }
    assert_eq!(client.get("/public/").status, 200, "the connection is fine");
    assert_eq!(client.post("/v1/authorize/", "").verdict(), "401 token_missing", "only the exact path is ours");
}

/// nginx sends the original's length and no body, if it is not told otherwise.
#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    let gw = behind_a_proxy();
    let alice = bearer(&gw.login("oAlice").token);
    for framing in ["Content-Length: 5\r\n", "Content-Length: 99999999\r\n", "Transfer-Encoding: chunked\r\n"] {
        for (lines, status) in [(held("POST", "/orders") + &alice, 200), (held("POST", "/orders"), 401)] {
            let mut client = gw.client();
            client.send(format!("GET /v1/authorize HTTP/1.1\r\nHost: a\r\n{lines}{framing}\r\n"));
            assert_eq!(client.reply().status, status, "{framing}");
        }
    }
}

#[test]
fn one_connection_carries_many_questions_whatever_their_answers() {
    let gw = behind_a_proxy();
    let alice = bearer(&gw.login("oAlice").token);
    let mut client = gw.client();
    for _ in 0..3 {
        for (lines, verdict) in [
            (held("GET", "/orders") + &alice, "200"),
            (held("GET", "/orders"), "401 token_missing"),
            (held("GET", "/public/../orders") + &alice, "400 bad_request"),
            (held("GET", "/public/"), "200"),
        ] {
            let reply = client.raw(format!("GET /v1/authorize HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
            assert_eq!(reply.verdict(), verdict);
        }
    }
}

// --- what is answered

/// Threat 2, CVE-2026-30851: a proxy found no header to copy, and left the client's in its place.
#[test]
fn every_identity_header_is_in_the_answer_and_empty_where_nothing_is_known() {
    let gw = behind_a_proxy();
    let alice = bearer(&gw.login("oAlice").token);
    gw.wechat.knows_with_union("code", APP, "oBob", "uBob");
    let bob = gw.verify(&json!({ "jsCode": "code", "appId": APP })).json()["token"].as_str().map(bearer).unwrap();
    let with_union = [Some("oBob"), Some(APP), Some("uBob"), Some("wx_client")];
    let forged = "X-WX-OPENID: evil\r\nX_WX_OPENID: evil\r\nX-WX-UNIONID: evil\r\nConnection: X-WX-OPENID\r\n";
    for (path, lines, expected) in [
        ("/orders", &alice, known(APP, "oAlice")),
        ("/orders", &bob, with_union),
        ("/maybe/1", &alice, known(APP, "oAlice")),
        ("/maybe/1", &String::new(), ANONYMOUS),
        ("/public/1", &alice, ANONYMOUS),
    ] {
        let reply = ask(&gw, &(held("GET", path) + lines + forged));
        assert_eq!((reply.status, told(&reply), reply.text().as_str()), (200, expected, ""), "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert!(!format!("{reply:?}").contains("evil"), "{reply:?}");
    }
    assert_eq!((gw.upstream.seen().len(), gw.upstream.bytes()), (0, 0), "nothing is forwarded");
}

#[test]
fn configured_names_are_in_the_answer_and_no_others() {
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
    let gw = TestGateway::with(|config| {
        trusting(config);
        config.identity = IdentityHeaders {
            openid: name("Remote-User"),
            app_id: name("App"),
            unionid: name("Union"),
            ..IdentityHeaders::default()
        };
    });
    let alice = bearer(&gw.login("oAlice").token);
    for (lines, user, app) in [(held("GET", "/maybe/") + &alice, "oAlice", APP), (held("GET", "/maybe/"), "", "")] {
        let reply = ask(&gw, &lines);
        let got = ["remote-user", "app", "union"].map(|name| reply.header(name).unwrap());
        assert_eq!((got, reply.header("x-wx-openid")), ([user, app, ""], None));
    }
}

/// Threat 14: what is signed for one backend is good for no other, also when another proxy forwards.
#[test]
fn the_assertion_is_meant_for_the_upstream_of_the_matched_route() {
    let gw = TestGateway::with(|config| {
        trusting(config);
        signing(config);
        let servers = config.upstreams[0].servers.clone();
        config.upstreams.push(Upstream::new("shop", servers));
        config.routes.push(Route::new("/shop/", "shop"));
    });
    let mut alice = gw.login("oAlice");
    for (path, audience) in [("/orders", "app"), ("/shop/1", "shop"), ("/maybe/1", "app")] {
        let reply = ask(&gw, &(held("GET", path) + &bearer(&alice.token) + "X-WX-ASSERTION: evil\r\n"));
        assert_eq!((reply.status, told(&reply)), (200, known(APP, "oAlice")), "{path}");
        let claims = claims(reply.header("x-wx-assertion").unwrap());
        assert_eq!((&claims["aud"], &claims["sub"]), (&json!(audience), &json!("oAlice")), "{path}");
        assert_eq!(alice.get(path).status, 200);
        assert_eq!(gw.upstream.last().header("x-wx-assertion"), reply.header("x-wx-assertion"), "{path}");
    }
}

#[test]
fn the_assertion_of_nobody_is_empty_so_that_it_takes_the_place_of_the_clients() {
    let gw = TestGateway::with(|config| {
        trusting(config);
        signing(config);
    });
    let alice = bearer(&gw.login("oAlice").token);
    for (path, lines) in [("/maybe/1", String::new()), ("/public/1", alice)] {
        let reply = ask(&gw, &(held("GET", path) + &lines + "X-WX-ASSERTION: evil\r\n"));
        assert_eq!((reply.status, told(&reply)), (200, ANONYMOUS), "{path}");
        assert_eq!(reply.header("x-wx-assertion"), Some(""), "{path}");
    }
    assert_eq!(ask(&gw, &held("GET", "/orders")).header("x-wx-assertion"), None, "a refusal tells of nobody");
}

#[test]
fn a_refusal_is_the_one_that_a_request_would_get_with_the_proxys_own_id() {
    let gw = behind_a_proxy();
    let bob = bearer(&gw.login_to(OTHER_APP, "oBob").token);
    let bearer = [("www-authenticate", "Bearer")];
    let reply = ask(&gw, &held("GET", "/orders"));
    let line = gw.says_no(&reply, 401, "token_missing", "A session token is needed.", &bearer);
    assert_eq!((&line["endpoint"], &line["route"]), (&json!("authorize"), &json!("/")), "{line}");
    let reply = ask(&gw, &(held("GET", "/orders") + "Authorization: Bearer wxg_x\r\n"));
    gw.says_no(&reply, 401, "token_invalid", "The session token is not valid, or no longer.", &bearer);

    let id = "X-Request-Id: the-proxys-own\r\n";
    for lines in [held("GET", "/orders") + &bob + id, held("GET", "/orders") + id] {
        let reply = ask(&gw, &lines);
        assert_eq!(reply.header("x-request-id"), Some("the-proxys-own"));
        assert!(reply.status == 200 || reply.json()["requestId"] == "the-proxys-own", "{reply:?}");
    }
}

/// Nobody passes and nobody is logged out because the store can't be asked.
#[test]
fn while_the_store_is_away_the_answer_is_503() {
    let store = Scripted::own();
    let start = || TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), trusting);
    let before = start();
    let User { token, .. } = before.login("oAlice");
    before.stop();
    let answered = store.asked("recent answered");
    let gw = start();
    until("memory to be filled", || (store.asked("recent answered") > answered).then_some(()));
    store.tell(|watcher| watcher.all_changed());
    store.go_away();
    for (path, verdict) in
        [("/orders", "503 store_unavailable"), ("/maybe/1", "503 store_unavailable"), ("/public/1", "200")]
    {
        let reply = ask(&gw, &(held("GET", path) + &bearer(&token)));
        assert_eq!(reply.verdict(), verdict, "{path}");
        assert_eq!(reply.header("retry-after").is_some(), reply.status == 503, "{path}");
    }
    store.come_back();
    assert_eq!(told(&ask(&gw, &(held("GET", "/orders") + &bearer(&token)))), known(APP, "oAlice"));
}

// --- what operators see

#[test]
fn the_log_tells_of_the_original_request_and_nothing_of_its_query() {
    let gw = behind_a_proxy();
    let alice = gw.login("oAlice").token;
    let question = held("DELETE", "/orders/7?secret=wxg_query") + &bearer(&alice);
    let reply = ask(&gw, &(question + "X-Forwarded-For: 203.0.113.9\r\n"));
    let line: Value = serde_json::from_str(&gw.log.line(reply.header("x-request-id").unwrap())).unwrap();
    for (field, expected) in [
        ("method", json!("DELETE")),
        ("path", json!("/orders/7")),
        ("route", json!("/")),
        ("endpoint", json!("authorize")),
        ("client", json!("203.0.113.9")),
        ("app", json!(APP)),
        ("status", json!(200)),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert!(line["user"].is_string() && line["upstream_ms"].is_null(), "{line}");
    let all = gw.log.text();
    assert!(!all.contains("query") && !all.contains("oAlice") && !all.contains(&alice), "{all}");
}
