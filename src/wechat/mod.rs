//! WeChat's server API, as far as a login needs it: a code goes in, an openid and a session_key come out.
//!
//! What WeChat tells a client about its user, to be brought here, is read here too: [`UserInfo`].
//!
//! The AppSecret travels in the query of the call, so nothing in here ever puts a URL, or an error that may hold one, into
//! anything that prints.

mod client;
mod code2session;
mod crypto;
pub mod errcode;
mod user_data;

pub use client::Client;
pub use code2session::decode;
pub use user_data::{Stale, UserInfo};
