//! A message on its way to a socket over HTTP/1.1: its head, and its body as it comes.

use std::{
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::AsyncWrite;

/// Data up to this size are copied behind what goes before them, so that the kernel takes them by the shorter way of `send`.
const SMALL: usize = 2048;

/// With so much to be written, nothing more is taken of a body.
const ENOUGH: usize = 8 * 1024;

/// Room for more than this is not kept for the next message.
const KEPT: usize = 4096;

/// How the other side is told where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Nothing,
    /// After so many bytes.
    Length(u64),
    /// Behind the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

impl Framing {
    /// As long as the body says it is, or else in chunks.
    pub fn of(body: &impl Body) -> Self {
        if body.is_end_stream() {
            return Self::Nothing;
        }
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// A message that is being written; or none, and room for the next.
#[derive(Debug)]
pub struct Transfer<B> {
    /// What goes first: the head, sizes of chunks, and data where they are small.
    near: Vec<u8>,
    /// So much of that is written.
    written: usize,
    /// Large data, as they came.
    data: Bytes,
    /// What goes behind them.
    behind: &'static [u8],
    body: Option<B>,
    framing: Framing,
    /// Whether all that was written is on its way: TLS may hold something back.
    is_flushed: bool,
}

/// Why a message can't be written to its end.
#[derive(Debug)]
pub enum Stopped {
    /// The other side takes no more.
    Io(io::Error),
    /// There is no more of its body.
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl<B> Default for Transfer<B> {
    fn default() -> Self {
        Self {
            near: Vec::new(),
            written: 0,
            data: Bytes::new(),
            behind: b"",
            body: None,
            framing: Framing::Nothing,
            is_flushed: true,
        }
    }
}

impl<B> Transfer<B> {
    /// Begins with a head, which `write` writes.
    pub fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Framing) -> Framing {
        self.near.clear();
        self.written = 0;
        self.is_flushed = false;
        self.framing = write(&mut self.near);
        self.framing
    }

    /// Whether all of it is on its way.
    pub fn is_over(&self) -> bool {
        self.body.is_none() && self.is_flushed
    }

    /// So many bytes lie here.
    pub fn waiting(&self) -> usize {
        self.near.len() - self.written + self.data.len() + self.behind.len()
    }

    /// Whether all that lies here is on its way.
    pub fn is_flushed(&self) -> bool {
        self.is_flushed
    }

    /// Whether all that was promised is on its way, and only the body has not said that it ends there.
    pub fn lacks_only_the_end(&self) -> bool {
        self.framing == Framing::Length(0) && self.body.is_some() && self.is_flushed
    }

    /// Waits for the end no longer.
    pub fn end(&mut self) {
        self.body = None;
    }

    /// Writes all that lies here.
    pub fn poll_flush(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(socket, cx))?;
        if !self.is_flushed {
            ready!(Pin::new(&mut *socket).poll_flush(cx))?;
            self.is_flushed = true;
        }
        if self.is_over() && self.near.capacity() > KEPT {
            (self.near, self.written) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let near = &self.near[self.written..];
            let to = Pin::new(&mut *socket);
            let written = match [near, &self.data, self.behind] {
                [[], [], []] => return Poll::Ready(Ok(())),
                [only, [], []] | [[], only, []] => ready!(to.poll_write(cx, only))?,
                several => ready!(to.poll_write_vectored(cx, &several.map(IoSlice::new)))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_near = written.min(near.len());
            let of_data = (written - of_near).min(self.data.len());
            self.written += of_near;
            self.data.advance(of_data);
            self.behind = &self.behind[written - of_near - of_data..];
            if self.data.is_empty() {
                // The memory behind it goes too.
                self.data = Bytes::new();
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin> Transfer<B> {
    /// What follows the head.
    pub fn follow_with(&mut self, body: B) {
        self.body = Some(body);
    }

    /// Takes what there is of the body, as far as there is room for it. Pending where more has to come first.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Stopped> {
        while self.has_room()
            && let Some(body) = &mut self.body
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Ok(Poll::Pending) };
            // Trailers go nowhere. They come at the end.
            let frame = frame.transpose().map_err(|why| Stopped::Body(why.into()))?;
            match frame.and_then(|frame| frame.into_data().ok()) {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    let is_last = body.is_end_stream();
                    self.put(data, is_last)?;
                }
                None => self.put(Bytes::new(), true)?,
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Writes what there is. Ready when all of it is on its way.
    pub fn poll(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        while !self.is_over() {
            let is_to_come = self.poll_body(cx)?.is_pending();
            ready!(self.poll_flush(socket, cx)).map_err(Stopped::Io)?;
            if is_to_come {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn has_room(&self) -> bool {
        self.data.is_empty() && self.behind.is_empty() && self.near.len() - self.written < ENOUGH
    }

    /// This is next. Nothing large is here.
    fn put(&mut self, data: Bytes, is_last: bool) -> Result<(), Stopped> {
        // Little or nothing is behind what is written.
        self.near.drain(..self.written);
        self.written = 0;
        let (length, mut behind) = (data.len() as u64, &b""[..]);
        match &mut self.framing {
            Framing::Length(left) => {
                *left =
                    left.checked_sub(length).ok_or_else(|| Stopped::Body("it is longer than it was to be".into()))?;
                if is_last && *left > 0 {
                    return Err(Stopped::Body("it is shorter than it was to be".into()));
                }
            }
            Framing::Chunked => {
                if length > 0 {
                    // Writing to memory does not fail.
                    let _ = write!(self.near, "{length:x}\r\n");
                }
                behind = match (length > 0, is_last) {
                    (true, true) => b"\r\n0\r\n\r\n",
                    (true, false) => b"\r\n",
                    (false, _) => b"0\r\n\r\n",
                };
            }
            Framing::UntilClose => {}
            Framing::Nothing if length > 0 => return Err(Stopped::Body("it was not to be".into())),
            Framing::Nothing => {}
        }
        if data.len() <= SMALL {
            self.near.extend_from_slice(&data);
            self.near.extend_from_slice(behind);
        } else {
            (self.data, self.behind) = (data, behind);
        }
        self.is_flushed = false;
        if is_last {
            self.body = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, future::poll_fn, task::Waker};

    use http_body::Frame;

    use super::*;

    /// A body in these pieces, of which each second one is not there when it is asked for.
    struct Pieces(VecDeque<Result<Bytes, &'static str>>, bool);

    impl Pieces {
        fn of(pieces: &[&[u8]]) -> Self {
            Self(pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect(), false)
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.1 = !self.1;
            if self.1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// What is written of a message with this head and body, and how that ends.
    async fn transferred(framing: Framing, pieces: Pieces) -> (Vec<u8>, Result<(), String>) {
        let (mut transfer, mut socket) = (Transfer::default(), Vec::new());
        transfer.begin(|to| {
            to.extend_from_slice(b"head:");
            framing
        });
        transfer.follow_with(pieces);
        let ended = poll_fn(|cx| transfer.poll(&mut socket, cx)).await;
        let ended = ended.map_err(|why| match why {
            Stopped::Io(why) => why.to_string(),
            Stopped::Body(why) => why.to_string(),
        });
        assert!(ended.is_err() || transfer.is_over() && transfer.waiting() == 0);
        (socket, ended)
    }

    #[tokio::test]
    async fn large_and_small_pieces_go_out_in_their_order() {
        let large = vec![b'x'; SMALL + 1];
        let (got, ended) = transferred(Framing::Chunked, Pieces::of(&[b"ab", b"", &large, b"c"])).await;
        let expected = format!("head:2\r\nab\r\n801\r\n{}\r\n1\r\nc\r\n0\r\n\r\n", "x".repeat(SMALL + 1));
        assert_eq!((String::from_utf8(got).unwrap(), ended), (expected, Ok(())));
        let length = Framing::Length(large.len() as u64 + 2);
        let (got, ended) = transferred(length, Pieces::of(&[&large, b"ab"])).await;
        assert_eq!((got.len(), ended), (5 + large.len() + 2, Ok(())));
        let (got, ended) = transferred(Framing::UntilClose, Pieces::of(&[b"ab", &large])).await;
        assert_eq!((got.len(), ended), (5 + large.len() + 2, Ok(())));
    }

    #[tokio::test]
    async fn a_body_is_as_long_as_it_was_to_be_or_no_body() {
        for (length, says) in [(1, "it is longer than it was to be"), (3, "it is shorter than it was to be")] {
            let (got, ended) = transferred(Framing::Length(length), Pieces::of(&[b"ab"])).await;
            assert_eq!((&got[..], ended), (&b"head:"[..], Err(says.to_owned())));
        }
        let (_, ended) = transferred(Framing::Nothing, Pieces::of(&[b"ab"])).await;
        assert_eq!(ended, Err("it was not to be".to_owned()));
    }

    #[tokio::test]
    async fn what_came_before_a_body_broke_off_can_still_be_written() {
        let mut pieces = Pieces::of(&[b"ab"]);
        pieces.0.push_back(Err("broken"));
        let (mut transfer, mut socket) = (Transfer::default(), Vec::new());
        transfer.begin(|_| Framing::Chunked);
        transfer.follow_with(pieces);
        let broke = poll_fn(|cx| match transfer.poll_body(cx) {
            Ok(Poll::Ready(())) => panic!("it does not end"),
            Ok(Poll::Pending) => Poll::Pending,
            Err(why) => Poll::Ready(why),
        });
        assert!(matches!(broke.await, Stopped::Body(why) if why.to_string() == "broken"));
        poll_fn(|cx| transfer.poll_flush(&mut socket, cx)).await.unwrap();
        assert_eq!(socket, b"2\r\nab\r\n");
    }

    #[test]
    fn a_body_that_is_whole_may_still_have_to_say_so() {
        let (mut transfer, mut socket) = (Transfer::default(), Vec::new());
        let cx = &mut Context::from_waker(Waker::noop());
        transfer.begin(|_| Framing::Length(2));
        transfer.follow_with(Unending(Some(Bytes::from_static(b"ab"))));
        assert!(!transfer.lacks_only_the_end());
        assert!(transfer.poll(&mut socket, cx).is_pending() && transfer.lacks_only_the_end() && socket == b"ab");
        transfer.end();
        assert!(transfer.is_over() && !transfer.lacks_only_the_end());
    }

    /// Data, and nothing behind them.
    struct Unending(Option<Bytes>);

    impl Body for Unending {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            self.0.take().map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(Frame::data(data)))))
        }
    }

    #[test]
    fn who_takes_little_at_a_time_makes_no_memory_grow() {
        let (mut transfer, cx) = (Transfer::default(), &mut Context::from_waker(Waker::noop()));
        transfer.begin(|_| Framing::Chunked);
        transfer.follow_with(Forever);
        for _ in 0..10_000 {
            assert!(transfer.poll_body(cx).unwrap().is_ready());
            assert!(transfer.poll_flush(&mut Sip { taken: false }, cx).is_pending());
        }
        assert!(transfer.near.capacity() < 4 * ENOUGH, "{}", transfer.near.capacity());
    }

    /// A socket that takes a little, once.
    struct Sip {
        taken: bool,
    }

    impl AsyncWrite for Sip {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if std::mem::replace(&mut self.taken, true) { Poll::Pending } else { Poll::Ready(Ok(bytes.len().min(100))) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn no_more_is_taken_of_a_body_than_there_is_room_for() {
        let mut transfer = Transfer::default();
        transfer.begin(|_| Framing::Chunked);
        transfer.follow_with(Forever);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(transfer.poll_body(cx).unwrap().is_ready());
        assert!((ENOUGH..ENOUGH + 2 * SMALL).contains(&transfer.waiting()), "{}", transfer.waiting());
    }

    /// Data without end.
    struct Forever;

    impl Body for Forever {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'.'; 100])))))
        }
    }
}
