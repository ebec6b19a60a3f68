//! Who calls, as the upstream is told: every way in, and every way to forge it.

use std::time::Duration;

use http::HeaderName;
use serde_json::json;
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, IdentityHeaders, Route, UnderscoreHeaders},
    },
    simulator::Fault,
};

use crate::support::{APP, OTHER_APP, Seen, TestGateway};

/// Header lines that claim to be somebody. What they claim has `evil` in it.
pub const FORGERIES: &[&str] = &[
    "X-WX-OPENID: evil",
    "x-wx-openid: evil",
    "X-wX-oPeNiD: evil",
    "X-WX-OPENID: evil\r\nX-WX-OPENID: evil-too",
    "X-WX-OPENID: evil, evil",
    "X-WX-OPENID:",
    "X-WX-OPENID: \t ",
    "X_WX_OPENID: evil",
    "x_wx-openid: evil",
    "X-Wx_OpenId: evil",
    "X_WX_OPENID: evil\r\nx_wx_openid: evil",
    "X.WX.OPENID: evil",
    "X~WX!OPENID: evil",
    "X-WX-APPID: evil\r\nX_WX_APPID: evil",
    "X-WX-UNIONID: evil\r\nX_WX_UNIONID: evil",
    "X-WX-PHONE: evil\r\nX_WX_PHONE: evil\r\nX.WX.PHONE: evil",
    "X-WX-SOURCE: evil\r\nX_WX_SOURCE: evil",
    "X-WX-FROM-OPENID: evil\r\nX-WX-CLOUDBASE-ACCESS-TOKEN: evil\r\nX_WX_anything: evil\r\nX-WX-: evil",
    "Connection: X-WX-OPENID",
    "Connection: close, X-WX-OPENID",
    "connection: x-wx-openid\r\nConnection:\tX-WX-APPID,,\tx-wx-SOURCE ,",
    "Connection: keep-alive\r\nconnection: x-WX-openid , x-wx-unionid\r\nX-WX-OPENID: evil",
    "Connection: x_wx_openid, X-WX-OPENID, x-wx-appid, authorization, host, via\r\nX_WX_OPENID: evil",
    "Proxy-Connection: X-WX-OPENID\r\nKeep-Alive: X-WX-OPENID",
    "Trailer: X-WX-OPENID",
    "TE: trailers\r\nConnection: TE",
];

/// Open, and open to one app's users, beside what the harness has.
fn with_shops(config: &mut Config) {
    let app = config.apps[0].app_id.clone();
    for (path, auth) in [("/shop/", AuthRule::Required), ("/maybe-shop/", AuthRule::Optional)] {
        config.routes.push(Route { auth, apps: Some(vec![app.clone()]), ..Route::new(path, "app") });
    }
}

/// What the upstream was told of the caller, by any name that it could take for one of ours.
fn told(seen: &Seen) -> Vec<String> {
    let alike = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let ours = seen.headers.iter().filter(|(name, _)| alike(name).starts_with("x-wx-"));
    let mut lines: Vec<_> = ours.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort();
    lines
}

fn known(app: &str, openid: &str) -> Vec<String> {
    vec![format!("x-wx-appid: {app}"), format!("x-wx-openid: {openid}"), "x-wx-source: wx_client".to_owned()]
}

/// Who comes: a name for the case, the `Authorization` line, and what is known of the bearer.
fn callers(gw: &TestGateway) -> Vec<(&'static str, String, Option<(&'static str, &'static str)>)> {
    let line = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let expired = gw.login("oOld").token;
    gw.later(Duration::from_hours(25));
    let mut gone = gw.login("oGone");
    assert_eq!(gone.post("/v1/logout", "").status, 204);
    let alice = gw.login("oAlice").token;
    let mut damaged = alice.clone().into_bytes();
    damaged[10] = if damaged[10] == b'a' { b'b' } else { b'a' };
    vec![
        ("live", line(&alice), Some((APP, "oAlice"))),
        ("another app's", line(&gw.login_to(OTHER_APP, "oBob").token), Some((OTHER_APP, "oBob"))),
        ("absent", String::new(), None),
        ("expired", line(&expired), None),
        ("logged out", line(&gone.token), None),
        ("damaged", line(&String::from_utf8(damaged).unwrap()), None),
        ("garbage", line("wxg_garbage"), None),
        ("a list", line(&format!("{alice}, Bearer {alice}")), None),
        ("of another scheme", "Authorization: Basic ZXZpbA==\r\n".to_owned(), None),
    ]
}

