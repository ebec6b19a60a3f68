//! A WebSocket between a client and its upstream: bytes both ways, until one of them ends it, or we do.
//!
//! An idle tunnel holds no buffer. What comes is read into one that all tunnels of a worker share and written at once; what
//! the other side does not take is kept, and nothing more is read from this side until it has been.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    task::coop::has_budget_remaining,
    time::{Instant, timeout},
};

use super::frames::{self, Frames};
use crate::web::{Alarm, Side};

/// So many bytes are read at once, and at most so many kept that a side does not take.
const PIECE: usize = 16 * 1024;

/// So many pieces pass in one direction before the other, and the clock, have their turn.
const PIECES_AT_ONCE: usize = 16;

/// So long a side may take to read that it is over.
const PARTING: Duration = Duration::from_secs(1);

/// How long a tunnel may live.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Without a byte in either direction.
    pub idle: Duration,
    /// At all; for ever when absent.
    pub max_age: Option<Duration>,
    /// How often it is looked whether something has passed.
    pub look: Duration,
}

/// Why a tunnel has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client has closed it, or is gone.
    Client,
    /// The upstream has.
    Upstream,
    /// Nothing has passed for too long.
    Idle,
    /// It has lived as long as it may.
    Age,
    /// Its session is over.
    Session,
    /// The gateway stops.
    Stop,
}

/// What all tunnels of a worker share.
#[derive(Debug)]
pub struct Scratch(RefCell<Box<[u8]>>);

/// How many bytes have passed so far.
#[derive(Debug, Default)]
pub struct Passed {
    up: Cell<u64>,
    down: Cell<u64>,
}

/// What goes on outside while a tunnel is open.
#[derive(Debug)]
pub struct Outside<O, S, U, H> {
    /// Comes when its session is over.
    pub over: O,
    /// Comes when the gateway stops.
    pub stopping: S,
    /// Told now and then that something has passed.
    pub used: U,
    /// Let go of when nothing passes any more, before anybody hears of it: who is told to come again finds it free.
    pub held: H,
}

impl Default for Scratch {
    fn default() -> Self {
        Self(RefCell::new(vec![0; PIECE].into_boxed_slice()))
    }
}

impl Passed {
    /// Those that the client has sent.
    pub fn up(&self) -> u64 {
        self.up.get()
    }

    /// Those that went to it.
    pub fn down(&self) -> u64 {
        self.down.get()
    }
}

impl Ending {
    /// Every one there is.
    pub const ALL: [Self; 6] = [Self::Client, Self::Upstream, Self::Idle, Self::Age, Self::Session, Self::Stop];

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Idle => "idle",
            Self::Age => "max_age",
            Self::Session => "session",
            Self::Stop => "stop",
        }
    }

    /// The code that a close frame of ours has (RFC 6455, 7.4.1); none where there is nobody to tell.
    fn code(self) -> Option<u16> {
        match self {
            Self::Client | Self::Upstream => None,
            Self::Idle | Self::Age | Self::Stop => Some(1001),
            Self::Session => Some(1008),
        }
    }
}

/// Passes bytes on until the tunnel ends. What `passed` says holds at every moment, also where this is dropped half-way.
pub async fn run<O: Future<Output = ()>, S: Future<Output = ()>, H>(
    mut client: impl Side,
    mut upstream: impl Side,
    terms: Terms,
    scratch: &Scratch,
    passed: &Passed,
    outside: Outside<O, S, impl FnMut(), H>,
) -> Ending {
    let (mut up, mut down) = (Half::counting(&passed.up), Half::counting(&passed.down));
    let Outside { over, stopping, mut used, held } = outside;
    let (mut over, mut stopping) = (pin!(over), pin!(stopping));
    let mut watch = Watch::new(terms);
    let ending = poll_fn(|cx| {
        // First of all: not a byte passes after the end of the session has been heard of.
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ending::Session);
        }
        if stopping.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ending::Stop);
        }
        // Before the bytes: a side that always has some would use up all that this task may do in one turn.
        if let Poll::Ready(ending) = watch.poll(cx, &mut used) {
            return Poll::Ready(ending);
        }
        let piece = &mut *scratch.0.borrow_mut();
        let mut moved = false;
        let from_client = up.pass(&mut client, &mut upstream, piece, &mut moved, cx);
        let from_upstream = down.pass(&mut upstream, &mut client, piece, &mut moved, cx);
        watch.moved |= moved;
        match (from_client, from_upstream) {
            (Poll::Ready(Err(Fault::Reading)), _) | (_, Poll::Ready(Err(Fault::Writing))) => {
                return Poll::Ready(Ending::Client);
            }
            (Poll::Ready(Err(Fault::Writing)), _) | (_, Poll::Ready(Err(Fault::Reading))) => {
                return Poll::Ready(Ending::Upstream);
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                return Poll::Ready(if watch.client_first { Ending::Client } else { Ending::Upstream });
            }
            (Poll::Ready(Ok(())), Poll::Pending) => watch.client_first = true,
            (Poll::Pending, _) => {}
        }
        Poll::Pending
    })
    .await;
    drop(held);
    if let Some(code) = ending.code() {
        let told = async {
            tokio::join!(
                part(&mut client, down.may_be_told().then(|| frames::close(code))),
                part(&mut upstream, up.may_be_told().then(|| frames::masked_close(code))),
            )
        };
        // Whoever does not listen is cut off.
        _ = timeout(PARTING, told).await;
    }
    ending
}

