//! What passes through a tunnel, who is asked for it, and how it ends.

use std::{cell::Cell, future::pending, io, rc::Rc, task::Waker};

use tokio::{
    io::duplex,
    task::{LocalSet, coop::consume_budget, spawn_local, yield_now},
};

use super::*;

impl Side for tokio::io::DuplexStream {}
impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Side for tokio::io::Join<R, W> {}

/// As much as a socket's buffer would take.
const ROOM: usize = 1024;
const ALL: usize = 100 * PIECE;
const AGES: Duration = Duration::from_secs(30);

/// A tunnel from one end to the other.
async fn pass(client: impl Side, upstream: impl Side) -> (Ending, Passed) {
    let terms = Terms { idle: Duration::from_hours(1), max_age: None, look: Duration::from_mins(1) };
    let outside = Outside { over: pending(), stopping: pending(), used: || {}, held: () };
    let passed = Passed::default();
    (run(client, upstream, terms, &Scratch::default(), &passed, outside).await, passed)
}

/// Whatever is asked by a task that has used up its turn before it asks for the first time.
async fn late<T>(what: impl Future<Output = T>) -> T {
    let (mut what, mut is_first) = (pin!(what), true);
    poll_fn(|cx| {
        while is_first && pin!(consume_budget()).poll(cx).is_ready() {}
        is_first = false;
        what.as_mut().poll(cx)
    })
    .await
}

#[tokio::test]
async fn who_reads_slowly_holds_the_other_side_back() {
    let ((mut client, near), (far, mut upstream)) = (duplex(ROOM), duplex(ROOM));
    let sent = std::rc::Rc::new(Cell::new(0));
    let counted = std::rc::Rc::clone(&sent);
    let story = async move {
        spawn_local(pass(near, far));
        spawn_local(async move {
            while counted.get() < ALL {
                upstream.write_all(&[7; 64]).await.unwrap();
                counted.set(counted.get() + 64);
            }
            upstream
        });
        for _ in 0..10_000 {
            yield_now().await;
        }
        assert!((ROOM..PIECE + 3 * ROOM).contains(&sent.get()), "{} bytes for a client that reads none", sent.get());
        let mut all = vec![0; ALL];
        client.read_exact(&mut all).await.unwrap();
        assert!(all.iter().all(|byte| *byte == 7));
    };
    LocalSet::new().run_until(story).await;
}

/// A side that takes everything and says little until there is news, which are that it has ended.
#[derive(Clone, Default)]
struct Silent(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// Bytes that it says at first.
    says: Cell<usize>,
    asked: Cell<usize>,
    taken: Cell<usize>,
    has_news: Cell<bool>,
    reader: Cell<Option<Waker>>,
    /// Whether what it has taken lies there and goes no further.
    stalls: Cell<bool>,
    flushed: Cell<usize>,
    writer: Cell<Option<Waker>>,
}

