//! What WeChat, or Douyin in its place, knows and decides when a code is exchanged: apps, users, codes and the quota; which key
//! each user has from that; and whose access tokens are good. No HTTP in here.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Map, Value, json};

use super::{
    apps::{Apps, Registry},
    errmsg,
    key_check::KeyCheck,
    phone_codes::{Number, PhoneCodes},
    tokens::{TokenCall, Tokens},
    user_data::{self, UserData, Whose},
};
use crate::model::{Clock, Entropy, EntropyError, Timestamp};

/// A user as an exchange tells of them. Nothing is checked: a test may want an openid that no header can carry.
#[derive(Clone)]
pub(super) struct User {
    pub(super) app: String,
    pub(super) openid: String,
    pub(super) unionid: Option<String>,
}

/// The four parameters of an exchange; absent and empty are the same, as they are to WeChat.
#[derive(Default)]
pub(super) struct Call {
    app: String,
    secret: String,
    code: String,
    grant_type: String,
}

/// The JSON object of an answer, open to a fault's hand.
pub(super) type Answer = Map<String, Value>;

/// The state of the service.
pub(super) struct WeChat {
    pub(super) apps: Registry,
    code_lifetime: Duration,
    minute_quota: u32,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
}

struct State {
    codes: HashMap<String, Code>,
    phone_codes: PhoneCodes,
    tokens: Tokens,
    blocked: HashSet<String>,
    minute: Minute,
    /// The key of each user's newest login, or of a reset since, by app and openid.
    keys: HashMap<(String, String), [u8; 16]>,
    sweep_at: usize,
}

struct Code {
    user: User,
    made: Timestamp,
    burnt: bool,
}

/// Exchanges per (app, openid) within one minute of the clock.
#[derive(Default)]
struct Minute {
    number: u64,
    exchanges: HashMap<(String, String), u32>,
}

/// Users whose keys are known; one more, and all others have to log in again before anything is signed for them.
const KNOWN_KEYS: usize = 100_000;

/// Below so many codes nobody looks for expired ones.
const SWEEP_FROM: usize = 10_000;

impl Call {
    /// Reads the query string of the request.
    pub(super) fn parse(query: &str) -> Self {
        let mut call = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "appid" => call.app = value.into_owned(),
                "secret" => call.secret = value.into_owned(),
                "js_code" => call.code = value.into_owned(),
                "grant_type" => call.grant_type = value.into_owned(),
                _ => {}
            }
        }
        call
    }

    /// Reads the body of the same call to Douyin.
    pub(super) fn parse_json(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (app, secret, code) = (text("appid"), text("secret"), text("code"));
        Self { app, secret, code, grant_type: "authorization_code".to_owned() }
    }

    /// Which app asks.
    pub(super) fn app(&self) -> &str {
        &self.app
    }

    /// The login code.
    pub(super) fn code(&self) -> &str {
        &self.code
    }
}

impl WeChat {
    /// A service that nobody has logged in to yet. A `minute_quota` of 0 is no limit.
    pub(super) fn new(
        apps: Apps,
        code_lifetime: Duration,
        minute_quota: u32,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { apps: Registry::new(apps), code_lifetime, minute_quota, clock, entropy, state: Mutex::new(State::new()) }
    }

    /// What `wx.login` does: from now on `code` stands for `user`.
    pub(super) fn learn(&self, code: &str, user: User) {
        let now = self.clock.now();
        let mut state = self.state();
        state.sweep(now, self.code_lifetime);
        state.codes.insert(code.to_owned(), Code { user, made: now, burnt: false });
    }

    /// A code of the shape WeChat's have: 32 characters of the URL-safe Base64 alphabet.
    pub(super) fn new_code(&self) -> Result<String, EntropyError> {
        let mut bytes = [0; 24];
        self.entropy.fill(&mut bytes)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a tap on the phone button does.
    pub(super) fn learn_phone(&self, code: &str, app: &str, number: Number) {
        self.state().phone_codes.learn(code, app, number, self.clock.now(), self.code_lifetime);
    }

    /// A code of the shape those of the phone button have: 64 hexadecimal digits.
    pub(super) fn new_phone_code(&self) -> Result<String, EntropyError> {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .filter_map(|n| char::from_digit(n.into(), 16))
            .collect())
    }

