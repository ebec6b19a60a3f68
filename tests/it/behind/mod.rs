//! Behind the proxies that people keep in front: the real ones, each with the very text of its page in `docs/`.

mod process;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use http::Method;
use image::{DynamicImage, Rgb, RgbImage};
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, HostPattern, Rate, Route},
    },
    store::Store,
    web::endpoints,
};

use crate::{
    assertion::{claims, signing},
    avatars::{in_folder, uploaded},
    identity_header::FORGERIES,
    support::{
        APP, Client, OTHER_APP, Recorder, Reply, Seen, TestGateway, User, client::head, pictures::png,
        scripted::Scripted, until,
    },
};

pub use process::program;
use process::{Kind, Process};

/// One of the proxies, a gateway that it asks, and a backend that only the proxy knows.
struct Front {
    kind: Kind,
    process: Process,
    gw: TestGateway,
    app: Recorder,
}

impl Front {
    fn start(kind: Kind) -> Self {
        Self::before(kind, TestGateway::with(rules))
    }

    fn before(kind: Kind, gw: TestGateway) -> Self {
        let app = Recorder::start();
        let process = Process::start(kind, [gw.addr(), app.addr()]);
        Self { kind, process, gw, app }
    }

    /// Where identity is signed. The page of Caddy says what to add then, and the other two have it already.
    fn signing(kind: Kind) -> Self {
        let gw = TestGateway::with(|config| {
            rules(config);
            signing(config);
        });
        let app = Recorder::start();
        let copied = [("X-WX-PHONE X-WX-SOURCE\n", "X-WX-PHONE X-WX-SOURCE X-WX-ASSERTION\n")];
        let process = Process::spoilt(kind, [gw.addr(), app.addr()], &copied);
        Self { kind, process, gw, app }
    }

    /// A new connection to the proxy.
    fn client(&self) -> Client {
        Client::connect(self.process.addr)
    }

    /// Somebody who has logged in, and comes through the proxy.
    fn login(&self, openid: &str) -> User {
        User { client: self.client(), ..self.gw.login(openid) }
    }

    /// Sends these bytes to the proxy, on a connection of their own. Gives the answer, if there is one, and what reached
    /// the backend because of them. An honest request that follows tells when all of it must have come; it takes the same
    /// connection, unless the end of that was announced.
    fn attack(&self, bytes: &str) -> (Option<Reply>, Vec<Seen>) {
        let before = self.app.seen().len();
        let mut client = self.client();
        let reply = client.send(bytes).try_reply("GET").ok();
        if reply.as_ref().is_none_or(|reply| reply.header("connection") == Some("close")) {
            client = self.client();
        }
        assert_eq!(client.get("/public/an-honest-request").status, 200, "{}", self.process.said());
        let mut seen = self.app.seen().split_off(before);
        assert_eq!(seen.pop().map(|honest| honest.target).as_deref(), Some("/public/an-honest-request"));
        (reply, seen)
    }

    /// What the client hears where wxgate says this. nginx knows no refusals but 401 and 403.
    fn heard(&self, status: u16, code: &str) -> String {
        let status = if self.kind == Kind::Nginx && ![401, 403].contains(&status) { 503 } else { status };
        format!("{status} {code}")
    }
}

/// What the harness has, and some routes that only their method, their host or their app opens.
fn rules(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    let (route, app) = (|path| Route::new(path, "app"), config.apps[0].app_id.clone());
    let once = Rate { count: NonZeroU32::MIN, per: Duration::from_mins(1) };
    let thrice = Rate { count: NonZeroU32::MIN.saturating_add(2), ..once };
    config.routes[0].methods = Some(["GET", "POST", "DELETE"].map(|method| method.parse().unwrap()).into());
    config.routes.extend([
        Route { apps: Some(vec![app]), ..route("/shop/") },
        Route { methods: Some(vec![Method::PUT]), auth: AuthRule::None, ..route("/orders") },
        Route { host: Some(HostPattern::Exact("open.example.com".to_owned())), auth: AuthRule::None, ..route("/") },
        Route { limit_per_ip: Some(once), auth: AuthRule::None, ..route("/once/") },
        Route { limit_per_ip: Some(thrice), ..route("/thrice/") },
    ]);
}

