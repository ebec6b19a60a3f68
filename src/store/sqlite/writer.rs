//! The one thread that changes the file, and how many changes share a trip to the disk.
//!
//! A change that stands alone is committed at once. While it is on its way to the disk others queue up, and the next
//! commit takes all of them: the slower the disk, the larger the groups. So there is no waiting for company, and a lone
//! login pays for nothing but itself. Nobody is answered before the commit that has the change is on the disk.
//!
//! In its group a change stands for itself: one that can't be done is taken back alone. A commit that fails fails all.
//!
//! Who waits for a change that ends sessions tells memory which. Where it happens after that one has lost patience, this thread does;
//! and so it does when the file was opened anew, of those that had seemed to fail and may be in it all the same.
//!
//! A failing disk is asked again and again, with pauses: the first change after a pause opens the file anew, since a
//! connection that has met an I/O error knows too much that may not be true any more. In between changes are refused at
//! once. A full disk needs none of that: the next change that fits is written.

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use rusqlite::Connection;
use tokio::{sync::oneshot, time::Instant};

use super::{
    changes::Change,
    checkpoints::Checkpoints,
    connect,
    files::Claim,
    follower::Follower,
    threads::Threads,
    trouble::{PATIENCE, Trouble, in_words, leaves_the_connection_good, within},
};
use crate::{model::TokenDigest, store::Error};

/// Work of one group, counted in sessions that are looked at.
const GROUP: usize = 512;

/// Changes that may wait. More are refused: whoever sent them would not wait that long either.
pub(super) const QUEUE: usize = 4096;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The way to the thread that writes. The thread ends when this goes.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::SyncSender<Box<dyn Job>>>,
    thread: Threads,
    /// How long an answer may take, and a stop. Tests have less time.
    pub(super) patience: Duration,
    sessions: Arc<AtomicU64>,
    /// Changes that have not been answered.
    open: Arc<AtomicUsize>,
    /// Who has sessions in memory.
    pub(super) follower: Arc<Follower>,
}

impl Writer {
    /// Gives `connection` to a thread of its own.
    pub(super) fn start(claim: &Arc<Claim>, connection: Connection) -> Result<Self, Error> {
        let sessions = Change::new(&connection).count()?;
        let sessions = Arc::new(AtomicU64::new(at_least_none(sessions)));
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let failed = |error: io::Error| Error::Unavailable(Arc::new(error));
        let open = Arc::new(AtomicUsize::new(0));
        let follower = Arc::<Follower>::default();
        let disk = Disk {
            follower: Arc::clone(&follower),
            doubtful: HashSet::new(),
            open: Arc::clone(&open),
            checkpoints: Checkpoints::start(Arc::clone(claim)).map_err(failed)?,
            connection: Some(connection),
            sessions: Arc::clone(&sessions),
            failing: false,
            pause: FIRST_PAUSE,
            not_before: None,
            claim: Arc::clone(claim),
        };
        let thread = Threads::new();
        thread.start("sqlite-writer", move || disk.serve(&jobs)).map_err(failed)?;
        Ok(Self { queue: Some(queue), thread, patience: PATIENCE, sessions, open, follower })
    }

    /// Does `work` in a transaction and answers when it is on the disk. `weight` is how many sessions it looks at.
    pub(super) async fn change<T, W>(&self, weight: usize, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Change<'_>) -> Result<T, Error> + Send + 'static,
    {
        self.enqueue(weight, work, |_| Vec::new()).await
    }

    /// The same for a change that ends sessions: those that `ended` names. Who does not hear of it in time need not tell memory.
    pub(super) async fn end<T, W, E>(&self, work: W, ended: E) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Change<'_>) -> Result<T, Error> + Send + 'static,
        E: Fn(&T) -> Vec<TokenDigest> + Send + 'static,
    {
        self.enqueue(1, work, ended).await
    }

    async fn enqueue<T, W, E>(&self, weight: usize, work: W, ended: E) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(&Change<'_>) -> Result<T, Error> + Send + 'static,
        E: Fn(&T) -> Vec<TokenDigest> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Task { weight, work: Some(work), done: None, ended, reply });
        let queue = self.queue.as_ref().ok_or(Trouble::Gone)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        queue.try_send(job).map_err(|refused| {
            self.open.fetch_sub(1, Ordering::Relaxed);
            match refused {
                mpsc::TrySendError::Full(_) => Trouble::QueueFull,
                mpsc::TrySendError::Disconnected(_) => Trouble::Gone,
            }
        })?;
        within(self.patience, answer).await
    }