    /// Ends all access tokens of an app, as it happens when somebody asks for one by force.
    pub(super) fn replace_tokens(&self, app: &str) {
        self.state().tokens.replace(app);
    }

    /// Blocks the user as high risk, or lets them in again.
    pub(super) fn block(&self, openid: &str, blocked: bool) {
        let mut state = self.state();
        if blocked {
            state.blocked.insert(openid.to_owned());
        } else {
            state.blocked.remove(openid);
        }
    }

    /// Forgets codes, blocked users and what the quota has counted.
    pub(super) fn forget_everything(&self) {
        *self.state() = State::new();
    }

    /// Answers an exchange. A code that was looked at is burnt, whatever came of it, unless `burns_code` is false.
    pub(super) fn exchange(&self, call: &Call, burns_code: bool) -> Answer {
        match self.look_up(call, burns_code) {
            Ok(user) => self.session_of(user),
            Err(errcode) => self.refusal(errcode, None),
        }
    }

    /// Answers who asks for an access token.
    pub(super) fn give_token(&self, call: &TokenCall) -> Answer {
        match self.token_of(call) {
            Ok((token, expires_in)) => object(json!({ "access_token": token, "expires_in": expires_in })),
            Err(errcode) => self.refusal(errcode, None),
        }
    }

    /// Answers who asks for a phone number.
    pub(super) fn phone_number(&self, token: &str, code: &str, burns_code: bool) -> Answer {
        let now = self.clock.now();
        let mut state = self.state();
        let State { tokens, phone_codes, .. } = &mut *state;
        let spent =
            tokens.app_of(token, now).and_then(|app| phone_codes.spend(code, app, now, self.code_lifetime, burns_code));
        match spent {
            Ok(info) => object(json!({ "errcode": 0, "errmsg": "ok", "phone_info": info })),
            Err(errcode) => self.refusal(errcode, None),
        }
    }

    /// Answers who asks whether a key is the user's.
    pub(super) fn check_session(&self, check: &KeyCheck) -> Answer {
        match self.state().signed_for(check, self.clock.now()) {
            Ok(_) => object(json!({ "errcode": 0, "errmsg": "ok" })),
            Err(errcode) => self.refusal(errcode, None),
        }
    }

    /// Answers who wants another key for a user: the one that signed is worth nothing from then on, unless `ends_old` is false.
    pub(super) fn reset_session(&self, check: &KeyCheck, ends_old: bool) -> Answer {
        let mut new = [0; 16];
        if self.entropy.fill(&mut new).is_err() {
            return self.refusal(-1, None);
        }
        match self.state().signed_for(check, self.clock.now()) {
            Ok(key) if ends_old => *key = new,
            Ok(_) => {}
            Err(errcode) => return self.refusal(errcode, None),
        }
        let key = STANDARD.encode(new);
        object(json!({ "errcode": 0, "errmsg": "ok", "openid": check.openid, "session_key": key }))
    }

    fn token_of(&self, call: &TokenCall) -> Result<(String, u64), i64> {
        call.complete()?;
        self.apps.accept(&call.appid, &call.secret)?;
        let mut bytes = [0; 102];
        self.entropy.fill(&mut bytes).map_err(|_| -1_i64)?;
        let fresh = format!("98_{}", URL_SAFE_NO_PAD.encode(bytes));
        let (now, tokens) = (self.clock.now(), &mut self.state().tokens);
        Ok(if call.plain {
            tokens.renew(&call.appid, now, fresh)
        } else {
            tokens.give(&call.appid, now, call.force_refresh, fresh)
        })
    }

