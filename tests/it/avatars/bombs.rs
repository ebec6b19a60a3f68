//! Small files that would be large pictures, and files that say one thing and are another.

use std::time::Duration;

use image::{Frame, codecs::gif::GifEncoder};

use super::{files, gateway, gateway_with, look, upload, uploaded};
use crate::support::pictures::{GREEN, RED, chunk, corners, plain, png, png_that_says, stored_zeros};

const TOO_LARGE: &str = "The picture has too many pixels.";

/// A GIF with a screen of one size and a picture of another.
fn gif(screen: (u16, u16), frame: (u16, u16)) -> Vec<u8> {
    let mut gif = b"GIF89a".to_vec();
    gif.extend(screen.0.to_le_bytes());
    gif.extend(screen.1.to_le_bytes());
    gif.extend([0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2c, 0, 0, 0, 0]);
    gif.extend(frame.0.to_le_bytes());
    gif.extend(frame.1.to_le_bytes());
    gif.extend([0, 2, 2, 0x44, 0x01, 0, 0x3b]);
    gif
}

/// A WebP that says that it is so large.
fn webp(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"VP8X\x0a\0\0\0\0\0\0\0".to_vec();
    chunk.extend(&(width - 1).to_le_bytes()[..3]);
    chunk.extend(&(height - 1).to_le_bytes()[..3]);
    chunk.extend(b"VP8L\x05\0\0\0\x2f\0\0\0\0\0");
    let length = u32::try_from(chunk.len() + 4).unwrap().to_le_bytes();
    [b"RIFF", &length[..], b"WEBP", &chunk].concat()
}

/// A JPEG that says that it is so large.
fn jpeg_that_says(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = crate::support::pictures::jpeg(&plain(16, RED));
    let at = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).expect("a frame");
    jpeg[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

#[test]
fn a_small_file_that_is_a_large_picture_is_refused_before_it_is_decoded() {
    let (gw, folder) = gateway();
    let mut alice = gw.login("oAlice");
    for bomb in [
        png_that_says(30_000, 30_000, &stored_zeros(1000)),
        png_that_says(16_001, 1000, &stored_zeros(1000)),
        png_that_says(4_000_000_000, 4_000_000_000, &[]),
        png_that_says(100_000, 1, &[]),
        gif((65_535, 65_535), (65_535, 65_535)),
        webp(16_384, 16_384),
        jpeg_that_says(65_000, 65_000),
    ] {
        let reply = upload(&mut alice, &bomb);
        // What can't be a size is no picture.
        if reply.status != 415 {
            gw.says_no(&reply, 413, "image_too_large", TOO_LARGE, &[]);
        }
    }
    assert_eq!(upload(&mut alice, &png_that_says(30_000, 30_000, &[])).code(), "image_too_large");
    assert_eq!(files(folder.path()).len(), 0);
    assert_eq!(upload(&mut alice, &png(&plain(64, RED))).status, 200, "and nobody has been hurt");
}

#[test]
fn the_limit_is_on_pixels_and_for_deep_colours_on_half_as_many() {
    let (gw, _folder) = gateway_with(|config| config.avatars.as_mut().unwrap().max_pixels = 10_000);
    let mut alice = gw.login("oAlice");
    for (image, status) in [
        (corners(100, 100), 200),
        (corners(10_000, 1), 200),
        (corners(101, 100), 413),
        (image::DynamicImage::ImageRgba16(corners(70, 70).to_rgba16()), 200),
        (image::DynamicImage::ImageRgba16(corners(80, 80).to_rgba16()), 413),
    ] {
        assert_eq!(upload(&mut alice, &png(&image)).status, status, "{}x{}", image.width(), image.height());
    }
}

#[test]
fn a_header_that_lies_gets_no_more_memory_than_it_may() {
    let (gw, _folder) = gateway_with(|config| config.avatars.as_mut().unwrap().max_pixels = 1_000_000);
    let mut alice = gw.login("oAlice");
    // More than it says, less than it says, a frame that is larger than the screen, a compressed profile of zeros.
    let mut profile = b"profile\0\0".to_vec();
    profile.extend(stored_zeros(3_000_000));
    let small = png(&plain(64, RED));
    let with_profile = [&small[..33], &chunk(*b"iCCP", &profile), &small[33..]].concat();
    for liar in [
        png_that_says(10, 10, &stored_zeros(4_000_000)),
        png_that_says(1000, 1000, &stored_zeros(10)),
        gif((10, 10), (65_535, 65_535)),
        gif((1000, 1000), (1, 1)),
        jpeg_that_says(900, 900),
        webp(10, 10),
        webp(1000, 1000),
        with_profile,
    ] {
        let reply = upload(&mut alice, &liar);
        assert!([200, 413, 415].contains(&reply.status), "{reply:?}");
    }
    assert_eq!(upload(&mut alice, &small).status, 200);
}

#[test]
fn a_gif_of_a_thousand_pictures_is_its_first() {
    let (gw, _folder) = gateway();
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    let (first, other) = (plain(32, GREEN).into_rgba8(), plain(32, RED).into_rgba8());
    encoder.encode_frame(Frame::new(first)).unwrap();
    for _ in 1..1000 {
        encoder.encode_frame(Frame::new(other.clone())).unwrap();
    }
    drop(encoder);
    let path = uploaded(&mut gw.login("oAlice"), &bytes);
    look(&gw, &path).shows(32, [GREEN; 4]);
}

#[test]
fn garbage_behind_each_beginning_hurts_nobody() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let mut state = 0x9e37_79b9_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let whole = [
        png(&corners(40, 40)),
        crate::support::pictures::jpeg(&corners(40, 40)),
        crate::support::pictures::written(&corners(40, 40), image::ImageFormat::WebP),
        crate::support::pictures::written(&corners(40, 40), image::ImageFormat::Gif),
    ];
    for picture in &whole {
        for _ in 0..40 {
            let mut broken = picture.clone();
            for _ in 0..4 {
                let at = (usize::from(random()) << 8 | usize::from(random())) % broken.len();
                broken[at] = random();
            }
            let reply = upload(&mut alice, &broken);
            assert!([200, 413, 415].contains(&reply.status), "{reply:?}");
        }
    }
    gw.later(Duration::from_mins(1));
    assert_eq!(upload(&mut alice, &png(&plain(64, RED))).status, 200);
}
