//! Keys in every dress that they come in, against the vectors of the RFCs.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

use super::*;

/// The private key of RFC 8037, appendix A, as PKCS#8.
const RFC_8037: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

const P256: &str = include_str!("../../../tests/keys/p256.pem");

/// The same kind of key as `openssl ecparam -genkey` writes it.
const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\n\
    MHcCAQEEICkQZ8nH7+vOHo8utmqnkE9P9jHu/hgkL73tNu7Bb44LoAoGCCqGSM49\n\
    AwEHoUQDQgAEblpMg3xzVzf8xDvCJ3snDmNh9QM6yWJU32LpoHg5muFUA8nDw9Oi\n\
    kUWkh6qW8XHizW9cCgwd6FoysWRoUKNTuQ==\n\
    -----END EC PRIVATE KEY-----\n";

const P384: &str = "-----BEGIN PRIVATE KEY-----\n\
    MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAi8Kx7MIirU9B9Mv3e\n\
    XkVT6KCKjsay1KRMGGEK69qXXmmBku3InCfQiOi3G9FmEXmhZANiAASE4MD9EdcL\n\
    WyyqMaTeuEQL+IVJGpiwXWCcx0RBFzcgPEJJyE/VsjmBEvY+JQZbQpX2mGZ8tbVb\n\
    sdq7+bbTpcjQg3VvvD58VLdtagESnFgKwxKaThm8dxniOYJvy5SQpJs=\n\
    -----END PRIVATE KEY-----\n";

const LOCKED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";

fn parse(text: &str) -> Result<SigningKey, InvalidSigningKey> {
    SigningKey::parse(&Secret::new(text))
}

#[test]
fn an_ed25519_key_is_called_and_signs_as_rfc_8037_says() {
    let key = parse(RFC_8037).unwrap();
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
    assert_eq!((key.algorithm(), key.public()), ("EdDSA", &PublicKey::Ed25519 { x }));
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let signature = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
    let expected = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(URL_SAFE_NO_PAD.encode(signature), expected);
}

#[test]
fn what_either_kind_signs_its_public_half_verifies() {
    let decode = |text: &String| URL_SAFE_NO_PAD.decode(text).unwrap();
    for pem in [RFC_8037, P256] {
        let key = parse(pem).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.as_ref().len(), 64, "the form of a token, and not ASN.1");
        let verified = |message: &[u8]| match key.public() {
            PublicKey::Ed25519 { x } => UnparsedPublicKey::new(&ED25519, decode(x)).verify(message, signature.as_ref()),
            PublicKey::P256 { x, y } => {
                let point = [vec![4], decode(x), decode(y)].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature.as_ref())
            }
        };
        assert_eq!(verified(b"message"), Ok(()));
        assert!(verified(b"another message").is_err());
    }
}

#[test]
fn windows_line_ends_and_words_around_a_key_do_not_matter() {
    let key = parse(P256).unwrap();
    assert_eq!(parse(&P256.replace('\n', "\r\n")).unwrap(), key);
    assert_eq!(parse(P256.trim_end()).unwrap(), key);
    assert_eq!(parse(&format!("made in November\n{P256}")).unwrap(), key);
    assert_ne!(parse(RFC_8037).unwrap(), key);
}

#[test]
fn what_is_no_key_is_refused_and_says_what_to_do() {
    for (text, why) in [
        ("", InvalidSigningKey::NotPem),
        ("hunter2", InvalidSigningKey::NotPem),
        (
            &RFC_8037.replace("BEGIN PRIVATE", "BEGIN PUBLIC").replace("END PRIVATE", "END PUBLIC"),
            InvalidSigningKey::NotPem,
        ),
        (&RFC_8037.replace("-----END", "-----END?"), InvalidSigningKey::NotPem),
        (LOCKED, InvalidSigningKey::Locked),
        (&format!("{RFC_8037}{P256}"), InvalidSigningKey::Several),
        (SEC1, InvalidSigningKey::OtherForm),
        (P384, InvalidSigningKey::OtherKind),
        (&RFC_8037.replace("MC4C", "MC5C"), InvalidSigningKey::OtherKind),
        (&RFC_8037.replace("rn9g", ""), InvalidSigningKey::OtherKind),
    ] {
        assert_eq!(parse(text), Err(why), "{text}");
    }
}

#[test]
fn a_signing_key_shows_its_name_and_nothing_else() {
    let key = parse(RFC_8037).unwrap();
    assert_eq!(format!("{key:?}"), "SigningKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)");
}