    /// The body of a failure, with WeChat's usual words where `errmsg` brings none.
    pub(super) fn refusal(&self, errcode: i64, errmsg: Option<&str>) -> Answer {
        let text = errmsg.unwrap_or_else(|| errmsg::usual(errcode));
        object(json!({ "errcode": errcode, "errmsg": format!("{text}, rid: {}", self.rid()) }))
    }

    /// Finds out whose code this is, or the errcode that says why not.
    fn look_up(&self, call: &Call, burns_code: bool) -> Result<User, i64> {
        call.complete()?;
        let trusted = self.apps.accept(&call.app, &call.secret);
        let burns_code = burns_code && !(trusted.is_err() && self.apps.spares_codes());
        let now = self.clock.now();
        let mut state = self.state();
        let State { codes, blocked, minute, .. } = &mut *state;

        let Some(code) = codes.get_mut(&call.code) else {
            return trusted.and(Err(40029));
        };
        let was_burnt = code.burnt;
        // Too many at once is turned away at the door; everything past this line has looked at the code.
        if !minute.admits(&code.user, now, self.minute_quota) {
            return Err(45011);
        }
        code.burnt |= burns_code;
        trusted?;
        if now.since(code.made) >= self.code_lifetime || code.user.app != call.app {
            return Err(40029);
        }
        if was_burnt {
            return Err(40163);
        }
        if blocked.contains(&code.user.openid) {
            return Err(40226);
        }
        Ok(code.user.clone())
    }

    fn session_of(&self, user: User) -> Answer {
        let mut key = [0; 16];
        if self.entropy.fill(&mut key).is_err() {
            return self.refusal(-1, None);
        }
        self.state().know(&user, key);
        let mut answer = object(json!({ "session_key": STANDARD.encode(key), "openid": user.openid }));
        if let Some(unionid) = user.unionid {
            answer.insert("unionid".to_owned(), unionid.into());
        }
        answer
    }

    /// What a client gets to tell of its user, who has logged in. `None` is one who has not, or whose key is forgotten.
    pub(super) fn user_data(&self, app: &str, openid: &str, info: &Value) -> Option<UserData> {
        let key = *self.state().keys.get(&(app.to_owned(), openid.to_owned()))?;
        let mut iv = [0; 16];
        self.entropy.fill(&mut iv).ok()?;
        let whose = Whose { app, openid, now: self.clock.now().as_secs() };
        user_data::make(info, &whose, key, iv).ok()
    }

    /// The trace id WeChat appends to each error message: seconds, then two words that look random.
    fn rid(&self) -> String {
        let mut words = [0; 8];
        // A trace id opens nothing; zeros serve when the generator fails.
        let _ = self.entropy.fill(&mut words);
        let word = u64::from_be_bytes(words);
        let seconds = self.clock.now().as_secs() & 0xffff_ffff;
        format!("{seconds:08x}-{:08x}-{:08x}", word >> 32, word & 0xffff_ffff)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    fn complete(&self) -> Result<(), i64> {
        let missing = [(&self.app, 41002), (&self.secret, 41004), (&self.code, 41008)];
        if let Some((_, errcode)) = missing.iter().find(|(value, _)| value.is_empty()) {
            return Err(*errcode);
        }
        if self.grant_type == "authorization_code" { Ok(()) } else { Err(40002) }
    }
}

impl State {
    fn new() -> Self {
        Self {
            codes: HashMap::new(),
            phone_codes: PhoneCodes::default(),
            tokens: Tokens::default(),
            blocked: HashSet::new(),
            minute: Minute::default(),
            keys: HashMap::new(),
            sweep_at: SWEEP_FROM,
        }
    }

    /// The key of the user whom a call is about, if it was signed with it.
    fn signed_for(&mut self, check: &KeyCheck, now: Timestamp) -> Result<&mut [u8; 16], i64> {
        let app = self.tokens.app_of(&check.token, now)?;
        let key = self.keys.get_mut(&(app.to_owned(), check.openid.clone())).ok_or(40003)?;
        check.verdict(&STANDARD.encode(*key)).map(|()| key)
    }

