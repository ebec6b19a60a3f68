//! The outside world of a configuration under test: its environment, its files, and its folder of examples.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use wxgate::config::{ConfigErrors, Loaded, parse};

/// Every secret of these tests has this in it, so that its showing up anywhere is a leak.
pub(crate) const MARK: &str = "hunter2";

/// 32 bytes, and the mark is in their base64.
pub(crate) const SEAL_KEY: &str = "hunter2hunter2hunter2hunter2hunter2hunter2A=";

/// An Ed25519 key, and the mark is in its base64.
pub(crate) const ASSERTION_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIAhunter2hunter2hunter2hunter2hunter2hunter2\n\
    -----END PRIVATE KEY-----\n";

/// Another one, of the other kind.
pub(crate) const NEXT_ASSERTION_KEY: &str = include_str!("../keys/p256.pem");

/// The smallest file that loads.
pub(crate) const MINIMAL: &str = include_str!("valid/minimal.toml");

pub(crate) fn env(name: &str) -> Option<String> {
    let value = match name {
        "WX_APP_SECRET" => "hunter2-app-secret",
        "WX_OTHER_SECRET" => "hunter2-other-secret",
        "ADMIN_TOKEN" | "WXGATE_ADMIN_TOKEN" => "hunter2-admin-token",
        "INTERNAL_TOKEN" | "WXGATE_INTERNAL_TOKEN" => "hunter2-internal-token",
        "WEBHOOK_SECRET" | "WXGATE_WEBHOOK_SECRET" => "whsec_hunter2hhunter2hhunter2hhunter2hhunter2h",
        "LOG_KEY" | "WXGATE_LOG_KEY" => "hunter2-log-key-hunter2",
        "SEAL_KEY" => SEAL_KEY,
        "REDIS_PASSWORD" | "WXGATE_REDIS_PASSWORD" => "hunter2-redis",
        "S3_SECRET" | "WXGATE_S3_SECRET" => "hunter2-s3",
        "ASSERTION_KEY" => ASSERTION_KEY,
        "SHORT" => "hunter2",
        "WITH_SPACE" => "hunter2 and some more",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

pub(crate) fn file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("secrets/app") => Ok("hunter2-from-a-file\r\n".to_owned()),
        Some("secrets/old_seal" | "secrets/kept/seal.key") => Ok(SEAL_KEY.replacen('h', "H", 1)),
        Some("secrets/not_a_key/seal.key") => Ok("hunter2".to_owned()),
        Some(
            "secrets/ca.pem"
            | "tls/redis_ca.pem"
            | "tls/backend_ca.pem"
            | "tls/wxgate.pem"
            | "tls/receiver_ca.pem"
            | "tls/clients_ca.pem",
        ) => Ok("-----BEGIN CERTIFICATE-----\n".to_owned()),
        Some("tls/wxgate.key") => Ok("-----BEGIN PRIVATE KEY-----\nhunter2\n".to_owned()),
        Some("tls/fullchain.pem") => Ok(pair(0).0.clone()),
        Some("tls/key.pem") => Ok(pair(0).1.clone()),
        Some("tls/other.pem") => Ok(pair(1).0.clone()),
        Some("tls/other.key") => Ok(pair(1).1.clone()),
        Some("secrets/assertion.pem" | "data/assertion.pem") => Ok(ASSERTION_KEY.to_owned()),
        Some("secrets/next_assertion.pem") => Ok(NEXT_ASSERTION_KEY.to_owned()),
        Some("secrets/two_newlines") => Ok("hunter2\n\n".to_owned()),
        Some("secrets/empty") => Ok("\n".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Two certificates with their keys, made once for all tests.
pub(crate) fn pair(which: usize) -> &'static (String, String) {
    static PAIRS: OnceLock<[(String, String); 2]> = OnceLock::new();
    let make = |names: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.not_after = date_time_ymd(2096, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    &PAIRS.get_or_init(|| [make(&["api.example.com", "*.example.com"]), make(&["other.example"])])[which]
}

pub(crate) fn read(text: &str) -> Result<Loaded, ConfigErrors> {
    parse(text, "gateway.toml", &env, &file)
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The examples of one kind, in alphabetical order.
pub(crate) fn examples(kind: &str) -> Vec<PathBuf> {
    let folder = root().join("tests/config").join(kind);
    let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "toml")).collect();
    files.sort();
    files
}
