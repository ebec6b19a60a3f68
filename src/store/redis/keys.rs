//! The names of keys, and which of them belong together.
//!
//! ```text
//! wxg:s:{47}:<digest in hex>      a session
//! wxg:u:{47}:18:<app>:<openid>    the digests of a user's sessions; 18 is the length of the AppID
//! wxg:k:{47}:18:<app>:<openid>    the sealed session_key of a user's newest login
//! wxg:p:{47}:18:<app>:<openid>    the sealed profile of a user
//! wxg:q:{47}:18:<app>:<openid>    what is to be told of a user, the oldest first
//! wxg:c:{47}:18:<app>:<openid>    whoever is telling the first of that
//! wxg:o:{47}                      of whom something is to be told, and when the next try is due
//! wxg:a:{47}                      the same, and how old the first is
//! wxg:n:{47}                      how much of that there is
//! ```
//!
//! `47` is the [`Shard`] as two octal digits: of a hash of the user, which the digest of each of that user's sessions has
//! as well. What stands in braces decides in a Cluster on which machine a key is, so all of a user's keys are on one
//! machine, and one script can change them at once.
//!
//! **Why 64.** A login makes tokens until the digest of one is in the user's shard, on the thread of all logins. With 64
//! shards that takes 64 tries and 7 to 18 microseconds (with 256 it was four times as much), and they still spread evenly: written in octal,
//! no master of a Cluster of up to eight has more than an eighth too many of their slots.

use sha2::{Digest, Sha256};

use crate::model::{AppId, OpenId, TokenDigest, UserKey, hex};

/// The hash slots of a Cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Which of the groups a key is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard(pub(super) u8);

impl Shard {
    /// How many there are.
    pub(super) const COUNT: u8 = TokenDigest::SHARDS;

    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> + Clone {
        (0..Self::COUNT).map(Self)
    }

    /// Where everything of a user is. The lengths keep two users apart whose ids run together to the same text.
    pub(super) fn of_user(user: &UserKey) -> Self {
        let mut hash = Sha256::new();
        for id in [user.app.as_str().as_bytes(), user.openid.as_bytes()] {
            hash.update((id.len() as u64).to_be_bytes());
            hash.update(id);
        }
        let [first, ..]: [u8; 32] = hash.finalize().into();
        Self(first % Self::COUNT)
    }

    /// Where a session is.
    pub(super) fn of_session(digest: &TokenDigest) -> Self {
        Self(digest.shard())
    }

    /// The Cluster's slot of every key of this group.
    pub(super) fn slot(self) -> u16 {
        crc16(self.tag().as_bytes()) % SLOTS
    }

    fn tag(self) -> String {
        format!("{:02o}", self.0)
    }
}

/// The names of keys that begin alike.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// What the names of all sessions begin with.
    pub(super) fn sessions(&self) -> String {
        format!("{}:s:", self.prefix)
    }

    /// What the names of all sessions of a group begin with; the digest follows.
    pub(super) fn sessions_in(&self, shard: Shard) -> String {
        format!("{}:s:{{{}}}:", self.prefix, shard.tag())
    }

    pub(super) fn session(&self, digest: &TokenDigest) -> String {
        let mut key = self.sessions_in(Shard::of_session(digest));
        key.extend(digest.as_bytes().iter().flat_map(|byte| hex(*byte).map(char::from)));
        key
    }

    /// The digests of a user's sessions.
    pub(super) fn user(&self, user: &UserKey) -> String {
        self.of_user('u', user)
    }

    /// The `session_key` of a user's newest login.
    pub(super) fn session_key(&self, user: &UserKey) -> String {
        self.of_user('k', user)
    }

    /// The profile of a user.
    pub(super) fn profile(&self, user: &UserKey) -> String {
        self.of_user('p', user)
    }

    /// What is to be told of a user.
    pub(super) fn queue(&self, user: &UserKey) -> String {
        self.of_user('q', user)
    }

    /// Whoever is telling the first of that.
    pub(super) fn claim(&self, user: &UserKey) -> String {
        self.of_user('c', user)
    }

    /// What the names of all queues of a group begin with; the member follows.
    pub(super) fn queues_in(&self, shard: Shard) -> String {
        format!("{}:", self.of_shard('q', shard))
    }

    /// The same of claims.
    pub(super) fn claims_in(&self, shard: Shard) -> String {
        format!("{}:", self.of_shard('c', shard))
    }

    /// Of whom something is to be told.
    pub(super) fn waiting(&self, shard: Shard) -> String {
        self.of_shard('o', shard)
    }

    /// Since when the first of that waits.
    pub(super) fn ages(&self, shard: Shard) -> String {
        self.of_shard('a', shard)
    }

    /// How many notices there are.
    pub(super) fn notices(&self, shard: Shard) -> String {
        self.of_shard('n', shard)
    }

    /// A user within a group.
    pub(super) fn member(user: &UserKey) -> String {
        // The length says where the AppID ends, in case it has a colon in it.
        let (app, openid) = (user.app.as_str(), user.openid.as_str());
        format!("{}:{app}:{openid}", app.len())
    }

    /// The user that [`member`](Self::member) made this of.
    pub(super) fn user_of(member: &[u8]) -> Option<UserKey> {
        let (len, rest) = std::str::from_utf8(member).ok()?.split_once(':')?;
        let (app, openid) = rest.split_at_checked(len.parse().ok()?)?;
        let openid = OpenId::parse(openid.strip_prefix(':')?).ok()?;
        Some(UserKey { app: AppId::parse(app).ok()?, openid })
    }

    /// The session whose key this is.
    pub(super) fn digest_in(&self, key: &[u8]) -> Option<TokenDigest> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":s:{")?;
        let (tag, rest) = rest.split_at_checked(2)?;
        let digits = rest.strip_prefix(b"}:")?;
        let mut digest = [0; 32];
        if digits.len() != 2 * digest.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        let digest = TokenDigest::new(digest);
        (Shard::of_session(&digest).tag().as_bytes() == tag).then_some(digest)
    }

    fn of_user(&self, kind: char, user: &UserKey) -> String {
        format!("{}:{}", self.of_shard(kind, Shard::of_user(user)), Self::member(user))
    }

    fn of_shard(&self, kind: char, shard: Shard) -> String {
        format!("{}:{kind}:{{{}}}", self.prefix, shard.tag())
    }
}

