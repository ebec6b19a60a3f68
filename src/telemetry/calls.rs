//! Calls to others, the store and the platforms: how long they took and what came of them. None is on the path of a request whose
//! session is in memory, so these cells are shared.

use super::{counters::Counter, histogram::Histogram};

/// One thing that a store is asked to do.
#[derive(Debug, Default)]
pub struct Operation {
    /// How long its answers took, errors too.
    pub took: Histogram,
    /// Answers that were errors.
    pub errors: Counter,
}

/// All that a store is asked to do.
#[derive(Debug, Default)]
pub struct StoreCalls {
    /// A login.
    pub begin: Operation,
    /// A look-up.
    pub load: Operation,
    /// A log-out.
    pub end: Operation,
    /// A log-out everywhere.
    pub end_user: Operation,
    /// A user's sessions.
    pub sessions_of: Operation,
    /// A user's `session_key`.
    pub session_key: Operation,
    /// Another in its place.
    pub replace_session_key: Operation,
    /// A user's profile.
    pub profile: Operation,
    /// A change of it.
    pub put_profile: Operation,
    /// Its removal.
    pub forget_profile: Operation,
    /// Notices of changes, to be sent.
    pub claim_notices: Operation,
    /// What became of one.
    pub settle_notice: Operation,
    /// How many wait.
    pub waiting_notices: Operation,
    /// Last uses, written down in batches.
    pub touch: Operation,
    /// What is brought into memory at the start.
    pub recent: Operation,
    /// How many there are.
    pub count: Operation,
    /// A step of a sweep.
    pub sweep: Operation,
    /// Whether it can take a login.
    pub check: Operation,
}

impl StoreCalls {
    /// Each by name.
    pub fn each(&self) -> [(&'static str, &Operation); 18] {
        [
            ("begin", &self.begin),
            ("load", &self.load),
            ("end", &self.end),
            ("end_user", &self.end_user),
            ("sessions_of", &self.sessions_of),
            ("session_key", &self.session_key),
            ("replace_session_key", &self.replace_session_key),
            ("profile", &self.profile),
            ("put_profile", &self.put_profile),
            ("forget_profile", &self.forget_profile),
            ("claim_notices", &self.claim_notices),
            ("settle_notice", &self.settle_notice),
            ("waiting_notices", &self.waiting_notices),
            ("touch", &self.touch),
            ("recent", &self.recent),
            ("count", &self.count),
            ("sweep", &self.sweep),
            ("check", &self.check),
        ]
    }
}

/// What WeChat is asked for.
#[derive(Debug, Default)]
pub struct WeChatApi {
    /// Who a login code stands for.
    pub login: PlatformCalls,
    /// An access token.
    pub access_token: PlatformCalls,
    /// A phone number.
    pub phone_number: PlatformCalls,
    /// Whether a session_key still is its user's.
    pub check_session: PlatformCalls,
    /// Another one in its place.
    pub reset_session_key: PlatformCalls,
}

impl WeChatApi {
    /// Each by name.
    pub fn each(&self) -> [(&'static str, &PlatformCalls); 5] {
        [
            ("login", &self.login),
            ("access_token", &self.access_token),
            ("phone_number", &self.phone_number),
            ("check_session", &self.check_session),
            ("reset_session_key", &self.reset_session_key),
        ]
    }
}

/// Calls of one kind, each try counted once: that is what a platform's quotas count.
#[derive(Debug, Default)]
pub struct PlatformCalls {
    /// How long they took, whatever came of them.
    pub took: Histogram,
    /// The platform gave what was asked for.
    pub ok: Counter,
    /// The code was not valid.
    pub code_invalid: Counter,
    /// The code was spent.
    pub code_used: Counter,
    /// The user is blocked.
    pub user_blocked: Counter,
    /// Too many calls.
    pub rate_limited: Counter,
    /// The platform was busy.
    pub busy: Counter,
    /// The access token was refused.
    pub token_refused: Counter,
    /// The platform refused our set-up.
    pub misconfigured: Counter,
    /// The answer could not be used.
    pub broken_answer: Counter,
    /// No connection, or it broke.
    pub unreachable: Counter,
    /// Given up after `wechat.timeout`.
    pub timeout: Counter,
}

impl PlatformCalls {
    /// Each outcome by name.
    pub fn each(&self) -> [(&'static str, &Counter); 11] {
        [
            ("ok", &self.ok),
            ("code_invalid", &self.code_invalid),
            ("code_used", &self.code_used),
            ("user_blocked", &self.user_blocked),
            ("rate_limited", &self.rate_limited),
            ("busy", &self.busy),
            ("token_refused", &self.token_refused),
            ("misconfigured", &self.misconfigured),
            ("broken_answer", &self.broken_answer),
            ("unreachable", &self.unreachable),
            ("timeout", &self.timeout),
        ]
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.each().iter().map(|(_, counter)| counter.get()).sum()
    }
}
