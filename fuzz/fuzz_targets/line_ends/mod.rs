//! Line ends of HTTP/1.1 for inputs that are easier to change without them.

/// The bytes with a carriage return before each line feed, or as they are.
pub fn written(bytes: &[u8], as_they_are: bool) -> Vec<u8> {
    let mut written = Vec::new();
    for byte in bytes {
        if *byte == b'\n' && !as_they_are {
            written.push(b'\r');
        }
        written.push(*byte);
    }
    written
}
