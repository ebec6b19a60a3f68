//! What a worker counts of the tunnels that pass through it, in cells that no other thread writes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::raise_alone;

/// What a WebSocket can end by.
pub const TUNNEL_ENDS: [&str; 6] = ["client", "upstream", "idle", "max_age", "session", "stop"];

/// One worker's cells.
#[derive(Debug, Default)]
pub(super) struct TunnelCells {
    opened: AtomicU64,
    ended: [AtomicU64; TUNNEL_ENDS.len()],
    received: AtomicU64,
    sent: AtomicU64,
}

/// What was counted of tunnels.
#[derive(Debug, Default)]
pub struct TunnelCounts {
    /// That are open now.
    pub open: u64,
    /// That have ended, in the order of [`TUNNEL_ENDS`].
    pub ended: [u64; TUNNEL_ENDS.len()],
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
}

impl TunnelCells {
    pub(super) fn open(&self) {
        raise_alone(&self.opened, 1);
    }

    pub(super) fn pass(&self, received: u64, sent: u64) {
        raise_alone(&self.received, received);
        raise_alone(&self.sent, sent);
    }

    /// A word that is not known would leave one open for ever, so there is none: it counts as the last.
    pub(super) fn end(&self, by: &str) {
        let at = TUNNEL_ENDS.iter().position(|known| *known == by).unwrap_or(TUNNEL_ENDS.len() - 1);
        raise_alone(&self.ended[at], 1);
    }

    pub(super) fn add_to(&self, counts: &mut TunnelCounts) {
        let mut over = 0;
        // Those first, or there could be more of them than were opened.
        for (sum, cell) in counts.ended.iter_mut().zip(&self.ended) {
            let ended = cell.load(Ordering::Relaxed);
            over += ended;
            *sum += ended;
        }
        counts.open += self.opened.load(Ordering::Relaxed).saturating_sub(over);
        counts.received += self.received.load(Ordering::Relaxed);
        counts.sent += self.sent.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_workers_count_of_websockets_adds_up() {
        let (one, other) = (TunnelCells::default(), TunnelCells::default());
        one.open();
        one.open();
        other.open();
        one.pass(3, 4);
        other.pass(10, 20);
        one.end("session");
        other.end("unheard of");
        let mut counts = TunnelCounts::default();
        one.add_to(&mut counts);
        other.add_to(&mut counts);
        assert_eq!((counts.open, counts.received, counts.sent), (1, 13, 24));
        assert_eq!(counts.ended, [0, 0, 0, 0, 1, 1]);
    }
}
