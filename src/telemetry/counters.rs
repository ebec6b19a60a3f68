//! What is counted for the process as a whole; [`Traffic`](super::Traffic) counts by worker. One struct of plain cells, resolved at compile time: nothing is hashed or looked up to count.
//! Cells of rare events are shared; what happens on every request is counted in a [`SpreadCounter`].

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{
    avatars::{AvatarRemovals, AvatarUploads},
    calls::{PlatformCalls, StoreCalls, WeChatApi},
    http2::Http2Broken,
    internal::InternalCounts,
    proxy_headers::ProxyHeaders,
    reloads::ConfigState,
    tls::{CertificateReloads, TlsHandshakes},
    webhook::WebhookCounts,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that many threads raise all the time: each in a cell of its own, so that no cache line goes to and fro between
/// them. Only above [`LANES`] threads do two share one.
#[derive(Debug, Default)]
pub struct SpreadCounter([Lane; LANES]);

/// A cell that has its cache line, and the one that processors fetch along with it, for itself.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(AtomicU64);

const LANES: usize = 16;

thread_local! {
    static MY_LANE: Cell<Option<usize>> = const { Cell::new(None) };
}

impl SpreadCounter {
    /// One more.
    pub fn inc(&self) {
        self.0[my_lane()].0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.iter().map(|lane| lane.0.load(Ordering::Relaxed)).sum()
    }
}

/// Threads take their lanes in turn.
fn my_lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    MY_LANE.get().unwrap_or_else(|| {
        let lane = NEXT.fetch_add(1, Ordering::Relaxed) % LANES;
        MY_LANE.set(Some(lane));
        lane
    })
}

/// Everything that is counted process-wide.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions begun.
    pub sessions_issued: Counter,
    /// Live sessions that memory had no room for: each of these logged somebody out.
    pub sessions_evicted: Counter,
    /// Sessions ended by a log-out, by `per_user` or by an operator.
    pub sessions_revoked: Counter,
    /// Look-ups of a session that memory answered.
    pub lookups_hit: SpreadCounter,
    /// Look-ups of a session that was in the store only.
    pub lookups_missed: Counter,
    /// Look-ups of a session that was known here and is over.
    pub lookups_expired: Counter,
    /// Look-ups of a session that nobody knows.
    pub lookups_denied: Counter,
    /// Look-ups that the store did not answer.
    pub lookups_failed: Counter,
    /// Logins answered from the memory of a login that went before.
    pub logins_replayed: Counter,
    /// Login codes sent to Douyin.
    pub douyin: PlatformCalls,
    /// What WeChat was asked, and whoever speaks its protocol.
    pub wechat: WeChatApi,
    /// What the store was asked.
    pub store: StoreCalls,
    /// Logins refused by our own limits.
    pub logins_limited: Counter,
    /// Access log lines that were thrown away because the writer could not keep up.
    pub log_lines_dropped: Counter,
    /// PROXY headers, at listeners where they have to come.
    pub proxy_headers: ProxyHeaders,
    /// Connections over HTTP/2 that were ended, by what was wrong with them.
    pub http2_broken: Http2Broken,
    /// Handshakes with clients over TLS.
    pub tls_handshakes: TlsHandshakes,
    /// Certificates read again.
    pub certificate_reloads: CertificateReloads,
    /// Uploads of pictures.
    pub avatar_uploads: AvatarUploads,
    /// Removals of pictures that nobody names.
    pub avatar_removals: AvatarRemovals,
    /// What backends ask.
    pub internal: InternalCounts,
    /// What is told of changes.
    pub webhook: WebhookCounts,
    /// How the configuration stands.
    pub config: ConfigState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_threads_count_adds_up() {
        let counter = SpreadCounter::default();
        std::thread::scope(|scope| {
            for _ in 0..LANES + 3 {
                scope.spawn(|| (0..1000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.get(), (LANES as u64 + 3) * 1000);
    }
}
