//! Keeps the certificates that are shown true to their files. The files are looked at every few seconds: that sees whatever
//! way they are swapped in, a renamed link or a mounted folder too, where a watch on single files would sit on the old ones.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    runtime,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{
    config::{
        self, Stamp, UnusableFile,
        sections::{CertificateFiles, Tls},
    },
    model::{Certificate, CertificateShelf, Clock, Timestamp},
    telemetry::Counters,
};

/// From so long before its end on, a certificate is warned about.
const SOON: Duration = Duration::from_hours(14 * 24);

/// How often.
const DAY: Duration = Duration::from_hours(24);

/// Who keeps the certificates true to their files. Where no TLS is spoken there is nothing to keep.
#[derive(Clone, Debug)]
pub struct CertificateKeeper {
    keeper: Option<Arc<Keeper>>,
    /// Of the certificate that backends are shown.
    backends: Option<Arc<Keeper>>,
}

#[derive(Debug)]
struct Keeper {
    every: Duration,
    shelf: Arc<CertificateShelf>,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    held: Mutex<Vec<Held>>,
    warned: Mutex<Option<Timestamp>>,
}

/// The files of one certificate, and what is known of them.
#[derive(Debug)]
struct Held {
    files: CertificateFiles,
    /// How they were when they were last read.
    stamp: Option<Stamp>,
    refused: Refusal,
}

/// Whether files could be used when they were last read.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    No,
    /// They could not, and nobody has been told.
    Untold,
    /// It has been told why.
    Told(String),
}

impl CertificateKeeper {
    pub(super) fn new(
        section: Option<&Tls>,
        shelf: Option<Arc<CertificateShelf>>,
        clock: Arc<dyn Clock>,
        counters: Arc<Counters>,
    ) -> Self {
        let keeper = section.zip(shelf).map(|(section, shelf)| {
            let held = Mutex::new(all_of(section));
            Arc::new(Keeper { every: section.watch, shelf, clock, counters, held, warned: Mutex::default() })
        });
        Self { keeper, backends: None }
    }

    /// The same for the public's certificates and for those of this one, which backends are shown.
    pub(super) fn and(self, backends: Self) -> Self {
        Self { backends: backends.keeper, ..self }
    }

    /// Says which certificates end soon, and looks at the files from now on.
    pub(super) fn watch(&self, control: &runtime::Handle) {
        for keeper in self.keeper.iter().chain(&self.backends) {
            keeper.warn_of_the_end();
            if !keeper.every.is_zero() {
                control.spawn(watch(Arc::clone(keeper)));
            }
        }
    }

    /// Looks after the public's certificates of this section from here on, and has them shown, unless they are those that it looks after
    /// already.
    pub(super) fn hold(&self, section: Option<&Tls>) {
        let (Some(keeper), Some(section)) = (&self.keeper, section) else { return };
        let mut held = keeper.held.lock().unwrap_or_else(PoisonError::into_inner);
        let new = all_of(section);
        if !held.iter().map(Held::paths).eq(new.iter().map(Held::paths)) {
            keeper.shelf.restock(keeper.best_of(&held, &new));
            *held = new;
        }
    }

    /// Reads all files now. Those that can't be used change nothing, which is told in the log.
    pub fn reread(&self) {
        self.keeper.iter().chain(&self.backends).for_each(|keeper| keeper.look(true));
    }
}

/// Looks again and again. The files' disk may be slow, so a thread of its own waits for it.
async fn watch(keeper: Arc<Keeper>) {
    let mut ticks = interval_at(Instant::now() + keeper.every, keeper.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let looking = Arc::clone(&keeper);
        if spawn_blocking(move || looking.look(false)).await.is_err() {
            tracing::error!("the certificates' files can't be looked at");
        }
    }
}

impl Held {
    /// Nothing counts as read: the files may have changed since the configuration was.
    fn new(files: &CertificateFiles) -> Self {
        Self { files: files.clone(), stamp: None, refused: Refusal::No }
    }

