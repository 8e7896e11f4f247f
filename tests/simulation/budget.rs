//! Moves and bytes of an hour and of a day, counted where they arrive: by the server's own log of calls, so that no
//! slip of the daemon's book-keeping hides another. What a segment weighs is the daemon's own opinion, which the
//! limit is a share of.

use std::collections::BTreeMap;
use std::time::Duration;

use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::model::Snapshot;
use milvus_rebalancer::sim::World;
use milvus_rebalancer::sim::calls::{CallAnswer, CallRecord};
use milvus_rebalancer::units::{Bytes, Ratio, SegmentId};

use crate::watch::Problem;

/// What may be moved in a window of time. Zero is no limit.
struct Window {
    name: &'static str,
    length: Duration,
    moves: u32,
    bytes: Ratio,
}

/// Counts moves and bytes.
pub struct Budget {
    windows: [Window; 2],
    weights: BTreeMap<SegmentId, Bytes>,
    cluster: Bytes,
    calls: usize,
}

impl Budget {
    /// The budgets of an hour and of a day.
    pub fn new(execute: &ExecuteSettings) -> Budget {
        let hour = Duration::from_secs(60 * 60);
        let windows = [
            Window {
                name: "an hour",
                length: hour,
                moves: execute.moves_per_hour,
                bytes: execute.bytes_per_hour,
            },
            Window {
                name: "a day",
                length: 24 * hour,
                moves: execute.moves_per_day,
                bytes: execute.bytes_per_day,
            },
        ];
        Budget { windows, weights: BTreeMap::new(), cluster: Bytes::ZERO, calls: 0 }
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
        for call in self.calls..log.len() {
            for window in &self.windows {
                problems.extend(self.check_window(window, &log[..=call], world));
            }
        }
        self.calls = log.len();
        problems
    }

    /// Judges the last of these calls.
    fn check_window(&self, window: &Window, calls: &[CallRecord], world: &World) -> Option<Problem> {
        let last = calls.last()?;
        let recent = calls.iter().filter(|record| record.at + window.length > last.at);
        let costs: Vec<Bytes> = recent.flat_map(|record| self.costs(record, world)).collect();
        let spent: Bytes = costs.iter().copied().sum();
        let limit = Bytes(window.bytes.share_of(self.cluster.0).max(1));
        // One segment is always admitted when nothing of the budget is spent.
        let is_first = costs.len() == 1;
        let is_over = window.bytes > Ratio::ZERO && spent > limit && !is_first;
        let has_too_many = window.moves > 0 && costs.len() > window.moves as usize;
        (is_over || has_too_many).then(|| {
            let at = last.at;
            let text =
                format!("call at {at:?}: {} moves, {spent} of {limit} in {}", costs.len(), window.name);
            Problem::new("budget", text)
        })
    }

    /// Bytes of each move of a call: of all its segments, or, where it was refused, of those that left all the same.
    fn costs(&self, record: &CallRecord, world: &World) -> Vec<Bytes> {
        let is_refused = matches!(record.answered, Some((_, CallAnswer::Refused(_))));
        let has_left = |segment: &SegmentId| {
            world.left_by_calls().iter().any(|left| {
                left.segment == *segment && left.hostname == record.from_hostname && left.at >= record.at
            })
        };
        let moved = record.request.segments.iter().filter(|segment| !is_refused || has_left(segment));
        moved.map(|segment| self.weights.get(segment).copied().unwrap_or(Bytes::ZERO)).collect()
    }
}
