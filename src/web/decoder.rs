//! The body of a message, out of the bytes that come over HTTP/1.1 (RFC 9112, 6.3).

use bytes::{Buf, Bytes, BytesMut};
use http_body::SizeHint;

use super::Chunks;

/// So many bytes of a chunked body may be none of its data, beyond [`AROUND`] for each byte of these.
const MOST_AROUND: usize = 16 * 1024;

/// A chunk of one byte has five around it, and may have a few more.
const AROUND: usize = 16;

/// What comes is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBody {
    /// Where a chunk was to be is none.
    #[error("it has a broken chunk")]
    NoChunk,
    /// The connection ended within it.
    #[error("it broke off")]
    Cut,
}

/// How much of a body is still to come, and as what.
#[derive(Debug)]
pub struct Decoder(Left);

#[derive(Debug)]
enum Left {
    Nothing,
    Exact(u64),
    /// With the bytes so far that are no data, and for which there were not data enough.
    Chunks(Chunks, usize),
    /// All until the connection ends.
    UntilClose,
    /// What has come is no body. Whatever comes behind it, nobody can say where it would begin.
    Broken(NoBody),
}

impl Decoder {
    /// There is none.
    pub fn nothing() -> Self {
        Self(Left::Nothing)
    }

    /// So many bytes.
    pub fn exact(length: u64) -> Self {
        Self(if length == 0 { Left::Nothing } else { Left::Exact(length) })
    }

    /// Chunks, up to the last one.
    pub fn chunks() -> Self {
        Self(Left::Chunks(Chunks::default(), 0))
    }

    /// All that comes.
    pub fn until_close() -> Self {
        Self(Left::UntilClose)
    }

    /// Whether all of it has been taken.
    pub fn is_over(&self) -> bool {
        matches!(self.0, Left::Nothing)
    }

    /// Whether the end of the connection is the end of the body.
    pub fn needs_close(&self) -> bool {
        matches!(self.0, Left::UntilClose)
    }

    /// How much is still to come.
    pub fn size_hint(&self) -> SizeHint {
        match self.0 {
            Left::Nothing => SizeHint::with_exact(0),
            Left::Exact(left) => SizeHint::with_exact(left),
            Left::Chunks(..) | Left::UntilClose | Left::Broken(_) => SizeHint::default(),
        }
    }

    /// The next data of those that have come; none where more has to come, or all is over. An error is all there is from then on.
    pub fn take(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, NoBody> {
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
                *around = around.saturating_add(step.around);
                if chunks.is_broken() || *around > MOST_AROUND {
                    return Err(self.breaks(NoBody::NoChunk));
                }
                *around = around.saturating_sub(step.data.saturating_mul(AROUND));
                read.advance(step.around);
                if step.is_end {
                    self.0 = Left::Nothing;
                }
                step.data
            }
            Left::UntilClose => read.len(),
            Left::Broken(why) => return Err(*why),
        };
        Ok((data > 0).then(|| read.split_to(data).freeze()))
    }

    /// The connection has ended.
    pub fn end(&mut self) -> Result<(), NoBody> {
        match self.0 {
            Left::Nothing | Left::UntilClose => {
                self.0 = Left::Nothing;
                Ok(())
            }
            Left::Exact(_) | Left::Chunks(..) => Err(self.breaks(NoBody::Cut)),
            Left::Broken(why) => Err(why),
        }
    }

    fn breaks(&mut self, why: NoBody) -> NoBody {
        self.0 = Left::Broken(why);
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a body that comes in pieces of this size; whether it is over then; and what is left of what came.
    fn decoded(mut decoder: Decoder, body: &[u8], piece: usize) -> Result<(Vec<u8>, bool, Vec<u8>), NoBody> {
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
        let often = format!("1;{}\r\n!\r\n", "x".repeat(MOST_AROUND / 4)).repeat(5);
        let endless = [format!("5;{much}"), format!("0\r\nx: {much}"), "0".repeat(MOST_AROUND + 1), often];
        for body in ["5\nhello", "x", "-1\r\n", "5\r\nhello!", "fffffffffffffffff\r\n"]
            .map(str::to_owned)
            .iter()
            .chain(&endless)
        {
            for piece in [1, 1000] {
                assert!(matches!(decoded(Decoder::chunks(), body.as_bytes(), piece), Err(NoBody::NoChunk)), "{body:?}");
            }
        }
    }

    /// What is behind an error would be read as what it is not: the end of somebody's trailers as the size of a chunk.
    #[test]
    fn what_is_no_body_never_becomes_one() {
        let much = "x".repeat(MOST_AROUND);
        for first in [format!("0\r\nA: {much}\r\n\r\n"), format!("5;{much}\r\nhello"), "5\nhello".to_owned()] {
            let (mut decoder, mut read) = (Decoder::chunks(), BytesMut::from(&*first));
            for more in ["", "5\r\nhello\r\n", "\r\n0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"] {
                read.extend_from_slice(more.as_bytes());
                assert_eq!(decoder.take(&mut read).err(), Some(NoBody::NoChunk), "{more:?}");
                assert!(!decoder.is_over() && decoder.end().is_err());
            }
        }
        let mut cut = Decoder::exact(5);
        assert!(cut.end().is_err() && cut.take(&mut BytesMut::from("hello")).is_err());
    }

    #[test]
    fn small_chunks_are_a_body_however_many_there_are() {
        let body = format!("{}0\r\n\r\n", "1;a=b\r\n!\r\n".repeat(MOST_AROUND));
        let (data, is_over, _) = decoded(Decoder::chunks(), body.as_bytes(), 1000).unwrap();
        assert!(data.len() == MOST_AROUND && is_over);
    }

    #[test]
    fn an_end_of_the_connection_is_one_of_the_body_only_where_nothing_else_is() {
        assert!(Decoder::until_close().end().is_ok() && Decoder::nothing().end().is_ok());
        for mut decoder in [Decoder::exact(1), Decoder::chunks()] {
            assert!(matches!(decoder.end(), Err(NoBody::Cut)));
        }
    }
}
