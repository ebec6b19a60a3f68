//! The access log: one line per request, with the fields that docs/LOGGING.md lists and nothing that a client wrote
//! where it does not belong.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::Duration,
};

use serde_json::{Value, json};
use wxgate::{
    config::sections::{AuthRule, HostPattern, Listener, LogFormat, Route, Speaks},
    model::Secret,
    simulator::Fault,
};

use crate::support::{
    APP, OTHER_APP, Reply, TestGateway, messages,
    tls::{Authority, speak_tls},
    upstream::{Then, answer},
};
use crate::websocket::visit;

type Fields = BTreeMap<String, Value>;

const DOCUMENT: &str = include_str!("../../docs/LOGGING.md");

/// The log line of an answer.
fn line(gw: &TestGateway, reply: &Reply) -> Value {
    serde_json::from_str(&gw.log.line(reply.header("x-request-id").expect("an id"))).expect("a JSON line")
}

/// All lines of a gateway that has ended.
fn lines(gw: TestGateway) -> Vec<String> {
    let log = gw.log.clone();
    gw.stop();
    log.text().lines().map(str::to_owned).collect()
}

/// Reads `key=value` pairs; texts are in double quotes.
fn pairs(line: &str) -> Fields {
    let mut fields = Fields::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=').unwrap_or_else(|| panic!("no pair in {rest:?} of {line:?}"));
        let mut values = serde_json::Deserializer::from_str(tail).into_iter::<Value>();
        let value = values.next().expect("a value").unwrap_or_else(|e| panic!("{e} in {tail:?}"));
        let twice = fields.insert(key.to_owned(), value);
        assert!(twice.is_none(), "{key} twice in {line:?}");
        rest = tail[values.byte_offset()..].trim_start_matches(' ');
    }
    fields
}

/// The first column of the table under this heading, up to the next; with `always` only the rows that say so.
pub fn documented(heading: &str, always: bool) -> BTreeSet<String> {
    let (_, rest) = DOCUMENT.split_once(heading).expect("the heading");
    let rows = rest.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let rows: Vec<&str> = rows.filter(|row| row.contains('`') && (!always || row.contains("| always |"))).collect();
    let names = rows.iter().map(|row| row.split('|').nth(1).unwrap_or_default());
    names.flat_map(|names| names.split(',').map(|name| name.trim().trim_matches('`').to_owned())).collect()
}

/// Requests of every kind, so that every field has been needed.
fn busy(gw: &TestGateway) {
    let mut alice = gw.login("oAlice");
    alice.get("/orders");
    alice.get("/v1/session");
    gw.client().get("/orders");
    gw.wechat.next_fault(Fault::NotJson);
    gw.verify_code(&gw.code("oBob"));
    gw.raw("GET / HTTP/1.1\nHost: a\n\n");
    alice.post("/v1/logout", "");
}

// --- the document

#[test]
fn every_field_is_documented_and_every_documented_field_is_written() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let ca = Authority::new();
        let gw = TestGateway::with(|config| {
            config.log.format = format;
            config.routes.push(Route { auth: AuthRule::None, websocket: true, ..Route::new("/chat", "app") });
            let listen = config.server.listen[0].clone();
            config.server.listeners =
                vec![Listener { listen: listen.clone(), speaks: Speaks::Http, proxy_protocol: false }];
            speak_tls(config, vec![ca.files("api", &["api.example.com"])]);
            config.server.listen.clear();
            config.server.listeners.push(Listener { listen, speaks: Speaks::Https, proxy_protocol: false });
        });
        busy(&gw);
        ca.dialler().dial(gw.app().addrs()[1], "api.example.com").get("/orders");
        visit(&gw, "/chat");
        let lines: Vec<Fields> = lines(gw)
            .iter()
            .map(|line| match format {
                LogFormat::Json => serde_json::from_str(line).unwrap(),
                LogFormat::Text => pairs(line),
            })
            .collect();
        assert_eq!(lines.len(), 9, "{lines:?}");
        let written: BTreeSet<String> = lines.iter().flat_map(|line| line.keys().cloned()).collect();
        assert_eq!(written, documented("## Access lines", false), "{format:?}");
        let always = documented("## Access lines", true);
        for line in &lines {
            let keys = line.keys().cloned().collect();
            assert!(always.is_subset(&keys), "{format:?}: {line:?}");
        }
    }
}

