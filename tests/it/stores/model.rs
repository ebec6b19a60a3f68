//! Any run of steps on a store ends as a plain model of it says, with the time moved by hand.

use std::{collections::HashMap, sync::Arc};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use wxgate::{
    model::{Session, SessionKey, Terms, Timestamp, TokenDigest, UserKey},
    store::{Fate, Posting, Removed, Room, Written},
};

use super::{IDLE, LIFETIME, PER_USER, SECOND, UnderTest, World, digests, posting, profile, runtime, user};

#[derive(Clone, Debug)]
enum Step {
    /// Whose, and for how long.
    Login(usize, u32),
    LookUp(usize),
    /// A session that the cache found live was used so many seconds ago.
    Use(usize, u64),
    /// Puts another in the place of the key that the user has, or of one that was.
    ReplaceKey(usize, bool),
    LogOut(usize),
    LogOutEverywhere(usize),
    /// In the place of the one that is there, or of another; and whether there is room for notices.
    PutProfile(usize, bool, bool),
    /// Whose, and whether there is room.
    ForgetProfile(usize, bool),
    /// Takes what waits to be told, and says nothing of it yet.
    Claim,
    /// Takes the rest. So many of all that is taken are told, the others are to be tried again.
    Tell(usize),
    Wait(u64),
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => ((0..4usize), (1..4u32)).prop_map(|(whose, times)| Step::Login(whose, times)),
        2 => (0..32usize).prop_map(Step::LookUp),
        5 => ((0..32usize), (0..20u64)).prop_map(|(which, ago)| Step::Use(which, ago)),
        2 => ((0..4usize), prop::bool::weighted(0.7)).prop_map(|(whose, fits)| Step::ReplaceKey(whose, fits)),
        2 => (0..32usize).prop_map(Step::LogOut),
        1 => (0..4usize).prop_map(Step::LogOutEverywhere),
        4 => ((0..4usize), prop::bool::weighted(0.8), prop::bool::weighted(0.7))
            .prop_map(|(whose, fits, has_room)| Step::PutProfile(whose, fits, has_room)),
        1 => ((0..4usize), prop::bool::weighted(0.7)).prop_map(|(whose, has_room)| Step::ForgetProfile(whose, has_room)),
        1 => Just(Step::Claim),
        2 => (0..5usize).prop_map(Step::Tell),
        4 => (1..70u64).prop_map(Step::Wait),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

/// What a session is, said as plainly as possible.
struct Plain {
    session: Arc<Session>,
    whose: usize,
    seen: Timestamp,
    ended: bool,
}

impl Plain {
    fn live(&self, now: Timestamp) -> bool {
        let unused = now.since(self.seen) < self.session.idle();
        !self.ended && unused && now.since(self.session.created_at()) < self.session.lifetime()
    }
}

/// All that was ever begun, oldest first, and the number of each user's newest login.
#[derive(Default)]
struct Model {
    all: Vec<Plain>,
    /// What has taken the place of a login's key.
    replaced: HashMap<usize, String>,
    /// The version of each user's profile, and of the last that was put anywhere.
    profiles: [Option<u64>; 4],
    puts: u64,
    /// What waits to be told of each user, by number, and the last number there was.
    told: [Vec<u8>; 4],
    notices: u8,
    /// Whose first is claimed.
    claimed: [bool; 4],
    /// Whether what is claimed is to be tried no more.
    superseded: [bool; 4],
}

impl Model {
    fn live_of(&self, whose: usize, now: Timestamp) -> Vec<&Arc<Session>> {
        self.all.iter().filter(|p| p.whose == whose && p.live(now)).map(|p| &p.session).collect()
    }

    /// Ends all live sessions of a user but the newest `stay`, and says which.
    fn end_all_but(&mut self, whose: usize, stay: usize, now: Timestamp) -> Vec<[u8; 32]> {
        let live = self.all.iter_mut().filter(|p| p.whose == whose && p.live(now));
        let mut ended: Vec<[u8; 32]> = Vec::new();
        for p in live.rev().skip(stay) {
            p.ended = true;
            ended.push(*p.session.digest().as_bytes());
        }
        ended.sort_unstable();
        ended
    }

    /// What was ended is told, and besides only what this user once had and what is over.
    fn told_of(&self, whose: usize, told: &[TokenDigest], ended: &[[u8; 32]], now: Timestamp) {
        assert!(ended.iter().all(|one| told.iter().any(|told| told.as_bytes() == one)), "not all that ended was told");
        let over =
            |one: &TokenDigest| self.all.iter().any(|p| p.whose == whose && !p.live(now) && p.session.digest() == one);
        assert!(told.iter().all(over), "more was told than is over");
    }

