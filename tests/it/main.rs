//! The stories wxgate has to tell right, on real sockets: one harness, a file per feature.

mod support;

mod forwarded;
mod framing;
mod identity_header;
mod paths;
mod smoke;
mod strangers;
mod two_parsers;
