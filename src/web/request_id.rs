//! What a request is called, in the log, for the client and for the upstream.

use std::fmt;

use http::HeaderValue;

/// A request's id: 1 to 64 visible characters. Held in place, so that it is handed on without a count of who has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    text: [u8; Self::LONGEST],
    length: usize,
}

impl RequestId {
    const LONGEST: usize = 64;

    /// One of 128 random bits, as these hexadecimal digits.
    pub fn of(digits: [u8; 32]) -> Self {
        debug_assert!(digits.iter().all(u8::is_ascii_hexdigit));
        let mut text = [0; Self::LONGEST];
        text[..digits.len()].copy_from_slice(&digits);
        Self { text, length: digits.len() }
    }

    /// This text, if it could be one.
    pub fn told(told: &[u8]) -> Option<Self> {
        let mut text = [0; Self::LONGEST];
        text.get_mut(..told.len())?.copy_from_slice(told);
        (!told.is_empty() && told.iter().all(u8::is_ascii_graphic)).then_some(Self { text, length: told.len() })
    }

    /// Its characters.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// The same.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// As the value of a header.
    pub fn to_value(self) -> HeaderValue {
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(const { HeaderValue::from_static("-") })
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_visible_characters_and_not_long() {
        assert_eq!(RequestId::of(*b"0001abff0405060708090a0b0c0d0e0f").as_str(), "0001abff0405060708090a0b0c0d0e0f");
        let longest = "a".repeat(64);
        for id in ["1", "trace-0af7651916cd43dd8448eb211c80319c", &longest] {
            let told = RequestId::told(id.as_bytes()).unwrap();
            assert_eq!((told.as_str(), told.to_value().to_str().unwrap()), (id, id));
        }
        for none in ["", "a b", "a\r\nb", "é", &format!("{longest}a")] {
            assert_eq!(RequestId::told(none.as_bytes()), None, "{none:?}");
        }
    }
}