/// What a route does with a caller: the status, and what the upstream is told if it is asked at all.
fn expected(path: &str, who: Option<(&str, &str)>) -> (u16, Option<Vec<String>>) {
    let told = who.map(|(app, openid)| known(app, openid));
    let of_our_shop = who.is_some_and(|(app, _)| app == APP);
    match path {
        "/orders" | "/shop/1" if who.is_none() => (401, None),
        "/shop/1" if !of_our_shop => (403, None),
        "/maybe-shop/1" if !of_our_shop => (200, Some(vec![])),
        "/public/1" => (200, Some(vec![])),
        _ => (200, Some(told.unwrap_or_default())),
    }
}

/// Threats 1 to 4 and 6 to 9: CVE-2025-64484, CVE-2026-30851, CVE-2026-52845, CVE-2026-33433, GHSA-w9mr-28mw-j8hg,
/// CVE-2024-45410, CVE-2026-29054, CVE-2022-31813.
#[test]
fn nobody_is_taken_for_another_whatever_they_send() {
    let gw = TestGateway::with(with_shops);
    for (kind, authorization, who) in callers(&gw) {
        for path in ["/orders", "/maybe/1", "/public/1", "/shop/1", "/maybe-shop/1"] {
            for forgery in FORGERIES {
                let case = format!("{path}, a token that is {kind}, {forgery:?}");
                let head = format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\n{forgery}\r\n{authorization}\r\n");
                let attack = gw.attack(head);
                let (status, told_upstream) = expected(path, who);
                assert_eq!(attack.reply.unwrap().status, status, "{case}");
                assert_eq!(attack.seen.iter().map(told).next(), told_upstream, "{case}");
                assert!(attack.seen.len() < 2, "{case}");
                assert!(attack.seen.iter().all(|seen| !seen.head.contains("evil")), "{case}: {:?}", attack.seen);
                assert!(attack.seen.iter().all(|seen| seen.header("connection").is_none()), "{case}");
                assert_eq!(attack.seen.is_empty(), attack.bytes == 0, "{case}: {} bytes", attack.bytes);
            }
        }
    }
}

/// Threat 10: trailers, which a backend may merge into its headers.
#[test]
fn a_trailer_tells_nobody_anything() {
    let gw = TestGateway::start();
    let token = gw.login("oAlice").token;
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (path, authorization, told_upstream) in
        [("/orders", bearer.as_str(), known(APP, "oAlice")), ("/maybe/1", "", vec![]), ("/public/1", "", vec![])]
    {
        for trailer in ["X-WX-OPENID: evil", "x_wx_openid: evil", "Authorization: evil", "X-Forwarded-For: evil"] {
            let named = trailer.split(':').next().unwrap();
            let attack = gw.attack(format!(
                "POST {path} HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\nTrailer: {named}\r\n\
                 TE: trailers\r\n{authorization}\r\n5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"
            ));
            assert_eq!(attack.answer, "200", "{path} {trailer}");
            let [seen] = &attack.seen[..] else { panic!("{:?}", attack.seen) };
            assert_eq!((told(seen), seen.body.as_slice()), (told_upstream.clone(), &b"hello"[..]), "{path} {trailer}");
            assert_eq!(seen.trailers, Vec::<String>::new(), "{path} {trailer}");
            assert_eq!((seen.header("trailer"), seen.header("te")), (None, None), "{path} {trailer}");
            assert!(!seen.head.contains("evil"), "{path} {trailer}");
        }
    }
}

/// Threat 2, CVE-2026-30851: what the session does not have is absent, not the client's to fill in.
#[test]
fn a_session_without_a_unionid_does_not_take_the_clients() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    alice.request("GET", "/orders", &[("X-WX-UNIONID", "evil"), ("X_WX_UNIONID", "evil")], "");
    assert_eq!(told(&gw.upstream.last()), known(APP, "oAlice"));

    gw.wechat.knows_with_union("code", APP, "oBob", "uBob");
    let token = gw.verify(&json!({ "jsCode": "code", "appId": APP })).json()["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    gw.client().request("GET", "/orders", &[("Authorization", &bearer), ("X-WX-UNIONID", "evil")], "");
    let mut with_union = known(APP, "oBob");
    with_union.push("x-wx-unionid: uBob".to_owned());
    assert_eq!(told(&gw.upstream.last()), with_union);
}

