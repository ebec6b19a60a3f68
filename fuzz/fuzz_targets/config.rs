//! No text is too strange for the configuration's parser: it answers with a configuration or with faults that each have a
//! line, and no fault shows a secret.

#![no_main]

use std::{io, path::Path};

use libfuzzer_sys::fuzz_target;

const SECRET: &str = "a-secret-from-the-environment-0123456789";

fuzz_target!(|text: &str| {
    let env = |_: &str| Some(SECRET.to_owned());
    let no_file = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    match wxgate::config::parse(text, "gateway.toml", &env, &no_file) {
        Ok(loaded) => assert!(!loaded.config.apps.is_empty() && !loaded.config.routes.is_empty()),
        Err(errors) => {
            let said = errors.to_string();
            assert!(!said.is_empty() && said.lines().all(|line| line.starts_with("gateway.toml:")), "{said}");
            assert!(text.contains(SECRET) || !said.contains(SECRET), "{said}");
        }
    }
});
