//! Whatever Douyin answers, a session comes of it only with identifiers that can stand in a header.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    match wxgate::douyin::decode(body) {
        Ok(session) => {
            let openid = session.openid.as_str();
            assert!(!openid.is_empty() && openid.bytes().all(|byte| byte.is_ascii_graphic()), "{openid:?}");
            let key = session.session_key.expose();
            assert!(!key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic()), "{key:?}");
        }
        // Its words for the log are ours, not the answer's.
        Err(error) => assert!(error.to_string().is_ascii(), "{error}"),
    }
});