    /// From now on this key is the only one of the user.
    fn know(&mut self, user: &User, key: [u8; 16]) {
        if self.keys.len() >= KNOWN_KEYS {
            self.keys.clear();
        }
        self.keys.insert((user.app.clone(), user.openid.clone()), key);
    }

    /// Keeps the memory of codes bounded by the rate they are made at. Doubling makes it cheap on average.
    fn sweep(&mut self, now: Timestamp, lifetime: Duration) {
        if self.codes.len() >= self.sweep_at {
            self.codes.retain(|_, code| now.since(code.made) < lifetime);
            self.sweep_at = SWEEP_FROM.max(self.codes.len() * 2);
        }
    }
}

impl Minute {
    fn admits(&mut self, user: &User, now: Timestamp, quota: u32) -> bool {
        let number = now.as_secs() / 60;
        if self.number != number {
            *self = Self { number, exchanges: HashMap::new() };
        }
        let made = self.exchanges.entry((user.app.clone(), user.openid.clone())).or_default();
        *made = made.saturating_add(1);
        quota == 0 || *made <= quota
    }
}

fn object(value: Value) -> Answer {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{AppSecret, ManualClock, SystemEntropy},
        simulator::key_check::signature,
    };

    const APP: &str = "wx4f4bc4dec97d474b";
    const OTHER_APP: &str = "wx0000000000000002";
    const MINUTE: Duration = Duration::from_mins(1);

    struct World {
        clock: Arc<ManualClock>,
        wechat: WeChat,
    }

