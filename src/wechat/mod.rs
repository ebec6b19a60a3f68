//! WeChat's server API, as far as a login needs it: a code goes in, an openid and a session_key come out.
//!
//! What WeChat tells a client about its user, to be brought here, is read here too: [`UserInfo`].
//!
//! [`WeChat`] is what the rest of the house sees; [`Client`] is the one that really asks. The AppSecret travels in the
//! query of the call, so nothing in here ever puts a URL, or an error that may hold one, into anything that prints.

mod call;
mod client;
mod code2session;
mod crypto;
pub mod errcode;
mod error;
mod user_data;

use std::{fmt, future::Future, pin::Pin};

pub use client::{BuildError, Client};
pub use code2session::decode;
pub use error::{Error, Flaw, Refusal, Stage, Trouble};
pub use user_data::{Stale, UserData, UserInfo};

use crate::model::{AppId, LoginCode, OpenId, SessionKey, UnionId};

/// An answer under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<CodeSession, Error>> + Send + 'a>>;

/// Who can say which user a login code stands for.
pub trait WeChat: fmt::Debug + Send + Sync {
    /// Spends `code`. Whatever comes back, the code is worth nothing afterwards: a failed exchange burns it too.
    fn code_to_session<'a>(&'a self, app: &'a AppId, code: &'a LoginCode) -> Asking<'a>;
}

/// What a login code was worth.
#[derive(Clone, Debug)]
pub struct CodeSession {
    /// The user, within the app that was asked about.
    pub openid: OpenId,
    /// Only for apps bound to an Open Platform account, and sometimes not before a later login.
    pub unionid: Option<UnionId>,
    /// The user's key in this app. WeChat keeps one alive at a time, so the newest one wins.
    pub session_key: SessionKey,
}
