//! One suite that every store passes: what `store/mod.rs` promises, told as stories, as races, and as any run of steps.
//!
//! A store is put under test with an [`UnderTest`] of its own and one line, `every_promise!(ItsUnderTest);`, in a module
//! named for it. A store that needs something special to be true is wrong, not special.

mod memory;
mod model;
mod outbox;
mod profiles;
mod races;
mod redis;
mod session_keys;
mod sqlite;
mod stories;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use wxgate::{
    model::{AppId, Identity, OpenId, Session, SessionKey, Terms, Timestamp, TokenDigest, UserKey, UserTag},
    store::{Claim, Claimed, Fate, Notice, Posting, ProfileRecord, Removed, Room, Store, Written},
};

/// Notices of one user that the suite has room for.
pub const PER_USER: usize = 3;
/// How long a claim lasts that is not to run out.
pub const LASTS: Duration = Duration::from_hours(10);
pub const SECOND: Duration = Duration::from_secs(1);
pub const IDLE: Duration = Duration::from_secs(100);
/// A second before a session that is never used runs out.
pub const IDLE_BUT_A_SECOND: Duration = Duration::from_secs(99);
pub const LIFETIME: Duration = Duration::from_mins(5);

/// Makes stores of one kind for the suite. Everything is called on a runtime with several threads.
pub trait UnderTest: Sized + 'static {
    /// A store with nothing in it, that no other test knows of.
    fn fresh() -> impl Future<Output = Self>;

    /// The store, as the gateway would use it.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again, as a restart of the process does. False where nothing outlives the process.
    fn reopen(&mut self) -> impl Future<Output = bool>;

    /// The time is `now`. For a store that clears away by a clock of its own, which a test can't move.
    fn clock_moved(&self, _now: Timestamp) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// Puts the store that `$under_test` makes to every test of the suite.
macro_rules! every_promise {
    ($under_test:ty) => {
        $crate::stores::every_promise! { $under_test;
            stories {
                a_session_is_found_as_it_began
                what_never_was_is_not_found
                what_was_ended_is_not_found_and_ends_once
                only_its_own_user_can_name_it
                a_session_is_over_when_unused_for_its_idle_time
                a_session_is_over_after_its_lifetime_however_used
                sessions_of_one_user_end_each_at_the_time_that_it_began_with
                a_shorter_session_takes_nothing_of_a_longer_one_along
                use_is_written_forward_only
                a_use_written_down_late_revives_nothing
                a_use_in_time_counts_though_the_one_before_was_never_written_down
                a_login_told_twice_is_one_session
                logging_out_everywhere_takes_what_has_begun_and_nothing_else
                a_users_sessions_are_told_oldest_first
                the_newest_sessions_of_a_user_stay
                sessions_that_ran_out_cost_no_live_one_its_place
                the_newest_session_key_counts_and_goes_with_the_last_session
                a_session_key_runs_out_with_its_sessions
                the_most_recently_used_are_told_first_wanted
                sessions_are_counted_and_what_ran_out_is_swept
                many_touches_in_one_call_are_all_written
                it_says_that_it_can_take_a_login
                odd_names_and_keys_come_back_as_they_were
                a_restart_forgets_nothing_and_revives_nothing
            }
            races {
                of_many_who_end_a_session_one_did
                a_login_that_meets_a_log_out_everywhere_is_before_it_or_after
                logins_that_meet_leave_no_more_than_may_stay
                uses_and_look_ups_that_meet_an_end_bring_nothing_back
                the_key_that_stays_is_the_newest_sessions
            }
            session_keys {
                a_key_gives_way_to_another_for_all_of_its_users_sessions
                a_key_that_is_not_there_any_more_is_not_replaced
                a_key_without_a_live_session_is_not_replaced
                of_many_who_replace_one_key_one_does
                a_login_that_meets_a_replacement_keeps_its_own_key
            }
            profiles {
                a_profile_is_what_was_put_last
                only_the_version_that_was_read_is_replaced
                a_profile_is_one_users_in_one_app
                a_profile_outlives_every_session_of_its_user
                a_profile_that_is_forgotten_is_gone_and_may_come_again
                a_profile_may_be_long_and_hold_any_bytes
                a_restart_forgets_no_profile
                of_many_changes_of_one_version_one_is_made
                a_change_that_meets_a_removal_is_before_it_or_not_made
            }
            outbox {
                a_notice_is_there_where_its_change_is
                one_users_are_told_one_after_the_other_and_hold_up_nobody
                what_is_to_be_tried_again_waits_and_counts
                a_claim_of_which_nothing_is_heard_goes_to_another
                where_there_is_no_room_the_oldest_but_one_gives_way
                where_there_is_no_room_at_all_a_change_is_made_and_told_to_nobody
                where_there_is_room_for_one_it_is_the_newest_that_is_told
                what_is_under_way_has_the_newest_behind_it_whatever_the_room
                what_supersedes_leaves_of_the_earlier_only_what_is_under_way
                a_claim_that_runs_out_under_what_is_superseded_says_so
                what_is_due_too_far_ahead_is_due_for_the_clock_was_moved_back
                a_restart_forgets_no_notice
                of_many_who_claim_one_has_it
            }
        }

        #[test]
        fn any_run_of_steps_ends_as_the_plain_model_says() {
            $crate::stores::model::any_run_of_steps::<$under_test>();
        }
    };
    (
        $under_test:ty;
        stories { $($story:ident)+ }
        races { $($race:ident)+ }
        session_keys { $($key:ident)+ }
        profiles { $($profile:ident)+ }
        outbox { $($notice:ident)+ }
    ) => {
        $(
            #[test]
            fn $notice() {
                $crate::stores::play::<$under_test>(async |world| $crate::stores::outbox::$notice(world).await);
            }
        )+
        $(
            #[test]
            fn $story() {
                $crate::stores::play::<$under_test>(async |world| $crate::stores::stories::$story(world).await);
            }
        )+
        $(
            #[test]
            fn $race() {
                $crate::stores::play::<$under_test>(async |world| $crate::stores::races::$race(world).await);
            }
        )+
        $(
            #[test]
            fn $key() {
                $crate::stores::play::<$under_test>(async |world| $crate::stores::session_keys::$key(world).await);
            }
        )+
        $(
            #[test]
            fn $profile() {
                $crate::stores::play::<$under_test>(async |world| $crate::stores::profiles::$profile(world).await);
            }
        )+
    };
}
pub(crate) use every_promise;

