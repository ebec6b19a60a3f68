//! One request on a connection of many: its stream, its body on the way, and what there is to send it again.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use http::{Response, uri::Scheme};
use tokio::task::spawn_local;

use super::{
    super::{Fault, Outgoing, Payload, length, task::Task},
    Connection, MOST_FIELDS, Slot, head,
    interim::Answering,
    pump::Pump,
};

/// One request on a connection. Dropped before its end, the stream is reset.
pub(in super::super) struct Exchange<B> {
    sender: SendRequest<Bytes>,
    scheme: Scheme,
    slot: Slot,
    /// The connection had nothing to do and has had before: servers close such at any moment.
    lay_unused: bool,
    /// The connection broke under others before.
    is_told: bool,
    head: Option<Box<Outgoing<()>>>,
    upload: Upload<B>,
}

/// A request's body.
enum Upload<B> {
    /// Sent, or given back.
    Over,
    /// There is nothing to send, or it could not be begun with.
    Kept(B),
    /// It goes on while somebody waits for the answer.
    Here(Box<Pump<B>>),
    /// It goes on by itself.
    Going(Task),
}

/// An answer to come.
pub(in super::super) enum Asked {
    Stream(Answering),
    Unwritten(Option<Fault>),
}

/// Why there is none.
#[derive(Debug)]
pub(in super::super) struct Unanswered {
    pub(in super::super) fault: Fault,
    /// A head came that was not the last.
    pub(in super::super) has_heard: bool,
    is_unwritten: bool,
}

impl<B> fmt::Debug for Exchange<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({:?})", self.slot)
    }
}

impl<B: Payload> Exchange<B> {
    pub(super) fn begin(connection: &Connection) -> Self {
        let state = &connection.state;
        let lay_unused = state.used.replace(true) && state.streams.get() == 0;
        Self {
            sender: connection.sender.clone(),
            scheme: connection.scheme.clone(),
            slot: Slot::take(state),
            lay_unused,
            is_told: false,
            head: None,
            upload: Upload::Over,
        }
    }

    /// Whether the connection was lying unused.
    pub(in super::super) fn lay_unused(&self) -> bool {
        self.lay_unused
    }

    /// Sends the head. The body follows while [`poll_upload`](Self::poll_upload) is asked.
    pub(in super::super) fn send(&mut self, request: Outgoing<B>) -> Asked {
        let (request, body) = request.split();
        let head = head::of(&request, &self.scheme).ok_or(Fault::NoHead);
        self.head = Some(Box::new(request));
        let is_whole = body.is_end_stream();
        match head.and_then(|head| Ok(self.sender.send_request(head, is_whole)?)) {
            Ok((answer, stream)) => {
                self.upload =
                    if is_whole { Upload::Kept(body) } else { Upload::Here(Box::new(Pump::new(body, stream))) };
                Asked::Stream(Answering::new(answer))
            }
            Err(fault) => {
                self.upload = Upload::Kept(body);
                Asked::Unwritten(Some(fault))
            }
        }
    }

    /// Goes on with the body.
    pub(in super::super) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Upload::Here(pump) = &mut self.upload {
            // What there is to say of its end is said by the stream.
            let _ = Pin::new(&mut **pump).poll(cx);
        }
    }

    /// There is an answer, so the request is not sent again.
    pub(in super::super) fn answered(&mut self) {
        self.slot.0.refuses.set(false);
        self.head = None;
        if let Upload::Kept(_) = self.upload {
            self.upload = Upload::Over;
        }
    }

    /// No answer came in time. If nothing at all came, the server may be gone, and others are to ask it on another
    /// connection.
    pub(in super::super) fn is_late(&self) {
        if self.slot.0.quiet.get() > 0 {
            self.slot.0.shut.set(true);
        }
    }

    /// The connection broke.
    pub(in super::super) fn lost(&mut self) {
        self.is_told = self.slot.0.broken.replace(true);
    }

    /// Whether this is the first to say so: for all of its requests together a connection breaks once.
    pub(in super::super) fn is_first_to_fail(&self) -> bool {
        !self.is_told
    }

    /// The request, where nothing of it has been done and nothing of its body was sent; and whether the server has seen it
    /// all the same.
    pub(in super::super) fn take_back(&mut self, why: &Unanswered) -> Option<(Outgoing<B>, bool)> {
        let is_refused = why.is_refused();
        if is_refused {
            self.slot.0.refuses.set(true);
        }
        if !why.is_unwritten && (!is_refused || why.has_heard) {
            return None;
        }
        let body = match std::mem::replace(&mut self.upload, Upload::Over) {
            Upload::Kept(body) => body,
            Upload::Here(pump) => pump.into_untouched()?,
            Upload::Over | Upload::Going(_) => return None,
        };
        Some((self.head.take()?.map(|()| body), is_refused))
    }

    /// Why the body could not be sent, where that is why there is no answer.
    pub(in super::super) fn take_fault(&mut self) -> Option<Fault> {
        match &mut self.upload {
            Upload::Here(pump) => pump.take_fault().map(Fault::Body),
            _ => None,
        }
    }

    /// Whether all of the request is with the protocol.
    pub(in super::super) fn is_sent(&self) -> bool {
        match &self.upload {
            Upload::Over | Upload::Kept(_) => true,
            Upload::Here(pump) => pump.is_over(),
            Upload::Going(task) => task.is_over(),
        }
    }

    /// Lets the body go on whether or not anybody waits for the answer.
    pub(in super::super) fn set_going(&mut self) {
        self.upload = match std::mem::replace(&mut self.upload, Upload::Over) {
            Upload::Here(pump) if !pump.is_over() => Upload::Going(Task::of(spawn_local(pump))),
            Upload::Here(_) => Upload::Over,
            other => other,
        };
    }

    /// The body's task, with the stream that it belongs to.
    pub(in super::super) fn into_task(mut self) -> Option<(Task, impl Sized + use<B>)> {
        self.set_going();
        match self.upload {
            Upload::Going(task) => Some((task, self.slot)),
            _ => None,
        }
    }
}

impl Unanswered {
    /// Whether the server says that it has done nothing with the request (RFC 9113, 8.7): it has refused the stream, or is
    /// leaving and has not come to it. h2 tells of a leaving server only the streams behind the last one that it has come to.
    fn is_refused(&self) -> bool {
        let Fault::Http2(error) = &self.fault else { return false };
        let is_reset = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        error.is_remote() && (is_reset || error.is_go_away())
    }
}

impl Future for Asked {
    type Output = Result<Response<RecvStream>, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Stream(answer) => {
                let mut head = ready!(Pin::new(&mut *answer).poll(cx));
                if head.as_ref().is_ok_and(|head| head.headers().len() > MOST_FIELDS) {
                    let fault = Fault::TooManyFields;
                    return Poll::Ready(Err(Unanswered { fault, has_heard: true, is_unwritten: false }));
                }
                if let Ok(head) = &mut head {
                    let status = head.status();
                    if let Err(fault) = length::settle(head.headers_mut(), status) {
                        return Poll::Ready(Err(Unanswered { fault, has_heard: true, is_unwritten: false }));
                    }
                }
                let has_heard = answer.has_heard();
                let unanswered = |fault| Unanswered { fault, has_heard, is_unwritten: false };
                Poll::Ready(head.map_err(unanswered))
            }
            Self::Unwritten(fault) => match fault.take() {
                Some(fault) => Poll::Ready(Err(Unanswered { fault, has_heard: false, is_unwritten: true })),
                None => Poll::Pending,
            },
        }
    }
}
