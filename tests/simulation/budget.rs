//! Bytes a day, counted where they arrive: by the server's own log of calls, so that no slip of the daemon's book-keeping
//! hides another. What a segment weighs is the daemon's own opinion, which the limit is a share of.

use std::collections::BTreeMap;
use std::time::Duration;

use milvus_rebalancer::model::Snapshot;
use milvus_rebalancer::sim::World;
use milvus_rebalancer::sim::calls::{CallAnswer, CallRecord};
use milvus_rebalancer::units::{Bytes, Ratio, SegmentId};

use crate::watch::Problem;

/// A window of the budget.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Counts bytes.
pub struct Budget {
    share: Ratio,
    weights: BTreeMap<SegmentId, Bytes>,
    cluster: Bytes,
    calls: usize,
}

impl Budget {
    /// A budget of a share of all bytes a day; no share is no limit.
    pub fn new(share: Ratio) -> Budget {
        Budget { share, weights: BTreeMap::new(), cluster: Bytes::ZERO, calls: 0 }
    }

    /// Takes over what the daemon now believes of the cluster.
    pub fn learn(&mut self, snapshot: &Snapshot) {
        let copies = &snapshot.copies;
        self.cluster = copies.bytes.iter().copied().sum();
        self.weights.extend(copies.segment.iter().copied().zip(copies.bytes.iter().copied()));
    }

    /// Judges the calls that arrived since it was last asked.
    pub fn check(&mut self, world: &World) -> Vec<Problem> {
        let mut problems = Vec::new();
        let log = world.calls();
        let limit = Bytes(self.share.share_of(self.cluster.0).max(1));
        for call in self.calls..log.len() {
            let at = log[call].at;
            let today = log[..=call].iter().filter(|record| record.at + DAY > at);
            let spent: Bytes = today.map(|record| self.cost(record, world)).sum();
            // One segment is always admitted when nothing of the budget is spent.
            let is_first = log[call].segments.len() == 1 && spent == self.cost(&log[call], world);
            if self.share > Ratio::ZERO && spent > limit && !is_first {
                let text = format!("call {call} at {at:?}: {spent} of {limit}");
                problems.push(Problem::new("bytes per day", text));
            }
        }
        self.calls = log.len();
        problems
    }

    /// Bytes of a call: of all its segments, or, where it was refused, of those that left all the same.
    fn cost(&self, record: &CallRecord, world: &World) -> Bytes {
        let is_refused = matches!(record.answered, Some((_, CallAnswer::Refused(_))));
        let has_left = |segment: &SegmentId| {
            world.left_by_calls().iter().any(|left| {
                left.segment == *segment && left.hostname == record.from_hostname && left.at >= record.at
            })
        };
        let moved = record.request.segments.iter().filter(|segment| !is_refused || has_left(segment));
        moved.map(|segment| self.weights.get(segment).copied().unwrap_or(Bytes::ZERO)).sum()
    }
}
