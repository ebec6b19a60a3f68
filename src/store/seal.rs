//! How a secret rests: sealed, so that whoever has the file or a copy of the server, but not the key, has nothing.
//!
//! ```text
//! version 1 | key id 4 | nonce 24 | ciphertext | tag 16
//! ```
//!
//! The cipher is XChaCha20-Poly1305. Its nonce is long enough to be drawn at random for every seal, by any number of
//! processes with the same key that know nothing of each other. What is sealed is bound to its user, to its app and to
//! what it is: moved into the row of somebody else it does not open, and neither does it as something else of the same
//! user. That it is old can't be seen: who can write to the store can put back what once stood there.
//!
//! The key id says which of several keys it was, so that keys can be changed while old seals are still about: the first
//! key seals, any of them opens.

use std::{fmt, sync::Arc};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Error;
use crate::model::{Entropy, EntropyError, SealKey, SessionKey, UserKey};

const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const NONCE: usize = 24;
const HEAD: usize = 1 + KEY_ID;

/// What the bytes are, as a part of what they are bound to.
const SESSION_KEY: &str = "session_key";
const PROFILE: &str = "profile";
const NOTICE: &str = "notice";

/// Why something was not sealed or not opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no nonce.
    #[error("no randomness to seal with")]
    Entropy(#[from] EntropyError),
    /// More than the cipher can take.
    #[error("too long to be sealed")]
    TooLong,
    /// None of our keys fits, or it belongs to another user, or a bit of it has changed. These can't be told apart.
    #[error("sealed with a key that is not at hand, or for somebody else, or damaged")]
    Refused,
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Entropy(_) | SealError::TooLong => Self::Unavailable(Arc::new(error)),
            SealError::Refused => Self::Unreadable("a seal that no key opens"),
        }
    }
}

/// Seals what is secret before it leaves the process, and opens it again.
pub struct Sealer {
    newest: Key,
    old: Vec<Key>,
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    /// Seals with `key`, opens with it and with the `old` ones.
    pub fn new(key: &SealKey, old: &[SealKey], entropy: Arc<dyn Entropy>) -> Self {
        Self { newest: Key::new(key), old: old.iter().map(Key::new).collect(), entropy }
    }

    /// A user's `session_key`, as it may rest.
    pub fn seal_session_key(&self, user: &UserKey, key: &SessionKey) -> Result<Vec<u8>, SealError> {
        self.seal(SESSION_KEY, user, key.expose().as_bytes())
    }

    /// The `session_key` that [`seal_session_key`](Self::seal_session_key) made this of, for the same user.
    pub fn open_session_key(&self, user: &UserKey, sealed: &[u8]) -> Result<SessionKey, SealError> {
        let opened = self.open(SESSION_KEY, user, sealed)?;
        std::str::from_utf8(&opened).map(SessionKey::new).map_err(|_| SealError::Refused)
    }

    /// A user's profile, as it may rest.
    pub fn seal_profile(&self, user: &UserKey, profile: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal(PROFILE, user, profile)
    }

    /// What [`seal_profile`](Self::seal_profile) made this of, for the same user.
    pub fn open_profile(&self, user: &UserKey, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(self.open(PROFILE, user, sealed)?.to_vec())
    }

    /// What is to be told of a user, as it may rest.
    pub fn seal_notice(&self, user: &UserKey, notice: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal(NOTICE, user, notice)
    }

    /// What [`seal_notice`](Self::seal_notice) made this of, for the same user.
    pub fn open_notice(&self, user: &UserKey, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        Ok(self.open(NOTICE, user, sealed)?.to_vec())
    }

    fn seal(&self, purpose: &str, user: &UserKey, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE];
        self.entropy.fill(&mut nonce)?;
        let mut sealed = Vec::with_capacity(HEAD + NONCE + secret.len() + 16);
        sealed.push(VERSION);
        sealed.extend(self.newest.id);
        let bound_to = bound_to(&sealed, purpose, user);
        let payload = Payload { msg: secret, aad: &bound_to };
        let locked = self.newest.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::TooLong)?;
        sealed.extend(nonce);
        sealed.extend(locked);
        Ok(sealed)
    }

    fn open(&self, purpose: &str, user: &UserKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (head, rest) = sealed.split_first_chunk::<HEAD>().ok_or(SealError::Refused)?;
        let (nonce, locked) = rest.split_first_chunk::<NONCE>().ok_or(SealError::Refused)?;
        let [VERSION, id @ ..] = head else { return Err(SealError::Refused) };
        let bound_to = bound_to(head, purpose, user);
        // Two keys could share an id: it is short, and says where to begin, not who is right.
        let ours = std::iter::once(&self.newest).chain(&self.old).filter(|key| key.id == *id);
        ours.map(|key| key.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: locked, aad: &bound_to }))
            .find_map(Result::ok)
            .map(Zeroizing::new)
            .ok_or(SealError::Refused)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("old_keys", &self.old.len()).finish_non_exhaustive()
    }
}

/// A key, ready for use. The cipher wipes it when it goes.
struct Key {
    id: [u8; KEY_ID],
    cipher: XChaCha20Poly1305,
}

impl Key {
    fn new(key: &SealKey) -> Self {
        let digest = Sha256::new().chain_update(b"wxgate seal key id").chain_update(key.expose()).finalize();
        let id = digest.first_chunk().copied().unwrap_or_default();
        Self { id, cipher: XChaCha20Poly1305::new(key.expose().into()) }
    }
}

