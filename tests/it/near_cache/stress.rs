//! Two instances on one store, all that can happen at once, on threads: whoever has logged out is out, everywhere.

use std::sync::atomic::{AtomicUsize, Ordering};

use wxgate::store::Store;

use super::{Instance, SECOND, clock, user};
use crate::support::scripted::Scripted;

const THREADS: usize = 4;
const ROUNDS: usize = 400;

#[test]
fn whoever_has_logged_out_is_out_whatever_else_happens() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _guard = runtime.enter();
    let (store, clock) = (Scripted::shared(SECOND * 30), clock());
    // So little room that sessions leave memory and come back all the time.
    let instances = [(); 2].map(|()| Instance::on(&store, &clock, |section| section.capacity = 6));
    store.tell(|watcher| watcher.link_restored());
    let playing = AtomicUsize::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (instances, playing) = (&instances, &playing);
            scope.spawn(move || {
                let worker = tokio::runtime::Builder::new_current_thread().build().unwrap();
                worker.block_on(play(instances, thread));
                playing.fetch_sub(1, Ordering::SeqCst);
            });
        }
        scope.spawn(|| {
            while playing.load(Ordering::SeqCst) > 0 {
                store.tell(|watcher| watcher.all_changed());
                std::thread::yield_now();
            }
        });
    });
    assert_eq!(runtime.block_on(store.count()).unwrap(), 0, "nothing is left over");
}

/// One user, who logs in and out, here and there, while others look the sessions up.
async fn play(instances: &[Instance; 2], thread: usize) {
    let user = user(&format!("o{thread}"));
    for round in 0..ROUNDS {
        let (here, there) = (&instances[round % 2], &instances[(round + 1) % 2]);
        let all = [here.login(&user).await, there.login(&user).await];
        for issued in &all {
            // With so much going on it may never hold still; that is no answer, and never "no".
            for instance in instances {
                if let Ok(found) = instance.resolve(&issued.token).await {
                    assert!(found.is_some(), "round {round}: logged in is in");
                }
            }
        }
        if round % 3 == 0 {
            assert_eq!(here.sessions.revoke_user(&user).await.unwrap(), 2, "round {round}");
        } else {
            for issued in &all {
                here.revoke(issued).await;
            }
        }
        for issued in &all {
            // As the link would say it, before anybody is told that he is out.
            here.store.tell(|watcher| watcher.changed(issued.session.digest()));
        }
        for issued in &all {
            for instance in instances {
                let found = instance.resolve(&issued.token).await;
                assert!(!matches!(found, Ok(Some(_))), "round {round}: logged out is out");
            }
        }
    }
}
