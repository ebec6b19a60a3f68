//! Leaving what is to be written to somebody who writes for all.
//!
//! A worker writes when it has read for everybody; [`YieldOnce`](super::YieldOnce) says why. A task that lets the others go first has
//! to have another turn for that. Where a message lies ready as a whole, the [`carry`]ing task of the worker writes it, which has its
//! turn behind them all.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker, ready},
};

use tokio::{io::AsyncWrite, task::coop};

/// Room for so many messages is kept for the next ones, and for none larger than this.
const SPARES: usize = 32;
const KEPT: usize = 4096;

/// Somebody who has something lying ready to be written.
pub trait Sender {
    /// Writes it. What can't be written at once is for the sender to see to.
    fn send(&self);
}

/// Whoever has something to be sent, and the task that does it.
#[derive(Default)]
struct Desk {
    waiting: VecDeque<Weak<dyn Sender>>,
    carrier: Option<Waker>,
    spares: Vec<Vec<u8>>,
}

thread_local! {
    static DESK: RefCell<Desk> = RefCell::default();
}

/// Has this sent when everybody has had a turn, if it is still there then; at once on a thread where nobody [`carry`]s.
pub fn send_later<S: Sender + 'static>(sender: &Rc<S>) {
    let is_carried = DESK.with_borrow_mut(|desk| {
        let Some(carrier) = &desk.carrier else { return false };
        if desk.waiting.is_empty() {
            carrier.wake_by_ref();
        }
        let sender = Rc::downgrade(sender);
        desk.waiting.push_back(sender);
        true
    });
    if !is_carried {
        sender.send();
    }
}

/// Sends for all on this thread, until it is dropped.
pub async fn carry() {
    let _leaving = Leaving;
    // Each of those it sends for could have sent as much in a turn of its own, so what one task may do in a turn is no measure here.
    coop::unconstrained(poll_fn(|cx| {
        DESK.with_borrow_mut(|desk| _ = desk.carrier.get_or_insert_with(|| cx.waker().clone()));
        send_all();
        Poll::<()>::Pending
    }))
    .await;
}

fn send_all() {
    while let Some(sender) = DESK.with_borrow_mut(|desk| desk.waiting.pop_front()) {
        if let Some(sender) = sender.upgrade() {
            sender.send();
        }
    }
}

/// Nobody carries any more, on purpose or because one of those who were sent for has panicked. What lies there is none the worse for it.
struct Leaving;

impl Drop for Leaving {
    fn drop(&mut self) {
        DESK.with_borrow_mut(|desk| desk.carrier = None);
        send_all();
    }
}

/// A message that is left to be sent; or none. It is not printed, since it may say who calls.
#[derive(Default)]
pub struct Unsent {
    bytes: Vec<u8>,
    written: usize,
}

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unsent({} bytes)", self.left())
    }
}

