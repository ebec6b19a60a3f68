//! A connection that hears of changes on one master, and asks it again and again whether it still is one.
//!
//! It hears of each session that anybody changes: `CLIENT TRACKING` in broadcast mode, so that the server need not remember
//! who has read what. Redis can leave out the changes that a connection made itself (`NOLOOP`), but it notes only the
//! first writer of a key within one turn of its loop: where we touch a session and another instance ends it in the same
//! turn, we would not hear of the end. So we hear of our own changes too, and a session that has just begun here is read
//! once more.
//!
//! Each ear asks by itself. How soon we notice that one hears nothing must not depend on how long it takes to ask other
//! servers, or to find out who the masters are.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::time::{MissedTickBehavior, interval};

use super::{cause::Cause, connect::Connector, keys::Keys, link::Link, node::Materials, task::Task};
use crate::config::sections::Endpoint;

/// Between one question and the next. With the time for the answer it bounds how long we may take a dead or deposed master
/// for alive.
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);

/// A connection that hears of changes on one master. Dropped, it is closed.
pub(super) struct Ear {
    pub(super) at: Endpoint,
    deaf: Arc<Deaf>,
    _asking: Task,
}

/// Why an ear hears nothing any more, once it does not.
type Deaf = OnceLock<Arc<Cause>>;

impl Ear {
    /// Listens to this master from now on.
    pub(super) async fn open(of: &Materials, at: &Endpoint, link: &Arc<Link>, keys: &Keys) -> Result<Self, Cause> {
        let deaf = Arc::new(Deaf::new());
        let (its_own, told, names) = (Arc::clone(&deaf), Arc::clone(link), keys.clone());
        let on_push = Arc::new(move |push: PushInfo| hear(&push, &told, &names, &its_own));
        let mut connection = of.connector.master(at, on_push).await?;
        let mut tracking = redis::cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST").arg("PREFIX").arg(keys.sessions());
        of.connector.ask(&mut connection, &tracking).await?;
        let asking = keep_asking(connection, Arc::clone(&of.connector), Arc::clone(link), Arc::clone(&deaf));
        Ok(Self { at: at.clone(), deaf, _asking: Task::spawn(&of.runtime, asking) })
    }

    /// Why it hears nothing any more, if it does not.
    pub(super) fn why_deaf(&self) -> Option<Arc<Cause>> {
        self.deaf.get().map(Arc::clone)
    }
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("at", &self.at).field("deaf", &self.deaf).finish_non_exhaustive()
    }
}

/// Until the master gives no answer, or another one than that it is a master.
async fn keep_asking(
    mut connection: MultiplexedConnection,
    connector: Arc<Connector>,
    link: Arc<Link>,
    deaf: Arc<Deaf>,
) {
    let mut due = interval(BETWEEN_QUESTIONS);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if let Err(why) = connector.is_master(&mut connection).await {
            return go_deaf(&deaf, &link, why);
        }
    }
}

/// Runs inside the connection, in the order in which pushes come.
fn hear(push: &PushInfo, link: &Link, keys: &Keys, deaf: &Deaf) {
    match push.kind {
        PushKind::Invalidate => match push.data.first() {
            Some(Value::Array(changed)) => {
                for key in changed {
                    match key {
                        Value::BulkString(key) => {
                            if let Some(digest) = keys.digest_in(key) {
                                link.changed(&digest);
                            }
                        }
                        _ => link.all_changed(),
                    }
                }
            }
            // Nothing is named where everything was thrown away.
            _ => link.all_changed(),
        },
        PushKind::Disconnection => go_deaf(deaf, link, Cause::Broken("it was closed".to_owned())),
        _ => {}
    }
}

fn go_deaf(deaf: &Deaf, link: &Link, why: Cause) {
    let why = Arc::new(why);
    // Before the link is told, so that nobody calls it whole over a deaf ear. The first reason stays.
    let _ = deaf.set(Arc::clone(&why));
    link.lost(&why);
    link.look();
}