/// Every proxy, one after the other.
fn behind_each(story: impl Fn(&Front)) {
    for kind in Kind::ALL {
        story(&Front::start(kind));
    }
}

/// What the backend was told of the caller, by any name that it could take for one of ours.
fn told(seen: &Seen) -> Vec<String> {
    let alike = |name: &str| name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let ours = seen.headers.iter().map(|(name, value)| format!("{}: {value}", alike(name)));
    let mut lines: Vec<_> = ours.filter(|line| line.starts_with("x-wx-")).collect();
    lines.sort();
    lines
}

fn known(app: &str, openid: &str) -> Vec<String> {
    vec![format!("x-wx-appid: {app}"), format!("x-wx-openid: {openid}"), "x-wx-source: wx_client".to_owned()]
}

#[test]
fn a_session_opens_the_backend_as_its_owner() {
    behind_each(|front| {
        let mut alice = front.login("oAlice");
        let reply = alice.post("/orders?a=1", "hello");
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"ok":true}"#), "{:?}", front.kind);
        let seen = front.app.last();
        assert_eq!(
            (told(&seen), seen.target.as_str(), &seen.body[..]),
            (known(APP, "oAlice"), "/orders?a=1", &b"hello"[..])
        );
        assert_eq!(seen.header("authorization"), None, "{:?}", front.kind);
    });
}

#[test]
fn a_unionid_is_told_where_it_is_known() {
    behind_each(|front| {
        front.gw.wechat.knows_with_union("code", APP, "oBob", "uBob");
        let login = front.gw.verify_code("code").json();
        let bearer = format!("Bearer {}", login["token"].as_str().unwrap());
        let lines = [("Authorization", bearer.as_str()), ("X-WX-UNIONID", "evil"), ("X-Wx_Unionid", "evil")];
        assert_eq!(front.client().request("GET", "/orders", &lines, "").status, 200, "{:?}", front.kind);
        let expected = [known(APP, "oBob"), vec!["x-wx-unionid: uBob".to_owned()]].concat();
        assert_eq!(told(&front.app.last()), expected, "{:?}", front.kind);
    });
}

#[test]
fn a_signed_identity_comes_along_and_no_client_brings_its_own() {
    for kind in Kind::ALL {
        let front = Front::signing(kind);
        let mut alice = front.login("oAlice");
        assert_eq!(alice.request("GET", "/orders", &[("X-WX-ASSERTION", "evil")], "").status, 200, "{kind:?}");
        let claims = claims(front.app.last().header("x-wx-assertion").unwrap());
        assert_eq!((&claims["aud"], &claims["sub"]), (&"app".into(), &"oAlice".into()), "{kind:?}");
        for path in ["/maybe/1", "/public/1"] {
            assert_eq!(front.client().request("GET", path, &[("X-WX-ASSERTION", "evil")], "").status, 200);
            assert_eq!(told(&front.app.last()), Vec::<String>::new(), "{kind:?} on {path}");
        }
    }
}

/// Threats 1 to 4 and 6 to 9, at the place where such gateways were broken most often.
#[test]
fn no_forged_header_reaches_the_backend() {
    behind_each(|front| {
        let alice = format!("Authorization: Bearer {}\r\n", front.gw.login("oAlice").token);
        for (path, authorization, expected) in [
            ("/orders", alice.as_str(), known(APP, "oAlice")),
            ("/maybe/1", alice.as_str(), known(APP, "oAlice")),
            ("/maybe/1", "", vec![]),
            ("/maybe/1", "Authorization: Bearer wxg_garbage\r\n", vec![]),
            ("/public/1", alice.as_str(), vec![]),
            ("/public/1", "", vec![]),
        ] {
            for forgery in FORGERIES {
                let case = format!("{:?}: {path}, {authorization}{forgery:?}", front.kind);
                let (reply, seen) = front.attack(&format!(
                    "GET {path} HTTP/1.1\r\nHost: api.example.com\r\n{forgery}\r\n{authorization}\r\n"
                ));
                let [seen] = &seen[..] else { panic!("{case}: {reply:?} {seen:?}") };
                // nginx removes what it is told to by name, and nobody would list this one.
                let unlisted = front.kind == Kind::Nginx && forgery.ends_with("X-WX-: evil");
                let nobodys = unlisted.then(|| "x-wx-: evil".to_owned());
                assert_eq!(told(seen), nobodys.into_iter().chain(expected.clone()).collect::<Vec<_>>(), "{case}");
            }
        }
    });
}

