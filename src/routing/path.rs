//! The canonical path: the one form of a path that the decision is made on and the upstream receives.
//!
//! It is the received path byte for byte, save that `.` segments and repeated slashes go and percent-encoded unreserved
//! characters are decoded (RFC 3986, 6.2.2). Whatever two parsers could read differently is refused instead of mended:
//! most ways round a gateway's rules were a path that the gateway and the backend did not agree on.
//!
//! What is looked for is looked for in three views of the path: as it came, decoded once, and decoded twice. The third
//! contains what there is to find in the other two, since decoding never takes a separator away; so it alone is read.

use std::borrow::Cow;

use super::Rule;

/// A path that every parser reads alike. Begins with a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    text: Cow<'a, str>,
    encoded_slash: bool,
    semicolon: bool,
}

/// Why a path is refused. Each says what the path has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The first byte is not a slash.
    #[error("the path does not begin with a slash")]
    NoLeadingSlash,
    /// `..` between separators or before an encoded question mark, or a segment that ends in just two dots: a rewrite of
    /// the prefix, or Windows, makes a parent of that.
    #[error("the path has a segment that climbs: '..'")]
    ParentSegment,
    /// `.` beside an encoded slash, a semicolon or an encoded question mark, or encoded twice: some parsers would drop it
    /// and others not.
    #[error("the path has a '.' that is a segment to some parsers only")]
    DisguisedDot,
    /// `\`, which some servers take for a slash.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, a NUL among them.
    #[error("the path has a control character")]
    Control,
    /// `#`: a fragment never travels, so somebody would cut it off.
    #[error("the path has a '#'")]
    Fragment,
    /// A space, a question mark or a byte outside ASCII that is not percent-encoded.
    #[error("the path has a character that must be percent-encoded")]
    Unencoded,
    /// `%` without two hex digits after it.
    #[error("the path has a malformed percent escape")]
    MalformedEscape,
    /// `%2f` where the route does not allow it.
    #[error("the path has an encoded slash, which this route does not allow")]
    EncodedSlash,
    /// `;` where the route does not allow it.
    #[error("the path has a semicolon, which this route does not allow")]
    Semicolon,
    /// A semicolon or an encoded slash, as some servers read it, puts the path under another route.
    #[error("the path lies under another route for servers that cut parameters off or decode slashes")]
    OtherRoute,
    /// The prefix to cut off is not there, or does not end where a segment ends.
    #[error("the path does not lie under the prefix to strip")]
    NotUnderPrefix,
}

/// Brings a received path, without its query, into canonical form, or says why nobody should forward it. A path that
/// is canonical already, as nearly all are, is read once and borrowed.
pub fn canonicalise(raw_path: &str) -> Result<CanonicalPath<'_>, PathError> {
    if !raw_path.starts_with('/') {
        return Err(PathError::NoLeadingSlash);
    }
    if is_plain(raw_path.as_bytes()) {
        return Ok(CanonicalPath { text: Cow::Borrowed(raw_path), encoded_slash: false, semicolon: false });
    }
    let seen = Inspection::of(raw_path.as_bytes())?;
    let text = if seen.must_change { Cow::Owned(rewrite(raw_path)) } else { Cow::Borrowed(raw_path) };
    Ok(CanonicalPath { text, encoded_slash: seen.encoded_slash, semicolon: seen.semicolon })
}

/// Cuts `prefix` off at a segment border and checks what is left as if it had just been received. `/a` and `/a/` are
/// the same prefix; of a path that is the prefix and no more, `/` is left.
pub fn strip_prefix<'p>(canonical: &'p CanonicalPath<'_>, prefix: &str) -> Result<CanonicalPath<'p>, PathError> {
    let rest = canonical.as_str().strip_prefix(prefix.trim_end_matches('/')).ok_or(PathError::NotUnderPrefix)?;
    match rest.as_bytes().first() {
        None => canonicalise("/"),
        Some(b'/') => canonicalise(rest),
        Some(_) => Err(PathError::NotUnderPrefix),
    }
}

