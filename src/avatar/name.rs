//! What a picture is called: by whose it is and what it shows, in a way that only this gateway can make up.
//!
//! ```text
//! owner 12 | picture 12 | nonce 4 | check 4      as 64 hex digits
//! ```
//!
//! Each part is the beginning of an HMAC-SHA256 under a key of its own kind. `owner` is of the app and the openid, `picture` of
//! these and the bytes: nobody can tell who has a picture, nor guess where one is, nor find out by uploading a picture
//! whether somebody else has it too. All of one owner's pictures begin alike, so what a crash has left behind can be
//! found. `check` is of the rest: a name that was made up reaches no storage.
//!
//! `nonce` is drawn for each upload. Without it a picture that is uploaded for the second time would come by the name of
//! the first, which at that moment may be on its way to be removed.

use std::{fmt, iter};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    config::sections::{NewestSealKey, Seal},
    model::{Entropy, EntropyError, SealKey, UserKey},
};

const OWNER: usize = 12;
const PICTURE: usize = 12;
const NONCE: usize = 4;
const CHECKED: usize = OWNER + PICTURE + NONCE;
const LEN: usize = CHECKED + 4;

/// What the key is derived for. Another text would be another key, and all names would be strange.
const PURPOSE: &[u8] = b"wxgate avatar names 1";

/// The name of a picture. It is as good as the picture to whoever has it, so `Debug` shows nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name([u8; LEN]);

impl Name {
    /// As it stands in an address.
    pub(super) fn to_text(self) -> String {
        hex(&self.0)
    }

    /// What the names of its owner's pictures have in common.
    pub(super) fn owner(self) -> String {
        hex(&self.0[..OWNER])
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Name(…)")
    }
}

/// Makes names, and knows those that it has made.
pub(super) struct Names {
    newest: Key,
    old: Vec<Key>,
}

impl Names {
    /// Under keys derived from those that seal. Where nothing is sealed no profile outlives the process, and neither
    /// needs a name to: the key is a random one.
    pub(super) fn new(seal: Option<&Seal>, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(match seal {
            Some(Seal { key: NewestSealKey::Given(key), old_keys }) => {
                Self { newest: Key::new(key), old: old_keys.iter().map(Key::new).collect() }
            }
            _ => Self { newest: Key::new(&SealKey::generate(entropy)?), old: Vec::new() },
        })
    }

    /// A new name for this picture of a user.
    pub(super) fn make(&self, user: &UserKey, picture: &[u8], entropy: &dyn Entropy) -> Result<Name, EntropyError> {
        let key = &self.newest;
        let mut name = [0; LEN];
        name[..OWNER].copy_from_slice(&key.owner(user));
        name[OWNER..OWNER + PICTURE].copy_from_slice(&key.picture(user, picture));
        entropy.fill(&mut name[OWNER + PICTURE..CHECKED])?;
        let check: [u8; LEN - CHECKED] = key.part(b"check", &[&name[..CHECKED]]);
        name[CHECKED..].copy_from_slice(&check);
        Ok(Name(name))
    }

    /// The name that a text is, if it was made here.
    pub(super) fn parse(&self, text: &str) -> Option<Name> {
        let name = Name(unhex(text)?);
        self.keys().any(|key| key.has_made(name)).then_some(name)
    }

    /// Whether it is the name of this picture of this user.
    pub(super) fn is_of(&self, name: Name, user: &UserKey, picture: &[u8]) -> bool {
        let fits = |key: &Key| name.0[OWNER..].starts_with(&key.picture(user, picture));
        self.is_owned(name, user) && self.keys().any(fits)
    }

    /// Whether it is the name of a picture of this user.
    pub(super) fn is_owned(&self, name: Name, user: &UserKey) -> bool {
        self.keys().any(|key| name.0.starts_with(&key.owner(user)))
    }

    /// What the names of a user's pictures begin with, those made with old keys too.
    pub(super) fn owners(&self, user: &UserKey) -> Vec<String> {
        self.keys().map(|key| hex(&key.owner(user))).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        iter::once(&self.newest).chain(&self.old)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("old_keys", &self.old.len()).finish_non_exhaustive()
    }
}

/// A key, ready for use.
struct Key(Hmac<Sha256>);

impl Key {
    fn new(seal: &SealKey) -> Self {
        let derived = keyed(seal.expose()).chain_update(PURPOSE).finalize().into_bytes();
        Self(keyed(&derived.into()))
    }

    fn owner(&self, user: &UserKey) -> [u8; OWNER] {
        self.part(b"owner", &[user.app.as_str().as_bytes(), user.openid.as_bytes()])
    }

