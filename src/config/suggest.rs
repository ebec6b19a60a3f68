//! "Did you mean": the nearest of the words that would have been right.

/// The word of `known` that `typed` was probably meant to be; none when nothing is near.
pub(super) fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let typed = folded(typed);
    let allowed = (typed.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&typed, &folded(word)), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `; did you mean "word"?`, or nothing.
pub(super) fn did_you_mean<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(typed, known).map(|word| format!("; did you mean \"{word}\"?")).unwrap_or_default()
}

/// Hyphens and capitals are slips of habit, not of the finger, so they cost nothing. The cut keeps the comparison,
/// whose cost is the product of the lengths, cheap for a word of any length.
fn folded(word: &str) -> String {
    word.chars().take(64).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 4] = ["listen", "workers", "max_body", "header_timeout"];

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        assert_eq!(nearest("lisen", KEYS), Some("listen"));
        assert_eq!(nearest("worksers", KEYS), Some("workers"));
        assert_eq!(nearest("header_tiemout", KEYS), Some("header_timeout"));
    }

    #[test]
    fn hyphens_and_capitals_cost_nothing() {
        assert_eq!(nearest("Max-Body", KEYS), Some("max_body"));
    }

    #[test]
    fn nothing_near_is_no_suggestion() {
        assert_eq!(nearest("colour", KEYS), None);
        assert_eq!(did_you_mean("", KEYS), "");
    }
}
