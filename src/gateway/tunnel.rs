//! A WebSocket from its 101 to its end: who is told that its session is over, and the line that is written when it has ended.

use std::{
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use http::Response;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_local,
};

use crate::{
    auth::Access,
    model::Session,
    proxy::{
        Switched,
        tunnel::{self, Outside, Scratch, Terms},
    },
    routing::Rule,
    session::{Ended, Sessions},
};

use super::{Body, Content, Ticket};

/// It is looked this often whether anything has passed, and not more often than that.
const LOOK_AT_MOST: Duration = Duration::from_secs(30);
const LOOK_AT_LEAST: Duration = Duration::from_millis(5);

/// A tunnel that waits until its 101 has gone out.
#[derive(Debug)]
pub(super) struct Tunnel {
    upstream: Switched,
    terms: Terms,
    session: Option<Watched>,
    ticket: Option<Ticket>,
}

/// A session, and its end.
#[derive(Debug)]
struct Watched {
    session: Arc<Session>,
    ended: Ended,
}

impl Tunnel {
    /// Behind this connection, for whoever may pass. From here on the end of the session is heard of.
    pub(super) fn new(upstream: Switched, rule: &Rule, access: &Access, sessions: &Sessions) -> Self {
        let session = access.session();
        let shortest = session.map_or(rule.websocket_idle, |session| rule.websocket_idle.min(session.idle()));
        let shortest = rule.websocket_max_age.map_or(shortest, |age| shortest.min(age));
        let look = (shortest / 4).clamp(LOOK_AT_LEAST, LOOK_AT_MOST);
        Self {
            upstream,
            terms: Terms { idle: rule.websocket_idle, max_age: rule.websocket_max_age, look },
            session: session.map(|session| Watched { session: Arc::clone(session), ended: sessions.watch(session) }),
            ticket: None,
        }
    }

    /// The 101 goes out. The line of the request waits for the end of the tunnel.
    pub(super) fn opened(mut self: Box<Self>, response: &Response<()>, mut ticket: Ticket) -> Box<Self> {
        ticket.entry.status = Some(response.status());
        self.ticket = Some(ticket);
        self
    }

    /// Passes bytes on until the end.
    pub(super) async fn run(
        mut self: Box<Self>,
        client: impl AsyncRead + AsyncWrite + Unpin,
        stopping: impl Future<Output = ()>,
        scratch: &Scratch,
        sessions: &Arc<Sessions>,
    ) {
        let (session, ended) = self.session.map(|watched| (watched.session, watched.ended)).unzip();
        let over = async {
            match ended {
                Some(mut ended) => ended.wait().await,
                None => pending().await,
            }
        };
        let used = || {
            if let Some(session) = &session {
                note_use(sessions, session);
            }
        };
        let outside = Outside { over, stopping, used };
        let (ending, passed) = tunnel::run(client, self.upstream.stream(), self.terms, scratch, outside).await;
        if let Some(ticket) = &mut self.ticket {
            ticket.entry.ended_by = Some(ending.word());
            ticket.entry.received = Some(passed.up);
            ticket.entry.bytes = passed.down;
            ticket.entry.complete = true;
        }
    }
}

/// A session is used as long as something passes through its tunnel. The store may have to be asked for it, and nothing
/// waits for that: an end that it knows of is told to whoever watches.
fn note_use(sessions: &Arc<Sessions>, session: &Arc<Session>) {
    let (sessions, session) = (Arc::clone(sessions), Arc::clone(session));
    spawn_local(async move { sessions.use_again(&session).await });
}

/// The answer that opens a tunnel.
pub(super) fn body() -> Body {
    Body::untold(Content::Whole(bytes::Bytes::new()))
}
