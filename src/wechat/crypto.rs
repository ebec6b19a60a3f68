//! What WeChat does with a user's `session_key`: it signs a text, and encrypts another, for us to trust what comes by way
//! of the client.
//!
//! The signature is SHA-1 over the text and the key as it is written; the encryption is AES-128-CBC with PKCS#7, its key
//! what Base64 makes of the same writing. CBC proves nothing by itself: one in 256 wrong keys leaves a padding that looks
//! right, and whoever may try ciphertexts and is told about paddings can read without the key. So nothing in here tells a
//! wrong padding from what else is wrong, and it takes the same steps whether the padding is right or not.

use aws_lc_rs::{
    cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1_smol::Sha1;
use sha2::Sha256;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater};
use zeroize::Zeroizing;

use crate::model::{SessionKey, hex};

const BLOCK: usize = 16;

/// Whether `signature` is that of the text, by this key. It takes the same time however much of it is right.
pub(super) fn is_signed(text: &str, signature: &str, key: &SessionKey) -> bool {
    let mut hash = Sha1::new();
    hash.update(text.as_bytes());
    hash.update(key.expose().as_bytes());
    hash.digest().to_string().as_bytes().ct_eq(signature.as_bytes()).into()
}

/// Shows WeChat that we have the key: the HMAC-SHA256 of a text, in hexadecimal. The key is taken as it is written.
pub(super) fn signature(text: &[u8], key: &SessionKey) -> String {
    // Any length will do for a key, so this is never left out.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else { return String::new() };
    mac.update(text);
    mac.finalize().into_bytes().iter().flat_map(|byte| hex(*byte).map(char::from)).collect()
}

/// What came out of a decryption. Whether that is more than noise is not known yet.
pub(super) struct Decrypted {
    blocks: Zeroizing<Vec<u8>>,
    padding: u8,
    is_padded: Choice,
}

impl Decrypted {
    /// The text: to where the padding begins, or all there is where there is none.
    pub(super) fn text(&self) -> &[u8] {
        &self.blocks[..self.blocks.len() - usize::from(self.padding)]
    }

    /// Whether there was a padding as it has to be. To be asked after the text was read, whatever that has come to.
    pub(super) fn is_padded(&self) -> bool {
        self.is_padded.into()
    }
}

/// Decrypts. `None` depends only on the forms of what was sent and of the key: no Base64, no whole blocks.
pub(super) fn decrypt(encrypted: &str, iv: &str, key: &SessionKey) -> Option<Decrypted> {
    let key = Zeroizing::new(STANDARD.decode(key.expose()).ok()?);
    let iv: [u8; BLOCK] = STANDARD.decode(iv).ok()?.try_into().ok()?;
    let mut blocks = Zeroizing::new(STANDARD.decode(encrypted).ok()?);
    if blocks.is_empty() || !blocks.len().is_multiple_of(BLOCK) {
        return None;
    }
    let key = DecryptingKey::cbc(UnboundCipherKey::new(&AES_128, &key).ok()?).ok()?;
    key.decrypt(&mut blocks, DecryptionContext::Iv128(FixedLength::from(iv))).ok()?;
    let (padding, is_padded) = padding_of(blocks.last_chunk()?);
    Some(Decrypted { blocks, padding, is_padded })
}

/// How long the padding at the end of the last block is, and whether it is one; it has no length where it is none.
fn padding_of(last: &[u8; BLOCK]) -> (u8, Choice) {
    let told = last[BLOCK - 1];
    let mut good = told.ct_gt(&0) & !told.ct_gt(&16);
    for (from_the_end, byte) in (0_u8..).zip(last.iter().rev()) {
        good &= !told.ct_gt(&from_the_end) | byte.ct_eq(&told);
    }
    (u8::conditional_select(&0, &told, good), good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_as_wechats_documents_show_it() {
        let signed = signature(br#"{"foo":"bar"}"#, &SessionKey::new("o0q0otL8aEzpcZL/FT9WsQ=="));
        assert_eq!(signed, "654571f79995b2ce1e149e53c0a33dc39c0a74090db514261454e8dbe432aa0b");
    }

    /// As in the documentation of WeChat's signatures.
    const SIGNING_KEY: &str = "HyVFkGl5F5OQWJZZaNzBBg==";
    const SIGNED: &str = r#"{"nickName":"Band","gender":1,"language":"zh_CN","city":"Guangzhou","province":"Guangdong","country":"CN","avatarUrl":"http://wx.qlogo.cn/mmopen/vi_32/1vZvI39NWFQ9XM4LtQpFrQJ1xlgZxx3w7bQxKARol6503Iuswjjn6nIGBiaycAjAtpujxyzYsrztuuICqIM5ibXQ/0"}"#;
    const SIGNATURE: &str = "75e81ceda165f4ffa64f4068af58c64b8f54b88c";

    #[test]
    fn wechats_own_example_is_signed() {
        let key = SessionKey::new(SIGNING_KEY);
        assert!(is_signed(SIGNED, SIGNATURE, &key));
        let odd = "{\"nickName\":\"微信用户😀\\\"/\",\"gender\":0,\"language\":\"zh_CN\",\"city\":\"\",\"province\":\"\",\"country\":\"\",\"avatarUrl\":\"https://example.test/0\"}";
        assert!(is_signed(odd, "82b9d616104b841744443a14857c70cfc7b0b9bb", &key), "{odd}");
    }

    #[test]
    fn whatever_differs_by_a_byte_is_not_signed() {
        let key = SessionKey::new(SIGNING_KEY);
        let (text, capitals) = (SIGNED.replace("Band", "Bend"), SIGNATURE.to_uppercase());
        let respelled = SIGNED.replace("\"gender\":1", "\"gender\": 1");
        for (text, signature) in [
            (text.as_str(), SIGNATURE),
            (&respelled, SIGNATURE),
            (SIGNED, &capitals),
            (SIGNED, &SIGNATURE[..39]),
            (SIGNED, "75e81ceda165f4ffa64f4068af58c64b8f54b88d"),
            (SIGNED, ""),
            ("", SIGNATURE),
        ] {
            assert!(!is_signed(text, signature, &key), "{text} {signature}");
        }
        assert!(!is_signed(SIGNED, SIGNATURE, &SessionKey::new("HyVFkGl5F5OQWJZZaNzBBQ==")));
    }

    #[test]
    fn a_padding_is_one_to_sixteen_times_its_own_length() {
        for len in 1..=16_u8 {
            let mut block = [0xee; BLOCK];
            block[BLOCK - usize::from(len)..].fill(len);
            let (padding, good) = padding_of(&block);
            assert_eq!((padding, bool::from(good)), (len, true));
            for at in BLOCK - usize::from(len)..BLOCK - 1 {
                let mut odd = block;
                odd[at] ^= 1;
                assert_eq!(padding_of(&odd).0, 0, "{len}, wrong at {at}");
                assert!(!bool::from(padding_of(&odd).1));
            }
        }
        for last in (17..=255).chain([0]) {
            let (padding, good) = padding_of(&[last; BLOCK]);
            assert_eq!((padding, bool::from(good)), (0, false), "{last}");
        }
    }
}