    fn paths(&self) -> (&Path, &Path) {
        (&self.files.cert, &self.files.key)
    }
}

fn all_of(section: &Tls) -> Vec<Held> {
    section.certificates.iter().map(Held::new).collect()
}

impl Keeper {
    /// Reads what has changed since it was last read. A pair of files that don't fit may be one that is just being written,
    /// so it gets until the next look; `at_once` does not wait for that, and reads what has not changed, too. What could not be
    /// used is tried again and again: its time may be yet to come, or it may be for others to let us read it.
    fn look(&self, at_once: bool) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, seen) in held.iter_mut().enumerate() {
            let files = &seen.files;
            let stamp = config::stamp(files);
            let changed = seen.stamp != Some(stamp);
            if !changed && seen.refused == Refusal::No && !at_once {
                continue;
            }
            let usable = config::reread(files).map_err(Refused::File).and_then(|new| self.take(place, new));
            seen.stamp = Some(stamp);
            seen.refused = match usable {
                Ok(()) => Refusal::No,
                Err(_) if changed && !at_once => Refusal::Untold,
                Err(why) => {
                    let told = Refusal::Told(why.to_string());
                    if at_once || seen.refused != told {
                        self.tell(&seen.files, &why);
                    }
                    told
                }
            };
        }
        drop(held);
        self.warn_of_the_end();
    }

    /// What is to be shown of another list of files: what is in them, or what was shown of the same files before, where only
    /// that is valid.
    fn best_of(&self, before: &[Held], wanted: &[Held]) -> Vec<Arc<Certificate>> {
        let (now, shown) = (self.clock.now(), self.shelf.current());
        let was_shown = |one: &Held| shown.iter().nth(before.iter().position(|old| old.paths() == one.paths())?);
        let best = |one: &Held| {
            let new = &one.files.certificate;
            let old = was_shown(one).filter(|old| !new.is_valid_at(now) && old.is_valid_at(now));
            old.map_or_else(|| Arc::new(new.clone()), Arc::clone)
        };
        wanted.iter().map(best).collect()
    }

    /// Puts a certificate in its place, unless it is the one there.
    fn take(&self, place: usize, new: Certificate) -> Result<(), Refused> {
        let now = self.clock.now();
        let current = self.shelf.current();
        let Some(old) = current.iter().nth(place) else { return Ok(()) };
        if new.is_same(old) {
            return Ok(());
        }
        if !new.is_valid_at(now) && old.is_valid_at(now) {
            return Err(Refused::NotValid);
        }
        tracing::info!(
            certificate = new.name(),
            days = days_left(&new, now),
            "a new certificate is shown from here on"
        );
        self.shelf.replace(place, new);
        self.counters.certificate_reloads.swapped.inc();
        Ok(())
    }

    fn tell(&self, files: &CertificateFiles, why: &Refused) {
        self.counters.certificate_reloads.failed.inc();
        let file = files.cert.display();
        tracing::error!(%file, error = %why, "a changed certificate can't be used; the one before it stays");
    }

    /// Once a day it is said which certificates end soon, or have ended.
    fn warn_of_the_end(&self) {
        let now = self.clock.now();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|last| now.since(last) < DAY) {
            return;
        }
        *warned = Some(now);
        for certificate in self.shelf.current().iter() {
            let (certificate, days) = (certificate, days_left(certificate, now));
            let name = certificate.name();
            if !certificate.is_valid_at(now) {
                tracing::error!(
                    certificate = name,
                    days,
                    "a certificate is not valid: it has expired, or its time is yet to come"
                );
            } else if certificate.not_after() <= now + SOON {
                tracing::warn!(certificate = name, days, "a certificate expires soon");
            }
        }
    }
}

/// Why a certificate does not take the place of the one before.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    File(#[from] UnusableFile),
    #[error("it has expired, or its time is yet to come, and the one before is valid")]
    NotValid,
}

/// Whole days to the end.
fn days_left(certificate: &Certificate, now: Timestamp) -> u64 {
    certificate.not_after().since(now).as_secs() / DAY.as_secs()
}
