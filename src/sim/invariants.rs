//! What must never happen, checked against what a simulated world has seen of its caller.
//!
//! The checks read the log of `LoadBalance` requests, which holds what was true when each of them arrived: a
//! caller is judged by what it could have known, not by what the server made of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::calls::CallRecord;
use super::cluster::SimTime;
use super::tasks::{LeftByCall, TaskSource};
use super::world::World;
use crate::units::{Bytes, NodeId, SegmentId};

/// The limits that a caller has promised to keep. 0 is no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct InvariantSettings {
    /// Share of a destination's memory that must not be passed because of a move, in percent.
    pub safety_percent: u64,
    /// Calls in any minute.
    pub calls_per_minute: usize,
    /// Calls that wait for an answer at the same time.
    pub calls_in_flight: usize,
    /// Segments in one call.
    pub segments_per_call: usize,
    /// Bytes in one call; one segment always passes.
    pub bytes_per_call: Bytes,
    /// Bytes in any 24 hours; one segment always passes when nothing of it was used.
    pub bytes_per_day: Bytes,
    /// How long a segment must not return to a node that it left.
    pub cool_down: Duration,
}

/// Something that must never happen, and did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The segment list was empty: older servers move everything.
    #[error("call {call} at {at:?} names no segments")]
    EmptyList {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
    },
    /// Not exactly one destination: the server chooses.
    #[error("call {call} at {at:?} names {count} destinations")]
    Destinations {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// How many.
        count: usize,
    },
    /// The source was its own destination: newer servers lose the segment.
    #[error("call {call} at {at:?} moves from node {node} to itself")]
    SameNode {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// The node.
        node: NodeId,
    },
    /// The destination was no read-write member of the source's replica.
    #[error("call {call} at {at:?} moves to node {node}, which is no read-write member of the replica")]
    UnfitDestination {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// The node.
        node: NodeId,
    },
    /// A growing, a level-0 or an empty segment was to be moved.
    #[error("call {call} at {at:?} moves segment {segment}, which is growing or holds deletes or nothing")]
    HeldSegment {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// The segment.
        segment: SegmentId,
    },
    /// The destination cannot hold it within its safety line.
    #[error("call {call} at {at:?} fills node {node} to {after} of {line} bytes")]
    SafetyLine {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// The node.
        node: NodeId,
        /// Bytes with all copies.
        after: u64,
        /// The line.
        line: u64,
    },
    /// A limit was passed.
    #[error("call {call} at {at:?} passes the limit of {limit} {what}")]
    Limit {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// Which.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A segment was sent back to where it had left within the cool-down.
    #[error("call {call} at {at:?} returns segment {segment} to {hostname}, which it left at {left:?}")]
    Return {
        /// Position in the log.
        call: usize,
        /// When.
        at: SimTime,
        /// The segment.
        segment: SegmentId,
        /// The machine.
        hostname: String,
        /// When it left.
        left: SimTime,
    },
    /// A replica lost its last copy because of a call.
    #[error("segment {segment} was lost on node {node} at {at:?} by a call")]
    Lost {
        /// When.
        at: SimTime,
        /// The segment.
        segment: SegmentId,
        /// The node.
        node: NodeId,
    },
}

