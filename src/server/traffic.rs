//! What the parts of one connection tell each other: the wire, the body, the service's timer and the driver. All on one
//! thread, so plain cells do.

use std::{cell::Cell, rc::Rc, time::Duration};

use http::{HeaderMap, Version, header};
use tokio::time::Instant;

use crate::web::{BodyWatch, Refusal, RequestTimer};

use super::Options;

/// A client that has waited this long is worth asking whether it is still there.
const HANG_UP_AFTER: Duration = Duration::from_millis(250);

/// How long a connection must be idle before its parser and buffers are given back. Sooner costs a few percent of the
/// time of a busy connection, later costs memory.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between requests.
    Idle,
    /// Some bytes of a head have come.
    Head,
    /// A request has begun and its answer has not ended.
    Request,
}

/// What is still to come of a request body, as the wire can know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLeft {
    /// So many bytes; none when there is no body or all of it has come.
    Exact(u64),
    /// Chunks, up to the last one.
    Chunked,
}

/// What the driver is to do now that some time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// Poll again: somebody's deadline has passed.
    Poll,
    /// Give back the parser.
    Park,
    /// Look whether the client is still there.
    Watch,
    /// Cut the connection.
    Cut,
}

/// The state that one connection's parts share.
#[derive(Debug)]
pub(super) struct Traffic {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// A request was made on this connection since its parser was set up.
    served: Cell<bool>,
    /// The parser holds blank lines that stand behind a request and before none.
    blank: Cell<bool>,
    /// A head has passed the screen and no request was made of it yet.
    head_passed: Cell<bool>,
    body_left: Cell<BodyLeft>,
    chunked: Cell<bool>,
    old_version: Cell<bool>,
    refusal: Cell<Option<Refusal>>,
    /// A request has asked hyper for an upgrade, and hyper holds that ready until the end of the connection.
    may_switch: Cell<bool>,
    /// The answer is that HTTP ends here.
    switched: Cell<bool>,
    unflushed: Cell<bool>,
    write_stalled: Cell<Option<Instant>>,
    body: Rc<BodyWatch>,
    timer: RequestTimer,
}

