//! Moves and bytes an hour and a day, counted where they arrive: by the server's own log of calls, so that no slip of
//! the daemon's book-keeping hides another. What a segment weighs is the daemon's own opinion, which the limit is a
//! share of.

use std::collections::BTreeMap;
use std::time::Duration;

use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::model::Snapshot;
use milvus_rebalancer::sim::World;
use milvus_rebalancer::sim::calls::{CallAnswer, CallRecord};
use milvus_rebalancer::units::{Bytes, Ratio, SegmentId};

use crate::watch::{Problem, exceeds};

/// What may be spent within a time; 0 is no limit.
struct Window {
    lasts: Duration,
    /// The names of the problems.
    names: [&'static str; 2],
    moves: u32,
    /// Of the bytes of the cluster.
    share: Ratio,
}

/// Counts moves and bytes.
pub struct Budget {
    windows: [Window; 2],
    weights: BTreeMap<SegmentId, Bytes>,
    /// Of the cluster, by the last look and by the one before: a call in the instant of a look was sent before it.
    cluster: [Bytes; 2],
    /// What the segments of each call weighed when it came: later estimates change what is left of a budget as little
    /// as they change the daemon's own books.
    asked: Vec<BTreeMap<SegmentId, Bytes>>,
}

impl Budget {
    /// The budget of these limits.
    pub fn new(limits: &ExecuteSettings) -> Budget {
        let hour = Window {
            lasts: Duration::from_secs(60 * 60),
            names: ["moves per hour", "bytes per hour"],
            moves: limits.moves_per_hour,
            share: limits.bytes_per_hour,
        };
        let day = Window {
            lasts: Duration::from_secs(24 * 60 * 60),
            names: ["moves per day", "bytes per day"],
            moves: limits.moves_per_day,
            share: limits.bytes_per_day,
        };
        Budget {
            windows: [hour, day],
            weights: BTreeMap::new(),
            cluster: [Bytes::ZERO; 2],
            asked: Vec::new(),
        }
    }

    /// Takes over what the daemon now believes of the cluster.
    pub fn learn(&mut self, snapshot: &Snapshot) {
        let copies = &snapshot.copies;
        let cluster = copies.bytes.iter().copied().sum();
        if cluster != self.cluster[0] {
            self.cluster = [cluster, self.cluster[0]];
        }
        self.weights.extend(copies.segment.iter().copied().zip(copies.bytes.iter().copied()));
    }

    /// Judges the calls that arrived since it was last asked.
    pub fn check(&mut self, world: &World) -> Vec<Problem> {
        let mut problems = Vec::new();
        let log = world.calls();
        for (call, record) in log.iter().enumerate().skip(self.asked.len()) {
            let weight = |segment: &SegmentId| self.weights.get(segment).copied().unwrap_or(Bytes::ZERO);
            let segments = record.request.segments.iter();
            self.asked.push(segments.map(|segment| (*segment, weight(segment))).collect());
            for window in &self.windows {
                self.judge(call, window, world, &mut problems);
            }
        }
        problems
    }

    fn judge(&self, call: usize, window: &Window, world: &World, problems: &mut Vec<Problem>) {
        let log = world.calls();
        let at = log[call].at;
        let (mut moves, mut bytes) = (0, Bytes::ZERO);
        for (record, asked) in log[..=call].iter().zip(&self.asked) {
            if record.at + window.lasts <= at {
                continue;
            }
            let moved = moved(record, asked, world);
            moves += moved.len();
            bytes = bytes.saturating_add(moved.into_iter().sum());
        }
        let mut report = |name, text: String| {
            problems.push(Problem::new(name, format!("call {call} at {at:?}: {text}")));
        };
        if exceeds(moves, window.moves) {
            report(window.names[0], format!("{moves} of {}", window.moves));
        }
        let limit = Bytes(window.share.share_of(self.cluster[0].max(self.cluster[1]).0).max(1));
        // One segment is always admitted when nothing of the budget is spent.
        if window.share > Ratio::ZERO && bytes > limit && moves > 1 {
            report(window.names[1], format!("{bytes} of {limit}"));
        }
    }
}

/// Bytes of each segment of a call, or, where it was refused, of each that left all the same.
fn moved(record: &CallRecord, asked: &BTreeMap<SegmentId, Bytes>, world: &World) -> Vec<Bytes> {
    let is_refused = matches!(record.answered, Some((_, CallAnswer::Refused(_))));
    // A later call may have asked for the same again: then it is that one's.
    let next = |segment: &SegmentId| {
        let mut later = world.calls().iter().filter(|other| other.at > record.at);
        later.find(|other| other.request.segments.contains(segment)).map(|other| other.at)
    };
    let has_left = |segment: &SegmentId| {
        let until = next(segment).unwrap_or(Duration::MAX);
        world.left_by_calls().iter().any(|left| {
            left.segment == *segment
                && left.hostname == record.from_hostname
                && (record.at..until).contains(&left.at)
        })
    };
    // A call that was refused because an earlier one still moves the segment has moved nothing: that one is counted.
    let is_an_earlier_ones = |segment: &SegmentId| {
        world.calls().iter().take_while(|other| other.at < record.at).any(|other| {
            let was_refused = matches!(other.answered, Some((_, CallAnswer::Refused(_))));
            let has_left_before = world
                .left_by_calls()
                .iter()
                .any(|left| left.segment == *segment && (other.at..record.at).contains(&left.at));
            !was_refused && !has_left_before && other.request.segments.contains(segment)
        })
    };
    let moved = asked
        .iter()
        .filter(|(segment, _)| !is_refused || (has_left(segment) && !is_an_earlier_ones(segment)));
    moved.map(|(_, bytes)| *bytes).collect()
}
