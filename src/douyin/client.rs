//! The client of Douyin's API: one call per login, over the transport that all platforms share.

use std::{collections::HashMap, fmt, sync::Arc};

use super::code2session::{self, Endpoint};
use crate::{
    config::sections,
    model::{AppId, AppSecret, LoginCode},
    platform::{
        Asking, BuildError, CodeSession, Error, Platform,
        call::Call,
        transport::{Transport, builder, once_more},
    },
    telemetry::Counters,
};

/// Asks Douyin, or whoever stands behind an app's `api_base`.
///
/// Its connections belong to the runtime on which it is first used: use it on one that outlives every login.
pub struct Client {
    transport: Transport,
    endpoints: HashMap<AppId, Endpoint>,
    counters: Arc<Counters>,
}

impl Client {
    /// A client for these apps. It connects when it is first asked, and counts each request, the retry too.
    pub fn new<'a>(
        section: &sections::WeChat,
        apps: impl IntoIterator<Item = &'a sections::App>,
        counters: Arc<Counters>,
    ) -> Result<Self, BuildError> {
        let apps: Vec<&sections::App> = apps.into_iter().collect();
        let transport = Transport::over(builder(section.timeout, &apps), section.timeout)?;
        let endpoint = |app: &&sections::App| Ok((app.app_id.clone(), Endpoint::of(app)?));
        Ok(Self { transport, endpoints: apps.iter().map(endpoint).collect::<Result<_, _>>()?, counters })
    }

    /// Begins with what an older client has found out: which secrets work.
    pub fn recall(&self, before: &Self) {
        for (app, endpoint) in &self.endpoints {
            if let Some(before) = before.endpoints.get(app) {
                endpoint.secrets.recall(&before.secrets);
            }
        }
    }

    async fn exchange(&self, app: &AppId, code: &LoginCode) -> Result<CodeSession, Error> {
        let endpoint = self.endpoints.get(app).ok_or(Error::UnknownApp)?;
        endpoint.secrets.send(move |secret| once_more(move || self.ask(endpoint, secret, code))).await
    }

    async fn ask(&self, endpoint: &Endpoint, secret: &AppSecret, code: &LoginCode) -> Result<CodeSession, Error> {
        let call = Call::begin(&self.counters.douyin);
        let answer = self.transport.post_json(endpoint.url(), endpoint.body(secret, code)).await;
        let answer = answer.and_then(|(status, body)| code2session::read(status, &body));
        call.end(&answer);
        answer
    }
}

impl Platform for Client {
    fn code_to_session<'a>(&'a self, app: &'a AppId, code: &'a LoginCode) -> Asking<'a> {
        Box::pin(self.transport.within(self.exchange(app, code)))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("transport", &self.transport).finish_non_exhaustive()
    }
}
