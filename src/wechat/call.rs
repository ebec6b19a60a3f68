//! One request to WeChat, as it is counted: once, whatever comes of it.

use tokio::time::Instant;

use super::Error;
use crate::telemetry::{Counter, WeChatCalls};

/// A request under way. Where it is dropped without an end, nobody waits for it any more: its time is over.
pub(super) struct Call<'a> {
    calls: &'a WeChatCalls,
    outcome: &'a Counter,
    began: Instant,
}

impl<'a> Call<'a> {
    pub(super) fn begin(calls: &'a WeChatCalls) -> Self {
        Self { calls, outcome: &calls.timeout, began: Instant::now() }
    }

    pub(super) fn end<T>(mut self, answer: &Result<T, Error>) {
        let calls = self.calls;
        self.outcome = match answer {
            Ok(_) => &calls.ok,
            Err(Error::CodeInvalid(_)) => &calls.code_invalid,
            Err(Error::CodeUsed(_)) => &calls.code_used,
            Err(Error::UserBlocked(_)) => &calls.user_blocked,
            Err(Error::RateLimited(_)) => &calls.rate_limited,
            Err(Error::Busy(_)) => &calls.busy,
            Err(Error::TokenRefused(_)) => &calls.token_refused,
            Err(Error::Misconfigured { .. } | Error::UnknownApp) => &calls.misconfigured,
            Err(Error::BrokenAnswer(_)) => &calls.broken_answer,
            Err(Error::Unreachable(_)) => &calls.unreachable,
            Err(Error::Timeout | Error::Interrupted) => &calls.timeout,
        };
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.outcome.inc();
        self.calls.took.observe(self.began.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::{Flaw, Refusal, Stage, Trouble};

    #[test]
    fn every_end_of_a_call_has_its_counter_and_one_without_an_end_ran_out_of_time() {
        let no = || Refusal { errcode: 1, rid: None };
        for (error, word) in [
            (Error::CodeInvalid(no()), "code_invalid"),
            (Error::CodeUsed(no()), "code_used"),
            (Error::UserBlocked(no()), "user_blocked"),
            (Error::RateLimited(no()), "rate_limited"),
            (Error::Busy(no()), "busy"),
            (Error::TokenRefused(no()), "token_refused"),
            (Error::Misconfigured { refusal: no(), mend: "it" }, "misconfigured"),
            (Error::BrokenAnswer(Flaw::UnknownErrcode(no())), "broken_answer"),
            (Error::Unreachable(Trouble { stage: Stage::Connect, kind: None }), "unreachable"),
            (Error::Timeout, "timeout"),
        ] {
            let calls = WeChatCalls::default();
            Call::begin(&calls).end::<()>(&Err(error));
            let counted: Vec<_> = calls.each().into_iter().filter(|(_, n)| n.get() > 0).map(|(name, _)| name).collect();
            assert_eq!((counted, calls.took.read().count()), (vec![word], 1));
        }
        let calls = WeChatCalls::default();
        drop(Call::begin(&calls));
        assert_eq!((calls.timeout.get(), calls.total()), (1, 1));
    }
}
