//! One of the two hundred: somebody of one app with a few tokens, live and dead, two connections, and no manners.

use std::{collections::VecDeque, io, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde_json::{Value, json};
use wxgate::model::{Clock, Timestamp};

use super::{
    Scene, Who,
    forgery::{ambiguous, no_token, one_of},
    request::{Order, Request, Sent, Whom, send},
    wire::Wire,
};

/// The defaults of `[sessions]`.
const IDLE: Duration = Duration::from_hours(24);
const LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Dead tokens that are remembered, to be tried again.
const GRAVES: usize = 12;

/// What is done, and how often in a thousand times.
const ACTS: [(u32, Act); 15] = [
    (430, Act::Get),
    (110, Act::Post),
    (90, Act::DeadToken),
    (90, Act::NoToken),
    (60, Act::Public),
    (50, Act::Several),
    (40, Act::Fenced),
    (40, Act::Ambiguous),
    (25, Act::Abort),
    (10, Act::BrokenBackend),
    (15, Act::Session),
    (20, Act::Login),
    (12, Act::Logout),
    (3, Act::LogoutEverywhere),
    (5, Act::LogoutRace),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Get,
    Post,
    DeadToken,
    NoToken,
    Public,
    Several,
    Fenced,
    Ambiguous,
    Abort,
    BrokenBackend,
    Session,
    Login,
    Logout,
    LogoutEverywhere,
    LogoutRace,
}

struct Token {
    bearer: String,
    created: Timestamp,
    used: Timestamp,
}

pub(super) struct Caller {
    number: usize,
    who: Who,
    rng: SmallRng,
    live: Vec<Token>,
    dead: VecDeque<String>,
    lines: [Option<Wire>; 2],
    /// Requests sent so far.
    pub(super) sent: u64,
    /// How often what was done.
    pub(super) acts: [u64; ACTS.len()],
}

type Outcome = Result<(), String>;

impl Caller {
    pub(super) fn new(number: usize, who: &Who, seed: u64) -> Self {
        let rng = SmallRng::seed_from_u64(seed ^ number as u64);
        let (live, dead) = (Vec::new(), VecDeque::new());
        Self { number, who: who.clone(), rng, live, dead, lines: [None, None], sent: 0, acts: [0; ACTS.len()] }
    }

    pub(super) fn openid(&self) -> &str {
        &self.who.openid
    }

    /// Does something.
    pub(super) fn act(&mut self, scene: &Scene<'_>) -> Outcome {
        self.bury(scene.clock.now());
        if self.live.is_empty() {
            self.login(scene)?;
        }
        let mut at = self.rng.random_range(0..1000);
        let chosen = ACTS.iter().position(|(share, _)| {
            let here = at < *share;
            at = at.saturating_sub(*share);
            here
        });
        let chosen = chosen.unwrap_or(0);
        self.acts[chosen] += 1;
        let act = ACTS[chosen].1;
        let outcome = self.perform(act, scene);
        if outcome.is_err() {
            self.lines = [None, None];
        }
        outcome.map_err(|what| format!("caller {}, {act:?}: {what}", self.number))
    }

    fn perform(&mut self, act: Act, scene: &Scene<'_>) -> Outcome {
        match act {
            Act::Get => self.get(scene),
            Act::Post => self.post(scene),
            Act::DeadToken => self.dead_token(scene),
            Act::NoToken => self.no_token(scene),
            Act::Public => self.public(scene),
            Act::Several => self.several(scene),
            Act::Fenced => self.fenced(scene),
            Act::Ambiguous => self.ambiguous(scene),
            Act::Abort => self.abort(scene),
            Act::BrokenBackend => self.broken_backend(scene),
            Act::Session => self.session(scene),
            Act::Login => self.login(scene),
            Act::Logout | Act::LogoutEverywhere => {
                let bearer = self.bearer(scene);
                self.logout(scene, &bearer, act == Act::LogoutEverywhere)
            }
            Act::LogoutRace => self.logout_race(scene),
        }
    }

    // --- requests that are forwarded

    fn get(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let whom = Whom::Caller(self.number);
        let method = one_of(&mut self.rng, &["GET", "GET", "GET", "GET", "HEAD", "DELETE"]);
        let route = one_of(&mut self.rng, &["", "", "/stripped", "/maybe"]);
        let order = one_of(&mut self.rng, &[Order::Plain, Order::Plain, Order::Chunked]);
        self.exchange(scene, &Request { method, route, order, ..Request::get(whom, Some(&bearer)) })
    }

    fn post(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let whom = Whom::Caller(self.number);
        let body = Some((self.rng.random_range(0..400), self.rng.random()));
        self.exchange(scene, &Request { method: "POST", body, ..Request::get(whom, Some(&bearer)) })
    }

    fn public(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer_unused();
        let bearer = self.rng.random_ratio(3, 4).then_some(bearer);
        self.exchange(scene, &Request { route: "/public", ..Request::get(Whom::Nobody, bearer.as_deref()) })
    }

    /// A route for the first app only.
    fn fenced(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let inside = self.who.app == super::APP;
        let whom = if inside { Whom::Caller(self.number) } else { Whom::Never(403) };
        self.exchange(scene, &Request { route: "/fenced", ..Request::get(whom, Some(&bearer)) })
    }

    fn broken_backend(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let order = one_of(&mut self.rng, &[Order::Cut, Order::CutChunk, Order::Close, Order::Leave, Order::Long]);
        self.exchange(scene, &Request { order, ..Request::get(Whom::Caller(self.number), Some(&bearer)) })
    }

    /// Several requests at once on one connection, as nobody's client sends them.
    fn several(&mut self, scene: &Scene<'_>) -> Outcome {
        let mut bytes = Vec::new();
        let sent: Vec<Sent> = (0..self.rng.random_range(2..6)).map(|_| self.write_any(scene, &mut bytes)).collect();
        self.converse(scene, &bytes, &sent)
    }

    /// Some request that does not change what the next one may do.
    pub(super) fn write_any(&mut self, scene: &Scene<'_>, bytes: &mut Vec<u8>) -> Sent {
        self.bury(scene.clock.now());
        let dead = self.dead.back().cloned();
        match self.rng.random_range(0..4) {
            0 => self.write(&Request { route: "/maybe", ..Request::get(Whom::Nobody, dead.as_deref()) }, bytes),
            1 => self.write(&Request::get(Whom::Never(401), dead.as_deref()), bytes),
            _ if self.live.is_empty() => self.write(&Request::get(Whom::Never(401), None), bytes),
            _ => {
                let bearer = self.bearer(scene);
                self.write(&Request::get(Whom::Caller(self.number), Some(&bearer)), bytes)
            }
        }
    }

    // --- requests that have to stay anonymous, or out

    fn dead_token(&mut self, scene: &Scene<'_>) -> Outcome {
        let dead = self.rng.random_range(0..=self.dead.len());
        let dead = self.dead.get(dead).cloned();
        self.stranger(scene, dead.as_deref())
    }

    fn no_token(&mut self, scene: &Scene<'_>) -> Outcome {
        let token = self.bearer_unused();
        let shown = no_token(&mut self.rng, token.trim_start_matches("Bearer "));
        self.stranger(scene, shown.as_deref())
    }

    fn stranger(&mut self, scene: &Scene<'_>, authorization: Option<&str>) -> Outcome {
        let stays_out = Request::get(Whom::Never(401), authorization);
        let request = match self.rng.random_range(0..4) {
            0 => Request { route: "/maybe", whom: Whom::Nobody, ..stays_out },
            1 => Request { route: "/fenced", ..stays_out },
            2 => Request { method: "POST", body: Some((20, false)), ..stays_out },
            _ => stays_out,
        };
        self.exchange(scene, &request)
    }

    fn ambiguous(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer_unused();
        let seq = self.next();
        let head = ambiguous(&mut self.rng, &bearer, seq);
        let sent = Sent { seq, whom: Whom::Never(400), order: Order::Plain, method: "GET", either: false };
        let outcome = self.converse(scene, head.as_bytes(), &[sent]).map_err(|what| format!("{what} after {head:?}"));
        self.lines = [None, None];
        outcome
    }

    /// Goes away at a bad moment.
    fn abort(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let long = Request { order: Order::Long, ..Request::get(Whom::Caller(self.number), Some(&bearer)) };
        let post = Request { method: "POST", order: Order::Half, body: Some((2000, self.rng.random())), ..long };
        let half_head = Request { whom: Whom::Never(0), ..post };
        let mut bytes = Vec::new();
        let moment = self.rng.random_range(0..4);
        self.write([&half_head, &post, &long, &long][moment], &mut bytes);
        let head = memchr::memmem::find(&bytes, b"\r\n\r\n").map_or(0, |at| at + 4);
        match moment {
            0 => bytes.truncate(self.rng.random_range(1..head)),
            1 => bytes.truncate(self.rng.random_range(head..bytes.len() - 5)),
            _ => {}
        }
        let at = self.rng.random_range(0..2);
        let mut wire = self.take_line(scene, at)?;
        send(&mut wire, &bytes);
        if moment == 3 {
            wire.head().map_err(|error| format!("no answer: {error}"))?;
        }
        if self.rng.random() {
            // A reset instead of an orderly end.
            let _: io::Result<()> = socket2::SockRef::from(&wire).set_linger(Some(Duration::ZERO));
        }
        drop(wire);
        // Nobody knows whether that counted as using the token. This does.
        self.exchange(scene, &Request::get(Whom::Caller(self.number), Some(&bearer)))
    }

    // --- sessions

    fn login(&mut self, scene: &Scene<'_>) -> Outcome {
        if self.live.len() > 3 {
            return self.get(scene);
        }
        let code = format!("code-{}-{}", self.number, self.sent);
        match &self.who.unionid {
            Some(unionid) => scene.wechat.knows_with_union(&code, self.who.app, &self.who.openid, unionid),
            None => scene.wechat.knows(&code, self.who.app, &self.who.openid),
        }
        let body = json!({ "jsCode": code, "appId": self.who.app }).to_string();
        let (status, answer) = self.ask(scene, "POST /v1/verify", None, &body)?;
        let token = answer["token"].as_str().filter(|_| status == 200);
        let token = token.ok_or_else(|| format!("a login was answered with {status}: {answer}"))?;
        let now = scene.clock.now();
        self.live.push(Token { bearer: format!("Bearer {token}"), created: now, used: now });
        Ok(())
    }

    fn session(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let (status, answer) = self.ask(scene, "GET /v1/session", Some(&bearer), "")?;
        let right = status == 200 && answer["appId"] == self.who.app;
        if right { Ok(()) } else { Err(format!("the session is {status}: {answer}")) }
    }

    fn logout(&mut self, scene: &Scene<'_>, bearer: &str, everywhere: bool) -> Outcome {
        let body = if everywhere { r#"{"everywhere":true}"# } else { "" };
        let (status, answer) = self.ask(scene, "POST /v1/logout", Some(bearer), body)?;
        if status != 204 {
            return Err(format!("a logout was answered with {status}: {answer}"));
        }
        let ended = |token: &mut Token| everywhere || token.bearer == bearer;
        let ended: Vec<String> = self.live.extract_if(.., ended).map(|token| token.bearer).collect();
        self.dead.extend(ended);
        self.stranger(scene, Some(bearer))
    }

    /// A request while the logout is under way may pass or not, but only as who it is. One after it does not pass.
    fn logout_race(&mut self, scene: &Scene<'_>) -> Outcome {
        let bearer = self.bearer(scene);
        let mut bytes = Vec::new();
        let mut sent = self.write(&Request::get(Whom::Caller(self.number), Some(&bearer)), &mut bytes);
        sent.either = true;
        let mut other = self.take_line(scene, 1)?;
        send(&mut other, &bytes);
        self.logout(scene, &bearer, false)?;
        let open = sent.check(&mut other, &self.who.openid)?;
        self.lines[1] = open.then_some(other);
        self.stranger(scene, Some(&bearer))
    }

    // --- by which all of it is done

    /// Whether a token is live is known to the hour: the clock stands still between two of them.
    fn bury(&mut self, now: Timestamp) {
        let over = |token: &mut Token| now.since(token.used) >= IDLE || now.since(token.created) >= LIFETIME;
        let over: Vec<String> = self.live.extract_if(.., over).map(|token| token.bearer).collect();
        self.dead.extend(over);
        while self.dead.len() > GRAVES {
            self.dead.pop_front();
        }
    }

    /// One of the live tokens, used now.
    fn bearer(&mut self, scene: &Scene<'_>) -> String {
        let token = self.rng.random_range(0..self.live.len());
        self.live[token].used = scene.clock.now();
        self.live[token].bearer.clone()
    }

    /// One that nobody will look up.
    fn bearer_unused(&mut self) -> String {
        let token = self.rng.random_range(0..self.live.len());
        self.live[token].bearer.clone()
    }

    /// No two requests have the same number.
    fn next(&mut self) -> u64 {
        self.sent += 1;
        self.sent * 1000 + self.number as u64
    }

    fn write(&mut self, request: &Request<'_>, bytes: &mut Vec<u8>) -> Sent {
        let seq = self.next();
        request.write(seq, &mut self.rng, bytes)
    }

    fn exchange(&mut self, scene: &Scene<'_>, request: &Request<'_>) -> Outcome {
        let mut bytes = Vec::new();
        let sent = self.write(request, &mut bytes);
        self.converse(scene, &bytes, &[sent])
    }

    /// Sends on one of the connections and reads all answers.
    fn converse(&mut self, scene: &Scene<'_>, bytes: &[u8], sent: &[Sent]) -> Outcome {
        let at = self.rng.random_range(0..2);
        let mut wire = self.take_line(scene, at)?;
        send(&mut wire, bytes);
        let mut open = true;
        for sent in sent {
            open = sent.check(&mut wire, &self.who.openid)?;
        }
        // An upload that was refused unread takes its connection with it.
        let refused = sent.iter().any(|sent| sent.method == "POST" && matches!(sent.whom, Whom::Never(_)));
        self.lines[at] = (open && !refused).then_some(wire);
        Ok(())
    }

    /// Asks an endpoint of the gateway's own.
    fn ask(&mut self, scene: &Scene<'_>, what: &str, bearer: Option<&str>, body: &str) -> Result<(u16, Value), String> {
        self.sent += 1;
        let authorization = bearer.map(|bearer| format!("Authorization: {bearer}\r\n")).unwrap_or_default();
        let length = body.len();
        let head =
            format!("{what} HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {length}\r\n{authorization}\r\n");
        let at = 0;
        let mut wire = self.take_line(scene, at)?;
        send(&mut wire, format!("{head}{body}").as_bytes());
        let broken = |error: io::Error| format!("{what}: {error}");
        let head = wire.head().map_err(broken)?;
        let status = head.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
        let mut answer = Vec::new();
        wire.body(|piece| answer.extend_from_slice(piece)).map_err(broken)?;
        self.lines[at] = Some(wire);
        Ok((status, serde_json::from_slice(&answer).unwrap_or(Value::Null)))
    }

    fn take_line(&mut self, scene: &Scene<'_>, at: usize) -> Result<Wire, String> {
        let kept = self.lines[at].take();
        kept.map_or_else(|| Wire::connect(scene.gateway).map_err(|error| format!("no connection: {error}")), Ok)
    }
}

/// The names of the acts, in the order of [`Caller::acts`].
pub(super) fn act_names() -> impl Iterator<Item = Act> {
    ACTS.iter().map(|(_, act)| *act)
}
