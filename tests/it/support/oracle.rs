//! Whoever asks for something of his own is told that, or what may be told; never what was for another.

use std::io;

use super::Client;

/// Sends a request that is answered with `own`. What may be told instead is the code of a failure, or `broken off` where the
/// connection ends within the answer.
pub fn hears_its_own(mut client: Client, request: &str, own: &str, story: &str, may_be_told: &[&str]) {
    client.send(request);
    let method = request.split(' ').next().unwrap_or_default();
    let outcome = match client.try_reply(method) {
        Ok(reply) if reply.status == 200 => return assert_eq!(reply.text(), own, "{story}"),
        Ok(reply) => reply.code(),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => error.to_string(),
        Err(_) => "broken off".to_owned(),
    };
    assert!(may_be_told.contains(&outcome.as_str()), "{story}: {outcome} to {own}");
}
