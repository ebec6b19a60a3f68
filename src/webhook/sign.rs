//! How a receiver knows that it was us, by the Standard Webhooks: HMAC-SHA256 over id, time and body, with a key that both have.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::Secret;

const PREFIX: &str = "whsec_";

/// Signs with each of several keys.
pub(super) struct Signer(Vec<Zeroizing<Vec<u8>>>);

impl Signer {
    /// Signs with these. None where one is no key; the configuration takes only such as are.
    pub(super) fn new<'s>(secrets: impl Iterator<Item = &'s Secret>) -> Option<Self> {
        let key = |secret: &Secret| STANDARD.decode(secret.expose().strip_prefix(PREFIX)?).ok().map(Zeroizing::new);
        secrets.map(key).collect::<Option<_>>().map(Self)
    }

    /// The signatures, one for each key, as the header has them.
    pub(super) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        let one = |key: &Zeroizing<Vec<u8>>| {
            // Any length will do for a key, so this is never left out.
            let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
            mac.update(format!("{id}.{seconds}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        };
        self.0.iter().filter_map(one).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_standard_says() {
        // The example of the reference implementations of Standard Webhooks.
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signer = Signer::new([&secret].into_iter()).unwrap();
        let header = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(header, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = Signer::new([&secret, &secret].into_iter()).unwrap();
        assert_eq!(two.sign("a", 1, b"").split(' ').count(), 2);
        assert!(Signer::new([&Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")].into_iter()).is_none());
    }
}