/// Plays a story on a new store.
pub fn play<S: UnderTest>(story: impl AsyncFnOnce(&mut World<S>)) {
    runtime().block_on(async { story(&mut World::<S>::new().await).await });
}

/// Two threads, so that races are races.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A store, the time, and whatever makes sessions unlike each other.
pub struct World<S> {
    under_test: S,
    now: AtomicU64,
    begun: AtomicU32,
}

impl<S: UnderTest> World<S> {
    pub async fn new() -> Self {
        let now = AtomicU64::new(1_790_000_000_000);
        Self { under_test: S::fresh().await, now, begun: AtomicU32::new(0) }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        self.under_test.store()
    }

    pub async fn reopen(&mut self) -> bool {
        self.under_test.reopen().await
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    pub fn later(&self, by: Duration) {
        self.now.fetch_add(u64::try_from(by.as_millis()).expect("a short time"), Ordering::SeqCst);
    }

    /// A session that begins now and is not yet in the store.
    pub fn session(&self, user: &UserKey) -> Arc<Session> {
        self.session_with(Identity { user: user.clone(), unionid: None }, Terms { idle: IDLE, lifetime: LIFETIME })
    }

    pub fn session_with(&self, identity: Identity, terms: Terms) -> Arc<Session> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        let digest = digest(&*self.store(), &identity.user, number);
        Arc::new(Session::begin(identity, digest, UserTag::new(u64::from(number).to_be_bytes()), terms, self.now()))
    }

    /// A session in the store, with a key named after it and no limit to its user's sessions.
    pub async fn login(&self, user: &UserKey) -> Arc<Session> {
        self.login_with(user, "key", 0).await.0
    }

    pub async fn login_with(&self, user: &UserKey, key: &str, per_user: usize) -> (Arc<Session>, Vec<TokenDigest>) {
        self.login_for(Terms { idle: IDLE, lifetime: LIFETIME }, user, key, per_user).await
    }

    pub async fn login_for(
        &self,
        terms: Terms,
        user: &UserKey,
        key: &str,
        per_user: usize,
    ) -> (Arc<Session>, Vec<TokenDigest>) {
        let session = self.session_with(Identity { user: user.clone(), unionid: None }, terms);
        let displaced = self.store().begin(&session, &SessionKey::new(key), per_user, self.now()).await;
        (session, displaced.expect("a login"))
    }

    /// Whether the store finds it, and finds it to be what it is.
    pub async fn finds(&self, session: &Session) -> bool {
        let found = self.store().load(session.digest(), self.now()).await.expect("an answer");
        if let Some(found) = &found {
            assert_eq!(found.digest(), session.digest());
            assert_eq!(found.identity(), session.identity());
            assert_eq!(found.tag(), session.tag());
            assert_eq!(found.created_at(), session.created_at());
            assert_eq!((found.idle(), found.lifetime()), (session.idle(), session.lifetime()));
            assert!(found.is_live(self.now()), "what is found is live");
        }
        found.is_some()
    }

    pub async fn end(&self, session: &Session) -> bool {
        let user = &session.identity().user;
        self.store().end(user, session.digest(), self.now()).await.expect("an answer")
    }

