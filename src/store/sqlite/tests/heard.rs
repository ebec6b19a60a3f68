//! Memory hears of ends of which nobody else tells it, and of nothing else.

use super::{super::trouble::PATIENCE, *};

/// What memory was told.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<TokenDigest>>);

impl Heard {
    fn by(world: &World) -> Arc<Self> {
        let heard = Arc::<Self>::default();
        world.store.follow(Arc::clone(&heard) as _);
        heard
    }

    fn all(&self) -> Vec<TokenDigest> {
        self.0.lock().unwrap().clone()
    }
}

impl Watcher for Heard {
    fn changed(&self, digest: &TokenDigest) {
        self.0.lock().unwrap().push(*digest);
    }

    fn all_changed(&self) {
        unreachable!("it is known which");
    }

    fn link_lost(&self) {
        unreachable!("a file has no link");
    }

    fn link_restored(&self) {
        unreachable!("a file has no link");
    }
}

/// Whoever loses patience with a login or a log-out tells memory of no end. It happened all the same, and a session that had
/// ended went on in memory for as long as it lived.
#[test]
fn memory_hears_of_what_ends_after_who_asked_has_lost_patience() {
    let mut world = World::new();
    let (heard, key) = (Heard::by(&world), key());
    let [first, second, third] = [0, 1, 2].map(|login| login_of("oAnna", login));
    let user = first.identity().user.clone();
    world.login(&first).unwrap();
    for which in ["begin", "end", "end_user"] {
        let release = world.hold_up();
        world.store.writer.patience = Duration::from_millis(1);
        let (before, store) = (heard.all(), &world.store);
        let fails = match which {
            "begin" => is_unavailable(&world.runtime.block_on(store.begin(&second, &key, 1, NOW))),
            "end" => is_unavailable(&world.runtime.block_on(store.end(&user, second.digest(), NOW))),
            _ => is_unavailable(&world.runtime.block_on(store.end_user(&user, NOW))),
        };
        assert!(fails && heard.all() == before, "{which} waits");
        drop(release);
        world.store.writer.patience = PATIENCE;
        let ended = if which == "begin" {
            &first
        } else if which == "end" {
            &second
        } else {
            &third
        };
        until(|| (heard.all().len() > before.len()).then_some(()));
        assert_eq!(heard.all(), [before, vec![*ended.digest()]].concat(), "{which} and no other");
        if which == "end" {
            world.login(&third).unwrap();
        }
    }
}

#[test]
fn memory_hears_nothing_of_what_was_answered_in_time_or_ends_no_session() {
    let mut world = World::new();
    let (heard, one, other) = (Heard::by(&world), session(0), session(1));
    world.login(&one).unwrap();
    world.runtime.block_on(world.store.end_user(&one.identity().user, NOW)).unwrap();
    let release = world.hold_up();
    world.store.writer.patience = Duration::from_millis(1);
    assert!(is_unavailable(&world.login(&other)));
    drop(release);
    world.store.writer.patience = PATIENCE;
    world.runtime.block_on(world.store.check()).unwrap();
    assert!(world.finds(&other) && heard.all().is_empty());
}

/// What could not be brought to the disk may be there when the file is opened anew.
#[test]
fn memory_hears_of_ends_that_seemed_to_fail_when_the_file_was_opened_anew() {
    let world = World::new();
    let (heard, ended, other) = (Heard::by(&world), session(0), session(1));
    world.login(&ended).unwrap();
    let release = world.hold_up();
    let mut end = world.store.end(&ended.identity().user, ended.digest(), NOW);
    let broken = || Error::Unavailable(Arc::new(io::Error::other("a disk that breaks")));
    let mut breaks = Box::pin(world.store.writer.change(1, move |_| Err::<(), _>(broken())));
    assert!(is_waiting(&world.runtime, &mut end) && is_waiting(&world.runtime, &mut breaks));
    drop(release);
    assert!(is_unavailable(&world.runtime.block_on(end)) && is_unavailable(&world.runtime.block_on(breaks)));
    assert_eq!(heard.all(), []);
    until(|| world.login(&other).ok());
    assert_eq!(heard.all(), [*ended.digest()]);
}
