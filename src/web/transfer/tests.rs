//! A message arrives whole and once, or not at all.

use std::{collections::VecDeque, future::poll_fn, task::Waker};

use http_body::Frame;

use super::*;
use crate::web::Inbox;

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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
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

#[test]
fn neither_what_was_read_nor_what_is_to_be_written_is_printed() {
    let mut transfer = Transfer::<Pieces>::default();
    transfer.begin(|to| {
        to.extend_from_slice(b"X-WX-OPENID: oAlice\r\n");
        Framing::Nothing
    });
    assert_eq!(format!("{transfer:?}"), "Transfer(21 bytes wait)");
    let inbox = Inbox::new(bytes::BytesMut::from("Authorization: Bearer wxg_a"));
    assert_eq!(format!("{inbox:?}"), "Inbox(27 bytes)");
}

#[tokio::test]
async fn what_came_before_a_body_broke_off_can_still_be_written() {
    let mut pieces = Pieces::of(&[b"ab"]);
    pieces.0.push_back(Err("broken"));
    let (mut transfer, mut socket) = (Transfer::default(), Vec::new());
    transfer.begin(|_| Framing::Chunked);
    transfer.follow_with(pieces);
    let broke = poll_fn(|cx| transfer.poll_body(cx).map_or_else(|why| Poll::Ready(Err(why)), |come| come.map(Ok)));
    assert!(matches!(broke.await, Err(Stopped::Body(why)) if why.to_string() == "broken"));
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

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
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