    /// How many sessions there were at the last commit.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }
}

impl Drop for Writer {
    /// What is queued is still written, unless the disk hangs. Whoever has asked for it has heard nothing, so it may have
    /// happened or not.
    fn drop(&mut self) {
        self.queue = None;
        if !self.thread.end_within(self.patience) {
            let changes = self.open.load(Ordering::Relaxed);
            tracing::error!(
                changes,
                "the session file does not answer: stopping without knowing these changes written"
            );
        }
    }
}

/// A change that waits for its turn.
trait Job: Send {
    fn weight(&self) -> usize;
    /// Does it, and keeps what came of it.
    fn run(&mut self, change: &Change<'_>) -> Result<(), Error>;
    /// The sessions that it ends, as far as it was done.
    fn ended(&self) -> Vec<TokenDigest>;
    /// Tells whoever waits: what came of it, unless the group that it was in failed. Where it was done and nobody waits any
    /// more, who could tell memory, it gives the sessions that it has ended.
    fn answer(self: Box<Self>, fate: Result<(), Error>) -> Vec<TokenDigest>;
}

struct Task<T, W, E> {
    weight: usize,
    work: Option<W>,
    done: Option<T>,
    ended: E,
    reply: oneshot::Sender<Result<T, Error>>,
}

impl<T, W, E> Job for Task<T, W, E>
where
    T: Send,
    W: FnOnce(&Change<'_>) -> Result<T, Error> + Send,
    E: Fn(&T) -> Vec<TokenDigest> + Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, change: &Change<'_>) -> Result<(), Error> {
        let work = self.work.take().ok_or(Trouble::Gone)?;
        self.done = Some(work(change)?);
        Ok(())
    }

    fn ended(&self) -> Vec<TokenDigest> {
        self.done.as_ref().map_or_else(Vec::new, &self.ended)
    }

    fn answer(self: Box<Self>, fate: Result<(), Error>) -> Vec<TokenDigest> {
        let Self { done, reply, ended, .. } = *self;
        // Where nobody waits any more, the change was made all the same.
        match reply.send(fate.and_then(|()| done.ok_or_else(|| Trouble::Gone.into()))) {
            Err(Ok(unheard)) => ended(&unheard),
            Ok(()) | Err(Err(_)) => Vec::new(),
        }
    }
}

/// The file, as the thread has it.
struct Disk {
    open: Arc<AtomicUsize>,
    follower: Arc<Follower>,
    /// Sessions whose ends seemed to fail with the connection, and may be in the file when it is opened anew.
    doubtful: HashSet<TokenDigest>,
    checkpoints: Checkpoints,
    /// None after an I/O error.
    connection: Option<Connection>,
    sessions: Arc<AtomicU64>,
    /// Whether the last group failed: that is worth a line in the log once, not with every login.
    failing: bool,
    pause: Duration,
    /// Measured by the machine's own steady clock, not ours: it is the disk that is given time.
    not_before: Option<Instant>,
    /// Last, so that it goes when the connections have gone.
    claim: Arc<Claim>,
}

/// A group that was committed.
struct Committed {
    /// How many sessions there are now.
    sessions: i64,
    /// What became of each job.
    fates: Vec<Result<(), Error>>,
    /// Whether any of them changed a row.
    wrote: bool,
}

