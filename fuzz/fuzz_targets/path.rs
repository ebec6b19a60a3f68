//! A path that passes is a fixed point, has no parent segment however often it is decoded, and survives a prefix cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate::routing::{canonicalise, strip_prefix};

fuzz_target!(|raw: &str| {
    let Ok(path) = canonicalise(raw) else { return };
    let text = path.as_str();
    assert!(text.len() <= raw.len(), "{raw} grew to {text}");
    assert_eq!(canonicalise(text).as_ref(), Ok(&path), "{raw}");

    let once = decode(text.as_bytes());
    for view in [text.as_bytes(), &once, &decode(&once)] {
        // A question mark was an encoded one. Some take what stands before it for the whole path.
        let before_query = view.split(|byte| *byte == b'?').next().unwrap_or_default();
        let mut pieces = pieces_of(view).chain(pieces_of(before_query));
        assert!(pieces.all(|piece| piece != b".." && piece != b"."), "{raw} climbs as {}", view.escape_ascii());
        assert!(!view.iter().any(|byte| byte.is_ascii_control() || *byte == b'#'), "{}", view.escape_ascii());
    }

    let prefix_end = text[1..].find('/').map_or(text.len(), |at| at + 1);
    let cut = strip_prefix(&path, &text[..prefix_end]);
    assert!(cut.as_ref().is_ok_and(|rest| rest.as_str().starts_with('/')), "{raw}: {cut:?}");
});

/// What stands between separators of any kind.
fn pieces_of(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b';' | b'\\'))
}

/// What a backend that decodes once makes of it.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = escape.filter(|hex| !hex.starts_with('+')).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    out
}
