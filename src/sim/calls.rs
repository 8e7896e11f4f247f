//! `LoadBalance` as the coordinator takes it: checks in its order, with its codes, and an answer that proves
//! little.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cluster::{NodeState, SimTime};
use super::faults::AnswerFault;
use super::tasks::{Task, TaskId, TaskSource};
use super::world::{Event, World};
use crate::model::milvus_score::{SegmentView, assign_segments};
use crate::units::{CollectionId, NodeId, Rows, SegmentId};

/// Number of a `LoadBalance` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Why the server says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Milvus' code, as 2.3 and later send it.
    pub code: i32,
    /// Its text.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: i32, reason: impl Into<String>) -> Refusal {
        Refusal { code, reason: reason.into() }
    }

    /// As it is sent for a move: Milvus sends the innermost error with the one message that is next to it, so one
    /// that has a message of its own keeps that.
    fn of_a_move(self) -> Refusal {
        if self.reason.starts_with("failed to") {
            return self;
        }
        Refusal { reason: format!("failed to balance segments: {}", self.reason), ..self }
    }
}

/// A `LoadBalance` request as it arrives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BalanceRequest {
    /// Which instance of this program says that it sends it; empty when nobody does.
    pub caller: String,
    /// Database; empty is the default one.
    pub database: String,
    /// Collection.
    pub collection: String,
    /// Source.
    pub from: NodeId,
    /// Destinations.
    pub to: Vec<NodeId>,
    /// What to move.
    pub segments: Vec<SegmentId>,
}

/// What the caller gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAnswer {
    /// Success, which proves nothing.
    Success,
    /// A refusal, or a failed move.
    Refused(Refusal),
}

/// A call that has not been answered, or whose answer was not fetched.
#[derive(Debug)]
pub struct PendingCall {
    record: usize,
    tasks: Vec<TaskId>,
    outcomes: BTreeMap<TaskId, Result<(), Refusal>>,
    answer: Option<CallAnswer>,
    /// When the answer reaches the caller; `None` when it never does.
    delivered_at: Option<SimTime>,
    fault: Option<AnswerFault>,
}

/// What was true of a segment when somebody asked to move it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentTruth {
    /// The segment.
    pub segment: SegmentId,
    /// Its rows; `None` when there is no such segment.
    pub rows: Option<u64>,
    /// Its bytes.
    pub bytes: u64,
    /// Memory that it takes.
    pub memory: u64,
    /// Whether it is a level-0 segment.
    pub level0: bool,
    /// Whether it is a growing one.
    pub growing: bool,
    /// Whether the source held it.
    pub on_source: bool,
    /// Whether another task for it was under way in the source's replica.
    pub is_under_way: bool,
}

/// What was true of a destination when somebody asked to move there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationTruth {
    /// The node.
    pub node: NodeId,
    /// Whether it was alive and a read-write member of the source's replica, or was believed to be: a node that
    /// died within the last session is listed as if alive.
    pub is_fit: bool,
    /// Its machine's name.
    pub hostname: String,
    /// Its memory.
    pub memory: u64,
    /// Memory in use and on its way, before this call.
    pub memory_before: u64,
}

/// A `LoadBalance` call, as the invariants look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// When it arrived.
    pub at: SimTime,
    /// What it asked for.
    pub request: BalanceRequest,
    /// Machine of the source.
    pub from_hostname: String,
    /// The segments it named.
    pub segments: Vec<SegmentTruth>,
    /// The destinations it named.
    pub destinations: Vec<DestinationTruth>,
    /// Earlier calls of which a move was still under way, whether anybody waited for their answers or not.
    pub calls_under_way: usize,
    /// Segments that earlier calls had set in motion and that had not arrived yet.
    pub moves_under_way: usize,
    /// What was answered, and when.
    pub answered: Option<(SimTime, CallAnswer)>,
    /// Whether the caller went away before.
    pub disconnected: bool,
}

/// How long an answer is under way (measured: 1 to 2 ms for those that need no move).
const ANSWER_DELAY: Duration = Duration::from_millis(2);

