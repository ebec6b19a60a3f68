//! From the bytes that somebody has sent to a picture that is safe to show: recognised by its content, decoded within
//! bounds, cut to a square, made small, and written anew.
//!
//! What comes out is always a JPEG. A photo is a tenth of what it would be as PNG, and one kind is one thing to be sure of: no
//! name and no type that a client has said takes part. What was transparent becomes white. Nothing of the original file is
//! in it but what can be seen: no place where it was taken, no second file behind the first, no script, no other frames.

use std::io::Cursor;

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage, RgbaImage,
    codecs::jpeg::JpegEncoder,
    imageops::{FilterType, crop_imm, resize},
    metadata::Orientation,
};

use super::{Flaw, webp};

/// Longer than any camera's, and shorter than what four formats can say.
const LONGEST_SIDE: u32 = 16_384;

/// Decoded, a pixel has three bytes or four; with 16 bits per colour twice as many, so half as many pixels are taken.
const BYTES_PER_PIXEL: u64 = 4;

/// At which hardly anybody sees a difference.
const QUALITY: u8 = 85;

/// How large a picture may be, and is to be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most pixels of one that is read.
    pub max_pixels: u64,
    /// The sides of what is made of it. One that is smaller is not enlarged.
    pub size: u32,
}

/// The picture as it is kept.
pub fn remade(bytes: &[u8], bounds: Bounds) -> Result<Vec<u8>, Flaw> {
    let (image, orientation) = decoded(bytes, bounds)?;
    let mut small = DynamicImage::ImageRgb8(square(image, bounds.size));
    // Turned last, when there is least to turn: a square from the middle is from the middle whichever way is up.
    small.apply_orientation(orientation);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&small).map_err(|_| Flaw::Broken)?;
    Ok(jpeg)
}

/// Nothing is allocated for pixels before it is known how many there are.
fn decoded(bytes: &[u8], bounds: Bounds) -> Result<(DynamicImage, Orientation), Flaw> {
    let format = image::guess_format(bytes).map_err(|_| Flaw::Unknown)?;
    if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP | ImageFormat::Gif) {
        return Err(Flaw::Unknown);
    }
    if format == ImageFormat::WebP {
        webp::keeps_to(bytes, bounds.max_pixels)?;
    }
    let most_bytes = bounds.max_pixels * BYTES_PER_PIXEL;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(most_bytes);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| flaw(&error))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > bounds.max_pixels || decoder.total_bytes() > most_bytes {
        return Err(Flaw::TooLarge);
    }
    if width == 0 || height == 0 {
        return Err(Flaw::Broken);
    }
    // One that can't be read says nothing.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|error| flaw(&error))?;
    Ok((image, orientation))
}

/// The library's own words may quote what was sent, and go no further.
fn flaw(error: &ImageError) -> Flaw {
    match error {
        ImageError::Limits(_) => Flaw::TooLarge,
        _ => Flaw::Broken,
    }
}

/// The middle of a picture, on white.
fn square(image: DynamicImage, size: u32) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    let across = width.min(height);
    let (left, top) = ((width - across) / 2, (height - across) / 2);
    let target = across.min(size);
    if image.color().has_alpha() {
        // Before it is made small: a colour that can't be seen would run into those beside it.
        let opaque = on_white(image.into_rgba8());
        let small = resize(&*crop_imm(&opaque, left, top, across, across), target, target, FilterType::CatmullRom);
        return DynamicImage::ImageRgba8(small).into_rgb8();
    }
    let opaque = image.into_rgb8();
    resize(&*crop_imm(&opaque, left, top, across, across), target, target, FilterType::CatmullRom)
}

fn on_white(mut image: RgbaImage) -> RgbaImage {
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = pixel.0;
        let mixed = |colour: u8| {
            let (colour, alpha) = (u16::from(colour), u16::from(alpha));
            u8::try_from((colour * alpha + 255 * (255 - alpha) + 127) / 255).unwrap_or(u8::MAX)
        };
        pixel.0 = [mixed(red), mixed(green), mixed(blue), u8::MAX];
    }
    image
}