/// Reads the log as it grows.
pub struct InvariantChecker {
    settings: InvariantSettings,
    calls: usize,
    losses: usize,
    left: usize,
    departures: BTreeMap<(SegmentId, String), SimTime>,
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl InvariantChecker {
    /// A checker of these limits.
    pub fn new(settings: InvariantSettings) -> InvariantChecker {
        InvariantChecker { settings, calls: 0, losses: 0, left: 0, departures: BTreeMap::new() }
    }

    /// What went wrong since it was last asked.
    pub fn check(&mut self, world: &World) -> Vec<Violation> {
        let mut violations = Vec::new();
        for call in self.calls..world.calls().len() {
            check_shape(call, &world.calls()[call], &mut violations);
            self.check_memory(call, &world.calls()[call], &mut violations);
            self.check_limits(call, world.calls(), &mut violations);
            self.check_returns(call, &world.calls()[call], world.left_by_calls(), &mut violations);
        }
        self.calls = world.calls().len();
        for loss in &world.losses()[self.losses..] {
            if loss.released_by == Some(TaskSource::Manual) {
                violations.push(Violation::Lost { at: loss.at, segment: loss.segment, node: loss.node });
            }
        }
        self.losses = world.losses().len();
        violations
    }

    fn check_memory(&self, call: usize, record: &CallRecord, violations: &mut Vec<Violation>) {
        let arrives: u64 =
            record.segments.iter().filter(|segment| segment.on_source).map(|segment| segment.memory).sum();
        for to in &record.destinations {
            let line = to.memory / 100 * self.settings.safety_percent;
            let after = to.memory_before + arrives;
            if arrives > 0 && line > 0 && after > line {
                violations.push(Violation::SafetyLine { call, at: record.at, node: to.node, after, line });
            }
        }
    }

    fn check_limits(&self, call: usize, log: &[CallRecord], violations: &mut Vec<Violation>) {
        let record = &log[call];
        let at = record.at;
        let mut judge = |what: &'static str, used: u64, limit: u64| {
            if limit > 0 && used > limit {
                violations.push(Violation::Limit { call, at, what, limit });
            }
        };
        let since =
            |window: Duration| log[..=call].iter().rev().take_while(move |other| other.at + window > at);
        let settings = &self.settings;
        judge("calls a minute", since(MINUTE).count() as u64, settings.calls_per_minute as u64);
        let waiting = log[..=call]
            .iter()
            .filter(|other| !other.disconnected)
            .filter(|other| other.answered.as_ref().is_none_or(|(answered, _)| *answered > at))
            .count()
            // The call itself may have been answered the moment it arrived.
            .max(1);
        judge("calls in flight", waiting as u64, settings.calls_in_flight as u64);
        judge("segments a call", record.segments.len() as u64, settings.segments_per_call as u64);
        let bytes = bytes_of(record);
        if record.segments.len() > 1 {
            judge("bytes a call", bytes, settings.bytes_per_call.0);
        }
        let day: u64 = since(DAY).map(bytes_of).sum();
        if day > bytes || record.segments.len() > 1 {
            judge("bytes a day", day, settings.bytes_per_day.0);
        }
    }

    /// Only what really left counts: a call that was refused has moved nothing.
    fn check_returns(
        &mut self,
        call: usize,
        record: &CallRecord,
        left: &[LeftByCall],
        violations: &mut Vec<Violation>,
    ) {
        while let Some(departure) = left.get(self.left).filter(|departure| departure.at <= record.at) {
            self.departures.insert((departure.segment, departure.hostname.clone()), departure.at);
            self.left += 1;
        }
        for segment in record.segments.iter().filter(|segment| segment.on_source) {
            for to in &record.destinations {
                let key = (segment.segment, to.hostname.clone());
                let left = self.departures.get(&key).copied();
                if let Some(left) = left.filter(|left| record.at < *left + self.settings.cool_down) {
                    violations.push(Violation::Return {
                        call,
                        at: record.at,
                        segment: segment.segment,
                        hostname: to.hostname.clone(),
                        left,
                    });
                }
            }
        }
    }
}

fn bytes_of(record: &CallRecord) -> u64 {
    record.segments.iter().filter(|segment| segment.on_source).map(|segment| segment.bytes).sum()
}

/// What a request must look like.
fn check_shape(call: usize, record: &CallRecord, violations: &mut Vec<Violation>) {
    let at = record.at;
    if record.segments.is_empty() {
        violations.push(Violation::EmptyList { call, at });
    }
    if record.destinations.len() != 1 {
        violations.push(Violation::Destinations { call, at, count: record.destinations.len() });
    }
    for to in &record.destinations {
        if to.node == record.request.from {
            violations.push(Violation::SameNode { call, at, node: to.node });
        }
        if !to.is_fit {
            violations.push(Violation::UnfitDestination { call, at, node: to.node });
        }
    }
    for segment in &record.segments {
        if segment.growing || segment.level0 || segment.rows == Some(0) {
            violations.push(Violation::HeldSegment { call, at, segment: segment.segment });
        }
    }
}