impl World {
    /// Takes a call. Ask [`World::answer`] for what comes back.
    pub fn load_balance(&mut self, request: BalanceRequest) -> CallId {
        let id = CallId(self.log.len() as u64);
        self.counts.load_balance += 1;
        self.note(format_args!(
            "call {} {:?}: {:?} -> {:?} {:?}",
            id.0,
            request.collection,
            request.from.0,
            request.to.iter().map(|node| node.0).collect::<Vec<_>>(),
            request.segments.iter().map(|segment| segment.0).collect::<Vec<_>>()
        ));
        let record = self.truth_of(&request);
        self.log.push(record);
        let fault = self.faults.take_answer_fault();
        let pending = PendingCall {
            record: self.log.len() - 1,
            tasks: Vec::new(),
            outcomes: BTreeMap::new(),
            answer: None,
            delivered_at: None,
            fault,
        };
        self.calls.insert(id, pending);
        let refused = match fault {
            Some(AnswerFault::Refuse) => Err(Refusal::new(2, "service unavailable")),
            _ => self.start_moves(id, &request),
        };
        match refused {
            Err(refusal) => self.deliver(id, CallAnswer::Refused(refusal)),
            Ok(()) => {
                self.after(self.profile.wait_limit, Event::CallTimeout(id));
                self.answer_if_done(id);
            }
        }
        id
    }

    /// The answer, once it has reached the caller. It can be fetched once.
    pub fn answer(&mut self, call: CallId) -> Option<CallAnswer> {
        let pending = self.calls.get(&call)?;
        if pending.delivered_at? > self.now {
            return None;
        }
        self.calls.remove(&call)?.answer
    }

    /// When the answer will reach the caller, if that is known already.
    pub fn answer_due(&self, call: CallId) -> Option<SimTime> {
        self.calls.get(&call)?.delivered_at
    }

    /// The caller went away.
    pub fn disconnect(&mut self, call: CallId) {
        let Some(pending) = self.calls.get(&call) else { return };
        let (record, tasks) = (pending.record, pending.tasks.clone());
        if pending.answer.is_none() {
            if let Some(record) = self.log.get_mut(record) {
                record.disconnected = true;
            }
            self.note(format_args!("caller of {} went away", call.0));
            if self.profile.disconnect_cancels {
                for task in tasks {
                    self.drop_task(task);
                }
            }
        }
        self.calls.remove(&call);
    }

    /// The coordinator's checks, in its order.
    fn start_moves(&mut self, call: CallId, request: &BalanceRequest) -> Result<(), Refusal> {
        if let Some(refusal) = self.coordinator_refuses() {
            return Err(refusal);
        }
        let collection = self.resolve(&request.database, &request.collection)?;
        let loaded = &self.collections[&collection];
        if !loaded.loaded || loaded.load_percentage < 100 {
            let attempt = if self.profile.unloaded_retry.is_zero() { "" } else { "attempt #9: " };
            let text = format!("{attempt}collection not fully loaded[collection={collection}]");
            return Err(Refusal::new(103, text));
        }
        let replica = self.check_source(collection, request.from)?;
        let destinations = self.destinations(collection, replica, request)?;
        let segments = self.candidates(collection, replica, request)?;
        let pairs = self.pair(collection, replica, request.from, &segments, &destinations);
        for (segment, to) in pairs {
            let task = Task {
                source: TaskSource::Manual,
                call: Some(call),
                segment,
                collection,
                replica,
                from: Some(request.from),
                to,
                started: false,
                releasing: false,
            };
            match self.add_task(task) {
                Ok(task) => {
                    if let Some(pending) = self.calls.get_mut(&call) {
                        pending.tasks.push(task);
                    }
                }
                Err(_) if self.profile.skips_silently => {}
                Err(refusal) => return Err(refusal.of_a_move()),
            }
        }
        Ok(())
    }

    fn check_source(&self, collection: CollectionId, from: NodeId) -> Result<usize, Refusal> {
        let unknown = || {
            let text = format!(
                "source node not found in any replica of collection {collection}: node not found[node={from}]"
            );
            Refusal::new(901, text)
        };
        let replica = self.replica_with(collection, from).ok_or_else(unknown)?;
        let is_read_write = self.collections[&collection].replicas[replica].read_write.contains(&from);
        if self.profile.source_must_be_read_write && !is_read_write {
            return Err(unknown());
        }
        if self.nodes.get(&from).is_some_and(|node| node.state == NodeState::Stopping) {
            return Err(Refusal::new(self.profile.stopping_code, format!("node is stopping[node={from}]")));
        }
        Ok(replica)
    }

