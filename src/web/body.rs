//! A request body on its way in: bounded in size, bounded in idle time, without trailers.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

/// Why a request body can't be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// More bytes than the reader takes.
    #[error("the request body is larger than allowed")]
    TooLarge,
    /// The client sent nothing for too long.
    #[error("the request body did not come in time")]
    TimedOut,
    /// The client went away, or sent what is no body.
    #[error("the request body broke off")]
    Broken(#[source] hyper::Error),
}

/// What a connection knows of the body it is reading. Shared with the body, which may live on in an upstream's task.
#[derive(Debug, Default)]
pub struct BodyWatch {
    /// Which request of the connection this is about. A body that outlives its request speaks for nobody.
    generation: Cell<u64>,
    waits: Cell<Option<Instant>>,
    waker: RefCell<Option<Waker>>,
    /// When bytes of it were last read.
    read: Cell<Option<Instant>>,
    late: Cell<bool>,
    whole: Cell<bool>,
    given_up: Cell<bool>,
}

impl BodyWatch {
    /// A new request has begun.
    pub fn begin(&self, empty: bool) {
        self.generation.set(self.generation.get() + 1);
        self.waits.set(None);
        self.late.set(false);
        self.whole.set(empty);
        self.given_up.set(false);
        self.read.set(None);
    }

    /// Whether nobody wants the rest of the body.
    pub fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Whether somebody is still reading the body, or means to.
    pub fn is_under_way(&self) -> bool {
        !self.whole.get() && !self.given_up.get()
    }

    /// When bytes of it were last read.
    pub fn last_read(&self) -> Option<Instant> {
        self.read.get()
    }

    /// Ends the reader's patience, if the client has been silent for so long. True when it has.
    pub fn expire(&self, now: Instant, limit: Duration) -> bool {
        if self.waits.get().is_none_or(|since| now - since < limit) {
            return false;
        }
        self.waits.set(None);
        self.late.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        true
    }

    /// This watch, if it is still about that request.
    fn at(&self, generation: u64) -> Option<&Self> {
        (self.generation.get() == generation).then_some(self)
    }

    fn give_up(&self) {
        self.given_up.set(!self.whole.get());
    }

    fn wait(&self, cx: &Context<'_>) -> Result<(), BodyError> {
        if self.late.get() {
            return Err(BodyError::TimedOut);
        }
        if self.waits.get().is_none() {
            self.waits.set(Some(Instant::now()));
        }
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Ok(())
    }
}

/// A request body. Trailers are dropped: an upstream may merge them into its headers, behind the back of whoever
/// checked those.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` stands for a body that is known to be empty.
    inner: Option<Incoming>,
    left: u64,
    generation: u64,
    watch: Rc<BodyWatch>,
}

/// Tells how far a body has been read, after the body itself went elsewhere.
#[derive(Clone, Debug)]
pub struct BodyProgress {
    generation: u64,
    watch: Rc<BodyWatch>,
}

impl BodyProgress {
    /// Whether the body has been read to its end.
    pub fn is_whole(&self) -> bool {
        self.watch().is_some_and(|watch| watch.whole.get())
    }

    /// Whether its reader waits for the client, or has just given that up.
    pub fn is_awaited(&self) -> bool {
        self.watch().is_some_and(|watch| watch.waits.get().is_some() || watch.late.get())
    }

    /// When bytes of it were last read, if the connection is still at its request.
    pub fn last_read(&self) -> Option<Instant> {
        self.watch().and_then(|watch| watch.read.get())
    }

    /// Says that nobody wants the rest.
    pub fn give_up(&self) {
        if let Some(watch) = self.watch() {
            watch.give_up();
        }
    }

    /// Another empty body, for sending a request without a body a second time.
    pub fn empty_again(&self) -> RequestBody {
        RequestBody { inner: None, left: 0, generation: self.generation, watch: Rc::clone(&self.watch) }
    }

    fn watch(&self) -> Option<&BodyWatch> {
        self.watch.at(self.generation)
    }
}

impl RequestBody {
    /// The body of the request the watch is at.
    pub fn new(inner: Incoming, watch: Rc<BodyWatch>) -> Self {
        Self { inner: Some(inner), left: u64::MAX, generation: watch.generation.get(), watch }
    }

    /// Bounds the body to `max` bytes. Fails at once when its declared length is more.
    pub fn limit(&mut self, max: u64) -> Result<(), BodyError> {
        self.left = max;
        if self.size_hint().lower() > max { Err(BodyError::TooLarge) } else { Ok(()) }
    }

    /// A handle that outlives the body.
    pub fn progress(&self) -> BodyProgress {
        BodyProgress { generation: self.generation, watch: Rc::clone(&self.watch) }
    }

    /// The watch, as long as it is about this body's request.
    fn watch(&self) -> Option<&BodyWatch> {
        self.watch.at(self.generation)
    }

    fn end(&self) {
        if let Some(watch) = self.watch() {
            watch.waits.set(None);
            watch.whole.set(true);
        }
    }

    fn count(&mut self, data: Bytes) -> Result<Frame<Bytes>, BodyError> {
        let len = data.len() as u64;
        if len > self.left {
            return Err(BodyError::TooLarge);
        }
        self.left -= len;
        if let Some(watch) = self.watch() {
            watch.read.set(Some(Instant::now()));
        }
        if self.is_end_stream() {
            self.end();
        }
        Ok(Frame::data(data))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
            return match this.watch.wait(cx) {
                Ok(()) => Poll::Pending,
                Err(late) => Poll::Ready(Some(Err(late))),
            };
        };
        // A frame can come out of a body that outlived its request: the client's part was over, not the upstream's.
        if let Some(watch) = this.watch() {
            watch.waits.set(None);
        }
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => Poll::Ready(Some(this.count(data))),
            Some(Err(error)) => Poll::Ready(Some(Err(BodyError::Broken(error)))),
            // The end, or trailers, which come at the end.
            None | Some(Ok(Err(_))) => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if self.inner.is_none() {
            return;
        }
        if self.is_end_stream() {
            self.end();
        } else if let Some(watch) = self.watch() {
            watch.waits.set(None);
            watch.give_up();
        }
    }
}
