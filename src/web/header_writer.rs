//! Header values made per request, cut from one block of memory instead of one allocation each.

use std::{cell::RefCell, fmt};

use bytes::BytesMut;
use http::HeaderValue;

/// The size of a block. A request makes about a hundred bytes of values, so one block serves some forty requests.
const BLOCK: usize = 4096;

/// The room a value is given before it is written.
const ROOM: usize = 256;

/// Writes header values. It belongs to one thread.
#[derive(Default)]
pub struct HeaderWriter(RefCell<BytesMut>);

impl fmt::Debug for HeaderWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderWriter")
    }
}

impl HeaderWriter {
    /// The value that `write` writes; `None` when that is not allowed in a header.
    pub fn value(&self, write: impl FnOnce(&mut BytesMut)) -> Option<HeaderValue> {
        let mut block = self.0.borrow_mut();
        if block.capacity() < ROOM {
            *block = BytesMut::with_capacity(BLOCK);
        }
        write(&mut block);
        HeaderValue::from_maybe_shared(block.split().freeze()).ok()
    }
}

/// Writes a line of a head as HTTP/1.1 has it.
pub fn header_line(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.reserve(name.len() + value.len() + 4);
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}

/// The same with a name that is known beforehand, written with its colon and a space: it is copied in one piece.
pub fn line_of<const N: usize>(to: &mut Vec<u8>, name: &[u8; N], value: &[u8]) {
    debug_assert!(name.ends_with(b": "));
    to.extend_from_slice(name);
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;

    use super::*;

    #[test]
    fn values_do_not_run_into_each_other() {
        let writer = HeaderWriter::default();
        let values: Vec<_> = (0..200).map(|n| writer.value(|b| b.put_slice(format!("v{n}").as_bytes()))).collect();
        for (n, value) in values.iter().enumerate() {
            assert_eq!(value.as_ref().unwrap(), &format!("v{n}"));
        }
    }

    #[test]
    fn a_line_break_makes_no_value_and_leaves_nothing_behind() {
        let writer = HeaderWriter::default();
        assert_eq!(writer.value(|b| b.put_slice(b"a\r\nb")), None);
        assert_eq!(writer.value(|b| b.put_slice(b"c")).unwrap(), "c");
    }
}