/// Threat 4, CVE-2026-33433: a name of our own is guarded like the default ones, and the default ones with it.
#[test]
fn configured_names_are_guarded_in_every_spelling() {
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
    let gw = TestGateway::with(|config| {
        config.identity = IdentityHeaders {
            openid: name("remote-USER"),
            app_id: name("App"),
            unionid: name("x_Union"),
            ..IdentityHeaders::default()
        };
    });
    let mut alice = gw.login("oAlice");
    let is_ours = |header: &str| ["remote", "app", "x-wx", "x_un", "x-un"].iter().any(|part| header.starts_with(part));
    for forgery in [
        [("Remote-User", "evil"), ("remote_user", "evil"), ("REMOTE-uSER", "evil"), ("Remote.User", "evil")],
        [("App", "evil"), ("aPP", "evil"), ("Connection", "app"), ("Connection", "Remote-User, x_union")],
        [("X-Union", "evil"), ("X_UNION", "evil"), ("x-union", "evil"), ("x_Union", "evil")],
        [("X-WX-OPENID", "evil"), ("X_WX_APPID", "evil"), ("X-Wx-Unionid", "evil"), ("x-wx-source", "evil")],
    ] {
        alice.request("GET", "/orders", &forgery, "");
        let seen = gw.upstream.last();
        let ours: Vec<_> =
            seen.headers.iter().filter(|(name, _)| is_ours(name)).map(|(n, v)| format!("{n}: {v}")).collect();
        assert_eq!(ours, ["remote-user: oAlice", &format!("app: {APP}"), "x-wx-source: wx_client"], "{forgery:?}");
        gw.client().request("GET", "/public/1", &forgery, "");
        assert!(!gw.upstream.last().headers.iter().any(|(name, _)| is_ours(name)), "{forgery:?}");
    }
}

/// Threats 1 to 4 and 6 again, where the names are written in an odd case and other underscores are kept.
#[test]
fn no_forgery_does_better_where_names_are_odd_and_underscores_are_kept() {
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).unwrap();
    let gw = TestGateway::with(|config| {
        config.identity.openid = name("x-wx-OPENID");
        config.identity.unionid = name("rEMOTE_gROUPS");
        config.server.underscore_headers = UnderscoreHeaders::Keep;
    });
    let bearer = format!("Authorization: Bearer {}\r\n", gw.login("oAlice").token);
    let groups = "Remote-Groups: evil\r\nREMOTE_GROUPS: evil\r\nremote_groups: evil\r\nRemote.Groups: evil";
    for (path, authorization, expected) in [
        ("/orders", bearer.as_str(), known(APP, "oAlice")),
        ("/maybe/1", "", vec![]),
        ("/maybe/1", "Authorization: Bearer wxg_garbage\r\n", vec![]),
        ("/public/1", bearer.as_str(), vec![]),
    ] {
        for forgery in FORGERIES.iter().chain([&groups]) {
            let sent =
                format!("GET {path} HTTP/1.1\r\nHost: a\r\n{forgery}\r\n{authorization}My_Own: 1\r\nMy_Own: 2\r\n\r\n");
            let attack = gw.attack(sent);
            let [seen] = &attack.seen[..] else { panic!("{forgery:?}: {attack:?}") };
            assert_eq!((told(seen), seen.all("my_own")), (expected.clone(), vec!["1", "2"]), "{path} {forgery:?}");
            assert!(!seen.head.contains("evil"), "{path} {forgery:?}: {}", seen.head);
        }
    }
}

/// Threats 1 and 3: the name the backend can't tell from ours goes whatever is done with other underscores.
#[test]
fn header_names_with_an_underscore_are_dropped_refused_or_kept_but_never_ours() {
    let sent = "GET /public/1 HTTP/1.1\r\nHost: api.example.com\r\n";
    for (policy, answer, kept) in [
        (UnderscoreHeaders::Drop, "200", None),
        (UnderscoreHeaders::Keep, "200", Some("yes")),
        (UnderscoreHeaders::Reject, "400 bad_request", None),
    ] {
        let gw = TestGateway::with(|config| config.server.underscore_headers = policy);
        let attack = gw.attack(format!(
            "{sent}X_WX_OPENID: evil\r\nMy_Own: yes\r\nX_Forwarded_For: evil\r\nX_Real_IP: evil\r\n\r\n"
        ));
        assert_eq!(attack.answer, answer, "{policy:?}");
        assert_eq!(attack.seen.first().and_then(|seen| seen.header("my_own")), kept, "{policy:?}");
        assert_eq!(attack.seen.len(), usize::from(policy != UnderscoreHeaders::Reject), "{policy:?}");
        assert!(attack.seen.iter().all(|seen| !seen.head.contains("evil")), "{policy:?}: {:?}", attack.seen);
    }
}

