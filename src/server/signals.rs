//! The signals that stop the process, that make it read files again, and that have it replaced.

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

/// SIGUSR2, as often as it comes.
#[derive(Debug)]
pub struct ReplaceSignals(Signal);

/// Starts to listen. From here on the signal no longer ends the process.
pub fn replace_signals() -> io::Result<ReplaceSignals> {
    Ok(ReplaceSignals(signal(SignalKind::user_defined2())?))
}

impl ReplaceSignals {
    /// Returns at the next signal.
    pub async fn next(&mut self) {
        let _ = self.0.recv().await;
    }
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
