//! The four kinds of pictures, and what is left of what a file has beside its picture.

use image::{DynamicImage, ExtendedColorType, Frame, ImageFormat, codecs::gif::GifEncoder, codecs::jpeg::JpegEncoder};

use super::{ALL_FOUR, NO_PICTURE, gateway, gateway_with, look, upload, uploaded};
use crate::support::pictures::{
    BLACK, BLUE, GREEN, RED, WHITE, chunk, corners, half_clear, jpeg, plain, png, with_exif, written,
};

#[test]
fn each_kind_is_known_by_its_content_and_becomes_a_small_square() {
    let (gw, _folder) = gateway_with(|config| config.avatars.as_mut().unwrap().size = 100);
    let mut alice = gw.login("oAlice");
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        // The form says PNG of each of them.
        let path = uploaded(&mut alice, &written(&corners(300, 200), format));
        look(&gw, &path).shows(100, ALL_FOUR);
        let path = uploaded(&mut alice, &written(&corners(31, 77), format));
        look(&gw, &path).shows(31, ALL_FOUR);
    }
    let path = uploaded(&mut alice, &png(&plain(1, RED)));
    look(&gw, &path).shows(1, [RED; 4]);
    let path = uploaded(&mut alice, &png(&corners(2000, 1)));
    assert_eq!(look(&gw, &path).size, (1, 1));
}

#[test]
fn every_depth_and_every_colour_is_read() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let image = corners(64, 64);
    for image in [
        DynamicImage::ImageRgb16(image.to_rgb16()),
        DynamicImage::ImageRgba16(image.to_rgba16()),
        DynamicImage::ImageRgba8(image.to_rgba8()),
    ] {
        let path = uploaded(&mut alice, &png(&image));
        look(&gw, &path).shows(64, ALL_FOUR);
    }
    let grey = uploaded(&mut alice, &png(&DynamicImage::ImageLumaA16(image.to_luma_alpha16())));
    assert_eq!(look(&gw, &grey).size, (64, 64));
    let mut bytes = Vec::new();
    let luma = image.to_luma8();
    JpegEncoder::new(&mut bytes).encode(&luma, 64, 64, ExtendedColorType::L8).unwrap();
    assert_eq!(look(&gw, &uploaded(&mut alice, &bytes)).size, (64, 64));
}

#[test]
fn what_is_transparent_becomes_white() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let path = uploaded(&mut alice, &written(&half_clear(80), format));
        look(&gw, &path).shows(80, [WHITE, BLUE, WHITE, BLUE]);
    }
    // And where it is made smaller nothing of what could not be seen runs into what can.
    let path = uploaded(&mut alice, &png(&half_clear(2000)));
    let picture = gw.client().get(&path).body;
    let picture = image::load_from_memory(&picture).unwrap().into_rgb8();
    let is_red = |[red, green, blue]: [u8; 3]| red > 150 && green < 100 && blue < 100;
    assert!(!picture.pixels().any(|pixel| is_red(pixel.0)));
}

#[test]
fn a_photo_stands_upright_and_does_not_tell_where_it_was_taken() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    for (orientation, expected) in [
        (1, ALL_FOUR),
        (3, [BLACK, BLUE, GREEN, RED]),
        (6, [BLUE, RED, BLACK, GREEN]),
        (8, [GREEN, BLACK, RED, BLUE]),
        (2, [GREEN, RED, BLACK, BLUE]),
        (9, ALL_FOUR),
    ] {
        let photo = with_exif(&jpeg(&corners(160, 120)), orientation, "31.2304N 121.4737E");
        let path = uploaded(&mut alice, &photo);
        look(&gw, &path).shows(120, expected);
        let kept = gw.client().get(&path).body;
        for trace in [&b"31.2304N"[..], b"Exif", b"MM\0\x2a"] {
            assert!(!kept.windows(trace.len()).any(|some| some == trace), "{orientation}");
        }
    }
}

#[test]
fn of_an_animation_the_first_picture_is_kept() {
    let (gw, _folder) = gateway();
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for colour in [RED, GREEN, BLUE] {
        encoder.encode_frame(Frame::new(plain(64, colour).into_rgba8())).unwrap();
    }
    drop(encoder);
    let path = uploaded(&mut gw.login("oAlice"), &bytes);
    look(&gw, &path).shows(64, [RED; 4]);
}

#[test]
fn what_hides_in_a_picture_or_behind_it_is_gone() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let script = b"<html><script>alert('polyglot')</script>";
    let (plain_png, plain_jpeg) = (png(&plain(64, RED)), jpeg(&plain(64, RED)));
    let gif = written(&plain(64, RED), ImageFormat::Gif);
    let text = [b"Comment\0".as_slice(), script].concat();
    // A comment comes behind the first piece of a PNG, which ends at 33, and behind the first two bytes of a JPEG.
    let with_text = [&plain_png[..33], &chunk(*b"tEXt", &text), &plain_png[33..]].concat();
    let length = u16::try_from(script.len() + 2).unwrap().to_be_bytes();
    let with_comment = [&plain_jpeg[..2], &[0xff, 0xfe], &length, script, &plain_jpeg[2..]].concat();
    let behind = |picture: &[u8], tail: &[u8]| [picture, tail].concat();
    for polyglot in [
        behind(&plain_png, script),
        behind(&plain_jpeg, script),
        behind(&gif, script),
        behind(&plain_png, b"PK\x03\x04polyglot"),
        with_text,
        with_comment,
    ] {
        let path = uploaded(&mut alice, &polyglot);
        look(&gw, &path).shows(64, [RED; 4]);
        let kept = gw.client().get(&path).body;
        for trace in [&b"polyglot"[..], b"script", b"PK\x03\x04"] {
            assert!(!kept.windows(trace.len()).any(|some| some == trace));
        }
    }
}

#[test]
fn what_is_no_picture_is_refused_whatever_it_says_it_is() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let whole = png(&corners(64, 64));
    for odd in [
        &b""[..],
        b"x",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>",
        b"<!DOCTYPE html><script>alert(1)</script>",
        b"%PDF-1.7\n",
        b"BM\x1e\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0\x01\0\x01\0\x01\0\x18\0\0\0\xff\0",
        b"II*\0\x08\0\0\0",
        b"P6\n1 1\n255\n\0\0\0",
        b"\0\0\0\x18ftypavif",
        &whole[..8],
        &whole[..40],
        &whole[..whole.len() / 2],
        b"\xff\xd8\xff\xe0",
        b"GIF89a",
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff",
    ] {
        let reply = upload(&mut alice, odd);
        gw.says_no(&reply, 415, "unsupported_image", NO_PICTURE, &[]);
    }
    assert_eq!(alice.get("/v1/profile").json()["version"], 0);
}

#[test]
fn a_picture_that_was_cut_anywhere_is_refused_or_is_a_picture() {
    let (gw, _folder) = gateway();
    let mut alice = gw.login("oAlice");
    let image = corners(40, 40);
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let whole = written(&image, format);
        for part in 1..16 {
            let reply = upload(&mut alice, &whole[..whole.len() * part / 16]);
            match reply.status {
                415 => {}
                // Some that lack only their end can still be shown.
                200 => assert_eq!(look(&gw, &super::path_in(&reply)).size, (40, 40)),
                _ => panic!("{format:?} {part}: {reply:?}"),
            }
        }
    }
}
