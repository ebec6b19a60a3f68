//! `gateway.toml` as its author meets it: what loads, what is refused and in which words, and that the reference shows
//! the truth.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "config/support.rs"]
mod support;

#[path = "config/check.rs"]
mod check;
#[path = "config/examples.rs"]
mod examples;
#[path = "config/never_panics.rs"]
mod never_panics;
#[path = "config/reference.rs"]
mod reference;