    /// How many sessions there are at least, and at most.
    fn counts(&self, now: Timestamp) -> (u64, u64) {
        let count = |held: &dyn Fn(&Plain) -> bool| self.all.iter().filter(|p| held(p)).count() as u64;
        (count(&|p| p.live(now)), count(&|p| !p.ended))
    }

    /// What becomes of a change of which something is to be told. A removal supersedes what waits.
    fn written(&mut self, whose: usize, made: bool, removal: bool, has_room: bool) -> Written {
        if !made {
            return Written::No;
        }
        self.notices += 1;
        let (queue, held) = (&mut self.told[whose], usize::from(self.claimed[whose]));
        let is_full = !has_room || queue.len() >= PER_USER;
        let gave_way = match queue.len() {
            0 if !has_room => return Written::Crowded,
            _ if removal => {
                queue.truncate(held);
                self.superseded[whose] = held == 1;
                false
            }
            _ if !is_full => false,
            // The newest is what counts, and only what may be under way is worth as much.
            1 => queue.pop_if(|_| held == 0).is_some(),
            _ => {
                queue.remove(1);
                true
            }
        };
        queue.push(self.notices);
        if gave_way { Written::Crowded } else { Written::Yes }
    }

    /// The first of each user is given out if nobody has it, in the order of that user's, and nothing else.
    async fn claim<S: UnderTest>(&mut self, world: &World<S>) {
        let mut claimed = world.claim().await;
        claimed.sort_by_key(|(user, _)| users().iter().position(|known| known == user));
        let free = users().into_iter().zip(&self.told).zip(self.claimed).filter(|(_, held)| !held);
        let firsts: Vec<_> = free.filter_map(|((user, queue), _)| Some((user, *queue.first()?))).collect();
        assert_eq!(claimed, firsts);
        self.claimed = self.told.each_ref().map(|queue| !queue.is_empty());
    }

    /// So many of all that is claimed are told, the others are to be tried again.
    async fn settle<S: UnderTest>(&mut self, world: &World<S>, most: usize) {
        let claimed = (0..4).filter(|whose| self.claimed[*whose]).collect::<Vec<_>>();
        for (at, whose) in claimed.into_iter().enumerate() {
            let fate = if at < most { Fate::Over } else { Fate::Again(world.now()) };
            let user = &users()[whose];
            assert!(world.settle(user, fate).await);
            assert!(!world.settle(user, fate).await, "a claim is settled once");
            self.claimed[whose] = false;
            if std::mem::take(&mut self.superseded[whose]) || at < most {
                self.told[whose].remove(0);
            }
        }
    }

