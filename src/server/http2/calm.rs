//! Frames that ask for nothing: SETTINGS, PING, `WINDOW_UPDATE`, PRIORITY, DATA without data, and what nobody knows. A client
//! needs some of them, and more the more it is sent; each costs us as much as it costs the client, and its connection is worked
//! at without a pause for as long as they come.
//!
//! So they are paid for. A client has some to begin with, gets more by the second, with each request and with every byte that
//! it is sent, and is cut when it has none left. What an answer to such a frame is long never pays for the next.
//!
//! Short pieces of bodies are no such frames, but h2 ends a connection on which too many lie unread. So whoever reads them, and
//! is ready to, has a turn in between.

use tokio::time::Instant;

/// The preface that a connection begins with (RFC 9113, 3.4).
const PREFACE: usize = 24;

/// What such a frame costs. A byte that the client is sent pays one; the longest answer to such a frame, to a PING, has 17.
const FRAME: i64 = 32;

/// For how many frames there is at the beginning, and at most.
const AT_FIRST: i64 = 2_000;
const AT_MOST: i64 = 20_000;

/// How many more in a second, and with a request.
const A_SECOND: i64 = 200;
const A_REQUEST: i64 = 4;

/// What an unread piece of a body is charged with by h2: so much, less its bytes.
const SHORT: usize = 256;

/// So many turns it takes until too much lies unread. Before the first piece of a body is read there are some: until its request
/// is decided on, has a connection, and is let go first on that.
const TURNS: usize = 16;

/// What may lie unread, by h2's rule: half of the connection's window, and so much where that is less.
const LEAST_UNREAD: usize = 25_600;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;

/// Reads along.
#[derive(Debug)]
pub(super) struct Calm {
    /// What has come of the head of the next frame.
    head: [u8; 9],
    has: usize,
    /// So many bytes until then.
    skip: usize,
    left: i64,
    since: Instant,
    /// What the short pieces since the last turn are charged with, and how much of it is one turn.
    charged: usize,
    in_one_turn: usize,
}

impl Calm {
    /// For a connection with this window.
    pub(super) fn new(now: Instant, window: u32) -> Self {
        let unread = usize::try_from(window / 2).unwrap_or(usize::MAX).max(LEAST_UNREAD);
        let left = AT_FIRST * FRAME;
        Self { head: [0; 9], has: 0, skip: PREFACE, left, since: now, charged: 0, in_one_turn: unread / TURNS }
    }

    /// The client has sent these. How many of them may go on in this turn; none where it has said more than it may.
    pub(super) fn admit(&mut self, all: &[u8], now: Instant) -> Option<usize> {
        let mut bytes = all;
        let seconds = now.saturating_duration_since(self.since);
        let millis = i64::try_from(seconds.as_millis()).unwrap_or(i64::MAX);
        if millis > 0 {
            self.earn(millis.saturating_mul(A_SECOND * FRAME) / 1000);
            self.since = now;
        }
        while !bytes.is_empty() && self.charged < self.in_one_turn {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            let more = (self.head.len() - self.has).min(bytes.len());
            self.head[self.has..self.has + more].copy_from_slice(&bytes[..more]);
            (self.has, bytes) = (self.has + more, &bytes[more..]);
            if self.has == self.head.len() {
                self.frame();
            }
        }
        (self.left >= 0).then_some(all.len() - bytes.len())
    }

    /// Whether so many short pieces have come that those who read them go first. They have then.
    pub(super) fn takes_turns(&mut self) -> bool {
        let many = self.charged >= self.in_one_turn;
        if many {
            self.charged = 0;
        }
        many
    }

