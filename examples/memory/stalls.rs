//! How long the longest look-up and the longest login take, with two threads at it and a cache that is full, so that each
//! login makes somebody leave.
//!
//! The machine interrupts threads too. So the same is first measured of nothing at all: what is not longer than that is no
//! fault of the cache's.

use std::{hint::black_box, thread, time::Duration};

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;
use wxgate::session::{Recent, SessionToken, Sessions};

use super::{at_once, identity, session_key};

const THREADS: u64 = 2;

/// One login for so many look-ups.
const LOOK_UPS: u32 = 9;

/// What is longer is counted.
const LONG: Duration = Duration::from_millis(1);

pub(super) fn measure(
    sessions: &Sessions,
    tokens: &[SessionToken],
    first_new: u64,
    lasts: Duration,
) -> anyhow::Result<()> {
    println!("\n{:>9} | {:>11} | {:>9} | {:>9} | {:>9} | over 1 ms", "", "how many", "median", "p99.9", "longest");
    let [nothing] = on_all_threads(lasts / 4, |_| Ok(|took: &mut [Took; 1]| took[0].time(|| black_box(Ok(())))))?;
    nothing.print("nothing");
    // In use they are from now on; before, the oldest of them would be the first to leave.
    let recent = Recent::default();
    for token in tokens {
        black_box(sessions.at_hand(token, &recent));
    }
    let [look_ups, logins] = on_all_threads(lasts, |thread| {
        let (mut random, mut number) = (SmallRng::seed_from_u64(thread), first_new + thread);
        let recent = Recent::default();
        Ok(move |[look_ups, logins]: &mut [Took; 2]| {
            for _ in 0..LOOK_UPS {
                let token = &tokens[random.random_range(0..tokens.len())];
                look_ups.time(|| {
                    black_box(sessions.at_hand(token, &recent));
                    Ok(())
                })?;
            }
            let identity = identity(number)?;
            number += THREADS;
            logins.time(|| {
                at_once(sessions.issue(identity, session_key()))?;
                Ok(())
            })
        })
    })?;
    look_ups.print("look-ups");
    logins.print("logins");
    let recent = Recent::default();
    let gone = tokens.iter().filter(|token| sessions.at_hand(token, &recent).is_none()).count();
    println!("of the {} sessions that were looked up, {gone} had to leave", tokens.len());
    Ok(())
}

/// Lets each thread do it again and again, and puts together how long it took them.
fn on_all_threads<const N: usize, A>(
    lasts: Duration,
    act: impl Fn(u64) -> anyhow::Result<A> + Sync,
) -> anyhow::Result<[Took; N]>
where
    A: FnMut(&mut [Took; N]) -> anyhow::Result<()>,
{
    let run = |thread| {
        let (mut act, mut took, begun) = (act(thread)?, std::array::from_fn(|_| Took::new()), Instant::now());
        while begun.elapsed() < lasts {
            act(&mut took)?;
        }
        anyhow::Ok(took)
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || run(thread))).collect();
        let mut all = std::array::from_fn(|_| Took::new());
        for thread in running {
            let took = thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked"))?;
            for (all, one) in all.iter_mut().zip(took) {
                all.add(&one);
            }
        }
        Ok(all)
    })
}

/// How long many things took: in buckets a sixteenth apart, and the longest exactly.
struct Took {
    buckets: Vec<u64>,
    count: u64,
    long: u64,
    longest: Duration,
}

impl Took {
    fn new() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, long: 0, longest: Duration::ZERO }
    }

    fn time(&mut self, act: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let begun = Instant::now();
        let done = act();
        let took = begun.elapsed();
        self.buckets[bucket(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.count += 1;
        self.long += u64::from(took > LONG);
        self.longest = self.longest.max(took);
        done
    }

    fn add(&mut self, other: &Self) {
        for (here, there) in self.buckets.iter_mut().zip(&other.buckets) {
            *here += there;
        }
        self.count += other.count;
        self.long += other.long;
        self.longest = self.longest.max(other.longest);
    }

    /// What so many of a thousand did not exceed, by a sixteenth at most.
    fn at(&self, of_a_thousand: u64) -> Duration {
        let mut left = (self.count * of_a_thousand).div_ceil(1000);
        let reached = self.buckets.iter().position(|count| {
            left = left.saturating_sub(*count);
            left == 0
        });
        reached.map_or(self.longest, |at| Duration::from_nanos(end(at)).min(self.longest))
    }

    fn print(&self, what: &str) {
        let (median, nearly_all) = (self.at(500), self.at(999));
        println!(
            "{what:>9} | {:>11} | {median:>9.1?} | {nearly_all:>9.1?} | {:>9.1?} | {}",
            self.count, self.longest, self.long
        );
    }
}

/// Below 16 each number has its own; then each power of two has sixteen.
fn bucket(nanos: u64) -> usize {
    let doublings = u64::BITS - 5 - (nanos | 16).leading_zeros();
    (doublings as usize) * 16 + usize::try_from(nanos >> doublings).unwrap_or(usize::MAX)
}

/// The largest number in a bucket.
fn end(bucket: usize) -> u64 {
    let doublings = (bucket / 16).saturating_sub(1);
    let upper = (bucket - doublings * 16) as u128 + 1;
    u64::try_from((upper << doublings) - 1).unwrap_or(u64::MAX)
}
