//! What must never happen, looked for while a scenario is played: in the world's log of calls, in the journal, and
//! in what the daemon had been shown.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milvus_rebalancer::execute::operation::{BatchId, Operation, OperationId};
use milvus_rebalancer::model::Snapshot;
use milvus_rebalancer::observe::observation::SegmentLevel;
use milvus_rebalancer::sim::World;
use milvus_rebalancer::sim::calls::CallRecord;
use milvus_rebalancer::sim::invariants::{InvariantChecker, InvariantSettings, Violation};
use milvus_rebalancer::units::{Bytes, NodeId, ReplicaId, SegmentId};

use crate::budget::Budget;
use crate::polls::{Poll, Polls};
use crate::scenario::Scenario;

/// The shortest time that the simulated clock can tell apart.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// `GetMetrics` is cached for 5 s: a node that died later than that before a poll may still look alive.
const METRICS_CACHE: Duration = Duration::from_secs(6);

/// A call and its intent carry times that differ by what the daemon needs in between, which is no world time.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(1);

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind, by which two failures are compared.
    pub kind: &'static str,
    /// What exactly.
    pub text: String,
}

impl Problem {
    /// A problem.
    pub fn new(kind: &'static str, text: impl Into<String>) -> Problem {
        Problem { kind, text: text.into() }
    }
}

/// What is known of the daemon besides its calls.
pub struct Evidence<'a> {
    /// All its operations, by number.
    pub operations: &'a [Operation],
    /// The cluster as its last plan knew it.
    pub snapshot: Option<&'a Snapshot>,
}

/// Looks out for problems.
pub struct Watch {
    scenario: Scenario,
    polls: Polls,
    checker: InvariantChecker,
    calls: usize,
    budget: Budget,
    batches: BTreeSet<BatchId>,
    /// Batches that reached the server.
    arrived: BTreeSet<BatchId>,
}

impl Watch {
    /// For a scenario.
    pub fn new(scenario: &Scenario, polls: Polls) -> Watch {
        let execute = &scenario.execute;
        let limit = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let settings = InvariantSettings {
            // Memory and bytes are judged by what the daemon knew of them, not by what it could not know.
            safety_percent: 0,
            bytes_per_call: Bytes::ZERO,
            bytes_per_day: Bytes::ZERO, // see `budget`
            calls_per_minute: limit(execute.calls_per_minute),
            calls_in_flight: limit(execute.calls_in_flight),
            segments_per_call: limit(execute.segments_per_call),
            cool_down: scenario.gate.cool_down,
        };
        Watch {
            scenario: scenario.clone(),
            polls,
            checker: InvariantChecker::new(settings),
            calls: 0,
            budget: Budget::new(execute),
            batches: BTreeSet::new(),
            arrived: BTreeSet::new(),
        }
    }

