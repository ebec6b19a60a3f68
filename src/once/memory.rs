//! One question and the memory of its outcome, shared by everybody who asks with the same code in the same scope.
//!
//! The memory is worth nothing to who reads it without the code. A question is found by a digest of its code, and the
//! text is stored XORed with other bytes that are derived from the code, so that only presenting the code again
//! brings the text back. The bytes are a one-time pad: a code yields at most one text, because it works once.

use std::{fmt, time::Duration};

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{Interrupted, Scope, Told};
use crate::model::{Secret, Timestamp};

const KEY_LABEL: &[u8] = b"wxgate once key";
const PAD_LABEL: &[u8] = b"wxgate once pad";

/// Which question: the scope and a digest of the code. The scope stands beside the digest and not only in it, so that no
/// two can meet in one key however their texts run together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct FlightKey<S>(S, [u8; 32]);

impl<S: Scope> FlightKey<S> {
    pub(super) fn of(scope: &S, code: &Secret) -> Self {
        Self(scope.clone(), digest(KEY_LABEL, 0, scope, code))
    }
}

/// A question under way or answered.
pub(super) struct Flight<X, E>(watch::Receiver<Option<Landed<X, E>>>);

struct Landed<X, E> {
    at: Timestamp,
    outcome: Result<Sealed<X>, E>,
}

impl<X: Clone, E: Clone> Flight<X, E> {
    /// Whether who comes at `now` gets this one's answer: while it is under way, and for `window` after.
    pub(super) fn answers_at(&self, now: Timestamp, window: Duration) -> bool {
        match &*self.0.borrow() {
            Some(landed) => now.since(landed.at) < window,
            // Without an outcome and without anybody who could still bring one, it has nothing to say.
            None => self.0.has_changed().is_ok(),
        }
    }

    /// Waits for the outcome, and opens it with the code that led here.
    pub(super) async fn answer(&self, scope: &impl Scope, code: &Secret) -> Result<Result<Told<X>, E>, Interrupted> {
        let mut outcome = self.0.clone();
        let landed = outcome.wait_for(Option::is_some).await.map_err(|_| Interrupted)?;
        match &*landed {
            Some(Landed { outcome: Ok(sealed), .. }) => sealed.open(scope, code).map(Ok),
            Some(Landed { outcome: Err(error), .. }) => Ok(Err(error.clone())),
            None => Err(Interrupted),
        }
    }
}

/// Brings an outcome to all who wait for it. Dropped without one, it tells them that none will come.
pub(super) struct Recorder<X, E>(watch::Sender<Option<Landed<X, E>>>);

impl<X: Clone, E> Recorder<X, E> {
    pub(super) fn pair() -> (Self, Flight<X, E>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Flight(receiver))
    }

    pub(super) fn record(self, at: Timestamp, outcome: Result<Told<X>, E>, scope: &impl Scope, code: &Secret) {
        let outcome = outcome.map(|told| Sealed::of(told, scope, code));
        self.0.send_replace(Some(Landed { at, outcome }));
    }
}

/// A text that only its code opens, and what need not be hidden.
struct Sealed<X> {
    text: Vec<u8>,
    beside: X,
}

impl<X: Clone> Sealed<X> {
    fn of(told: Told<X>, scope: &impl Scope, code: &Secret) -> Self {
        let text = xor_pad(told.text.expose().as_bytes(), scope, code);
        Self { text: text.to_vec(), beside: told.beside }
    }

    fn open(&self, scope: &impl Scope, code: &Secret) -> Result<Told<X>, Interrupted> {
        let text = xor_pad(&self.text, scope, code);
        // It can't fail: who got here had the digest of this code.
        let text = std::str::from_utf8(&text).map_err(|_| Interrupted)?;
        Ok(Told { text: Secret::new(text), beside: self.beside.clone() })
    }
}

impl<X> fmt::Debug for Sealed<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

/// XORs with the pad of this question, as long as `text`.
fn xor_pad(text: &[u8], scope: &impl Scope, code: &Secret) -> Zeroizing<Vec<u8>> {
    let block = |(text, counter): (&[u8], u64)| {
        let pad = Zeroizing::new(digest(PAD_LABEL, counter, scope, code));
        text.iter().zip(*pad).map(|(a, b)| a ^ b).collect::<Vec<u8>>()
    };
    Zeroizing::new(text.chunks(32).zip(0..).flat_map(block).collect())
}

