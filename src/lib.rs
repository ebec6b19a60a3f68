//! wxgate: a reverse-proxy auth gateway for WeChat Mini Programs.
//!
//! Two flows run through it. Every request takes the first; a login takes the second as well.
//!
//! ```text
//! 1  request ─ server ─ gateway ─┬ routing   which rule?
//!                                ├ auth      whose session?
//!                                └ api       answered here      ─┐
//!                                  proxy     forwarded upstream ─┴─ response, one log line
//!
//! 2  POST /v1/verify ─ api::verify ─ limit ─ login ─ platform  code → openid, session_key (wechat, douyin)
//!                                                  └ session   → token
//! ```
//!
//! `docs/ARCHITECTURE.md` is the map, with the rules that hold everywhere and the tests that hold them.

// The modules stand in reading order: what happens to a request, what it needs, what everything is built of.

pub mod app;
pub mod cli;

pub mod api;
pub mod gateway;

pub mod auth;
pub mod login;
pub mod proxy;
pub mod routing;

pub mod admin;
pub mod assertion;
pub mod avatar;
pub mod douyin;
pub mod internal;
pub mod limit;
pub mod once;
pub mod phone;
pub mod platform;
pub mod profile;
pub mod server;
pub mod session;
pub mod store;
pub mod upstream;
pub mod webhook;
pub mod wechat;

pub mod config;
pub mod model;
pub mod telemetry;
pub mod web;

pub mod simulator;
