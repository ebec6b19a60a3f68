//! Where a request came from and what it is called: told by us, and by a client only if it is a proxy of ours.

use serde_json::json;
use wxgate::config::sections::Rate;

use crate::support::{APP, Reply, Seen, TestGateway};

/// A gateway that believes what its clients say, since here they all come from this address.
fn behind_a_proxy() -> TestGateway {
    TestGateway::with(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()])
}

/// What the upstream was told of where the request came from, under any spelling.
fn told(seen: &Seen) -> Vec<String> {
    let alike = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let claims = ["forwarded", "x-forwarded-", "x-real-ip", "x-original-", "x-rewrite-"];
    let ours = seen.headers.iter().filter(|(name, _)| claims.iter().any(|claim| alike(name).starts_with(claim)));
    let mut lines: Vec<_> = ours.map(|(name, value)| format!("{name}: {value}")).collect();
    lines.sort();
    lines
}

fn direct() -> Vec<String> {
    vec![
        r#"forwarded: for=127.0.0.1;host="api.example.com";proto=http"#.to_owned(),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-host: api.example.com".to_owned(),
        "x-forwarded-proto: http".to_owned(),
    ]
}

/// Sends these lines to an open route and returns what the upstream was sent.
fn seen_with(gw: &TestGateway, lines: &str) -> Seen {
    let attack = gw.attack(format!("GET /public/1 HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n\r\n"));
    assert_eq!(attack.answer, "200", "{lines}");
    attack.seen.into_iter().next().expect("it was forwarded")
}

/// Threats 8, 9 and 13: CVE-2024-45410, CVE-2026-29054, CVE-2022-31813, CVE-2024-45806. Nobody is trusted by default,
/// and a private address is not a reason to.
#[test]
fn a_stranger_can_neither_say_nor_unsay_where_a_request_came_from() {
    let elsewhere = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.2/32", "::1/128"];
    let elsewhere: Vec<_> = elsewhere.iter().map(|net| net.parse().unwrap()).collect();
    for gw in [TestGateway::start(), TestGateway::with(|config| config.server.trusted_proxies = elsewhere)] {
        for lines in [
            "X-Forwarded-For: 203.0.113.9",
            "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 127.0.0.1, 203.0.113.8",
            "x_forwarded_for: 203.0.113.9\r\nX_Forwarded-Host: evil",
            "Forwarded: for=203.0.113.9;proto=https;host=evil\r\nforwarded: by=evil",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 443",
            "X-Forwarded-Uri: /admin\r\nX-Forwarded-Method: DELETE\r\nX-Forwarded-Prefix: /evil",
            "X-Forwarded-User: evil\r\nX-Forwarded-Email: evil@example.com",
            "X-Original-URL: /admin\r\nX-Original-URI: /admin\r\nX-Rewrite-URL: /admin\r\nX-Real-IP: 203.0.113.9",
            "X-Original-Host: evil\r\nX-Original-Method: DELETE\r\nX_Original-Forwarded-For: 203.0.113.9",
            "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto",
            "connection: x-real-ip\r\nConnection:\tX-FORWARDED-FOR ,, forwarded,\tHost",
            "connection: x-Forwarded-for\r\nX-Forwarded-For: 203.0.113.9",
            "Connection: x-request-id, via",
        ] {
            let seen = seen_with(&gw, lines);
            assert_eq!(told(&seen), direct(), "{lines}");
            assert_eq!(seen.header("host"), Some("api.example.com"), "{lines}");
            assert!(seen.header("x-request-id").is_some() && seen.header("via") == Some("1.1 wxgate"), "{lines}");
        }
    }
}

#[test]
fn a_proxy_of_ours_is_believed_and_added_to_the_chain() {
    let gw = behind_a_proxy();
    let sent = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\
                X-Forwarded-Host: shop.example.com\r\nForwarded: for=203.0.113.9\r\nX-Real-IP: 203.0.113.9";
    assert_eq!(
        told(&seen_with(&gw, sent)),
        [
            r#"forwarded: for=203.0.113.9, for=127.0.0.1;host="shop.example.com";proto=https"#,
            "x-forwarded-for: 203.0.113.9, 198.51.100.7, 127.0.0.1",
            "x-forwarded-host: shop.example.com",
            "x-forwarded-proto: https",
            "x-real-ip: 203.0.113.9",
        ]
    );
}

#[test]
fn what_a_proxy_of_ours_says_is_kept_only_if_it_can_be_read() {
    let gw = behind_a_proxy();
    for lines in [
        "X-Forwarded-For: unknown, evil",
        "X-Forwarded-For: 203.0.113.9, <script>",
        "X-Forwarded-For:",
        "Forwarded: for=\"203.0.113.9",
        "Forwarded: for=203.0.113.9 evil",
        "X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: evil host/\"",
        "X_Forwarded_For: 203.0.113.9\r\nX.Real.IP: 203.0.113.9",
        "Connection: X-Forwarded-For, X-Forwarded-Host",
    ] {
        assert_eq!(told(&seen_with(&gw, lines)), direct(), "{lines}");
    }
}

