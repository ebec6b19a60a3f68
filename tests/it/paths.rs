//! Which path a request is for: the decision and the upstream never see two.

use proptest::{
    prelude::*,
    test_runner::{Config as Cases, TestRunner},
};
use wxgate::{
    config::sections::{AuthRule, HostPattern, Route},
    routing::canonicalise,
};

use crate::support::TestGateway;

const NOTHING: (&str, usize) = ("400 bad_request", 0);

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
}

fn open(path: &str) -> Route {
    Route { auth: AuthRule::None, ..Route::new(path, "app") }
}

/// What the upstream is asked for, or how the request is refused.
fn asked(gw: &TestGateway, target: &str) -> String {
    let attack = gw.attack(get(target));
    match &attack.seen[..] {
        [] => attack.answer,
        [seen] => seen.target.clone(),
        more => panic!("{target} became {more:?}"),
    }
}

/// Threat 17, CVE-2025-54576: the query takes no part in the decision.
#[test]
fn a_query_opens_no_door() {
    let gw = TestGateway::start();
    for target in
        ["/admin?/public/", "/admin?path=/public/x", "/admin?x=/../public/", "/admin??/public/", "/?/public/x"]
    {
        let attack = gw.attack(get(target));
        assert_eq!((attack.answer.as_str(), attack.bytes), ("401 token_missing", 0), "{target}");
    }
}

/// Threat 18, CVE-2026-41059: a fragment never travels, so somebody would cut it off.
#[test]
fn a_fragment_is_refused_plain_encoded_and_encoded_twice() {
    let gw = TestGateway::start();
    for target in [
        "/admin#/public",
        "/public/#/../admin",
        "/public#",
        "/public/x?q#f",
        "/public%23/../admin",
        "/public/secret%23/bar",
        "/public/secret%2523/bar",
        "http://api.example.com/public/#x",
    ] {
        let attack = gw.attack(get(target));
        assert_eq!((attack.answer.as_str(), attack.bytes), NOTHING, "{target}");
    }
}

/// Threats 21, 22 and 25: CVE-2026-33494, CVE-2025-32431, -47952, -66490, CVE-2019-9901, CVE-2021-29492.
#[test]
fn no_spelling_of_a_climb_gets_through() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { allow_encoded_slash: true, allow_semicolon: true, ..open("/lax/") });
    });
    for dots in ["..", "%2e%2e", ".%2E", "%252e%252e", ".%252e", "..;", "..;v=1", "%2e%2e%3b"] {
        for border in ["/", "%2f", "%252F", "\\", "%5c", "%255c", ";", "%3b", "//", "/./"] {
            for start in ["/public", "/lax"] {
                let target = format!("{start}{border}{dots}{border}admin");
                let attack = gw.attack(get(&target));
                assert_eq!((attack.answer.as_str(), attack.bytes), NOTHING, "{target}");
            }
        }
    }
}

/// Threat 22: what one parser takes for a separator, an end or an escape, and another does not.
#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let gw = TestGateway::start();
    for path in [
        "%2f",
        "a%2Fb",
        "a%252fb",
        "%5c",
        "a\\b",
        "a%255Cb",
        "%00",
        "a%2500",
        ";",
        "a;v=1",
        "a%3bb",
        "a%253b",
        "%0d%0aX:1",
        "%0A",
        "%09",
        "%7f",
        "%1f",
        "%250a",
        "a%",
        "a%2",
        "a%zz",
        "%u002e",
        "%%32e%%32e",
        "a%25%3",
        ".%2f",
        "%2f.",
        "%252e/x",
        ".;/x",
    ] {
        let attack = gw.attack(get(&format!("/public/{path}")));
        assert_eq!((attack.answer.as_str(), attack.bytes), NOTHING, "{path}");
    }
}

/// Threats 22 and 23: the same with another border on each side of the dots, or none before them.
#[test]
fn no_two_borders_make_a_climb_either() {
    let gw = TestGateway::start();
    let borders = ["/", "%2f", "\\", "%5c", ";", "%3b", "//"];
    for dots in ["..", "%2e%2e", ".%2e", "%252e%252e"] {
        for before in ["", "/", "%2f", "\\", "%5c", ";", "%3b", "//", "/x/"] {
            for behind in borders {
                let target = format!("/public{before}{dots}{behind}admin/secrets");
                let attack = gw.attack(get(&target));
                assert_eq!((attack.answer.as_str(), attack.bytes), NOTHING, "{target}");
            }
        }
    }
}

