//! TLS towards clients: which certificate they are shown, what a handshake comes to, and that nothing behind it is other
//! than it is without.

mod certificates;
mod connections;
mod expiry;
mod handshakes;
mod redirect;
mod swap;
