//! What a login needs of whoever the users are known to: a code goes in, an openid and a session_key come out.
//!
//! [`Platform`] is what the rest of the house sees. Each platform has a module of its own that knows its protocol
//! (`wechat/`, `douyin/`). Here is what they have in common, so that a deadline, a bound on answers, a retry and the choice
//! between two secrets mean the same everywhere: [`transport`], [`fields`], [`secrets`], and how things fail ([`Error`]).

pub(crate) mod call;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod secrets;
pub(crate) mod transport;

use std::{fmt, future::Future, pin::Pin};

pub use error::{Error, Flaw, Refusal, Stage, Trouble};
pub use transport::BuildError;

use crate::model::{AppId, LoginCode, OpenId, SessionKey, UnionId};

/// An answer under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<CodeSession, Error>> + Send + 'a>>;

/// Who can say which user a login code stands for. Each call names its app: nothing here has an app of the moment.
pub trait Platform: fmt::Debug + Send + Sync {
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
    /// The user's key in this app. A platform keeps one alive at a time, so the newest one wins.
    pub session_key: SessionKey,
}
