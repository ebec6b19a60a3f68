//! Which platform an app's codes go to. It knows one of each and nothing of how they speak.

use std::{collections::HashMap, sync::Arc};

use tokio::runtime;

use crate::{
    config::{
        Config,
        sections::{App, PlatformKind},
    },
    douyin,
    model::{AppId, Clock, LoginCode},
    platform::{Asking, BuildError, Error, Platform},
    telemetry::Counters,
    wechat::{self, ServerApi},
};

/// All platforms, as one.
#[derive(Debug)]
pub(super) struct Platforms {
    kinds: HashMap<AppId, PlatformKind>,
    wechat: Arc<wechat::Client>,
    douyin: douyin::Client,
}

impl Platforms {
    /// Those that the apps of this configuration are of.
    pub(super) fn new(config: &Config, counters: &Arc<Counters>) -> Result<Self, BuildError> {
        let (section, apps) = (&config.wechat, &config.apps);
        let of = |kind| apps.iter().filter(move |app: &&App| app.platform == kind);
        Ok(Self {
            kinds: apps.iter().map(|app| (app.app_id.clone(), app.platform)).collect(),
            wechat: Arc::new(wechat::Client::new(section, of(PlatformKind::WeChat), Arc::clone(counters))?),
            douyin: douyin::Client::new(section, of(PlatformKind::Douyin), Arc::clone(counters))?,
        })
    }

    /// Those of a changed configuration. What these have found out is not forgotten; what is under way with them goes on.
    pub(super) fn changed_to(&self, config: &Config, counters: &Arc<Counters>) -> Result<Self, BuildError> {
        let next = Self::new(config, counters)?;
        next.wechat.recall(&self.wechat);
        next.douyin.recall(&self.douyin);
        Ok(next)
    }

    /// What there is to ask of WeChat with an access token, for the apps that are WeChat's.
    pub(super) fn server_api(&self, control: &runtime::Handle, clock: &Arc<dyn Clock>) -> ServerApi {
        ServerApi::new(Arc::clone(&self.wechat), control.clone(), Arc::clone(clock))
    }
}

impl Platform for Platforms {
    fn code_to_session<'a>(&'a self, app: &'a AppId, code: &'a LoginCode) -> Asking<'a> {
        match self.kinds.get(app) {
            Some(PlatformKind::WeChat) => self.wechat.code_to_session(app, code),
            Some(PlatformKind::Douyin) => self.douyin.code_to_session(app, code),
            None => Box::pin(std::future::ready(Err(Error::UnknownApp))),
        }
    }
}
