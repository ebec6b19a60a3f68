//! SIGUSR2: a new process of the same command takes this one's place, and its listening sockets.

use std::{
    io,
    process::{Child, Command, Stdio},
    thread,
};

use tokio::sync::oneshot;

use super::TAKE_OVER;
use crate::{
    config,
    server::{
        ReplaceSignals,
        handover::{Handover, Successor},
        systemd,
    },
};

/// Returns when a new process listens, or is about to, so that this one may go. One that fails leaves everything as it is.
pub(super) async fn replaced(mut signals: ReplaceSignals, sockets: [Handover; 2]) {
    loop {
        signals.next().await;
        tracing::info!("told to make way for a new process");
        match begin(sockets.clone()) {
            Ok(ends) => match ends.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!(%error, "the new process has failed; this one goes on"),
                Err(_) => tracing::error!("nobody waits for the new process any more; this one goes on"),
            },
            Err(error) => tracing::error!(%error, "no new process could be started; this one goes on"),
        }
    }
}

/// Starts it. A thread waits for it, which nobody has to wait for.
fn begin(sockets: [Handover; 2]) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (successor, stdin) = Successor::pair()?;
    let child = start(stdin.into())?;
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("successor".to_owned()).spawn(move || {
        let outcome = hand_over(&successor, &sockets, child);
        // Where nobody listens the process is ending anyway.
        let _ = tell.send(outcome);
    })?;
    Ok(told)
}

fn start(stdin: Stdio) -> io::Result<Child> {
    let mut words = config::own_command_line();
    let program = words.next().unwrap_or_else(|| env!("CARGO_PKG_NAME").into());
    let words: Vec<_> = words.filter(|word| word != TAKE_OVER).collect();
    Command::new(program).args(words).arg(TAKE_OVER).stdin(stdin).spawn()
}

fn hand_over(successor: &Successor, sockets: &[Handover], mut child: Child) -> io::Result<()> {
    if successor.send(sockets).is_ok() && successor.says_go() {
        tracing::info!(pid = child.id(), "a new process takes over");
        systemd::tell_main(child.id());
        return Ok(());
    }
    let status = child.wait()?;
    Err(io::Error::other(status.to_string()))
}
