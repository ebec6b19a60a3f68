//! Keeps a gateway true to its configuration's file, and to those that the file names. They are looked at again and again, as
//! those of certificates are: whatever way they are swapped in is seen, a renamed link or a mounted folder too.

use std::{
    error::Error as StdError,
    iter,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::sleep};

use super::{Reloader, parts::Parts};
use crate::config::{self, Change, FileStamps, Loaded};

/// How long it is before somebody asks again whether the files are to be looked at, while they are not.
const IDLE: Duration = Duration::from_secs(1);

/// Who keeps a gateway true to its file.
#[derive(Debug)]
pub struct ConfigKeeper {
    path: PathBuf,
    reloader: Reloader,
    seen: Mutex<Seen>,
}

/// What is known of the files.
#[derive(Debug, Default)]
struct Seen {
    files: Vec<PathBuf>,
    /// How they were at the last look.
    looked_at: FileStamps,
    /// How they were when they were last read.
    read: Option<FileStamps>,
    /// Why they could not be used then, as it was told.
    refused: Option<String>,
}

impl ConfigKeeper {
    /// For a gateway that was started with what was loaded from `path`.
    pub fn new(path: &Path, loaded: &Loaded, reloader: Reloader) -> Arc<Self> {
        note(&reloader.parts(), loaded.hash, 0);
        // Nothing counts as read: the files may have changed since they were.
        let seen = Mutex::new(Seen { files: loaded.files.clone(), ..Seen::default() });
        Arc::new(Self { path: path.to_owned(), reloader, seen })
    }

    /// Reads the files now, and takes over what has changed. Where they can't be used nothing changes, which is told in the
    /// log.
    pub fn reread(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.refused = None;
        if !self.read(&mut seen) {
            tracing::info!("nothing has changed in the configuration");
        }
    }

    /// Looks at the files for as long as it is polled. Their disk may be slow, so a thread of its own waits for it.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let every = self.reloader.parts().config.server.watch;
            sleep(if every.is_zero() { IDLE } else { every }).await;
            let looking = Arc::clone(&self);
            if !every.is_zero() && spawn_blocking(move || looking.look()).await.is_err() {
                tracing::error!("the configuration's files can't be looked at");
            }
        }
    }

    /// Reads what has changed and has stayed so since the look before: several files are not written at one moment. What could
    /// not be used is tried again and again, since it may be another file that was missing.
    pub fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = config::stamps(&seen.files);
        let is_new = seen.read.as_ref() != Some(&stamps);
        let has_settled = stamps == seen.looked_at;
        seen.looked_at = stamps;
        if has_settled && (is_new || seen.refused.is_some()) {
            self.read(&mut seen);
        }
    }

    /// Whether anything has changed, or could not be read.
    fn read(&self, seen: &mut Seen) -> bool {
        seen.read = Some(config::stamps(&seen.files));
        let taken = match config::load(&self.path) {
            Ok(loaded) => self.take(loaded, seen),
            Err(error) => Err(error.to_string()),
        };
        match taken {
            Ok(has_changed) => {
                seen.refused = None;
                has_changed
            }
            Err(why) => {
                self.reloader.parts().counters.config.refused();
                if seen.refused.as_ref() != Some(&why) {
                    tracing::error!(error = why, "the configuration can't be used; the one before stays");
                }
                seen.refused = Some(why);
                true
            }
        }
    }

    fn take(&self, loaded: Loaded, seen: &mut Seen) -> Result<bool, String> {
        let Loaded { config, warnings, files, hash } = loaded;
        let change = self.reloader.reload(config).map_err(|error| causes(&error))?;
        if files != seen.files {
            // Those that are new here may have changed since they were read.
            (seen.files, seen.read) = (files, None);
        }
        note(&self.reloader.parts(), hash, change.waiting.len());
        let has_changed = !change.applied.is_empty() || !change.waiting.is_empty();
        if has_changed {
            let file = self.path.display().to_string();
            for warning in &warnings {
                tracing::warn!("{}", warning.in_file(&file));
            }
            tell(&change);
        }
        Ok(has_changed)
    }
}

fn note(parts: &Parts, hash: u64, waiting: usize) {
    let now = Duration::from_millis(parts.clock.now().as_millis());
    parts.counters.config.taken(now, hash, waiting);
}

fn tell(change: &Change) {
    if !change.applied.is_empty() {
        let what: Vec<String> = change.applied.iter().map(ToString::to_string).collect();
        tracing::info!(what = what.join(", "), "the changed configuration is in use");
    }
    for difference in &change.waiting {
        tracing::warn!(key = difference.key, "a changed key needs a restart; until then its old value counts");
    }
}

/// An error with all that has led to it.
pub(super) fn causes(error: &super::Error) -> String {
    let all = iter::successors(Some(error as &dyn StdError), |&error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
