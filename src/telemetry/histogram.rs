//! How long things take, counted in fixed buckets.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Where the buckets end, in microseconds: from less than a look-up in memory takes to the longest default deadline. What
/// takes longer falls into one more bucket without an end.
const ENDS: [u64; BUCKETS - 1] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

const BUCKETS: usize = 19;

/// Counts durations by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one. Any thread may.
    pub fn observe(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    /// Counts one, where no other thread ever counts here: a load and a store, and no locked instruction.
    pub(super) fn observe_alone(&self, took: Duration) {
        raise_alone(&self.buckets[bucket(took)], 1);
        raise_alone(&self.nanos, nanos(took));
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let counts = std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed));
        Reading { counts, nanos: self.nanos.load(Ordering::Relaxed) }
    }
}

/// Raises a cell that only this thread writes. Others may read it.
pub(super) fn raise_alone(cell: &AtomicU64, by: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// What a [`Histogram`], or several of them together, have counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    counts: [u64; BUCKETS],
    nanos: u64,
}

impl Reading {
    /// Takes in what another has counted.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.nanos += other.nanos;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they took in all, in seconds.
    pub fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }

    /// Each bucket's end in seconds, with how many fell into it alone.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let ends = ENDS.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64());
        ends.chain([f64::INFINITY]).zip(self.counts).collect()
    }
}

fn bucket(took: Duration) -> usize {
    // A duration that is exactly a bucket's end is in it, as Prometheus has it.
    let nanos = nanos(took);
    ENDS.partition_point(|micros| micros * 1_000 < nanos)
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_first_bucket_that_it_does_not_exceed() {
        for (micros, at) in [(0, 0), (49, 0), (50, 0), (51, 1), (1_000, 4), (30_000_000, 17), (30_000_001, 18)] {
            assert_eq!(bucket(Duration::from_micros(micros)), at, "{micros} µs");
        }
        assert_eq!(bucket(Duration::from_nanos(50_001)), 1);
        assert_eq!(bucket(Duration::MAX), 18);
    }

    #[test]
    fn the_ends_rise() {
        assert!(ENDS.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_several_have_counted_adds_up() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.observe(Duration::from_millis(2));
        one.observe_alone(Duration::from_millis(3));
        other.observe_alone(Duration::from_mins(1));
        let mut sum = one.read();
        sum.add(&other.read());
        assert_eq!((sum.count(), sum.seconds().to_string().as_str()), (3, "60.005"));
        let filled: Vec<_> = sum.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0025, 1), (0.005, 1), (f64::INFINITY, 1)]);
    }
}
