//! What the parts of a WebP file say of themselves, before the decoder believes them. It looks at the size of the canvas only,
//! and makes room for a frame by the frame's own word; and it makes room for a chunk by the chunk's.

use super::Flaw;

/// The signature of the file, its length, and the four letters of the format.
const HEAD: usize = 12;

/// What stands before the chunks of a frame of an animation.
const FRAME_HEAD: usize = 16;

/// Fourteen bits are a side.
const SIDE: u32 = 0x3fff;

/// Nothing in the file has more pixels than this, and no chunk is longer than the file.
pub(super) fn keeps_to(bytes: &[u8], max_pixels: u64) -> Result<(), Flaw> {
    let chunks = bytes.get(HEAD..).ok_or(Flaw::Broken)?;
    let said = usize::try_from(number(bytes.get(4..8).unwrap_or_default())).map_err(|_| Flaw::Broken)?;
    // Whatever stands behind the file is no part of it.
    let behind = chunks.len().saturating_sub((said + 8).saturating_sub(HEAD));
    walk(chunks, behind, max_pixels, true)
}

/// Looks at one chunk after the other; of the last bytes so many need not be chunks.
fn walk(mut rest: &[u8], behind: usize, max_pixels: u64, frames_too: bool) -> Result<(), Flaw> {
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let length = usize::try_from(number(&head[4..])).map_err(|_| Flaw::Broken)?;
        let Some(data) = tail.get(..length) else {
            return if rest.len() <= behind { Ok(()) } else { Err(Flaw::Broken) };
        };
        match &head[..4] {
            b"VP8 " => fits(lossy(data), max_pixels)?,
            b"VP8L" => fits(lossless(data), max_pixels)?,
            b"ANMF" if frames_too => walk(data.get(FRAME_HEAD..).ok_or(Flaw::Broken)?, 0, max_pixels, false)?,
            _ => {}
        }
        rest = tail.get(length + length % 2..).unwrap_or_default();
    }
    Ok(())
}

/// RFC 6386, 9.1: behind three bytes and a start code stand the sides, each below two bits of scale.
fn lossy(data: &[u8]) -> Option<(u32, u32)> {
    let sides = data.get(6..10).filter(|_| data[3..6] == [0x9d, 0x01, 0x2a])?;
    Some((number(&sides[..2]) & SIDE, number(&sides[2..]) & SIDE))
}

/// RFC 9649, 3.4: behind a signature stand the sides, each less one.
fn lossless(data: &[u8]) -> Option<(u32, u32)> {
    let sides = number(data.get(1..5).filter(|_| data[0] == 0x2f)?);
    Some(((sides & SIDE) + 1, ((sides >> 14) & SIDE) + 1))
}

fn fits(sides: Option<(u32, u32)>, max_pixels: u64) -> Result<(), Flaw> {
    let (width, height) = sides.ok_or(Flaw::Broken)?;
    if u64::from(width) * u64::from(height) > max_pixels { Err(Flaw::TooLarge) } else { Ok(()) }
}

/// At most four bytes, the lowest first.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        [name.as_slice(), &length, data, &[0][..data.len() % 2]].concat()
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        let said = u32::try_from(body.len() + 4).unwrap().to_le_bytes();
        [b"RIFF".as_slice(), &said, b"WEBP", &body].concat()
    }

    fn vp8(width: u16, height: u16) -> Vec<u8> {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        chunk(*b"VP8 ", &[&[0x10, 0, 0, 0x9d, 0x01, 0x2a], sides.as_slice(), &[0; 9]].concat())
    }

    fn vp8l(width: u32, height: u32) -> Vec<u8> {
        let sides = (width - 1) | ((height - 1) << 14);
        chunk(*b"VP8L", &[&[0x2f], sides.to_le_bytes().as_slice(), &[0; 3]].concat())
    }

    fn frame(picture: &[u8]) -> Vec<u8> {
        chunk(*b"ANMF", &[&[0; FRAME_HEAD], picture].concat())
    }

    #[test]
    fn no_frame_is_larger_than_the_canvas_may_be_whatever_the_canvas_says() {
        let canvas = chunk(*b"VP8X", &[0; 10]);
        for large in [vp8(16_383, 16_383), vp8l(16_384, 16_384), frame(&vp8(16_383, 2)), frame(&vp8l(101, 100))] {
            let bytes = file(&[canvas.clone(), large]);
            assert_eq!(keeps_to(&bytes, 10_000), Err(Flaw::TooLarge));
        }
        for small in [vp8(100, 100), vp8l(100, 100), frame(&vp8(100, 100)), frame(&vp8l(1, 1))] {
            assert_eq!(keeps_to(&file(&[canvas.clone(), small]), 10_000), Ok(()));
        }
    }

    #[test]
    fn a_chunk_that_is_longer_than_the_file_is_no_chunk() {
        let mut bytes = file(&[chunk(*b"EXIF", b"1234")]);
        bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(keeps_to(&bytes, 10_000), Err(Flaw::Broken));
        assert_eq!(keeps_to(b"RIFF", 10_000), Err(Flaw::Broken));
    }

    #[test]
    fn what_stands_behind_the_file_need_not_be_chunks_and_hides_no_frame() {
        let behind = |tail: &[u8]| [file(&[vp8(10, 10)]).as_slice(), tail].concat();
        assert_eq!(keeps_to(&behind(b"<script>alert(1)</script>"), 10_000), Ok(()));
        assert_eq!(keeps_to(&behind(&vp8(200, 200)), 10_000), Err(Flaw::TooLarge));
        let mut says_it_is_empty = file(&[vp8(200, 200)]);
        says_it_is_empty[4..8].fill(0);
        assert_eq!(keeps_to(&says_it_is_empty, 10_000), Err(Flaw::TooLarge));
    }
}