/// Threats 8 and 9 behind a proxy: what the proxy tells is read before anything that `Connection` names goes.
#[test]
fn a_connection_line_takes_away_nothing_that_a_proxy_of_ours_told() {
    let gw = behind_a_proxy();
    let said = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example.com";
    let told_alone = told(&seen_with(&gw, said));
    assert_eq!(told_alone[1], "x-forwarded-for: 203.0.113.9, 127.0.0.1");
    for lines in [
        "Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, Forwarded",
        "connection: x-forwarded-for",
        "Connection: close,\tX-FORWARDED-for ,,\r\nconnection: x-Forwarded-PROTO,",
        "Proxy-Connection: X-Forwarded-For\r\nConnection: x_forwarded_for",
    ] {
        assert_eq!(told(&seen_with(&gw, &format!("{lines}\r\n{said}"))), told_alone, "{lines}");
        assert_eq!(told(&seen_with(&gw, &format!("{said}\r\n{lines}"))), told_alone, "{lines}");
    }
}

/// Threat 8, CVE-2026-29054: wxgate does not go by `X-Real-IP` and its like, but a backend may, and many a proxy passes on its
/// client's `Connection`.
#[test]
fn a_connection_line_does_not_take_away_what_only_a_backend_goes_by() {
    let gw = behind_a_proxy();
    let said = "X-Real-IP: 198.51.100.7\r\nX-Forwarded-Port: 443\r\nX-Forwarded-User: carol\r\nX-Mine: 1";
    for (lines, client, mine) in [
        ("Accept: */*", "127.0.0.1", Some("1")),
        ("X-Forwarded-For: 203.0.113.9", "203.0.113.9", Some("1")),
        ("connection: x-real-ip\r\nX-Forwarded-For: 203.0.113.9", "203.0.113.9", Some("1")),
        ("Connection: X-Real-IP", "127.0.0.1", Some("1")),
        ("Connection: close,\tX-REAL-ip ,,\r\nconnection: x-mine, x-Forwarded-PORT,", "127.0.0.1", None),
        (
            "Connection: X-Forwarded-User, X-Forwarded-For, X-Real-IP\r\nX-Forwarded-For: 203.0.113.9",
            "203.0.113.9",
            Some("1"),
        ),
    ] {
        let reply = gw.raw(format!("GET /public/1 HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n{said}\r\n\r\n"));
        let seen = gw.upstream.last();
        assert_eq!(seen.header("x-real-ip"), Some("198.51.100.7"), "{lines}");
        assert_eq!(seen.header("x-forwarded-port"), Some("443"), "{lines}");
        assert_eq!(seen.header("x-forwarded-user"), Some("carol"), "{lines}");
        assert_eq!(seen.header("x-mine"), mine, "any other name goes where it is listed: {lines}");
        let line = gw.log.line(reply.header("x-request-id").unwrap());
        assert!(line.contains(&format!("\"client\":\"{client}\"")), "{lines}: {line}");
    }
}

/// Threat 12, CVE-2026-26308: of a header in two lines the first alone was read, and that one the client had written.
#[test]
fn of_two_lines_the_one_that_our_proxy_wrote_counts() {
    let gw = behind_a_proxy();
    let first = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example.com\r\n";
    let last = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example.com\r\n";
    for lines in [format!("{first}{last}"), format!("{first}{first}{last}")] {
        let reply = gw.raw(format!("GET /public/1 HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n"));
        let line = gw.log.line(reply.header("x-request-id").unwrap());
        assert!(line.contains("\"client\":\"203.0.113.9\""), "{line}");
        let seen = gw.upstream.last();
        assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
        assert_eq!(seen.header("x-forwarded-host"), Some("shop.example.com"));
    }
}

/// Threat 19, CVE-2026-40575, CVSS 9.1: a header chose the rule, and the real path was forwarded.
#[test]
fn no_header_chooses_the_rule() {
    for gw in [TestGateway::start(), behind_a_proxy()] {
        for name in [
            "X-Forwarded-Uri",
            "X-Original-URL",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X_Original_URL",
            "X-Accel-Redirect",
        ] {
            for path in ["/public/", "http://api.example.com/public/", "%2fpublic%2f"] {
                let head = format!("GET /admin HTTP/1.1\r\nHost: api.example.com\r\n{name}: {path}\r\n\r\n");
                let attack = gw.attack(head);
                assert_eq!((attack.answer.as_str(), attack.bytes), ("401 token_missing", 0), "{name}: {path}");
            }
        }
        for method in ["X-HTTP-Method-Override", "X-Method-Override", "X-Forwarded-Method"] {
            let head = format!("POST /v1/session HTTP/1.1\r\nHost: api.example.com\r\n{method}: GET\r\n\r\n");
            assert_eq!(gw.attack(head).answer, "405 method_not_allowed", "{method}");
        }
    }
}

