//! Why a phone code gave no number.

use std::sync::Arc;

use crate::{profile, wechat};

/// Why a phone code gave no number. It can be cloned, because questions that arrive twice share it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// WeChat refused the code, or could not be asked.
    #[error("the phone code could not be exchanged")]
    WeChat(#[from] wechat::Error),
    /// The code looks as if it came from `wx.login`, and WeChat does not know it as a phone code.
    #[error("the code looks like one of wx.login")]
    WrongKind(#[source] wechat::Error),
    /// The user agreed too long ago.
    #[error("the number was told too long ago")]
    Old,
    /// The code is spent, but the number could not be kept.
    #[error("the phone number could not be kept")]
    Keep(#[source] Arc<profile::Error>),
    /// The exchange ended without an outcome: it panicked, or the process is stopping.
    #[error("the exchange was cut short")]
    Interrupted,
}
