//! Any run of logins, uses and log-outs, beside a model of it that is as plain as can be.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Login(usize),
    Use(usize),
    LogOut(usize),
    LogOutEverywhere(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4usize).prop_map(Step::Login),
        4 => (0..32usize).prop_map(Step::Use),
        1 => (0..32usize).prop_map(Step::LogOut),
        1 => (0..4usize).prop_map(Step::LogOutEverywhere),
        3 => (1..80u64).prop_map(Step::Wait),
    ]
}

/// What a session is, said as plainly as possible.
struct Plain {
    issued: Issued,
    whose: usize,
    created: u64,
    seen: u64,
    ended: bool,
}

impl Plain {
    fn live(&self, now: u64) -> bool {
        !self.ended && now - self.seen < IDLE.as_secs() && now - self.created < LIFETIME.as_secs()
    }
}

fn end_all_but(plain: &mut [Plain], whose: usize, stay: usize, now: u64) -> usize {
    let live = plain.iter_mut().filter(|p| p.whose == whose && p.live(now));
    live.rev().skip(stay).map(|p| p.ended = true).count()
}

proptest! {
    #[test]
    fn any_run_of_steps_ends_as_the_plain_model_says(
        per_user in 0..3usize,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let (world, recent) = (World::with(|section| section.per_user = per_user), Recent::default());
        let users = [user("wx1", "o1"), user("wx1", "o2"), user("wx2", "o1"), user("wx2", "o2")];
        let (mut plain, mut now, mut revoked) = (Vec::<Plain>::new(), 0, 0);
        for step in steps {
            let count = plain.len().max(1);
            match step {
                Step::Login(whose) => {
                    let issued = world.login_with_key(&users[whose], &plain.len().to_string());
                    plain.push(Plain { issued, whose, created: now, seen: now, ended: false });
                    let stay = if per_user == 0 { usize::MAX } else { per_user };
                    revoked += end_all_but(&mut plain, whose, stay, now);
                }
                Step::Use(n) => if let Some(p) = plain.get_mut(n % count) {
                    prop_assert_eq!(world.at_hand(&p.issued, &recent), p.live(now));
                    prop_assert_eq!(world.finds(&p.issued), p.live(now));
                    if p.live(now) { p.seen = now; }
                },
                Step::LogOut(n) => if let Some(p) = plain.get_mut(n % count) {
                    world.revoke(&p.issued);
                    revoked += usize::from(p.live(now));
                    p.ended = true;
                },
                Step::LogOutEverywhere(whose) => {
                    let ended = end_all_but(&mut plain, whose, 0, now);
                    prop_assert_eq!(world.revoke_user(&users[whose]), ended);
                    revoked += ended;
                }
                Step::Wait(secs) => {
                    world.clock.advance(SECOND * u32::try_from(secs).unwrap());
                    now += secs;
                }
            }
            for p in &plain {
                prop_assert_eq!(world.holds_live(&p.issued), p.live(now));
            }
            for (whose, user) in users.iter().enumerate() {
                let live = plain.iter().any(|p| p.whose == whose && p.live(now));
                let newest = plain.iter().rposition(|p| p.whose == whose).filter(|_| live);
                prop_assert_eq!(world.session_key(user), newest.map(|n| n.to_string()));
            }
        }
        prop_assert_eq!(world.counters.sessions_revoked.get(), revoked as u64);
    }
}
