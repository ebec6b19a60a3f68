//! What a changed configuration changes.

use std::time::Duration;

use serde_json::json;
use wxgate::{
    config::sections::{AuthRule, LogFormat, Rate, Route, Upstream},
    model::{AppId, AppSecret, Secret},
};

use super::{applied, gateway, metric};
use crate::support::{
    APP, Client, Recorder, TestGateway,
    client::head,
    endpoint,
    tls::{Authority, speak_tls},
    until,
};

#[test]
fn routes_come_and_go_and_ask_for_something_else() {
    let mut gw = gateway(|_| {});
    let mut client = gw.client();
    assert_eq!([client.get("/new/").status, client.get("/public/").status], [401, 200]);
    let change = gw.reload(|config| {
        config.routes.retain(|route| route.path != "/maybe/");
        config.routes.push(Route { auth: AuthRule::None, ..Route::new("/new/", "app") });
        config.routes[1].auth = AuthRule::Required;
    });
    assert_eq!(applied(&change), ["changed routes./public/.auth", "added routes./new/", "removed routes./maybe/"]);
    until("the new route", || (client.get("/new/").status == 200).then_some(()));
    assert_eq!([client.get("/public/").status, client.get("/maybe/").status], [401, 401]);
}

#[test]
fn another_server_takes_the_requests_of_an_upstream() {
    let mut gw = gateway(|_| {});
    let other = Recorder::start();
    assert_eq!(gw.client().get("/public/1").status, 200);
    let change = gw.reload(|config| config.upstreams[0].servers = vec![endpoint(other.addr()).into()]);
    assert_eq!(applied(&change), ["changed upstreams.app.servers"]);
    until("the other server", || {
        assert_eq!(gw.client().get("/public/2").status, 200);
        (other.count() > 0).then_some(())
    });
    let before = gw.upstream.count();
    assert_eq!(gw.client().get("/public/3").status, 200);
    assert_eq!(gw.upstream.count(), before);
    until("the end of the kept connection", || (gw.upstream.open() == 0).then_some(()));
    let listed = gw.admin().get("/metrics").text();
    assert!(listed.contains(&other.addr().to_string()) && !listed.contains(&gw.upstream.addr().to_string()));
}

#[test]
fn an_upstream_may_come_with_its_route() {
    let mut gw = gateway(|_| {});
    let other = Recorder::start();
    gw.reload(|config| {
        config.upstreams.insert(0, Upstream::new("other", vec![endpoint(other.addr())]));
        config.routes.push(Route { auth: AuthRule::None, ..Route::new("/other/", "other") });
    });
    until("the other upstream", || (gw.client().get("/other/").status == 200).then_some(()));
    assert_eq!((other.count(), gw.upstream.count()), (1, gw.upstream.count()));
    let before = gw.upstream.count();
    assert_eq!(gw.client().get("/public/").status, 200);
    assert_eq!((other.count(), gw.upstream.count()), (1, before + 1), "places have moved, and names count");
}

#[test]
fn apps_come_go_and_get_new_secrets() {
    let mut gw = gateway(|config| config.apps[0].secret = AppSecret::new("a secret of yesterday"));
    let verify = |gw: &TestGateway| gw.verify(&json!({ "jsCode": gw.code("oAlice"), "appId": APP })).status;
    assert_eq!(verify(&gw), 502);
    let right = AppSecret::new(crate::support::SECRET);
    let change = gw.reload(|config| config.apps[0].secret = right);
    assert_eq!(applied(&change), [format!("changed apps.{APP}.secret")]);
    until("a login", || (verify(&gw) == 200).then_some(()));
    let change = gw.reload(|config| config.apps[0].app_id = AppId::parse("wx0000000000000new").unwrap());
    assert_eq!(applied(&change), ["added apps.wx0000000000000new".to_owned(), format!("removed apps.{APP}")]);
    until("the app is gone", || (gw.verify_code(&gw.code("oAlice")).code() == "unknown_app").then_some(()));
}

#[test]
fn names_of_identity_headers_and_limits_change() {
    let mut gw = gateway(|_| {});
    let mut alice = gw.login("oAlice");
    let change = gw.reload(|config| {
        config.identity.openid = "x-user".parse().unwrap();
        config.routes[0].limit_per_user = Some(Rate { count: 2.try_into().unwrap(), per: Duration::from_mins(1) });
        config.server.max_body = 3;
    });
    let expected = ["changed server.max_body", "changed identity.openid", "changed routes./.limit_per_user"];
    assert_eq!(applied(&change), expected);
    until("the other name", || {
        assert_eq!(alice.get("/").status, 200);
        (gw.upstream.last().header("x-user") == Some("oAlice")).then_some(())
    });
    assert_eq!(alice.post("/", "four").status, 413);
    alice.client = gw.client();
    assert_eq!(alice.get("/").status, 429);
}