impl CanonicalPath<'_> {
    /// The path as it is matched and forwarded.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `%2f` is in it, encoded once or twice.
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// Whether `;` is in it, encoded or not.
    pub fn has_semicolon(&self) -> bool {
        self.semicolon
    }

    /// What servers may make of the two oddities that a route may let through: what stands behind a semicolon cut off, an encoded
    /// slash taken for a slash, or both.
    pub fn readings(&self) -> impl Iterator<Item = Result<CanonicalPath<'static>, PathError>> {
        let readings = [(self.semicolon, false), (false, self.encoded_slash), (self.semicolon, self.encoded_slash)];
        readings.into_iter().filter(|reading| *reading != (false, false)).map(|(cut, decode)| {
            let text = self.read_with(cut, decode);
            canonicalise(&text).map(CanonicalPath::into_owned)
        })
    }

    fn read_with(&self, cut_parameters: bool, decode_slashes: bool) -> String {
        let (path, mut seen) = (self.text.as_bytes(), Inspection::default());
        let (mut out, mut at, mut in_parameters) = (String::with_capacity(path.len()), 0, false);
        // It has passed inspection, so there is no error.
        while let Some(Ok(unit)) = (at < path.len()).then(|| seen.decode_twice(path, at)) {
            match unit.byte {
                b'/' if unit.depth == 0 || decode_slashes => {
                    in_parameters = false;
                    out.push('/');
                }
                b';' if cut_parameters => in_parameters = true,
                _ if in_parameters => {}
                _ => out.push_str(&self.text[at..unit.next]),
            }
            at = unit.next;
        }
        out
    }

    fn into_owned(self) -> CanonicalPath<'static> {
        CanonicalPath { text: Cow::Owned(self.text.into_owned()), ..self }
    }

    /// Refuses the two oddities that a route may have opted in to, unless this one has.
    pub fn refuse_unless_allowed(&self, rule: &Rule) -> Result<(), PathError> {
        if self.encoded_slash && !rule.allow_encoded_slash {
            return Err(PathError::EncodedSlash);
        }
        if self.semicolon && !rule.allow_semicolon {
            return Err(PathError::Semicolon);
        }
        Ok(())
    }
}

/// Whether there is nothing to change, to flag or to refuse, as one scan can tell. A `.` after a slash or another dot
/// may still turn out harmless.
fn is_plain(path: &[u8]) -> bool {
    let mut before = b' ';
    path.iter().all(|&byte| {
        let plain = match byte {
            b'/' => before != b'/',
            b'.' => before != b'/' && before != b'.',
            b'%' | b';' | b'\\' | b'#' | b'?' => false,
            _ => byte.is_ascii_graphic(),
        };
        before = byte;
        plain
    })
}

/// One byte of the path as decoding twice shows it.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    /// How many decodings it took.
    depth: u8,
    /// Where the next one begins.
    next: usize,
}

#[derive(Default)]
struct Inspection {
    encoded_slash: bool,
    semicolon: bool,
    must_change: bool,
}

impl Inspection {
    fn of(path: &[u8]) -> Result<Self, PathError> {
        let mut seen = Self::default();
        let mut piece = Piece::after(true);
        let mut at = 0;
        while at < path.len() {
            let unit = seen.decode_twice(path, at)?;
            seen.look_at(unit, path, at, &mut piece)?;
            at = unit.next;
        }
        seen.must_change |= piece.close(true)?;
        Ok(seen)
    }

    fn look_at(&mut self, unit: Unit, path: &[u8], at: usize, piece: &mut Piece) -> Result<(), PathError> {
        match unit.byte {
            b'/' | b';' => {
                let plain = unit.byte == b'/' && unit.depth == 0;
                self.encoded_slash |= unit.byte == b'/' && unit.depth > 0;
                self.semicolon |= unit.byte == b';';
                self.must_change |= piece.close(plain)? || (plain && at > 0 && path[at - 1] == b'/');
                *piece = Piece::after(plain);
            }
            b'\\' => return Err(PathError::Backslash),
            b'#' => return Err(PathError::Fragment),
            byte if byte.is_ascii_control() => return Err(PathError::Control),
            b' ' | b'?' | 0x80.. if unit.depth == 0 => return Err(PathError::Unencoded),
            b'?' => {
                // Whoever decodes before cutting off the query takes what stands before it for the end of the path.
                piece.close(false)?;
                piece.add(unit);
            }
            _ => piece.add(unit),
        }
        Ok(())
    }