/// Threat 10: trailers, which a backend may merge into its headers.
#[test]
fn a_trailer_tells_the_backend_nothing() {
    behind_each(|front| {
        let alice = format!("Authorization: Bearer {}\r\n", front.gw.login("oAlice").token);
        for (path, authorization, expected) in
            [("/orders", alice.as_str(), known(APP, "oAlice")), ("/public/1", "", vec![])]
        {
            for trailer in ["X-WX-OPENID: evil", "x_wx_openid: evil", "Authorization: evil"] {
                for announced in ["", "Trailer: X-WX-OPENID, x_wx_openid, Authorization\r\nTE: trailers\r\n"] {
                    let (reply, seen) = front.attack(&format!(
                        "POST {path} HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\
                         {announced}{authorization}\r\n5\r\nhello\r\n0\r\n{trailer}\r\n\r\n"
                    ));
                    let case = format!("{:?} {path} {trailer} {announced:?}", front.kind);
                    // HAProxy can't take trailers away, and so takes no body that may have some.
                    let status = if front.kind == Kind::HaProxy { 411 } else { 200 };
                    assert_eq!(reply.map(|reply| reply.status), Some(status), "{case}");
                    let heard: Vec<_> = seen.iter().map(|seen| (told(seen), seen.trailers.len())).collect();
                    let all = if status == 200 { vec![(expected.clone(), 0)] } else { vec![] };
                    assert_eq!(heard, all, "{case}");
                }
            }
        }
    });
}

/// Threat 19, CVE-2026-40575, from the client's side: the proxy's own word is the one that counts.
#[test]
fn no_client_chooses_the_rule() {
    behind_each(|front| {
        for forgery in [
            "X-Original-URI: /public/",
            "X-Original-URL: /public/",
            "X-Original-URL: http://api.example.com/public/",
            "X-Forwarded-Uri: /public/",
            "X-Rewrite-URL: /public/",
            "X_Original_URI: /public/",
            "X_Forwarded_Uri: /public/",
            "X-Original-Method: PUT",
            "X-Forwarded-Method: PUT",
            "X-Original-Host: open.example.com",
            "X-Forwarded-Host: open.example.com",
            "Forwarded: host=open.example.com",
            "X-Original-URI: /public/\r\nX-Original-URI: /public/",
            "X-Original-URI: /public/\r\nX-Forwarded-Uri: /public/\r\nX-Original-URL: /public/",
            "Connection: X-Original-URI, X-Forwarded-Uri, X-Forwarded-Host, X-Original-Host",
            "Connection: X-Original-URI\r\nX-Forwarded-Uri: /public/",
            "Connection: X-Forwarded-Host, X-Forwarded-Uri\r\nX-Original-Host: open.example.com\r\nX-Original-URI: /public/",
        ] {
            let (reply, seen) =
                front.attack(&format!("GET /orders HTTP/1.1\r\nHost: api.example.com\r\n{forgery}\r\n\r\n"));
            let status = reply.map(|reply| reply.status);
            assert!(matches!(status, Some(400 | 401 | 503)), "{:?} {forgery}: {status:?}", front.kind);
            assert!(seen.is_empty(), "{:?} {forgery}: {seen:?}", front.kind);
        }
    });
}

