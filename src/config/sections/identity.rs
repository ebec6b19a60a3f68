//! `[identity]`: the headers that tell an upstream who calls.

use http::HeaderName;

/// The names of the identity headers. The defaults are `CloudRun`'s, so that a backend written for it runs unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// Carries the openid.
    pub openid: HeaderName,
    /// Carries the AppID.
    pub app_id: HeaderName,
    /// Carries the unionid, where it is known.
    pub unionid: HeaderName,
    /// Carries the phone number, where a route asks for it and it is known.
    pub phone: HeaderName,
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self {
            openid: HeaderName::from_static("x-wx-openid"),
            app_id: HeaderName::from_static("x-wx-appid"),
            unionid: HeaderName::from_static("x-wx-unionid"),
            phone: HeaderName::from_static("x-wx-phone"),
        }
    }
}
