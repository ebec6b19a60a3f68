//! Stories of trouble inside: a disk that is full or fails, a queue that is full.

mod heard;
mod strange_rows;

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, mpsc},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{changes::Change, *};
use crate::{
    model::{AppId, Identity, OpenId, SealKey, SystemEntropy, Terms, UserTag},
    store::Error,
};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// A store with a file of its own, and a runtime to await it on.
struct World {
    store: Sqlite,
    runtime: Runtime,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { store: open(&folder), runtime, folder }
    }

    /// Something done on the writer's own connection, as no caller can.
    fn inside(&self, sql: &'static str) {
        let done = self.store.writer.change(1, move |change| Ok(change.connection().execute_batch(sql)?));
        self.runtime.block_on(done).unwrap();
    }

    fn begin<'a>(&'a self, session: &'a Arc<Session>, key: &'a SessionKey) -> Answer<'a, Vec<TokenDigest>> {
        self.store.begin(session, key, 0, NOW)
    }

    fn login(&self, session: &Arc<Session>) -> Result<(), Error> {
        self.runtime.block_on(self.begin(session, &key())).map(drop)
    }

    fn load(&self, session: &Session) -> Result<Option<Arc<Session>>, Error> {
        self.runtime.block_on(self.store.load(session.digest(), NOW))
    }

    fn finds(&self, session: &Session) -> bool {
        self.load(session).unwrap().is_some()
    }

    fn key_of(&self, session: &Session) -> Result<Option<SessionKey>, Error> {
        self.runtime.block_on(self.store.session_key(&session.identity().user, NOW))
    }

    fn count(&self) -> u64 {
        self.runtime.block_on(self.store.count()).unwrap()
    }

    /// Keeps the writer busy until the sender goes, so that whatever is asked of it meanwhile waits, and comes to it
    /// all at once.
    fn hold_up(&self) -> mpsc::Sender<()> {
        let (release, work) = work_until_released();
        self.occupy(work, |work| self.store.writer.change(1, move |_| work()));
        release
    }

    /// The same with all who read.
    fn hold_up_readers(&self) -> Vec<mpsc::Sender<()>> {
        let hold_one_up = |_| {
            let (release, work) = work_until_released();
            self.occupy(work, |work| self.store.readers.ask(move |_| work()));
            release
        };
        (0..readers::THREADS).map(hold_one_up).collect()
    }

    /// Returns when the work that is asked for has begun.
    fn occupy<A: Future>(&self, work: Work, ask: impl FnOnce(Work) -> A) {
        let (begun, busy) = mpsc::channel();
        let mut asked = Box::pin(ask(Box::new(move || {
            begun.send(()).unwrap();
            work()
        })));
        assert!(is_waiting(&self.runtime, &mut asked));
        busy.recv().unwrap();
    }
}

type Work = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// Work that goes on until the sender goes.
fn work_until_released() -> (mpsc::Sender<()>, Work) {
    let (release, held) = mpsc::channel();
    let work = move || {
        held.recv().unwrap_err();
        Ok(())
    };
    (release, Box::new(work))
}

fn open(folder: &TempDir) -> Sqlite {
    try_open(folder).unwrap()
}

fn try_open(folder: &TempDir) -> Result<Sqlite, OpenError> {
    let key = SealKey::generate(&SystemEntropy).unwrap();
    let sealer = Arc::new(Sealer::new(&key, &[], Arc::new(SystemEntropy)));
    Sqlite::open(&folder.path().join("wxgate.db"), sealer)
}

fn key() -> SessionKey {
    SessionKey::new("key")
}

fn session(number: u16) -> Arc<Session> {
    login_of(&format!("oUser-{number}"), number)
}

/// The how-manieth login of this user.
fn login_of(openid: &str, number: u16) -> Arc<Session> {
    let openid = OpenId::parse(openid).unwrap();
    let user = UserKey { app: AppId::parse("wx1").unwrap(), openid };
    let terms = Terms { idle: Duration::from_hours(1), lifetime: Duration::from_hours(9) };
    let [high, low] = number.to_be_bytes();
    let mut digest = [high; 32];
    digest[7] = low;
    let digest = TokenDigest::new(digest);
    Arc::new(Session::begin(Identity { user, unionid: None }, digest, UserTag::new([0xff; 8]), terms, NOW))
}

