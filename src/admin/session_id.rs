//! The name by which an operator tells one session of a user from the others.
//!
//! It is made of the digest and is not the digest: what an operator copies into a ticket names nothing in a store, is no
//! token, and leads back to neither. It is the same at every instance and after a restart, which a keyed hash under a key
//! of the process would not be.

use sha2::{Digest, Sha256};

use crate::model::TokenDigest;

/// What is hashed before the digest, so that no other hash of ours ever is the same.
const PURPOSE: &[u8] = b"wxgate session id\0";

/// 32 hex digits.
pub(super) fn of(digest: &TokenDigest) -> String {
    let hash = Sha256::new_with_prefix(PURPOSE).chain_update(digest.as_bytes()).finalize();
    let head: [u8; 16] = hash.first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(head))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_sessions_own_and_stays() {
        // python3: hashlib.sha256(b"wxgate session id\0" + bytes([7]) * 32).hexdigest()[:32]
        assert_eq!(of(&TokenDigest::new([7; 32])), "6b2cc4d44ac2d74719321cf2923296b3");
        assert_ne!(of(&TokenDigest::new([7; 32])), of(&TokenDigest::new([8; 32])));
    }

    #[test]
    fn an_id_is_no_part_of_the_digest() {
        let digest = TokenDigest::new([7; 32]);
        assert!(!"07".repeat(32).contains(&of(&digest)));
    }
}
