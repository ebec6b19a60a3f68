//! One connection for calls, which comes back by itself.
//!
//! While it is away, a call on it fails at once. A call that waits its whole time while not one other is answered takes
//! the connection down with it: answers come in the order of the questions, so whoever asked later would wait in vain as
//! well, and a server that was paused must not cost every call its full timeout. One that is only slow stays.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use redis::{Pipeline, PushInfo, PushKind, RedisResult, Value, aio::MultiplexedConnection};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    time::timeout,
};

use super::{backoff::Backoff, cause::Cause, connect::Connector, task::Task};
use crate::config::sections::Endpoint;

/// One connection for calls.
#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
    _keeper: Task,
}

#[derive(Debug)]
struct Shared {
    connector: Arc<Connector>,
    at: Endpoint,
    state: Mutex<State>,
    /// Calls that may still be made before one is answered.
    free: Semaphore,
    /// Calls that were answered so far.
    answered: AtomicU64,
    /// The connection that is or was up is of no use any more.
    broken: Notify,
}

enum State {
    /// The number tells it from the connections before it, on which calls may still be waiting.
    Up(MultiplexedConnection, u64),
    Down(Arc<Cause>),
}

impl Lane {
    /// Begins to connect.
    pub(super) fn open(connector: &Arc<Connector>, at: &Endpoint, backoff: Backoff, runtime: &Handle) -> Self {
        let shared = Arc::new(Shared {
            connector: Arc::clone(connector),
            at: at.clone(),
            state: Mutex::new(State::Down(Arc::new(Cause::NotYet))),
            free: Semaphore::new(connector.in_flight),
            answered: AtomicU64::new(0),
            broken: Notify::new(),
        });
        let keeper = Task::spawn(runtime, keep(Arc::clone(&shared), backoff));
        Self { shared, _keeper: keeper }
    }

    /// The answers to each command of `pipeline`, or why there is none at all.
    pub(super) async fn ask(&self, pipeline: &Pipeline) -> Result<Vec<RedisResult<Value>>, Cause> {
        let (mut connection, number) = self.shared.connection()?;
        let Ok(_place) = self.shared.free.try_acquire() else { return Err(Cause::Busy) };
        let before = self.shared.answered.load(Ordering::Relaxed);
        let why = match timeout(self.shared.connector.timeout, pipeline.query_async(&mut connection)).await {
            Ok(Ok(answers)) => {
                self.shared.answered.fetch_add(1, Ordering::Relaxed);
                return Ok(answers);
            }
            Ok(Err(error)) => Cause::from(error),
            Err(_) if self.shared.answered.load(Ordering::Relaxed) > before => return Err(Cause::Late),
            Err(_) => Cause::Late,
        };
        let why = Arc::new(why);
        self.shared.down(number, &why);
        Err(Cause::Away(why))
    }

    /// Why no call can be made at the moment.
    pub(super) fn why_down(&self) -> Option<Arc<Cause>> {
        match &*self.shared.state() {
            State::Up(..) => None,
            State::Down(why) => Some(Arc::clone(why)),
        }
    }

    /// Whether it takes another call.
    pub(super) fn has_room(&self) -> bool {
        self.shared.free.available_permits() > 0
    }

    /// Takes the connection down; a new one is made at once.
    pub(super) fn renew(&self, why: &Arc<Cause>) {
        let number = self.shared.connection().map(|(_, number)| number);
        if let Ok(number) = number {
            self.shared.down(number, why);
        }
    }
}

impl Shared {
    fn connection(&self) -> Result<(MultiplexedConnection, u64), Cause> {
        match &*self.state() {
            State::Up(connection, number) => Ok((connection.clone(), *number)),
            State::Down(why) => Err(Cause::Away(Arc::clone(why))),
        }
    }

    /// The connection of this number is of no use. If another one is up by now, that one stays.
    fn down(&self, number: u64, why: &Arc<Cause>) {
        let mut state = self.state();
        if matches!(*state, State::Up(_, up) if up == number) {
            *state = State::Down(Arc::clone(why));
            self.broken.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up(..) => "Up",
            Self::Down(_) => "Down",
        })
    }
}

/// Connects, waits until that breaks, and again.
async fn keep(lane: Arc<Shared>, mut backoff: Backoff) {
    for number in 0.. {
        // The closure must not keep the lane alive, or a connection would keep itself.
        let of = Arc::downgrade(&lane);
        let opened = lane.connector.master(
            &lane.at,
            Arc::new(move |push: PushInfo| {
                if let (PushKind::Disconnection, Some(lane)) = (push.kind, of.upgrade()) {
                    lane.down(number, &Arc::new(Cause::Broken("it was closed".to_owned())));
                }
            }),
        );
        match opened.await {
            Ok(connection) => {
                backoff.reset();
                *lane.state() = State::Up(connection, number);
                lane.broken.notified().await;
            }
            Err(why) => *lane.state() = State::Down(Arc::new(why)),
        }
        backoff.wait().await;
    }
}
