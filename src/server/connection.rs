//! One connection from accept to close: parked while idle, served while busy, watched by its deadlines.

use std::{future::Future, rc::Rc, time::Duration};

use bytes::BytesMut;
use tokio::sync::Semaphore;

use crate::web::Resumed;

use super::{
    Options, Service,
    current::Current,
    date::Date,
    drain::Drain,
    http1::{Left, Parked, Room, serve},
    http2::UnderWay,
    stream::Stream,
    tls::Tls,
};

/// What all connections of a worker have in common.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) service: Rc<Current<S>>,
    pub(super) options: Rc<Options>,
    pub(super) date: Date,
    /// For requests over HTTP/1.1.
    pub(super) room: Room,
    pub(super) drain: Rc<Drain>,
    pub(super) tls: Option<Rc<Tls>>,
    /// Requests over HTTP/2.
    pub(super) under_way: Rc<UnderWay>,
    /// Turns at the handshakes of this worker.
    pub(super) handshakes: Semaphore,
}

/// How long a connection has to say what it has come for before a stop takes it for one without anything to do. It may have been
/// taken from the queue as the last one, and its request be on the way: nobody could tell the client to come elsewhere.
pub(super) const NEWCOMER: Duration = Duration::from_secs(1);

/// A connection that is HTTP no more.
pub(super) struct Switched<C> {
    pub(super) client: Resumed<Stream>,
    pub(super) conn: Rc<C>,
}

/// Serves a connection until it is closed, or HTTP no more. The first bytes may have been read already.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps what it is given twice, for as long as a connection lives"
)]
pub(super) fn run<S: Service>(
    mut stream: Stream,
    mut held: BytesMut,
    conn: Rc<S::Conn>,
    shared: &Shared<S>,
) -> impl Future<Output = Option<Switched<S::Conn>>> {
    async move {
        // The first head may take no longer to begin than it may take to arrive.
        let (mut patience, mut grace) = (shared.options.header_timeout, NEWCOMER);
        loop {
            if held.is_empty() && !stream.has_bytes(patience, grace, &shared.drain).await {
                stream.close();
                return None;
            }
            // Boxed, so that an idle connection does not carry the room for a busy one.
            match Box::pin(serve(Parked { stream, held }, &conn, shared)).await {
                Left::Idle(idle) => (stream, held) = (idle.stream, idle.held),
                Left::Switched(parked) => {
                    return Some(Switched { client: Resumed::new(parked.held.freeze(), parked.stream), conn });
                }
                Left::Closed => return None,
            }
            (patience, grace) = (shared.options.keepalive_timeout, Duration::ZERO);
        }
    }
}
