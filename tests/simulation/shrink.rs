//! Finds out what a failure needs: the same scenario with fewer faults, without crashes, without drift.

use std::collections::BTreeSet;

use crate::play::{Played, play};
use crate::scenario::{Reduction, Scenario};

/// How many smaller scenarios are tried.
const TRIES: usize = 40;

/// The smallest part of a seed's scenario that was found to fail in the same way, and what became of it; `None`
/// when that is the whole of it.
pub fn shrink(seed: u64, played: &Played) -> (Reduction, Option<Played>) {
    let kind = played.problems.first().map(|problem| problem.kind);
    let whole = Scenario::of(seed);
    let mut best = (Reduction::default(), None);
    let mut tries = 0;
    let mut still_fails = |reduction: &Reduction| {
        tries += 1;
        if tries > TRIES {
            return None;
        }
        let smaller = play(&whole.reduced(reduction));
        (smaller.problems.first().map(|problem| problem.kind) == kind).then_some(smaller)
    };
    let mut faults: BTreeSet<usize> = (0..whole.faults.len()).collect();
    let with = |faults: &BTreeSet<usize>, best: &Reduction| Reduction {
        faults: Some(faults.clone()),
        ..best.clone()
    };
    // All at once first: many failures need no fault at all.
    let without = with(&BTreeSet::new(), &best.0);
    if let Some(smaller) = still_fails(&without) {
        faults.clear();
        best = (without, Some(smaller));
    }
    for position in faults.clone() {
        let mut fewer = faults.clone();
        fewer.remove(&position);
        let reduction = with(&fewer, &best.0);
        if let Some(smaller) = still_fails(&reduction) {
            faults = fewer;
            best = (reduction, Some(smaller));
        }
    }
    for reduction in [
        Reduction { without_crashes: true, ..best.0.clone() },
        Reduction { without_crashes: true, without_drift: true, ..best.0.clone() },
        Reduction { without_drift: true, ..best.0.clone() },
    ] {
        let is_less = reduction.without_crashes >= best.0.without_crashes
            && reduction.without_drift >= best.0.without_drift
            && reduction != best.0;
        if is_less && let Some(smaller) = still_fails(&reduction) {
            best = (reduction, Some(smaller));
        }
    }
    best
}
