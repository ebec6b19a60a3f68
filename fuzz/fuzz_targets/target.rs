//! A target that passes has one host, in the form that routes compare. Input: the target, then a `Host` a line.

#![no_main]

use http::{HeaderMap, HeaderValue, Uri, Version, header::HOST};
use libfuzzer_sys::fuzz_target;
use wxgate::routing::{Host, target_of};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let Some(Ok(uri)) = lines.next().map(Uri::try_from) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(3) {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(HOST, value);
    }
    for version in [Version::HTTP_10, Version::HTTP_11] {
        let Ok(target) = target_of(version, &uri, &headers) else { continue };
        assert!(version == Version::HTTP_10 || headers.len() == 1, "{input:?}");
        assert!(target.path.as_str().starts_with('/'));
        let Some(host) = &target.host else { continue };
        assert_eq!(Host::parse(host.name()).map(|again| again.name().to_owned()), Ok(host.name().to_owned()));
        assert!(!host.name().bytes().any(|byte| byte.is_ascii_uppercase()), "{host:?}");
        assert!(!host.name().is_empty() && !host.name().ends_with('.'), "{host:?}");
    }
});
