//! Secrets, in types that can't be printed, compared carelessly or serialised. Reading one takes the word `expose`,
//! which is easy to find.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text. `Debug` shows nothing of it and the memory is wiped when it goes. `==` takes a time that depends only on
/// the lengths.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Never hand it to anything that logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in time that depends only on the lengths.
    pub fn matches(&self, other: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(self.0.as_bytes(), other).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

macro_rules! named_secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Secret);

        impl $name {
            /// Takes the text into custody.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Secret::new(text))
            }

            /// The text itself. Never hand it to anything that logs.
            pub fn expose(&self) -> &str {
                self.0.expose()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

named_secret! {
    /// A Mini Program's AppSecret.
    AppSecret
}
named_secret! {
    /// WeChat's session_key, in its Base64 form as received. It never leaves the process.
    SessionKey
}
named_secret! {
    /// The code from `wx.login`. Whoever has it can log in as its user for five minutes.
    LoginCode
}
named_secret! {
    /// The code from the phone button. Whoever has it can have its user's phone number for five minutes.
    PhoneCode
}
named_secret! {
    /// What an app shows to WeChat's server API. Whoever has it can act for the app for two hours.
    AccessToken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", AppSecret::new("hunter2")), "AppSecret(…)");
        assert_eq!(format!("{:#?}", Secret::new("hunter2")), "Secret(…)");
        assert_eq!(format!("{:?}", AccessToken::new("hunter2")), "AccessToken(…)");
    }

    #[test]
    fn a_secret_matches_only_itself() {
        let secret = Secret::new("correct");
        assert!(secret.matches(b"correct"));
        assert!(!secret.matches(b"correcT"));
        assert!(!secret.matches(b"correct horse"));
        assert!(!secret.matches(b""));
    }
}
