//! Pictures for stories, made here byte by byte where they lie, and by the library where they don't.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};

pub const RED: [u8; 3] = [220, 20, 20];
pub const GREEN: [u8; 3] = [20, 200, 20];
pub const BLUE: [u8; 3] = [20, 20, 220];
pub const BLACK: [u8; 3] = [10, 10, 10];
pub const WHITE: [u8; 3] = [255, 255, 255];

/// A picture with another colour in each corner: red and green above, blue and black below.
pub fn corners(width: u32, height: u32) -> DynamicImage {
    let colour = |x, y| match (x < width / 2, y < height / 2) {
        (true, true) => RED,
        (false, true) => GREEN,
        (true, false) => BLUE,
        (false, false) => BLACK,
    };
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| Rgb(colour(x, y))))
}

/// One colour everywhere.
pub fn plain(size: u32, colour: [u8; 3]) -> DynamicImage {
    DynamicImage::ImageRgb8(RgbImage::from_pixel(size, size, Rgb(colour)))
}

/// Its left half can't be seen, and would be red.
pub fn half_clear(size: u32) -> DynamicImage {
    let pixel = |x| if x < size / 2 { Rgba([220, 20, 20, 0]) } else { Rgba([20, 20, 220, 255]) };
    DynamicImage::ImageRgba8(RgbaImage::from_fn(size, size, |x, _| pixel(x)))
}

pub fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).expect("a picture");
    bytes.into_inner()
}

pub fn png(image: &DynamicImage) -> Vec<u8> {
    written(image, ImageFormat::Png)
}

pub fn jpeg(image: &DynamicImage) -> Vec<u8> {
    written(image, ImageFormat::Jpeg)
}

/// What is at the four corners and in the middle of an answer, which has to be a JPEG.
pub fn seen(bytes: &[u8]) -> Look {
    let image = image::load_from_memory_with_format(bytes, ImageFormat::Jpeg).expect("a JPEG").into_rgb8();
    let (width, height) = image.dimensions();
    let near = |x: u32, y: u32| image.get_pixel(x.min(width - 1), y.min(height - 1)).0;
    let inset = width.min(height) / 8;
    let (right, below) = (width - 1 - inset, height - 1 - inset);
    Look {
        size: (width, height),
        corners: [near(inset, inset), near(right, inset), near(inset, below), near(right, below)],
    }
}

#[derive(Debug)]
pub struct Look {
    pub size: (u32, u32),
    /// Above left, above right, below left, below right.
    pub corners: [[u8; 3]; 4],
}

impl Look {
    #[track_caller]
    pub fn shows(&self, size: u32, corners: [[u8; 3]; 4]) {
        let is_near = |(one, other): (&[u8; 3], &[u8; 3])| one.iter().zip(other).all(|(a, b)| a.abs_diff(*b) < 24);
        assert_eq!(self.size, (size, size), "{self:?}");
        assert!(self.corners.iter().zip(&corners).all(is_near), "{self:?} is not {corners:?}");
    }
}

/// The same JPEG with EXIF data in it: turned so, and taken there.
pub fn with_exif(jpeg: &[u8], orientation: u8, place: &str) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08".to_vec();
    exif.extend([0, 2]);
    exif.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0]);
    // Where the folder with the place begins.
    exif.extend([0x88, 0x25, 0, 4, 0, 0, 0, 1, 0, 0, 0, 38, 0, 0, 0, 0]);
    let length = u8::try_from(place.len()).expect("a short place");
    exif.extend([0, 1, 0, 2, 0, 2, 0, 0, 0, length, 0, 0, 0, 56, 0, 0, 0, 0]);
    exif.extend(place.as_bytes());
    let length = u16::try_from(exif.len() + 2).expect("a short segment").to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

/// A PNG that says that it is so large, with these bytes as its compressed pixels.
pub fn png_that_says(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    // Eight bits of grey.
    header.extend([8, 0, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header.as_slice()), (b"IDAT", pixels), (b"IEND", &[])] {
        png.extend(chunk(*kind, data));
    }
    png
}

/// A piece of a PNG.
pub fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a short piece").to_be_bytes();
    let checked = [&kind[..], data].concat();
    [&length[..], &checked, &crc32fast::hash(&checked).to_be_bytes()].concat()
}

/// So many zeros, as zlib would have them without compressing.
pub fn stored_zeros(count: usize) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let mut left = count;
    while left > 0 {
        let block = left.min(0xffff);
        left -= block;
        let length = u16::try_from(block).expect("a short block");
        stream.push(u8::from(left == 0));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.resize(stream.len() + block, 0);
    }
    // Adler-32 of zeros: their count above, and one below.
    let sum = u32::try_from(count % 65_521).expect("a remainder") << 16 | 1;
    stream.extend(sum.to_be_bytes());
    stream
}
