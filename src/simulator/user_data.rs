//! What WeChat hands to a client about its user: as text with a signature, and encrypted. Both with the `session_key` of the
//! user's newest login, so that they are worth nothing after the next one.

use std::fmt::Write;

use aws_lc_rs::{
    cipher::{AES_128, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    digest::{Context, SHA1_FOR_LEGACY_USE_ONLY},
    error::Unspecified,
    iv::FixedLength,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Value, json};

/// What `wx.getUserInfo` and `wx.getUserProfile` give. It does not print.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserData {
    /// The user as text.
    pub raw_data: String,
    /// Of that text.
    pub signature: String,
    /// The same, with the openid and a watermark.
    pub encrypted_data: String,
    /// What the encryption began with.
    pub iv: String,
}

impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserData(…)")
    }
}

/// Whose data, and when.
pub(super) struct Whose<'a> {
    pub(super) app: &'a str,
    pub(super) openid: &'a str,
    /// In seconds since 1970.
    pub(super) now: u64,
}

/// Whom WeChat tells of since it tells the truth about nobody.
pub(super) fn nobody() -> Value {
    json!({
        "nickName": "微信用户", "gender": 0, "language": "", "city": "", "province": "", "country": "",
        "avatarUrl": "https://thirdwx.qlogo.cn/mmopen/vi_32/POgEwh4mIHO4nibH0KlMECNjjGxQUq24ZEaGT4poC6icRiccVGKSyXwibcPq4BWmiaIGuG1icwxaQX6grC9VemZoJ8rg/132"
    })
}

/// Signs and encrypts `info`.
pub(super) fn make(info: &Value, whose: &Whose<'_>, key: [u8; 16], iv: [u8; 16]) -> Result<UserData, Unspecified> {
    let raw_data = info.to_string();
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(raw_data.as_bytes());
    hash.update(STANDARD.encode(key).as_bytes());
    let mut signature = String::new();
    for byte in hash.finish().as_ref() {
        // Writing to a text does not fail.
        let _ = write!(signature, "{byte:02x}");
    }

    let mut marked = info.clone();
    if let Value::Object(fields) = &mut marked {
        fields.insert("openId".to_owned(), whose.openid.into());
        fields.insert("watermark".to_owned(), json!({ "appid": whose.app, "timestamp": whose.now }));
    }
    let mut bytes = marked.to_string().into_bytes();
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_128, &key)?)?;
    key.less_safe_encrypt(&mut bytes, EncryptionContext::Iv128(FixedLength::from(iv)))?;
    Ok(UserData { raw_data, signature, encrypted_data: STANDARD.encode(bytes), iv: STANDARD.encode(iv) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_says_of_the_same_is_the_same() {
        let whose = Whose { app: "wx1", openid: "o1", now: 1_790_000_000 };
        let made = make(&json!({ "nickName": "Band" }), &whose, [7; 16], [9; 16]).unwrap();
        assert_eq!(made.raw_data, r#"{"nickName":"Band"}"#);
        assert_eq!(made.signature, "e988f8b780df49cbd4d214106017442825a3238b");
        assert_eq!(
            made.encrypted_data,
            "RMTk6h4vUkjSIRMGKaUtHEioAwl2mmvm+UL/5vERu8vnKU8YeYUCdpaa6O5vfTOp8AwOfEv6wTjNkEjUAUbFemFH/OOv6n2PT0pjDRP9lpu3HyuicaliVwDO51IgwUcv"
        );
        assert_eq!(made.iv, "CQkJCQkJCQkJCQkJCQkJCQ==");
    }
}