#[test]
fn a_refusal_reaches_the_client_in_wxgates_own_words() {
    behind_each(|front| {
        let bob = format!("Authorization: Bearer {}\r\n", front.gw.login_to(OTHER_APP, "oBob").token);
        for (head, lines, status, code) in [
            ("GET /orders", "", 401, "token_missing"),
            ("POST /orders?upload", "Content-Length: 5\r\n", 401, "token_missing"),
            ("GET /orders", "Authorization: Bearer wxg_x\r\n", 401, "token_invalid"),
            ("GET /shop/1", bob.as_str(), 403, "app_not_allowed"),
            ("PATCH /orders", bob.as_str(), 404, "no_route"),
            ("GET /public/a%2fb", "", 400, "bad_request"),
        ] {
            let body = if lines.starts_with("Content-Length") { "hello" } else { "" };
            let (reply, seen) = front.attack(&format!("{head} HTTP/1.1\r\nHost: api.example.com\r\n{lines}\r\n{body}"));
            let reply = reply.unwrap_or_else(|| panic!("{:?} {head}: {}", front.kind, front.process.said()));
            assert_eq!(reply.verdict(), front.heard(status, code), "{:?} {head}", front.kind);
            assert!(seen.is_empty(), "{:?} {head}: {seen:?}", front.kind);
            let bearer = (status == 401).then_some("Bearer");
            assert_eq!(reply.header("www-authenticate"), bearer, "{:?} {reply:?}", front.kind);
            assert_eq!(reply.header("x-request-id"), reply.json()["requestId"].as_str(), "{:?} {reply:?}", front.kind);
            assert_eq!(reply.header("cache-control"), Some("no-store"), "{:?} {reply:?}", front.kind);
        }
    });
}

