//! `[[apps]]`: the Mini Programs whose users may log in.

use url::Url;

use crate::model::{AppId, AppSecret};

/// One Mini Program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its AppID.
    pub app_id: AppId,
    /// Its AppSecret.
    pub secret: AppSecret,
    /// Who answers `/sns/jscode2session`: WeChat, QQ, or a private container that speaks the same API.
    pub api_base: Url,
}
