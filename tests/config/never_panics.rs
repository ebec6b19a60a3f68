//! No text makes the loader panic, or say a secret.

use proptest::prelude::*;
use wxgate::config::ConfigErrors;

use super::support::{MARK, read};

const VALID: [&str; 3] =
    [include_str!("valid/everything.toml"), include_str!("valid/minimal.toml"), include_str!("../../gateway.toml")];

/// Pieces that mean something to TOML or to us.
const PIECES: [&str; 16] = [
    "[",
    "]",
    "[[",
    "]]",
    "\"",
    "\n",
    "=",
    "{",
    "}",
    "#",
    "\\u0000",
    "%",
    "\u{feff}",
    "99999999999999999999s",
    "..",
    "ß",
];

fn answer(text: &str) -> Result<(), ConfigErrors> {
    read(text).map(|_| ())
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC*") {
        prop_assert!(answer(&text).is_err(), "no text of chance is a whole configuration");
    }

    #[test]
    fn any_bytes_that_are_text_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(answer(&String::from_utf8_lossy(&bytes)).is_err());
    }

    #[test]
    fn a_valid_file_with_pieces_cut_out_and_put_in_gets_an_answer(
        file in 0..VALID.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..40_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut chars: Vec<char> = VALID[file].chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, PIECES[piece].chars());
        }
        let text: String = chars.into_iter().collect();
        if let Err(errors) = answer(&text) {
            let said = errors.to_string();
            prop_assert!(!errors.findings.is_empty());
            prop_assert!(errors.findings.iter().all(|f| f.line >= 1 && f.line <= text.lines().count() + 1), "{said}");
            prop_assert!(!said.contains(MARK), "{said}");
        }
    }

    #[test]
    fn any_value_for_any_key_gets_an_answer(
        key in prop::sample::select(wxgate::config::known_keys()),
        value in "[\"'\\[{]?[ -~]{0,40}[\"'\\]}]?",
    ) {
        let (section, name) = key.split_once('.').unwrap_or((&key, ""));
        let header = if ["apps", "upstreams", "routes"].contains(&section) { format!("[[{section}]]") } else { format!("[{section}]") };
        let _ = answer(&format!("{header}\n{name} = {value}\n"));
    }
}

#[test]
fn a_very_deep_text_gets_an_answer() {
    for open in ["[", "{a=", "a.", "[a."] {
        assert!(answer(&format!("a = {}", open.repeat(50_000))).is_err());
        assert!(answer(&open.repeat(50_000)).is_err());
    }
}