impl Disk {
    fn serve(mut self, jobs: &mpsc::Receiver<Box<dyn Job>>) {
        while let Ok(first) = jobs.recv() {
            let mut weight = first.weight();
            let mut group = vec![first];
            while weight < GROUP
                && let Ok(next) = jobs.try_recv()
            {
                weight += next.weight();
                group.push(next);
            }
            self.write(group);
            if let Some(connection) = &self.connection {
                self.checkpoints.look(connection);
            }
        }
        self.checkpoints.end();
        self.close();
    }

    fn write(&mut self, mut group: Vec<Box<dyn Job>>) {
        let changes = group.len();
        match self.connection().and_then(|connection| commit(connection, &mut group)) {
            Ok(Committed { sessions, fates, wrote }) => {
                // Where nothing was written, nothing is known of the disk.
                if wrote {
                    self.succeeded();
                    let doubtful: Vec<_> = self.doubtful.drain().collect();
                    self.follower.changed(&doubtful);
                }
                self.sessions.store(at_least_none(sessions), Ordering::Relaxed);
                let unheard = group.into_iter().zip(fates).flat_map(|(job, fate)| job.answer(fate));
                self.follower.changed(&unheard.collect::<Vec<_>>());
            }
            Err(error) => {
                self.failed(&error);
                for job in group {
                    self.doubtful.extend(if self.connection.is_none() { job.ended() } else { Vec::new() });
                    job.answer(Err(error.clone()));
                }
            }
        }
        self.open.fetch_sub(changes, Ordering::Relaxed);
    }

    /// The connection, opened anew where it was given up and the pause is over.
    fn connection(&mut self) -> Result<&Connection, Error> {
        if self.connection.is_none() {
            if self.not_before.is_some_and(|at| Instant::now() < at) {
                return Err(Trouble::Resting.into());
            }
            self.connection = Some(connect::for_writing(self.claim.path())?);
        }
        self.connection.as_ref().ok_or_else(|| Trouble::Gone.into())
    }

    fn succeeded(&mut self) {
        if self.failing {
            tracing::info!(path = %self.claim.path().display(), "sessions can be written again");
        }
        self.failing = false;
        self.pause = FIRST_PAUSE;
    }

    /// Gives the connection up where it may not be good any more, and waits a little longer each time.
    fn failed(&mut self, error: &Error) {
        if !self.failing {
            let path = self.claim.path().display();
            tracing::error!(%path, error = in_words(error), "sessions can't be written: nobody can log in or out");
        }
        self.failing = true;
        if leaves_the_connection_good(error) {
            return;
        }
        self.close();
        self.not_before = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.checkpoints.let_go(connection);
        }
    }
}

/// Does all jobs of a group and brings them to the disk together.
fn commit(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<Committed, Error> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let committed = run(connection, group).and_then(|done| {
        connection.execute_batch("COMMIT")?;
        Ok(done)
    });
    if committed.is_err() && !connection.is_autocommit() {
        // Where this fails too, the next BEGIN does, and with it goes the connection.
        let _ = connection.execute_batch("ROLLBACK");
    }
    committed
}

fn run(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<Committed, Error> {
    let change = Change::new(connection);
    let changes_before = connection.total_changes();
    let mut fates = Vec::with_capacity(group.len());
    for job in group {
        let before = change.sessions.get();
        connection.prepare_cached("SAVEPOINT job")?.execute([])?;
        let fate = job.run(&change);
        match fate {
            Ok(()) => {}
            Err(Error::Unreadable(_)) => {
                connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
                change.sessions.set(before);
            }
            // What one could not do for want of a working disk, the others can't either.
            Err(error @ Error::Unavailable(_)) => return Err(error),
        }
        connection.prepare_cached("RELEASE job")?.execute([])?;
        fates.push(fate);
    }
    let sessions = change.count()?;
    Ok(Committed { sessions, fates, wrote: connection.total_changes() > changes_before })
}

fn at_least_none(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
