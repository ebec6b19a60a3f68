//! What clients and operators hear while the store of sessions is away: never that a session is over.

use std::{sync::Arc, time::Duration};

use wxgate::{model::Clock, store::Store};

use crate::support::{Reply, TestGateway, User, client::head, scripted::Scripted, until};

const HOUR: Duration = Duration::from_hours(1);
const SENTENCE: &str = "Sessions can't be looked up at the moment.";

fn start(store: &Arc<Scripted>) -> TestGateway {
    let started = store.asked("recent answered");
    let gw = TestGateway::on(Some(Arc::clone(store) as Arc<dyn Store>), |_| {});
    until("memory to be filled", || (store.asked("recent answered") > started).then_some(()));
    gw
}

/// A gateway with nothing in memory, on a store that can go away; and a user with a session in that store.
fn gateway() -> (TestGateway, Arc<Scripted>, User) {
    let store = Scripted::own();
    let before = start(&store);
    let User { token, openid, .. } = before.login("oAlice");
    before.stop();
    let gw = start(&store);
    store.tell(|watcher| watcher.all_changed());
    let alice = User { client: gw.client(), token, openid };
    (gw, store, alice)
}

#[test]
fn a_session_outlives_a_restart() {
    let (gw, _, mut alice) = gateway();
    assert_eq!(alice.get("/orders").status, 200);
    assert_eq!(gw.upstream.last().header("x-wx-openid"), Some("oAlice"));
}

#[test]
fn while_the_store_is_away_nobody_is_anonymous_and_nobody_is_logged_out() {
    let (gw, store, mut cold) = gateway();
    let mut hot = gw.login("oBob");
    store.go_away();
    let says_no = |reply: &Reply| gw.says_no(reply, 503, "store_unavailable", SENTENCE, &[("retry-after", "1")]);
    for path in ["/orders", "/maybe/", "/v1/session"] {
        says_no(&cold.get(path));
    }
    assert_eq!(cold.get("/public/").status, 200, "where nobody is asked nobody is missed");
    assert_eq!(hot.get("/orders").status, 200, "who is in memory is not concerned");
    says_no(&gw.verify_code(&gw.code("oDave")));
    says_no(&hot.post("/v1/logout", r#"{"everywhere":true}"#));
    says_no(&hot.post("/v1/logout", ""));

    store.come_back();
    for user in [&mut hot, &mut cold] {
        assert_eq!(user.get("/orders").status, 200);
    }
    assert_eq!(gw.login("oDave").get("/orders").status, 200);
    assert_eq!(hot.post("/v1/logout", "").status, 204);
    assert_eq!(hot.get("/orders").status, 401);
}

#[test]
fn the_log_says_why_and_names_nobody() {
    let (gw, store, mut alice) = gateway();
    store.go_away();
    let id = alice.get("/orders").header("x-request-id").unwrap().to_owned();
    let line = gw.log.line(&id);
    let cause = "the session store did not answer: the session store is not available: the cable is cut";
    assert!(line.contains(cause), "{line}");
    for secret in [alice.token.as_str(), "oAlice"] {
        assert!(!line.contains(secret), "{line}");
    }
}

#[test]
fn it_is_not_ready_while_it_could_keep_no_login() {
    let (gw, store, _) = gateway();
    let mut admin = gw.admin();
    assert_eq!(admin.get("/readyz").status, 200);
    store.go_away();
    let reply = until("not ready", || Some(admin.get("/readyz")).filter(|reply| reply.status != 200));
    assert_eq!((reply.status, reply.text().as_str()), (503, "the session store is not available\n"));
    assert_eq!((admin.get("/healthz").status, admin.get("/metrics").status), (200, 200));
    store.come_back();
    until("ready", || (admin.get("/readyz").status == 200).then_some(()));
}

/// Nobody needs a token for it, and where sessions are in a file an answer is a trip to the disk.
#[test]
fn however_many_ask_whether_it_is_ready_the_store_is_asked_now_and_then() {
    let gw = TestGateway::start();
    let mut admin = gw.admin();
    for _ in 0..200 {
        assert_eq!(admin.get("/readyz").status, 200);
        // Who hangs up before the answer has asked for nothing more.
        gw.admin().send(head("GET", "/readyz", &[], 0));
    }
    let checks = "wxgate_store_operation_duration_seconds_count{operation=\"check\"} ";
    let page = admin.get("/metrics").text();
    let checks: u32 = page.lines().find_map(|line| line.strip_prefix(checks)).unwrap().parse().unwrap();
    assert!(checks < 50, "{checks}");
}

#[test]
fn the_last_uses_are_written_before_the_process_ends() {
    let (gw, store, mut alice) = gateway();
    gw.later(2 * HOUR);
    assert_eq!(alice.get("/orders").status, 200);
    let now = gw.clock.now();
    gw.stop();
    let written = store.written();
    assert!(written.iter().any(|seen| seen.user.openid.as_str() == "oAlice" && seen.at == now), "{written:?}");
}

#[test]
fn a_store_that_takes_no_last_uses_does_not_keep_the_process() {
    let (gw, store, mut alice) = gateway();
    gw.later(2 * HOUR);
    assert_eq!(alice.get("/orders").status, 200);
    store.go_away();
    gw.stop();
}

#[test]
fn uses_are_written_while_it_runs() {
    let (gw, store, mut alice) = gateway();
    gw.later(2 * HOUR);
    assert_eq!(alice.get("/orders").status, 200);
    let seen = until("a use to be written", || store.written().first().cloned());
    assert_eq!((seen.user.openid.as_str(), seen.at), ("oAlice", gw.clock.now()));
}
