//! What the file looks like, and how an older one becomes a newer one.
//!
//! Bytes and writes are saved where there are many of them, in `sessions`:
//!
//! * A digest is kept as its first eight bytes, `head`, and the rest, `tail`. Only `head` is in an index, which so has a
//!   third of the size; whoever looks up compares `tail` too. The index on digests is the one that is hit at random, and
//!   the smaller it is, the fewer pages a group of logins has to write.
//! * Rows have numbers, so that new ones come at the end, and the other indices need no digest to point to them. The
//!   numbers also say which of two logins of one user is the newer.
//! * `expires` follows from the columns before it. It is there to be searched by: what ran out is swept along it, and
//!   what was used last is found at its end. It lies a little behind the moment at which those columns call the session
//!   over; see [`grace`](super::rows::grace).
//!
//! The file's own header says whose it is (`application_id`) and which of the steps below it has been through
//! (`user_version`).

use rusqlite::Connection;

/// `wxgt`. Marks the file as ours.
pub(super) const APPLICATION_ID: i32 = 0x7778_6774;

/// From nothing to the present, a step for each version. Steps are only ever added.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE apps (
        id INTEGER PRIMARY KEY,
        app_id TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE users (
        id INTEGER PRIMARY KEY,
        app INTEGER NOT NULL REFERENCES apps (id),
        openid TEXT NOT NULL,
        session_key BLOB NOT NULL,       -- of the newest login, sealed
        UNIQUE (app, openid)
    ) STRICT;

    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        head INTEGER NOT NULL,           -- of the digest: its first 8 bytes
        tail BLOB NOT NULL,              -- and the other 24
        user INTEGER NOT NULL,
        tag INTEGER NOT NULL,            -- what stands for the user in the log
        created INTEGER NOT NULL,        -- milliseconds since 1970
        seen INTEGER NOT NULL,           -- seconds after created
        idle INTEGER NOT NULL,           -- seconds
        lifetime INTEGER NOT NULL,       -- seconds
        expires INTEGER NOT NULL,        -- milliseconds since 1970
        unionid TEXT
    ) STRICT;
    CREATE INDEX sessions_by_digest ON sessions (head);
    CREATE INDEX sessions_by_user ON sessions (user);
    CREATE INDEX sessions_by_end ON sessions (expires);

    CREATE TABLE counts (
        sessions INTEGER NOT NULL,       -- rows of sessions: counting them would read them all
        checks INTEGER NOT NULL          -- how often it was asked whether the file can be written
    ) STRICT;
    INSERT INTO counts VALUES (0, 0);
",
    "
    CREATE TABLE profiles (
        id INTEGER PRIMARY KEY,
        app INTEGER NOT NULL REFERENCES apps (id),
        openid TEXT NOT NULL,            -- not the number of a user: that goes with the last session
        version INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        UNIQUE (app, openid)
    ) STRICT;
",
    "
    CREATE TABLE waiting (               -- users of whom something is to be told
        id INTEGER PRIMARY KEY,
        app INTEGER NOT NULL REFERENCES apps (id),
        openid TEXT NOT NULL,
        due INTEGER NOT NULL,            -- when the first may be tried, or the claim on it ends; milliseconds since 1970
        claim BLOB,                      -- of whoever is at it
        UNIQUE (app, openid)
    ) STRICT;
    CREATE INDEX waiting_by_due ON waiting (due);

    CREATE TABLE notices (
        id INTEGER PRIMARY KEY,          -- in the order in which they are told
        waiting INTEGER NOT NULL,
        event BLOB NOT NULL,             -- its 16 bytes of identity
        made INTEGER NOT NULL,           -- milliseconds since 1970
        attempts INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX notices_by_user ON notices (waiting);

    ALTER TABLE counts ADD COLUMN notices INTEGER NOT NULL DEFAULT 0;
",
];

/// Takes a file that has been through `from` steps through the rest of them: all in one transaction, or none.
pub(super) fn migrate(connection: &mut Connection, from: usize, steps: &[&str]) -> rusqlite::Result<()> {
    let Some(missing) = steps.get(from..).filter(|missing| !missing.is_empty()) else { return Ok(()) };
    let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for step in missing {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "application_id", APPLICATION_ID)?;
    change.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
    change.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_file_is_taken_through_the_steps_it_lacks() {
        let mut file = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x); INSERT INTO a VALUES (7);", "ALTER TABLE a ADD COLUMN y DEFAULT 8;"];
        migrate(&mut file, 0, &steps[..1]).unwrap();
        assert_eq!(version(&file), 1);
        migrate(&mut file, 1, &steps).unwrap();
        assert_eq!(version(&file), 2);
        migrate(&mut file, 2, &steps).unwrap();
        let row: (i64, i64) = file.query_row("SELECT x, y FROM a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (7, 8));
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let mut file = Connection::open_in_memory().unwrap();
        migrate(&mut file, 0, &["CREATE TABLE a (x);"]).unwrap();
        let failed = migrate(&mut file, 1, &["", "CREATE TABLE b (x);", "CREATE TABLE a (x);"]);
        assert!(failed.is_err());
        assert_eq!(version(&file), 1);
        let tables: i64 = file.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1, "b went with the step that failed");
    }
}
