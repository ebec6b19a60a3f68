//! Who somebody is to us: the pair (app, openid), with the unionid where WeChat told us.

use super::{AppId, OpenId, UnionId};

/// One user of one app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserKey {
    /// The Mini Program.
    pub app: AppId,
    /// The user within it. An openid means nothing without its app.
    pub openid: OpenId,
}

/// What a session proves about its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub user: UserKey,
    /// Absent unless the app is bound to an Open Platform account; it may come with a later login.
    pub unionid: Option<UnionId>,
}
