//! Identifiers as WeChat gives them, checked once at the edge: each of these can stand in a header as it is.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// Longest identifier we take. WeChat's are 18 to 32 bytes; private containers use longer ones.
const MAX_LEN: usize = 128;

/// Why a text can't be an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// More than 128 bytes.
    #[error("is longer than {MAX_LEN} bytes")]
    TooLong,
    /// A space, a control character or a byte outside ASCII.
    #[error("has a character that is not visible ASCII")]
    NotVisibleAscii,
}

fn check(text: &[u8]) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty);
    }
    if text.len() > MAX_LEN {
        return Err(InvalidId::TooLong);
    }
    if !text.iter().all(u8::is_ascii_graphic) {
        return Err(InvalidId::NotVisibleAscii);
    }
    Ok(())
}

/// Which Mini Program: `wx…`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

impl AppId {
    /// Takes a non-empty visible-ASCII text of at most 128 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        check(text.as_bytes())?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppId({})", self.0)
    }
}

/// Who, within one Mini Program. Held as shared bytes, so that it goes into a header without a copy.
///
/// It is personal data: `Debug` does not show it, and logs carry only a keyed hash of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpenId(Bytes);

/// Who, across the Mini Programs of one Open Platform account. Shown and held like an [`OpenId`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnionId(Bytes);

macro_rules! personal_id {
    ($name:ident) => {
        impl $name {
            /// Takes a non-empty visible-ASCII text of at most 128 bytes.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                check(text.as_bytes())?;
                Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
            }

            /// The bytes, all of them visible ASCII. Cloning them is a reference count.
            pub fn as_bytes(&self) -> &Bytes {
                &self.0
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

personal_id!(OpenId);
personal_id!(UnionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_header_is_refused() {
        assert_eq!(OpenId::parse("o\r\nX-Admin: 1"), Err(InvalidId::NotVisibleAscii));
        assert_eq!(OpenId::parse("o 1"), Err(InvalidId::NotVisibleAscii));
        assert_eq!(OpenId::parse("öffentlich"), Err(InvalidId::NotVisibleAscii));
        assert_eq!(UnionId::parse(""), Err(InvalidId::Empty));
        assert_eq!(AppId::parse(&"w".repeat(129)), Err(InvalidId::TooLong));
    }

    #[test]
    fn an_openid_is_not_printed() {
        let id = OpenId::parse("oGZUI0egBJY1zhBYw2KhdUfwVJJE").unwrap();
        assert_eq!(format!("{id:?}"), "OpenId(…)");
        assert_eq!(id.as_str(), "oGZUI0egBJY1zhBYw2KhdUfwVJJE");
    }
}
