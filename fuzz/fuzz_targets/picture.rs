//! Whatever is uploaded as a picture comes to nothing or to a small JPEG that has nothing in it but what can be seen, without
//! a panic. Input: the file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wxgate::avatar::{Bounds, remade};

const BOUNDS: Bounds = Bounds { max_pixels: 100_000, size: 32 };

fuzz_target!(|input: &[u8]| {
    let Ok(jpeg) = remade(input, BOUNDS) else { return };
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]), "no JPEG");
    let (mut rest, mut size) = (&jpeg[2..], None);
    // Up to the pixels it is segments: each has a kind and says how long it is.
    while let [0xff, kind, high, low, ..] = *rest {
        let length = usize::from(high) << 8 | usize::from(low);
        match kind {
            // JFIF, tables, the pixels.
            0xe0 | 0xdb | 0xc4 => {}
            0xc0 => size = Some((&rest[5..7], &rest[7..9])),
            0xda => break,
            other => panic!("a segment {other:02x}"),
        }
        rest = &rest[2 + length..];
    }
    let (height, width) = size.expect("a size");
    assert!(height == width && height[0] == 0 && (1..=32).contains(&height[1]), "{height:?} {width:?}");
});