/// CRC-16/XMODEM, by which a Cluster spreads keys.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, OpenId};

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    #[test]
    fn the_names_of_keys_never_change() {
        // Another instance, of yesterday's version, looks for the same sessions.
        let keys = Keys::new("wxg");
        let digest = TokenDigest::new([0xab; 32]);
        assert_eq!(keys.session(&digest), format!("wxg:s:{{53}}:{}", "ab".repeat(32)));
        let alice = user("wx4f4bc4dec97d474b", "oAlice");
        assert_eq!(keys.user(&alice), "wxg:u:{40}:18:wx4f4bc4dec97d474b:oAlice");
        assert_eq!(keys.session_key(&alice), "wxg:k:{40}:18:wx4f4bc4dec97d474b:oAlice");
        assert_eq!(keys.profile(&alice), "wxg:p:{40}:18:wx4f4bc4dec97d474b:oAlice");
        assert_eq!(Shard::of_user(&alice), Shard(0o40));
    }

    #[test]
    fn no_two_users_share_a_key() {
        let keys = Keys::new("wxg");
        let alike = [user("wx1", "a:b"), user("wx1:a", "b"), user("wx", "1a:b"), user("wx1", "ab")];
        let names: std::collections::HashSet<_> = alike.iter().map(|user| keys.user(user)).collect();
        assert_eq!(names.len(), alike.len());
    }

    #[test]
    fn a_session_is_found_in_the_name_of_its_key_and_in_no_other() {
        let keys = Keys::new("wxg");
        let digest = TokenDigest::new(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        let key = keys.session(&digest);
        assert!(keys.digest_in(key.as_bytes()) == Some(digest));
        let others = [
            key.replacen("wxg", "wxh", 1),
            key.replacen(":s:", ":u:", 1),
            key.replacen("{00}", "{01}", 1),
            key[..key.len() - 1].to_owned(),
            format!("{key}0"),
            key[..key.len() - 2].to_owned() + "+1",
            String::new(),
        ];
        for other in others {
            assert!(keys.digest_in(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn slots_are_those_of_a_cluster() {
        // From the specification of the Cluster, and from what a server's CLUSTER KEYSLOT says of the two digits.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        let slots = [0o00, 0o15, 0o47, 0o77].map(|shard| Shard(shard).slot());
        assert_eq!(slots, [13_254, 4_178, 4_069, 6_838]);
    }

    #[test]
    fn the_masters_of_a_cluster_have_about_as_many_users_each() {
        for masters in 1..=8_u16 {
            let mut shards = vec![0_u16; masters.into()];
            Shard::all().for_each(|shard| shards[usize::from(shard.slot() / SLOTS.div_ceil(masters))] += 1);
            let most = shards.iter().max().unwrap() * masters;
            assert!(most <= 72, "{shards:?}: of 64, times {masters}");
        }
    }
}
