//! The calls that take an access token, each with one of its app.

use std::{fmt, future::Future, sync::Arc};

use tokio::{runtime::Handle, task::JoinSet};

use super::{AccessTokens, Client, Lent, PhoneNumbers, TellingNumber, TokenSource};
use crate::{
    model::{AppId, Clock, PhoneCode, SessionKey, UserKey},
    platform::Error,
};

/// Makes the calls that take an access token.
pub struct ServerApi {
    client: Arc<Client>,
    tokens: Arc<AccessTokens>,
    runtime: Handle,
}

impl ServerApi {
    /// Calls through `client`, for its apps. What asks for tokens runs on `runtime`, and so do questions of backends.
    pub fn new(client: Arc<Client>, runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        let source = Arc::clone(&client) as Arc<dyn TokenSource>;
        let tokens = AccessTokens::new(source, client.apps(), client.timeout(), runtime.clone(), clock);
        Self { client, tokens: Arc::new(tokens), runtime }
    }

    /// Goes on with the tokens that `before` has of those apps that are `same`.
    #[must_use]
    pub fn recall(self, before: &Self, same: impl Fn(&AppId) -> bool) -> Self {
        Self { tokens: Arc::new(self.tokens.recalling(&before.tokens, same)), ..self }
    }

    /// A token of `app`, for a backend that calls WeChat by itself. It may know that WeChat refuses the one with this serial.
    pub async fn access_token(&self, app: &AppId, refused: Option<u64>) -> Result<Lent, Error> {
        self.tokens.give(app, refused).await
    }

    /// Forgets which apps' set-ups WeChat has refused to give a token to: somebody may have mended them.
    pub fn forget_refusals(&self) {
        self.tokens.forget_refusals();
    }

    /// Whether `key` still is the user's.
    pub async fn check_session(&self, user: &UserKey, key: &SessionKey) -> Result<bool, Error> {
        let (client, tokens) = (Arc::clone(&self.client), Arc::clone(&self.tokens));
        let (user, key) = (user.clone(), key.clone());
        self.apart(async move {
            let (client, user, key) = (&client, &user, &key);
            tokens.with(&user.app, move |token| async move { client.check_session(user, &token, key).await }).await
        })
        .await
    }

    /// Makes a call apart from whoever asks: the connections of the client are kept for the next, and would end with the
    /// worker that they were made on. Who gives up ends the call.
    async fn apart<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let mut calls = JoinSet::new();
        calls.spawn_on(call, &self.runtime);
        match calls.join_next().await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => Err(Error::Interrupted),
        }
    }

    /// Another key in the place of `key`, which is worth nothing from then on. None where that is not the user's, or not any more.
    pub async fn reset_session_key(&self, user: &UserKey, key: &SessionKey) -> Result<Option<SessionKey>, Error> {
        let (client, tokens) = (Arc::clone(&self.client), Arc::clone(&self.tokens));
        let (user, key) = (user.clone(), key.clone());
        self.apart(async move {
            let (client, user, key) = (&client, &user, &key);
            tokens.with(&user.app, move |token| async move { client.reset_session_key(user, &token, key).await }).await
        })
        .await
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
