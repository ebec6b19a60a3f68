//! What a stage of the pipeline can fail with. The sum stands here, at the top, where all stages are known; each stage
//! has its own error beside what raises it.

use std::error::Error as StdError;

use crate::{
    api::{self, LoginFailure, PhoneFailure},
    auth,
    limit::RouteLimited,
    model::AppId,
    profile, proxy, routing, session,
    web::Refusal,
};

/// What an operator is told who has forgotten it.
const NOT_TRUSTED: &str = "the peer is not in server.trusted_proxies";

/// Why a request is not answered the way its sender hoped.
#[derive(Debug)]
pub enum Failure {
    /// The bytes never became a request.
    Refused(Refusal),
    /// The request's target, `Host` or path could be read in more than one way.
    Target(routing::BadTarget),
    /// A stranger asks whether somebody else's request may pass.
    Stranger,
    /// A proxy asks about a request that nothing can be decided about.
    Original(routing::BadOriginal),
    /// More than one `Authorization`, or more than one token.
    Credentials(auth::BadCredentials),
    /// A host that this connection is not for.
    Misdirected,
    /// A method that is never forwarded.
    Method,
    /// No route matches.
    NoRoute,
    /// An endpoint of ours, asked with a method it does not have.
    WrongMethod(&'static str),
    /// The caller has sent too many requests of this route.
    Limited(RouteLimited),
    /// The caller may not pass.
    Denied(auth::Denial),
    /// It could not be found out whether the caller may pass.
    Sessions(session::Error),
    /// It could not be found out which phone number the upstream is to be told.
    Phone(profile::Error),
    /// An endpoint of ours failed.
    Api(api::Error),
    /// Forwarding failed.
    Proxy(proxy::Error),
}

impl Failure {
    /// What an operator has to mend before this can work, if that is the trouble.
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Failure::Api(
                api::Error::Login { why: LoginFailure::Misconfigured(mend), .. }
                | api::Error::Phone { why: PhoneFailure::WeChat(LoginFailure::Misconfigured(mend)), .. },
            ) => Some(mend),
            _ => None,
        }
    }

    /// The app whose login, or whose phone number, failed, if that is the trouble.
    pub fn app(&self) -> Option<&AppId> {
        match self {
            Failure::Api(api::Error::Login { app, .. } | api::Error::Phone { app, .. }) => Some(app),
            _ => None,
        }
    }

    /// The whole chain of causes, for the log. None of the errors in it holds a secret, a URL or a query string.
    pub fn cause(&self) -> Option<String> {
        let first: &dyn StdError = match self {
            Failure::Stranger => return Some(NOT_TRUSTED.to_owned()),
            Failure::Target(error) => error,
            Failure::Original(error) => error,
            Failure::Credentials(error) => error,
            Failure::Limited(error) => error,
            Failure::Sessions(error) => error,
            Failure::Phone(error) => error,
            Failure::Api(error) => error,
            Failure::Proxy(error) => error,
            Failure::Refused(_)
            | Failure::Misdirected
            | Failure::Method
            | Failure::NoRoute
            | Failure::WrongMethod(_)
            | Failure::Denied(_) => return None,
        };
        let mut text = first.to_string();
        let mut next = first.source();
        while let Some(error) = next {
            text.push_str(": ");
            text.push_str(&error.to_string());
            next = error.source();
        }
        Some(text)
    }
}
