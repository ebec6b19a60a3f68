//! Sessions as their users see them, with memory for a store.

use std::{
    io,
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::*;
use crate::{
    model::{AppId, ManualClock, OpenId, SystemEntropy, Timestamp, UnionId},
    store::Memory,
};

mod plain;
mod recent;

const IDLE: Duration = Duration::from_secs(100);
const LIFETIME: Duration = Duration::from_mins(5);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    sessions: Sessions,
    clock: Arc<ManualClock>,
    counters: Arc<Counters>,
}

impl World {
    fn with(change: impl FnOnce(&mut sections::Sessions)) -> Self {
        let mut section = sections::Sessions { idle: IDLE, lifetime: LIFETIME, ..Default::default() };
        change(&mut section);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)));
        let counters = Arc::new(Counters::default());
        let tags = UserTagger::new(None, &SystemEntropy).unwrap();
        let (store, runtime) = (Arc::new(Memory::new()), no_runtime());
        let entropy = Arc::new(SystemEntropy);
        let sessions = Sessions::new(&section, store, runtime, clock.clone(), entropy, tags, counters.clone());
        Self { sessions, clock, counters }
    }

    fn new() -> Self {
        Self::with(|_| {})
    }

    fn login(&self, user: &UserKey) -> Issued {
        self.login_with_key(user, "key")
    }

    fn login_with_key(&self, user: &UserKey, key: &str) -> Issued {
        let identity = Identity { user: user.clone(), unionid: None };
        at_once(self.sessions.issue(identity, SessionKey::new(key))).unwrap()
    }

    fn finds(&self, issued: &Issued) -> bool {
        at_once(self.sessions.resolve(&issued.token)).unwrap().is_some()
    }

    /// The same without a question to the store, for a worker that has found these.
    fn at_hand(&self, issued: &Issued, recent: &Recent) -> bool {
        self.sessions.at_hand(&issued.token, recent).is_some()
    }

    fn revoke(&self, issued: &Issued) {
        at_once(self.sessions.revoke(&issued.session)).unwrap();
    }

    fn revoke_user(&self, user: &UserKey) -> usize {
        at_once(self.sessions.revoke_user(user)).unwrap()
    }

    fn session_key(&self, user: &UserKey) -> Option<String> {
        at_once(self.sessions.session_key(user)).unwrap().map(|key| key.expose().to_owned())
    }

    fn count(&self) -> u64 {
        at_once(self.sessions.count()).unwrap()
    }

    fn holds_live(&self, issued: &Issued) -> bool {
        issued.session.is_live(self.clock.now())
    }
}

/// A runtime for what is dropped half way. Nothing is here.
fn no_runtime() -> Handle {
    tokio::runtime::Builder::new_current_thread().build().unwrap().handle().clone()
}

/// The value of a future that is ready without waiting. With memory for a store all of ours are.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a session operation waited for something"),
    }
}

/// A log that is read afterwards.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn user(app: &str, openid: &str) -> UserKey {
    UserKey { app: AppId::parse(app).unwrap(), openid: OpenId::parse(openid).unwrap() }
}

fn anna() -> UserKey {
    user("wx1", "o-anna")
}

#[test]
fn a_token_finds_the_session_it_was_issued_for() {
    let world = World::new();
    let identity = Identity { user: anna(), unionid: Some(UnionId::parse("u-anna").unwrap()) };
    let issued = at_once(world.sessions.issue(identity.clone(), SessionKey::new("key"))).unwrap();
    let other = world.login(&user("wx1", "o-bert"));

    let found = at_once(world.sessions.resolve(&issued.token)).unwrap().unwrap();
    assert_eq!(*found.identity(), identity);
    assert_eq!(found.expires_in(world.clock.now()), IDLE);
    assert_ne!(found.tag(), other.session.tag());
    assert_eq!(world.count(), 2);
    assert_eq!(world.counters.sessions_issued.get(), 2);
}

#[test]
fn a_token_that_we_did_not_give_out_opens_nothing() {
    let world = World::new();
    let made_up = SessionToken::mint(&SystemEntropy).unwrap();
    assert!(at_once(world.sessions.resolve(&made_up)).unwrap().is_none());
    world.login(&anna());
    assert!(at_once(world.sessions.resolve(&made_up)).unwrap().is_none(), "a login must not adopt it");
}

