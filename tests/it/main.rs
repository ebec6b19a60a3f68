//! The stories wxgate has to tell right, on real sockets: one harness, a file per feature.

mod support;

mod access_log;
mod admin;
mod connections;
mod drain;
mod errors;
mod forward;
mod forwarded;
mod framing;
mod identity_header;
mod limits;
mod login;
mod paths;
mod sessions;
mod smoke;
mod strangers;
mod stress;
mod two_parsers;
