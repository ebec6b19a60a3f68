//! Where a connection stands, and what is due when.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::time::Instant;

use crate::web::{BodyWatch, RequestTimer};

use super::super::Options;

/// A client that has waited this long is worth asking whether it is still there.
const HANG_UP_AFTER: Duration = Duration::from_millis(250);

/// How long a connection must be idle before its buffers are given back. Sooner costs a few percent of the time of a busy connection,
/// later costs memory.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// How long an answer that is out may take to say that it has ended, before the next request has its turn. A server over HTTP/2 says it
/// in a frame of its own.
const END_AFTER: Duration = Duration::from_secs(1);

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests.
    #[default]
    Idle,
    /// Some bytes of a head have come.
    Head,
    /// A request has begun and its answer has not ended.
    Request,
}

/// What is to be done now that some time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Poll again: somebody's deadline has passed.
    Poll,
    /// Give back the buffers.
    Park,
    /// Look whether the client is still there.
    Watch,
    /// Wait no longer for an answer to say that it has ended.
    End,
    /// Tell the client that its head did not come in time.
    Refuse,
    /// Cut the connection.
    Cut,
}

/// The state of a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    phase: Cell<Phase>,
    /// Since when, as far as anybody has looked: that is done a few times per second, and spares each request a look at the clock.
    since: Cell<Option<Instant>>,
    /// A request was made on this connection since its buffers were set up.
    served: Cell<bool>,
    /// Blank lines have come that stand behind a request and before none.
    blank: Cell<bool>,
    unflushed: Cell<bool>,
    /// The end of the connection is the end of the answer at hand.
    ends_by_close: Cell<bool>,
    /// All of the answer at hand is out, and it has not said so.
    lacks_only_the_end: Cell<bool>,
    write_stalled: Cell<Option<Instant>>,
    body: Rc<BodyWatch>,
    timer: RequestTimer,
}

impl Traffic {
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(None);
    }

    /// The watch over the body of the request at hand.
    pub(super) fn body(&self) -> &Rc<BodyWatch> {
        &self.body
    }

    /// The deadline of the request at hand.
    pub(super) fn timer(&self) -> RequestTimer {
        self.timer.clone()
    }

    /// Bytes have come that are no whole head: the beginning of one, or nothing but blank lines so far.
    pub(super) fn begin_head(&self, is_blank: bool) {
        if is_blank && self.served.get() {
            // Some clients send a line end behind a body (RFC 9112, 2.2). It is no beginning of anything.
            self.blank.set(true);
        } else if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    pub(super) fn begin_request(&self, is_empty: bool) {
        self.ends_by_close.set(false);
        self.lacks_only_the_end.set(false);
        self.enter(Phase::Request);
        self.served.set(true);
        self.blank.set(false);
        self.body.begin(is_empty);
    }

    /// An answer begins, which ends with the connection or not.
    pub(super) fn begin_answer(&self, ends_by_close: bool) {
        self.ends_by_close.set(ends_by_close);
    }

    /// Whether a client would take the end of the connection for that of an answer, which is not whole.
    pub(super) fn would_seem_whole(&self) -> bool {
        self.phase.get() == Phase::Request && self.ends_by_close.get()
    }

    /// All of the answer is out, and it has not said so.
    pub(super) fn lacks_only_the_end(&self) {
        if !self.lacks_only_the_end.replace(true) {
            self.since.set(None);
        }
    }

    /// The answer has ended.
    pub(super) fn end_request(&self) {
        self.enter(Phase::Idle);
        self.timer.clear();
    }

    /// Bytes of a body have come. It may go on behind its answer, for as long as it goes on.
    pub(super) fn body_moved(&self) {
        if self.phase.get() == Phase::Idle {
            self.since.set(None);
        }
    }

    /// Something is to be written.
    pub(super) fn is_to_write(&self) {
        self.unflushed.set(true);
    }

    /// The client takes nothing more at the moment, after it has taken something or nothing.
    pub(super) fn is_stalled(&self, has_taken: bool) {
        if has_taken || self.write_stalled.get().is_none() {
            self.write_stalled.set(Some(Instant::now()));
        }
    }

    pub(super) fn flushed(&self) {
        self.unflushed.set(false);
        self.write_stalled.set(None);
    }

    /// No request and no answer is under way.
    pub(super) fn is_quiet(&self) -> bool {
        self.phase.get() == Phase::Idle && !self.unflushed.get()
    }

    /// For how long nothing of the request's body has been read.
    fn since_read(&self, now: Instant) -> Duration {
        self.body.last_read().map_or(Duration::MAX, |read| now.saturating_duration_since(read))
    }

    /// What is due at this moment, where something of a request's body is left or not.
    pub(super) fn due(&self, now: Instant, is_body_left: bool, options: &Options) -> Due {
        if self.write_stalled.get().is_some_and(|since| now - since >= options.write_timeout) {
            return Due::Cut;
        }
        let body_late = self.body.expire(now, options.body_timeout);
        if self.timer.expire(now) || body_late {
            return Due::Poll;
        }
        let since = self.since.get().unwrap_or(now);
        self.since.set(Some(since));
        let age = now - since;
        let is_quiet = self.is_quiet() && !is_body_left;
        match self.phase.get() {
            // It can't be parked, since something is held, and must not stay for that.
            Phase::Idle if self.blank.get() && is_quiet => {
                if age >= options.keepalive_timeout {
                    Due::Cut
                } else {
                    Due::Nothing
                }
            }
            Phase::Idle if is_quiet && age >= PARK_AFTER.min(options.keepalive_timeout) => Due::Park,
            Phase::Head if age >= options.header_timeout => Due::Refuse,
            // Not while the client sends: whoever reads that may have more to say to whoever has answered.
            Phase::Request if self.lacks_only_the_end.get() && !is_body_left && age >= END_AFTER => Due::End,
            Phase::Request if age >= HANG_UP_AFTER => Due::Watch,
            // Answered early, and now neither the client sends the rest of the body nor the upstream reads it.
            Phase::Idle if is_body_left && age.min(self.since_read(now)) >= options.body_timeout => Due::Cut,
            _ => Due::Nothing,
        }
    }
}