    fn picture(&self, user: &UserKey, picture: &[u8]) -> [u8; PICTURE] {
        self.part(b"picture", &[user.app.as_str().as_bytes(), user.openid.as_bytes(), picture])
    }

    fn has_made(&self, name: Name) -> bool {
        let (checked, check) = name.0.split_at(CHECKED);
        let expected: [u8; LEN - CHECKED] = self.part(b"check", &[checked]);
        subtle::ConstantTimeEq::ct_eq(check, expected.as_slice()).into()
    }

    /// Each part with its length before it: the end of one can't be taken for the start of the next.
    fn part<const N: usize>(&self, what: &[u8], of: &[&[u8]]) -> [u8; N] {
        let mut mac = self.0.clone();
        for part in iter::once(&what).chain(of) {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        let whole: [u8; 32] = mac.finalize().into_bytes().into();
        std::array::from_fn(|at| whole[at])
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key that is shorter than a block counts as if zeros followed (RFC 2104), and a block is what can't have a wrong length.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block.into())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Small letters only: an address has one spelling.
fn unhex(text: &str) -> Option<[u8; LEN]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * LEN {
        return None;
    }
    let mut bytes = [0; LEN];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppId, OpenId, Secret, SystemEntropy};

    fn user(app: &str, openid: &str) -> UserKey {
        UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
    }

    fn key(of: u8) -> SealKey {
        SealKey::parse(&Secret::new(format!("{of:02x}").repeat(32))).unwrap()
    }

    fn names(newest: u8, old: &[u8]) -> Names {
        let seal = Seal { key: NewestSealKey::Given(key(newest)), old_keys: old.iter().map(|of| key(*of)).collect() };
        Names::new(Some(&seal), &SystemEntropy).unwrap()
    }

    #[derive(Debug)]
    struct Zeros;

    impl Entropy for Zeros {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(0);
            Ok(())
        }
    }

    #[test]
    fn a_name_stays_what_it_is_in_later_versions() {
        // Worked out by another library in another language.
        let name = names(1, &[]).make(&user("wx1", "oAlice"), b"picture", &Zeros).unwrap();
        assert_eq!(name.to_text(), "901c5799992452664ff3181cb84140d5039dc54c6d54d3f300000000667a1ec0");
        assert_eq!(format!("{name:?}"), "Name(…)");
    }

    #[test]
    fn each_user_has_a_name_of_his_own_for_the_same_picture() {
        let names = names(1, &[]);
        let users = [user("wx1", "oAlice"), user("wx1", "oBob"), user("wx2", "oAlice"), user("wx1o", "Alice")];
        let made: Vec<Name> = users.iter().map(|user| names.make(user, b"picture", &Zeros).unwrap()).collect();
        for (name, owner) in made.iter().zip(&users) {
            for user in &users {
                assert_eq!(names.is_owned(*name, user), user == owner);
                assert_eq!(names.is_of(*name, user, b"picture"), user == owner);
                assert!(!names.is_of(*name, user, b"another"));
            }
        }
    }

    #[test]
    fn the_same_picture_twice_has_two_names_that_are_known_to_be_of_it() {
        let (names, alice) = (names(1, &[]), user("wx1", "oAlice"));
        let [one, two] = [(), ()].map(|()| names.make(&alice, b"picture", &SystemEntropy).unwrap());
        assert_ne!(one, two);
        assert_eq!(one.owner(), two.owner());
        assert!(names.is_of(one, &alice, b"picture") && names.is_of(two, &alice, b"picture"));
    }

    #[test]
    fn a_name_that_was_made_up_is_none() {
        let names = names(1, &[]);
        let text = names.make(&user("wx1", "oAlice"), b"picture", &SystemEntropy).unwrap().to_text();
        assert!(names.parse(&text).is_some());
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert!(names.parse(&String::from_utf8(other).unwrap()).is_none(), "{at}");
        }
        for odd in ["", "..", &text[2..], &text.to_uppercase(), &format!("{text}0"), &text.replacen(|_| true, "/", 1)] {
            assert!(names.parse(odd).is_none(), "{odd}");
        }
    }

    #[test]
    fn names_outlive_a_change_of_the_key_and_a_key_of_this_process_alone_does_not() {
        let alice = user("wx1", "oAlice");
        let name = names(1, &[]).make(&alice, b"picture", &SystemEntropy).unwrap();
        let changed = names(2, &[1]);
        assert!(changed.parse(&name.to_text()).is_some() && changed.is_of(name, &alice, b"picture"));
        assert_eq!(changed.owners(&alice)[1], name.owner());
        assert!(names(2, &[]).parse(&name.to_text()).is_none());
        let alone = Names::new(None, &SystemEntropy).unwrap();
        assert!(alone.parse(&name.to_text()).is_none());
    }
}
