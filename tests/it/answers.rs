//! What a client sees of the head of an answer, over each version of HTTP.

use std::process::Command;

use wxgate::config::sections::Http2 as Section;

use crate::support::TestGateway;

/// What curl gets of an answer: its status, and its lines without those that differ from one to the next.
fn seen(gw: &TestGateway, how: &[&str]) -> (String, Vec<String>) {
    let curl = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--raw", "--output", "-"])
        .args(how)
        .arg(format!("http://{}/public/", gw.addr()))
        .output()
        .unwrap();
    let answer: String = curl.stdout.iter().copied().map(char::from).collect();
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut lines = head.split("\r\n").map(str::to_owned);
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let lines = lines.map(|line| match line.split_once(": ") {
        Some(("x-request-id", id)) if id.len() == 32 => "x-request-id: ours".to_owned(),
        Some(("date", date)) if date.ends_with("GMT") => "date: ours".to_owned(),
        _ => line,
    });
    (status, lines.collect())
}

fn gateway() -> TestGateway {
    TestGateway::with(|config| config.server.http2 = Section { prior_knowledge: true, ..Section::default() })
}

const VERSIONS: [&str; 3] = ["--http1.1", "--http1.0", "--http2-prior-knowledge"];

/// In whichever of two ways the head is taken apart: with a list in `Connection` every line of it is looked at.
#[test]
fn the_lines_of_an_answer_come_once_and_in_their_order_over_each_version() {
    let gw = gateway();
    for list in ["", "Connection: close, x-gone\r\n", "Connection: keep-alive\r\n"] {
        gw.upstream.answers(format!(
            "HTTP/1.1 200 Fine\r\nSERVER: a b\r\nSet-Cookie: a=1\r\nX-Request-Id: theirs\r\nContent-Length: 2\r\nX-Gone: 1\r\n\
             {list}set-cookie: b=2\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTE: gzip\r\nTrailer: x\r\nProxy-Authenticate: Basic\r\n\
             Proxy-Connection: close\r\nVia: 1.0 theirs\r\nX-Empty:\r\nSet-Cookie: a=3\r\n\r\nok"
        ));
        for version in VERSIONS {
            let (status, mut lines) = seen(&gw, &[version]);
            assert_eq!(status, "200");
            let cookies: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("set-cookie: ")).collect();
            assert_eq!(cookies, ["a=1", "b=2", "a=3"], "{version} {list}");
            lines.retain(|line| !line.starts_with("connection: ") && !line.starts_with("set-cookie: "));
            let gone = if list.contains("x-gone") { &[][..] } else { &["x-gone: 1"] };
            let via = ["via: 1.0 theirs", "via: 1.1 wxgate"];
            assert!(lines.iter().filter(|line| line.starts_with("via: ")).eq(via), "{version} {list}: {lines:?}");
            let rest = ["content-length: 2", "date: ours", "server: a b", "x-request-id: ours"];
            let mut expected = [&rest[..], &via, gone].concat();
            expected.sort_unstable();
            lines.sort();
            // Some clients leave the space behind a colon out where nothing follows.
            lines.retain(|line| line.trim_end() != "x-empty:");
            assert_eq!(lines, expected, "{version} {list}");
        }
    }
}

#[test]
fn an_answer_has_one_date_and_where_its_server_dates_it_that_is_it() {
    let gw = gateway();
    for (lines, date) in [
        ("", "date: ours"),
        ("DATE: yesterday\r\n", "date: yesterday"),
        ("Date: yesterday\r\nConnection: x\r\n", "date: yesterday"),
        // The server says that this date is for nobody but us.
        ("Date: yesterday\r\nConnection: date, close\r\n", "date: ours"),
    ] {
        gw.upstream.answers(format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"));
        for version in VERSIONS {
            let (_, all) = seen(&gw, &[version]);
            assert_eq!(
                all.iter().filter(|line| line.starts_with("date:")).collect::<Vec<_>>(),
                [date],
                "{lines:?} {version}"
            );
        }
    }
}

#[test]
fn how_long_a_body_is_that_does_not_come_is_told_all_the_same() {
    let gw = gateway();
    for (status, method, lines, told) in [
        ("200 OK", "--head", "Content-Length: 5", Some("5")),
        ("200 OK", "--head", "Content-Length: 5\r\nContent-Length: 5", Some("5")),
        ("200 OK", "--head", "Content-Length: 5\r\nConnection: x", Some("5")),
        ("200 OK", "--head", "X: 1", None),
        ("200 OK", "--get", "Content-Length: 0", Some("0")),
        ("200 OK", "--get", "Content-Length: 0\r\nConnection: x", Some("0")),
        ("204 No Content", "--get", "X: 1", None),
    ] {
        gw.upstream.answers(format!("HTTP/1.1 {status}\r\n{lines}\r\n\r\n"));
        for version in VERSIONS {
            let (_, all) = seen(&gw, &[version, method]);
            let length = all.iter().find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(length, told, "{status} {method} {lines:?} {version}");
        }
    }
}

/// What a backend keeps of a request, and what it says, is of that request alone, also where memory is used again.
#[test]
fn nothing_of_one_request_is_in_the_answer_to_another() {
    let gw = gateway();
    let (alice, bob) = (gw.login("oAlice"), gw.login("oBob"));
    gw.upstream.answers("HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 2\r\n\r\nok");
    let mut client = gw.client();
    for n in 0..6 {
        let (who, name) = if n % 2 == 0 { (&alice, "oAlice") } else { (&bob, "oBob") };
        let (bearer, secret) = (format!("Bearer {}", who.token), format!("secret-{n}"));
        let body = if n < 3 { "hello" } else { "" };
        let method = if n < 3 { "POST" } else { "GET" };
        let lines = [("Authorization", &*bearer), ("X-Secret", &*secret), ("Cookie", &*secret)];
        let reply = client.request(method, "/me/", &lines, body);
        assert_eq!((reply.status, reply.header("x-own"), &*reply.text()), (200, Some("1"), "ok"));
        let names: Vec<_> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x-own", "via", "x-request-id", "content-length", "date"], "{n}");
        let seen = gw.upstream.last();
        assert_eq!((seen.all("x-wx-openid"), seen.all("x-secret")), (vec![name], vec![&*secret]));
    }
}

#[test]
fn an_answer_has_so_many_lines_and_no_more() {
    let gw = gateway();
    for (lines, status) in [(100, 200), (101, 502)] {
        let others = "X-Own: 1\r\n".repeat(lines - 1);
        gw.upstream.answers(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{others}\r\n"));
        let reply = gw.client().get("/public/");
        assert_eq!(reply.status, status, "{lines}");
        if status == 502 {
            assert_eq!(reply.code(), "upstream_unreachable");
        }
    }
}
