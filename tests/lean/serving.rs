//! How a test that starts the real binary learns where it listens.

use std::net::SocketAddr;

/// The address in the line that says where the gateway listens.
pub(crate) fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("serving")?;
    rest.split_once("127.0.0.1:").and_then(|(_, port)| {
        let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
        Some(SocketAddr::from(([127, 0, 0, 1], digits.parse().ok()?)))
    })
}