#[test]
fn a_request_has_one_id_here_upstream_and_back() {
    let gw = TestGateway::start();
    gw.upstream.answers("HTTP/1.1 200 OK\r\nx-request-id: the-upstreams-own\r\ncontent-length: 0\r\n\r\n");
    let mut ids = Vec::new();
    for lines in ["Accept: */*", "X-Request-Id: mine", "X-Request-Id: a\r\nX-Request-ID: b", "Connection: X-Request-Id"]
    {
        let reply = gw.raw(format!("GET /public/1 HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n\r\n"));
        let id = reply.header("x-request-id").expect("an id").to_owned();
        assert_eq!(gw.upstream.last().header("x-request-id"), Some(id.as_str()), "{lines}");
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{lines}: {id}");
        gw.log.line(&id);
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "no two are the same");
}

#[test]
fn a_proxy_of_ours_may_bring_an_id_of_1_to_64_visible_characters() {
    let gw = behind_a_proxy();
    let longest = "x".repeat(64);
    for id in ["a", "req-42/{(", "!~", &longest] {
        let reply = gw.client().request("GET", "/public/1", &[("X-Request-Id", id)], "");
        assert_eq!(reply.header("x-request-id"), Some(id));
        assert_eq!(gw.upstream.last().header("x-request-id"), Some(id));
        let reply = gw.client().request("GET", "/orders", &[("X-Request-Id", id)], "");
        assert_eq!((reply.header("x-request-id"), reply.json()["requestId"].as_str()), (Some(id), Some(id)));
    }
    let too_long = "x".repeat(65);
    for id in ["", "a b", "a\tb", "é", &too_long] {
        let reply = gw.client().request("GET", "/public/1", &[("X-Request-Id", id)], "");
        let made = reply.header("x-request-id").expect("an id");
        assert_eq!(made.len(), 32, "{id:?} was kept");
        assert_eq!(gw.upstream.last().header("x-request-id"), Some(made));
    }
}

/// How three logins from one client end, when two per minute are allowed and the client says this of itself.
fn three_logins(trusted: &[&str], says: [&str; 3]) -> [String; 3] {
    let gw = TestGateway::with(|config| {
        config.server.trusted_proxies = trusted.iter().map(|net| net.parse().unwrap()).collect();
        config.limits.verify_per_ip = Rate { count: 2.try_into().unwrap(), per: std::time::Duration::from_mins(1) };
    });
    says.map(|says| {
        let code = gw.wechat.make_code(APP, "oAlice").unwrap();
        let body = json!({ "jsCode": code, "appId": APP }).to_string();
        let name = if says.contains('=') { "Forwarded" } else { "X-Forwarded-For" };
        let reply: Reply = gw.client().request("POST", "/v1/verify", &[(name, says)], &body);
        assert_eq!(reply.header("retry-after").is_some(), reply.status == 429, "{reply:?}");
        reply.verdict()
    })
}

/// CVE-2024-21500: an attempt limit that counts by what the client says counts nothing.
#[test]
fn logins_are_counted_by_the_address_that_can_be_believed() {
    let limited = ["200", "200", "429 rate_limited"];
    let free = ["200", "200", "200"];
    let own: &[&str] = &["127.0.0.1/32"];
    assert_eq!(three_logins(&[], ["203.0.113.1", "203.0.113.2", "203.0.113.3"]), limited, "a stranger's word");
    assert_eq!(three_logins(&["10.0.0.0/8"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"]), limited, "a stranger in disguise");
    assert_eq!(three_logins(own, ["203.0.113.1", "203.0.113.2", "203.0.113.3"]), free, "a proxy's word");
    assert_eq!(three_logins(own, ["for=203.0.113.1", "for=203.0.113.2", "for=203.0.113.3"]), free, "in the other form");
    assert_eq!(
        three_logins(own, ["203.0.113.1, 9.9.9.9", "203.0.113.2, 9.9.9.9", "9.9.9.9"]),
        limited,
        "the client's part"
    );
    assert_eq!(
        three_logins(own, ["9.9.9.9, 127.0.0.1", "9.9.9.9", "1.1.1.1, 9.9.9.9,127.0.0.1"]),
        limited,
        "our own part"
    );
    assert_eq!(three_logins(own, ["junk", "203.0.113.1, junk", "junk2"]), limited, "what can't be read");
    assert_eq!(
        three_logins(own, ["9.9.9.9", "::ffff:9.9.9.9", "[::ffff:9.9.9.9]:80"]),
        limited,
        "one address, spelled anew"
    );
}
