//! Whether somebody has the key of a user, as WeChat finds out: by a signature of nothing.

use std::fmt::Write;

use aws_lc_rs::hmac;

/// The query of the calls that are signed with the key; absent and empty are the same.
#[derive(Default)]
pub(super) struct KeyCheck {
    pub(super) token: String,
    pub(super) openid: String,
    signature: String,
    method: String,
}

impl KeyCheck {
    pub(super) fn parse(query: &str) -> Self {
        let mut check = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "access_token" => check.token = value.into_owned(),
                "openid" => check.openid = value.into_owned(),
                "signature" => check.signature = value.into_owned(),
                "sig_method" => check.method = value.into_owned(),
                _ => {}
            }
        }
        check
    }

    /// Whether it was signed with this key, which counts as it is written, or the errcode that says why not.
    pub(super) fn verdict(&self, key: &str) -> Result<(), i64> {
        if self.method != "hmac_sha256" {
            return Err(87008);
        }
        if signature(key) == self.signature { Ok(()) } else { Err(87009) }
    }
}

/// Of nothing, with this key.
pub(super) fn signature(key: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), b"");
    let mut signature = String::new();
    for byte in tag.as_ref() {
        let _ = write!(signature, "{byte:02x}");
    }
    signature
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_nothing_with_the_key_as_it_is_written() {
        let signature = "7154f9f8b4b76b92f541cbf0e37d48840fa06e5e42da92a6f80168a1516a4735";
        let verdict = |method: &str, key: &str| {
            KeyCheck::parse(&format!("signature={signature}&sig_method={method}")).verdict(key)
        };
        assert_eq!(verdict("hmac_sha256", "tiihtNczf5v6AKRyjwEUhQ=="), Ok(()));
        assert_eq!(verdict("hmac_sha256", "tiihtNczf5v6AKRyjwEUhR=="), Err(87009));
        assert_eq!(verdict("sha1", "tiihtNczf5v6AKRyjwEUhQ=="), Err(87008));
    }
}