/// Threat 22, CVE-2025-66490: once decoded, `%3f` begins a query and `%25` an escape. Here neither is decoded, and behind
/// dots an encoded question mark is as good as a slash.
#[test]
fn an_encoded_question_mark_or_percent_sign_is_a_part_of_its_segment() {
    let gw = TestGateway::start();
    for (target, expected) in [
        ("/public/a%3fb", "/public/a%3fb"),
        ("/public/%3F/x?y", "/public/%3F/x?y"),
        ("/public/100%25", "/public/100%25"),
        ("/public/%253f", "/public/%253f"),
        ("/public%3f/x", "401 token_missing"),
        ("/admin%3f/public/", "401 token_missing"),
        ("/admin%253f/public/", "401 token_missing"),
        ("/admin%25/public/", "401 token_missing"),
        ("/public/%3f/../admin", "400 bad_request"),
        ("/public%3f/../admin", "400 bad_request"),
        ("/public/%25/../admin", "400 bad_request"),
        ("/public/..%3f/admin", "400 bad_request"),
        ("/public/..%253f/admin", "400 bad_request"),
        ("/public/%2e%2e%3fadmin", "400 bad_request"),
        ("/public/%252e%252e%3f/admin", "400 bad_request"),
        ("/public..%3f/admin", "400 bad_request"),
        ("/public/.%3f/admin", "400 bad_request"),
        ("/public/%25%32%65%25%32%65/admin", "400 bad_request"),
    ] {
        assert_eq!(asked(&gw, target), expected, "{target}");
    }
}

/// Threats 24 and 30: CVE-2026-88009 and CVE-2013-4547. What is no path, or is two, is refused.
#[test]
fn a_target_in_another_form_is_refused() {
    let gw = TestGateway::start();
    for target in [
        "admin",
        "internal:80",
        "api.example.com:80",
        "*",
        "http:/public/",
        "ftp://api.example.com/public/",
        "public/x",
    ] {
        let attack = gw.attack(get(target));
        assert!(attack.answer.starts_with("400") && attack.bytes == 0, "{target}: {}", attack.answer);
    }
    for target in
        ["http:http://internal-vhost/public/", "/admin /public/", "/public/ /x", "", " /public/x", "/public/x "]
    {
        let attack = gw.attack(get(target));
        assert_eq!((attack.answer.as_str(), attack.bytes), ("400 bad_request", 0), "{target}");
    }
}

/// Threat 23: CVE-2026-40912, -48020, -65600, -67309. The rewrite came after the check.
#[test]
fn a_prefix_is_cut_off_and_what_is_left_is_checked_again() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { strip_prefix: true, ..open("/api") });
        config.routes.push(Route {
            strip_prefix: true,
            allow_encoded_slash: true,
            allow_semicolon: true,
            ..open("/lax/")
        });
    });
    for (target, expected) in [
        ("/api/x", "/x"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?a=b", "/?a=b"),
        ("/api//x/./y/", "/x/y/"),
        ("/api/api/x", "/api/x"),
        ("/%61pi/x?/api/../", "/x?/api/../"),
        ("http://api.example.com/api/x", "/x"),
        ("/lax/a%2fb;v=1", "/a%2fb;v=1"),
        ("/apix/y", "401 token_missing"),
        ("/API/x", "401 token_missing"),
        ("/api../admin", "400 bad_request"),
        ("/api%2e%2e/admin", "400 bad_request"),
        ("/api/./../admin", "400 bad_request"),
        ("/api/..;/admin", "400 bad_request"),
        ("/api/%2e%2e/admin", "400 bad_request"),
        ("/api/.%252e/admin", "400 bad_request"),
        ("/api%2fadmin", "400 bad_request"),
        ("/api;/../admin", "400 bad_request"),
        ("/lax/%2e%2e%2fadmin", "400 bad_request"),
        ("/lax/..%2fadmin", "400 bad_request"),
    ] {
        assert_eq!(asked(&gw, target), expected, "{target}");
    }
}

