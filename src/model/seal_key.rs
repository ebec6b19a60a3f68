//! The key that what rests in a store is sealed with, read from the text that its owner keeps it in.

use std::fmt;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use super::{Entropy, EntropyError, Secret};

/// 32 bytes that nobody else knows. Not printed, and wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct SealKey(Zeroizing<[u8; Self::LEN]>);

/// Why a text is no key. It doesn't say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a key: write 32 random bytes as 64 hex digits or as base64, for example from `openssl rand -base64 32`"
)]
pub struct InvalidSealKey;

impl SealKey {
    /// Bytes of every key.
    pub const LEN: usize = 32;

    /// The key that `text` spells: 64 hex digits, or base64 of either alphabet, with or without padding. No text can be
    /// read as both, since 64 characters of base64 would be 48 bytes.
    pub fn parse(text: &Secret) -> Result<Self, InvalidSealKey> {
        let text = text.expose();
        let mut key = Zeroizing::new([0; Self::LEN]);
        if text.len() == 2 * Self::LEN {
            for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                *byte = hex(digits).ok_or(InvalidSealKey)?;
            }
            return Ok(Self(key));
        }
        let bare = text.strip_suffix('=').unwrap_or(text);
        let engine = if bare.contains(['-', '_']) { URL_SAFE_NO_PAD } else { STANDARD_NO_PAD };
        // Room for more than a key has, so that a longer text is seen to be longer.
        let mut decoded = Zeroizing::new([0; 2 * Self::LEN]);
        let len = engine.decode_slice(bare, decoded.as_mut_slice()).map_err(|_| InvalidSealKey)?;
        if len != Self::LEN {
            return Err(InvalidSealKey);
        }
        key.copy_from_slice(&decoded[..Self::LEN]);
        Ok(Self(key))
    }

    /// A new key. Fails when the generator does.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Zeroizing::new([0; Self::LEN]);
        entropy.fill(key.as_mut_slice())?;
        Ok(Self(key))
    }

    /// The key as the text that [`parse`](Self::parse) reads.
    pub fn to_text(&self) -> Secret {
        Secret::new(STANDARD_NO_PAD.encode(self.0.as_slice()) + "=")
    }

    /// The bytes, for the cipher.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SystemEntropy;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1dfeff";

    fn parse(text: &str) -> Result<SealKey, InvalidSealKey> {
        SealKey::parse(&Secret::new(text))
    }

    #[test]
    fn one_key_has_several_spellings() {
        let key = parse(HEX).unwrap();
        assert_eq!(key.expose()[..3], [0, 1, 2]);
        assert_eq!(key.expose()[30..], [0xfe, 0xff]);
        let others = [
            HEX.to_uppercase(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd/v8=".to_owned(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd/v8".to_owned(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd_v8".to_owned(),
        ];
        for other in others {
            assert_eq!(parse(&other).unwrap(), key, "{other}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let too_long = "A".repeat(86);
        for text in ["", "short", &HEX[1..], &HEX.replace("00", "+1"), &HEX.replace("ff", "fg"), &too_long] {
            assert_eq!(parse(text), Err(InvalidSealKey), "{text}");
        }
        assert_eq!(parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd/v=="), Err(InvalidSealKey), "31 bytes");
        assert_eq!(parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd/v9="), Err(InvalidSealKey), "bits left over");
    }

    #[test]
    fn a_generated_key_is_read_back_from_its_text() {
        let key = SealKey::generate(&SystemEntropy).unwrap();
        assert_eq!(SealKey::parse(&key.to_text()).unwrap(), key);
        assert_ne!(SealKey::generate(&SystemEntropy).unwrap(), key);
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", parse(HEX).unwrap()), "SealKey(…)");
    }
}
