//! How the write-ahead log gets into the file without a login having to wait for it.
//!
//! What was committed is copied out of the log and brought to the disk, and then the next commit begins the log anew. That
//! takes as long as tens of commits. So a thread beside the writer does it while commits go on. But a log that grows
//! meanwhile is never seen to its end, and the writer does the last pages itself, between two groups.
//!
//! ```text
//! writer   commit commit commit commit commit commit finish commit (at the log's beginning)
//! helper          copy ────────── sync ──────
//! ```
//!
//! **How long the log gets.** The helper has so many rounds, and then the writer finishes however much is left. Behind
//! somebody who reads for long there is no finishing; the writer tries again and again, waits for a moment when the log is
//! too long, and a log that has begun anew is cut.
//!
//! **When the disk loses what it was given.** The helper may call pages done that are not on the disk yet. When the system
//! then fails to bring them there, it forgets them, and the next time it would say that all is well. The log has them
//! still. So from then on it stays as it is until all connections have been closed: whoever opens the file next works in
//! all of it, from its beginning.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, TryRecvError},
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, MAIN_DB, config::DbConfig, ffi, wal::CheckpointMode};

use super::{connect, files::Claim};

/// Pages of the log from which on it is worked into the file: 16 MiB. The longer, the more of them are the same page again,
/// and copied once.
const LONG: i32 = 4000;

/// So many of them the writer does alone, in the time of a commit.
const FEW: i32 = 128;

/// After so many rounds of the helper the writer does what is left. Each leaves what came in during it, which is less and
/// less where the disk keeps up at all.
const ROUNDS: u32 = 3;

/// 64 MiB. From here on the writer waits for the helper, and for readers.
const TOO_LONG: i32 = 16 * 1024;

/// How long the writer waits for readers when the log is too long.
const FOR_READERS: Duration = Duration::from_millis(20);

/// Keeps the log short. The writer has it, and asks it to look after each group.
#[derive(Debug)]
pub(super) struct Checkpoints {
    helper: Option<Helper>,
    shared: Arc<Shared>,
    /// How long the log was at the last look.
    length: i32,
    /// How long it has to be to be seen to.
    due: i32,
    rounds: u32,
}

/// The way to the thread beside the writer.
#[derive(Debug)]
struct Helper {
    wake: mpsc::SyncSender<()>,
    done: mpsc::Receiver<()>,
    busy: bool,
    thread: thread::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The disk has lost something that only the log has now.
    lost: AtomicBool,
    /// The last attempt failed: that is worth a line in the log once.
    failing: AtomicBool,
}

impl Checkpoints {
    pub(super) fn start(claim: Arc<Claim>) -> io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let (tell, done) = mpsc::sync_channel(1);
        let shared = Arc::new(Shared::default());
        let side = Side { connection: None, shared: Arc::clone(&shared), claim };
        let thread = thread::Builder::new().name("sqlite-log".to_owned()).spawn(move || side.serve(&woken, &tell))?;
        let helper = Some(Helper { wake, done, busy: false, thread });
        Ok(Self { helper, shared, length: 0, due: LONG, rounds: 0 })
    }

    /// Looks how long the log is, and has it worked in where it is long. `connection` is the writer's, between two groups.
    pub(super) fn look(&mut self, connection: &Connection) {
        if let Err(error) = self.see_to_it(connection) {
            self.due = self.length + LONG;
            self.shared.failed(&error);
        }
    }

    /// Ends the helper, and with it its connection, so that the writer's is the last.
    pub(super) fn end(&mut self) {
        if let Some(Helper { wake, thread, .. }) = self.helper.take() {
            drop(wake);
            // A thread that panicked has said so; there is nothing more to end.
            let _ = thread.join();
        }
    }

    /// Lets `connection`, which may be the last, go in such a way that nothing is lost.
    pub(super) fn let_go(&self, connection: Connection) {
        if self.shared.lost.load(Ordering::Acquire) {
            // Where this fails the connection does as well, and works in nothing.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        drop(connection);
    }

    fn see_to_it(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let (length, done) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::NOOP)?;
        if length < self.length {
            (self.due, self.rounds) = (LONG, 0);
        }
        self.length = length;
        let too_long = length >= TOO_LONG;
        if length < self.due || self.helper.as_mut().is_some_and(|helper| helper.is_busy(too_long)) {
            return Ok(());
        }
        // Only here, since the helper may just have found it out.
        if self.shared.lost.load(Ordering::Acquire) {
            return Ok(());
        }
        if length - done > FEW && self.rounds < ROUNDS && self.helper.as_mut().is_some_and(Helper::wake) {
            self.rounds += 1;
            return Ok(());
        }
        (self.due, self.rounds) = (length + LONG, 0);
        self.finish(connection, if too_long { CheckpointMode::RESTART } else { CheckpointMode::PASSIVE })
    }

    fn finish(&self, connection: &Connection, mode: CheckpointMode) -> rusqlite::Result<()> {
        connection.busy_timeout(FOR_READERS)?;
        let finished = connection.wal_checkpoint_v2(Some(MAIN_DB), mode);
        connection.busy_timeout(connect::PATIENCE)?;
        match finished {
            // Somebody reads what was before. It is tried again when the log has grown some more.
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(()),
            finished => {
                finished?;
                self.shared.succeeded();
                Ok(())
            }
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn succeeded(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the log of the session file can be worked into it again");
        }
    }

    fn failed(&self, error: &rusqlite::Error) {
        let code = error.sqlite_error().map(|error| error.extended_code);
        if code == Some(ffi::SQLITE_IOERR_FSYNC) {
            self.lost(&error);
        } else if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "the log of the session file can't be worked into it, and grows");
        }
    }

    fn lost(&self, error: &dyn fmt::Display) {
        if !self.lost.swap(true, Ordering::AcqRel) {
            tracing::error!(
                %error,
                "the disk has lost a part of the session file; the log beside it has all of it and grows from now on: see \
                 to the disk, and start wxgate again"
            );
        }
    }
}