    /// Looks at all that is new. `calls` were made before the evidence was taken: a later one's intent may not be in
    /// it.
    pub fn check(&mut self, world: &World, calls: usize, evidence: &Evidence<'_>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for violation in self.checker.check(world) {
            if !self.could_not_be_known(&violation, world) {
                problems.push(Problem::new(kind(&violation), violation.to_string()));
            }
        }
        for call in self.calls..calls {
            self.check_call(call, &world.calls()[call], evidence.operations, world, &mut problems);
        }
        self.calls = calls;
        self.check_open(evidence.operations, &mut problems);
        self.check_batches(evidence, &mut problems);
        if let Some(snapshot) = evidence.snapshot {
            self.budget.learn(snapshot);
        }
        problems.extend(self.budget.check(world));
        problems
    }

    /// A destination that was fit when the daemon last looked, or that is being stopped where that is not shown to
    /// anybody: before 2.4 only the refusal tells.
    fn could_not_be_known(&self, violation: &Violation, world: &World) -> bool {
        let Violation::UnfitDestination { call, node, .. } = violation else { return false };
        let record = &world.calls()[*call];
        let Some(poll) = self.polls.before(wall(world, record)) else { return false };
        if !self.scenario.world.profile.lists_group_nodes && poll.truth.stopping.contains(node) {
            return true;
        }
        let id = poll.shown.collections.iter().find(|report| {
            report.database == record.request.database && report.name == record.request.collection
        });
        id.is_some_and(|report| poll.truth.read_write.contains(&(report.id, *node)))
    }

    /// One call that reached the server.
    fn check_call(
        &mut self,
        call: usize,
        record: &CallRecord,
        operations: &[Operation],
        world: &World,
        problems: &mut Vec<Problem>,
    ) {
        let at = wall(world, record);
        let Some(batch) = self.intent_of(record, at, operations) else {
            let text = format!("call {call} at {:?} is not in the journal", record.at);
            problems.push(Problem::new("no intent", text));
            return;
        };
        self.arrived.insert(batch);
        let Some(poll) = self.polls.before(at) else {
            let text = format!("call {call} at {:?} was made before anything was seen", record.at);
            problems.push(Problem::new("blind", text));
            return;
        };
        let mut report = |kind, what: String| {
            problems.push(Problem::new(kind, format!("call {call} at {:?}: {what}", record.at)));
        };
        if self.scenario.world.profile.build_version.starts_with("2.2") {
            report("too old", "a server of 2.2 is not to be acted on".to_owned());
        }
        // What comes in the instant of a look may have been sent just before it.
        let the_one_before = at.checked_sub(INSTANT).ok().and_then(|earlier| self.polls.before(earlier));
        for segment in &record.request.segments {
            let by_the_one_before =
                the_one_before.as_ref().and_then(|poll| why_not_movable(poll, record, *segment));
            let was_free = the_one_before.is_some() && by_the_one_before.is_none();
            if let Some(why) = why_not_movable(&poll, record, *segment)
                && (poll.returned_at < at || !was_free)
            {
                report("held segment", format!("segment {segment} {why}"));
            }
        }
        for node in record.request.to.iter().chain([&record.request.from]) {
            if poll.truth.dead.get(node).is_some_and(|since| *since > METRICS_CACHE) {
                report("dead node", format!("node {node} had been dead when the daemon looked"));
            }
        }
    }

    /// The batch whose intent this call carries out.
    fn intent_of(&self, record: &CallRecord, at: Timestamp, operations: &[Operation]) -> Option<BatchId> {
        let mut batches: BTreeMap<BatchId, BTreeSet<SegmentId>> = BTreeMap::new();
        for operation in operations.iter().filter(|operation| {
            let sent_at = operation.sent_at.unwrap_or(operation.changed_at);
            at.duration_since(sent_at).abs() <= SAME_TIME
                && operation.movement.from == record.request.from
                && record.request.to == [operation.movement.to]
        }) {
            batches.entry(operation.batch).or_default().insert(operation.movement.segment);
        }
        let wanted: BTreeSet<SegmentId> = record.request.segments.iter().copied().collect();
        let fits = |(batch, segments): (&BatchId, &BTreeSet<SegmentId>)| {
            (*segments == wanted && !self.arrived.contains(batch)).then_some(*batch)
        };
        batches.iter().find_map(fits)
    }

    /// What is on its way now.
    fn check_open(&self, operations: &[Operation], problems: &mut Vec<Problem>) {
        let open: Vec<&Operation> = operations.iter().filter(|operation| is_under_way(operation)).collect();
        let batches: BTreeSet<BatchId> = open.iter().map(|operation| operation.batch).collect();
        let execute = &self.scenario.execute;
        if exceeds(batches.len(), execute.calls_in_flight) {
            let text = format!("{} calls are in flight", batches.len());
            problems.push(Problem::new("calls in flight", text));
        }
        let mut by_node: BTreeMap<NodeId, BTreeSet<BatchId>> = BTreeMap::new();
        let mut by_copy: BTreeMap<(SegmentId, ReplicaId), OperationId> = BTreeMap::new();
        for operation in &open {
            for node in [operation.movement.from, operation.movement.to] {
                by_node.entry(node).or_default().insert(operation.batch);
            }
            let copy = (operation.movement.segment, operation.movement.replica);
            if let Some(other) = by_copy.insert(copy, operation.id) {
                let text =
                    format!("operations {} and {} move the same copy: {copy:?}", other.0, operation.id.0);
                problems.push(Problem::new("moved twice", text));
            }
        }
        let count = |of: &dyn Fn(&Operation) -> i64| {
            let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
            open.iter().for_each(|operation| *counts.entry(of(operation)).or_default() += 1);
            counts.into_values().max().unwrap_or(0)
        };
        for (kind, most, limit) in [
            ("moves in flight", open.len(), execute.moves_in_flight),
            (
                "moves per source",
                count(&|operation| operation.movement.from.0),
                execute.moves_in_flight_per_source,
            ),
            (
                "moves per destination",
                count(&|operation| operation.movement.to.0),
                execute.moves_in_flight_per_destination,
            ),
            (
                "moves per collection",
                count(&|operation| operation.movement.collection.0),
                execute.moves_in_flight_per_collection,
            ),
        ] {
            if exceeds(most, limit) {
                problems.push(Problem::new(kind, format!("{most} of {limit}")));
            }
        }
        for (node, batches) in by_node {
            if exceeds(batches.len(), execute.calls_in_flight_per_node) {
                let text = format!("{} calls are in flight at node {node}", batches.len());
                problems.push(Problem::new("calls per node", text));
            }
        }
    }

    /// Batches that were sent since the last look, whether they arrived or not.
    fn check_batches(&mut self, evidence: &Evidence<'_>, problems: &mut Vec<Problem>) {
        let mut sent: BTreeMap<BatchId, Vec<&Operation>> = BTreeMap::new();
        for operation in evidence.operations.iter().filter(|operation| operation.sent_at.is_some()) {
            sent.entry(operation.batch).or_default().push(operation);
        }
        for (batch, operations) in &sent {
            let Some(sent_at) = operations.first().and_then(|operation| operation.sent_at) else { continue };
            if !self.batches.insert(*batch) {
                continue;
            }
            let mut report = |kind, what: String| {
                problems.push(Problem::new(kind, format!("batch {} sent at {sent_at}: {what}", batch.0)));
            };
            let execute = &self.scenario.execute;
            let bytes = bytes_of(operations.iter().copied());
            if operations.len() > 1 && execute.bytes_per_call.0 > 0 && bytes > execute.bytes_per_call {
                report("bytes per call", format!("{bytes}"));
            }
            if exceeds(operations.len(), execute.segments_per_call) {
                report("segments per call", format!("{}", operations.len()));
            }
            let earlier = |window: SignedDuration| {
                let first = sent_at.checked_sub(window).unwrap_or(Timestamp::MIN);
                sent.range(..=*batch).filter(move |(_, operations)| {
                    operations.first().and_then(|operation| operation.sent_at).is_some_and(|at| at > first)
                })
            };
            let calls = earlier(SignedDuration::from_mins(1)).count();
            if exceeds(calls, execute.calls_per_minute) {
                report("calls per minute", format!("{calls} within a minute"));
            }
            if let Some((used, line)) = self.overfills(operations, sent_at, evidence.operations) {
                let node = operations[0].movement.to;
                report("safety line", format!("fills node {node} to {used} of {line}"));
            }
        }
    }

    /// Whether a batch fills its destination above the safety line, by what the daemon had been shown and by what
    /// it had on its way there.
    fn overfills(
        &self,
        batch: &[&Operation],
        sent_at: Timestamp,
        operations: &[Operation],
    ) -> Option<(Bytes, Bytes)> {
        let first = batch.first()?;
        let to = first.movement.to;
        let poll = self.polls.before(sent_at)?;
        let node = poll.shown.nodes.iter().find(|node| node.id == to)?;
        let line = Bytes(self.scenario.gate.destination_memory.share_of(node.memory_capacity?.0));
        let on_its_way = operations.iter().filter(|operation| {
            let was_open = is_under_way(operation) || operation.changed_at > poll.returned_at;
            operation.movement.to == to
                && operation.batch < first.batch
                && operation.sent_at.is_some()
                && was_open
        });
        let arriving = bytes_of(on_its_way).saturating_add(bytes_of(batch.iter().copied()));
        let used = node.memory_used.unwrap_or_default().saturating_add(arriving);
        (used > line).then_some((used, line))
    }
}

