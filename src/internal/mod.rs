//! The listener for backends: what they may ask of a user's key at WeChat, and of what the user has told. Never on the public
//! address, since nothing here asks for a session.
//!
//! | path | method | answers |
//! |---|---|---|
//! | `/internal/v1/decrypt` | POST | what WeChat has encrypted for a user |
//! | `/internal/v1/check_session` | POST | whether a user's key still counts |
//! | `/internal/v1/reset_session_key` | POST | whether the key has given way to another |
//! | `/internal/v1/users/{app}/{openid}/profile` | GET | the profile of a user |
//! | `/internal/v1/access_token?app=` | GET | an access token of an app |
//! | anything else | | 404 |
//!
//! A backend proves who it is by the token, by a certificate, or by both, as the configuration asks for it; see [`Gate`] and
//! `[internal.tls]`. `docs/INTERNAL.md` tells the same to those who write backends.

mod access_token;
mod answer;
mod check_session;
mod decrypt;
mod profiles;
mod reset_session_key;
mod users;
mod watched;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, request::Parts};

pub use self::watched::Watch;
use self::{
    answer::{Refusal, only_get, only_post},
    watched::About,
};
use crate::{
    config::sections,
    limit::ProfileLimits,
    model::{AppId, Clock, Entropy, Secret},
    profile::Profiles,
    session::Sessions,
    web::{Gate, RequestBody, own},
    wechat::ServerApi,
};

/// What all paths begin with.
const PREFIX: &str = "/internal/v1/";

/// What the answers to backends are made of.
pub struct Ingredients<'a> {
    /// The section.
    pub section: &'a sections::Internal,
    /// Where the listener is; a Unix socket has no address.
    pub addr: Option<IpAddr>,
    /// The sessions.
    pub sessions: Arc<Sessions>,
    /// The profiles.
    pub profiles: Arc<Profiles>,
    /// What there is to ask of WeChat with an access token.
    pub wechat: Arc<ServerApi>,
    /// How often the key of one user may be used.
    pub limits: Arc<ProfileLimits>,
    /// Where it is told what was asked.
    pub watch: Watch,
    /// The apps that are configured.
    pub apps: Vec<AppId>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the ids of requests.
    pub entropy: Arc<dyn Entropy>,
}

/// Answers backends.
pub struct Internal {
    gate: Gate,
    asks_for_token: bool,
    data_max_age: Duration,
    sessions: Arc<Sessions>,
    profiles: Arc<Profiles>,
    wechat: Arc<ServerApi>,
    limits: Arc<ProfileLimits>,
    watch: Watch,
    apps: Vec<AppId>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Internal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Internal").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Internal {
    /// The answers made of these.
    pub fn new(from: Ingredients<'_>) -> Self {
        let Ingredients { section, addr, sessions, profiles, wechat, limits, watch, apps, clock, entropy } = from;
        Self {
            gate: Gate::new(addr, &section.hosts, section.token.as_ref().map(Secret::expose)),
            // Where neither is configured, which no file can say, the gate lets nobody in.
            asks_for_token: section.token.is_some() || !section.asks_for_certificates(),
            data_max_age: section.data_max_age,
            sessions,
            profiles,
            wechat,
            limits,
            watch,
            apps,
            clock,
            entropy,
        }
    }

    /// Answers one request from this address.
    pub async fn answer(&self, request: Request<RequestBody>, client: IpAddr) -> Response<Bytes> {
        let mut random = [0; 16];
        let id = self.entropy.fill(&mut random).map_or_else(|_| "-".to_owned(), |()| own::id_of(random));
        let (head, body) = request.into_parts();
        let mut about = About::new(&self.watch, &id, client, head.method.clone(), head.uri.path());
        let answered = self.go(&head, body, &id, &mut about).await;
        let code = answered.as_ref().err().map(|refusal| refusal.code());
        let response = answered.unwrap_or_else(|refusal| refusal.into_response(&id));
        about.answered(response.status(), code);
        response
    }

    /// Answers what never became a request.
    pub fn refuse(&self) -> Response<Bytes> {
        self.watch.malformed();
        answer::malformed()
    }

    /// To be called a few times a second: hands over what there is for the log.
    pub fn tick(&self) {
        self.watch.flush();
    }

    async fn go(
        &self,
        head: &Parts,
        body: RequestBody,
        id: &str,
        about: &mut About<'_>,
    ) -> Result<Response<Bytes>, Refusal> {
        self.gate.is_for_us(head)?;
        if self.asks_for_token {
            self.gate.knows(head)?;
        }
        let path = head.uri.path().strip_prefix(PREFIX).ok_or(Refusal::NotFound)?;
        // Cut before it is decoded: a slash within an openid comes as %2F.
        match path.split('/').collect::<Vec<_>>().as_slice() {
            ["decrypt"] => {
                only_post(&head.method)?;
                decrypt::answer(self, body, id, about).await
            }
            ["check_session"] => {
                only_post(&head.method)?;
                check_session::answer(self, body, id, about).await
            }
            ["reset_session_key"] => {
                only_post(&head.method)?;
                reset_session_key::answer(self, body, id, about).await
            }
            ["users", app, openid, "profile"] => {
                only_get(&head.method)?;
                profiles::answer(self, &users::of_path(self, app, openid)?, id, about).await
            }
            ["access_token"] => {
                only_get(&head.method)?;
                access_token::answer(self, head.uri.query().unwrap_or_default(), id, about).await
            }
            _ => Err(Refusal::NotFound),
        }
    }
}