#[test]
fn a_proxy_that_is_trusted_no_more_is_a_stranger_on_its_open_connections() {
    let mut gw = gateway(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]);
    let mut proxy = gw.client();
    let id = "0123456789abcdef0123456789abcdef";
    let said = [("X-Request-Id", id), ("X-Forwarded-For", "192.0.2.1"), ("X-Original-URL", "/admin")];
    let mut says = || proxy.request("GET", "/public/", &said, "").header("x-request-id") == Some(id);
    assert!(says());
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    gw.reload(|config| config.server.trusted_proxies.clear());
    until("an id of ours", || (!says()).then_some(()));
    let seen = gw.upstream.last();
    assert_eq!((seen.header("x-forwarded-for"), seen.header("x-original-url")), (Some("127.0.0.1"), None));
    assert_eq!(proxy.request("GET", "/v1/authorize", &[("X-Original-URI", "/public/")], "").status, 403);
}

#[test]
fn a_proxy_that_is_new_on_the_list_is_believed_on_its_new_connections() {
    let mut gw = gateway(|_| {});
    let id = "0123456789abcdef0123456789abcdef";
    let said = [("X-Request-Id", id), ("X-Forwarded-For", "192.0.2.1")];
    let says = |proxy: &mut Client| proxy.request("GET", "/public/", &said, "").header("x-request-id") == Some(id);
    let original =
        [("X-Original-Method", "GET"), ("X-Original-URI", "/public/"), ("X-Forwarded-Host", "api.example.com")];
    let asks = |proxy: &mut Client| proxy.request("GET", "/v1/authorize", &original, "").status;
    let mut before = gw.client();
    assert!(!says(&mut before));
    gw.reload(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]);
    let mut after = until("an id of its own", || {
        let mut proxy = gw.client();
        says(&mut proxy).then_some(proxy)
    });
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(asks(&mut after), 200);
    assert!(!says(&mut before), "who was a stranger when it came stays one");
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asks(&mut before), 403);
}

#[test]
fn a_load_balancer_that_is_new_on_the_list_says_who_its_clients_are() {
    let mut gw = gateway(|config| {
        config.server.proxy_protocol = true;
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let request = head("GET", "/public/", &[("Connection", "close")], 0);
    let asks = |gw: &TestGateway| {
        gw.client().send("PROXY TCP4 203.0.113.7 10.0.0.1 5000 443\r\n").send(&request).try_reply("GET").ok()
    };
    assert!(asks(&gw).is_none());
    gw.reload(|config| config.server.trusted_proxies.push("127.0.0.1/32".parse().unwrap()));
    assert_eq!(until("an open door", || asks(&gw)).status, 200);
    assert_eq!(gw.upstream.last().header("x-forwarded-for"), Some("203.0.113.7"));
}

#[test]
fn operators_get_another_token() {
    let token = |text: &str| Some(Secret::new(text));
    let mut gw = gateway(|config| config.admin.token = token("the-token-of-yesterday"));
    let count = |gw: &TestGateway, token: &str| {
        let bearer = format!("Bearer {token}");
        gw.admin().request("GET", "/v1/sessions/count", &[("Authorization", &bearer)], "").status
    };
    assert_eq!(count(&gw, "the-token-of-yesterday"), 200);
    gw.reload(|config| config.admin.token = token("the-token-of-today"));
    until("the new token", || (count(&gw, "the-token-of-today") == 200).then_some(()));
    assert_eq!(count(&gw, "the-token-of-yesterday"), 401);
}

#[test]
fn what_needs_a_restart_waits_and_does_not_hold_up_the_rest() {
    let mut gw = gateway(|_| {});
    let change = gw.reload(|config| {
        config.server.workers = 7;
        config.server.max_header_bytes = 1024;
        config.sessions.per_user = 3;
        config.log.format = LogFormat::Text;
        config.api.prefix = "/auth".to_owned();
    });
    let waiting: Vec<&str> = change.waiting.iter().map(|difference| difference.key.as_str()).collect();
    assert_eq!(waiting, ["server.workers", "server.max_header_bytes", "log.format", "sessions.per_user"]);
    assert_eq!(applied(&change), ["changed api.prefix"]);
    until("the other prefix", || (gw.client().get("/auth/session").code() == "token_missing").then_some(()));
    // They wait for as long as nobody restarts it.
    let change = gw.reload(|config| config.log.access = false);
    assert_eq!((change.waiting.len(), applied(&change)), (4, vec!["changed log.access".to_owned()]));
    assert_eq!(metric(&gw, "wxgate_config_last_reload_successful"), Some(1));
}

#[test]
fn the_same_again_is_no_change() {
    let mut gw = gateway(|_| {});
    let change = gw.reload(|config| {
        config.routes.reverse();
        config.apps.reverse();
    });
    assert!(change.is_empty() && change.waiting.is_empty(), "{change:?}");
}

#[test]
fn another_list_of_certificates_is_shown() {
    let ca = Authority::new();
    let mut gw = TestGateway::with(|config| _ = speak_tls(config, vec![ca.files("old", &["old.example"])]));
    let is_shown = |gw: &TestGateway, name: &str| ca.dialler().try_dial(gw.addr(), name).is_ok();
    let mut before = ca.dialler().dial(gw.addr(), "old.example");
    assert_eq!(before.get("/public/").status, 200);
    let change = gw.reload(|config| _ = speak_tls(config, vec![ca.files("new", &["new.example"])]));
    assert_eq!(applied(&change), ["changed server.tls.certificates"]);
    assert!(is_shown(&gw, "new.example") && !is_shown(&gw, "old.example"));
    assert_eq!(before.get("/public/").status, 200);
}