/// Says goodbye, where that can be understood, and waits for the other side to close: a close over bytes that nobody has
/// read would take the goodbye with it.
async fn part<const N: usize>(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), frame: Option<[u8; N]>) {
    if let Some(frame) = frame
        && (stream.write_all(&frame).await.is_err() || stream.flush().await.is_err())
    {
        return;
    }
    _ = stream.shutdown().await;
    if frame.is_some() {
        let mut rest = [0; 512];
        while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    }
}

/// Watches over the time.
struct Watch {
    terms: Terms,
    begun: Instant,
    last: Instant,
    moved: bool,
    /// Whether the client was the first to say that it is done.
    client_first: bool,
    look: Alarm,
}

impl Watch {
    fn new(terms: Terms) -> Self {
        let now = Instant::now();
        Self { terms, begun: now, last: now, moved: false, client_first: false, look: Alarm::after(terms.look) }
    }

    fn poll(&mut self, cx: &mut Context<'_>, used: &mut impl FnMut()) -> Poll<Ending> {
        while self.look.poll(cx).is_ready() {
            let now = Instant::now();
            if self.terms.max_age.is_some_and(|most| now - self.begun >= most) {
                return Poll::Ready(Ending::Age);
            }
            if std::mem::take(&mut self.moved) {
                self.last = now;
                used();
            } else if now - self.last >= self.terms.idle {
                return Poll::Ready(Ending::Idle);
            }
            self.look.reset(now + self.terms.look);
        }
        Poll::Pending
    }
}

/// Which side of a direction has failed.
enum Fault {
    Reading,
    Writing,
}

/// One direction.
struct Half<'a> {
    /// Read, and not taken by the other side yet.
    kept: BytesMut,
    frames: Frames,
    passed: &'a Cell<u64>,
    unflushed: bool,
    /// Whether this side was told to wait for more, and was heard.
    awaits: bool,
    stage: Stage,
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// This side has said all.
    Ended,
    /// And the other side knows.
    Closed,
}

impl<'a> Half<'a> {
    fn counting(passed: &'a Cell<u64>) -> Self {
        let (kept, frames) = (BytesMut::new(), Frames::default());
        Self { kept, frames, passed, unflushed: false, awaits: false, stage: Stage::Open }
    }

    /// Passes on what there is. Ready when the direction has ended and the other side knows.
    fn pass(
        &mut self,
        from: &mut impl Side,
        to: &mut (impl AsyncWrite + Unpin),
        piece: &mut [u8],
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        if self.stage == Stage::Closed {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..PIECES_AT_ONCE {
            while !self.kept.is_empty() {
                let n = ready!(Pin::new(&mut *to).poll_write(cx, &self.kept)).map_err(|_| Fault::Writing)?;
                if n == 0 {
                    return Poll::Ready(Err(Fault::Writing));
                }
                self.kept.advance(n);
                (*moved, self.unflushed) = (true, true);
            }
            if self.kept.capacity() > 0 {
                self.kept = BytesMut::new();
            }
            if self.stage == Stage::Ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Fault::Writing)?;
                self.stage = Stage::Closed;
                return Poll::Ready(Ok(()));
            }
            // One direction mostly sleeps while the other has something to do. It is not to be asked for each of its pieces.
            if self.awaits && !self.unflushed && from.has_no_news() {
                return Poll::Pending;
            }
            let mut buf = ReadBuf::new(piece);
            self.awaits = false;
            match Pin::new(&mut *from).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => self.take(buf.filled(), to, moved, cx)?,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Reading)),
                Poll::Pending => {
                    // A task that has used up its turn is to come again at once, and nobody remembers that it waits.
                    self.awaits = has_budget_remaining();
                    if self.unflushed {
                        // TLS may have taken more than the socket has.
                        ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(|_| Fault::Writing)?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what was read, and keeps what is not taken.
    #[inline]
    fn take(
        &mut self,
        bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if bytes.is_empty() {
            self.stage = Stage::Ended;
            return Ok(());
        }
        self.passed.set(self.passed.get() + bytes.len() as u64);
        self.frames.pass(bytes);
        (*moved, self.unflushed) = (true, true);
        let taken = match Pin::new(to).poll_write(cx, bytes) {
            Poll::Ready(taken) => taken.map_err(|_| Fault::Writing)?,
            Poll::Pending => 0,
        };
        self.kept.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Whether a frame of ours can be put in.
    fn may_be_told(&self) -> bool {
        self.stage == Stage::Open && self.kept.is_empty() && self.frames.is_at_border()
    }
}

#[cfg(test)]
mod tests;