impl AsyncRead for Silent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &self.0;
        inner.asked.set(inner.asked.get() + 1);
        // As a socket does it: nobody is remembered then.
        if !has_budget_remaining() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let says @ 1.. = inner.says.take() {
            buf.put_slice(&vec![b'a'; says]);
            return Poll::Ready(Ok(()));
        }
        if inner.has_news.get() {
            return Poll::Ready(Ok(()));
        }
        inner.reader.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl AsyncWrite for Silent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.taken.set(self.0.taken.get() + bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &self.0;
        if inner.stalls.get() {
            inner.writer.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        inner.flushed.set(inner.flushed.get() + 1);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Side for Silent {
    fn has_no_news(&self) -> bool {
        !self.0.has_news.get()
    }
}

#[tokio::test]
async fn who_is_silent_is_asked_once_however_much_comes_from_the_other_side_and_again_when_there_is_news() {
    let ((mut client, near), far) = (duplex(ROOM), Silent::default());
    let inner = Rc::clone(&far.0);
    let story = async {
        for at in 1..=100 {
            client.write_all(b"a").await.unwrap();
            while inner.taken.get() < at {
                yield_now().await;
            }
        }
        assert_eq!(inner.asked.get(), 1);
        inner.has_news.set(true);
        inner.reader.take().unwrap().wake();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!((heard.len(), inner.asked.get()), (0, 2));
        drop(client);
    };
    let ((ending, passed), ()) = tokio::join!(pass(near, far), story);
    assert_eq!((ending, passed.up()), (Ending::Upstream, 100));
}

#[tokio::test]
async fn who_was_not_heard_when_told_to_wait_is_asked_once_more() {
    let (near, far) = (Silent::default(), Silent::default());
    let (client, upstream) = (Rc::clone(&near.0), Rc::clone(&far.0));
    let story = async {
        while upstream.asked.get() < 2 {
            yield_now().await;
        }
        for side in [&upstream, &client] {
            side.has_news.set(true);
            side.reader.take().expect("it was heard at last").wake();
        }
    };
    let both = async { tokio::join!(late(pass(near, far)), story).0.0 };
    assert_eq!(timeout(AGES, both).await, Ok(Ending::Upstream));
}

#[tokio::test]
async fn what_a_side_has_taken_and_not_sent_on_is_not_forgotten_while_the_other_is_silent() {
    let (near, far) = (Silent::default(), Silent::default());
    let (client, upstream) = (Rc::clone(&near.0), Rc::clone(&far.0));
    client.says.set(1);
    upstream.stalls.set(true);
    let story = async {
        let writer = loop {
            yield_now().await;
            if let Some(writer) = upstream.writer.take() {
                break writer;
            }
        };
        assert_eq!((upstream.taken.get(), upstream.flushed.get()), (1, 0));
        upstream.stalls.set(false);
        writer.wake();
        while upstream.flushed.get() == 0 {
            yield_now().await;
        }
        client.has_news.set(true);
        client.reader.take().unwrap().wake();
        upstream.has_news.set(true);
        upstream.reader.take().unwrap().wake();
    };
    let both = async { tokio::join!(pass(near, far), story).0 };
    assert!(timeout(AGES, both).await.is_ok(), "it is never sent on");
}

#[tokio::test]
async fn who_has_said_all_may_still_listen() {
    let ((mut client, near), (far, mut upstream)) = (duplex(ROOM), duplex(ROOM));
    let story = async {
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        upstream.read_to_end(&mut heard).await.unwrap();
        upstream.write_all(b"answer").await.unwrap();
        upstream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        (heard, answer)
    };
    let ((ending, passed), heard) = tokio::join!(pass(near, far), story);
    assert_eq!(heard, (b"last words".to_vec(), b"answer".to_vec()));
    assert_eq!((ending, passed.up(), passed.down()), (Ending::Client, 10, 6));
}

#[tokio::test]
async fn bytes_without_end_stop_neither_the_clock_nor_each_other() {
    let terms = Terms { idle: AGES, max_age: Some(Duration::from_millis(20)), look: Duration::from_millis(5) };
    let endless = || tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink());
    let (scratch, passed, used) = (Scratch::default(), Passed::default(), Cell::new(0));
    let outside = Outside { over: pending(), stopping: pending(), used: || used.set(used.get() + 1), held: () };
    let ending = run(endless(), endless(), terms, &scratch, &passed, outside);
    assert_eq!(timeout(AGES, ending).await, Ok(Ending::Age));
    assert!(used.get() > 0 && passed.up() > 0 && passed.down() > 0);
}

#[tokio::test]
async fn who_says_nothing_is_noticed_also_where_the_turn_was_used_up_before() {
    let terms = Terms { idle: Duration::from_millis(20), max_age: None, look: Duration::from_millis(5) };
    let ((_client, near), (far, _upstream)) = (duplex(ROOM), duplex(ROOM));
    let (scratch, passed) = (Scratch::default(), Passed::default());
    let outside = Outside { over: pending(), stopping: pending(), used: || {}, held: () };
    let ending = late(run(near, far, terms, &scratch, &passed, outside));
    assert_eq!(timeout(AGES, ending).await, Ok(Ending::Idle));
}
