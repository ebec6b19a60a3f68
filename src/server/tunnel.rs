//! What is HTTP no more: a connection, or a stream of one, in the hands of the service until it ends.
//!
//! It has a task of its own. One that has spoken HTTP has the room for that, and is polled through all of it for each message.

use std::{future::poll_fn, rc::Rc, task::Poll};

use tokio::task::spawn_local;

use super::{Service, drain::Drain};
use crate::web::Side;

/// Hands a client over to the service. It counts as a connection for as long as it lasts, and what is `held` is kept as long.
pub(super) fn spawn<S: Service>(
    promised: S::Tunnel,
    client: impl Side + 'static,
    service: Rc<S>,
    drain: &Rc<Drain>,
    held: impl Sized + 'static,
) {
    let (drain, counted) = (Rc::clone(drain), drain.enter_ahead());
    spawn_local(async move {
        let (_held, counted) = (held, counted);
        counted.settle().await;
        // This task is woken when the worker is to stop, and whoever is polled in it is asked again.
        let stopping = poll_fn(|_| if drain.is_shut() { Poll::Ready(()) } else { Poll::Pending });
        service.switched(promised, client, stopping).await;
    });
}
