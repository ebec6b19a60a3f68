//! Whose codes can be exchanged, with which secret, and in which dialect an app is answered.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::voice::Dialect;
use crate::model::AppSecret;

/// Whose codes can be exchanged.
#[derive(Clone, Debug)]
pub enum Apps {
    /// Every AppID with every AppSecret, so long as neither is empty. For a demo, where nobody has registered anything.
    Any,
    /// These AppIDs, each with its AppSecret.
    Known(HashMap<String, AppSecret>),
}

/// The apps as they are at the moment.
pub(super) struct Registry(Mutex<State>);

struct State {
    apps: Apps,
    dialects: HashMap<String, Dialect>,
    spares_codes: bool,
}

impl Registry {
    pub(super) fn new(apps: Apps) -> Self {
        Self(Mutex::new(State { apps, dialects: HashMap::new(), spares_codes: false }))
    }

    /// Nothing, or the errcode that says what is wrong with them.
    pub(super) fn accept(&self, app: &str, secret: &str) -> Result<(), i64> {
        let state = self.state();
        let Apps::Known(apps) = &state.apps else { return Ok(()) };
        let right = apps.get(app).ok_or(40013)?;
        if right.expose() == secret { Ok(()) } else { Err(40125) }
    }

    /// From now on this is the app's secret, and any before is wrong. Where any app would have done, only those that are
    /// named so do from then on.
    pub(super) fn set_secret(&self, app: &str, secret: &str) {
        let mut state = self.state();
        if let Apps::Any = state.apps {
            state.apps = Apps::Known(HashMap::new());
        }
        if let Apps::Known(apps) = &mut state.apps {
            apps.insert(app.to_owned(), AppSecret::new(secret));
        }
    }

    pub(super) fn dialect(&self, app: &str) -> Dialect {
        self.state().dialects.get(app).copied().unwrap_or_default()
    }

    pub(super) fn set_dialect(&self, app: &str, dialect: Dialect) {
        self.state().dialects.insert(app.to_owned(), dialect);
    }

    /// Whether a code is still good after it came with a wrong secret. Nobody knows what the real one does.
    pub(super) fn spares_codes(&self) -> bool {
        self.state().spares_codes
    }

    pub(super) fn spare_codes(&self, spares: bool) {
        self.state().spares_codes = spares;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
