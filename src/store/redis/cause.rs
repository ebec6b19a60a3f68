//! Why Redis gave no answer, in words for the log.
//!
//! What a server says in full stays out of them: the text of an error may repeat the arguments of its command, and a key
//! names a user or a session. Its first word, which says what is wrong, has none of that.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::Error;

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    /// No connection at the moment, and why the last one broke or did not come about.
    #[error("there is no connection to Redis")]
    Away(#[source] Arc<Cause>),
    /// As at start.
    #[error("no connection was made yet")]
    NotYet,
    /// As many calls as there may be wait for an answer.
    #[error("too many calls wait for Redis")]
    Busy,
    /// The time for a call is over. It may have happened.
    #[error("Redis did not answer in time")]
    Late,
    /// The connection broke or was refused. A call on it may have happened.
    #[error("the connection to Redis failed: {0}")]
    Broken(String),
    /// It refused, with this word.
    #[error("Redis answered {code}{}", advice(code))]
    Refused {
        /// `READONLY`, `NOAUTH`, `OOM`…
        code: String,
    },
    /// Its answer is none to what was asked.
    #[error("Redis answered {0} in a form that means nothing here")]
    Odd(&'static str),
    /// Another server is the master now, or none is.
    #[error("this Redis is not a master")]
    NotMaster,
    /// It happened, on fewer machines than asked for.
    #[error("{got} of {wanted} replicas have it")]
    Replicas {
        /// Of `wait_replicas`.
        got: i64,
        /// What `wait_replicas` says.
        wanted: usize,
    },
    /// None of the sentinels could be asked, or none knows the name.
    #[error("no sentinel names a master")]
    NoMaster(#[source] Option<Arc<Cause>>),
    /// No master of the Cluster has these keys, or the Cluster says that it is down.
    #[error("the Redis Cluster does not cover all keys at the moment")]
    Uncovered,
    /// Another server has these keys now, and we don't know that one yet.
    #[error("another server has the keys (for a Cluster write `cluster` instead of `url`)")]
    Moved,
    /// Some server or other is the one now.
    #[error("the masters have changed")]
    Changed,
    /// The runtime that calls run on has ended.
    #[error("wxgate is stopping")]
    Stopping,
}

/// What whoever reads the log may want to look at.
fn advice(code: &str) -> &'static str {
    match code {
        "NOAUTH" | "WRONGPASS" => ": look at username and password of [sessions.redis]",
        "NOPERM" => ": the ACL user lacks a command or a key pattern that docs/INSTANCES.md lists",
        "READONLY" => ": it is a replica",
        "OOM" => ": it is at its maxmemory",
        "MISCONF" => ": it can't write to its disk",
        "LOADING" => ": it is reading its file",
        "NOREPLICAS" => ": its min-replicas-to-write is not met",
        "CROSSSLOT" => ": it is a Cluster; write cluster = [\"redis://…\"]",
        _ => "",
    }
}

impl Cause {
    /// Whether the servers may not be what we think they are.
    pub(super) fn is_of_topology(&self) -> bool {
        let words = ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "LOADING"];
        match self {
            Self::Refused { code } => words.contains(&code.as_str()),
            Self::Away(why) => why.is_of_topology(),
            other => matches!(other, Self::NotMaster | Self::Moved | Self::Uncovered),
        }
    }

    /// What a store answers for it.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Refused { code } if code == "WRONGTYPE" => {
                Error::Unreadable("a key that something else than wxgate has written")
            }
            Self::Odd(what) => Error::Unreadable(what),
            cause => Error::Unavailable(Arc::new(cause)),
        }
    }
}

impl From<RedisError> for Cause {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(kind) => Self::Refused { code: word(&error, Some(kind)) },
            ErrorKind::Extension => Self::Refused { code: word(&error, None) },
            ErrorKind::AuthenticationFailed => Self::Refused { code: "WRONGPASS".to_owned() },
            ErrorKind::RESP3NotSupported => Self::Broken("it does not speak RESP3".to_owned()),
            ErrorKind::Io if error.is_timeout() => Self::Late,
            ErrorKind::Io => Self::Broken(error.to_string()),
            _ => Self::Broken(error.category().to_owned()),
        }
    }
}

/// The first word of an error. A script hands on the error of its command with the word before it, or as `ERR` with the
/// word in the text, as it is the older servers' way.
fn word(error: &RedisError, kind: Option<ServerErrorKind>) -> String {
    let code = error.code().unwrap_or("ERR");
    let text = error.detail().unwrap_or_default();
    let handed_on = ["READONLY", "OOM", "WRONGTYPE", "MISCONF", "NOREPLICAS", "NOPERM", "CLUSTERDOWN", "MASTERDOWN"];
    // Older servers say it of a script without the word.
    if text.contains("user executing the script") {
        return "NOPERM".to_owned();
    }
    let within =
        handed_on.into_iter().find(|word| text.split(|c: char| !c.is_ascii_uppercase()).any(|part| part == *word));
    match (kind, within) {
        (Some(ServerErrorKind::ResponseError), Some(word)) => word.to_owned(),
        _ => code.chars().filter(char::is_ascii_alphanumeric).take(32).collect(),
    }
}
