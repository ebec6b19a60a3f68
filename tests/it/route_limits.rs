//! How many requests of a route one address may send, and how many one user.

use std::time::Duration;

use serde_json::json;
use wxgate::{
    config::{
        Config,
        sections::{AuthRule, Rate, Route},
    },
    model::SystemEntropy,
    session::SessionToken,
};

use crate::support::{
    APP, Client, OTHER_APP, Reply, TestGateway, client, refusal::shows_no, scripted::Scripted, until, upstream::answer,
};

const LIMITED: &str = "Too many requests. Try again a little later.";
const CLOSE: (&str, &str) = ("connection", "close");

fn per_minute(count: u32) -> Rate {
    Rate { count: count.try_into().unwrap(), per: Duration::from_mins(1) }
}

/// Three requests of `/few/` per minute and address, two of `/own/` per user; those of `/maybe/` are anonymous without a
/// session, and two of a user's.
fn few(config: &mut Config) {
    config.routes = vec![
        Route::new("/", "app"),
        Route { limit_per_ip: Some(per_minute(3)), ..Route::new("/few/", "app") },
        Route { limit_per_user: Some(per_minute(2)), ..Route::new("/own/", "app") },
        Route { limit_per_user: Some(per_minute(2)), auth: AuthRule::Optional, ..Route::new("/maybe/", "app") },
        Route { limit_per_ip: Some(per_minute(3)), auth: AuthRule::None, ..Route::new("/public/", "app") },
    ];
}

fn behind_a_proxy(config: &mut Config) {
    few(config);
    config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
}

/// How many of nine requests get through, each on a connection of its own: they meet different workers.
fn let_through(gw: &TestGateway, path: &str, forwarded_for: &str) -> usize {
    let get = || gw.client().request("GET", path, &[("X-Forwarded-For", forwarded_for)], "").status;
    (0..9).filter(|_| get() == 200).count()
}

#[test]
fn an_address_that_asks_too_often_waits_until_its_budget_has_grown_again() {
    let gw = TestGateway::with(behind_a_proxy);
    let mut alice = gw.login("oAlice");
    let mut get = |path: &str| alice.request("GET", path, &[("X-Forwarded-For", "192.0.2.1")], "");
    assert_eq!([(); 3].map(|()| get("/few/1").status), [200; 3]);
    let line = gw.says_no(&get("/few/2"), 429, "rate_limited", LIMITED, &[("retry-after", "20")]);
    let told = (&line["client"], &line["route"], &line["cause"]);
    let cause = "a limit of the route was reached: limit_per_ip";
    assert_eq!(told, (&json!("192.0.2.1"), &json!("/few/"), &json!(cause)));
    assert_eq!((gw.upstream.seen().len(), get("/").status), (3, 200), "other routes go on");

    gw.later(Duration::from_millis(19_500));
    shows_no(&get("/few/1"), 429, "rate_limited", LIMITED, &[("retry-after", "1")]);
    gw.later(Duration::from_millis(500));
    assert_eq!([get("/few/1").status, get("/few/1").status], [200, 429]);
}

/// Somebody who guesses tokens must not be able to ask the store as often as he likes.
#[test]
fn an_address_over_its_limit_costs_no_look_up_and_no_body() {
    let store = Scripted::own();
    let gw = TestGateway::on(Some(store.clone()), few);
    let post = || {
        let token = SessionToken::mint(&SystemEntropy).unwrap();
        let bearer = format!("Bearer {}", token.expose());
        let head = client::head("POST", "/few/", &[("Authorization", &bearer)], 1_000_000);
        gw.client().send(head).reply()
    };
    assert_eq!([(); 3].map(|()| post().status), [401; 3]);
    assert_eq!(store.asked("load"), 3);
    shows_no(&post(), 429, "rate_limited", LIMITED, &[("retry-after", "20"), CLOSE]);
    assert_eq!((store.asked("load"), gw.upstream.seen().len()), (3, 0));
}

#[test]
fn a_user_has_one_budget_on_every_connection_from_every_address_and_in_every_session() {
    let gw = TestGateway::with(behind_a_proxy);
    let (mut phone, mut tablet) = (gw.login("oAlice"), gw.login("oAlice"));
    assert_eq!(phone.request("GET", "/own/", &[("X-Forwarded-For", "192.0.2.1")], "").status, 200);
    assert_eq!(tablet.request("GET", "/own/", &[("X-Forwarded-For", "192.0.2.2")], "").status, 200);
    phone.client = gw.client();
    let line = gw.says_no(&phone.get("/own/"), 429, "rate_limited", LIMITED, &[("retry-after", "30")]);
    assert_eq!(line["cause"], "a limit of the route was reached: limit_per_user");
    assert_eq!(line["app"], APP);
    assert_eq!([phone.get("/").status, gw.login("oBob").get("/own/").status], [200, 200]);
    assert_eq!(gw.login_to(OTHER_APP, "oAlice").get("/own/").status, 200, "in another app she is another user");
}

#[test]
fn a_user_over_the_limit_sends_no_body() {
    let gw = TestGateway::with(few);
    let mut alice = gw.login("oAlice");
    assert_eq!([alice.get("/own/").status, alice.get("/own/").status], [200, 200]);
    let bearer = format!("Bearer {}", alice.token);
    let head = client::head("POST", "/own/", &[("Authorization", &bearer)], 1_000_000);
    let reply = gw.client().send(head).reply();
    shows_no(&reply, 429, "rate_limited", LIMITED, &[("retry-after", "30"), CLOSE]);
    assert_eq!(gw.upstream.seen().len(), 2);
}

