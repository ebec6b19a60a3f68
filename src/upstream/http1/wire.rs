//! What a request on its way, its answer and whoever writes for them share: the socket to the server.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::{
    upstream::{Fault, socket::Socket},
    web::later::{self, Sender, Unsent},
};

/// The socket, and what is known of those who use it.
pub(super) struct Wire {
    pub(super) socket: RefCell<Socket>,
    /// A request that is left to be sent, when all others have had their turn.
    unsent: RefCell<Unsent>,
    /// Whose request it is.
    task: Cell<Option<Waker>>,
    /// How the rest of a body fares that goes on by itself.
    pub(super) rest: RefCell<Rest>,
    /// Who is to know of it.
    pub(super) reader: Cell<Option<Waker>>,
}

#[derive(Debug, Default)]
pub(super) enum Rest {
    /// There is none, or all of it is on its way.
    #[default]
    Over,
    Going,
    /// The server takes no more of it. It may answer all the same.
    Refused,
    /// It broke off. Whatever the server answers, it has not seen the request.
    Broken(Option<Fault>),
}

impl Wire {
    pub(super) fn new(socket: Socket) -> Rc<Self> {
        Rc::new(Self {
            socket: RefCell::new(socket),
            unsent: RefCell::default(),
            task: Cell::default(),
            rest: RefCell::default(),
            reader: Cell::default(),
        })
    }

    /// Whether a request may be left to be sent. Under TLS, and on a socket of the file system, it can't be seen beside the task whether
    /// the server has said something before.
    pub(super) fn can_wait(&self) -> bool {
        self.socket.borrow().is_tcp()
    }

    /// Has this request sent when all others have had their turn, unless the server says something or goes before. Its task is woken
    /// where it is to see to it itself.
    pub(super) fn send_later(self: &Rc<Self>, request: &mut Vec<u8>, cx: &Context<'_>) {
        self.unsent.borrow_mut().take(request);
        self.task.set(Some(cx.waker().clone()));
        later::send_later(self);
    }

    /// Whether it is not on its way whole.
    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.borrow().is_empty()
    }

    /// Whether nothing of it is.
    pub(super) fn has_unbegun(&self) -> bool {
        self.unsent.borrow().is_whole()
    }

    /// It is not to be sent any more.
    pub(super) fn forget_unsent(&self) {
        self.unsent.borrow_mut().forget();
    }

    /// Sends it. Ready when it is on its way.
    pub(super) fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.unsent.borrow_mut().poll_send(&mut *self.socket.borrow_mut(), cx);
        if matches!(sent, Poll::Ready(Err(_))) {
            self.forget_unsent();
        }
        sent
    }
}

impl Sender for Wire {
    fn send(&self) {
        let task = self.task.take();
        let is_quiet = !self.has_unbegun() || self.socket.borrow_mut().is_quiet();
        let mut unsent = self.unsent.borrow_mut();
        let sent = is_quiet
            && matches!(
                unsent.poll_send(&mut *self.socket.borrow_mut(), &mut Context::from_waker(Waker::noop())),
                Poll::Ready(Ok(()))
            );
        drop(unsent);
        if let Some(task) = task.filter(|_| !sent) {
            task.wake();
        }
    }
}