    fn key_of(&self, whose: usize, now: Timestamp) -> Option<String> {
        let newest = self.all.iter().rposition(|p| p.whose == whose)?;
        let key = || self.replaced.get(&newest).cloned().unwrap_or_else(|| key_of_login(newest));
        (!self.live_of(whose, now).is_empty()).then(key)
    }
}

fn key_of_login(number: usize) -> String {
    format!("key {number}")
}

/// Where there is no room, there is none in any part of a store that is kept in parts.
fn within(has_room: bool, posting: Posting) -> Posting {
    let in_all = if has_room { posting.room.in_all } else { 0 };
    Posting { room: Room { in_all, ..posting.room }, ..posting }
}

fn users() -> [UserKey; 4] {
    [user("wx1", "o1"), user("wx1", "o2"), user("wx2", "o1"), user("wx2", "o2")]
}

pub fn any_run_of_steps<S: UnderTest>() {
    let runtime = runtime();
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let runs = (0..3usize, proptest::collection::vec(step(), 1..60));
    let outcome = runner.run(&runs, |(per_user, steps)| {
        runtime.block_on(async {
            let (mut world, mut model) = (World::<S>::new().await, Model::default());
            for step in steps {
                take(&mut world, &mut model, per_user, &step).await;
                agree(&world, &model).await;
            }
        });
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

async fn take<S: UnderTest>(world: &mut World<S>, model: &mut Model, per_user: usize, step: &Step) {
    let (now, count) = (world.now(), model.all.len().max(1));
    match *step {
        Step::Login(whose, times) => {
            let key = key_of_login(model.all.len());
            // A third of the usual time, two, or all of it.
            let terms = Terms { idle: IDLE * times / 3, lifetime: LIFETIME * times / 3 };
            let (session, displaced) = world.login_for(terms, &users()[whose], &key, per_user).await;
            model.all.push(Plain { session, whose, seen: now, ended: false });
            let stay = if per_user == 0 { usize::MAX } else { per_user };
            let ended = model.end_all_but(whose, stay, now);
            model.told_of(whose, &displaced, &ended, now);
        }
        Step::LookUp(which) => {
            if let Some(p) = model.all.get(which % count) {
                assert_eq!(world.finds(&p.session).await, p.live(now));
            }
        }
        Step::Use(which, ago) => {
            let at = Timestamp::from_millis(now.as_millis() - ago * 1000);
            // Who was never told of the end may still write down a use; who has run out by our own clock is not used.
            if let Some(p) = model.all.get_mut(which % count)
                && (p.ended || p.live(now))
                && at >= p.session.created_at()
            {
                world.touch(&p.session, at).await;
                p.seen = p.seen.max(at);
            }
        }
        Step::ReplaceKey(whose, fits) => replace_key(world, model, whose, fits).await,
        Step::LogOut(which) => {
            if let Some(p) = model.all.get_mut(which % count) {
                assert_eq!(world.end(&p.session).await, p.live(now));
                p.ended = true;
            }
        }
        Step::LogOutEverywhere(whose) => {
            let told = world.end_user(&users()[whose]).await;
            let ended = model.end_all_but(whose, 0, now);
            model.told_of(whose, &told, &ended, now);
        }
        Step::PutProfile(whose, fits, has_room) => {
            model.puts += 1;
            let held = model.profiles[whose];
            let before = if fits { held } else { Some(held.map_or(model.puts, |held| held + 1)) };
            let posting = within(has_room, posting(now, model.notices + 1));
            let put = world.store().put_profile(&users()[whose], before, &profile(model.puts), Some(&posting)).await;
            assert_eq!(put.expect("an answer"), model.written(whose, fits, false, has_room));
            if fits {
                model.profiles[whose] = Some(model.puts);
            }
        }
        Step::ForgetProfile(whose, has_room) => {
            let held = model.profiles[whose].take();
            let posting = Posting { supersedes: true, ..within(has_room, posting(now, model.notices + 1)) };
            let removed = world.store().forget_profile(&users()[whose], Some(&posting)).await.expect("an answer");
            let crowded = model.written(whose, held.is_some(), true, has_room) == Written::Crowded;
            assert_eq!(removed, held.map(|held| Removed { profile: profile(held), crowded }));
        }
        Step::Claim => model.claim(world).await,
        Step::Tell(most) => {
            model.claim(world).await;
            model.settle(world, most).await;
        }
        Step::Wait(secs) => world.later(SECOND * u32::try_from(secs).expect("a short time")),
        Step::Sweep => {
            world.sweep().await;
            let (live, there) = model.counts(now);
            let count = world.count().await;
            assert!((live..=there).contains(&count), "{count} counted, {live} live, {there} that may be there");
        }
        Step::Restart => {
            // What whoever goes has claimed and not settled may be anybody's at once, or later.
            model.settle(world, 0).await;
            world.reopen().await;
        }
    }
}

async fn replace_key<S: UnderTest>(world: &World<S>, model: &mut Model, whose: usize, fits: bool) {
    let kept = model.key_of(whose, world.now());
    let old = kept.clone().filter(|_| fits).unwrap_or_else(|| "a key that was".to_owned());
    let new = format!("in the place of {old}");
    let (old, put) = (SessionKey::new(old), SessionKey::new(new.clone()));
    let replaced = world.store().replace_session_key(&users()[whose], &old, &put, world.now()).await;
    assert_eq!(replaced.expect("an answer"), fits && kept.is_some());
    if let Some(newest) = model.all.iter().rposition(|p| p.whose == whose).filter(|_| fits && kept.is_some()) {
        model.replaced.insert(newest, new);
    }
}

/// Whoever asks the store anything hears what the model says.
async fn agree<S: UnderTest>(world: &World<S>, model: &Model) {
    let now = world.now();
    for (whose, user) in users().iter().enumerate() {
        let live = model.live_of(whose, now);
        let told = world.sessions_of(user).await;
        let in_order = told.iter().map(|s| s.digest()).eq(live.iter().map(|s| s.digest()));
        assert!(in_order, "the sessions of user {whose}: {} told, {} live", told.len(), live.len());
        assert_eq!(world.profile(user).await, model.profiles[whose].map(profile), "the profile of user {whose}");
        assert_eq!(world.session_key(user).await, model.key_of(whose, now), "the key of user {whose}");
        for told in &told {
            let plain = model.all.iter().find(|p| p.session.digest() == told.digest());
            assert_eq!(Some(told.last_seen()), plain.map(|p| p.seen));
        }
    }
    let waiting = world.store().waiting_notices().await.expect("an answer");
    assert_eq!(waiting.notices, model.told.iter().map(Vec::len).sum::<usize>() as u64);
    let recent = world.store().recent(1_000, now).await.expect("an answer");
    assert_eq!(digests(&recent), digests(model.all.iter().filter(|p| p.live(now)).map(|p| &p.session)));
}