    fn world() -> World {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_800_000_000_000)));
        let apps = HashMap::from([(APP, "s1"), (OTHER_APP, "s2")]);
        let apps = apps.into_iter().map(|(app, secret)| (app.to_owned(), AppSecret::new(secret))).collect();
        let wechat = WeChat::new(Apps::Known(apps), 5 * MINUTE, 3, clock.clone(), Arc::new(SystemEntropy));
        World { clock, wechat }
    }

    impl World {
        fn learn(&self, code: &str, openid: &str) {
            let user = User { app: APP.to_owned(), openid: openid.to_owned(), unionid: None };
            self.wechat.learn(code, user);
        }

        fn ask(&self, query: &str) -> Answer {
            self.wechat.exchange(&Call::parse(query), true)
        }

        fn log_in(&self, code: &str) -> Answer {
            self.ask(&format!("appid={APP}&secret=s1&js_code={code}&grant_type=authorization_code"))
        }

        fn errcode_of(&self, query: &str) -> i64 {
            self.ask(query)["errcode"].as_i64().unwrap()
        }
    }

    #[test]
    fn a_code_works_once() {
        let world = world();
        world.learn("c", "oAlice");
        let first = world.log_in("c");
        assert_eq!(first["openid"], "oAlice");
        assert_eq!(first.get("errcode"), None, "a success carries no errcode");
        assert_eq!(first.get("unionid"), None, "this user has none");
        assert_eq!(world.log_in("c")["errcode"], 40163);
    }

    #[test]
    fn each_login_gets_a_session_key_of_its_own() {
        let world = world();
        world.learn("c1", "oAlice");
        world.learn("c2", "oAlice");
        let keys = ["c1", "c2"].map(|code| world.log_in(code)["session_key"].as_str().unwrap().to_owned());
        assert_eq!(STANDARD.decode(&keys[0]).unwrap().len(), 16);
        assert_eq!(keys[0].len(), 24);
        assert_ne!(keys[0], keys[1]);
    }

    #[test]
    fn what_is_told_of_a_user_is_signed_with_the_key_of_the_newest_login() {
        let world = world();
        let data = |openid| world.wechat.user_data(APP, openid, &user_data::nobody());
        assert!(data("oAlice").is_none(), "nobody has logged in");
        let mut signatures = HashSet::new();
        for code in ["c1", "c2"] {
            world.learn(code, "oAlice");
            world.log_in(code);
            signatures.insert(data("oAlice").unwrap().signature);
        }
        assert_eq!(signatures.len(), 2);
        assert!(data("oBob").is_none() && world.wechat.user_data(OTHER_APP, "oAlice", &json!({})).is_none());
    }

    #[test]
    fn a_reset_brings_another_key_to_whoever_signs_with_the_one_that_counts() {
        let world = world();
        world.learn("c", "oAlice");
        let old = world.log_in("c")["session_key"].as_str().unwrap().to_owned();
        let call = TokenCall {
            appid: APP.into(),
            secret: "s1".into(),
            grant_type: "client_credential".into(),
            ..TokenCall::default()
        };
        let token = world.wechat.give_token(&call)["access_token"].as_str().unwrap().to_owned();
        let check = |openid: &str, key: &str, method: &str| {
            let signature = signature(key);
            KeyCheck::parse(&format!("access_token={token}&openid={openid}&signature={signature}&sig_method={method}"))
        };
        let reset =
            |openid: &str, key: &str, method: &str| world.wechat.reset_session(&check(openid, key, method), true);
        assert_eq!(reset("oAlice", "another", "hmac_sha256")["errcode"], 87009);
        assert_eq!(reset("oAlice", &old, "sha1")["errcode"], 87008);
        assert_eq!(reset("oBob", &old, "hmac_sha256")["errcode"], 40003);
        assert_eq!(world.wechat.reset_session(&KeyCheck::parse("access_token=dead"), true)["errcode"], 40001);
        let told = reset("oAlice", &old, "hmac_sha256");
        assert_eq!((&told["errcode"], &told["openid"]), (&json!(0), &json!("oAlice")));
        let new = told["session_key"].as_str().unwrap();
        assert_ne!(new, old);
        assert_eq!(reset("oAlice", &old, "hmac_sha256")["errcode"], 87009, "it is worth nothing any more");
        assert_eq!(world.wechat.check_session(&check("oAlice", new, "hmac_sha256"))["errcode"], 0);
    }

    #[test]
    fn a_user_of_an_open_platform_account_has_a_unionid() {
        let world = world();
        let user = User { app: APP.into(), openid: "oAlice".into(), unionid: Some("uAlice".into()) };
        world.wechat.learn("c", user);
        assert_eq!(world.log_in("c")["unionid"], "uAlice");
    }

    #[test]
    fn a_code_dies_after_five_minutes() {
        let world = world();
        world.learn("in time", "oAlice");
        world.clock.advance(Duration::from_millis(299_999));
        assert_eq!(world.log_in("in+time")["openid"], "oAlice");

        world.learn("late", "oAlice");
        world.clock.advance(5 * MINUTE);
        assert_eq!(world.log_in("late")["errcode"], 40029);
    }

    #[test]
    fn a_code_of_another_app_is_invalid_and_burnt() {
        let world = world();
        world.learn("c", "oAlice");
        let query = format!("appid={OTHER_APP}&secret=s2&js_code=c&grant_type=authorization_code");
        assert_eq!(world.errcode_of(&query), 40029);
        assert_eq!(world.log_in("c")["errcode"], 40163);
    }

    #[test]
    fn a_wrong_secret_burns_the_code_as_well() {
        let world = world();
        world.learn("c", "oAlice");
        let query = format!("appid={APP}&secret=nope&js_code=c&grant_type=authorization_code");
        assert_eq!(world.errcode_of(&query), 40125);
        assert_eq!(world.log_in("c")["errcode"], 40163);
    }

    #[test]
    fn a_new_secret_makes_the_old_one_wrong_and_a_code_may_outlive_the_wrong_one() {
        let world = world();
        world.learn("c", "oAlice");
        world.wechat.apps.set_secret(APP, "new");
        world.wechat.apps.spare_codes(true);
        let ask = |secret| world.ask(&format!("appid={APP}&secret={secret}&js_code=c&grant_type=authorization_code"));
        assert_eq!(ask("s1")["errcode"], 40125);
        assert_eq!(ask("new")["openid"], "oAlice");
        assert_eq!(ask("new")["errcode"], 40163);
    }

    #[test]
    fn each_mistake_of_the_caller_has_its_errcode() {
        let world = world();
        let rows = [
            ("secret=s1&js_code=c&grant_type=authorization_code".to_owned(), 41002),
            (format!("appid={APP}&js_code=c&grant_type=authorization_code"), 41004),
            (format!("appid={APP}&secret=s1&grant_type=authorization_code"), 41008),
            (format!("appid={APP}&secret=s1&js_code=&grant_type=authorization_code"), 41008),
            (format!("appid={APP}&secret=s1&js_code=c&grant_type=client_credential"), 40002),
            ("appid=wxnobody&secret=s1&js_code=c&grant_type=authorization_code".to_owned(), 40013),
            (format!("appid={APP}&secret=s2&js_code=c&grant_type=authorization_code"), 40125),
            (format!("appid={APP}&secret=s1&js_code=c&grant_type=authorization_code"), 40029),
        ];
        for (query, errcode) in rows {
            assert_eq!(world.errcode_of(&query), errcode, "{query}");
        }
    }

    #[test]
    fn a_user_has_so_many_exchanges_a_minute_and_the_code_survives_the_refusal() {
        let world = world();
        for code in ["c1", "c2", "c3", "c4"] {
            world.learn(code, "oAlice");
        }
        world.learn("bob", "oBob");
        for code in ["c1", "c2", "c3"] {
            assert_eq!(world.log_in(code)["openid"], "oAlice", "{code}");
        }
        assert_eq!(world.log_in("c4")["errcode"], 45011);
        assert_eq!(world.log_in("bob")["openid"], "oBob", "the quota is each user's own");
        world.clock.advance(MINUTE);
        assert_eq!(world.log_in("c4")["openid"], "oAlice");
    }

    #[test]
    fn a_blocked_user_stays_out_until_let_in() {
        let world = world();
        world.learn("c1", "oMallory");
        world.wechat.block("oMallory", true);
        assert_eq!(world.log_in("c1")["errcode"], 40226);
        world.wechat.block("oMallory", false);
        world.learn("c2", "oMallory");
        assert_eq!(world.log_in("c2")["openid"], "oMallory");
    }

    #[test]
    fn an_error_message_ends_with_its_trace_id() {
        let message = world().log_in("nobody's")["errmsg"].as_str().unwrap().to_owned();
        let rid = message.strip_prefix("invalid code, rid: ").unwrap_or(&message);
        let words: Vec<_> = rid.split('-').collect();
        assert_eq!(words.len(), 3, "{rid}");
        assert!(words.iter().all(|word| word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit())), "{rid}");
        assert_eq!(words[0], format!("{:08x}", 1_800_000_000));
    }

    #[test]
    fn expired_codes_do_not_pile_up() {
        let world = world();
        for n in 0..SWEEP_FROM {
            world.learn(&format!("old{n}"), "oAlice");
        }
        world.clock.advance(5 * MINUTE);
        world.learn("new", "oAlice");
        assert_eq!(world.wechat.state().codes.len(), 1);
    }

    #[test]
    fn where_any_app_will_do_a_code_still_belongs_to_one() {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
        let wechat = WeChat::new(Apps::Any, 5 * MINUTE, 0, clock, Arc::new(SystemEntropy));
        wechat.learn("c", User { app: "wxdemo".into(), openid: "oAlice".into(), unionid: None });
        let ask = |app| {
            let query = format!("appid={app}&secret=any&js_code=c&grant_type=authorization_code");
            wechat.exchange(&Call::parse(&query), false)
        };
        assert_eq!(ask("wxother")["errcode"], 40029);
        assert_eq!(ask("wxdemo")["openid"], "oAlice");
    }
}
