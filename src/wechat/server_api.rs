//! The calls that take an access token, each with one of its app.

use std::{fmt, sync::Arc};

use tokio::runtime::Handle;

use super::{AccessTokens, Client, Granted, PhoneNumbers, TellingNumber, TokenSource};
use crate::{
    model::{AppId, Clock, PhoneCode, SessionKey, UserKey},
    platform::Error,
};

/// Makes the calls that take an access token.
pub struct ServerApi {
    client: Arc<Client>,
    tokens: AccessTokens,
}

impl ServerApi {
    /// Calls through `client`, for its apps. What asks for tokens runs on `runtime`.
    pub fn new(client: Arc<Client>, runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        let source = Arc::clone(&client) as Arc<dyn TokenSource>;
        let tokens = AccessTokens::new(source, client.apps(), client.timeout(), runtime, clock);
        Self { client, tokens }
    }

    /// A token of `app`, for a backend that calls WeChat by itself.
    pub async fn access_token(&self, app: &AppId) -> Result<Granted, Error> {
        self.tokens.give(app).await
    }

    /// Forgets which apps' set-ups WeChat has refused to give a token to: somebody may have mended them.
    pub fn forget_refusals(&self) {
        self.tokens.forget_refusals();
    }

    /// Whether `key` still is the user's.
    pub async fn check_session(&self, user: &UserKey, key: &SessionKey) -> Result<bool, Error> {
        let client = &self.client;
        self.tokens.with(&user.app, move |token| async move { client.check_session(user, &token, key).await }).await
    }
}

impl PhoneNumbers for ServerApi {
    fn phone_number<'a>(&'a self, app: &'a AppId, code: &'a PhoneCode) -> TellingNumber<'a> {
        let client = &self.client;
        Box::pin(self.tokens.with(app, move |token| async move { client.phone_number(app, &token, code).await }))
    }
}

impl fmt::Debug for ServerApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerApi").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