/// Threats 17 to 30, CVE-2021-32637 among them: what the proxy forwards is what was decided on, or nothing.
#[test]
fn no_path_and_no_host_is_taken_for_another() {
    let climbs = ["..", "%2e%2e", ".%2e", "%252e%252e", "..;", "..%2f", "..%5c", "..\\", "%2e%2e%2f", "..%00", "..#"];
    let tricks = [
        "//public/orders",
        "/public//../orders",
        "/.//public/orders",
        "/%70ublic/x",
        "/public%2f..%2forders",
        "/orders#/public/",
        "/orders?/public/",
        "/public/%",
        "http://open.example.com/orders",
        "http://api.example.com/public/../orders",
        "http:http://api.example.com/public/",
        "*",
        "orders",
    ];
    let climbs = climbs.iter().map(|climb| format!("/public/{climb}/orders"));
    let targets: Vec<_> = climbs.chain(tricks.map(str::to_owned)).collect();
    behind_each(|front| {
        for target in &targets {
            for host in ["api.example.com", "API.example.com:80", "open.example.com, api.example.com", ""] {
                let (reply, seen) = front.attack(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                // The one host that is open may be asked, if it is what the backend hears too.
                let strays: Vec<_> =
                    seen.iter().filter(|seen| seen.header("host") != Some("open.example.com")).collect();
                assert!(strays.is_empty(), "{:?} {target} {host:?}: {strays:?}", front.kind);
                assert!(!seen.is_empty() || reply.is_none_or(|reply| reply.status >= 400), "{:?} {target}", front.kind);
            }
        }
    });
}

/// CVE-2018-14773 and its kin: a backend that serves the path in a header serves another than was decided on.
#[test]
fn no_client_tells_the_backend_of_another_path_host_or_way() {
    behind_each(|front| {
        for forgery in [
            "X-Original-URL: /evil",
            "X-Original-URI: /evil",
            "X-Rewrite-URL: /evil",
            "X-Forwarded-Uri: /evil",
            "X_Original_URL: /evil\r\nx_rewrite_url: /evil",
            "Connection: X-Rewrite-URL\r\nX-Rewrite-URL: /evil",
            "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: evil\r\nForwarded: host=evil",
            "X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6",
        ] {
            let (reply, seen) =
                front.attack(&format!("GET /public/1 HTTP/1.1\r\nHost: api.example.com\r\n{forgery}\r\n\r\n"));
            assert!(reply.is_some_and(|reply| matches!(reply.status, 200 | 503)), "{:?} {forgery}", front.kind);
            let believed = |seen: &&Seen| seen.head.contains("evil") || seen.head.contains("6.6.6.6");
            assert_eq!(seen.iter().find(believed).map(|seen| &seen.head), None, "{:?} {forgery}", front.kind);
        }
    });
}

#[test]
fn many_callers_on_one_connection_are_each_who_they_are() {
    behind_each(|front| {
        let mut client = front.client();
        let [alice, bob] = [front.gw.login("oAlice"), front.gw.login_to(OTHER_APP, "oBob")]
            .map(|user| format!("Bearer {}", user.token));
        for round in 0..5 {
            for (path, token, expected) in [
                ("/orders", &alice, known(APP, "oAlice")),
                ("/maybe/1", &bob, known(OTHER_APP, "oBob")),
                ("/maybe/1", &String::new(), vec![]),
                ("/orders", &bob, known(OTHER_APP, "oBob")),
                ("/public/1", &alice, vec![]),
            ] {
                let reply = client.request("POST", path, &[("Authorization", token)], "hello");
                assert_eq!((reply.status, told(&front.app.last())), (200, expected), "{:?} {round}", front.kind);
            }
        }
    });
}

#[test]
fn the_session_token_stays_and_the_backends_own_credentials_travel_on() {
    behind_each(|front| {
        let token = front.gw.login("oAlice").token;
        for (line, kept) in [
            (format!("Bearer {token}"), None),
            (format!("bearer {token}"), None),
            (format!("Token {token}"), None),
            ("Basic dXNlcjpwdw==".to_owned(), Some("Basic dXNlcjpwdw==")),
        ] {
            assert_eq!(front.client().request("GET", "/public/1", &[("Authorization", &line)], "").status, 200);
            assert_eq!(front.app.last().header("authorization"), kept, "{:?} {line}", front.kind);
        }
    });
}

#[test]
fn one_id_names_a_request_at_the_backend_and_in_the_log() {
    behind_each(|front| {
        let reply = front.login("oAlice").request("GET", "/orders?secret", &[("X-Request-Id", "the-clients-own")], "");
        assert_eq!(reply.status, 200, "{:?}", front.kind);
        let seen = front.app.last();
        let id = seen.header("x-request-id").unwrap_or_else(|| panic!("{:?} {seen:?}", front.kind));
        let line = front.gw.log.line(id);
        assert!(line.contains(r#""path":"/orders","route":"GET,POST,DELETE /","endpoint":"authorize""#), "{line}");
        assert!(id != "the-clients-own" && !line.contains("secret"), "{line}");
    });
}

#[test]
fn a_user_logs_in_and_out_through_the_proxy_and_asks_for_no_decision() {
    behind_each(|front| {
        let body = format!(r#"{{"jsCode":"{}","appId":"{APP}"}}"#, front.gw.code("oAlice"));
        let login = front.client().post("/v1/verify", &body);
        assert_eq!(login.status, 200, "{:?} {login:?}", front.kind);
        let token = login.json()["token"].as_str().unwrap().to_owned();
        let mut alice = User { client: front.client(), token, openid: "oAlice".to_owned() };
        let question =
            [("X-Original-Method", "GET"), ("X-Original-URI", "/orders"), ("X-Original-Host", "api.example.com")];
        let reply = alice.request("GET", "/v1/authorize", &question, "");
        assert!(reply.status >= 400 && reply.header("x-wx-openid").is_none(), "{:?} {reply:?}", front.kind);
        alice.client = front.client();
        assert_eq!(alice.get("/v1/session").status, 200, "{:?}", front.kind);
        let changed = alice.put("/v1/profile", &serde_json::json!({ "nickName": "Alice" }));
        assert_eq!((changed.status, alice.get("/v1/profile").json()), (200, changed.json()), "{:?}", front.kind);
        assert_eq!(alice.post("/v1/logout", "").status, 204, "{:?}", front.kind);
        assert_eq!(alice.get("/orders").verdict(), "401 token_invalid", "{:?}", front.kind);
        assert_eq!(front.app.seen().len(), 0, "{:?}", front.kind);
    });
}

/// A picture of more bytes than nginx takes if nothing is said.
fn large() -> Vec<u8> {
    let mut noise = 1_u32;
    let picture = RgbImage::from_fn(700, 700, |_, _| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, red, green, blue] = noise.to_le_bytes();
        Rgb([red, green, blue])
    });
    let bytes = png(&DynamicImage::ImageRgb8(picture));
    assert!(bytes.len() > 1 << 20);
    bytes
}

/// `/v1/phone`, and all about pictures, were left out of what the pages send to wxgate. Their requests were asked about like any other
/// then, and refused.
#[test]
fn all_that_wxgate_answers_itself_is_sent_to_it() {
    let folder = tempfile::tempdir().unwrap();
    for kind in Kind::ALL {
        let front = Front::before(
            kind,
            TestGateway::with(|config| {
                rules(config);
                in_folder(config, folder.path());
            }),
        );
        for (path, methods) in endpoints::ALL.iter().filter(|(path, _)| *path != endpoints::AUTHORIZE) {
            let reply = front.client().request("PATCH", &format!("/v1{path}"), &[], "");
            assert_eq!((reply.verdict().as_str(), reply.header("allow")), ("405 method_not_allowed", Some(*methods)));
        }
        let mut alice = front.login("oAlice");
        let picture = uploaded(&mut alice, &large());
        assert_eq!(front.client().get(&picture).status, 200, "{kind:?} {picture}");
        assert_eq!(front.app.seen().len(), 0, "{kind:?}");
    }
}

#[test]
fn while_the_store_is_away_nobody_passes_and_nobody_is_logged_out() {
    for kind in Kind::ALL {
        let store = Scripted::own();
        let start = || TestGateway::on(Some(Arc::clone(&store) as Arc<dyn Store>), rules);
        let before = start();
        let User { token, .. } = before.login("oAlice");
        before.stop();
        let answered = store.asked("recent answered");
        let front = Front::before(kind, start());
        until("memory to be filled", || (store.asked("recent answered") > answered).then_some(()));
        store.tell(|watcher| watcher.all_changed());
        store.go_away();
        let alice = || User { client: front.client(), token: token.clone(), openid: "oAlice".to_owned() };
        for path in ["/orders", "/maybe/1"] {
            let reply = alice().post(path, "hello");
            assert_eq!((reply.verdict().as_str(), reply.header("retry-after")), ("503 store_unavailable", Some("1")));
        }
        assert_eq!(front.app.seen().len(), 0, "{kind:?}");
        store.come_back();
        assert_eq!((alice().get("/orders").status, told(&front.app.last())), (200, known(APP, "oAlice")), "{kind:?}");
    }
}

#[test]
fn without_wxgate_nobody_passes() {
    for kind in Kind::ALL {
        let Front { process, gw, app, .. } = Front::start(kind);
        let token = gw.login("oAlice").token;
        gw.stop();
        let bearer = format!("Bearer {token}");
        let asked = ["/orders", "/maybe/1", "/public/1"].map(|path| {
            let mut client = Client::connect(process.addr);
            client.send(head("GET", path, &[("Authorization", &bearer)], 0));
            client
        });
        for reply in asked.map(|mut client| client.reply()) {
            assert!((500..600).contains(&reply.status), "{kind:?}: {reply:?}");
        }
        assert_eq!(app.seen().len(), 0, "{kind:?}");
    }
}

/// HAProxy goes on with a request whose script has failed.
#[test]
fn a_script_that_breaks_lets_nobody_pass() {
    let (gw, app) = (TestGateway::with(rules), Recorder::start());
    let asks = "local received = txn.http:req_get_headers()";
    for broken in ["error('broken')", "do return end", "local received = nil"] {
        let process = Process::spoilt(Kind::HaProxy, [gw.addr(), app.addr()], &[(asks, broken)]);
        for path in ["/orders", "/public/1"] {
            assert_eq!(Client::connect(process.addr).get(path).status, 503, "{broken}: {}", process.said());
        }
    }
    assert_eq!(app.seen().len(), 0);
}

#[test]
fn who_asks_too_often_hears_when_to_come_back() {
    behind_each(|front| {
        assert_eq!(front.client().get("/once/").status, 200, "{:?}", front.kind);
        let reply = front.client().get("/once/");
        assert_eq!(reply.verdict(), front.heard(429, "rate_limited"), "{:?}", front.kind);
        assert_eq!(reply.header("retry-after"), Some("60"), "{:?}: {reply:?}", front.kind);
        assert_eq!(front.app.seen().len(), 1, "{:?}", front.kind);
    });
}

/// nginx asks once for the decision and once more for the words.
#[test]
fn a_refusal_takes_two_of_a_budget_behind_nginx_and_one_elsewhere() {
    behind_each(|front| {
        assert_eq!(front.client().get("/thrice/").status, 401, "{:?}", front.kind);
        let mut alice = front.login("oAlice");
        let mut passes = || {
            alice.client = front.client();
            alice.get("/thrice/").status == 200
        };
        let left = (0..3).filter(|_| passes()).count();
        assert_eq!(left, if front.kind == Kind::Nginx { 1 } else { 2 }, "{:?}", front.kind);
    });
}