#[test]
fn a_route_may_let_encoded_slashes_or_semicolons_through_and_nothing_else() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { allow_encoded_slash: true, ..open("/slash/") });
        config.routes.push(Route { allow_semicolon: true, ..open("/semi/") });
    });
    let refused = "400 bad_request";
    for (part, slash, semi) in [
        ("a%2fb", true, false),
        ("a%2Fb%252f", true, false),
        ("a;v=1", false, true),
        ("a%3Bb", false, true),
        ("a%2fb;c", false, false),
        ("a%5cb", false, false),
        ("%2f..", false, false),
        (";..", false, false),
        ("a%23", false, false),
        ("%00", false, false),
    ] {
        for (start, passes) in [("/slash/", slash), ("/semi/", semi), ("/public/", false)] {
            let target = format!("{start}{part}");
            assert_eq!(asked(&gw, &target), if passes { &target } else { refused }, "{target}");
        }
    }
}

/// Threat 24. Servlet containers cut off what stands behind a semicolon, others decode slashes before they look for a handler: then
/// it is the narrower route that should have been asked.
#[test]
fn what_a_broad_route_lets_through_opens_no_narrower_one() {
    let lax = |path| Route { allow_encoded_slash: true, allow_semicolon: true, ..open(path) };
    let gw = TestGateway::with(|config| {
        config.routes[0].path = "/admin".to_owned();
        config.routes.extend([lax("/"), lax("/lax/"), open("/lax/not/")]);
    });
    for target in [
        "/admin;x=1/users",
        "/admin;x=1",
        "/admin%3bx/users",
        "/%61dmin%2fusers",
        "/admin%252Fusers",
        "/admin;a%2fb/users",
        "/;/admin",
        "/x;y%2f%2fz/../admin",
        "/lax%2fnot/a",
        "/lax/not;v=1/a",
        "/lax/a;v=1%2f%2e%2e",
        "/;%2fadmin",
        "/lax;v=1x",
    ] {
        assert_eq!(asked(&gw, target), "400 bad_request", "{target}");
    }
    for target in ["/x;y=1/admin", "/x%2fadmin", "/lax/a%2fb;c", "/adminx;y"] {
        assert_eq!(asked(&gw, target), target);
    }
    assert_eq!(asked(&gw, "/admin/x"), "401 token_missing");
}

/// Threat 26, CVE-2025-46821: a star means nothing here, in the path or encoded.
#[test]
fn a_star_is_a_character_like_any_other() {
    let gw = TestGateway::with(|config| config.routes.push(open("/files/*/open")));
    assert_eq!(asked(&gw, "/public/*"), "/public/*");
    assert_eq!(asked(&gw, "/public/%2a/%2A"), "/public/%2a/%2A");
    assert_eq!(asked(&gw, "/files/*/open"), "/files/*/open");
    for target in ["/*", "/*/public/", "/publi*/", "/files/x/open", "/files/%2a/open", "/files/a/b/open"] {
        assert_eq!(asked(&gw, target), "401 token_missing", "{target}");
    }
}

