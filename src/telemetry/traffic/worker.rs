//! One worker's hand in what is counted: it writes cells of its own, and is the only one that does.

use std::{marker::PhantomData, rc::Rc, sync::Arc, time::Duration};

use super::{Cells, Names, Rows};
use crate::telemetry::histogram::raise_alone;

/// The right to write one worker's cells. It can't be cloned and stays on its thread: that nobody else writes is what lets
/// it do without locked instructions.
#[derive(Debug)]
pub struct WorkerTraffic {
    pub(super) names: Arc<Names>,
    pub(super) cells: Arc<Cells>,
    pub(super) rows: Arc<Rows>,
    pub(super) one_thread: PhantomData<Rc<()>>,
}

impl WorkerTraffic {
    /// A request is over: it went to this route, by its place in match order, or to this endpoint, or nowhere; and its
    /// answer was of this class, by its place in the list.
    pub fn request(&self, route: Option<usize>, endpoint: Option<&str>, class: usize) {
        let route = route.and_then(|route| self.names.routes.get(route).copied());
        let place = route.or_else(|| self.names.endpoint(endpoint?)).unwrap_or_else(|| self.names.nowhere());
        let class = class.min(self.names.words.classes.len().saturating_sub(1));
        self.rows.requests.raise(place * self.names.words.classes.len() + class);
    }

    /// A login came to this.
    pub fn login(&self, outcome: &str) {
        let logins = self.names.words.logins;
        let at = logins.iter().position(|known| *known == outcome).unwrap_or(logins.len().saturating_sub(1));
        self.cells.logins.raise(at);
    }

    /// A request of this route, by its place in match order, was refused by this limit.
    pub fn limited(&self, route: usize, limit: &str) {
        let Some(place) = self.names.routes.get(route) else { return };
        let limits = self.names.words.limits;
        let at = limits.iter().position(|known| *known == limit).unwrap_or(limits.len().saturating_sub(1));
        self.rows.limited.raise(place * limits.len() + at);
    }

    /// The head of an answer is there: after so long with us, and, where an upstream was asked, so long with it.
    pub fn answered(&self, own: Duration, upstream: Option<Duration>) {
        self.cells.own.observe_alone(own);
        if let Some(upstream) = upstream {
            self.cells.upstream.observe_alone(upstream);
        }
    }

    /// A connection has come in. It counts as open for as long as the guard lives.
    pub fn connection(&self) -> OpenConnection {
        raise_alone(&self.cells.accepted, 1);
        OpenConnection { cells: Arc::clone(&self.cells), one_thread: PhantomData }
    }

    /// A WebSocket has been opened. It counts as open until it is said what ended it.
    pub fn tunnel(&self) -> OpenTunnel {
        self.cells.tunnels.open();
        OpenTunnel { cells: Arc::clone(&self.cells), one_thread: PhantomData }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct OpenConnection {
    cells: Arc<Cells>,
    one_thread: PhantomData<Rc<()>>,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct OpenTunnel {
    cells: Arc<Cells>,
    one_thread: PhantomData<Rc<()>>,
}

impl OpenTunnel {
    /// So many bytes have come from the client, and so many gone to it.
    pub fn pass(&self, received: u64, sent: u64) {
        self.cells.tunnels.pass(received, sent);
    }

    /// It has ended, by one of [`TUNNEL_ENDS`](crate::telemetry::TUNNEL_ENDS).
    pub fn end(self, by: &str) {
        self.cells.tunnels.end(by);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        raise_alone(&self.cells.closed, 1);
    }
}