#[test]
fn who_may_not_pass_or_is_nobody_takes_nothing_from_a_user() {
    let gw = TestGateway::with(few);
    let mut alice = gw.login("oAlice");
    assert_eq!([(); 4].map(|()| gw.client().get("/maybe/").status), [200; 4], "the anonymous are not counted");
    assert_eq!([(); 4].map(|()| gw.client().get("/own/").status), [401; 4]);
    assert_eq!([(); 3].map(|()| alice.get("/own/").status), [200, 200, 429]);
    assert_eq!([(); 3].map(|()| alice.get("/maybe/").status), [200, 200, 429], "each route counts for itself");
}

/// Threats 13 (CVE-2024-45806) and 2.5 (CVE-2024-21500): a limit that counts by what the client says counts nothing.
#[test]
fn nobody_writes_himself_into_another_budget() {
    let gw = TestGateway::with(few);
    let said = ["192.0.2.1", "192.0.2.2", "127.0.0.1", "for=192.0.2.4"].map(|says| let_through(&gw, "/public/", says));
    assert_eq!(said, [3, 0, 0, 0], "a stranger's word");
    let gw = TestGateway::with(behind_a_proxy);
    let chain = ["9.9.9.9, 192.0.2.1", "192.0.2.1", "9.9.9.8, 192.0.2.1, 127.0.0.1", "192.0.2.2"];
    assert_eq!(
        chain.map(|says| let_through(&gw, "/public/", says)),
        [3, 0, 0, 3],
        "what stands before the proxy's word"
    );
}

#[test]
fn a_network_of_ipv6_is_one_address() {
    let gw = TestGateway::with(behind_a_proxy);
    let addresses = ["2001:db8::1", "2001:db8:0:0:ffff::9", "2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.1"];
    assert_eq!(addresses.map(|ip| let_through(&gw, "/public/", ip)), [3, 0, 3, 3, 0]);
    let gw = TestGateway::with(|config| {
        behind_a_proxy(config);
        config.limits.ipv6_prefix = 48;
    });
    assert_eq!(
        ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:1::1"].map(|ip| let_through(&gw, "/public/", ip)),
        [3, 0, 3]
    );
}

#[test]
fn many_at_once_get_no_more_than_one_after_the_other() {
    let gw = TestGateway::with(few);
    let clients: Vec<Client> = (0..20).map(|_| gw.client()).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> =
            clients.into_iter().map(|mut client| scope.spawn(move || client.get("/public/").status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3, "{statuses:?}");
}

/// Asks as a proxy does that holds a request of this client, to this path.
fn asked(gw: &TestGateway, path: &str, client: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let told = [
        ("X-Original-Method", "GET"),
        ("X-Original-URI", path),
        ("X-Original-Host", "api.example.com"),
        ("X-Forwarded-For", client),
        ("Authorization", &bearer),
    ];
    gw.client().request("GET", "/v1/authorize", &told, "")
}

#[test]
fn what_another_proxy_asks_about_counts_as_the_request_would() {
    let gw = TestGateway::with(behind_a_proxy);
    let mut alice = gw.login("oAlice");
    let statuses = [(); 3].map(|()| asked(&gw, "/few/", "192.0.2.1", &alice.token).status);
    assert_eq!(statuses, [200; 3]);
    let line =
        gw.says_no(&asked(&gw, "/few/", "192.0.2.1", ""), 429, "rate_limited", LIMITED, &[("retry-after", "20")]);
    assert_eq!((&line["endpoint"], &line["route"]), (&json!("authorize"), &json!("/few/")));
    assert_eq!(asked(&gw, "/few/", "192.0.2.2", &alice.token).status, 200, "clients are told apart, not proxies");
    assert_eq!(let_through(&gw, "/few/", "192.0.2.1"), 0, "it is one budget for both ways");

    assert_eq!([asked(&gw, "/own/", "192.0.2.3", &alice.token).status, alice.get("/own/").status], [200, 200]);
    let refused = asked(&gw, "/own/", "192.0.2.4", &alice.token);
    shows_no(&refused, 429, "rate_limited", LIMITED, &[("retry-after", "30")]);
    let identity = refused.headers.iter().find(|(name, _)| name.starts_with("x-wx-"));
    assert_eq!(identity, None, "a no says nothing of the caller");
}

#[test]
fn refusals_are_counted_by_route_and_limit() {
    let gw = TestGateway::with(few);
    let mut alice = gw.login("oAlice");
    assert_eq!(let_through(&gw, "/public/", ""), 3);
    assert_eq!([(); 3].map(|()| alice.get("/own/").status), [200, 200, 429]);
    for (route, limit, n) in [("/public/", "ip", 6), ("/public/", "user", 0), ("/own/", "user", 1), ("/", "ip", 0)] {
        let series = format!("wxgate_requests_limited_total{{route=\"{route}\",limit=\"{limit}\"}} {n}\n");
        until(&series, || gw.admin().get("/metrics").text().contains(&series).then_some(()));
    }
}

#[test]
fn what_an_upstream_calls_too_many_is_its_own() {
    let gw = TestGateway::with(few);
    gw.upstream.does(|_, out| answer(out, "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nbusy"));
    let replies: [Reply; 3] = [(); 3].map(|()| gw.client().get("/public/"));
    assert!(replies.iter().all(|reply| reply.status == 429 && reply.text() == "busy"), "{replies:?}");
    assert!(
        !gw.admin().get("/metrics").text().contains("wxgate_requests_limited_total{route=\"/public/\",limit=\"ip\"} 1")
    );
}