impl Helper {
    /// Whether it is at it, after waiting for it or not.
    fn is_busy(&mut self, wait: bool) -> bool {
        if wait && self.busy {
            // Where the thread has ended, the writer is alone with the log.
            let _ = self.done.recv();
            self.busy = false;
        }
        self.busy = self.busy && self.done.try_recv() == Err(TryRecvError::Empty);
        self.busy
    }

    fn wake(&mut self) -> bool {
        self.busy = self.wake.try_send(()).is_ok();
        self.busy
    }
}

/// The helper's own side.
struct Side {
    /// None at first, and after an error.
    connection: Option<Connection>,
    shared: Arc<Shared>,
    /// Last, so that it goes when the connection has gone.
    claim: Arc<Claim>,
}

impl Side {
    fn serve(mut self, woken: &mpsc::Receiver<()>, tell: &mpsc::SyncSender<()>) {
        while let Ok(()) = woken.recv() {
            match self.copy() {
                Ok(()) => self.sync(),
                Err(error) => {
                    self.connection = None;
                    self.shared.failed(&error);
                }
            }
            // Who has gone meanwhile need not know.
            let _ = tell.try_send(());
        }
    }

    fn copy(&mut self) -> rusqlite::Result<()> {
        if self.connection.is_none() {
            self.connection = Some(connect::for_checkpoints(self.claim.path())?);
        }
        if let Some(connection) = &self.connection {
            connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)?;
        }
        Ok(())
    }

    /// SQLite leaves this to whoever sees the log to its end, which is the writer.
    fn sync(&self) {
        match self.claim.sync() {
            Ok(()) => self.shared.succeeded(),
            Err(error) => self.shared.lost(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::files;

    #[test]
    fn a_log_that_the_disk_has_lost_a_part_of_stays_whole_until_the_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wxgate.db");
        let claim = Arc::new(files::claim(&path).unwrap());
        let connection = connect::bring_up_to_date(claim.path(), 0).unwrap();
        let mut checkpoints = Checkpoints::start(Arc::clone(&claim)).unwrap();
        checkpoints.shared.failed(&rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None));
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        for _ in 0..2 * LONG {
            connection.execute("UPDATE counts SET checks = checks + 1", []).unwrap();
            checkpoints.look(&connection);
        }
        let (length, done) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::NOOP).unwrap();
        assert!(length > 2 * LONG && done == 0, "{done} of {length} pages");
        checkpoints.end();
        checkpoints.let_go(connection);
        let connection = connect::for_writing(claim.path()).unwrap();
        let (left, _) = connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE).unwrap();
        assert_eq!(left, length, "it was there, and was worked in from its beginning");
    }
}