/// Threat 5, CVE-2026-31908: nothing of a request or of WeChat's answer becomes a header line of its own.
#[test]
fn a_line_end_in_data_never_becomes_a_line() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for query in
        ["u=guest%0d%0ax-wx-openid:%20evil", "u=%0ax-wx-openid:evil", "u=guest%E5%98%8D%E5%98%8Ax-wx-openid:evil"]
    {
        assert_eq!(alice.get(&format!("/orders?{query}")).status, 200);
        let seen = gw.upstream.last();
        assert_eq!((told(&seen), seen.target), (known(APP, "oAlice"), format!("/orders?{query}")));
    }
    for (at, openid) in ["oBob\r\nX-WX-OPENID: evil", "oBob\nevil", "oBob\0", " oBob", "oBob evil", "o\u{7f}", "oé", ""]
        .iter()
        .enumerate()
    {
        gw.wechat.next_fault(Fault::Openid { openid: (*openid).to_owned() });
        let code = format!("code-{at}");
        gw.wechat.knows(&code, APP, "oBob");
        let reply = gw.verify(&json!({ "jsCode": code, "appId": APP }));
        assert_eq!(reply.verdict(), "502 wechat_unreachable", "{openid:?}");
        assert!(!reply.text().contains("evil") && reply.header("x-wx-openid").is_none(), "{reply:?}");
    }
}

/// Threat 11, CVE-2021-32777: of two lines one server reads the first and another the last.
#[test]
fn two_authorization_lines_are_refused_and_a_list_is_no_token() {
    let gw = TestGateway::start();
    let token = gw.login("oAlice").token;
    for path in ["/orders", "/maybe/1", "/public/1", "/v1/session"] {
        for (lines, answer) in [
            ([format!("Bearer {token}"), "Bearer evil".to_owned()], "400 bad_request"),
            (["Bearer evil".to_owned(), format!("Bearer {token}")], "400 bad_request"),
            ([format!("Bearer {token}"), format!("Bearer {token}")], "400 bad_request"),
            ([String::new(), format!("Bearer {token}")], "400 bad_request"),
        ] {
            let [first, second] = &lines;
            let attack = gw.attack(format!(
                "GET {path} HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: {first}\r\nauthorization: {second}\r\n\r\n"
            ));
            assert_eq!((attack.answer.as_str(), attack.bytes), (answer, 0), "{path} {lines:?}");
        }
    }
    for list in
        [format!("Bearer {token}, Bearer evil"), format!("Bearer evil, Bearer {token}"), format!("Bearer {token},")]
    {
        let attack =
            gw.attack(format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: {list}\r\n\r\n"));
        assert_eq!((attack.answer.as_str(), attack.bytes), ("401 token_invalid", 0), "{list}");
    }
}

/// Threat 16, CVE-2026-41181: the token is the user's key to everything, and the backend has no use for it.
#[test]
fn the_token_stays_here_unless_the_route_hands_it_on() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { forward_token: true, ..Route::new("/trusted/", "app") });
        config.routes.push(Route { forward_token: true, auth: AuthRule::None, ..Route::new("/trusted-open/", "app") });
    });
    let mut alice = gw.login("oAlice");
    let bearer = format!("Bearer {}", alice.token);
    for path in ["/orders", "/maybe/1", "/public/1"] {
        assert_eq!(alice.get(path).status, 200);
        assert!(!gw.upstream.last().head.contains("wxg_"), "{path}: {}", gw.upstream.last().head);
    }
    for path in ["/trusted/1", "/trusted-open/1"] {
        assert_eq!(alice.get(path).status, 200);
        assert_eq!(gw.upstream.last().header("authorization"), Some(bearer.as_str()), "{path}");
    }
    for dead in
        [format!("{bearer}x"), bearer.to_lowercase(), "Bearer wxg_".to_owned(), format!("Token {}", alice.token)]
    {
        gw.client().request("GET", "/maybe/1", &[("Authorization", &dead)], "");
        assert_eq!(gw.upstream.last().header("authorization"), None, "{dead}: what may be a token of ours stays too");
    }
    gw.client().request("GET", "/public/1", &[("Authorization", "Basic dXNlcjpwdw==")], "");
    assert_eq!(
        gw.upstream.last().header("authorization"),
        Some("Basic dXNlcjpwdw=="),
        "a backend's own credentials pass"
    );
}

/// Threat 20, CVE-2026-34457: no name a client gives itself opens a door.
#[test]
fn no_user_agent_is_let_in_for_its_name() {
    let gw = TestGateway::start();
    for agent in
        ["GoogleHC/1.0", "kube-probe/1.30", "ELB-HealthChecker/2.0", "wxgate", "wxgate-health", "Prometheus/3.0"]
    {
        for path in ["/orders", "/healthz", "/readyz", "/metrics", "/v1/authorize", "/ping"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: {agent}\r\n\r\n");
            let attack = gw.attack(head);
            let answer = if path == "/v1/authorize" { "403 proxy_not_trusted" } else { "401 token_missing" };
            assert_eq!((attack.answer.as_str(), attack.bytes), (answer, 0), "{agent} {path}");
        }
    }
}