impl Unsent {
    /// Takes a message, and gives room for the next one.
    pub fn take(&mut self, message: &mut Vec<u8>) {
        debug_assert!(self.is_empty(), "one message at a time");
        let room = DESK.with_borrow_mut(|desk| desk.spares.pop()).unwrap_or_default();
        *self = Self { bytes: std::mem::replace(message, room), written: 0 };
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether there is one of which nothing is written.
    pub fn is_whole(&self) -> bool {
        !self.is_empty() && self.written == 0
    }

    /// So many bytes of it are not written.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Writes it. Ready when all of it is on its way.
    pub fn poll_send(&mut self, socket: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.left() > 0 {
            match ready!(Pin::new(&mut *socket).poll_write(cx, &self.bytes[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => self.written += more,
            }
        }
        // TLS may hold something back.
        ready!(Pin::new(socket).poll_flush(cx))?;
        self.forget();
        Poll::Ready(Ok(()))
    }

    /// Sends no more of it.
    pub fn forget(&mut self) {
        let mut room = std::mem::take(self).bytes;
        if room.capacity() <= KEPT {
            room.clear();
            DESK.with_borrow_mut(|desk| {
                if desk.spares.len() < SPARES {
                    desk.spares.push(room);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, duplex},
        task::{LocalSet, spawn_local, yield_now},
    };

    use super::*;

    type Notes = Rc<RefCell<Vec<&'static str>>>;

    /// Writes down who was there.
    struct Note(&'static str, Notes);

    impl Sender for Note {
        fn send(&self) {
            self.1.borrow_mut().push(self.0);
            assert_ne!(self.0, "panics");
        }
    }

    fn notes() -> (Notes, impl Fn(&'static str) -> Rc<Note>) {
        let notes = Notes::default();
        (Rc::clone(&notes), move |what| Rc::new(Note(what, Rc::clone(&notes))))
    }

    #[tokio::test]
    async fn what_is_left_to_be_sent_is_sent_when_all_have_had_their_turn() {
        let ((notes, note), mut kept) = (notes(), Vec::new());
        let story = async {
            let carrier = spawn_local(carry());
            yield_now().await;
            for sent in [note("sent"), note("sent"), note("sent")] {
                kept.push(Rc::clone(&sent));
                let notes = Rc::clone(&notes);
                spawn_local(async move {
                    notes.borrow_mut().push("read");
                    send_later(&sent);
                });
            }
            yield_now().await;
            yield_now().await;
            assert_eq!(notes.take(), ["read", "read", "read", "sent", "sent", "sent"]);
            let (last, at_once) = (note("the last"), note("at once"));
            send_later(&last);
            send_later(&note("of somebody who is gone"));
            assert!(notes.borrow().is_empty());
            carrier.abort();
            assert!(carrier.await.is_err());
            assert_eq!(notes.take(), ["the last"], "nothing is lost with whoever carried it");
            send_later(&at_once);
            assert_eq!(notes.take(), ["at once"], "where nobody carries");
        };
        LocalSet::new().run_until(story).await;
    }

    #[tokio::test]
    async fn whoever_panics_while_he_is_sent_for_harms_nobody_else() {
        let (notes, note) = notes();
        let story = async {
            let carrier = spawn_local(carry());
            yield_now().await;
            let all = [note("one"), note("panics"), note("two")];
            all.iter().for_each(send_later);
            assert!(carrier.await.unwrap_err().is_panic());
            send_later(&all[0]);
            assert_eq!(notes.take(), ["one", "panics", "two", "one"]);
        };
        LocalSet::new().run_until(story).await;
    }

    /// A sender that has a message to write into this, and says whether it could.
    struct Writer(RefCell<(Unsent, tokio::net::TcpStream)>, std::cell::Cell<bool>);

    impl Sender for Writer {
        fn send(&self) {
            let (unsent, socket) = &mut *self.0.borrow_mut();
            self.1.set(unsent.poll_send(socket, &mut Context::from_waker(Waker::noop())).is_ready());
        }
    }

    /// What one task may do in a turn would be used up by others' messages.
    #[tokio::test]
    async fn more_messages_than_a_task_may_send_in_a_turn_are_sent_in_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut all = Vec::new();
        for _ in 0..300 {
            let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (_far, mut unsent) = (listener.accept().await.unwrap(), Unsent::default());
            near.writable().await.unwrap();
            unsent.take(&mut b"a message".to_vec());
            all.push(Rc::new(Writer(RefCell::new((unsent, near)), std::cell::Cell::default())));
        }
        let story = async {
            spawn_local(carry());
            yield_now().await;
            all.iter().for_each(send_later);
            yield_now().await;
            assert!(all.iter().all(|writer| writer.1.get()));
        };
        LocalSet::new().run_until(story).await;
    }

    #[tokio::test]
    async fn a_message_is_written_as_far_as_there_is_room_and_then_the_rest() {
        let (mut near, mut far) = duplex(4);
        let (mut unsent, mut message) = (Unsent::default(), b"a message".to_vec());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(unsent.poll_send(&mut near, cx).is_ready(), "nothing takes no time");
        unsent.take(&mut message);
        assert!(message.is_empty() && !unsent.is_empty());
        let mut heard = [0; 9];
        for (left, part) in [(5, 4), (1, 4)] {
            assert!(unsent.poll_send(&mut near, cx).is_pending());
            assert_eq!((unsent.left(), format!("{unsent:?}")), (left, format!("Unsent({left} bytes)")));
            far.read_exact(&mut heard[9 - left - part..][..part]).await.unwrap();
        }
        assert!(matches!(unsent.poll_send(&mut near, cx), Poll::Ready(Ok(()))));
        far.read_exact(&mut heard[8..]).await.unwrap();
        assert_eq!((&heard, unsent.is_empty()), (b"a message", true));
        unsent.take(&mut b"never sent".to_vec());
        drop(far);
        assert!(matches!(unsent.poll_send(&mut near, cx), Poll::Ready(Err(_))));
        assert!(!unsent.is_empty(), "it is for the sender to say what becomes of it");
        unsent.forget();
        assert!(unsent.is_empty());
    }
}
