//! Every call names its app, where other SDKs had an app of the moment and took one for the other: two apps at once never mix.

use std::time::Duration;

use serde_json::{Value, json};
use wxgate::{
    config::sections::Rate,
    simulator::{Fault, Options, Simulator},
};

use super::{known_as, signed, some};
use crate::support::{APP, OTHER_APP, OTHER_SECRET, TestGateway, User};

const CODE: &str = "one code for both";
const OPENID: &str = "oTheSameInBoth";

/// Two apps, each with a platform of its own, where the same code stands for the same openid.
struct Both {
    gw: TestGateway,
    other: Simulator,
}

fn both() -> Both {
    let other = Simulator::start(Options::on_free_port().with_app(OTHER_APP, OTHER_SECRET)).unwrap();
    let gw = TestGateway::with(|config| {
        config.apps[1].api_base = other.api_base().parse().unwrap();
        config.routes[0].limit_per_user = Some(Rate { count: 3.try_into().unwrap(), per: Duration::from_mins(1) });
    });
    Both { gw, other }
}

impl Both {
    fn knows(&self, code: &str) {
        self.gw.wechat.knows(code, APP, OPENID);
        self.other.knows(code, OTHER_APP, OPENID);
    }

    fn until_both_hang(&self) {
        self.gw.until_hanging(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.other.until_hanging(1));
    }

    fn login(&self, app: &str, code: &str) -> User {
        let reply = self.gw.verify(&json!({ "jsCode": code, "appId": app }));
        assert_eq!(reply.status, 200, "{reply:?}");
        let token = reply.json()["token"].as_str().unwrap().to_owned();
        User { client: self.gw.client(), token, openid: OPENID.to_owned() }
    }

    /// Both logins at once, each answered while the other hangs.
    fn log_in_at_once(&self, code: &str) -> [User; 2] {
        self.gw.wechat.next_fault(Fault::Hang);
        self.other.next_fault(Fault::Hang);
        std::thread::scope(|scope| {
            let logins = [APP, OTHER_APP].map(|app| scope.spawn(move || self.login(app, code)));
            self.until_both_hang();
            self.other.release();
            self.gw.wechat.release();
            logins.map(|login| login.join().unwrap())
        })
    }
}

#[test]
fn two_apps_that_log_in_at_once_with_one_code_and_one_openid_never_mix() {
    let both = both();
    let gw = &both.gw;
    for round in 0..8 {
        let code = format!("{CODE} {round}");
        both.knows(&code);
        let [mut one, mut two] = both.log_in_at_once(&code);
        assert_ne!(one.token, two.token, "each app has a flight of its own");
        assert_eq!((gw.wechat.calls(&code), both.other.calls(&code)), (1, 1));
        assert_eq!(known_as(gw, &mut one), some([OPENID, APP, "", "wx_client"]));
        assert_eq!(known_as(gw, &mut two), some([OPENID, OTHER_APP, "", "wx_client"]));
        gw.later(Duration::from_mins(2));
    }
    assert_eq!(gw.app().counters().logins_replayed.get(), 0);
}

#[test]
fn the_keys_of_two_apps_never_mix() {
    let both = both();
    both.knows(CODE);
    let [mut one, mut two] = both.log_in_at_once(CODE);
    let info = json!({ "nickName": "Band" });
    let of_one = signed(&both.gw.wechat.user_data(APP, OPENID, &info).unwrap());
    let of_two = signed(&both.other.user_data(OTHER_APP, OPENID, &info).unwrap());
    let put = |user: &mut User, told: &Value| user.put("/v1/profile", told).status;
    assert_eq!([put(&mut one, &of_two), put(&mut two, &of_one)], [409, 409]);
    assert_eq!([put(&mut one, &of_one), put(&mut two, &of_two)], [200, 200]);
    assert_eq!(one.put("/v1/profile", &json!({ "city": "here" })).status, 200);
    assert_eq!(two.get("/v1/profile").json().get("city"), None);
}

#[test]
fn the_limits_of_two_apps_never_mix_and_neither_do_their_log_outs() {
    let both = both();
    both.knows(CODE);
    let [mut one, mut two] = both.log_in_at_once(CODE);
    let statuses: Vec<u16> = (0..4).map(|_| one.get("/orders").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429]);
    assert_eq!(two.get("/orders").status, 200);
    assert_eq!(one.post("/v1/logout", r#"{"everywhere": true}"#).status, 204);
    assert_eq!([one.get("/v1/session").status, two.get("/v1/session").status], [401, 200]);
}
