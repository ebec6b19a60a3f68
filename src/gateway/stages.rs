//! What one stage of the pipeline hands to the next.

use http::{HeaderValue, Request, uri::PathAndQuery};
use tokio::time::Instant;

use super::Failure;
use crate::{
    api::Endpoint,
    auth::{Access, Credentials, Decision},
    model::{AppId, PhoneNumber},
    proxy::Offer,
    routing::{AuthRule, Rule},
    web::{RequestBody, taken},
};

/// How far a request has come without waiting.
pub(super) enum Begun<'a, F> {
    /// It is on its way to an upstream.
    Sent(Sent<F>),
    /// Somebody has to be waited for first.
    Late(Box<Late<'a>>),
}

/// A request that waits for an endpoint of ours, or for the sessions.
pub(super) struct Late<'a> {
    pub(super) request: Request<RequestBody>,
    pub(super) place: Place<'a>,
    pub(super) credentials: Credentials,
}

impl<'a> Late<'a> {
    pub(super) fn begun<F>(
        request: &mut Request<RequestBody>,
        place: Place<'a>,
        credentials: Credentials,
    ) -> Begun<'a, F> {
        Begun::Late(Box::new(Self { request: taken(request), place, credentials }))
    }
}

/// Where a request goes.
pub(super) enum Place<'a> {
    /// Back, with the advice to come to this place.
    Elsewhere(HeaderValue),
    /// To an endpoint of ours.
    Ours(Call<'a>),
    /// To an upstream.
    Route(Way<'a>),
}

/// What is asked of an endpoint of ours.
pub(super) struct Call<'a> {
    pub(super) endpoint: Endpoint,
    /// The rule of the request that another proxy asks about.
    pub(super) asked: Option<&'a Rule>,
}

impl Call<'_> {
    /// What is asked of the caller, and whose sessions may pass.
    pub(super) fn terms(&self) -> (AuthRule, Option<&[AppId]>) {
        match self.asked {
            Some(rule) => (rule.auth, rule.apps.as_deref()),
            None if self.endpoint.needs_session() => (AuthRule::Required, None),
            None => (AuthRule::None, None),
        }
    }
}

/// The way to an upstream.
pub(super) struct Way<'a> {
    pub(super) rule: &'a Rule,
    /// Path and query to ask for.
    pub(super) target: PathAndQuery,
    /// What the client has asked for without a `Host` line.
    pub(super) host: Option<HeaderValue>,
    pub(super) keep_authorization: bool,
    /// Whether a URL that a header tells of goes along though it has a token in it.
    pub(super) keep_urls: bool,
    /// What the client offers, where it asks for a WebSocket and the rule lets it.
    pub(super) offer: Option<Box<Offer>>,
}

/// What an upstream is told of the caller.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) access: &'a Access,
    pub(super) phone: Option<&'a PhoneNumber>,
}

/// A request on its way to an upstream.
pub(super) struct Sent<F> {
    pub(super) head: F,
    pub(super) asked_at: Instant,
}

/// The caller as the one the decision says, if it lets them pass.
pub(super) fn pass(decision: Decision) -> Result<Access, Failure> {
    match decision {
        Decision::Pass(access) => Ok(access),
        Decision::Denied(why) => Err(Failure::Denied(why)),
    }
}
