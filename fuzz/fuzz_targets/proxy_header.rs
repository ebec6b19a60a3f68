//! A PROXY header ends at one place however it is cut, means one thing, and takes no byte of what is behind it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate::server::proxy_header::{End, MAX_BYTES, Malformed, end, read};

fuzz_target!(|bytes: &[u8]| {
    let mut first_end = None;
    let mut refused = false;
    for length in 0..=bytes.len() {
        match end(&bytes[..length]) {
            Ok(End::Open) => {
                assert!(length < MAX_BYTES, "a header without an end: {}", bytes.escape_ascii());
                assert!(!refused && first_end.is_none(), "an end that went away: {}", bytes.escape_ascii());
            }
            Ok(End::At(at)) => {
                assert!(!refused && at <= MAX_BYTES, "{}", bytes.escape_ascii());
                assert_eq!(*first_end.get_or_insert(at), at, "two ends: {}", bytes.escape_ascii());
            }
            Err(Malformed) => {
                assert!(first_end.is_none(), "an end that went away: {}", bytes.escape_ascii());
                refused = true;
            }
        }
    }
    if let Some(header) = first_end.and_then(|at| bytes.get(..at)) {
        let meant = read(header);
        let longer = [header, b"\0"].concat();
        assert_eq!(read(header), meant, "{}", header.escape_ascii());
        // A connection of the proxy's own is one whatever stands in its header.
        let its_own = header.get(12) == Some(&0x20) && header.starts_with(b"\r\n");
        assert!(its_own || read(&longer).is_err(), "{}", longer.escape_ascii());
    }
});
