//! The session token: how one is made, how one is recognised, and the digest under which everything else knows it.
//!
//! `wxg_`, then base64url of 32 random bytes and the CRC-32 of them: 52 characters, always. The checksum is not a
//! defence, it keeps typos and garbage away from the cache and lets secret scanners tell a leaked token from noise.
//! No other module handles a token in the clear: sessions are kept under its SHA-256.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::model::{Entropy, EntropyError, TokenDigest};

const PREFIX: &[u8; 4] = b"wxg_";
const RANDOM: usize = 32;
const PAYLOAD: usize = RANDOM + 4;

/// What a client shows to be recognised. Held in place, wiped when it goes, never printed.
///
/// Tokens come from [`SessionToken::mint`] alone: a well-formed token that a client made up opens nothing, since
/// sessions are only ever begun under a token of ours.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<[u8; Self::LEN]>);

impl SessionToken {
    /// Bytes of every token.
    pub const LEN: usize = PREFIX.len() + PAYLOAD / 3 * 4;

    /// A new token from 256 random bits. Fails when the generator does.
    pub fn mint(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Self::mint_for(None, entropy)
    }

    /// A new token whose digest is in this shard, where one is asked for: after 64 tries on average.
    ///
    /// Between two of them the random number is counted up. Drawn anew it would be as random as it is, but asking the
    /// system takes several times as long as all the rest of a try.
    pub(super) fn mint_for(shard: Option<u8>, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut payload = Zeroizing::new([0; PAYLOAD]);
        entropy.fill(&mut payload[..RANDOM])?;
        loop {
            let (random, checksum) = payload.split_at_mut(RANDOM);
            checksum.copy_from_slice(&crc32fast::hash(random).to_be_bytes());
            let token = Self(encode(&payload));
            if shard.is_none_or(|shard| shard == token.digest().shard()) {
                return Ok(token);
            }
            count_up(&mut payload[..RANDOM]);
        }
    }

    /// The token that `text` is, if it is one: exact length, prefix, alphabet and checksum. Allocates nothing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; Self::LEN] = text.try_into().ok()?;
        let body = text.strip_prefix(PREFIX)?;
        let mut payload = Zeroizing::new([0; PAYLOAD]);
        // 36 bytes fill 48 characters to the last bit, so no two texts decode to the same payload.
        if URL_SAFE_NO_PAD.decode_slice(body, payload.as_mut_slice()).ok()? != PAYLOAD {
            return None;
        }
        let (random, checksum) = payload.split_at(RANDOM);
        (crc32fast::hash(random).to_be_bytes() == checksum).then(|| Self(Zeroizing::new(*text)))
    }

    /// The token itself. It belongs into the answer to its client and nowhere else.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.as_slice()).unwrap_or_default()
    }

    /// The name under which the session is kept.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::new(Sha256::digest(self.0.as_slice()).into())
    }
}

impl PartialEq for SessionToken {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SessionToken {}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

fn encode(payload: &[u8; PAYLOAD]) -> Zeroizing<[u8; SessionToken::LEN]> {
    let mut text = Zeroizing::new([0; SessionToken::LEN]);
    let (prefix, body) = text.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX);
    let written = URL_SAFE_NO_PAD.encode_slice(payload, body);
    debug_assert_eq!(written, Ok(body.len()), "the body is sized for the payload");
    text
}

/// The number that these bytes are, the last one lowest, and one more.
fn count_up(number: &mut [u8]) {
    for byte in number.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::SystemEntropy;

    /// Entropy that is anything but: it makes the expected token a constant.
    #[derive(Debug)]
    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    fn mint() -> SessionToken {
        SessionToken::mint(&SystemEntropy).unwrap()
    }

    #[test]
    fn the_shape_of_a_token_never_changes() {
        // Clients store these for days: a release that reads them differently logs everybody out.
        let token = SessionToken::mint(&Fixed(0)).unwrap();
        assert_eq!(token.expose(), "wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAZClWt");
        assert_eq!(SessionToken::LEN, 52);
        assert_eq!(
            token.digest().as_bytes()[..8],
            Sha256::digest(b"wxg_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAZClWt")[..8]
        );
    }

    #[test]
    fn a_minted_token_is_recognised() {
        let token = mint();
        let again = SessionToken::parse(token.expose().as_bytes()).unwrap();
        assert_eq!(again.expose(), token.expose());
        assert_eq!(again.digest(), token.digest());
    }

    #[test]
    fn no_two_tokens_are_alike() {
        let digests: HashSet<TokenDigest> = (0..10_000).map(|_| mint().digest()).collect();
        assert_eq!(digests.len(), 10_000);
    }

    #[test]
    fn a_token_goes_where_a_store_wants_its_session() {
        for shard in 0..TokenDigest::SHARDS {
            let token = SessionToken::mint_for(Some(shard), &SystemEntropy).unwrap();
            assert_eq!(token.digest().shard(), shard);
            assert_eq!(SessionToken::parse(token.expose().as_bytes()), Some(token), "it is one like any other");
        }
        let token = SessionToken::mint_for(None, &Fixed(0)).unwrap();
        assert_eq!(token, SessionToken::mint(&Fixed(0)).unwrap(), "where it wants nothing, one try does");
    }

    #[test]
    fn tries_for_a_token_go_on_counting_over_the_edge_of_each_byte() {
        let mut number = [7, 0xff, 0xff];
        count_up(&mut number);
        assert_eq!(number, [8, 0, 0]);
        let mut last = [0xff; 32];
        count_up(&mut last);
        assert_eq!(last, [0; 32]);
    }

    #[test]
    fn one_changed_character_anywhere_makes_it_no_token() {
        let token = mint();
        for at in 0..SessionToken::LEN {
            let mut bytes = token.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert!(SessionToken::parse(&bytes).is_none(), "changed at {at}");
        }
    }

    #[test]
    fn what_is_not_exactly_a_token_is_refused() {
        let good = mint().expose().to_owned();
        let refused = [
            String::new(),
            "wxg_".into(),
            good[..51].into(),
            format!("{good}A"),
            format!("{good}="),
            format!(" {}", &good[..51]),
            good.replacen("wxg_", "WXG_", 1),
            good.replacen("wxg_", "wxa_", 1),
            format!("wxg_{}", "!".repeat(48)),
            format!("wxg_{}", "=".repeat(48)),
            // The standard alphabet's characters are not ours.
            format!("wxg_{}", "+/".repeat(24)),
        ];
        for text in refused {
            assert!(SessionToken::parse(text.as_bytes()).is_none(), "{text:?} passed for a token");
        }
    }

    #[test]
    fn tokens_and_digests_do_not_print() {
        let token = mint();
        assert_eq!(format!("{token:?}"), "SessionToken(…)");
        assert_eq!(format!("{:#?}", token.digest()), "TokenDigest(…)");
    }

    #[test]
    fn a_token_equals_only_itself() {
        let token = mint();
        assert_eq!(token, token.clone());
        assert_ne!(token, mint());
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_token(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(SessionToken::parse(&bytes).is_none());
        }

        #[test]
        fn the_right_letters_alone_do_not_make_a_token(body in "[A-Za-z0-9_-]{48}") {
            let text = format!("wxg_{body}");
            // One text in four milliards has the right checksum by chance; whatever passes must come back unchanged.
            if let Some(token) = SessionToken::parse(text.as_bytes()) {
                prop_assert_eq!(token.expose(), text);
            }
        }
    }
}
