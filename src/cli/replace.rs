//! SIGUSR2: a new process of the same command takes this one's place, and its listening sockets.

use std::{
    io,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::TAKE_OVER;
use crate::{
    app::Follower,
    config,
    server::{
        ReplaceSignals,
        handover::{Handover, Successor, Word},
        systemd::{self, PassedSockets},
    },
};

/// What the new process may take from the moment that it can have the sessions until it serves. Nobody does meanwhile.
const FOR_SESSIONS: Duration = Duration::from_secs(30);

/// A new process that waits for the sessions of this one.
#[derive(Debug)]
pub(super) struct Heir {
    link: Successor,
    child: Child,
    /// Our own hold on the sockets, in case that we have to serve again.
    sockets: PassedSockets,
}

/// Returns when a new process serves, or waits until this one does not. One that fails leaves everything as it is.
pub(super) async fn followed(signals: &mut ReplaceSignals, sockets: [Handover; 2]) -> Follower<Heir> {
    loop {
        signals.next().await;
        tracing::info!("told to make way for a new process");
        let sockets = sockets.clone();
        let asked = aside(move || start(&sockets));
        match asked.await {
            Ok(follower) => return follower,
            Err(error) => tracing::error!(%error, "the new process has failed; this one goes on"),
        }
    }
}

impl Heir {
    /// Lets it have the sessions. Where it makes nothing of them the sockets come back, for this process to serve again.
    pub(super) async fn inherit(self) -> Option<PassedSockets> {
        let Self { link, mut child, sockets } = self;
        let outcome = aside(move || match link.give_sessions(FOR_SESSIONS) {
            Word::Go => {
                tell_of(&child);
                Ok(())
            }
            Word::WantsSessions | Word::Nothing => Err(failed(ended(&mut child)?)),
        });
        let error = outcome.await.err()?;
        tracing::error!(%error, "the new process has failed; this one takes sessions and sockets back");
        Some(sockets)
    }
}

/// Starts it, hands the sockets over, and listens to what it says to that.
fn start(sockets: &[Handover]) -> io::Result<Follower<Heir>> {
    let (link, stdin) = Successor::pair()?;
    let mut child = command().stdin(Stdio::from(stdin)).spawn()?;
    let word = link.send(sockets).map_or(Word::Nothing, |()| link.hear());
    match word {
        Word::Go => {
            tell_of(&child);
            Ok(Follower::Serves)
        }
        Word::WantsSessions => {
            let kept = sockets.iter().map(Handover::kept).collect::<io::Result<Vec<_>>>();
            match kept {
                Ok(kept) => {
                    let sockets = PassedSockets::of(kept.into_iter().flatten());
                    Ok(Follower::Waits(Heir { link, child, sockets }))
                }
                Err(error) => {
                    ended(&mut child)?;
                    Err(error)
                }
            }
        }
        Word::Nothing => Err(failed(child.wait()?)),
    }
}

fn command() -> Command {
    let mut words = config::own_command_line();
    let program = words.next().unwrap_or_else(|| env!("CARGO_PKG_NAME").into());
    let words: Vec<_> = words.filter(|word| word != TAKE_OVER).collect();
    let mut command = Command::new(program);
    command.args(words).arg(TAKE_OVER);
    // What systemd has said of the sockets that it bound was for this process. The new one has them from us.
    for variable in systemd::VARIABLES {
        command.env_remove(variable);
    }
    command
}

/// Ends it where it has not ended yet. Nothing that it had is locked after that.
fn ended(child: &mut Child) -> io::Result<ExitStatus> {
    // It may have gone by itself.
    let _ = child.kill();
    child.wait()
}

fn failed(status: ExitStatus) -> io::Error {
    io::Error::other(status.to_string())
}

fn tell_of(child: &Child) {
    tracing::info!(pid = child.id(), "a new process takes over");
    systemd::tell_main(child.id());
}

/// Does what has to wait for another process, in a thread that nobody has to wait for.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("successor".to_owned()).spawn(move || {
        // Where nobody listens the process is ending anyway.
        let _ = tell.send(work());
    })?;
    told.await.unwrap_or_else(|_| Err(io::Error::other("nobody waits for it any more")))
}
