//! One login and the memory of its outcome, shared by everybody who presents the same code for the same app.
//!
//! The memory is worth nothing to who reads it without the code. A login is found by a digest of its code, and the
//! token is stored XORed with other bytes that are derived from the code, so that only presenting the code again
//! brings the token back. The bytes are a one-time pad: a code yields at most one token, because it works once.

use std::{fmt, time::Duration};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{Error, Issued};
use crate::model::{AppId, LoginCode, Secret, Timestamp};

const KEY_LABEL: &[u8] = b"wxgate login key";
const PAD_LABEL: &[u8] = b"wxgate login pad";

/// Which login: the app and a digest of the code. The app stands beside the digest and not only in it, so that no two
/// apps can meet in one key however their texts run together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct FlightKey(AppId, [u8; 32]);

impl FlightKey {
    pub(super) fn of(app: &AppId, code: &LoginCode) -> Self {
        Self(app.clone(), digest(KEY_LABEL, 0, app, code))
    }
}

/// A login under way or done.
pub(super) struct Flight(watch::Receiver<Option<Landed>>);

struct Landed {
    at: Timestamp,
    outcome: Result<Sealed, Error>,
}

impl Flight {
    /// Whether who comes at `now` gets this login's answer: while it is under way, and for `window` after.
    pub(super) fn answers_at(&self, now: Timestamp, window: Duration) -> bool {
        match &*self.0.borrow() {
            Some(landed) => now.since(landed.at) < window,
            // Without an outcome and without anybody who could still bring one, it has nothing to say.
            None => self.0.has_changed().is_ok(),
        }
    }

    /// Waits for the outcome, and opens it with the code that led here.
    pub(super) async fn answer(&self, app: &AppId, code: &LoginCode) -> Result<Issued, Error> {
        let mut outcome = self.0.clone();
        let landed = outcome.wait_for(Option::is_some).await.map_err(|_| Error::Interrupted)?;
        match &*landed {
            Some(Landed { outcome: Ok(sealed), .. }) => sealed.open(app, code),
            Some(Landed { outcome: Err(error), .. }) => Err(error.clone()),
            None => Err(Error::Interrupted),
        }
    }
}

/// Brings a login's outcome to all who wait for it. Dropped without one, it tells them that none will come.
pub(super) struct Recorder(watch::Sender<Option<Landed>>);

impl Recorder {
    pub(super) fn pair() -> (Self, Flight) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Flight(receiver))
    }

    pub(super) fn record(self, at: Timestamp, outcome: Result<Issued, Error>, app: &AppId, code: &LoginCode) {
        let outcome = outcome.map(|issued| Sealed::of(&issued, app, code));
        self.0.send_replace(Some(Landed { at, outcome }));
    }
}

/// An issued token that only its code opens.
struct Sealed {
    token: Vec<u8>,
    expires_in: Duration,
}

impl Sealed {
    fn of(issued: &Issued, app: &AppId, code: &LoginCode) -> Self {
        let token = xor_pad(issued.token.expose().as_bytes(), app, code);
        Self { token: token.to_vec(), expires_in: issued.expires_in }
    }

    fn open(&self, app: &AppId, code: &LoginCode) -> Result<Issued, Error> {
        let token = xor_pad(&self.token, app, code);
        // It can't fail: who got here had the digest of this code.
        let token = std::str::from_utf8(&token).map_err(|_| Error::Interrupted)?;
        Ok(Issued { token: Secret::new(token), expires_in: self.expires_in })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// XORs with the pad of this login, as long as `text`.
fn xor_pad(text: &[u8], app: &AppId, code: &LoginCode) -> Zeroizing<Vec<u8>> {
    let block = |(text, counter): (&[u8], u64)| {
        let pad = Zeroizing::new(digest(PAD_LABEL, counter, app, code));
        text.iter().zip(*pad).map(|(a, b)| a ^ b).collect::<Vec<u8>>()
    };
    Zeroizing::new(text.chunks(32).zip(0..).flat_map(block).collect())
}

/// Each part stands behind its length, so that what is one text is never two others put together.
fn digest(label: &[u8], counter: u64, app: &AppId, code: &LoginCode) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [label, &counter.to_be_bytes(), app.as_str().as_bytes(), code.expose().as_bytes()] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "wxg_0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ";

    fn app(text: &str) -> AppId {
        AppId::parse(text).unwrap()
    }

    fn sealed(app: &AppId, code: &LoginCode) -> Sealed {
        let issued = Issued { token: Secret::new(TOKEN), expires_in: Duration::from_secs(5) };
        Sealed::of(&issued, app, code)
    }

    #[test]
    fn a_sealed_token_is_opened_by_its_code_only() {
        let (app, code) = (app("wx1"), LoginCode::new("the code"));
        let sealed = sealed(&app, &code);
        let opened = sealed.open(&app, &code).unwrap();
        assert_eq!(opened.token.expose(), TOKEN);
        assert_eq!(opened.expires_in, Duration::from_secs(5));
        let other = sealed.open(&app, &LoginCode::new("another"));
        assert!(other.is_err() || !other.unwrap().token.expose().contains("wxg_"));
    }

    #[test]
    fn the_memory_holds_no_run_of_the_token_and_not_the_code() {
        let (app, code) = (app("wx1"), LoginCode::new("the code"));
        let sealed = sealed(&app, &code);
        assert_eq!(sealed.token.len(), TOKEN.len());
        for window in TOKEN.as_bytes().windows(4) {
            assert!(!sealed.token.windows(4).any(|bytes| bytes == window), "{:?}", sealed.token);
        }
        let FlightKey(_, digest) = FlightKey::of(&app, &code);
        assert_ne!(digest.as_slice(), Sha256::digest("the code").as_slice());
    }

    #[test]
    fn the_pad_does_not_repeat_and_is_not_the_key() {
        let (app, code) = (app("wx1"), LoginCode::new("the code"));
        let pad = xor_pad(&[0; 96], &app, &code);
        let FlightKey(_, key) = FlightKey::of(&app, &code);
        let blocks = [&pad[..32], &pad[32..64], &pad[64..], &key];
        for (i, block) in blocks.iter().enumerate() {
            assert!(!blocks[i + 1..].contains(block), "block {i}");
        }
    }

    #[test]
    fn apps_and_codes_that_run_together_have_different_keys_and_pads() {
        let (left, right) = ((app("c"), LoginCode::new("ab")), (app("bc"), LoginCode::new("a")));
        assert!(FlightKey::of(&left.0, &left.1) != FlightKey::of(&right.0, &right.1));
        assert_ne!(*xor_pad(&[0; 32], &left.0, &left.1), *xor_pad(&[0; 32], &right.0, &right.1));
    }

    #[test]
    fn a_login_answers_while_under_way_and_for_its_window() {
        let (recorder, flight) = Recorder::pair();
        let (at, window) = (Timestamp::from_millis(1_000), Duration::from_millis(10));
        assert!(flight.answers_at(at, Duration::ZERO));
        recorder.record(at, Err(Error::Interrupted), &app("wx1"), &LoginCode::new("x"));
        assert!(flight.answers_at(at, window));
        assert!(flight.answers_at(at + Duration::from_millis(9), window));
        assert!(!flight.answers_at(at + window, window));
        assert!(!flight.answers_at(at, Duration::ZERO));
    }

    #[test]
    fn a_login_that_died_answers_nobody() {
        let (recorder, flight) = Recorder::pair();
        drop(recorder);
        assert!(!flight.answers_at(Timestamp::from_millis(0), Duration::from_secs(10)));
    }
}
