//! The small JSON bodies that our endpoints take.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::web::{RequestBody, json_body};

use super::Error;

/// The most that most endpoints of ours read. The largest request we know of them is a tenth of it.
const MAX_BYTES: u64 = 4 * 1024;

/// Reads the whole body.
pub(super) async fn read(body: RequestBody) -> Result<Bytes, Error> {
    read_up_to(body, MAX_BYTES).await
}

/// The same where a body may be longer, or less long.
pub(super) async fn read_up_to(body: RequestBody, max: u64) -> Result<Bytes, Error> {
    json_body::read(body, max).await.map_err(Error::Body)
}

/// Decodes JSON. The parser's own message stays inside: it may quote what was sent.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], expected: &'static str) -> Result<T, Error> {
    json_body::decode(bytes).ok_or(Error::BadInput(expected))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Eq)]
    struct Asked {
        #[serde(default)]
        yes: bool,
    }

    #[test]
    fn an_object_is_decoded_whatever_space_is_around_it() {
        for text in [&b"{\"yes\":true}"[..], b" \r\n\t{ \"yes\" : true }\n", b"{\"no\":[1],\"yes\":true}"] {
            assert_eq!(decode::<Asked>(text, "x").unwrap(), Asked { yes: true });
        }
    }

    #[test]
    fn whatever_else_is_refused_in_our_own_words() {
        for text in [
            "",
            "[]",
            "[true]",
            "null",
            "true",
            "{",
            "{}{}",
            "{\"yes\":1}",
            "{\"yes\":true,\"yes\":true}",
            "\u{feff}{}",
        ] {
            let error = decode::<Asked>(text.as_bytes(), "what it should be").unwrap_err();
            assert_eq!(error.to_string(), "what it should be", "{text}");
            assert!(std::error::Error::source(&error).is_none(), "nothing of what was sent is kept");
        }
    }
}
