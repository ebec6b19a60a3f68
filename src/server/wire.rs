//! The socket as hyper sees it: request heads pass the screen first, and never more bytes come through than belong to
//! the request at hand, so that the next head starts where ours says it starts.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::web::{Chunks, Refusal, YieldOnce, write_pieces};

use super::{
    screen::{HeadLimits, HeadScreen, Progress},
    stream::Stream,
    traffic::{BodyLeft, Phase, Traffic},
};

/// The client's socket behind the screen.
#[derive(Debug)]
pub(super) struct Wire {
    /// Shared with the connection's driver, which asks it whether the client is still there.
    stream: Rc<RefCell<Stream>>,
    /// Bytes read too far, in front of those still in the socket.
    held: BytesMut,
    screen: HeadScreen,
    /// hyper decodes the chunks; this only walks over them, by the same rules. Where the two disagree nothing can slip through:
    /// bytes we hold back make hyper wait until the body's deadline, and a head that hyper finds in bytes we took for a body has
    /// not passed the screen and is refused.
    chunks: Chunks,
    traffic: Rc<Traffic>,
    /// Lets others go first before something is written.
    yields: YieldOnce,
}

/// What the next bytes are.
enum Expect {
    Head,
    Body(u64),
    Chunks,
    Nothing,
}

impl Wire {
    pub(super) fn new(stream: Rc<RefCell<Stream>>, held: BytesMut, limits: HeadLimits, traffic: Rc<Traffic>) -> Self {
        Self {
            stream,
            held,
            screen: HeadScreen::new(limits),
            chunks: Chunks::default(),
            traffic,
            yields: YieldOnce::default(),
        }
    }

    /// The bytes that were not let through.
    pub(super) fn into_held(self) -> BytesMut {
        self.held
    }

    fn expect(&self) -> Expect {
        if self.traffic.refusal().is_some() || self.traffic.has_switched() {
            return Expect::Nothing;
        }
        match (self.traffic.body_left(), self.traffic.phase()) {
            (BodyLeft::Chunked, _) => Expect::Chunks,
            (BodyLeft::Exact(left @ 1..), _) => Expect::Body(left),
            (BodyLeft::Exact(0), Phase::Request) => Expect::Nothing,
            (BodyLeft::Exact(0), Phase::Idle | Phase::Head) => Expect::Head,
        }
    }

    /// How many of these bytes, just read, may go through.
    fn admit(&mut self, expect: &Expect, bytes: &[u8]) -> usize {
        match *expect {
            Expect::Nothing => 0,
            Expect::Body(left) => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.traffic.took(take as u64);
                take
            }
            Expect::Chunks => {
                let end = self.chunks.feed(bytes);
                self.traffic.took_chunks(end.is_some());
                end.unwrap_or(bytes.len())
            }
            Expect::Head if self.traffic.head_passed() => {
                // The screen saw a whole head and the parser wants more of it: they disagree.
                self.traffic.refuse(Refusal::Malformed);
                0
            }
            Expect::Head => {
                let progress = self.screen.feed(bytes);
                if progress == Progress::Partial && self.screen.is_blank() && self.traffic.has_served() {
                    // Some clients send a line end behind a body (RFC 9112, 2.2). It is no beginning of anything.
                    self.traffic.note_blank();
                } else {
                    self.traffic.begin_head();
                }
                match progress {
                    Progress::Partial => bytes.len(),
                    Progress::Complete(end) => {
                        self.traffic.pass_head();
                        end
                    }
                    Progress::Refused(why) => {
                        self.traffic.refuse(why);
                        0
                    }
                }
            }
        }
    }

    /// So many bytes are to be written, after what others read now.
    fn let_others_go_first(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.traffic.may_be_left_unflushed() {
            return Poll::Ready(());
        }
        self.traffic.is_to_write();
        self.yields.poll_before(bytes, cx)
    }

    /// Reads what was held back, which stays until it is admitted, or else from the socket.
    fn fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, buf);
        }
        let n = self.held.len().min(buf.remaining());
        buf.put_slice(&self.held[..n]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let expect = this.expect();
        if matches!(expect, Expect::Nothing) {
            // No waker is kept: the driver looks at the traffic after each poll and acts.
            return Poll::Pending;
        }
        let start = buf.filled().len();
        let again = !this.held.is_empty();
        ready!(this.fill(cx, buf))?;
        let read = &buf.filled()[start..];
        if read.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let admitted = this.admit(&expect, read);
        if again {
            this.held.advance(admitted);
        } else if admitted < read.len() {
            this.held = BytesMut::from(&read[admitted..]);
        }
        if this.held.is_empty() {
            this.held = BytesMut::new();
        }
        buf.set_filled(start + admitted);
        if admitted == 0 { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.let_others_go_first(buf.len(), cx));
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, buf);
        self.traffic.wrote(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.let_others_go_first(bufs.iter().map(|buf| buf.len()).sum(), cx));
        let result = write_pieces(&mut *self.stream.borrow_mut(), cx, bufs);
        self.traffic.wrote(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.yields.begin_anew();
        let result = Pin::new(&mut *self.stream.borrow_mut()).poll_flush(cx);
        match &result {
            Poll::Ready(Ok(())) => self.traffic.flushed(),
            // TLS takes the end of an answer although the socket does not.
            Poll::Pending => self.traffic.wrote(true),
            Poll::Ready(Err(_)) => {}
        }
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }
}
