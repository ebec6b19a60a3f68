//! Who calls? Granted, anonymous, denied; or an error when that could not be found out.
//!
//! "No" is an answer and "the store is down" is not one: a client that is told 401 throws its session away, so a failed
//! look-up must never look like that, nor like an anonymous caller.

pub mod bearer;
pub mod carriers;

use std::sync::Arc;

pub use bearer::{BadCredentials, Credentials};

use crate::{
    model::{AppId, Identity, Session},
    routing::AuthRule,
    session::{self, Recent, SessionToken, Sessions},
};

/// The proof that a request may pass. Only [`authenticate`] makes one, and forwarding takes one.
#[derive(Clone, Debug)]
pub struct Access {
    session: Option<Arc<Session>>,
}

/// Whether a request may pass.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It may, as whom the proof says.
    Pass(Access),
    /// It may not.
    Denied(Denial),
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A session is asked for, and nothing was shown that could be ours: 401.
    TokenMissing,
    /// What was shown is malformed, unknown, or the token of a session that is over: 401.
    TokenInvalid,
    /// A live session, of an app that the route does not name: 403.
    AppNotAllowed,
}

/// Decides by the rule of a route, and `apps` where it names any. Errs when the sessions could not be asked.
///
/// The look-up knows nothing of the rule. What the rule wants is checked after it, each time, so that no answer to one
/// route can stand for an answer to another.
pub async fn authenticate(
    rule: AuthRule,
    apps: Option<&[AppId]>,
    credentials: &Credentials,
    sessions: &Sessions,
) -> Result<Decision, session::Error> {
    decide(rule, apps, credentials, async |token| sessions.resolve(token).await).await
}

/// The same, where it can be decided at once. `None` says nothing of the caller, only that somebody must be waited for.
pub fn authenticate_at_once(
    rule: AuthRule,
    apps: Option<&[AppId]>,
    credentials: &Credentials,
    sessions: &Sessions,
    recent: &Recent,
) -> Option<Decision> {
    match question(rule, credentials) {
        Ok(token) => Some(verdict(rule, apps, Ok(sessions.at_hand(token, recent)?))),
        Err(shown) => Some(verdict(rule, apps, shown)),
    }
}

impl Access {
    /// Who calls; nobody known when absent.
    pub fn identity(&self) -> Option<&Identity> {
        self.session().map(|session| session.identity())
    }

    /// The session that the caller showed the token of; absent when the caller is anonymous.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }

    const ANONYMOUS: Self = Self { session: None };
}

async fn decide(
    rule: AuthRule,
    apps: Option<&[AppId]>,
    credentials: &Credentials,
    look_up: impl AsyncFnOnce(&SessionToken) -> Result<Option<Arc<Session>>, session::Error>,
) -> Result<Decision, session::Error> {
    let shown = match question(rule, credentials) {
        Ok(token) => look_up(token).await?.ok_or(Some(Denial::TokenInvalid)),
        Err(shown) => return Ok(verdict(rule, apps, shown)),
    };
    Ok(verdict(rule, apps, shown))
}

/// The token to look up; or, where there is nothing to look up, what that means: nobody is asked for, or a denial.
fn question(rule: AuthRule, credentials: &Credentials) -> Result<&SessionToken, Shown> {
    match credentials {
        _ if rule == AuthRule::None => Err(Err(None)),
        Credentials::None | Credentials::Foreign => Err(Err(Some(Denial::TokenMissing))),
        Credentials::Garbage => Err(Err(Some(Denial::TokenInvalid))),
        Credentials::Token(token) => Ok(token),
    }
}

/// What a caller has shown: a live session, or why not, or nothing because nobody asked.
type Shown = Result<Arc<Session>, Option<Denial>>;

