//! What SQLite's errors mean for who asked, and for the connection that they came from.

use std::{sync::Arc, time::Duration};

use rusqlite::ErrorCode;
use tokio::{sync::oneshot, time::timeout};

use crate::store::Error;

/// Why the store has no answer though SQLite was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// More wait already than can be answered in time.
    #[error("too many wait for the session file")]
    QueueFull,
    /// No answer came in time. A change may happen yet.
    #[error("the session file took too long")]
    Slow,
    /// The thread that should answer is no more.
    #[error("the thread of the session file has ended")]
    Gone,
    /// The disk failed a moment ago, and is left alone for another moment.
    #[error("the session file failed a moment ago")]
    Resting,
}

/// A disk that hangs does not fail by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Waits for a thread's answer, but not for ever. Either this gives the answer or the thread finds nobody to give it to.
pub(super) async fn within<T>(patience: Duration, mut answer: oneshot::Receiver<Result<T, Error>>) -> Result<T, Error> {
    match timeout(patience, &mut answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Trouble::Gone.into()),
        Err(_) => {
            answer.close();
            answer.try_recv().unwrap_or_else(|_| Err(Trouble::Slow.into()))
        }
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(Arc::new(trouble))
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        match &error {
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::Utf8Error(..) => Self::Unreadable("a row of another kind than ours"),
            _ => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Unreadable("a damaged SQLite file"),
                _ => Self::Unavailable(Arc::new(error)),
            },
        }
    }
}

/// Whether the connection that this came from can be used again. After an I/O error it can't: it knows too much of the
/// file that may not be true any more.
pub(super) fn leaves_the_connection_good(error: &Error) -> bool {
    let Error::Unavailable(cause) = error else { return true };
    if cause.is::<Trouble>() {
        return true;
    }
    let code = cause.downcast_ref().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::ConstraintViolation))
}

/// The words for an operator's log.
pub(super) fn in_words(error: &Error) -> String {
    match error {
        Error::Unavailable(cause) => cause.to_string(),
        Error::Unreadable(what) => (*what).to_owned(),
    }
}