    /// The client was sent so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.earn(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn frame(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        (self.has, self.skip) = (0, usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
        match kind {
            HEADERS => self.earn(A_REQUEST * FRAME),
            DATA if self.skip > 0 || flags & END_STREAM != 0 => self.charged += SHORT.saturating_sub(self.skip),
            // There are other bounds for these.
            RST_STREAM | CONTINUATION => {}
            _ => self.left = self.left.saturating_sub(FRAME),
        }
    }

    fn earn(&mut self, more: i64) {
        self.left = self.left.saturating_add(more).min(AT_MOST * FRAME);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WINDOW: u32 = 1 << 20;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    impl Calm {
        /// In as many turns as it takes.
        fn keeps_all(&mut self, mut bytes: &[u8], now: Instant) -> bool {
            while let Some(admitted) = self.admit(bytes, now) {
                bytes = &bytes[admitted..];
                self.takes_turns();
                if bytes.is_empty() {
                    return true;
                }
            }
            false
        }
    }

    fn begun() -> (Calm, Instant) {
        let now = Instant::now();
        let mut calm = Calm::new(now, WINDOW);
        assert!(calm.keeps_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now));
        (calm, now)
    }

    #[test]
    fn frames_that_ask_for_nothing_are_as_many_as_a_client_may_need_and_no_more() {
        for frame in [&PING[..], &[0, 0, 0, 4, 1, 0, 0, 0, 0], &[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1], &[0; 9]] {
            let (mut calm, now) = begun();
            assert!((0..2_000).all(|_| calm.keeps_all(frame, now)), "{frame:?}");
            assert!(!calm.keeps_all(frame, now), "{frame:?}");
            assert!(calm.keeps_all(&[], now + Duration::from_secs(1)), "{frame:?}");
            let later = now + Duration::from_secs(3);
            assert!((0..500).all(|_| calm.keeps_all(frame, later)), "{frame:?}");
        }
    }

    #[test]
    fn what_is_asked_for_and_what_is_sent_pays_for_more() {
        let (mut calm, now) = begun();
        let update = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        for _ in 0..100_000 {
            // A small message, with its window given back for the stream and for the connection.
            calm.wrote(100);
            assert!(calm.keeps_all(&[update, update].concat(), now));
        }
        let (mut calm, now) = begun();
        for _ in 0..100_000 {
            let request = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];
            assert!(calm.keeps_all(&request, now) && calm.keeps_all(&PING, now));
        }
    }

    #[test]
    fn what_is_answered_to_a_ping_does_not_pay_for_the_next() {
        let (mut calm, now) = begun();
        let all = (0..100_000).take_while(|_| {
            calm.wrote(PING.len());
            calm.keeps_all(&PING, now)
        });
        assert!(all.count() < 5_000);
    }

    #[test]
    fn frames_are_found_however_they_are_cut_and_what_is_in_them_is_none() {
        let data = [&[0, 0, 34, 0, 0, 0, 0, 0, 1][..], &[6; 34]].concat();
        let all: Vec<u8> = (0..300).flat_map(|_| [&data[..], &PING].concat()).collect();
        for piece in [1, 2, 7, 60, 100_000] {
            let (mut calm, now) = begun();
            assert!(all.chunks(piece).all(|piece| calm.keeps_all(piece, now)));
            assert_eq!(calm.left, (AT_FIRST - 300) * FRAME, "{piece}");
        }
    }

    /// By h2's rule the connection would end when so much lies unread.
    #[test]
    fn short_pieces_are_admitted_for_one_turn_at_a_time_whatever_the_window() {
        let piece = [&[0, 0, 20, 0, 0, 0, 0, 0, 1][..], &[7; 20]].concat();
        for (window, unread) in [(65_535, 32_767), (1 << 20, 1 << 19), (20_000, 25_600)] {
            let now = Instant::now();
            let mut calm = Calm::new(now, window);
            assert!(calm.keeps_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now));
            let (all, mut at) = (piece.repeat(10_000), 0);
            while at < all.len() {
                let admitted = calm.admit(&all[at..], now).unwrap();
                assert!(admitted / piece.len() * (SHORT - 20) < unread / TURNS + SHORT, "{admitted} bytes at once");
                at += admitted;
                assert!(calm.takes_turns() || at == all.len());
            }
        }
    }
}