/// Asks, and looks whether there is an answer yet.
fn is_waiting<F: Future + ?Sized>(runtime: &Runtime, asked: &mut Pin<Box<F>>) -> bool {
    let _timers = runtime.enter();
    matches!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    loop {
        match found() {
            Some(found) => return found,
            None => std::thread::yield_now(),
        }
    }
}

/// What is said in the log.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn listens(&self, to: impl FnOnce()) {
        let sink = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || sink.clone()).finish();
        tracing::subscriber::with_default(subscriber, to);
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_unavailable<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unavailable(_)))
}

fn is_unreadable<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Unreadable(_)))
}

// --- the disk

#[test]
fn a_full_disk_stops_logins_and_nothing_else_until_there_is_room() {
    let world = World::new();
    let before = session(0);
    world.login(&before).unwrap();
    world.inside("PRAGMA max_page_count = 1");
    let refused: Vec<_> = (1..500).map(session).filter(|session| is_unavailable(&world.login(session))).collect();
    assert!(!refused.is_empty(), "the pages that there were did not do for all of them");
    assert!(world.finds(&before));
    for session in &refused {
        assert!(!world.finds(session), "what was refused did not happen");
    }

    world.inside("PRAGMA max_page_count = 1000000");
    for session in &refused {
        world.login(session).unwrap();
        assert!(world.finds(session));
    }
    assert_eq!(world.count(), 500);
}

#[test]
fn a_disk_that_fails_is_asked_again_until_it_works() {
    let world = World::new();
    let (before, after) = (session(0), session(1));
    world.login(&before).unwrap();
    // Stands for any error after which the connection is not to be trusted: the next one is a new one.
    world.inside("PRAGMA query_only = TRUE");
    assert!(is_unavailable(&world.login(&after)));
    assert!(is_unavailable(&world.runtime.block_on(world.store.check())), "at once, while the disk is left alone");
    assert!(world.finds(&before), "reading goes on");
    while world.login(&after).is_err() {
        std::thread::yield_now();
    }
    assert!(world.finds(&after) && world.finds(&before));
    world.runtime.block_on(world.store.check()).unwrap();
}

#[test]
fn who_asks_a_disk_that_hangs_is_told_so_in_time_and_what_was_asked_may_happen_yet() {
    let mut world = World::new();
    let (before, after) = (session(0), session(1));
    world.login(&before).unwrap();
    world.store.writer.patience = Duration::from_millis(1);
    let release = world.hold_up();
    assert!(is_unavailable(&world.login(&after)));
    assert!(is_unavailable(&world.runtime.block_on(world.store.check())), "/readyz asks this");
    assert!(world.finds(&before), "reading goes on");
    drop(release);
    until(|| world.finds(&after).then_some(()));
    until(|| world.runtime.block_on(world.store.check()).ok());
}

#[test]
fn a_look_up_on_a_disk_that_hangs_is_no_answer_and_not_a_no() {
    let mut world = World::new();
    let session = session(0);
    world.login(&session).unwrap();
    world.store.readers.patience = Duration::from_millis(1);
    let release = world.hold_up_readers();
    assert!(is_unavailable(&world.load(&session)));
    drop(release);
    assert!(until(|| world.load(&session).ok()).is_some());
}

// --- groups

#[test]
fn a_group_that_can_not_be_committed_fails_as_a_whole() {
    let world = World::new();
    world.inside("PRAGMA max_page_count = 1");
    let (alone, key) = (session(999), key());
    world.login(&alone).unwrap();
    let sessions: Vec<_> = (0..400).map(session).collect();
    let release = world.hold_up();
    let mut logins: Vec<_> = sessions.iter().map(|session| world.begin(session, &key)).collect();
    assert!(logins.iter_mut().all(|one| is_waiting(&world.runtime, one)));
    drop(release);
    let mut answers = logins.into_iter().map(|login| world.runtime.block_on(login));
    assert!(answers.all(|answer| is_unavailable(&answer)), "there was room for some of them, but not for all");
    assert!(!sessions.iter().any(|session| world.finds(session)));
    assert_eq!(world.count(), 1);
}