    fn destinations(
        &self,
        collection: CollectionId,
        replica: usize,
        request: &BalanceRequest,
    ) -> Result<Vec<NodeId>, Refusal> {
        let members = &self.collections[&collection].replicas[replica];
        if request.to.is_empty() {
            let mut all: Vec<NodeId> = members.read_write.iter().copied().collect();
            if self.profile.keeps_source_out {
                all.retain(|node| *node != request.from);
            }
            return Ok(all);
        }
        for to in &request.to {
            if !members.has(*to) {
                let text =
                    format!("destination node not found in the same replica: node not found[node={to}]");
                return Err(Refusal::new(901, text));
            }
            match self.nodes.get(to).map(|node| node.state) {
                None => return Err(Refusal::new(901, format!("node not found[node={to}]"))),
                Some(NodeState::Stopping) => {
                    let text = format!("destination node is stopping[node={to}]");
                    return Err(Refusal::new(self.profile.stopping_code, text));
                }
                Some(_) => {}
            }
        }
        let keeps_out = self.profile.keeps_source_out;
        Ok(request.to.iter().copied().filter(|to| !keeps_out || *to != request.from).collect())
    }

    /// The segments to move: those named, or all of them when none is.
    fn candidates(
        &self,
        collection: CollectionId,
        replica: usize,
        request: &BalanceRequest,
    ) -> Result<Vec<SegmentId>, Refusal> {
        let holds = |id: SegmentId| {
            self.segments.get(&id).is_some_and(|segment| {
                segment.collection == collection
                    // Later versions leave level 0 out of the coordinator's distribution.
                    && (!segment.level0 || self.profile.lists_level0)
                    && segment.copies.iter().any(|copy| {
                        copy.replica == replica && copy.node == request.from && copy.state.is_listed()
                    })
            })
        };
        let in_target =
            |id: SegmentId| self.segments.get(&id).is_some_and(|segment| segment.target.is_current());
        if request.segments.is_empty() {
            let all = self.collections[&collection].segments.iter().copied();
            let by_target = self.profile.empty_list_is_target;
            return Ok(all.filter(|id| holds(*id) && (!by_target || in_target(*id))).collect());
        }
        let mut chosen = Vec::new();
        for id in request.segments.iter().copied() {
            let missing = !holds(id) || (!in_target(id) && !self.profile.skips_silently);
            if missing {
                let text = format!(
                    "failed to balance segments: segment {id} not found in source node {}",
                    request.from
                );
                return Err(Refusal::new(self.profile.not_on_source_code, text));
            }
            if in_target(id) && !chosen.contains(&id) {
                chosen.push(id);
            }
        }
        Ok(chosen)
    }

    /// With one destination everything goes there; with several the server chooses, biggest first to the lowest
    /// score.
    fn pair(
        &self,
        collection: CollectionId,
        replica: usize,
        from: NodeId,
        segments: &[SegmentId],
        destinations: &[NodeId],
    ) -> Vec<(SegmentId, NodeId)> {
        if let [only] = destinations {
            return segments.iter().map(|segment| (*segment, *only)).collect();
        }
        let mut view = self.replica_view(collection, replica);
        view.nodes.retain(|node| destinations.contains(&node.node));
        view.segments.clear();
        let moving: Vec<SegmentView> = segments
            .iter()
            .filter_map(|id| self.segments.get(id))
            .map(|segment| SegmentView {
                segment: segment.id,
                node: from,
                rows: Rows(segment.rows),
                channel: Some(segment.shard),
                movable: true,
            })
            .collect();
        // Forced: neither benefit nor batch size count, so nothing stands as already placed.
        let unplaced: Vec<SegmentView> =
            moving.into_iter().map(|segment| SegmentView { node: NodeId(-1), ..segment }).collect();
        assign_segments(&view, &unplaced, self.own_balancer.settings())
            .into_iter()
            .map(|planned| (planned.segment, planned.to))
            .collect()
    }