#[test]
fn a_session_ends_when_unused_and_stays_ended() {
    let world = World::new();
    let issued = world.login(&anna());
    world.clock.advance(99 * SECOND);
    assert!(world.finds(&issued), "used in the last second");
    world.clock.advance(IDLE);
    assert!(!world.finds(&issued));
    assert_eq!(world.count(), 0, "whoever finds it dead clears it away");
}

#[test]
fn use_keeps_a_session_only_until_its_lifetime_is_over() {
    let world = World::new();
    let issued = world.login(&anna());
    for _ in 0..5 {
        world.clock.advance(IDLE / 2);
        assert!(world.finds(&issued));
    }
    assert_eq!(issued.session.expires_in(world.clock.now()), IDLE / 2);
    world.clock.advance(IDLE / 2);
    assert!(!world.finds(&issued));
}

#[test]
fn a_revoked_session_is_dead_for_whoever_holds_it() {
    let world = World::new();
    let issued = world.login(&anna());
    let held = at_once(world.sessions.resolve(&issued.token)).unwrap().unwrap();
    world.revoke(&issued);
    assert!(!held.is_live(world.clock.now()));
    assert!(!world.finds(&issued));
    world.revoke(&issued);
    assert_eq!(world.counters.sessions_revoked.get(), 1, "the second time there was nothing to end");
}

#[test]
fn logging_out_everywhere_ends_what_this_user_has_in_this_app() {
    let world = World::new();
    let (phone, tablet) = (world.login(&anna()), world.login(&anna()));
    let same_app = world.login(&user("wx1", "o-bert"));
    // An openid means something within its app only: this is somebody else.
    let same_openid = world.login(&user("wx2", "o-anna"));

    assert_eq!(world.revoke_user(&anna()), 2);
    assert!(!world.finds(&phone) && !world.finds(&tablet));
    assert!(world.finds(&same_app) && world.finds(&same_openid));
    assert_eq!(world.revoke_user(&anna()), 0);
    assert_eq!(world.counters.sessions_revoked.get(), 2);
}

#[test]
fn a_login_after_logging_out_everywhere_is_not_touched() {
    let world = World::new();
    world.login(&anna());
    world.revoke_user(&anna());
    assert!(world.finds(&world.login(&anna())));
}

#[test]
fn the_newest_sessions_of_a_user_stay_even_if_all_began_in_one_moment() {
    let world = World::with(|section| section.per_user = 2);
    let logins: Vec<Issued> = (0..5).map(|_| world.login(&anna())).collect();
    let stranger = world.login(&user("wx2", "o-anna"));
    let found: Vec<bool> = logins.iter().map(|login| world.finds(login)).collect();
    assert_eq!(found, [false, false, false, true, true]);
    assert!(world.finds(&stranger));
    assert_eq!(world.counters.sessions_revoked.get(), 3);
    assert_eq!(world.count(), 3);
}

#[test]
fn a_session_that_ran_out_does_not_cost_a_live_one_its_place() {
    let world = World::with(|section| section.per_user = 2);
    let used = world.login(&anna());
    let unused = world.login(&anna());
    for _ in 0..2 {
        world.clock.advance(IDLE / 2);
        assert!(world.finds(&used));
    }
    let new = world.login(&anna());
    assert!(world.finds(&used) && world.finds(&new) && !world.finds(&unused));
    assert_eq!(world.counters.sessions_revoked.get(), 0, "nobody was logged out");
}

#[test]
fn the_session_key_of_the_newest_login_is_the_one_that_counts() {
    let world = World::new();
    assert_eq!(world.session_key(&anna()), None);
    let first = world.login_with_key(&anna(), "first");
    let second = world.login_with_key(&anna(), "second");
    world.login_with_key(&user("wx2", "o-anna"), "another app's");
    assert_eq!(world.session_key(&anna()).as_deref(), Some("second"));

    world.revoke(&second);
    assert_eq!(world.session_key(&anna()).as_deref(), Some("second"), "WeChat knows no older one any more");
    world.revoke(&first);
    assert_eq!(world.session_key(&anna()), None, "it goes with the last session");
}

#[test]
fn a_session_key_does_not_outlive_the_time_of_its_sessions() {
    let world = World::new();
    world.login(&anna());
    world.clock.advance(IDLE);
    assert_eq!(world.session_key(&anna()), None);
}