/// Threat 28, CVE-2026-48794: a host spelled another way is the same host.
#[test]
fn a_host_is_the_same_host_in_every_spelling() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { host: Some(HostPattern::Suffix(".example.com".to_owned())), ..open("/") });
        config.routes.extend(
            ["a.b.example.com", "xn--fiqs8s.example.com"]
                .map(|name| Route { host: Some(HostPattern::Exact(name.to_owned())), ..Route::new("/", "app") }),
        );
    });
    let mut cases: Vec<(String, &str)> = Vec::new();
    for strict in ["a.b.example.com", "xn--fiqs8s.example.com"] {
        for tail in ["", ".", ":80", ":8443", ".:443"] {
            for name in [strict.to_owned(), strict.to_uppercase(), strict.replace('b', "B").replace('x', "X")] {
                cases.push((format!("{name}{tail}"), "401 token_missing"));
            }
        }
    }
    cases.extend(["c.example.com", "C.Example.Com.:80", "a.b.c.example.com"].map(|host| (host.to_owned(), "200")));
    for junk in [
        "",
        "a.b.example.com..",
        ".a.b.example.com",
        "a..b.example.com",
        "a.b.example.com:x",
        "a.b.example.com:99999",
        "a.b.example.com:80:80",
        "a.b.example.com/",
        "a.b.example.com, c.example.com",
        "c.example.com a.b.example.com",
        "a%2eb.example.com",
        "me@c.example.com",
        "中国.example.com",
        "[::1",
        "*.example.com",
        "a.b.example.com\\",
    ] {
        cases.push((junk.to_owned(), "400 bad_request"));
    }
    for (host, answer) in cases {
        let attack = gw.attack(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(attack.answer, answer, "{host:?}");
        assert_eq!(
            attack.seen.iter().map(|seen| seen.header("host").unwrap()).next(),
            (answer == "200").then_some(&*host),
            "{host}"
        );
        let attack = gw.attack(format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let verdict = attack.answer.trim_end_matches(" bad_request");
        assert_eq!(verdict, answer.trim_end_matches(" bad_request"), "http://{host}/");
    }
}

/// Threat 27, CVE-2026-27588: with more than a hundred hosts, matching took another way and minded the case.
#[test]
fn three_hundred_hosts_are_matched_like_three() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { host: Some(HostPattern::Suffix(".example.com".to_owned())), ..open("/") });
        config.routes.extend((0..300).map(|n| Route {
            host: Some(HostPattern::Exact(format!("host-{n}.example.com"))),
            ..Route::new("/", "app")
        }));
    });
    let mut client = gw.client();
    for n in 0..300 {
        for host in
            [format!("host-{n}.example.com"), format!("HOST-{n}.Example.COM."), format!("Host-{n}.example.com:80")]
        {
            let reply = client.raw(format!("GET /%61dmin HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(reply.verdict(), "401 token_missing", "{host}");
        }
    }
    assert_eq!(gw.upstream.connections(), 0);
    assert_eq!(client.raw("GET / HTTP/1.1\r\nHost: host-300.example.com\r\n\r\n").status, 200);
}

#[test]
fn our_own_endpoints_have_one_path_each() {
    let gw = TestGateway::with(|config| config.routes = vec![Route { allow_semicolon: true, ..open("/") }]);
    for target in [
        "/v1/session",
        "/v1//session",
        "/./v1/./session",
        "/v1/%73ession",
        "//v1/session?x",
        "http://api.example.com/v1/session",
    ] {
        assert_eq!(asked(&gw, target), "401 token_missing", "{target}");
    }
    for target in
        ["/v1/session/", "/v1/session/x", "/V1/session", "/v1/Session", "/v1/session;v=1", "/v1/sessions", "/v1"]
    {
        assert_eq!(asked(&gw, target), target);
    }
}

#[test]
fn the_upstream_sees_the_canonical_path_and_the_query_as_it_came() {
    let gw = TestGateway::start();
    for (target, expected) in [
        ("/public/a", "/public/a"),
        ("/public", "/public"),
        ("//public///a//", "/public/a/"),
        ("/./public/./a/.", "/public/a/"),
        ("/%70ublic/%7Ea%2Db", "/public/~a-b"),
        ("/public/%e4%BD%a0", "/public/%e4%BD%a0"),
        ("/public/a%20b%2Bc%25", "/public/a%20b%2Bc%25"),
        ("/public/:@!$&'()*+,=", "/public/:@!$&'()*+,="),
        ("/public/a?", "/public/a?"),
        ("/public//a?", "/public/a?"),
        ("/public/a??b", "/public/a??b"),
        ("/public/a?/../%2e%2e/;x", "/public/a?/../%2e%2e/;x"),
        ("/public/./a?//./%41&a=1&a=2&=&&", "/public/a?//./%41&a=1&a=2&=&&"),
        ("/public/a?%00%0d%0a%zz%", "/public/a?%00%0d%0a%zz%"),
        ("/public/a?q={a:[1|2]}^`\\", "/public/a?q={a:[1|2]}^`\\"),
        ("/public/a?http://other/x?y", "/public/a?http://other/x?y"),
        ("http://api.example.com/public/a?b", "/public/a?b"),
        ("HTTP://API.example.com:80//public/a", "/public/a"),
        ("https://api.example.com/public//", "/public/"),
        ("http://api.example.com/public?", "/public?"),
    ] {
        assert_eq!(asked(&gw, target), expected, "{target}");
        assert_eq!(asked(&gw, expected), expected, "a second time nothing changes");
    }
    let root = TestGateway::with(|config| config.routes = vec![open("/")]);
    for (target, expected) in [
        ("http://api.example.com", "/"),
        ("http://api.example.com?a/../b", "/?a/../b"),
        ("/?", "/?"),
        ("//", "/"),
        ("/.", "/"),
    ] {
        assert_eq!(asked(&root, target), expected, "{target}");
    }
}

/// What a backend that decodes without a second thought makes of a path.
fn decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escape = if *byte == b'%' {
            after.get(..2).and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok())
        } else {
            None
        };
        out.push(escape.unwrap_or(*byte));
        rest = if escape.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where a path leads after all that a careless backend may do to it: decode, cut parameters, climb.