impl Traffic {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            phase: Cell::new(Phase::Idle),
            since: Cell::new(Instant::now()),
            served: Cell::new(false),
            blank: Cell::new(false),
            head_passed: Cell::new(false),
            body_left: Cell::new(BodyLeft::Exact(0)),
            chunked: Cell::new(false),
            old_version: Cell::new(false),
            refusal: Cell::new(None),
            may_switch: Cell::new(false),
            switched: Cell::new(false),
            unflushed: Cell::new(false),
            write_stalled: Cell::new(None),
            body: Rc::default(),
            timer: RequestTimer::default(),
        })
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The watch over the body of the request at hand.
    pub(super) fn body(&self) -> Rc<BodyWatch> {
        Rc::clone(&self.body)
    }

    /// The deadline of the request at hand.
    pub(super) fn timer(&self) -> RequestTimer {
        self.timer.clone()
    }

    pub(super) fn body_left(&self) -> BodyLeft {
        self.body_left.get()
    }

    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.get()
    }

    pub(super) fn refuse(&self, why: Refusal) {
        self.refusal.set(Some(why));
    }

    /// The answer to this request may be a 101, and hyper has something ready for that.
    pub(super) fn let_switch(&self) {
        self.may_switch.set(true);
    }

    /// The answer at hand is a 101: what follows in either direction is not HTTP.
    pub(super) fn switch(&self) {
        self.switched.set(true);
    }

    pub(super) fn has_switched(&self) -> bool {
        self.switched.get()
    }

    pub(super) fn has_served(&self) -> bool {
        self.served.get()
    }

    /// Blank lines have come behind a request.
    pub(super) fn note_blank(&self) {
        self.blank.set(true);
    }

    /// The first bytes of a head have come.
    pub(super) fn begin_head(&self) {
        if self.phase.get() == Phase::Idle {
            self.phase.set(Phase::Head);
            self.since.set(Instant::now());
        }
    }

    pub(super) fn pass_head(&self) {
        self.head_passed.set(true);
    }

    pub(super) fn head_passed(&self) -> bool {
        self.head_passed.get()
    }

    /// The parser made a request. False when its head did not pass the screen, because the parser and we disagree about
    /// where the body before it ended.
    pub(super) fn begin_request(&self, version: Version, headers: &HeaderMap) -> bool {
        self.phase.set(Phase::Request);
        self.served.set(true);
        self.blank.set(false);
        self.old_version.set(version == Version::HTTP_10);
        let left = if headers.contains_key(header::TRANSFER_ENCODING) {
            BodyLeft::Chunked
        } else {
            let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
            BodyLeft::Exact(length.and_then(|v| v.parse().ok()).unwrap_or(0))
        };
        self.body_left.set(left);
        self.chunked.set(left == BodyLeft::Chunked);
        self.body.begin(left == BodyLeft::Exact(0));
        self.head_passed.replace(false)
    }

    /// The answer has ended.
    pub(super) fn end_request(&self) {
        self.phase.set(Phase::Idle);
        self.since.set(Instant::now());
        self.timer.clear();
    }

    /// So many bytes of a body of known length went to the parser.
    pub(super) fn took(&self, bytes: u64) {
        if let BodyLeft::Exact(left) = self.body_left.get() {
            self.body_left.set(BodyLeft::Exact(left.saturating_sub(bytes)));
        }
        self.body_moved();
    }

    /// Bytes of a chunked body went to the parser, up to its end or not.
    pub(super) fn took_chunks(&self, whole: bool) {
        if whole {
            self.body_left.set(BodyLeft::Exact(0));
        }
        self.body_moved();
    }

    /// A body may go on behind its answer, for as long as it goes on.
    fn body_moved(&self) {
        if self.phase.get() == Phase::Idle {
            self.since.set(Instant::now());
        }
    }

    /// Whether nobody wants the rest of the request's body. Of a chunked one the parser may not have read what has come.
    pub(super) fn leaves_body_unread(&self) -> bool {
        self.body.is_given_up() && (self.chunked.get() || self.body_left.get() != BodyLeft::Exact(0))
    }

    /// Whether an answer without a length ends with the connection, because the client knows no chunks.
    pub(super) fn ends_by_close(&self) -> bool {
        self.old_version.get()
    }

    /// Something is to be written, and is not on its way before that is flushed.
    pub(super) fn is_to_write(&self) {
        self.unflushed.set(true);
    }

    /// Whether hyper may end the connection without another try to write what the socket does not take at once. It does so where it
    /// has an upgrade ready and wants to read no more, and where something is wrong with what it reads behind an answer that has ended
    /// before its request, or for which it never made one.
    pub(super) fn may_be_left_unflushed(&self) -> bool {
        self.may_switch.get() || self.phase.get() == Phase::Head || self.is_body_left()
    }

    /// The client took something, or nothing.
    pub(super) fn wrote(&self, blocked: bool) {
        self.is_to_write();
        if !blocked {
            self.write_stalled.set(None);
        } else if self.write_stalled.get().is_none() {
            self.write_stalled.set(Some(Instant::now()));
        }
    }

    pub(super) fn flushed(&self) {
        self.unflushed.set(false);
        self.write_stalled.set(None);
    }

    pub(super) fn unflushed(&self) -> bool {
        self.unflushed.get()
    }

    /// Nothing is under way in either direction.
    pub(super) fn quiet(&self) -> bool {
        self.phase.get() == Phase::Idle && !self.is_body_left() && !self.unflushed.get()
    }

    /// Whether something of the request's body is still to come, or has come and lies in the parser: that takes one chunk after
    /// the other, as they are read, and what is behind it there must not be taken for anything else.
    fn is_body_left(&self) -> bool {
        self.body_left.get() != BodyLeft::Exact(0) || self.chunked.get() && self.body.is_under_way()
    }

    /// For how long nothing of the request's body has been read.
    fn since_read(&self, now: Instant) -> Duration {
        self.body.last_read().map_or(Duration::MAX, |read| now.saturating_duration_since(read))
    }

    /// What is due at this moment.
    pub(super) fn due(&self, now: Instant, options: &Options) -> Due {
        if self.write_stalled.get().is_some_and(|since| now - since >= options.write_timeout) {
            return Due::Cut;
        }
        let body_late = self.body.expire(now, options.body_timeout);
        if self.timer.expire(now) || body_late {
            return Due::Poll;
        }
        let age = now - self.since.get();
        match self.phase.get() {
            // It can't be parked, since its parser holds something, and must not stay for that.
            Phase::Idle if self.blank.get() && self.quiet() => {
                if age >= options.keepalive_timeout {
                    Due::Cut
                } else {
                    Due::Nothing
                }
            }
            Phase::Idle if self.quiet() && age >= PARK_AFTER.min(options.keepalive_timeout) => Due::Park,
            Phase::Head if age >= options.header_timeout => {
                self.refuse(Refusal::HeadTimeout);
                Due::Nothing
            }
            Phase::Request if age >= HANG_UP_AFTER => Due::Watch,
            // Answered early, and now neither the client sends the rest of the body nor the upstream reads it.
            Phase::Idle if self.is_body_left() && age.min(self.since_read(now)) >= options.body_timeout => Due::Cut,
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_written_waits_for_others_only_where_it_can_not_be_left_unwritten() {
        let traffic = Traffic::new();
        traffic.begin_head();
        assert!(traffic.may_be_left_unflushed(), "of this head no request may come");
        let body = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static("3"))]);
        traffic.begin_request(Version::HTTP_11, &body);
        traffic.took(2);
        assert!(traffic.may_be_left_unflushed(), "something may be wrong with the rest of the body");
        traffic.took(1);
        assert!(!traffic.may_be_left_unflushed());
        traffic.end_request();
        assert!(!traffic.may_be_left_unflushed(), "the end of an answer");
        traffic.let_switch();
        traffic.begin_request(Version::HTTP_11, &HeaderMap::new());
        assert!(traffic.may_be_left_unflushed(), "it was a request before this one that asked for an upgrade");
    }
}
