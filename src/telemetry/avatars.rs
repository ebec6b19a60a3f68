//! What is counted of uploaded pictures.

use super::Counter;

/// What an upload can come to, in the words of whoever counts. What is none of them counts as the last.
pub const AVATAR_UPLOADS: [&str; 4] = ["kept", "refused", "overloaded", "failed"];

/// What the removal of a picture that nobody names can come to.
pub const AVATAR_REMOVALS: [&str; 2] = ["removed", "failed"];

/// Uploads of pictures that were read whole, by what they came to.
#[derive(Debug, Default)]
pub struct AvatarUploads([Counter; AVATAR_UPLOADS.len()]);

/// Removals of pictures that nobody names, by what they came to.
#[derive(Debug, Default)]
pub struct AvatarRemovals([Counter; AVATAR_REMOVALS.len()]);

impl AvatarUploads {
    /// One more that came to this.
    pub fn count(&self, outcome: &str) {
        count(&AVATAR_UPLOADS, &self.0, outcome);
    }

    /// How many so far, by name.
    pub fn each(&self) -> [(&'static str, u64); AVATAR_UPLOADS.len()] {
        std::array::from_fn(|at| (AVATAR_UPLOADS[at], self.0[at].get()))
    }
}

impl AvatarRemovals {
    /// One more that came to this.
    pub fn count(&self, outcome: &str) {
        count(&AVATAR_REMOVALS, &self.0, outcome);
    }

    /// How many so far, by name.
    pub fn each(&self) -> [(&'static str, u64); AVATAR_REMOVALS.len()] {
        std::array::from_fn(|at| (AVATAR_REMOVALS[at], self.0[at].get()))
    }
}

fn count(words: &[&str], cells: &[Counter], outcome: &str) {
    let at = words.iter().position(|known| *known == outcome).unwrap_or(cells.len() - 1);
    cells[at].inc();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_counted_by_its_word_and_an_unknown_word_as_a_failure() {
        let uploads = AvatarUploads::default();
        for word in ["kept", "kept", "refused", "a word of tomorrow"] {
            uploads.count(word);
        }
        assert_eq!(uploads.each(), [("kept", 2), ("refused", 1), ("overloaded", 0), ("failed", 1)]);
        let removals = AvatarRemovals::default();
        removals.count("removed");
        assert_eq!(removals.each(), [("removed", 1), ("failed", 0)]);
    }
}
