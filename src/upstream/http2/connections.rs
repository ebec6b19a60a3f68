//! The connections of one worker to one server that speaks HTTP/2. The first one that has room takes the next request, so
//! that those too many for the load come to lie unused and go.

use std::{cell::RefCell, net::IpAddr, rc::Rc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use super::{
    super::{ConnectError, Payload, Reuse, check::causes},
    Connection, Exchange,
};

/// The connections of one worker to one server.
#[derive(Default)]
pub(in super::super) struct Connections {
    open: RefCell<Vec<Connection>>,
    dialing: RefCell<Option<Rc<Dialing>>>,
}

/// A connection that is coming about. Whoever would need another waits for this one: a crowd that comes at once, as after a
/// restart, has room on one or two.
#[derive(Default)]
pub(in super::super) struct Dialing {
    over: Notify,
    why_not: RefCell<Option<String>>,
}

/// Whoever brings a connection about.
pub(in super::super) struct Dial<'c> {
    connections: &'c Connections,
    dialing: Rc<Dialing>,
}

impl Connections {
    /// Room for a request, if there is some. A connection on which the server has refused the last request is taken where
    /// that is all there is, but not by a request that has just been refused or lost.
    pub(in super::super) fn begin<B: Payload>(&self, reuse: Reuse) -> Option<Exchange<B>> {
        let open = self.open.borrow();
        let mut with_room = open.iter().filter(|connection| connection.has_room());
        let first = with_room.clone().find(|connection| !connection.state.refuses.get());
        first.or_else(|| with_room.next().filter(|_| reuse == Reuse::Allowed)).map(Exchange::begin)
    }

    /// The connection that is coming about.
    pub(in super::super) fn dialing(&self) -> Option<Rc<Dialing>> {
        self.dialing.borrow().clone()
    }

    /// From here on one is.
    pub(in super::super) fn dial(&self) -> Dial<'_> {
        let dialing = Rc::<Dialing>::default();
        *self.dialing.borrow_mut() = Some(Rc::clone(&dialing));
        Dial { connections: self, dialing }
    }

    /// Those that lie unused close: one of them broke, and what broke it has most likely broken those too; or another worker
    /// wants their places.
    pub(in super::super) fn let_unused_go(&self) {
        self.open.borrow_mut().retain(|connection| connection.unused_since().is_none());
    }

    /// Lets go of those that have ended or are leaving, that lay unused for too long or are too many of such, and that lead
    /// where the server no longer is. What is under way on them goes on.
    pub(in super::super) fn sweep(
        &self,
        now: Instant,
        idle_timeout: Duration,
        max_unused: usize,
        leads_there: impl Fn(Option<IpAddr>) -> bool,
    ) {
        let mut unused = 0;
        self.open.borrow_mut().retain(|connection| {
            let is_wanted = match connection.unused_since() {
                None => true,
                Some(since) => {
                    unused += 1;
                    unused <= max_unused && now.saturating_duration_since(since) < idle_timeout
                }
            };
            is_wanted && connection.is_open() && leads_there(connection.to)
        });
    }
}

impl Dialing {
    /// Waits for it. The error where it came to nothing.
    pub(in super::super) async fn over(&self) -> Result<(), ConnectError> {
        self.over.notified().await;
        let why = self.why_not.borrow_mut().clone();
        why.map_or(Ok(()), |why| Err(ConnectError::Alike { why }))
    }
}

impl Dial<'_> {
    /// It came about, or did not.
    pub(in super::super) fn ends(self, with: Result<Connection, ConnectError>) -> Result<(), ConnectError> {
        match with {
            Ok(connection) => {
                self.connections.open.borrow_mut().push(connection);
                Ok(())
            }
            Err(error) => {
                *self.dialing.why_not.borrow_mut() = Some(causes(&error));
                Err(error)
            }
        }
    }
}

impl Drop for Dial<'_> {
    fn drop(&mut self) {
        // Another may have been begun beside it.
        let mut dialing = self.connections.dialing.borrow_mut();
        if dialing.as_ref().is_some_and(|dialing| Rc::ptr_eq(dialing, &self.dialing)) {
            *dialing = None;
        }
        drop(dialing);
        self.dialing.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_dials_beside_another_is_still_waited_for_when_that_one_is_done() {
        let connections = Connections::default();
        let (first, second) = (connections.dial(), connections.dial());
        drop(first);
        assert!(connections.dialing().is_some());
        drop(second);
        assert!(connections.dialing().is_none());
    }
}
