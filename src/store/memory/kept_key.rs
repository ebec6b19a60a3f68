//! A `session_key` held for as long as its user has a session, in little room.

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::model::SessionKey;

/// A session key is 16 bytes that WeChat writes as 24 characters of Base64. As text on the heap it would take 56 bytes of
/// each user; as bytes it takes 24. Whatever looks otherwise is kept as it came.
pub(super) enum KeptKey {
    Packed(Zeroizing<[u8; 16]>),
    AsItCame(Box<SessionKey>),
}

impl KeptKey {
    pub(super) fn new(key: &SessionKey) -> Self {
        // Three bytes for each four characters, whether or not the last of them are padding.
        let mut room = Zeroizing::new([0; 18]);
        let packed = match STANDARD.decode_slice(key.expose(), room.as_mut_slice()) {
            Ok(16) => room.first_chunk().copied(),
            _ => None,
        };
        packed.map_or_else(|| Self::AsItCame(Box::new(key.clone())), |packed| Self::Packed(Zeroizing::new(packed)))
    }

    pub(super) fn unpack(&self) -> SessionKey {
        match self {
            Self::Packed(bytes) => SessionKey::new(STANDARD.encode(bytes.as_slice())),
            Self::AsItCame(key) => SessionKey::clone(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn comes_back(text: &str) -> bool {
        KeptKey::new(&SessionKey::new(text)).unpack().expose() == text
    }

    #[test]
    fn it_takes_the_room_of_three_words() {
        assert_eq!(size_of::<KeptKey>(), 24);
        assert!(matches!(KeptKey::new(&SessionKey::new("tiihtNczf5v6AKRyjwEUhQ==")), KeptKey::Packed(_)));
    }

    #[test]
    fn keys_that_look_unlike_wechats_come_back_as_they_were() {
        // The last one has bits set that stand for nothing: packed, it would come back with other letters.
        for text in ["", "key", "tiihtNczf5v6AKRyjwEUhQ", "tiihtNczf5v6AKRyjwEUhQ=", "tiihtNczf5v6AKRyjwEUhR=="] {
            assert!(comes_back(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(bytes in any::<[u8; 16]>(), text in "[A-Za-z0-9+/]{20,24}={0,3}") {
            prop_assert!(comes_back(&STANDARD.encode(bytes)));
            prop_assert!(comes_back(&text));
        }
    }
}
