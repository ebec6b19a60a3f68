//! Douyin's server API, as far as a login needs it. Toutiao and the other apps of the same house speak it too.
//!
//! What Douyin tells a client about its user has the forms of WeChat's (<https://developer.open-douyin.com/docs/resource/zh-CN/mini-app/develop/tutorial/basic-ability/sensitive-data-process>),
//! so it is read where WeChat's is.

mod client;
mod code2session;
pub mod errno;

pub use client::Client;
pub use code2session::decode;