    /// The byte at `at`, decoded as long as it is an escape, twice at most.
    fn decode_twice(&mut self, path: &[u8], at: usize) -> Result<Unit, PathError> {
        let first = self.decode_once(path, at)?;
        if first.byte != b'%' {
            return Ok(first);
        }
        let Some((high, after_high)) = self.hex_at(path, first.next)? else { return Ok(first) };
        let Some((low, next)) = self.hex_at(path, after_high)? else { return Ok(first) };
        Ok(Unit { byte: high << 4 | low, depth: 2, next })
    }

    fn decode_once(&mut self, path: &[u8], at: usize) -> Result<Unit, PathError> {
        if path[at] != b'%' {
            return Ok(Unit { byte: path[at], depth: 0, next: at + 1 });
        }
        let byte = escaped(path, at).ok_or(PathError::MalformedEscape)?;
        self.must_change |= is_unreserved(byte);
        Ok(Unit { byte, depth: 1, next: at + 3 })
    }

    /// A hex digit of the view that is decoded once, and where the next unit begins.
    fn hex_at(&mut self, path: &[u8], at: usize) -> Result<Option<(u8, usize)>, PathError> {
        if at >= path.len() {
            return Ok(None);
        }
        let unit = self.decode_once(path, at)?;
        Ok(hex(unit.byte).map(|digit| (digit, unit.next)))
    }
}

/// What stands between two separators, as far as dots are concerned.
struct Piece {
    len: usize,
    dots_at_end: usize,
    /// A dot of it took two decodings to appear.
    deep_dot: bool,
    after_plain_slash: bool,
}

impl Piece {
    fn after(plain_slash: bool) -> Self {
        Self { len: 0, dots_at_end: 0, deep_dot: false, after_plain_slash: plain_slash }
    }

    fn add(&mut self, unit: Unit) {
        self.len += 1;
        self.dots_at_end = if unit.byte == b'.' { self.dots_at_end + 1 } else { 0 };
        self.deep_dot |= unit.byte == b'.' && unit.depth == 2;
    }

    /// Whether it is a `.` segment to be dropped, if it is not refused.
    fn close(&self, before_plain_slash: bool) -> Result<bool, PathError> {
        match (self.dots_at_end, self.len) {
            (2, _) => Err(PathError::ParentSegment),
            (1, 1) if self.after_plain_slash && before_plain_slash && !self.deep_dot => Ok(true),
            (1, 1) => Err(PathError::DisguisedDot),
            _ => Ok(false),
        }
    }
}

