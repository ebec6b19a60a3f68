//! WeChat's server API, as far as it is needed here: a login code goes in, an openid and a session_key come out.
//!
//! Whatever else there is to ask of WeChat takes an access token of the app: [`AccessTokens`] lends them. What WeChat
//! tells a client about its user, to be brought here, is read here too: [`UserInfo`].
//!
//! The AppSecret and access tokens travel in queries, so nothing in here ever puts a URL, or an error that may hold one,
//! into anything that prints.

mod access_token;
mod answer;
mod client;
mod code2session;
mod crypto;
mod endpoint;
pub mod errcode;
mod phone_number;
mod server_api;
mod session_check;
mod session_reset;
mod stable_token;
mod user_data;

use std::{fmt, future::Future, pin::Pin};

pub use access_token::{AccessTokens, Granting, Lent, TokenSource};
pub use client::Client;
pub use code2session::decode;
pub use phone_number::ToldNumber;
pub use server_api::ServerApi;
pub use stable_token::Granted;
pub use user_data::{Stale, UserData, UserInfo};

use crate::{
    model::{AppId, PhoneCode},
    platform::Error,
};

/// A phone number under way.
pub type TellingNumber<'a> = Pin<Box<dyn Future<Output = Result<ToldNumber, Error>> + Send + 'a>>;

/// Who can say which phone number a code of the phone button stands for.
pub trait PhoneNumbers: fmt::Debug + Send + Sync {
    /// Spends `code`. What WeChat tells is paid for.
    fn phone_number<'a>(&'a self, app: &'a AppId, code: &'a PhoneCode) -> TellingNumber<'a>;
}
