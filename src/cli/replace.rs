//! SIGUSR2: a new process of the same command takes this one's place, and its listening sockets.

use std::{
    io,
    process::{self, Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

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

/// What the new process may take until it serves or asks for the sessions. It may have to wait for Redis, and no longer.
const FOR_A_START: Duration = Duration::from_mins(1);

/// What it may take from the moment that it can have the sessions until it serves. Nobody does meanwhile.
const FOR_SESSIONS: Duration = Duration::from_secs(30);

/// What one that does not get that far may take to say why, and to end.
const FOR_LAST_WORDS: Duration = Duration::from_secs(2);

/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// What the first process of a container is.
const FIRST: u32 = 1;

/// A new process that waits for the sessions of this one.
#[derive(Debug)]
pub(super) struct Heir {
    link: Successor,
    newcomer: Newcomer,
    /// Our own hold on the sockets, in case that we have to serve again.
    sockets: PassedSockets,
}

/// A new process. Until it has taken over it ends with this: whoever tells us to stop means both.
#[derive(Debug)]
struct Newcomer {
    child: Child,
    has_taken_over: bool,
}

/// Returns when a new process serves, or waits until this one does not. One that fails leaves everything as it is.
pub(super) async fn followed(signals: &mut ReplaceSignals, sockets: Vec<Handover>) -> Follower<Heir> {
    loop {
        signals.next().await;
        tracing::info!("told to make way for a new process");
        match start(process::id(), sockets.clone()).await {
            Ok(follower) => return follower,
            Err(error) => tracing::error!(%error, "the new process has failed; this one goes on"),
        }
    }
}

impl Heir {
    /// Lets it have the sessions. Where it makes nothing of them the sockets come back, for this process to serve again.
    pub(super) async fn inherit(self) -> Option<PassedSockets> {
        let Self { link, newcomer, sockets } = self;
        let error = match aside(move || link.give_sessions(FOR_SESSIONS)).await {
            Ok(Word::Go) => {
                newcomer.take_over();
                return None;
            }
            Ok(Word::WantsSessions | Word::Nothing) => newcomer.failed().await,
            Err(error) => error,
        };
        tracing::error!(%error, "the new process has failed; this one takes sessions and sockets back");
        Some(sockets)
    }
}

impl Newcomer {
    fn take_over(mut self) {
        self.has_taken_over = true;
        tracing::info!(pid = self.child.id(), "a new process takes over");
        systemd::tell_main(self.child.id());
    }

    /// Says how it has ended, and ends it where it has not. Nothing that it had is locked after that.
    async fn failed(mut self) -> io::Error {
        let ended = async {
            while let Ok(None) = self.child.try_wait() {
                sleep(LOOK).await;
            }
        };
        // It says why when it has closed its end already.
        let in_time = timeout(FOR_LAST_WORDS, ended).await.is_ok();
        match self.end() {
            Ok(status) if in_time => io::Error::other(status.to_string()),
            Ok(_) => io::Error::other("it has had its time, and was ended"),
            Err(error) => error,
        }
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        // It may have gone by itself.
        let _ = self.child.kill();
        self.child.wait()
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if !self.has_taken_over {
            let _ = self.end();
        }
    }
}

/// Starts it, hands the sockets over, and listens to what it says to that.
async fn start(own: u32, sockets: Vec<Handover>) -> io::Result<Follower<Heir>> {
    if own == FIRST {
        // With the first process of a container all others end.
        return Err(io::Error::other("this one is the first process of a container, which ends with it"));
    }
    let (link, stdin) = Successor::pair(FOR_A_START)?;
    let newcomer = Newcomer { child: command().stdin(Stdio::from(stdin)).spawn()?, has_taken_over: false };
    let all = sockets.clone();
    let (link, word) = aside(move || {
        let word = link.send(&all).map_or(Word::Nothing, |()| link.hear());
        (link, word)
    })
    .await?;
    match word {
        Word::Go => {
            newcomer.take_over();
            Ok(Follower::Serves)
        }
        Word::WantsSessions => {
            let kept = sockets.iter().map(Handover::kept).collect::<io::Result<Vec<_>>>()?;
            let sockets = PassedSockets::of(kept.into_iter().flatten());
            Ok(Follower::Waits(Heir { link, newcomer, sockets }))
        }
        Word::Nothing => Err(newcomer.failed().await),
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

/// Does what has to wait for another process, in a thread that nobody has to wait for.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name("successor".to_owned()).spawn(move || {
        // Where nobody listens the process is ending anyway.
        let _ = tell.send(work());
    })?;
    told.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_process_of_a_container_is_not_replaced() {
        let error = start(FIRST, Vec::default()).await.unwrap_err();
        assert!(error.to_string().contains("first process of a container"), "{error}");
    }
}
