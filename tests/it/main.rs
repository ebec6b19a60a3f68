//! The stories wxgate has to tell right, on real sockets: one harness, a file per feature.

mod support;

mod connections;
mod forward;
mod smoke;