#[test]
fn without_room_the_session_unused_longest_goes_and_is_counted() {
    let world = World::with(|section| section.capacity = 10);
    let logins: Vec<Issued> = (0..10).map(|n| world.login(&user("wx1", &format!("o{n}")))).collect();
    world.sessions.near.cache.settle();
    assert!(world.finds(&logins[0]), "used just now, though the oldest");
    world.sessions.near.cache.settle();

    let newcomer = world.login(&user("wx1", "o-new"));
    world.sessions.near.cache.settle();
    assert!(world.finds(&newcomer) && world.finds(&logins[0]) && !world.finds(&logins[1]));
    assert!(!world.holds_live(&logins[1]), "evicted is ended, for a connection that holds it as well");
    assert_eq!(world.session_key(&user("wx1", "o1")), None);
    assert_eq!(world.count(), 10);
    assert_eq!(world.counters.sessions_evicted.get(), 1);
    assert_eq!(world.counters.sessions_revoked.get(), 0);
}

#[test]
fn a_session_that_ran_out_is_not_counted_as_evicted() {
    let world = World::with(|section| section.capacity = 10);
    (0..10).for_each(|_| drop(world.login(&anna())));
    world.clock.advance(IDLE);
    (0..10).for_each(|_| drop(world.login(&anna())));
    world.sessions.near.cache.settle();
    assert_eq!(world.count(), 10);
    assert_eq!(world.counters.sessions_evicted.get(), 0);
}

#[test]
fn evictions_are_told_once_and_then_once_a_minute() {
    let world = World::with(|section| section.capacity = 1);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let warnings = || String::from_utf8_lossy(&log.0.lock().unwrap()).matches("sessions.capacity").count();
    tracing::subscriber::with_default(subscriber, || {
        let crowd = || {
            (0..20).for_each(|_| drop(world.login(&anna())));
            world.sessions.near.cache.settle();
        };
        crowd();
        assert_eq!(warnings(), 1);
        world.clock.advance(59 * SECOND);
        crowd();
        assert_eq!(warnings(), 1, "{} were evicted", world.counters.sessions_evicted.get());
        world.clock.advance(SECOND);
        crowd();
        assert_eq!(warnings(), 2);
    });
}

#[test]
fn nothing_of_a_session_prints_a_secret() {
    let world = World::new();
    let issued = world.login_with_key(&anna(), "tiihtNczf5v6AKRyjwEUhQ==");
    let printed = format!("{issued:?} {:?} {:?}", issued.session, world.sessions);
    for secret in [issued.token.expose(), "tiihtNczf5v6AKRyjwEUhQ", "o-anna"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn logins_and_log_outs_everywhere_that_meet_leave_no_session_behind() {
    let world = World::with(|section| section.per_user = 3);
    for round in 0..500 {
        let issued = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let login = world.login(&anna());
                        world.finds(&login);
                        issued.lock().unwrap().push(login);
                    }
                });
            }
            scope.spawn(|| (0..5).map(|_| world.revoke_user(&anna())).sum::<usize>());
        });
        let issued = issued.into_inner().unwrap();
        let live = issued.iter().filter(|login| world.holds_live(login)).count();
        assert!(live <= 3, "round {round}: per_user is 3, and {live} are live");
        assert_eq!(world.count(), live as u64, "round {round}");
        assert_eq!(world.sessions.near.cache.settle(), live as u64, "round {round}: the cache keeps no dead ones");
        assert_eq!(world.revoke_user(&anna()), live, "round {round}: each live session is found by its user");
        assert!(!issued.iter().any(|login| world.finds(login)), "round {round}");
        assert_eq!(world.count(), 0, "round {round}");
    }
}

#[test]
fn evictions_meet_logins_and_log_outs_without_a_deadlock() {
    // moka calls its listener, which takes the index lock, on whichever of these threads it is; the test hangs if
    // any of them holds that lock while it calls moka.
    let world = World::with(|section| section.capacity = 8);
    let users: Vec<UserKey> = (0..6).map(|n| user("wx1", &format!("o{n}"))).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (world, users) = (&world, &users);
            scope.spawn(move || {
                for n in 0..3_000 {
                    let whose = &users[(n * 7 + thread) % users.len()];
                    let login = world.login(whose);
                    world.finds(&login);
                    match n % 5 {
                        0 => drop(world.revoke_user(whose)),
                        1 => world.revoke(&login),
                        _ => {}
                    }
                }
            });
        }
    });
    world.sessions.near.cache.settle();
    assert!(world.count() <= 8, "{} sessions are left", world.count());
    let ended = world.counters.sessions_evicted.get() + world.counters.sessions_revoked.get();
    assert_eq!(ended + world.count(), 12_000, "each session is live or was counted once when it ended");
}
