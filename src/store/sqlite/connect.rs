//! How the file is opened: looked at first, then for writing once, and for reading by several.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::schema::{APPLICATION_ID, STEPS, migrate};

/// For whoever else has the file open for a moment, such as an operator's `sqlite3`.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// To what the log is cut when it has grown beyond it, behind somebody who read for long.
const LONGEST_LOG: u32 = 64 << 20;

/// What a file turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet.
    Empty,
    /// Ours, after so many steps.
    Ours(usize),
    /// Of a wxgate that knows more steps than this one.
    Newer(usize),
    /// SQLite's, but not ours.
    Foreign,
}

/// What is in the file. Looks without changing anything, where that is possible.
pub(super) fn look(path: &Path) -> rusqlite::Result<Found> {
    match inspect(path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        // A crash left something that has to be put right before anybody can read.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) => {
            inspect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        found => found,
    }
}

/// The same of a file that another process has, who puts right whatever there is to be.
pub(super) fn look_beside(path: &Path) -> rusqlite::Result<Found> {
    inspect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

fn inspect(path: &Path, how: OpenFlags) -> rusqlite::Result<Found> {
    let connection = open(path, how)?;
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    Ok(match (application == i64::from(APPLICATION_ID), version) {
        (true, version) if version <= STEPS.len() => Found::Ours(version),
        (true, version) => Found::Newer(version),
        (false, 0) if application == 0 && tables == 0 => Found::Empty,
        (false, _) => Found::Foreign,
    })
}

/// Takes a file that was found to be empty or ours to the present version.
pub(super) fn bring_up_to_date(path: &Path, steps_done: usize) -> rusqlite::Result<Connection> {
    let mut connection = for_writing(path)?;
    migrate(&mut connection, steps_done, STEPS)?;
    // Whoever had claimed something was a process that is gone: there is but one at a time.
    connection.execute("UPDATE waiting SET claim = NULL, due = 0 WHERE claim IS NOT NULL", [])?;
    Ok(connection)
}

/// The connection that changes the file. A commit is on the disk when it returns.
pub(super) fn for_writing(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        // A file system without shared memory. Readers would wait for the writer, and a commit would mean something else.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR),
            Some(format!("its file system allows no write-ahead log (the journal mode stays {mode})")),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Not at the end of a commit that somebody waits for: that is the matter of `checkpoints`.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LONGEST_LOG)?;
    // Who has logged out should not be found in the gaps of the file.
    connection.pragma_update(None, "secure_delete", "FAST")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    Ok(connection)
}

/// A connection that only reads.
pub(super) fn for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    // Each of them, in KiB: the upper pages of the indices of ten million sessions.
    connection.pragma_update(None, "cache_size", -8192)?;
    Ok(connection)
}

/// A connection that works the log into the file and does nothing else. What is left of the log when it is closed is not its
/// business.
pub(super) fn for_checkpoints(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn open(path: &Path, how: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, how | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(32);
    // Takes nothing in the file for code, and a page that is damaged for what it is.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}