fn resolved(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default()) {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Whatever is sent, and whatever a backend makes of it: without a token nothing gets out of the open folder.
#[test]
fn no_path_gets_out_of_the_open_folder() {
    let gw = TestGateway::with(|config| {
        config.routes.push(Route { allow_encoded_slash: true, allow_semicolon: true, ..open("/public/") });
        config.routes.retain(|route| route.path != "/public/" || route.allow_semicolon);
    });
    let parts = prop::sample::select(vec![
        "/",
        "/",
        "/public",
        "/public/",
        "admin",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "%252e",
        "%2f",
        "%252F",
        ";",
        "%3b",
        "\\",
        "%5c",
        "%",
        "%25",
        "2e",
        "5c",
        "a",
        "%61",
        "#",
        "?",
        "%3f",
        "%00",
        "*",
        "http://api.example.com",
        "@",
        ":",
    ]);
    let paths = (prop::sample::select(vec!["/public", "/", ""]), prop::collection::vec(parts, 0..8));
    let mut runner = TestRunner::new(Cases { cases: 400, failure_persistence: None, ..Cases::default() });
    let outcome = runner.run(&paths, |(start, parts)| {
        let target = format!("{start}{}", parts.concat());
        let attack = gw.attack(get(&target));
        for seen in &attack.seen {
            let (path, query) =
                seen.target.split_once('?').map_or((&*seen.target, None), |(path, query)| (path, Some(query)));
            prop_assert_eq!(query, target.split_once('?').map(|(_, query)| query), "the query of {}", target);
            let again = canonicalise(path);
            prop_assert_eq!(
                again.as_ref().map(wxgate::routing::CanonicalPath::as_str),
                Ok(path),
                "{} is not canonical",
                path
            );
            for view in [path.to_owned(), decoded(path), decoded(&decoded(path))] {
                // Whoever decodes first may find a query in it.
                for place in [&*view, view.split('?').next().unwrap()].map(resolved) {
                    prop_assert!(
                        place == "/public" || place.starts_with("/public/"),
                        "{target} led to {place} by way of {view}"
                    );
                }
            }
        }
        let refused = attack.answer.starts_with("400") || attack.answer == "401 token_missing";
        prop_assert!(
            if attack.seen.is_empty() { refused && attack.bytes == 0 } else { attack.answer == "200" },
            "{target}: {attack:?}"
        );
        Ok(())
    });
    outcome.unwrap();
}

proptest! {
    #![proptest_config(Cases { cases: 2000, failure_persistence: None, ..Cases::default() })]

    #[test]
    fn a_canonical_path_is_its_own_canonical_path(raw in "/([a-c./;%]|%2[eEfF5]|%41|%C3%A9|//|\\./){0,16}") {
        if let Ok(path) = canonicalise(&raw) {
            let again = canonicalise(path.as_str()).unwrap();
            prop_assert_eq!(again.as_str(), path.as_str());
            prop_assert_eq!(again.has_encoded_slash(), path.has_encoded_slash());
            prop_assert_eq!(again.has_semicolon(), path.has_semicolon());
        }
    }
}
