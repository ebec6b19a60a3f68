//! Frames that ask for nothing: SETTINGS, PING, `WINDOW_UPDATE`, PRIORITY, DATA without data, and what nobody knows. A client
//! needs some of them, and more the more it is sent; each costs us as much as it costs the client, and its connection is worked
//! at without a pause for as long as they come.
//!
//! So they are paid for. A client has some to begin with, gets more by the second, with each request and with every byte that
//! it is sent, and is cut when it has none left. What an answer to such a frame is long never pays for the next.

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
}

impl Calm {
    pub(super) fn new(now: Instant) -> Self {
        Self { head: [0; 9], has: 0, skip: PREFACE, left: AT_FIRST * FRAME, since: now }
    }

    /// The client has sent these. False where it has said more than it may.
    pub(super) fn keeps(&mut self, mut bytes: &[u8], now: Instant) -> bool {
        let seconds = now.saturating_duration_since(self.since);
        let millis = i64::try_from(seconds.as_millis()).unwrap_or(i64::MAX);
        if millis > 0 {
            self.earn(millis.saturating_mul(A_SECOND * FRAME) / 1000);
            self.since = now;
        }
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            (self.skip, bytes) = (self.skip - skipped, &bytes[skipped..]);
            let more = (self.head.len() - self.has).min(bytes.len());
            self.head[self.has..self.has + more].copy_from_slice(&bytes[..more]);
            (self.has, bytes) = (self.has + more, &bytes[more..]);
            if self.has == self.head.len() {
                self.frame();
            }
        }
        self.left >= 0
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
            DATA if self.skip > 0 || flags & END_STREAM != 0 => {}
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

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn begun() -> (Calm, Instant) {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        assert!(calm.keeps(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now));
        (calm, now)
    }

    #[test]
    fn frames_that_ask_for_nothing_are_as_many_as_a_client_may_need_and_no_more() {
        for frame in [&PING[..], &[0, 0, 0, 4, 1, 0, 0, 0, 0], &[0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1], &[0; 9]] {
            let (mut calm, now) = begun();
            assert!((0..2_000).all(|_| calm.keeps(frame, now)), "{frame:?}");
            assert!(!calm.keeps(frame, now), "{frame:?}");
            assert!(calm.keeps(&[], now + Duration::from_secs(1)), "{frame:?}");
            let later = now + Duration::from_secs(3);
            assert!((0..500).all(|_| calm.keeps(frame, later)), "{frame:?}");
        }
    }

    #[test]
    fn what_is_asked_for_and_what_is_sent_pays_for_more() {
        let (mut calm, now) = begun();
        let update = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        for _ in 0..100_000 {
            // A small message, with its window given back for the stream and for the connection.
            calm.wrote(100);
            assert!(calm.keeps(&[update, update].concat(), now));
        }
        let (mut calm, now) = begun();
        for _ in 0..100_000 {
            let request = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82];
            assert!(calm.keeps(&request, now) && calm.keeps(&PING, now));
        }
    }

    #[test]
    fn what_is_answered_to_a_ping_does_not_pay_for_the_next() {
        let (mut calm, now) = begun();
        let all = (0..100_000).take_while(|_| {
            calm.wrote(PING.len());
            calm.keeps(&PING, now)
        });
        assert!(all.count() < 5_000);
    }

    #[test]
    fn frames_are_found_however_they_are_cut_and_what_is_in_them_is_none() {
        let data = [&[0, 0, 34, 0, 0, 0, 0, 0, 1][..], &[6; 34]].concat();
        let all: Vec<u8> = (0..300).flat_map(|_| [&data[..], &PING].concat()).collect();
        for piece in [1, 2, 7, 60, 100_000] {
            let (mut calm, now) = begun();
            assert!(all.chunks(piece).all(|piece| calm.keeps(piece, now)));
            assert_eq!(calm.left, (AT_FIRST - 300) * FRAME, "{piece}");
        }
    }
}
