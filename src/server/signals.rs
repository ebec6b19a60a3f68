//! The signals that stop the process, and the one that makes it read files again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, whichever comes, as often as they come.
#[derive(Debug)]
pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

/// Starts to listen. From here on these signals no longer end the process by themselves.
pub fn stop_signals() -> io::Result<Stop> {
    Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
}

/// SIGHUP, as often as it comes.
#[derive(Debug)]
pub struct HangUps(Signal);

/// Starts to listen. From here on the signal no longer ends the process.
pub fn hang_ups() -> io::Result<HangUps> {
    Ok(HangUps(signal(SignalKind::hangup())?))
}

impl HangUps {
    /// Returns at the next signal.
    pub async fn next(&mut self) {
        // Without a signal handler there would be no `HangUps`, so this does not end.
        let _ = self.0.recv().await;
    }
}

impl Stop {
    /// Returns at the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
