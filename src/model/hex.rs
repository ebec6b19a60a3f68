//! Bytes as text.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

const PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The two hexadecimal digits of a byte.
pub fn hex(byte: u8) -> [u8; 2] {
    PAIRS[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_digits() {
        for byte in 0..=255 {
            assert_eq!(hex(byte), *format!("{byte:02x}").as_bytes());
        }
    }
}
