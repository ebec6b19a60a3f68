//! Letting the other tasks of a worker go first before something is written.
//!
//! A worker reads and decides for everybody of whom the system has told it before it writes for the first of them. The writes
//! come close behind each other then: who is to read finds several requests at once instead of being woken for each, and the
//! worker goes through each part of its own code for many requests, one after the other, while the processor has it at hand.

use std::task::{Context, Poll, ready};

/// More bytes than this are written at once: there they cost more than all else, and they are at hand now.
const LITTLE: usize = 8 * 1024;

/// Whether a task has let the others go first.
#[derive(Debug, Default)]
pub struct YieldOnce {
    has_yielded: bool,
}

impl YieldOnce {
    /// Pending for once: the task is woken behind those that can go on now.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The same before so many bytes are written.
    pub fn poll_before(&mut self, bytes: usize, cx: &mut Context<'_>) -> Poll<()> {
        if bytes <= LITTLE {
            ready!(self.poll(cx));
        }
        Poll::Ready(())
    }

    /// All is written. What comes next lets them go first again.
    pub fn begin_anew(&mut self) {
        self.has_yielded = false;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, rc::Rc};

    use tokio::{join, runtime, task::spawn_local};

    use super::*;

    #[test]
    fn everybody_reads_before_the_first_of_them_writes_a_little() {
        assert_eq!(order_of_three(LITTLE), ["read", "read", "read", "write", "write", "write"]);
    }

    #[test]
    fn much_is_written_as_soon_as_it_is_read() {
        assert_eq!(order_of_three(LITTLE + 1), ["read", "write", "read", "write", "read", "write"]);
    }

    #[test]
    fn others_go_first_once_for_all_that_is_written_until_it_is_flushed() {
        let (mut yields, cx) = (YieldOnce::default(), &mut Context::from_waker(std::task::Waker::noop()));
        for _ in 0..2 {
            assert!(yields.poll(cx).is_pending());
            assert!(yields.poll(cx).is_ready() && yields.poll_before(1, cx).is_ready());
            yields.begin_anew();
        }
    }

    /// What three tasks do that are woken at once.
    fn order_of_three(bytes: usize) -> Vec<&'static str> {
        let done = Rc::new(RefCell::new(Vec::new()));
        let one = || {
            let (done, mut yields, mut has_read) = (Rc::clone(&done), YieldOnce::default(), false);
            spawn_local(poll_fn(move |cx| {
                if !std::mem::replace(&mut has_read, true) {
                    done.borrow_mut().push("read");
                }
                ready!(yields.poll_before(bytes, cx));
                done.borrow_mut().push("write");
                Poll::Ready(())
            }))
        };
        let runtime = runtime::Builder::new_current_thread().build_local(runtime::LocalOptions::default()).unwrap();
        runtime.block_on(async { _ = join!(one(), one(), one()) });
        done.take()
    }
}
