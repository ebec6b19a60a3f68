//! `[[apps]]`: the Mini Programs whose users may log in.

use std::time::Duration;

use url::Url;

use crate::model::{AppId, AppSecret};

/// One Mini Program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Its AppID.
    pub app_id: AppId,
    /// Whose users they are, and so which protocol is spoken.
    pub platform: PlatformKind,
    /// Its AppSecret.
    pub secret: AppSecret,
    /// Another AppSecret that may be the one that counts, while one takes the place of the other.
    pub other_secret: Option<AppSecret>,
    /// Who answers the platform's login call: the platform, or who speaks the same protocol (for WeChat QQ and private
    /// containers).
    pub api_base: Url,
    /// Instead of `sessions.idle`.
    pub idle: Option<Duration>,
    /// Instead of `sessions.lifetime`.
    pub lifetime: Option<Duration>,
    /// Instead of `sessions.per_user`.
    pub per_user: Option<usize>,
}

/// Whose users an app has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlatformKind {
    /// WeChat, and whoever speaks its protocol.
    #[default]
    WeChat,
    /// Douyin, and the other apps of its house.
    Douyin,
}

impl App {
    /// A Mini Program of WeChat, with the defaults of all that may be left out.
    pub fn new(app_id: AppId, secret: AppSecret, api_base: Url) -> Self {
        Self {
            app_id,
            platform: PlatformKind::default(),
            secret,
            other_secret: None,
            api_base,
            idle: None,
            lifetime: None,
            per_user: None,
        }
    }
}

impl PlatformKind {
    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::WeChat => "wechat",
            Self::Douyin => "douyin",
        }
    }

    /// Where its API is.
    pub fn api_base(self) -> &'static str {
        match self {
            Self::WeChat => "https://api.weixin.qq.com",
            Self::Douyin => "https://developer.toutiao.com",
        }
    }
}
