//! The words everything else is written in: who somebody is, what is secret, what time it is.
//!
//! This is the ground. It knows no other module of ours, no HTTP and no file.

mod certificate;
mod certificates;
mod clock;
mod entropy;
mod hex;
mod identity;
mod ids;
mod phone;
mod seal_key;
mod secret;
mod session;
mod signing_key;

pub use certificate::{Certificate, InvalidCertificate};
pub use certificates::{CertificateShelf, Certificates, Secured};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use hex::hex;
pub use identity::{Identity, UserKey};
pub use ids::{AppId, InvalidId, OpenId, UnionId};
pub use phone::{InvalidPhoneNumber, PhoneNumber};
pub use seal_key::{InvalidSealKey, SealKey};
pub use secret::{AccessToken, AppSecret, LoginCode, PhoneCode, Secret, SessionKey};
pub use session::{Session, Terms, TokenDigest, UserTag};
pub use signing_key::{InvalidSigningKey, PublicKey, SigningFailed, SigningKey};
