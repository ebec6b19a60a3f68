//! What is taken for a token is one, alone on its line, and is held back from upstreams. Input: an `Authorization` a line.

#![no_main]

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use libfuzzer_sys::fuzz_target;
use wxgate::{
    auth::{Credentials, bearer},
    session::SessionToken,
};

fuzz_target!(|input: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(3) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(AUTHORIZATION, value);
    }
    let found = bearer::find(&headers);
    assert_eq!(found.is_err(), headers.len() > 1, "{input:?}");
    if let Ok(Credentials::Token(token)) = found {
        assert!(bearer::holds_a_token(&headers));
        assert_eq!(SessionToken::parse(token.expose().as_bytes()), Some(token.clone()));
        assert!(!format!("{token:?}").contains(token.expose()));
        let line = String::from_utf8_lossy(input);
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        assert!(words.len() == 2 && words[1] == token.expose(), "{} words", words.len());
    }
});