#[test]
fn every_field_of_wxgates_own_messages_is_documented() {
    let messages = messages();
    let gw = TestGateway::with(|config| config.sessions.capacity = 1);
    gw.wechat.next_fault(Fault::Errcode { errcode: 40125, errmsg: None });
    let id = gw.verify_code(&gw.code("oAlice")).header("x-request-id").unwrap().to_owned();
    messages.line(&id);
    let documented = documented("## Own messages", false);
    for line in messages.text().lines() {
        let fields: Fields = serde_json::from_str(line).unwrap();
        // A library's message has fields of its own.
        if fields["target"].as_str().is_some_and(|target| target.starts_with("wxgate")) {
            for name in fields.keys() {
                assert!(documented.contains(name), "{name} in {line}");
            }
        }
    }
}

// --- what a line says

#[test]
fn a_forwarded_request_is_one_line_that_says_it_all() {
    let gw = TestGateway::with(|config| {
        let host = Some(HostPattern::Exact("api.example.com".to_owned()));
        config.routes.push(Route { host, ..Route::new("/shop/", "app") });
    });
    let mut alice = gw.login("oAlice");
    let reply = alice.get("/shop/7?x=1");
    let mut line = line(&gw, &reply);
    for key in ["ms", "upstream_ms"] {
        let millis = line.as_object_mut().unwrap().remove(key).unwrap();
        assert!(millis.as_f64().is_some_and(|millis| (0.0..60_000.0).contains(&millis)), "{key}: {millis}");
    }
    let user = line.as_object_mut().unwrap().remove("user").unwrap();
    let user = user.as_str().unwrap();
    assert!(user.len() == 16 && user.bytes().all(|b| b.is_ascii_hexdigit()), "{user}");
    let expected = json!({
        "ts": "2026-09-21T14:13:20.000Z", "kind": "access", "id": reply.header("x-request-id"), "client": "127.0.0.1",
        "method": "GET", "path": "/shop/7", "route": "api.example.com/shop/", "app": APP, "status": 200, "bytes": 11,
        "complete": true,
    });
    assert_eq!(line, expected);
}

#[test]
fn each_request_has_one_line_and_each_line_one_request() {
    let gw = TestGateway::start();
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        let mut client = gw.client();
        for path in ["/public/", "/orders", "/v1/session", "/a/../b"] {
            ids.insert(client.get(path).header("x-request-id").unwrap().to_owned());
        }
    }
    let lines = lines(gw);
    let logged: BTreeSet<String> = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((lines.len(), logged), (80, ids));
}

#[test]
fn the_id_is_the_upstreams_and_the_clients_too() {
    let gw = TestGateway::start();
    let reply = gw.client().get("/public/");
    assert_eq!(gw.upstream.last().header("x-request-id"), reply.header("x-request-id"));
    assert_eq!(line(&gw, &reply)["path"], "/public/");
}