/// Each part stands behind its length, so that what is one text is never two others put together.
fn digest(label: &[u8], counter: u64, scope: &impl Scope, code: &Secret) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    };
    add(label);
    add(&counter.to_be_bytes());
    scope.parts().into_iter().for_each(&mut add);
    add(code.expose().as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, OpenId, UserKey};

    const TOKEN: &str = "wxg_0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ";

    fn app(text: &str) -> AppId {
        AppId::parse(text).unwrap()
    }

    fn sealed(app: &AppId, code: &Secret) -> Sealed<u32> {
        Sealed::of(Told { text: Secret::new(TOKEN), beside: 5 }, app, code)
    }

    #[test]
    fn a_sealed_text_is_opened_by_its_code_only() {
        let (app, code) = (app("wx1"), Secret::new("the code"));
        let sealed = sealed(&app, &code);
        let opened = sealed.open(&app, &code).unwrap();
        assert_eq!((opened.text.expose(), opened.beside), (TOKEN, 5));
        let other = sealed.open(&app, &Secret::new("another"));
        assert!(other.is_err() || !other.unwrap().text.expose().contains("wxg_"));
    }

    #[test]
    fn the_memory_holds_no_run_of_the_text_and_not_the_code() {
        let (app, code) = (app("wx1"), Secret::new("the code"));
        let sealed = sealed(&app, &code);
        assert_eq!(sealed.text.len(), TOKEN.len());
        for window in TOKEN.as_bytes().windows(4) {
            assert!(!sealed.text.windows(4).any(|bytes| bytes == window), "{:?}", sealed.text);
        }
        let FlightKey(_, digest) = FlightKey::of(&app, &code);
        assert_ne!(digest.as_slice(), Sha256::digest("the code").as_slice());
    }

    #[test]
    fn the_pad_does_not_repeat_and_is_not_the_key() {
        let (app, code) = (app("wx1"), Secret::new("the code"));
        let pad = xor_pad(&[0; 96], &app, &code);
        let FlightKey(_, key) = FlightKey::of(&app, &code);
        let blocks = [&pad[..32], &pad[32..64], &pad[64..], &key];
        for (i, block) in blocks.iter().enumerate() {
            assert!(!blocks[i + 1..].contains(block), "block {i}");
        }
    }

    #[test]
    fn apps_and_codes_that_run_together_have_different_keys_and_pads() {
        let (left, right) = ((app("c"), Secret::new("ab")), (app("bc"), Secret::new("a")));
        assert!(FlightKey::of(&left.0, &left.1) != FlightKey::of(&right.0, &right.1));
        assert_ne!(*xor_pad(&[0; 32], &left.0, &left.1), *xor_pad(&[0; 32], &right.0, &right.1));
    }

    #[test]
    fn two_users_of_one_app_have_different_keys_and_pads() {
        let user = |openid| UserKey { app: app("wx1"), openid: OpenId::parse(openid).unwrap() };
        let code = Secret::new("the code");
        let (anna, ben) = (user("oAnna"), user("oBen"));
        assert!(FlightKey::of(&anna, &code) != FlightKey::of(&ben, &code));
        assert_ne!(*xor_pad(&[0; 32], &anna, &code), *xor_pad(&[0; 32], &ben, &code));
    }

    #[test]
    fn an_answer_is_given_while_under_way_and_for_its_window() {
        let (recorder, flight) = Recorder::<(), Interrupted>::pair();
        let (at, window) = (Timestamp::from_millis(1_000), Duration::from_millis(10));
        assert!(flight.answers_at(at, Duration::ZERO));
        recorder.record(at, Err(Interrupted), &app("wx1"), &Secret::new("x"));
        assert!(flight.answers_at(at, window));
        assert!(flight.answers_at(at + Duration::from_millis(9), window));
        assert!(!flight.answers_at(at + window, window));
        assert!(!flight.answers_at(at, Duration::ZERO));
    }

    #[test]
    fn a_question_that_died_answers_nobody() {
        let (recorder, flight) = Recorder::<(), Interrupted>::pair();
        drop(recorder);
        assert!(!flight.answers_at(Timestamp::from_millis(0), Duration::from_secs(10)));
    }
}
