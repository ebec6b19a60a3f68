//! Small pieces of HTTP that several modules speak: bodies, problems, header names, client addresses.

pub mod client_ip;
pub mod endpoints;
pub mod headers;
mod problem;

pub use client_ip::{Client, Proto, TrustedProxies};
pub use problem::Problem;
