//! What the last turns came to, in a few numbers each: the past that the page draws. It is kept in memory, grows to a
//! fixed length, and then gets coarser at its old end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::gate::windows;
use crate::model::Signal;
use crate::reason::Reason;
use crate::turn::Decision;
use crate::units::Ratio;

/// So many points are kept at most: about as many as a chart has room for. The newer half has one for every turn; each
/// time that the older half is full, every two of its neighbours become one.
const POINTS_KEPT: usize = 480;

/// Dimensions of a point: those with the worst pressures. The `spread` of every collection is one.
const DIMENSIONS_KEPT: usize = 6;

/// What one turn, or some that followed each other, came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailPoint {
    /// When the first of them looked at the cluster.
    pub at: Timestamp,
    /// The worst pressure of any node, by dimension.
    pub worst: BTreeMap<String, Ratio>,
    /// Overloaded nodes.
    pub overloaded: usize,
    /// Moves in the plan.
    pub planned: usize,
    /// Mean latency of searches since the turn before, in microseconds; `None` where no proxy tells.
    pub search_latency: Option<u64>,
    /// Whether somebody's pause or kill switch was in force.
    pub is_paused: bool,
    /// Whether maintenance windows let nothing through.
    pub is_closed: bool,
    /// Whether the cluster could not be seen.
    pub is_blind: bool,
}

impl TrailPoint {
    /// Of a turn that saw the cluster.
    pub fn of(decision: &Decision) -> TrailPoint {
        let mut worst: BTreeMap<String, Ratio> = BTreeMap::new();
        for finding in &decision.findings {
            let known = worst.entry(finding.dimension.clone()).or_default();
            *known = finding.pressure.max(*known);
        }
        while worst.len() > DIMENSIONS_KEPT {
            let Some(least) = worst.iter().min_by_key(|(_, pressure)| **pressure) else { break };
            let least = least.0.clone();
            worst.remove(&least);
        }
        let latency = decision.guard.readings.iter().find(|reading| reading.signal == Signal::SearchLatency);
        let input = &decision.input;
        let order = decision.verdict.order();
        let overloaded =
            decision.findings.iter().filter(|finding| finding.state == crate::plan::FindingState::Overloaded);
        let mut nodes: Vec<_> = overloaded.map(|finding| finding.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        TrailPoint {
            at: decision.snapshot.taken_at,
            worst,
            overloaded: nodes.len(),
            planned: decision.plan.moves().count(),
            search_latency: latency.and_then(|reading| reading.now),
            is_paused: matches!(order, Some(Reason::Paused { .. } | Reason::KillSwitch { .. })),
            is_closed: !windows::is_open(&input.gate.windows, input.now.wall),
            is_blind: false,
        }
    }

    /// Of a turn that could not see the cluster.
    pub fn blind(at: Timestamp) -> TrailPoint {
        TrailPoint { at, is_blind: true, ..TrailPoint::default() }
    }

    /// One point for two: what was worse counts.
    fn with(&self, later: &TrailPoint) -> TrailPoint {
        let mut worst = self.worst.clone();
        for (dimension, pressure) in &later.worst {
            let known = worst.entry(dimension.clone()).or_default();
            *known = (*known).max(*pressure);
        }
        TrailPoint {
            at: self.at,
            worst,
            overloaded: self.overloaded.max(later.overloaded),
            planned: self.planned.max(later.planned),
            search_latency: self.search_latency.max(later.search_latency),
            is_paused: self.is_paused || later.is_paused,
            is_closed: self.is_closed || later.is_closed,
            is_blind: self.is_blind || later.is_blind,
        }
    }
}

/// The points, oldest first. Readers share them.
#[derive(Clone, Debug, Default)]
pub struct Trail(VecDeque<Arc<TrailPoint>>);

impl Trail {
    /// Adds the newest.
    pub(super) fn push(&mut self, point: TrailPoint) {
        if self.0.len() == POINTS_KEPT {
            self.thin_out();
        }
        self.0.push_back(Arc::new(point));
    }

    /// All points, oldest first.
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &TrailPoint> {
        self.0.iter().map(Arc::as_ref)
    }

    fn thin_out(&mut self) {
        let newer = self.0.split_off(POINTS_KEPT / 2);
        let older = std::mem::take(&mut self.0);
        let mut older = older.into_iter();
        while let Some(first) = older.next() {
            self.0.push_back(match older.next() {
                Some(second) => Arc::new(first.with(&second)),
                None => first,
            });
        }
        self.0.extend(newer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: i64) -> TrailPoint {
        TrailPoint { at: Timestamp::from_second(second).unwrap(), ..TrailPoint::default() }
    }

    #[test]
    fn it_never_grows_beyond_its_length_and_forgets_no_peak() {
        let mut trail = Trail::default();
        for second in 0..100_000 {
            let worst = if second == 17 { Ratio(9_000_000) } else { Ratio::ONE };
            trail.push(TrailPoint {
                worst: [("memory".to_owned(), worst)].into(),
                is_paused: second == 18,
                search_latency: (second == 19).then_some(7),
                ..point(second)
            });
            assert!(trail.points().count() <= POINTS_KEPT);
        }
        let points: Vec<&TrailPoint> = trail.points().collect();
        assert_eq!(points[0].at, point(0).at, "the beginning is still the beginning");
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at), "in the order of time");
        assert_eq!(points.iter().map(|point| point.worst["memory"]).max(), Some(Ratio(9_000_000)));
        assert!(points.iter().any(|point| point.is_paused));
        assert!(points.iter().any(|point| point.search_latency == Some(7)));
        let newest: Vec<i64> =
            points.iter().rev().take(POINTS_KEPT / 2).map(|point| point.at.as_second()).collect();
        assert!(newest.windows(2).all(|pair| pair[0] == pair[1] + 1), "the newer half has every turn");
    }

    #[test]
    fn of_two_points_the_worse_counts() {
        let one = TrailPoint { overloaded: 2, is_blind: true, ..point(1) };
        let other = TrailPoint {
            planned: 5,
            is_closed: true,
            worst: [("rows".to_owned(), Ratio::ONE)].into(),
            ..point(2)
        };
        let both = one.with(&other);
        assert_eq!((both.at, both.overloaded, both.planned), (one.at, 2, 5));
        assert!(both.is_blind && both.is_closed && !both.is_paused);
        assert_eq!(both.worst, other.worst);
    }
}