/// What a seal holds on to. Each part with its length before it: the end of one can't be taken for the start of the next.
fn bound_to(head: &[u8], purpose: &str, user: &UserKey) -> Vec<u8> {
    let parts = [head, purpose.as_bytes(), user.app.as_str().as_bytes(), user.openid.as_bytes()];
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::model::{AppId, OpenId, SystemEntropy};

    const SEALED_BYTES_OF_A_SESSION_KEY: usize = 69;

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    fn key(of: u8) -> SealKey {
        SealKey::parse(&crate::model::Secret::new(format!("{of:02x}").repeat(32))).unwrap()
    }

    fn holder(newest: u8, old: &[u8]) -> Sealer {
        Sealer::new(&key(newest), &old.iter().map(|of| key(*of)).collect::<Vec<_>>(), Arc::new(SystemEntropy))
    }

    fn is_refused<T>(result: &Result<T, SealError>) -> bool {
        matches!(result, Err(SealError::Refused))
    }

    #[test]
    fn a_session_key_comes_back_for_its_user() {
        let (keys, alice) = (holder(1, &[]), user("wx1", "oAlice"));
        let sealed = keys.seal_session_key(&alice, &SessionKey::new("HyVFkGl5F5OQWJZZaNzBBg==")).unwrap();
        assert_eq!(sealed.len(), SEALED_BYTES_OF_A_SESSION_KEY);
        assert_eq!(keys.open_session_key(&alice, &sealed).unwrap().expose(), "HyVFkGl5F5OQWJZZaNzBBg==");
    }

    #[test]
    fn a_seal_opens_for_nobody_else_and_as_nothing_else() {
        let keys = holder(1, &[]);
        let sealed = keys.seal(SESSION_KEY, &user("wx1", "2o"), b"secret").unwrap();
        assert!(is_refused(&keys.open(SESSION_KEY, &user("wx12", "o"), &sealed)), "the same letters, cut elsewhere");
        assert!(is_refused(&keys.open(SESSION_KEY, &user("wx1", "o"), &sealed)));
        assert!(is_refused(&keys.open("phone", &user("wx1", "2o"), &sealed)));
        assert!(keys.open(SESSION_KEY, &user("wx1", "2o"), &sealed).is_ok());
    }

    #[test]
    fn a_profile_opens_for_its_user_and_is_no_session_key() {
        let (keys, alice) = (holder(1, &[]), user("wx1", "oAlice"));
        let sealed = keys.seal_profile(&alice, "Alice".as_bytes()).unwrap();
        assert_eq!(keys.open_profile(&alice, &sealed).unwrap(), b"Alice");
        assert!(is_refused(&keys.open_profile(&user("wx2", "oAlice"), &sealed)));
        assert!(is_refused(&keys.open_session_key(&alice, &sealed)));
    }

    #[test]
    fn a_changed_key_opens_what_the_old_one_sealed_as_long_as_it_is_listed() {
        let alice = user("wx1", "oAlice");
        let before = holder(1, &[]).seal(SESSION_KEY, &alice, b"secret").unwrap();
        let rotated = holder(2, &[1]);
        assert_eq!(*rotated.open(SESSION_KEY, &alice, &before).unwrap(), b"secret");
        let after = rotated.seal(SESSION_KEY, &alice, b"secret").unwrap();
        assert!(is_refused(&holder(1, &[]).open(SESSION_KEY, &alice, &after)), "it seals with the new one");
        assert!(is_refused(&holder(2, &[]).open(SESSION_KEY, &alice, &before)), "what is not listed opens nothing");
    }

    #[test]
    fn the_same_secret_never_looks_the_same_twice() {
        let (keys, alice) = (holder(1, &[]), user("wx1", "oAlice"));
        let (one, two) = (keys.seal("x", &alice, b"secret").unwrap(), keys.seal("x", &alice, b"secret").unwrap());
        assert_ne!(one, two);
        assert_eq!(one[..HEAD], two[..HEAD], "but for version and key id");
    }

    #[test]
    fn nothing_of_the_sealer_prints_a_key() {
        assert_eq!(format!("{:?}", holder(0xab, &[0xcd])), "Sealer { old_keys: 1, .. }");
    }

    #[test]
    fn a_seal_that_does_not_open_is_unreadable_and_a_dead_generator_is_not() {
        assert!(matches!(Error::from(SealError::Refused), Error::Unreadable(_)));
        assert!(matches!(Error::from(SealError::TooLong), Error::Unavailable(_)));
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_opens_again(secret in vec(any::<u8>(), 0..200), app in "[!-~]{1,20}", openid in "[!-~]{1,40}") {
            let (keys, user) = (holder(1, &[]), user(&app, &openid));
            let sealed = keys.seal("x", &user, &secret).unwrap();
            prop_assert_eq!(&*keys.open("x", &user, &sealed).unwrap(), &secret);
        }

        #[test]
        fn one_flipped_bit_anywhere_and_it_stays_shut(secret in vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>()) {
            let (keys, alice) = (holder(1, &[2]), user("wx1", "oAlice"));
            let mut sealed = keys.seal("x", &alice, &secret).unwrap();
            let bit = at.index(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(is_refused(&keys.open("x", &alice, &sealed)));
        }

        #[test]
        fn what_was_never_sealed_does_not_open(bytes in vec(any::<u8>(), 0..200)) {
            let (keys, alice) = (holder(1, &[2]), user("wx1", "oAlice"));
            prop_assert!(is_refused(&keys.open("x", &alice, &bytes)));
            let mut with_head = vec![VERSION];
            with_head.extend(keys.newest.id);
            with_head.extend(bytes);
            prop_assert!(is_refused(&keys.open("x", &alice, &with_head)));
        }
    }
}
