//! The stories wxgate has to tell right, on real sockets: one harness, a file per feature.

mod support;

mod access_log;
mod admin;
mod errors;
mod limits;
mod login;
mod sessions;
mod smoke;
