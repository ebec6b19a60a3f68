//! From an accepted socket to a connection that requests can be read from: behind a PROXY header where the listener asks
//! for one, and with TLS where it speaks it.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::yield_now,
    time::{Instant, timeout_at},
};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    Arrival, Service,
    connection::{self, Shared, Switched},
    http2::{self, Spoken},
    introduction,
    listener::Manner,
    proxy_header::Announced,
    refuse,
    stream::{Socket, Stream},
    tls::{Handshake, Tls, failed},
    tunnel,
};
use crate::{model::Secured, web::Refusal};

/// A socket that has come in.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    /// The place of its listener.
    pub(super) listener: usize,
    pub(super) manner: Manner,
}

/// Whose connection it is, and where it came in.
#[derive(Clone, Copy)]
struct Origin {
    peer: SocketAddr,
    nameless: bool,
    listener: usize,
}

impl Origin {
    /// The same, where the proxy that has connected says this of it.
    fn announced(self, announced: Announced) -> Self {
        match announced {
            Announced::Client(peer) => Self { peer, ..self },
            // HAProxy says that it comes for itself also where its client came by a Unix socket.
            Announced::Itself | Announced::Somebody => Self { nameless: true, ..self },
        }
    }

    fn arrival(self, secured: Option<Secured>) -> Arrival {
        Arrival { peer: self.peer, nameless: self.nameless, listener: self.listener, secured }
    }
}

/// Serves a connection from accept to close, or until it is HTTP no more and handed over. It has a place among those that there may be for
/// as long as it lives, in whatever task.
pub(super) async fn serve<S: Service>(accepted: Accepted, shared: Rc<Shared<S>>, place: OwnedSemaphorePermit) {
    let _counted = shared.drain.enter_task().await;
    // Boxed, so that a connection does not carry the room for what comes before it for all its life.
    let Some((stream, conn, spoken)) = Box::pin(introduce(accepted, &shared)).await else { return };
    match spoken {
        Spoken::Http1(held) => {
            if let Some(Switched { client, conn }) = connection::run(stream, held, conn, &shared).await {
                let service = shared.service.get();
                if let Some(promised) = service.promised(&conn) {
                    tunnel::spawn(promised, client, service, &shared.drain, (conn, place));
                }
            }
        }
        // Boxed, so that an HTTP/1 connection does not carry the room for this one.
        Spoken::Http2(held) => Box::pin(http2::run(stream, held, conn, &shared)).await,
        Spoken::Nothing => stream.close(),
    }
}

/// Finds out who comes and what is spoken. `None` when there is nothing more to be done for the client.
pub(super) async fn introduce<S: Service>(
    accepted: Accepted,
    shared: &Shared<S>,
) -> Option<(Stream, Rc<S::Conn>, Spoken)> {
    let Accepted { mut socket, peer, listener, manner } = accepted;
    let mut origin = Origin { peer, nameless: false, listener };
    // What takes much room is boxed, each by itself: a connection that says nothing has the room for neither.
    // Before TLS, and nothing of it is encrypted.
    if manner.proxied {
        let (behind, announced) = Box::pin(introduction::listen(socket, peer, shared)).await?;
        (socket, origin) = (behind, origin.announced(announced));
    }
    let (mut stream, secured) = match &shared.tls {
        Some(tls) if manner.tls => {
            let (stream, secured) = Box::pin(secure(socket, origin, tls, shared)).await?;
            (stream, Some(secured))
        }
        _ => (Stream::Bare(socket), None),
    };
    let spoken = spoken(&mut stream, secured.is_some(), shared).await;
    let conn = shared.service.get().connected(origin.arrival(secured));
    Some((stream, Rc::new(conn), spoken))
}

/// What is spoken on a connection: what the handshake has agreed on, or else what the client begins with.
async fn spoken<S>(stream: &mut Stream, secured: bool, shared: &Shared<S>) -> Spoken {
    if stream.has_agreed_on_http2() {
        Spoken::Http2(BytesMut::new())
    } else if secured || !shared.options.http2.prior_knowledge {
        Spoken::Http1(BytesMut::new())
    } else {
        http2::listen(stream, &shared.options, &shared.drain).await
    }
}

/// Puts TLS over a socket, within the time there is for it. `None` when there is nothing more to be done for the client.
async fn secure<S: Service>(
    socket: Socket,
    origin: Origin,
    tls: &Rc<Tls>,
    shared: &Shared<S>,
) -> Option<(Stream, Secured)> {
    let deadline = Instant::now() + tls.handshake_timeout();
    let mut stream = Stream::Bare(socket);
    if !stream.has_bytes(tls.handshake_timeout(), connection::NEWCOMER, &shared.drain).await {
        // Probes of load balancers look like this too.
        shared.service.get().shook_hands(Handshake::Silent);
        return None;
    }
    let mut first = [0; 1];
    let socket = stream.into_socket();
    let peeked = poll_fn(|cx| socket.poll_peek(cx, &mut first)).await;
    if peeked.is_ok() && first[0].is_ascii_uppercase() {
        shared.service.get().shook_hands(Handshake::PlainHttp);
        let conn = shared.service.get().connected(origin.arrival(None));
        let answer = shared.service.get().refuse(Refusal::NotEncrypted, &conn);
        // The client may be gone already; then there is nobody to tell.
        let _: io::Result<()> = refuse::answer(Stream::Bare(socket), answer, shared.options.write_timeout).await;
        return None;
    }
    let shaken = timeout_at(deadline, Box::pin(shake_hands(socket, tls, shared))).await;
    match shaken.unwrap_or(Err(Handshake::TimedOut)) {
        Ok((stream, secured, how)) => {
            shared.service.get().shook_hands(how);
            Some((stream, secured))
        }
        Err(how) => {
            tracing::debug!(client = %origin.peer.ip(), outcome = how.word(), "a TLS handshake came to nothing");
            shared.service.get().shook_hands(how);
            None
        }
    }
}

async fn shake_hands<S>(
    socket: Socket,
    tls: &Tls,
    shared: &Shared<S>,
) -> Result<(Stream, Secured, Handshake), Handshake> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), socket).await.map_err(|error| failed(&error))?;
    // The hello is answered where it is turned into a stream, and that is what a handshake costs: so many of a crowd that
    // comes at once have a turn, and then it is those who are there already. Nobody has a turn while the client thinks, or
    // pretends to.
    let turn = shared.handshakes.acquire().await;
    let (offer, config) = tls.offer();
    let mut handshake = pin!(hello.into_stream(config));
    let begun = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await;
    yield_now().await;
    drop(turn);
    let shaken = match begun {
        Poll::Ready(shaken) => shaken,
        Poll::Pending => handshake.await,
    };
    let mut stream = shaken.map_err(|error| if offer.is_empty() { Handshake::UnknownName } else { failed(&error) })?;
    let (_, session) = stream.get_mut();
    let (secured, how) = offer.settle(session).ok_or(Handshake::Failed)?;
    Ok((Stream::Tls(Box::new(stream)), secured, how))
}
