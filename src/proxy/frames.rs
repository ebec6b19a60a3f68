//! Where in a WebSocket's bytes one frame ends and the next begins (RFC 6455, 5.2): only there can a frame of ours be put in.
//! Nothing else is looked at, and nothing is kept but a count.

/// In the second byte of a header: whether the payload is masked.
const MASKED: u8 = 0x80;

/// And how long it is, where that is shorter than this.
const SHORT_END: u8 = 126;

/// Follows the bytes of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// Bytes of the header at hand that have come.
    header: usize,
    /// Of the header: how many bytes of the length's long form there are.
    extended: usize,
    masked: bool,
    length: u64,
    /// Of the payload, still to come.
    payload: u64,
}

impl Frames {
    /// Whether the last frame has ended and the next not begun.
    pub(super) fn is_at_border(&self) -> bool {
        self.header == 0 && self.payload == 0
    }

    /// These bytes have passed.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let n = self.payload.min(bytes.len() as u64);
                self.payload -= n;
                bytes = bytes.get(usize::try_from(n).unwrap_or(usize::MAX)..).unwrap_or_default();
            } else if let Some((payload, rest)) = self.short_header(bytes) {
                (self.payload, bytes) = (payload, rest);
            } else {
                self.pass_header(bytes[0]);
                bytes = &bytes[1..];
            }
        }
    }

    /// The header that begins here, if it is there in one piece and of a short frame, as nearly all are: how long the payload is, and
    /// what comes behind the header.
    fn short_header<'b>(&self, bytes: &'b [u8]) -> Option<(u64, &'b [u8])> {
        let second = *bytes.get(1).filter(|_| self.header == 0)?;
        let (length, header) = (second & !MASKED, if second & MASKED == 0 { 2 } else { 6 });
        if length < SHORT_END { Some((length.into(), bytes.get(header..)?)) } else { None }
    }

    fn pass_header(&mut self, byte: u8) {
        match self.header {
            0 => {}
            1 => {
                self.masked = byte & MASKED != 0;
                let short = byte & !MASKED;
                (self.extended, self.length) = match short {
                    SHORT_END => (2, 0),
                    127 => (8, 0),
                    _ => (0, u64::from(short)),
                };
            }
            at if at < 2 + self.extended => self.length = (self.length << 8) | u64::from(byte),
            _ => {}
        }
        self.header += 1;
        if self.header > 1 && self.header == 2 + self.extended + if self.masked { 4 } else { 0 } {
            self.header = 0;
            self.payload = self.length;
        }
    }
}

/// A frame that says why the connection is closed, as a server sends it.
pub(super) fn close(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

/// The same as a client sends it. The mask is there to keep a page from choosing what bytes go over the wire; what goes
/// here nobody chooses, so it is always the same.
pub(super) fn masked_close(code: u16) -> [u8; 8] {
    const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
    let [high, low] = code.to_be_bytes();
    [0x88, 0x82, MASK[0], MASK[1], MASK[2], MASK[3], high ^ MASK[0], low ^ MASK[1]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(masked: bool, length: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x82];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(mask | 0x7e);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 0x7f);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(if masked { &[1, 2, 3, 4] } else { &[] });
        frame.resize(frame.len() + length, 0x81);
        frame
    }

    #[test]
    fn a_border_is_between_frames_and_nowhere_else() {
        for masked in [true, false] {
            for length in [0, 1, 125, 126, 65_535, 65_536] {
                let (mut frames, bytes) = (Frames::default(), frame(masked, length));
                for (at, byte) in bytes.iter().enumerate() {
                    assert_eq!(frames.is_at_border(), at == 0, "{masked} {length} at {at}");
                    frames.pass(&[*byte]);
                }
                assert!(frames.is_at_border(), "{masked} {length}");
                for at in 0..bytes.len().min(20) {
                    let (head, tail) = bytes.split_at(at);
                    frames.pass(head);
                    assert_eq!(frames.is_at_border(), at == 0, "{masked} {length} cut at {at}");
                    frames.pass(tail);
                    assert!(frames.is_at_border(), "{masked} {length} cut at {at}");
                }
                frames.pass(&[bytes.as_slice(), &close(1001), &masked_close(1008), &bytes].concat());
                assert!(frames.is_at_border(), "{masked} {length} in one piece");
            }
        }
    }

    #[test]
    fn an_end_can_be_read_by_who_unmasks_it() {
        let [first, second, mask @ .., high, low] = masked_close(1008);
        assert_eq!((first, second), (0x88, 0x82));
        assert_eq!(u16::from_be_bytes([high ^ mask[0], low ^ mask[1]]), 1008);
        assert_eq!(close(1001), [0x88, 2, 3, 0xe9]);
    }
}
