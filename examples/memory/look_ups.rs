//! Look-ups of sessions that are in memory, per second: from the token, whose hash is part of it, to the session.

use std::{hint::black_box, thread, time::Duration};

use tokio::time::Instant;
use wxgate::session::{Recent, SessionToken, Sessions};

/// A few users who come again and again: what the look-up itself costs, with everything near.
const FEW: usize = 1000;

/// Between two looks at the time.
const STEP: usize = 1024;

pub(super) fn measure(sessions: &Sessions, tokens: &[SessionToken], lasts: Duration) -> anyhow::Result<()> {
    println!("\n{:>9} | {:>9} | {:>12} | {:>9}", "threads", "users", "look-ups/s", "each");
    for tokens in [&tokens[..tokens.len().min(FEW)], tokens] {
        for threads in [1, 2] {
            let found = count(sessions, tokens, threads, lasts)?;
            let per_second = u128::from(found) * 1_000_000 / lasts.as_micros();
            let each = lasts.as_nanos() * u128::from(threads) / u128::from(found.max(1));
            println!("{threads:>9} | {:>9} | {per_second:>12} | {each:>6} ns", tokens.len());
        }
    }
    Ok(())
}

/// How many sessions were found in that time.
fn count(sessions: &Sessions, tokens: &[SessionToken], threads: u32, lasts: Duration) -> anyhow::Result<u64> {
    thread::scope(|scope| {
        let look_up = |from: usize| {
            let (begun, recent, mut found) = (Instant::now(), Recent::default(), 0);
            let mut tokens = tokens.iter().cycle().skip(from);
            while begun.elapsed() < lasts {
                for token in tokens.by_ref().take(STEP) {
                    let session = sessions.at_hand(token, &recent);
                    anyhow::ensure!(black_box(session).is_some(), "a session is not in memory");
                }
                found += STEP as u64;
            }
            anyhow::Ok(found)
        };
        // They do not walk behind each other.
        let starts = (0..threads as usize).map(|nth| tokens.len() / threads as usize * nth);
        let running: Vec<_> = starts.map(|from| scope.spawn(move || look_up(from))).collect();
        let ended =
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a thread panicked")));
        ended.sum()
    })
}
