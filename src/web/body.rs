//! A request body on its way in: bounded in size, bounded in idle time, without trailers.

use std::{
    cell::{Cell, RefCell},
    error::Error,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
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
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// Where the bytes of a body come from over HTTP/1.1: the connection, which has it as long as its request is at hand.
pub trait BodySource: fmt::Debug {
    /// The next data.
    fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Box<dyn Error + Send + Sync>>>>;

    /// Whether all of it has been taken.
    fn is_over(&self) -> bool;

    /// How much is still to come.
    fn size_hint(&self) -> SizeHint;
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
    /// The connection's task, where it waits for the end of the body.
    owner: RefCell<Option<Waker>>,
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

    /// Whether its reader waits for the client.
    pub fn is_awaited(&self) -> bool {
        self.waits.get().is_some()
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

    /// The connection waits for whoever reads the body: its task is woken when there is nothing more to be read, or nobody wants it.
    pub fn wake_at_end(&self, cx: &Context<'_>) {
        self.owner.replace(Some(cx.waker().clone()));
    }

    /// The connection has ended. Who waits for the body is to see that.
    pub fn abandon(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// This watch, if it is still about that request.
    fn at(&self, generation: u64) -> Option<&Self> {
        (self.generation.get() == generation).then_some(self)
    }

    fn give_up(&self) {
        self.given_up.set(!self.whole.get());
        self.wake_owner();
    }

    fn end(&self) {
        self.waits.set(None);
        self.whole.set(true);
        self.wake_owner();
    }

    fn wake_owner(&self) {
        if let Some(owner) = self.owner.take() {
            owner.wake();
        }
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
    inner: Inner,
    left: u64,
    generation: u64,
    watch: Rc<BodyWatch>,
}

#[derive(Debug)]
enum Inner {
    /// It is known to be empty, or has ended.
    Nothing,
    Http1(Rc<dyn BodySource>),
    Http2(Incoming),
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
        RequestBody { inner: Inner::Nothing, left: 0, generation: self.generation, watch: Rc::clone(&self.watch) }
    }

    fn watch(&self) -> Option<&BodyWatch> {
        self.watch.at(self.generation)
    }
}

/// The request, whose body goes along with it. What is left has none, and asks for nothing.
pub fn taken(request: &mut Request<RequestBody>) -> Request<RequestBody> {
    let nothing = Request::new(request.body().progress().empty_again());
    std::mem::replace(request, nothing)
}

impl RequestBody {
    /// The body of the request over HTTP/2 that the watch is at.
    pub fn new(inner: Incoming, watch: Rc<BodyWatch>) -> Self {
        Self { inner: Inner::Http2(inner), left: u64::MAX, generation: watch.generation.get(), watch }
    }

    /// The body of the request over HTTP/1.1 that the watch is at; none where it has none.
    pub fn from_source(source: Option<Rc<dyn BodySource>>, watch: Rc<BodyWatch>) -> Self {
        let inner = source.map_or(Inner::Nothing, Inner::Http1);
        Self { inner, left: u64::MAX, generation: watch.generation.get(), watch }
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

    fn end(&mut self) {
        // What its connection reads from here on is of another request.
        self.inner = Inner::Nothing;
        if let Some(watch) = self.watch() {
            watch.end();
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

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.inner {
            Inner::Nothing => Poll::Ready(None),
            Inner::Http1(_) if self.watch.at(self.generation).is_none() => {
                Poll::Ready(Some(Err(BodyError::Broken("its request is over".into()))))
            }
            Inner::Http1(source) => source.poll_data(cx).map_err(BodyError::Broken),
            Inner::Http2(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx)).transpose();
                let frame = frame.map_err(|why| BodyError::Broken(why.into()))?;
                // Trailers come at the end.
                Poll::Ready(frame.and_then(|frame| frame.into_data().ok()).map(Ok))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if matches!(this.inner, Inner::Nothing) {
            return Poll::Ready(None);
        }
        let Poll::Ready(data) = this.poll_data(cx) else {
            return match this.watch.wait(cx) {
                Ok(()) => Poll::Pending,
                Err(late) => Poll::Ready(Some(Err(late))),
            };
        };
        // Data can come out of a body that outlived its request: the client's part was over, not the upstream's.
        if let Some(watch) = this.watch() {
            watch.waits.set(None);
        }
        if data.is_none() {
            this.end();
        }
        Poll::Ready(data.map(|data| data.and_then(|data| this.count(data))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Nothing => true,
            Inner::Http1(source) => self.watch().is_some() && source.is_over(),
            // One that is as long as was promised is whole, though its end may not have been said.
            Inner::Http2(incoming) => incoming.is_end_stream() || incoming.size_hint().exact() == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Nothing => SizeHint::with_exact(0),
            Inner::Http1(source) if self.watch().is_some() => source.size_hint(),
            Inner::Http1(_) => SizeHint::default(),
            Inner::Http2(incoming) => incoming.size_hint(),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if matches!(self.inner, Inner::Nothing) {
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
