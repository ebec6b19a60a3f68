//! The body of an answer, out of the bytes that come (RFC 9112, 6.3).

use bytes::{Buf, Bytes, BytesMut};
use http_body::SizeHint;

use super::Error;
use crate::web::Chunks;

/// So many bytes may stand between the data of a chunked body, or behind them.
const MOST_AROUND: usize = 16 * 1024;

/// How much of a body is still to come, and as what.
#[derive(Debug)]
pub struct Decoder(Left);

#[derive(Debug)]
enum Left {
    Nothing,
    Exact(u64),
    /// With the bytes since the last data that are none.
    Chunks(Chunks, usize),
    /// All until the connection ends.
    UntilClose,
}

impl Decoder {
    pub(super) fn nothing() -> Self {
        Self(Left::Nothing)
    }

    pub(super) fn exact(length: u64) -> Self {
        Self(if length == 0 { Left::Nothing } else { Left::Exact(length) })
    }

    pub(super) fn chunks() -> Self {
        Self(Left::Chunks(Chunks::default(), 0))
    }

    pub(super) fn until_close() -> Self {
        Self(Left::UntilClose)
    }

    /// Whether all of it has been taken.
    pub(in super::super) fn is_over(&self) -> bool {
        matches!(self.0, Left::Nothing)
    }

    /// Whether the end of the connection is the end of the body.
    pub(super) fn needs_close(&self) -> bool {
        matches!(self.0, Left::UntilClose)
    }

    pub(in super::super) fn size_hint(&self) -> SizeHint {
        match self.0 {
            Left::Nothing => SizeHint::with_exact(0),
            Left::Exact(left) => SizeHint::with_exact(left),
            Left::Chunks(..) | Left::UntilClose => SizeHint::default(),
        }
    }

    /// The next data of those that have come; none where more has to come, or all is over.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, Error> {
        let data = match &mut self.0 {
            Left::Nothing => 0,
            Left::Exact(left) => {
                let data = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
                *left -= data as u64;
                if *left == 0 {
                    self.0 = Left::Nothing;
                }
                data
            }
            Left::Chunks(chunks, around) => {
                let step = chunks.walk(read);
                *around = if step.data > 0 { 0 } else { *around + step.around };
                if chunks.is_broken() || *around > MOST_AROUND {
                    return Err(Error::NoChunk);
                }
                read.advance(step.around);
                if step.is_end {
                    self.0 = Left::Nothing;
                }
                step.data
            }
            Left::UntilClose => read.len(),
        };
        Ok((data > 0).then(|| read.split_to(data).freeze()))
    }

    /// The connection has ended.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self.0 {
            Left::Nothing | Left::UntilClose => {
                self.0 = Left::Nothing;
                Ok(())
            }
            Left::Exact(_) | Left::Chunks(..) => Err(Error::Cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a body that comes in pieces of this size; whether it is over then; and what is left of what came.
    fn decoded(mut decoder: Decoder, body: &[u8], piece: usize) -> Result<(Vec<u8>, bool, Vec<u8>), Error> {
        let (mut read, mut data) = (BytesMut::new(), Vec::new());
        for piece in body.chunks(piece) {
            read.extend_from_slice(piece);
            while let Some(next) = decoder.take(&mut read)? {
                data.extend_from_slice(&next);
            }
        }
        Ok((data, decoder.is_over(), read.to_vec()))
    }

    #[test]
    fn a_body_is_what_is_said_of_it_and_not_a_byte_more() {
        for piece in [1, 2, 3, 7, 1000] {
            let took = |decoder, body: &str| {
                let (data, is_over, left) = decoded(decoder, body.as_bytes(), piece).unwrap();
                (String::from_utf8(data).unwrap(), is_over, String::from_utf8(left).unwrap())
            };
            let is = |data: &str, is_over, left: &str| (data.to_owned(), is_over, left.to_owned());
            assert_eq!(took(Decoder::nothing(), "HTTP"), is("", true, "HTTP"));
            assert_eq!(took(Decoder::exact(0), "HTTP"), is("", true, "HTTP"));
            assert_eq!(took(Decoder::exact(5), "helloHTTP"), is("hello", true, "HTTP"));
            assert_eq!(took(Decoder::exact(5), "hell"), is("hell", false, ""));
            assert_eq!(took(Decoder::until_close(), "hello"), is("hello", false, ""));
            let chunks = "5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nx: y\r\n\r\n";
            assert_eq!(took(Decoder::chunks(), &format!("{chunks}HTTP")), is("hello!", true, "HTTP"));
            assert_eq!(took(Decoder::chunks(), &chunks[..chunks.len() - 1]), is("hello!", false, ""));
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error_and_so_is_no_end_of_what_is_around() {
        let much = "x".repeat(MOST_AROUND);
        let endless = [format!("5;{much}"), format!("0\r\n{much}"), "0".repeat(MOST_AROUND + 1)];
        for body in ["5\nhello", "x", "-1\r\n", "5\r\nhello!", "fffffffffffffffff\r\n"]
            .map(str::to_owned)
            .iter()
            .chain(&endless)
        {
            for piece in [1, 1000] {
                assert!(matches!(decoded(Decoder::chunks(), body.as_bytes(), piece), Err(Error::NoChunk)), "{body:?}");
            }
        }
    }

    #[test]
    fn an_end_of_the_connection_is_one_of_the_body_only_where_nothing_else_is() {
        assert!(Decoder::until_close().end().is_ok() && Decoder::nothing().end().is_ok());
        for mut decoder in [Decoder::exact(1), Decoder::chunks()] {
            assert!(matches!(decoder.end(), Err(Error::Cut)));
        }
    }
}
