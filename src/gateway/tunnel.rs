//! A WebSocket from its 101 to its end: who is told that its session is over, and the line that is written when it has ended.

use std::{
    cell::Cell,
    future::{Future, pending},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use tokio::task::spawn_local;

use crate::{
    auth::Access,
    limit::UserPlace,
    model::Session,
    proxy::{
        Switched,
        tunnel::{self, Ending, Outside, Passed, Scratch, Terms},
    },
    routing::Rule,
    session::{Ended, Sessions},
    telemetry::OpenTunnel,
    web::Side,
};

use super::{Body, Content, Ticket};

/// It is looked this often whether anything has passed, and not more often than that.
const LOOK_AT_MOST: Duration = Duration::from_secs(30);
const LOOK_AT_LEAST: Duration = Duration::from_millis(5);

/// A tunnel that waits until its 101 has gone out.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Switched,
    terms: Terms,
    session: Option<Watched>,
    /// Among the tunnels of its user.
    place: Option<UserPlace>,
    account: Option<Account>,
}

/// A session, and its end.
#[derive(Debug)]
struct Watched {
    session: Arc<Session>,
    ended: Ended,
}

/// What is to be told of a tunnel when it has ended, whatever way it ends.
#[derive(Debug)]
struct Account {
    ticket: Ticket,
    /// Counted as open, until it has ended.
    open: Option<OpenTunnel>,
    passed: Passed,
    /// How much of that has been counted.
    counted: Cell<(u64, u64)>,
    ending: Ending,
}

impl Tunnel {
    /// Behind this connection, for whoever may pass. From here on the end of the session is heard of.
    pub(super) fn new(
        upstream: Switched,
        rule: &Rule,
        access: &Access,
        sessions: &Sessions,
        place: Option<UserPlace>,
    ) -> Self {
        let session = access.session();
        let shortest = session.map_or(rule.websocket_idle, |session| rule.websocket_idle.min(session.idle()));
        let shortest = rule.websocket_max_age.map_or(shortest, |age| shortest.min(age));
        let look = (shortest / 4).clamp(LOOK_AT_LEAST, LOOK_AT_MOST);
        Self {
            upstream,
            terms: Terms { idle: rule.websocket_idle, max_age: rule.websocket_max_age, look },
            session: session.map(|session| Watched { session: Arc::clone(session), ended: sessions.watch(session) }),
            place,
            account: None,
        }
    }

    /// The 101 goes out. The line of the request waits for the end of the tunnel.
    pub(super) fn opened(mut self: Box<Self>, status: StatusCode, mut ticket: Ticket) -> Box<Self> {
        ticket.entry.status = Some(status);
        let open = Some(ticket.tunnel());
        // Until bytes pass only the client can end it, by not waiting for its 101.
        let (passed, counted, ending) = (Passed::default(), Cell::default(), Ending::Client);
        self.account = Some(Account { ticket, open, passed, counted, ending });
        self
    }

    /// Passes bytes on until the end.
    pub(super) async fn run(
        self: Box<Self>,
        client: impl Side,
        stopping: impl Future<Output = ()>,
        scratch: &Scratch,
        sessions: &Arc<Sessions>,
    ) {
        let Self { mut upstream, terms, session, place, account } = *self;
        let Some(mut account) = account else { return };
        // Nothing but the end of the process drops this before it is done.
        account.ending = Ending::Stop;
        let (session, ended) = session.map(|watched| (watched.session, watched.ended)).unzip();
        let over = async {
            match ended {
                Some(mut ended) => ended.wait().await,
                None => pending().await,
            }
        };
        let used = || {
            account.count();
            if let Some(session) = &session {
                note_use(sessions, session);
            }
        };
        let outside = Outside { over, stopping, used, held: place };
        let ending = tunnel::run(client, upstream.stream(), terms, scratch, &account.passed, outside).await;
        account.ending = ending;
        account.ticket.entry.complete = true;
    }
}

impl Account {
    /// Counts what has passed since the last time.
    fn count(&self) {
        let passed = (self.passed.up(), self.passed.down());
        let before = self.counted.replace(passed);
        if let Some(open) = &self.open {
            open.pass(passed.0 - before.0, passed.1 - before.1);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.count();
        let word = self.ending.word();
        if let Some(open) = self.open.take() {
            open.end(word);
        }
        let entry = &mut self.ticket.entry;
        entry.ended_by = Some(word);
        entry.received = Some(self.passed.up());
        entry.bytes = self.passed.down();
    }
}

/// A session is used as long as something passes through its tunnel. The store may have to be asked for it, and nothing
/// waits for that: an end is heard of by watching the session, whatever comes of this.
fn note_use(sessions: &Arc<Sessions>, session: &Arc<Session>) {
    let (sessions, session) = (Arc::clone(sessions), Arc::clone(session));
    spawn_local(async move { sessions.use_again(&session).await });
}

/// The answer that opens a tunnel.
pub(super) fn body() -> Body {
    Body::untold(Content::Whole(bytes::Bytes::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::TUNNEL_ENDS;

    #[test]
    fn every_end_is_counted_by_its_name() {
        assert_eq!(Ending::ALL.map(Ending::word), TUNNEL_ENDS);
    }
}