    pub async fn end_user(&self, user: &UserKey) -> Vec<TokenDigest> {
        self.store().end_user(user, self.now()).await.expect("an answer")
    }

    pub async fn sessions_of(&self, user: &UserKey) -> Vec<Arc<Session>> {
        let mut told = self.store().sessions_of(user, self.now()).await.expect("an answer");
        // Those that have just run out may be among them.
        told.retain(|session| session.is_live(self.now()));
        told
    }

    pub async fn session_key(&self, user: &UserKey) -> Option<String> {
        let key = self.store().session_key(user, self.now()).await.expect("an answer");
        key.map(|key| key.expose().to_owned())
    }

    pub async fn profile(&self, user: &UserKey) -> Option<ProfileRecord> {
        self.store().profile(user).await.expect("an answer")
    }

    /// Puts a profile of this version, which says so, in the place of another.
    pub async fn put_profile(&self, user: &UserKey, before: Option<u64>, version: u64) -> bool {
        self.store().put_profile(user, before, &profile(version), None).await.expect("an answer").is_made()
    }

    pub async fn forget_profile(&self, user: &UserKey) -> bool {
        self.store().forget_profile(user, None).await.expect("an answer").is_some()
    }

    /// The same, of which this is to be told.
    pub async fn put_telling(&self, user: &UserKey, before: Option<u64>, version: u64, notice: u8) -> Written {
        let posting = posting(self.now(), notice);
        self.store().put_profile(user, before, &profile(version), Some(&posting)).await.expect("an answer")
    }

    pub async fn forget_telling(&self, user: &UserKey, notice: u8) -> Option<Removed> {
        let posting = posting(self.now(), notice);
        self.store().forget_profile(user, Some(&posting)).await.expect("an answer")
    }

    /// Takes all that is due.
    pub async fn claimed(&self, lasts: Duration) -> Vec<Claimed> {
        self.store().claim_notices(Claim { by: [7; 16], lasts }, self.now(), 1000).await.expect("an answer")
    }

    pub async fn claim(&self) -> Vec<(UserKey, u8)> {
        let claimed = self.claimed(LASTS).await;
        claimed.into_iter().map(|one| (one.user.clone(), outbox::number(&one))).collect()
    }

    /// Says what became of one that [`claim`](Self::claim) has taken.
    pub async fn settle(&self, user: &UserKey, fate: Fate) -> bool {
        self.store().settle_notice(user, [7; 16], fate, self.now()).await.expect("an answer")
    }

    pub async fn touch(&self, session: &Session, at: Timestamp) {
        let user = session.identity().user.clone();
        let seen = wxgate::store::Seen { user, digest: *session.digest(), at };
        self.store().touch(vec![seen]).await.expect("written");
    }

    pub async fn count(&self) -> u64 {
        self.store().count().await.expect("an answer")
    }

    /// Sweeps until there is nothing left to sweep. Twice, since the first round may have begun in the middle.
    pub async fn sweep(&self) {
        self.under_test.clock_moved(self.now()).await;
        for _ in 0..2 {
            while self.store().sweep(self.now()).await.expect("swept") {}
        }
    }
}

/// A digest like no other, in the place where the store wants those of this user.
fn digest(store: &dyn Store, user: &UserKey, number: u32) -> TokenDigest {
    let [a, b, c, d] = number.to_le_bytes();
    let mut bytes = [a; 32];
    bytes[0] = store.shard_of(user).unwrap_or(a);
    bytes[1..5].copy_from_slice(&[a, b, c, d]);
    TokenDigest::new(bytes)
}

pub fn user(app: &str, openid: &str) -> UserKey {
    UserKey { app: AppId::parse(app).expect("an AppID"), openid: OpenId::parse(openid).expect("an openid") }
}

/// The profile of this version, like no other.
pub fn profile(version: u64) -> ProfileRecord {
    ProfileRecord { version, bytes: format!("profile {version}").into_bytes() }
}

/// A notice made of this number, and no other.
pub fn posting(made: Timestamp, number: u8) -> Posting {
    let notice = Notice { id: [number; 16], made, bytes: vec![number] };
    Posting { notice, room: Room { per_user: PER_USER, in_all: 1_000_000 }, supersedes: false }
}

pub fn anna() -> UserKey {
    user("wx1", "o-anna")
}

pub fn bert() -> UserKey {
    user("wx1", "o-bert")
}

/// The digests of these sessions, in an order that says nothing.
pub fn digests<'a>(sessions: impl IntoIterator<Item = &'a Arc<Session>>) -> Vec<[u8; 32]> {
    sorted(&sessions.into_iter().map(|session| *session.digest()).collect::<Vec<_>>())
}

pub fn sorted(digests: &[TokenDigest]) -> Vec<[u8; 32]> {
    let mut bytes: Vec<[u8; 32]> = digests.iter().map(|digest| *digest.as_bytes()).collect();
    bytes.sort_unstable();
    bytes
}
