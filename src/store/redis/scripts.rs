//! What happens in one step: a Lua script each, named by its hash once the server knows it.
//!
//! A script of Redis runs alone, so what two logins, a log-out and a login, or a use and a log-out do to one user happens in
//! some order and never at once. Keys that a script is not told of, the user's other sessions, it names by itself: they
//! share the user's slot, which is what a Cluster asks for.
//!
//! There is no clock in them: `now` is an argument, so that a test can move it, and Redis's own expiry only clears away.

use redis::{Cmd, Script};

/// All scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) begin: Step,
    pub(super) end: Step,
    pub(super) end_user: Step,
    pub(super) sessions_of: Step,
    pub(super) session_key: Step,
    pub(super) replace_session_key: Step,
    pub(super) touch: Step,
    pub(super) put_profile: Step,
    pub(super) forget_profile: Step,
    pub(super) claim: Step,
    pub(super) settle: Step,
}

/// One script.
pub(super) struct Step {
    text: String,
    hash: String,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            begin: Step::new(include_str!("scripts/begin.lua")),
            end: Step::new(include_str!("scripts/end.lua")),
            end_user: Step::new(include_str!("scripts/end_user.lua")),
            sessions_of: Step::new(include_str!("scripts/sessions_of.lua")),
            session_key: Step::new(include_str!("scripts/session_key.lua")),
            replace_session_key: Step::new(include_str!("scripts/replace_session_key.lua")),
            touch: Step::new(include_str!("scripts/touch.lua")),
            put_profile: Step::of_notices(include_str!("scripts/put_profile.lua")),
            forget_profile: Step::of_notices(include_str!("scripts/forget_profile.lua")),
            claim: Step::of_notices(include_str!("scripts/claim.lua")),
            settle: Step::of_notices(include_str!("scripts/settle.lua")),
        }
    }

    /// The commands that make a server know all of them.
    pub(super) fn load(&self) -> impl Iterator<Item = Cmd> {
        let sessions = [&self.begin, &self.end, &self.end_user, &self.sessions_of, &self.session_key, &self.touch];
        sessions
            .into_iter()
            .chain([&self.replace_session_key, &self.put_profile, &self.forget_profile, &self.claim, &self.settle])
            .map(|step| redis::cmd("SCRIPT").arg("LOAD").arg(&step.text).take())
    }
}

impl Step {
    fn new(own: &str) -> Self {
        Self::behind(include_str!("scripts/live.lua"), own)
    }

    fn of_notices(own: &str) -> Self {
        Self::behind(include_str!("scripts/outbox.lua"), own)
    }

    fn behind(shared: &str, own: &str) -> Self {
        let text = [shared, own].concat();
        let hash = Script::new(&text).get_hash().to_owned();
        Self { text, hash }
    }

    /// The command that runs it on these keys. Arguments are added to it.
    pub(super) fn on(&self, keys: &[&str]) -> Cmd {
        redis::cmd("EVALSHA").arg(&self.hash).arg(keys.len()).arg(keys).take()
    }
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Step({})", self.hash)
    }
}