#[test]
fn a_user_has_the_same_name_in_every_log_of_the_same_key_and_it_is_not_the_openid() {
    let user_of = |key: &str, app: &str| {
        let gw = TestGateway::with(|config| config.log.user_key = Some(Secret::new(key)));
        let reply = gw.login_to(app, "oAlice").get("/orders");
        let line = line(&gw, &reply);
        assert!(!line.to_string().contains("oAlice"), "{line}");
        line["user"].as_str().unwrap().to_owned()
    };
    let first = user_of("one-key-of-sixteen-bytes", APP);
    assert_eq!(user_of("one-key-of-sixteen-bytes", APP), first);
    assert_ne!(user_of("one-key-of-sixteen-bytes", OTHER_APP), first);
    assert_ne!(user_of("another-key-of-16-bytes", APP), first);
    // printf of the AppID's length, the AppID and the openid, through HMAC-SHA256, as the document says.
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::KeyInit>::new_from_slice(b"one-key-of-sixteen-bytes").unwrap();
    hmac::Mac::update(&mut mac, &[&18_u64.to_be_bytes()[..], APP.as_bytes(), b"oAlice"].concat());
    let tag = hmac::Mac::finalize(mac).into_bytes();
    assert_eq!(tag[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>(), first);
}

#[test]
fn an_anonymous_caller_has_no_name_in_the_log() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    for reply in [gw.client().get("/maybe/"), alice.get("/public/")] {
        let line = line(&gw, &reply);
        assert_eq!((line.get("user"), line.get("app")), (None, None), "{line}");
    }
    let known = alice.get("/maybe/");
    assert_eq!(line(&gw, &known)["app"], APP);
}

#[test]
fn a_session_that_the_route_refuses_is_not_named() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    alice.post("/v1/logout", "");
    let refused = alice.get("/orders");
    let line = line(&gw, &refused);
    assert_eq!((&line["status"], line.get("user")), (&json!(401), None), "{line}");
}

#[test]
fn the_client_is_who_the_trusted_proxies_say() {
    let gw = TestGateway::with(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]);
    let headers = [("X-Forwarded-For", "198.51.100.9, 192.0.2.7"), ("X-Request-Id", "edge-\"7\"\\")];
    let reply = gw.client().request("GET", "/orders", &headers, "");
    assert_eq!(reply.header("x-request-id"), Some("edge-\"7\"\\"));
    assert_eq!(reply.json()["requestId"], "edge-\"7\"\\");
    let line: Value = serde_json::from_str(&gw.log.line("edge-")).unwrap();
    assert_eq!((&line["client"], &line["id"]), (&json!("192.0.2.7"), &json!("edge-\"7\"\\")));

    let gw = TestGateway::start();
    let reply = gw.client().request("GET", "/orders", &headers, "");
    assert_ne!(reply.header("x-request-id"), Some("edge-\"7\"\\"));
    assert_eq!(self::line(&gw, &reply)["client"], "127.0.0.1");
}

#[test]
fn without_an_access_log_there_is_none() {
    let gw = TestGateway::with(|config| config.log.access = false);
    busy(&gw);
    assert_eq!(lines(gw), Vec::<String>::new());
}

// --- what did not end well

#[test]
fn a_client_that_leaves_before_there_is_an_answer_is_499() {
    let gw = TestGateway::start();
    gw.upstream.does(|_, _| Then::KeepOpen);
    let mut client = gw.client();
    client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    gw.upstream.wait_for(1);
    drop(client);
    let line: Value = serde_json::from_str(&gw.log.line("/public/slow")).unwrap();
    let ended = (&line["status"], &line["bytes"], &line["complete"], &line["route"]);
    assert_eq!(ended, (&json!(499), &json!(0), &json!(false), &json!("/public/")));
    assert_eq!((line.get("code"), line.get("cause")), (None, None), "{line}");
}