#[test]
fn one_that_can_not_be_done_is_taken_back_alone() {
    let world = World::new();
    let (half_done, before, after, key) = (session(1), session(2), session(3), key());
    let release = world.hold_up();
    let mut first = world.begin(&before, &key);
    let login = Arc::clone(&half_done);
    let mut broken = Box::pin(world.store.writer.change(1, move |change: &Change<'_>| {
        change.begin(&login, b"sealed", 0, NOW)?;
        Err::<(), _>(Error::Unreadable("what comes next"))
    }));
    let mut last = world.begin(&after, &key);
    assert!(is_waiting(&world.runtime, &mut first));
    assert!(is_waiting(&world.runtime, &mut broken) && is_waiting(&world.runtime, &mut last));
    drop(release);
    assert!(is_unreadable(&world.runtime.block_on(broken)));
    assert_eq!(world.runtime.block_on(first).unwrap(), []);
    assert_eq!(world.runtime.block_on(last).unwrap(), []);
    assert!(!world.finds(&half_done) && world.finds(&before) && world.finds(&after));
    assert_eq!(world.count(), 2);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let world = World::new();
    let release = world.hold_up();
    let mut waiting: Vec<_> = (0..writer::QUEUE).map(|_| world.store.check()).collect();
    assert!(waiting.iter_mut().all(|one| is_waiting(&world.runtime, one)));
    assert!(is_unavailable(&world.login(&session(1))), "without waiting for what holds the others up");
    drop(release);
    for one in waiting {
        world.runtime.block_on(one).unwrap();
    }
    world.login(&session(1)).unwrap();
}

#[test]
fn what_was_asked_before_the_store_goes_is_still_written() {
    let World { store, runtime, folder } = World::new();
    let session = session(1);
    let key = key();
    assert!(is_waiting(&runtime, &mut store.begin(&session, &key, 0, NOW)), "and nobody waits any more");
    drop(store);
    let world = World { store: open(&folder), runtime, folder };
    assert!(world.finds(&session));
}

/// The writer that is held up stands for a disk that hangs: in both cases its thread is in the middle of a change.
#[test]
fn a_stop_does_not_wait_for_ever_for_a_disk_that_hangs_and_says_what_it_leaves() {
    let mut world = World::new();
    world.store.writer.patience = Duration::from_millis(1);
    let (session, key, said) = (session(1), key(), Sink::default());
    let release = world.hold_up();
    assert!(is_waiting(&world.runtime, &mut world.begin(&session, &key)));
    let World { store, runtime, folder } = world;
    said.listens(|| drop(store));
    assert!(said.text().contains("the session file does not answer") && said.text().contains("changes=2"));
    assert!(matches!(try_open(&folder), Err(OpenError::Taken { .. })), "it may write yet, so nobody else may");

    drop(release);
    let store = until(|| try_open(&folder).ok());
    let world = World { store, runtime, folder };
    assert!(world.finds(&session), "the disk came back");
}

// --- rows

/// The end of a session is worked out at a login and again, in the file, at each use.
#[test]
fn a_use_and_a_login_give_a_session_the_same_end() {
    let world = World::new();
    let used = session(1);
    world.login(&used).unwrap();
    let at = NOW + Duration::from_secs(7);
    let seen = Seen { user: used.identity().user.clone(), digest: *used.digest(), at };
    world.runtime.block_on(world.store.touch(vec![seen])).unwrap();
    used.touch(at);
    let expected = super::rows::expires(&used).as_millis().cast_signed();
    let ends = world.store.writer.change(1, |change| {
        Ok(change.connection().query_row("SELECT expires FROM sessions", [], |row| row.get::<_, i64>(0))?)
    });
    assert_eq!(world.runtime.block_on(ends).unwrap(), expected);
}
