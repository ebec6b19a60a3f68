//! What a changed configuration leaves alone.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use wxgate::{
    config::sections::{AuthRule, Rate, Route, ServerAddress, Upstream},
    simulator::Fault,
};

use super::{gateway, metric};
use crate::support::{
    Client, Recorder, TestGateway,
    client::head,
    endpoint,
    http2::{DATA, END_STREAM, GET, HEADERS, Http2, POST},
    http2_server::Http2Server,
    until,
    upstream::answer,
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Changes nothing but that there is one route more, and waits until it is there.
fn reload_in_passing(gw: &mut TestGateway, path: &str) {
    gw.reload(|config| config.routes.push(Route { auth: AuthRule::None, ..Route::new(path, "app") }));
    until("the route", || (gw.client().get(path).status == 200).then_some(()));
}

/// From now on a request to `/public/long` is answered when somebody says so.
fn hold_the_long_one(upstream: &Recorder) -> mpsc::Sender<()> {
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Mutex::new(finished);
    upstream.does(move |seen, out| {
        if seen.target == "/public/long" {
            finished.lock().unwrap().recv().unwrap();
        }
        answer(out, OK)
    });
    finish
}

#[test]
fn connections_of_clients_and_to_an_upstream_that_has_not_changed_go_on() {
    let mut gw = gateway(|_| {});
    let mut client = gw.client();
    assert_eq!(client.get("/public/1").status, 200);
    for path in ["/n1/", "/n2/", "/n3/"] {
        gw.reload(|config| config.routes.push(Route { auth: AuthRule::None, ..Route::new(path, "app") }));
        until("the route", || (client.get(path).status == 200).then_some(()));
    }
    assert_eq!(gw.upstream.connections(), 1, "the one that was made at first");
    assert_eq!(metric(&gw, "wxgate_connections_accepted_total"), Some(1));
}

#[test]
fn a_client_over_http2_goes_on_with_what_is_under_way_and_is_not_told_to_go() {
    let mut gw = gateway(|config| config.server.http2.prior_knowledge = true);
    let mut client = Http2::over(gw.client());
    let slow = client.open(&POST, false);
    client.frame(DATA, 0, slow, b"hel");
    for path in ["/n1/", "/n2/", "/n3/"] {
        gw.reload(|config| config.routes.push(Route { auth: AuthRule::None, ..Route::new(path, "app") }));
        let get = [&GET[..3], &[(":path", path)]].concat();
        until("the route", || (client.ask(&get).verdict() == "200").then_some(()));
    }
    client.frame(DATA, END_STREAM, slow, b"lo");
    assert_eq!(client.outcome(slow).verdict(), "200");
    assert_eq!(&gw.upstream.last().body[..], b"hello");
    assert!(!client.told_to_go);
    assert_eq!(metric(&gw, "wxgate_connections_accepted_total"), Some(1));
}

/// The server answers its first request behind the fourth.
#[test]
fn a_connection_over_http2_to_an_upstream_that_has_not_changed_is_shared_as_before() {
    let server = Http2Server::start(&[], |talk, frame| match (frame.kind, frame.stream) {
        (HEADERS, 1) if talk.nth == 0 => Ok(()),
        (HEADERS, 7) => talk.answer(7, "ok").and_then(|()| talk.answer(1, "long")),
        (HEADERS, stream) => talk.answer(stream, "ok"),
        _ => Ok(()),
    });
    let mut gw =
        gateway(|config| config.upstreams[0].servers = vec![ServerAddress::ClearHttp2(endpoint(server.addr())).into()]);
    let (mut long, mut client, elsewhere) = (gw.client(), gw.client(), endpoint(gw.upstream.addr()));
    long.send(head("GET", "/public/long", &[], 0));
    server.wait_for(HEADERS, 1);
    for path in ["/n1/", "/n2/", "/n3/"] {
        gw.reload(|config| {
            config.upstreams.insert(0, Upstream::new(path, vec![elsewhere.clone()]));
            config.routes.push(Route { auth: AuthRule::None, ..Route::new(path, "app") });
        });
        until("the route", || (client.get(path).status == 200).then_some(()));
    }
    assert_eq!(server.places(), [0; 4], "all on the connection that was made at first");
    assert_eq!(long.reply().text(), "long");
}

#[test]
fn a_request_under_way_ends_with_the_server_it_began_with() {
    let mut gw = gateway(|_| {});
    let finish = hold_the_long_one(&gw.upstream);
    let mut long = gw.client();
    long.send(head("GET", "/public/long", &[], 0));
    gw.upstream.wait_for(1);
    let other = Recorder::start();
    gw.reload(|config| {
        config.routes.retain(|route| route.path != "/public/");
        config.routes.push(Route { auth: AuthRule::None, ..Route::new("/new/", "app") });
        config.upstreams[0].servers = vec![endpoint(other.addr()).into()];
    });
    until("the other server", || (gw.client().get("/new/").status == 200).then_some(()));
    finish.send(()).unwrap();
    assert_eq!(long.reply().text(), "ok");
    assert_eq!(long.get("/public/").status, 401, "the next one on the connection is for the routes there are");
    until("the end of its connection", || (gw.upstream.open() == 0).then_some(()));
}

#[test]
fn an_answer_that_is_on_its_way_is_finished() {
    let mut gw = gateway(|_| {});
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Mutex::new(finished);
    gw.upstream.does(move |seen, out| {
        if seen.target != "/public/long" {
            return answer(out, OK);
        }
        answer(&mut *out, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none");
        finished.lock().unwrap().recv().unwrap();
        answer(out, "two")
    });
    let mut client = gw.client();
    client.send(head("GET", "/public/long", &[], 0));
    gw.upstream.wait_for(1);
    let other = Recorder::start();
    for _ in 0..3 {
        gw.reload(|config| config.upstreams[0].servers = vec![endpoint(other.addr()).into()]);
        until("the other server", || (gw.client().get("/public/").status == 200 && other.count() > 0).then_some(()));
    }
    finish.send(()).unwrap();
    assert_eq!(client.reply().text(), "onetwo");
    gw.log.line("\"bytes\":6");
}

#[test]
fn what_ends_after_a_reload_is_written_down_and_let_go_while_another_goes_on() {
    let mut gw = gateway(|config| config.upstreams[0].idle_timeout = Duration::from_millis(300));
    let (finish, finished) = mpsc::channel::<()>();
    let finished = Mutex::new(finished);
    gw.upstream.does(move |_, out| {
        answer(&mut *out, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none");
        finished.lock().unwrap().recv().unwrap();
        answer(out, "two")
    });
    let (mut first, mut second) = (gw.client(), gw.client());
    for client in [&mut first, &mut second] {
        client.send(head("GET", "/public/long", &[], 0)).head_only();
    }
    gw.upstream.does(|_, out| answer(out, OK));
    gw.reload(|config| config.upstreams[0].max_idle = 7);
    reload_in_passing(&mut gw, "/new/");
    finish.send(()).unwrap();
    gw.log.line("\"bytes\":6");
    until("the end of its connection", || (gw.upstream.open() == 1).then_some(()));
    finish.send(()).unwrap();
    assert_eq!([first.some(6), second.some(6)], [b"onetwo", b"onetwo"]);
}

#[test]
fn who_waits_for_a_connection_of_an_upstream_that_changes_gets_it() {
    let mut gw = gateway(|config| {
        config.upstreams[0].max_connections = 1;
        config.upstreams[0].connect_timeout = Duration::from_secs(30);
    });
    let finish = hold_the_long_one(&gw.upstream);
    let mut long = gw.client();
    long.send(head("GET", "/public/long", &[], 0));
    gw.upstream.wait_for(1);
    let mut waiting = gw.client();
    waiting.send(head("GET", "/public/waits", &[], 0));
    assert!(waiting.stays_silent(Duration::from_millis(50)));
    let other = Recorder::start();
    gw.reload(|config| {
        config.upstreams[0].servers = vec![endpoint(other.addr()).into()];
        config.routes.push(Route { auth: AuthRule::None, ..Route::new("/new/", "app") });
    });
    until("the other server", || (gw.client().get("/new/").status == 200).then_some(()));
    finish.send(()).unwrap();
    assert_eq!((long.reply().text(), waiting.reply().text()), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(gw.upstream.count(), 2);
}

#[test]
fn a_budget_is_not_whole_again_after_a_reload() {
    let mut gw = gateway(|config| {
        config.routes[2].limit_per_ip = Some(Rate { count: 2.try_into().unwrap(), per: Duration::from_mins(1) });
        config.limits.verify_per_ip = Rate { count: 1.try_into().unwrap(), per: Duration::from_mins(1) };
    });
    let statuses = |gw: &TestGateway| [(); 3].map(|()| gw.client().get("/public/").status);
    assert_eq!(statuses(&gw), [200, 200, 429]);
    gw.login("oAlice");
    reload_in_passing(&mut gw, "/new/");
    assert_eq!(statuses(&gw), [429, 429, 429]);
    assert_eq!(gw.verify_code(&gw.code("oAlice")).status, 429);
    gw.reload(|config| config.upstreams[0].max_idle = 7);
    assert_eq!(statuses(&gw), [429, 429, 429]);
}

#[test]
fn what_was_counted_is_still_counted() {
    let mut gw = gateway(|_| {});
    let counted = |gw: &TestGateway, route: &str| {
        metric(gw, &format!("wxgate_requests_total{{route=\"{route}\",status=\"2xx\"}}")).unwrap_or_default()
    };
    assert_eq!(gw.client().get("/public/").status, 200);
    assert_eq!(gw.client().get("/maybe/").status, 200);
    until("two counted", || (counted(&gw, "/public/") + counted(&gw, "/maybe/") == 2).then_some(()));
    gw.reload(|config| {
        config.routes.remove(1);
        config.routes.insert(0, Route { auth: AuthRule::None, ..Route::new("/new/", "app") });
    });
    until("the route", || (gw.client().get("/new/").status == 200).then_some(()));
    assert_eq!(gw.client().get("/public/").status, 200);
    until("one more", || (counted(&gw, "/public/") == 2).then_some(()));
    assert_eq!((counted(&gw, "/maybe/"), counted(&gw, "/new/")), (1, 1));
    gw.log.line("\"route\":\"/new/\"");
}

#[test]
fn users_stay_logged_in_and_a_code_sent_again_is_still_one_login() {
    let mut gw = gateway(|_| {});
    let mut alice = gw.login("oAlice");
    let code = gw.code("oBob");
    let first = gw.verify_code(&code).json();
    gw.reload(|config| {
        config.wechat.timeout += Duration::from_secs(1);
        config.routes.push(Route { auth: AuthRule::None, ..Route::new("/new/", "app") });
    });
    until("the route", || (gw.client().get("/new/").status == 200).then_some(()));
    assert_eq!(alice.get("/orders").status, 200);
    assert_eq!(gw.verify_code(&code).json()["token"], first["token"]);
    assert_eq!(gw.wechat.calls(&code), 1);
}

#[test]
fn a_login_that_waits_for_wechat_gets_its_answer() {
    let mut gw = gateway(|_| {});
    let code = gw.code("oAlice");
    gw.wechat.next_fault(Fault::Hang);
    let mut client = gw.client();
    let body = serde_json::json!({ "jsCode": code, "appId": crate::support::APP }).to_string();
    client.send(head("POST", "/v1/verify", &[], body.len()) + &body);
    gw.until_hanging(1);
    gw.reload(|config| {
        config.wechat.timeout += Duration::from_secs(1);
        config.routes.push(Route { auth: AuthRule::None, ..Route::new("/new/", "app") });
    });
    until("the route", || (gw.client().get("/new/").status == 200).then_some(()));
    gw.wechat.release();
    assert_eq!(client.reply().status, 200);
}

#[test]
fn under_load_not_one_request_fails_while_the_configuration_changes() {
    const CLIENTS: usize = 8;
    let mut gw = TestGateway::with(|config| config.server.workers = 2);
    let backends = [Recorder::start(), Recorder::start()];
    let (addr, over, answered) = (gw.addr(), AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let mut connection = Client::connect(addr);
                while !over.load(Ordering::Relaxed) {
                    assert_eq!(connection.post("/public/", "body").status, 200, "client {client}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for turn in 0..60 {
            let before = answered.load(Ordering::Relaxed);
            gw.reload(|config| {
                config.upstreams[0].servers = vec![endpoint(backends[turn % 2].addr()).into()];
                config.routes[1].path = format!("/maybe/{turn}/");
            });
            until("requests", || (answered.load(Ordering::Relaxed) >= before + CLIENTS).then_some(()));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(backends.iter().all(|backend| backend.count() > 0));
    assert_eq!(metric(&gw, "wxgate_connections_accepted_total"), Some(CLIENTS as u64));
    let served = metric(&gw, "wxgate_requests_total{route=\"/public/\",status=\"2xx\"}");
    assert_eq!(served, Some(answered.load(Ordering::Relaxed) as u64), "each counted, under whichever configuration");
}

#[test]
fn a_hundred_reloads_leave_no_task_behind() {
    let mut gw = gateway(|config| config.upstreams[0].health.path = Some("/health".to_owned()));
    let settled = |gw: &TestGateway| {
        assert_eq!(gw.client().get("/public/").status, 200);
        gw.app().tasks()
    };
    let before = settled(&gw);
    let mut client = gw.client();
    for turn in 0..100 {
        let path = format!("/n{turn}/");
        gw.reload(|config| {
            config.upstreams[0].max_idle += 1;
            config.limits.verify_in_flight += 1;
            config.routes[1].path.clone_from(&path);
        });
        until("the route", || (client.get(&path).status == 200).then_some(()));
    }
    drop(client);
    until("no more tasks than there were", || (settled(&gw) <= before).then_some(()));
}
