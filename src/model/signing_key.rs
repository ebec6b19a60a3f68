//! The key that identity is signed with, read from the text that its owner keeps it in, and what others may know of it.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, Signature},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Secret;

/// An Ed25519 or P-256 key. Cheap to clone. Only its public half can be had from it, and is all that prints of it.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: Pair,
    public: PublicKey,
    kid: String,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// The half that is for everybody: coordinates, as base64url has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// On Curve25519, RFC 8037.
    Ed25519 {
        /// The point.
        x: String,
    },
    /// On NIST's P-256, RFC 7518, 6.2.
    P256 {
        /// The point's first coordinate.
        x: String,
        /// Its second.
        y: String,
    },
}

/// Why a text is no key to sign with. It doesn't say what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSigningKey {
    /// No private key in it that could be read.
    #[error("is not a private key as PEM; `openssl genpkey -algorithm ed25519` makes one")]
    NotPem,
    /// It takes a password to open.
    #[error("is locked with a password; `openssl pkey` takes it off")]
    Locked,
    /// More than one, of which only one could be meant.
    #[error("is more than one key; it takes one file for each")]
    Several,
    /// The older forms of PEM.
    #[error("is not in PKCS#8 form; `openssl pkcs8 -topk8 -nocrypt` brings it there")]
    OtherForm,
    /// RSA, another curve, or damaged.
    #[error("is neither an Ed25519 nor a P-256 key")]
    OtherKind,
}

/// The library could not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature could not be made")]
pub struct SigningFailed;

impl SigningKey {
    /// The key that `text` holds: PKCS#8 as PEM, of one of the two kinds.
    pub fn parse(text: &Secret) -> Result<Self, InvalidSigningKey> {
        let text = text.expose();
        let mut found = PrivateKeyDer::pem_slice_iter(text.as_bytes());
        let first = match found.next() {
            Some(Ok(first)) => Zeroizing::new(first),
            None if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") => return Err(InvalidSigningKey::Locked),
            Some(Err(_)) | None => return Err(InvalidSigningKey::NotPem),
        };
        if found.next().is_some() {
            return Err(InvalidSigningKey::Several);
        }
        match &*first {
            PrivateKeyDer::Pkcs8(der) => Self::of(der.secret_pkcs8_der()),
            _ => Err(InvalidSigningKey::OtherForm),
        }
    }

    /// Which signatures it makes, by their name in a token (RFC 7518, RFC 8037).
    pub fn algorithm(&self) -> &'static str {
        match self.0.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
        }
    }

    /// What it is called: the thumbprint of its public half (RFC 7638), so that everybody who has that half calls it alike.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The half that is for everybody.
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    /// The signature of a message, as a token carries it: 64 bytes for either kind.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, SigningFailed> {
        let signature = match &self.0.pair {
            Pair::Ed25519(pair) => pair.try_sign(message),
            // The generator is the library's own, whatever it is given here.
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message),
        };
        signature.map_err(|_| SigningFailed)
    }

    fn of(pkcs8: &[u8]) -> Result<Self, InvalidSigningKey> {
        let ed25519 = Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Pair::Ed25519);
        let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok().map(Pair::P256);
        let pair = ed25519.or_else(p256).ok_or(InvalidSigningKey::OtherKind)?;
        let public = PublicKey::of(&pair).ok_or(InvalidSigningKey::OtherKind)?;
        let kid = public.thumbprint();
        Ok(Self(Arc::new(Inner { pair, public, kid })))
    }
}

impl PublicKey {
    fn of(pair: &Pair) -> Option<Self> {
        Some(match pair {
            Pair::Ed25519(pair) => Self::Ed25519 { x: URL_SAFE_NO_PAD.encode(pair.public_key()) },
            Pair::P256(pair) => {
                // Uncompressed: a 4, then both coordinates.
                let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(32)?;
                Self::P256 { x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
            }
        })
    }

    /// The digest of its needed members in alphabetical order, without a space. None of the values has to be escaped.
    fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::P256 { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(Sha256::digest(members))
    }
}

/// Two keys are the same when their public halves are.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.public == other.0.public
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid())
    }
}

#[cfg(test)]
mod tests;