/// Whether a count is above a limit, of which 0 is none.
pub fn exceeds(count: usize, limit: u32) -> bool {
    limit != 0 && count > usize::try_from(limit).unwrap_or(usize::MAX)
}

fn is_under_way(operation: &Operation) -> bool {
    !operation.state.is_ended()
}

fn bytes_of<'a>(operations: impl Iterator<Item = &'a Operation>) -> Bytes {
    operations.map(|operation| operation.movement.bytes).sum()
}

/// What the calendar said when a call arrived.
fn wall(world: &World, record: &CallRecord) -> Timestamp {
    let since = SignedDuration::try_from(record.at).unwrap_or(SignedDuration::MAX);
    world.settings().begins_at.saturating_add(since).unwrap_or(Timestamp::MAX)
}

/// Why a segment should not have been moved, by what the daemon had been shown of it.
fn why_not_movable(poll: &Poll, record: &CallRecord, segment: SegmentId) -> Option<&'static str> {
    let request = &record.request;
    let collection = poll
        .shown
        .collections
        .iter()
        .find(|report| report.database == request.database && report.name == request.collection);
    let Some(collection) = collection else { return Some("is of a collection that was not shown") };
    let shown = collection.segments.iter().flatten().find(|report| report.id == segment);
    let Some(shown) = shown else { return Some("was not shown as a sealed segment") };
    if shown.level == SegmentLevel::L0 {
        return Some("is of level 0");
    }
    if shown.rows.0 == 0 {
        return Some("has no rows");
    }
    (!shown.nodes.contains(&request.from)).then_some("was not shown on the source")
}

fn kind(violation: &Violation) -> &'static str {
    match violation {
        Violation::EmptyList { .. } => "empty list",
        Violation::Destinations { .. } => "destinations",
        Violation::SameNode { .. } => "same node",
        Violation::UnfitDestination { .. } => "unfit destination",
        Violation::HeldSegment { .. } => "held segment",
        Violation::SafetyLine { .. } => "safety line",
        Violation::Limit { what, .. } => what,
        Violation::Return { .. } => "return",
        Violation::Lost { .. } => "lost",
    }
}
