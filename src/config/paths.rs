//! Whether a path of the configuration is in the canonical form that requests are compared in. One that is not would
//! match nothing, which is the kind of rule that looks like protection and is none.

/// Checks a path; the refusal says what it would have to lose.
pub(super) fn canonical(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("must start with /".to_owned());
    }
    if let Some(odd) = path.chars().find(|c| !c.is_ascii_graphic()) {
        let odd = odd.escape_unicode();
        return Err(format!("has the character {odd} in it; percent-encode what is not visible ASCII"));
    }
    if let Some(odd) = path.chars().find(|c| matches!(c, '?' | '#' | '\\')) {
        return Err(format!("has a {odd} in it, which no path has"));
    }
    if path.contains("//") {
        return Err("has two slashes in a row; requests lose the second".to_owned());
    }
    for segment in path.split('/') {
        if matches!(segment.split(';').next(), Some("." | "..")) {
            return Err(format!("has the segment {segment}, which no request keeps"));
        }
    }
    escapes(path)
}

fn escapes(path: &str) -> Result<(), String> {
    for (at, _) in path.match_indices('%') {
        let Some(byte) = escaped(path, at) else {
            return Err("has a % that is not followed by two hexadecimal digits".to_owned());
        };
        let escape = path.get(at..at + 3).unwrap_or_default();
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            return Err(format!("has {escape} in it; write {}", char::from(byte)));
        }
        // Requests with these are refused before a route is looked for, encoded once or twice.
        if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'%') {
            return Err(format!("has {escape} in it, which no request may have where routes are compared"));
        }
    }
    Ok(())
}

fn escaped(path: &str, at: usize) -> Option<u8> {
    let digits = path.get(at + 1..at + 3)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canonical_path_stays() {
        for path in ["/", "/a", "/a/", "/a/b;c", "/%E4%BD%A0", "/a%20b", "/~x/.well-known/...", "/a:b@c"] {
            assert_eq!(canonical(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn a_path_that_no_request_can_have_is_refused() {
        let cases = [
            ("", "must start with /"),
            ("a", "must start with /"),
            ("/a b", "has the character \\u{20} in it; percent-encode what is not visible ASCII"),
            ("/ä", "has the character \\u{e4} in it; percent-encode what is not visible ASCII"),
            ("/a?b", "has a ? in it, which no path has"),
            ("/a\\b", "has a \\ in it, which no path has"),
            ("/a//b", "has two slashes in a row; requests lose the second"),
            ("/a/../b", "has the segment .., which no request keeps"),
            ("/.", "has the segment ., which no request keeps"),
            ("/..;x/b", "has the segment ..;x, which no request keeps"),
            ("/%41", "has %41 in it; write A"),
            ("/%2e", "has %2e in it; write ."),
            ("/%2F", "has %2F in it, which no request may have where routes are compared"),
            ("/%252e", "has %25 in it, which no request may have where routes are compared"),
            ("/%00", "has %00 in it, which no request may have where routes are compared"),
            ("/%4", "has a % that is not followed by two hexadecimal digits"),
            ("/%+1", "has a % that is not followed by two hexadecimal digits"),
        ];
        for (path, why) in cases {
            assert_eq!(canonical(path), Err(why.to_owned()), "{path}");
        }
    }
}
