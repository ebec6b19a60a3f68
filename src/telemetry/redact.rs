//! How a user is named in the log: by a short keyed hash, so that lines of one user can be found together and the
//! openid can't be read or guessed back from them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::model::{Entropy, EntropyError, Secret, UserKey, UserTag};

/// Makes [`UserTag`]s. Cheap to clone; all clones give the same tags.
#[derive(Clone)]
pub struct UserTagger(Hmac<Sha256>);

impl UserTagger {
    /// Takes the key of `[log] user_key`. Without one it makes a key that lasts until the process ends, which fails
    /// when the generator does.
    pub fn new(key: Option<&Secret>, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mac = if let Some(key) = key {
            keyed(key.expose().as_bytes())
        } else {
            let mut random = Zeroizing::new([0; 32]);
            entropy.fill(random.as_mut_slice())?;
            keyed(random.as_slice())
        };
        Ok(Self(mac))
    }

    /// The tag of `user`: 64 bits of HMAC-SHA256 over app and openid.
    pub fn tag(&self, user: &UserKey) -> UserTag {
        let app = user.app.as_str().as_bytes();
        let mut mac = self.0.clone();
        // The length keeps ("wx1", "2o") apart from ("wx12", "o").
        mac.update(&(app.len() as u64).to_be_bytes());
        mac.update(app);
        mac.update(user.openid.as_bytes());
        UserTag::new(mac.finalize().into_bytes().first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Debug for UserTagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserTagger(…)")
    }
}

/// HMAC under a key of any length. The key is brought to the block size by hand, just as HMAC itself would do it,
/// because the constructor that takes a whole block has no error to handle.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0; 64]);
    if let Some(head) = block.get_mut(..key.len()) {
        head.copy_from_slice(key);
    } else {
        block[..32].copy_from_slice(&Sha256::digest(key));
    }
    Hmac::new(&(*block).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, OpenId, SystemEntropy};

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    fn tagger(key: &str) -> UserTagger {
        UserTagger::new(Some(&Secret::new(key)), &SystemEntropy).unwrap()
    }

    #[test]
    fn a_user_keeps_the_tag_as_long_as_the_key_stays() {
        let one = user("wx4f4bc4dec97d474b", "oGZUI0egBJY1zhBYw2KhdUfwVJJE");
        assert_eq!(tagger("k").tag(&one), tagger("k").tag(&one));
        assert_ne!(tagger("k").tag(&one), tagger("l").tag(&one));
        assert_ne!(tagger("k").tag(&one), tagger("k").tag(&user("wx4f4bc4dec97d474b", "o2")));
    }

    #[test]
    fn a_tag_is_the_head_of_the_documented_hmac() {
        // python3: hmac.new(b"k", (3).to_bytes(8, "big") + b"wx1" + b"o1", "sha256").hexdigest()[:16]
        assert_eq!(tagger("k").tag(&user("wx1", "o1")).to_string(), "c2be01768044503b");
    }

    #[test]
    fn a_key_of_any_length_gives_what_hmac_says() {
        assert_eq!(tagger(&"key ".repeat(20)).tag(&user("wx1", "o1")).to_string(), "7b3f4a833b6508e6");
    }

    #[test]
    fn the_border_between_app_and_openid_counts() {
        assert_ne!(tagger("k").tag(&user("wx1", "2o")), tagger("k").tag(&user("wx12", "o")));
    }

    #[test]
    fn without_a_key_each_process_tags_differently() {
        let one = user("wx1", "o1");
        let mine = UserTagger::new(None, &SystemEntropy).unwrap();
        let other = UserTagger::new(None, &SystemEntropy).unwrap();
        assert_eq!(mine.tag(&one), mine.clone().tag(&one));
        assert_ne!(mine.tag(&one), other.tag(&one));
    }

    #[test]
    fn a_tag_prints_as_sixteen_digits_and_the_key_not_at_all() {
        assert_eq!(UserTag::new([0, 0, 0, 0, 0, 0, 0, 10]).to_string(), "000000000000000a");
        assert_eq!(format!("{:?}", tagger("hunter2")), "UserTagger(…)");
    }
}
