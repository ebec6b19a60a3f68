//! Ports for programs that can't tell which one they were given.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Where nobody listens at this moment. Whoever asks the system for any port is given one far above these, so no other story is quicker
/// to take it; a port of a Redis Cluster has a second one 10,000 above it, and that is free in the same way.
pub fn own_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Not those of another run that goes on beside this one.
        let nth = process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(nth % 9_000).expect("a small number");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