#[test]
fn an_answer_that_the_upstream_breaks_off_is_not_complete() {
    let gw = TestGateway::start();
    gw.upstream.does(|_, out| {
        answer(out, "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        Then::Close
    });
    let mut client = gw.client();
    client.send("GET /public/half HTTP/1.1\r\nHost: a\r\n\r\n");
    let received = String::from_utf8(client.rest()).unwrap();
    assert!(received.ends_with("\r\n\r\nhalf"), "{received}");
    let line: Value = serde_json::from_str(&gw.log.line("/public/half")).unwrap();
    assert_eq!((&line["status"], &line["bytes"], &line["complete"]), (&json!(200), &json!(4), &json!(false)));
    assert!(line["cause"].as_str().unwrap().starts_with("the upstream's answer broke off: "), "{line}");
}

#[test]
fn an_answer_that_the_client_does_not_wait_for_is_not_complete() {
    let gw = TestGateway::start();
    gw.upstream.does(|_, out| {
        let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        while out.write_all(&vec![b'x'; 65_536]).is_ok() {}
        Then::Close
    });
    let mut client = gw.client();
    client.send("GET /public/long HTTP/1.1\r\nHost: a\r\n\r\n");
    client.some(100_000);
    drop(client);
    let line: Value = serde_json::from_str(&gw.log.line("/public/long")).unwrap();
    assert_eq!((&line["status"], &line["complete"]), (&json!(200), &json!(false)));
    let bytes = line["bytes"].as_u64().unwrap();
    assert!((50_000..1_000_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_gateway_that_is_cut_logs_what_it_cut() {
    let gw = TestGateway::with(|config| config.server.drain_timeout = Duration::from_millis(100));
    gw.upstream.does(|_, _| Then::KeepOpen);
    let mut client = gw.client();
    client.send("GET /public/slow HTTP/1.1\r\nHost: a\r\n\r\n");
    gw.upstream.wait_for(1);
    let lines = lines(gw);
    assert!(
        matches!(&lines[..], [line] if line.contains("/public/slow") && line.contains("\"status\":499")),
        "{lines:?}"
    );
    assert!(client.is_closed());
}

#[test]
fn an_answer_without_a_body_is_complete() {
    let gw = TestGateway::start();
    for (method, bytes) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ] {
        gw.upstream.answers(bytes);
        let reply = gw.client().request(method, "/public/", &[], "");
        let line = line(&gw, &reply);
        assert_eq!((&line["bytes"], &line["complete"]), (&json!(0), &json!(true)), "{bytes}");
    }
    let refused = gw.client().request("HEAD", "/orders", &[], "");
    let line = line(&gw, &refused);
    assert_eq!((&line["status"], &line["bytes"], &line["complete"]), (&json!(401), &json!(0), &json!(true)));
}

// --- what a client writes

#[test]
fn nothing_that_a_client_writes_makes_another_line_or_another_field() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let gw = TestGateway::with(|config| config.log.format = format);
        let requests: &[&[u8]] = &[
            b"GET /public/%0a%0d%22,%22status%22:200 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /public/\" HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /public/{\"a\":\"b\"} HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /public/\\u000a HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /public/\u{85}\u{9b}31m\u{2028}\u{202e} HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(),
            b"GET /public/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /public/\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /public/ status=200 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET\" /public/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G!#$%&'*+-.^_`|~ET /public/ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /public/ HTTP/1.1\r\nHost: a\" x=\"1\r\n\r\n",
            b"GET /public/ HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b[31m\r\nReferer: \" x=\"\r\n\r\n",
        ];
        for request in requests {
            gw.client().send(request).finish().rest();
        }
        let lines = lines(gw);
        assert!((1..=requests.len()).contains(&lines.len()), "{lines:#?}");
        let documented = documented("## Access lines", false);
        for line in &lines {
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
            let fields = match format {
                LogFormat::Json => serde_json::from_str(line).unwrap(),
                LogFormat::Text => pairs(line),
            };
            assert!(fields.keys().all(|name| documented.contains(name)), "{line}");
            assert_eq!(fields["kind"], "access");
        }
    }
}

#[test]
fn a_token_that_somebody_puts_into_a_path_does_not_reach_the_log() {
    let gw = TestGateway::start();
    let mut alice = gw.login("oAlice");
    let reply = alice.get(&format!("/orders/{}/items?token={}", alice.token.clone(), alice.token.clone()));
    assert_eq!(reply.status, 200);
    assert_eq!(line(&gw, &reply)["path"], "/orders/wxg_***/items");
}