fn verdict(rule: AuthRule, apps: Option<&[AppId]>, shown: Shown) -> Decision {
    let allowed = shown.and_then(|session| match apps {
        Some(apps) if !apps.contains(&session.identity().user.app) => Err(Some(Denial::AppNotAllowed)),
        _ => Ok(session),
    });
    match (rule, allowed) {
        (AuthRule::Required | AuthRule::Optional, Ok(session)) => Decision::Pass(Access { session: Some(session) }),
        (AuthRule::Required, Err(denial)) => Decision::Denied(denial.unwrap_or(Denial::TokenMissing)),
        (AuthRule::Optional, Err(_)) | (AuthRule::None, _) => Decision::Pass(Access::ANONYMOUS),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::sections,
        model::{ManualClock, OpenId, SessionKey, SystemEntropy, Timestamp, UserKey},
        store::{self, Memory},
        telemetry::{Counters, UserTagger},
    };

    const RULES: [AuthRule; 3] = [AuthRule::Required, AuthRule::Optional, AuthRule::None];

    struct World {
        sessions: Sessions,
        clock: Arc<ManualClock>,
    }

    impl World {
        fn new() -> Self {
            let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
            let tags = UserTagger::new(None, &SystemEntropy).unwrap();
            let section = sections::Sessions::default();
            let counters = Arc::new(Counters::default());
            let (store, runtime) = (Arc::new(Memory::new()), tokio::runtime::Handle::current());
            let entropy = Arc::new(SystemEntropy);
            let sessions = Sessions::new(&section, store, runtime, clock.clone(), entropy, tags, counters);
            Self { sessions, clock }
        }

        async fn login(&self, app_id: &str) -> Credentials {
            let user = UserKey { app: app(app_id), openid: OpenId::parse("o1").unwrap() };
            let identity = Identity { user, unionid: None };
            Credentials::Token(self.sessions.issue(identity, SessionKey::new("key")).await.unwrap().token)
        }

        /// The verdict in a word: the app whose user may pass, `anonymous`, or why not.
        async fn verdict(&self, rule: AuthRule, apps: Option<&[AppId]>, credentials: &Credentials) -> String {
            match authenticate(rule, apps, credentials, &self.sessions).await.unwrap() {
                Decision::Pass(access) => {
                    access.identity().map_or("anonymous".to_owned(), |who| who.user.app.to_string())
                }
                Decision::Denied(denial) => format!("{denial:?}"),
            }
        }

        async fn verdicts(&self, apps: Option<&[AppId]>, credentials: &Credentials) -> [String; 3] {
            let [required, optional, none] = RULES;
            [
                self.verdict(required, apps, credentials).await,
                self.verdict(optional, apps, credentials).await,
                self.verdict(none, apps, credentials).await,
            ]
        }
    }

    fn app(id: &str) -> AppId {
        AppId::parse(id).unwrap()
    }

    #[tokio::test]
    async fn every_kind_of_credentials_meets_every_rule() {
        let world = World::new();
        let live = world.login("wx1").await;
        let ended = world.login("wx1").await;
        let Credentials::Token(token) = &ended else { unreachable!("a login gives a token") };
        let session = world.sessions.resolve(token).await.unwrap().unwrap();
        world.sessions.revoke(&session).await.unwrap();
        let unknown = Credentials::Token(SessionToken::mint(&SystemEntropy).unwrap());

        let table = [
            (Credentials::None, ["TokenMissing", "anonymous", "anonymous"]),
            (Credentials::Foreign, ["TokenMissing", "anonymous", "anonymous"]),
            (Credentials::Garbage, ["TokenInvalid", "anonymous", "anonymous"]),
            (unknown, ["TokenInvalid", "anonymous", "anonymous"]),
            (ended, ["TokenInvalid", "anonymous", "anonymous"]),
            (live, ["wx1", "wx1", "anonymous"]),
        ];
        for (credentials, expected) in table {
            assert_eq!(world.verdicts(None, &credentials).await, expected, "{credentials:?}");
            let apps = [app("wx0"), app("wx1")];
            assert_eq!(world.verdicts(Some(&apps), &credentials).await, expected, "{credentials:?} where wx1 may pass");
        }
    }

    #[tokio::test]
    async fn a_session_that_has_run_out_is_no_session() {
        let world = World::new();
        let credentials = world.login("wx1").await;
        world.clock.advance(Duration::from_hours(24));
        assert_eq!(world.verdicts(None, &credentials).await, ["TokenInvalid", "anonymous", "anonymous"]);
    }

    /// Two gateways keyed their cache by token alone, so that one route's yes opened another (CVE-2026-33496).
    #[tokio::test]
    async fn a_token_of_one_app_opens_no_route_of_another_even_straight_after_its_own() {
        let world = World::new();
        let credentials = world.login("wxa").await;
        let (a, b) = ([app("wxa")], [app("wxb")]);
        for _ in 0..2 {
            assert_eq!(world.verdicts(Some(&a), &credentials).await, ["wxa", "wxa", "anonymous"]);
            assert_eq!(world.verdicts(Some(&b), &credentials).await, ["AppNotAllowed", "anonymous", "anonymous"]);
            assert_eq!(world.verdicts(Some(&[]), &credentials).await, ["AppNotAllowed", "anonymous", "anonymous"]);
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_makes_nobody_anonymous_and_logs_nobody_out() {
        let token = Credentials::Token(SessionToken::mint(&SystemEntropy).unwrap());
        for rule in [AuthRule::Required, AuthRule::Optional] {
            let away = session::Error::StoreUnavailable(store::Error::Unreadable("on trial"));
            let result = decide(rule, None, &token, async |_| Err(away)).await;
            assert!(matches!(result, Err(session::Error::StoreUnavailable(_))), "{rule:?}: {result:?}");
        }
    }

    #[tokio::test]
    async fn nobody_looks_where_there_is_nothing_to_look_for() {
        let token = Credentials::Token(SessionToken::mint(&SystemEntropy).unwrap());
        let cases = [
            (AuthRule::None, token),
            (AuthRule::Optional, Credentials::None),
            (AuthRule::Optional, Credentials::Garbage),
            (AuthRule::Optional, Credentials::Foreign),
        ];
        for (rule, credentials) in cases {
            let result = decide(rule, None, &credentials, async |_| unreachable!("a look-up")).await;
            assert!(
                matches!(&result, Ok(Decision::Pass(access)) if access.session().is_none()),
                "{rule:?}: {result:?}"
            );
        }
    }
}