/// Makes the changes to a path that has passed inspection.
fn rewrite(raw: &str) -> String {
    let decoded = decode_unreserved(raw);
    let mut out = String::with_capacity(decoded.len());
    for segment in decoded.split('/').filter(|segment| !segment.is_empty() && *segment != ".") {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() || decoded.ends_with('/') || decoded.ends_with("/.") {
        out.push('/');
    }
    out
}

fn decode_unreserved(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        match escaped(rest.as_bytes(), at).filter(|byte| is_unreserved(*byte)) {
            Some(byte) => out.push(char::from(byte)),
            None => out.push_str(&rest[at..at + 3]),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    out
}

/// The byte that the escape at `at` stands for, if it is one.
fn escaped(path: &[u8], at: usize) -> Option<u8> {
    Some(hex(*path.get(at + 1)?)? << 4 | hex(*path.get(at + 2)?)?)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use PathError::*;

    fn canonical(raw: &str) -> Result<String, PathError> {
        canonicalise(raw).map(|path| path.as_str().to_owned())
    }

    fn stripped(raw: &str, prefix: &str) -> Result<String, PathError> {
        strip_prefix(&canonicalise(raw)?, prefix).map(|path| path.as_str().to_owned())
    }

    #[test]
    fn a_plain_path_is_borrowed_as_it_is() {
        for raw in ["/", "/a", "/a/", "/v1/orders/17", "/a.b/c.d", "/~me/x_y-z", "/a:b@c!$&'()+,=", "/*", "/{id}|^"] {
            let path = canonicalise(raw).unwrap();
            assert_eq!(path.text, Cow::Borrowed(raw));
            assert!(matches!(path.text, Cow::Borrowed(_)), "{raw} was copied");
            assert!(is_plain(raw.as_bytes()), "{raw} took the long way");
        }
    }

    #[test]
    fn what_needs_a_second_look_but_no_change_is_borrowed_too() {
        for raw in ["/.well-known/jwks.json", "/%E4%B8%AD%e6%96%87", "/a%20b", "/100%25", "/%25zz", "/%2a", "/and..."] {
            let path = canonicalise(raw).unwrap();
            assert!(matches!(path.text, Cow::Borrowed(text) if text == raw), "{raw} became {}", path.as_str());
        }
    }

    #[test]
    fn dot_segments_and_repeated_slashes_go() {
        let cases = [
            ("//", "/"),
            ("//a///b//", "/a/b/"),
            ("/./a/././b", "/a/b"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/a/%2e/b", "/a/b"),
            ("/a/%2E", "/a/"),
        ];
        for (raw, expected) in cases {
            assert_eq!(canonical(raw), Ok(expected.to_owned()), "{raw}");
        }
    }

    #[test]
    fn encoded_unreserved_characters_are_decoded_and_other_escapes_keep_their_case() {
        let cases = [
            ("/%61dmin", "/admin"),
            ("/%7Euser%2Dx%5f%2E", "/~user-x_."),
            ("/%e4%B8%ad%41", "/%e4%B8%adA"),
            ("/%2541", "/%2541"),
            ("/%25%34%31", "/%2541"),
        ];
        for (raw, expected) in cases {
            assert_eq!(canonical(raw), Ok(expected.to_owned()), "{raw}");
        }
    }

    #[test]
    fn a_path_that_climbs_is_refused_in_every_spelling() {
        let dots = ["..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", ".%252e", "%252E.", "%25%32%65.", "%%32e."];
        let separators = ["/", "//", "%2f", "%2F", "%252f", ";", "%3b", "%253B", "\\", "%5c", "%255c"];
        let tails = separators.map(|separator| format!("{separator}admin"));
        for dot in dots {
            for before in separators {
                for after in tails.iter().map(String::as_str).chain(["", ";v=1"]) {
                    let raw = format!("/public{before}{dot}{after}");
                    let result = canonical(&raw);
                    assert!(result.is_err(), "{raw} passed as {result:?}");
                }
            }
        }
    }

    #[test]
    fn every_refusal_says_what_it_found() {
        let cases = [
            ("", NoLeadingSlash),
            ("a/b", NoLeadingSlash),
            ("*", NoLeadingSlash),
            ("/..", ParentSegment),
            ("/a/../b", ParentSegment),
            ("/a/..;x=1/b", ParentSegment),
            ("/a;..", ParentSegment),
            ("/a%2f..%2fb", ParentSegment),
            ("/%252e%252e/b", ParentSegment),
            ("/a/..%3fb", ParentSegment),
            ("/a/..%253f/b", ParentSegment),
            ("/a..%3F", ParentSegment),
            ("/a/.%3fb", DisguisedDot),
            ("/a/.;x/b", DisguisedDot),
            ("/a/.%2fb", DisguisedDot),
            ("/a%2f.", DisguisedDot),
            ("/a/%252e/b", DisguisedDot),
            ("/a\\b", Backslash),
            ("/a%5cb", Backslash),
            ("/a%255Cb", Backslash),
            ("/a\nb", Control),
            ("/a\u{7f}", Control),
            ("/a%00", Control),
            ("/a%0d%0aX:1", Control),
            ("/a%2500", Control),
            ("/a#b", Fragment),
            ("/public%23/x", Fragment),
            ("/public%2523/x", Fragment),
            ("/a b", Unencoded),
            ("/a?b", Unencoded),
            ("/中", Unencoded),
            ("/a%", MalformedEscape),
            ("/a%2", MalformedEscape),
            ("/a%zz", MalformedEscape),
            ("/a%25%3", MalformedEscape),
        ];
        for (raw, expected) in cases {
            assert_eq!(canonical(raw), Err(expected), "{raw:?}");
        }
    }

    #[test]
    fn encoded_slashes_and_semicolons_are_left_to_the_route() {
        let cases = [
            ("/a%2fb", true, false),
            ("/a%2Fb", true, false),
            ("/a%252fb", true, false),
            ("/a;v=1", false, true),
            ("/a%3bv", false, true),
            ("/a%253bv", false, true),
            ("/a/b", false, false),
            ("/a%20b", false, false),
        ];
        for (raw, slash, semicolon) in cases {
            let path = canonicalise(raw).unwrap();
            assert_eq!((path.has_encoded_slash(), path.has_semicolon()), (slash, semicolon), "{raw}");
            for (allow_slash, allow_semicolon) in [(false, false), (true, false), (false, true), (true, true)] {
                let rule = Rule { allow_encoded_slash: allow_slash, allow_semicolon, ..Rule::for_tests("/") };
                let expected = match () {
                    () if slash && !allow_slash => Err(EncodedSlash),
                    () if semicolon && !allow_semicolon => Err(Semicolon),
                    () => Ok(()),
                };
                assert_eq!(path.refuse_unless_allowed(&rule), expected, "{raw} {allow_slash} {allow_semicolon}");
            }
        }
    }

    #[test]
    fn a_prefix_is_cut_at_a_segment_border_only() {
        assert_eq!(stripped("/api/x", "/api"), Ok("/x".to_owned()));
        assert_eq!(stripped("/api/x", "/api/"), Ok("/x".to_owned()));
        assert_eq!(stripped("/api", "/api/"), Ok("/".to_owned()));
        assert_eq!(stripped("/api/", "/api"), Ok("/".to_owned()));
        assert_eq!(stripped("/api/x", "/"), Ok("/api/x".to_owned()));
        assert_eq!(stripped("/apix", "/api"), Err(NotUnderPrefix));
        assert_eq!(stripped("/other", "/api"), Err(NotUnderPrefix));
    }

    /// The `StripPrefix` advisories of 2026: cutting the prefix made `/../admin` of what had passed before.
    #[test]
    fn cutting_a_prefix_makes_no_parent_segment() {
        for raw in ["/api../admin", "/api%2e%2e/admin", "/api/./../admin", "/api/.%2e/admin", "/api/..;/admin"] {
            assert_eq!(stripped(raw, "/api"), Err(ParentSegment), "{raw}");
        }
        let unchecked = CanonicalPath { text: "/api/../admin".into(), encoded_slash: false, semicolon: false };
        assert_eq!(strip_prefix(&unchecked, "/api"), Err(ParentSegment), "the check runs again after the cut");
    }

    /// What a backend that decodes without a second thought makes of a path.
    fn decode(path: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < path.len() {
            match escaped(path, at).filter(|_| path[at] == b'%') {
                Some(byte) => (out.push(byte), at += 3).1,
                None => (out.push(path[at]), at += 1).1,
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn what_passes_is_a_fixed_point_and_climbs_in_no_view(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "/", ".", "%2e", "%252e", "%2f", "%252F", ";", "%3b", "%25", "2", "e", "f", "a", "%41", "%", "\\", "#",
                    "%5c", "5c", "%00", "%32", "%65", "é", " ", "%3f",
                ]),
                0..12,
            )
        ) {
            let raw = format!("/{}", parts.concat());
            let Ok(path) = canonicalise(&raw) else { return Ok(()) };
            let again = canonicalise(path.as_str());
            prop_assert_eq!(again.as_ref().map(CanonicalPath::as_str), Ok(path.as_str()), "from {}", raw);
            let again = again.unwrap();
            prop_assert_eq!((again.encoded_slash, again.semicolon), (path.encoded_slash, path.semicolon));

            let once = decode(path.as_str().as_bytes());
            let twice = decode(&once);
            for view in [path.as_str().as_bytes(), &once, &twice] {
                let text = String::from_utf8_lossy(view).replace(';', "/").replace("%2f", "/").replace("%2F", "/");
                let before_query = text.split('?').next().unwrap();
                let mut pieces = text.split('/').chain(before_query.split('/'));
                prop_assert!(pieces.all(|piece| piece != ".." && piece != "."), "{} shows {}", raw, text);
                prop_assert!(!text.contains(['\\', '#', '\0']), "{} shows {}", raw, text);
            }
        }
    }
}