    pub(super) fn task_of_call_ended(&mut self, call: CallId, task: TaskId, outcome: Result<(), Refusal>) {
        if let Some(pending) = self.calls.get_mut(&call) {
            pending.outcomes.insert(task, outcome);
        }
        self.answer_if_done(call);
    }

    /// Tasks are waited for in order; the first failure ends the call while the others go on.
    fn answer_if_done(&mut self, call: CallId) {
        let Some(pending) = self.calls.get(&call) else { return };
        if pending.answer.is_some() {
            return;
        }
        for task in &pending.tasks {
            match pending.outcomes.get(task) {
                None => return,
                Some(Ok(())) => {}
                Some(Err(refusal)) => {
                    let refusal = refusal.clone().of_a_move();
                    return self.deliver(call, CallAnswer::Refused(refusal));
                }
            }
        }
        self.deliver(call, CallAnswer::Success);
    }

    /// The server has waited long enough, and calls it a success.
    pub(super) fn call_times_out(&mut self, call: CallId) {
        if self.calls.get(&call).is_some_and(|pending| pending.answer.is_none()) {
            self.deliver(call, CallAnswer::Success);
        }
    }

    fn deliver(&mut self, call: CallId, answer: CallAnswer) {
        let (now, retry) = (self.now, self.profile.unloaded_retry);
        let Some(pending) = self.calls.get_mut(&call) else { return };
        pending.answer = Some(answer.clone());
        pending.delivered_at = match pending.fault {
            Some(AnswerFault::Lose) => None,
            Some(AnswerFault::Delay(by)) => Some(now + by),
            _ if matches!(&answer, CallAnswer::Refused(refusal) if refusal.code == 103) => {
                Some(now + ANSWER_DELAY + retry)
            }
            _ => Some(now + ANSWER_DELAY),
        };
        let record = pending.record;
        self.note(format_args!("call {} answered: {answer:?}", call.0));
        if let Some(record) = self.log.get_mut(record) {
            record.answered = Some((now, answer));
        }
    }

    /// What is true of a request when it arrives, for the invariants.
    fn truth_of(&self, request: &BalanceRequest) -> CallRecord {
        let collection = self.resolve(&request.database, &request.collection).ok();
        let replica = collection.and_then(|collection| self.replica_with(collection, request.from));
        let host = |node: &NodeId| self.nodes.get(node).map(|node| node.hostname.clone()).unwrap_or_default();
        let destinations = request.to.iter().map(|to| {
            let node = self.nodes.get(to);
            DestinationTruth {
                node: *to,
                is_fit: collection.zip(replica).is_some_and(|(collection, replica)| {
                    self.collections[&collection].replicas[replica].read_write.contains(to)
                }),
                hostname: host(to),
                memory: node.map_or(0, |node| node.memory),
                memory_before: node.map_or(0, super::cluster::SimNode::memory_used),
            }
        });
        let is_growing = |id: &SegmentId| {
            self.collections.values().any(|collection| collection.growing_segments.contains(id))
        };
        let segments = request.segments.iter().map(|id| {
            let segment = self.segments.get(id);
            SegmentTruth {
                segment: *id,
                rows: segment.map(|segment| segment.rows),
                bytes: segment.map_or(0, |segment| segment.bytes),
                memory: segment.map_or(0, |segment| self.footprint(segment).0),
                level0: segment.is_some_and(|segment| segment.level0),
                growing: is_growing(id),
                on_source: segment
                    .is_some_and(|segment| segment.copies.iter().any(|copy| copy.node == request.from)),
                is_under_way: replica.is_some_and(|replica| self.tasks.busy.contains_key(&(*id, replica))),
            }
        });
        let under_way: Vec<CallId> = self.tasks.all.values().filter_map(|task| task.call).collect();
        CallRecord {
            at: self.now,
            request: request.clone(),
            from_hostname: host(&request.from),
            segments: segments.collect(),
            destinations: destinations.collect(),
            calls_under_way: under_way.iter().collect::<BTreeSet<_>>().len(),
            moves_under_way: under_way.len(),
            answered: None,
            disconnected: false,
        }
    }
}
