//! What a reader would copy into a file: configuration that loads, JSON that is JSON.

use std::{path::Path, sync::OnceLock};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use wxgate::config::{ConfigErrors, Loaded, parse};

use super::page::pages;

/// The outside world of a snippet: every variable is set and every file is there.
pub(crate) fn load(text: &str) -> Result<Loaded, ConfigErrors> {
    let secret = "a-secret-of-the-documentation";
    let named = |name: &str| match name.to_lowercase() {
        name if name.contains("seal") => "5e".repeat(32),
        name if name.contains("webhook") => format!("whsec_{}", "c2Vj".repeat(10)),
        name if name.contains("assertion") => include_str!("../keys/ed25519.pem").to_owned(),
        name if name.contains("other") => format!("another-{secret}"),
        _ => secret.to_owned(),
    };
    let file = |path: &Path| pem(path).unwrap_or_else(|| named(&path.to_string_lossy()));
    parse(text, "gateway.toml", &|name| Some(named(name)), &|path| Ok(file(path)))
}

/// A certificate or its key, where a path seems to be that of one.
fn pem(path: &Path) -> Option<String> {
    static PAIR: OnceLock<CertifiedKey<KeyPair>> = OnceLock::new();
    let pair = PAIR.get_or_init(|| generate_simple_self_signed(["api.example.com".to_owned()]).unwrap());
    match path.file_name()?.to_str()? {
        "fullchain.pem" | "clients_ca.pem" | "receiver_ca.pem" => Some(pair.cert.pem()),
        "key.pem" => Some(pair.signing_key.serialize_pem()),
        _ => None,
    }
}

#[test]
fn every_configuration_shown_loads_without_a_warning() {
    let mut shown = 0;
    for page in pages() {
        for (name, text) in page.blocks_in(&["toml"]) {
            let loaded = load(text).unwrap_or_else(|errors| panic!("{name}: {errors}"));
            assert_eq!(loaded.warnings.len(), 0, "{name}: {:?}", loaded.warnings);
            shown += 1;
        }
    }
    assert!(shown >= 2, "only {shown} configurations were found");
}

#[test]
fn every_json_shown_is_json() {
    let mut shown = 0;
    for page in pages() {
        for (name, text) in page.blocks_in(&["json"]) {
            let parsed = serde_json::from_str::<serde_json::Value>(text);
            assert!(parsed.is_ok(), "{name}: {}\n{text}", parsed.unwrap_err());
            shown += 1;
        }
    }
    assert!(shown >= 2, "only {shown} JSON texts were found");
}
