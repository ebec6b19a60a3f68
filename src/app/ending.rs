//! How a gateway ends: it is told to stop, or another process follows it. Either way those who are connected learn of it from
//! an answer, as far as possible, and what is under way is finished.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{App, Error, config_file::causes};
use crate::{
    config::Config,
    server::{Running, Stop, systemd},
};

/// How long a stop waits for the store to take the last uses of sessions.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// How long it waits for keys that a platform may have renewed already.
const LAST_KEYS: Duration = Duration::from_secs(10);

/// How long backends still have for what they ask when those who are answered through them are gone.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How long it waits for threads and tasks that were told to end at once.
const LAST_THREADS: Duration = Duration::from_secs(5);

/// A process that follows this one, and has its listening sockets.
#[derive(Debug)]
pub enum Follower<W> {
    /// It takes connections already.
    Serves,
    /// It needs what only one of the two can have, and waits for it.
    Waits(W),
}

/// Returns when one of its workers has ended, and never where there is none.
async fn ended(running: Option<&mut Running>) {
    match running {
        Some(running) => running.any_ended().await,
        None => std::future::pending().await,
    }
}

impl App {
    /// Runs until a signal comes, a worker dies or there is a follower; then stops: requests under way may finish within
    /// `drain_timeout`, and a second signal ends that too. A follower that waits is given back then, with the configuration to
    /// go on with where it fails.
    pub async fn run<W>(
        mut self,
        stop: &mut Stop,
        follower: impl Future<Output = Follower<W>>,
    ) -> Result<Option<(W, Config)>, Error> {
        tokio::select! {
            follower = follower => return self.make_way(follower, stop).await,
            () = stop.next() => tracing::info!("stopping: clients are told to go, requests under way may finish"),
            () = self.public.any_ended() => tracing::error!("a worker has ended; stopping"),
            () = ended(self.internal.as_mut()) => tracing::error!("the worker for backends has ended; stopping"),
        }
        systemd::tell_stopping();
        self.stop(stop.next()).await?;
        Ok(None)
    }

    /// Stops. `hurry` cuts what is left when it returns, as `drain_timeout` does.
    pub async fn stop(self, hurry: impl Future<Output = ()>) -> Result<(), Error> {
        // Whoever asks whether it is ready sends nobody here any more. Until they have asked it is open.
        self.ready.store(false, Ordering::Relaxed);
        self.end(hurry).await
    }

    async fn make_way<W>(mut self, follower: Follower<W>, stop: &mut Stop) -> Result<Option<(W, Config)>, Error> {
        let waiting = match follower {
            Follower::Serves => {
                self.public.leave();
                self.admin.leave();
                self.internal.iter_mut().for_each(Running::leave);
                tracing::info!("replaced: another wxgate takes new connections, requests under way may finish");
                if self.reloader.parts().config.sessions.redis.is_some() {
                    // The follower tells them, to whom its own configuration says.
                    self.telling.rest();
                }
                None
            }
            Follower::Waits(waiting) => {
                tracing::info!("to be replaced: another wxgate waits for the sessions, requests under way may finish");
                // This one serves until clients know, since nobody else does.
                self.public.leave_sockets();
                self.admin.leave_sockets();
                self.internal.iter_mut().for_each(Running::leave_sockets);
                Some(waiting)
            }
        };
        let config = self.reloader.parts().config.clone();
        let (waits, ready, mut stopped) = (waiting.is_some(), Arc::clone(&self.ready), false);
        let hurry = async {
            // Who is to stop is so with whoever waits for what it has. Only the next signal is about the hurry.
            if waits {
                stop.next().await;
                stopped = true;
                tracing::info!("stopping: nobody is to take this one's place, requests under way may finish");
                ready.store(false, Ordering::Relaxed);
                systemd::tell_stopping();
            }
            stop.next().await;
        };
        let ended = self.end(hurry).await;
        let Some(waiting) = waiting.filter(|_| !stopped) else { return ended.map(|()| None) };
        // However this one has ended, nobody serves until the other one does.
        if let Err(error) = ended {
            tracing::error!(error = %causes(&error), "this process has not ended well");
        }
        Ok(Some((waiting, config)))
    }

    async fn end(mut self, hurry: impl Future<Output = ()>) -> Result<(), Error> {
        let parts = self.reloader.parts();
        let (limit, idle) = (parts.config.server.drain_timeout, parts.config.server.drain_idle);
        self.public.tell();
        self.internal.iter().for_each(Running::tell);
        let drained = async {
            // Half of the time at least is for what is under way when nobody may begin anything any more.
            tokio::select! {
                () = self.public.deserted() => {}
                () = sleep(idle.min(limit / 2)) => {}
            }
            self.public.drain();
            self.public.all_ended().await;
            // Backends that answer somebody may ask until then.
            self.internal.iter().for_each(Running::drain);
            if let Some(internal) = &mut self.internal {
                internal.all_ended().await;
            }
        };
        tokio::select! {
            drained = timeout(limit, drained) => {
                if drained.is_err() {
                    tracing::warn!("drain_timeout is over: the requests still under way are cut");
                    self.public.cut();
                    if let Some(internal) = &mut self.internal {
                        internal.drain();
                        _ = timeout(LAST_ANSWERS, internal.all_ended()).await;
                    }
                }
            }
            () = hurry => tracing::warn!("told to hurry: the requests still under way are cut"),
        }
        self.public.cut();
        let public = self.public.join(LAST_THREADS).await;
        self.admin.cut();
        self.internal.iter().for_each(Running::cut);
        let mut ended = public.and(self.admin.join(LAST_THREADS).await);
        if let Some(internal) = self.internal {
            ended = ended.and(internal.join(LAST_THREADS).await);
        }
        let ended = ended.map_err(Error::Workers);
        self.reloader.rest();
        self.telling.end().await;
        self.housekeeping.abort();
        _ = timeout(LAST_THREADS, &mut self.housekeeping).await;
        if timeout(LAST_KEYS, parts.sessions.settled()).await.is_err() {
            tracing::warn!("a session_key that was being reset may be lost");
        }
        // Nobody uses a session any more. What is not written now is lost, and makes a session look unused for longer.
        let flushed = timeout(LAST_FLUSH, parts.sessions.flush_touches()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the last use of some sessions was not written");
        }
        // The workers' handles are gone, so this is the last one: it writes out what is left.
        drop(self.lines);
        drop(self.control);
        ended
    }
}
