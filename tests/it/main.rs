//! The stories wxgate has to tell right, on real sockets: one harness, a file per feature.

mod support;

mod access_log;
mod admin;
mod errors;
mod forwarded;
mod framing;
mod identity_header;
mod leaks;
mod limits;
mod login;
mod paths;
mod sessions;
mod smoke;
mod strangers;
mod two_parsers;
