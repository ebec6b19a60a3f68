//! Where the data of a chunked body lie, and where it ends (RFC 9112, 7.1). Strict: what could be read in two ways is no chunk.

/// A walk over one chunked body, fed in any number of pieces. Ready for the next body when one has ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunks {
    at: At,
    /// Of the chunk whose size line or data we are in.
    size: u64,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    FirstDigit,
    Digit,
    /// White space behind the size.
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// A trailer line, or the empty line that ends the body.
    Line,
    TrailerName,
    Trailer,
    TrailerLf,
    EndLf,
    /// No chunk.
    Broken,
}

/// A part of the way over a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes are no data: sizes, ends of lines, trailers.
    pub around: usize,
    /// So many behind them are.
    pub data: usize,
    /// The body ends with them.
    pub is_end: bool,
}

impl Chunks {
    /// Walks to the end of the next data, or of what there is.
    pub fn walk(&mut self, bytes: &[u8]) -> Step {
        let mut around = 0;
        loop {
            let rest = &bytes[around..];
            if self.at == At::Data {
                let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(rest.len());
                self.size -= data as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                return Step { around, data, is_end: false };
            }
            let Some(&byte) = rest.first().filter(|_| self.at != At::Broken) else {
                return Step { around, data: 0, is_end: false };
            };
            around += 1;
            if self.at == At::EndLf && byte == b'\n' {
                *self = Self::default();
                return Step { around, data: 0, is_end: true };
            }
            self.at = self.after(byte);
        }
    }

    /// Whether what came is no chunk. It has no end then.
    pub fn is_broken(&self) -> bool {
        self.at == At::Broken
    }

    fn after(&mut self, byte: u8) -> At {
        match (self.at, byte) {
            (At::FirstDigit | At::Digit, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte),
            (At::Digit | At::SizeSpace | At::Extension, b'\r') => At::SizeLf,
            (At::Digit | At::SizeSpace, b' ' | b'\t') => At::SizeSpace,
            (At::Extension, b'\n') => At::Broken,
            (At::Digit | At::SizeSpace, b';') | (At::Extension, _) => At::Extension,
            (At::SizeLf, b'\n') => {
                if self.size == 0 {
                    At::Line
                } else {
                    At::Data
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::FirstDigit,
            (At::Line, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::TrailerName, b':') | (At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => At::Trailer,
            (At::Line | At::TrailerName, _) if is_token(byte) => At::TrailerName,
            (At::TrailerLf, b'\n') => At::Line,
            _ => At::Broken,
        }
    }

    fn digit(&mut self, byte: u8) -> At {
        let value = char::from(byte).to_digit(16).map_or(0, u64::from);
        match self.size.checked_mul(16) {
            Some(size) => {
                self.size = size + value;
                At::Digit
            }
            None => At::Broken,
        }
    }
}

/// Whether a name may have this byte in it (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Walks over all of these bytes, and says how many of them belong to the body if it ends there.
    fn feed(chunks: &mut Chunks, bytes: &[u8]) -> Option<usize> {
        let mut eaten = 0;
        loop {
            let step = chunks.walk(&bytes[eaten..]);
            eaten += step.around + step.data;
            if step.is_end {
                return Some(eaten);
            }
            if step.data == 0 {
                return None;
            }
        }
    }

    const BODIES: [&str; 6] = [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\"\r\nhello\r\n1 ; c\r\n!\r\n00\r\n\r\n",
        "1A\r\nabcdefghijklm\r\n0\r\n\r\nGET / \r\n0\r\nTrailer: 1\r\nX: \r\n\r\n",
        "000b\r\n0\r\n\r\nGET / \r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\nX-a_1:\r\nY: a\tb \u{e9}\r\n\r\n",
    ];

    #[test]
    fn a_body_ends_where_it_ends() {
        for body in BODIES {
            let mut chunks = Chunks::default();
            for next in ["", "GET / HTTP/1.1\r\n", "0\r\n\r\n"] {
                assert_eq!(
                    feed(&mut chunks, format!("{body}{next}").as_bytes()),
                    Some(body.len()),
                    "{body:?} {next:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_chunk_has_no_end() {
        for body in [
            "g\r\n",
            "\r\n0\r\n\r\n",
            "5\nhello",
            "5;\nhello",
            "5 x\r\nhello",
            "5 /x HTTP/1.1\r\nhello",
            "1\r\nab\r\n",
            "0\r\n\rx",
            "0\r\nA: b\rc\r\n",
            "0\r\nA: b\nc\r\n",
            "0\r\nA\0: b\r\n",
            "0\r\nA: \0b\r\n",
            "0\r\nA : b\r\n",
            "0\r\n A: b\r\n",
            "0\r\n: b\r\n",
            "0\r\nA\r\n",
        ] {
            let mut chunks = Chunks::default();
            assert_eq!(feed(&mut chunks, format!("{body}0\r\n\r\n0\r\n\r\n").as_bytes()), None, "{body:?}");
            assert_eq!(chunks.at, At::Broken, "{body:?}");
        }
        let mut chunks = Chunks::default();
        assert_eq!((feed(&mut chunks, b"10000000000000000\r\n"), chunks.at), (None, At::Broken));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(which in 0..BODIES.len(), cuts in proptest::collection::vec(1usize..9, 0..60)) {
            let stream = format!("{}GET /", BODIES[which]);
            let (mut chunks, mut rest, mut cuts, mut eaten) = (Chunks::default(), stream.as_bytes(), cuts.into_iter(), 0);
            let end = loop {
                let (piece, more) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                if let Some(end) = feed(&mut chunks, piece) {
                    break eaten + end;
                }
                prop_assert!(!more.is_empty(), "no end");
                eaten += piece.len();
                rest = more;
            };
            prop_assert_eq!(end, BODIES[which].len());
        }
    }
}
