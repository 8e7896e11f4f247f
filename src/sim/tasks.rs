//! The coordinator's tasks: load on the destination, then release on the source. In between both hold the
//! segment, and both are listed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::calls::{CallId, Refusal};
use super::cluster::{CopyState, NodeState, SimTime, TargetState};
use super::world::{Event, World};
use crate::units::{CollectionId, NodeId, SegmentId};

/// Number of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId(pub u64);

/// Who wanted a task; later ones outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskSource {
    /// Milvus' own balancer (priority Low).
    Balancer,
    /// A `LoadBalance` call (priority Normal).
    Manual,
    /// The checkers: a missing copy, or a node being drained.
    Checker,
}

/// A load, or a move.
#[derive(Clone, Debug)]
pub struct Task {
    /// Who wanted it.
    pub source: TaskSource,
    /// The call that waits for it.
    pub call: Option<CallId>,
    /// What is loaded.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// Position of the replica.
    pub replica: usize,
    /// Where it is released afterwards.
    pub from: Option<NodeId>,
    /// Where it is loaded.
    pub to: NodeId,
    /// Whether it has begun.
    pub started: bool,
    /// Whether the load is done and the release under way.
    pub releasing: bool,
}

/// A replica was left without a copy of a segment in the current target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// When.
    pub at: SimTime,
    /// What.
    pub segment: SegmentId,
    /// Where it was last.
    pub node: NodeId,
    /// Whose task released it; `None` when its node died.
    pub released_by: Option<TaskSource>,
}

/// A segment left a node because a call had asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftByCall {
    /// When.
    pub at: SimTime,
    /// What.
    pub segment: SegmentId,
    /// The machine that it left.
    pub hostname: String,
}

/// All tasks.
#[derive(Default)]
pub struct Tasks {
    pub(super) all: BTreeMap<TaskId, Task>,
    /// One task for each (segment, replica).
    pub(super) busy: BTreeMap<(SegmentId, usize), TaskId>,
    waiting: BTreeMap<NodeId, VecDeque<TaskId>>,
    running: BTreeMap<NodeId, usize>,
    next: u64,
    /// Segments moved by Milvus' own balancer.
    pub(super) own_moves: u64,
}

/// How soon a delegator says that the node to load on cannot be reached (measured on 2.3.5).
const UNREACHABLE_DELAY: Duration = Duration::from_millis(700);
/// How soon a node says that it has no room (measured on 2.3.5).
const REFUSAL_DELAY: Duration = Duration::from_millis(300);

/// How often a move from or to a dead delegator is called a success when its session has ended (2.3.5: four of six).
const CALLED_SUCCESS: f64 = 2.0 / 3.0;

/// What a delegator answers when it cannot reach the node to load on (measured on 2.3.5).
fn unreachable_worker() -> Refusal {
    Refusal::new(65535, "unrecoverable error")
}

/// A floating-point number as Go prints it: 82927620 is 8.292762e+07.
#[allow(clippy::cast_precision_loss)] // as Milvus does
fn as_go_prints(amount: u64) -> String {
    let text = format!("{:e}", amount as f64);
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{digits}e+{exponent:0>2}"),
        None => text,
    }
}

impl World {
    /// Queues a task. Only one can exist for a (segment, replica); a manual one takes the place of the
    /// balancer's.
    pub(super) fn add_task(&mut self, task: Task) -> Result<TaskId, Refusal> {
        let key = (task.segment, task.replica);
        if let Some(other) = self.tasks.busy.get(&key).copied() {
            let outranked = self
                .tasks
                .all
                .get(&other)
                .is_some_and(|other| other.source == TaskSource::Balancer && task.source > other.source);
            if !outranked {
                let text = "service internal error: task with the same segment exists";
                return Err(Refusal::new(5, text));
            }
            self.drop_task(other);
        }
        let id = TaskId(self.tasks.next);
        self.tasks.next += 1;
        let to = task.to;
        self.tasks.busy.insert(key, id);
        self.tasks.all.insert(id, task);
        if self.tasks.running.get(&to).copied().unwrap_or(0) < self.profile.task_cap {
            self.begin(id);
        } else {
            self.tasks.waiting.entry(to).or_default().push_back(id);
        }
        Ok(id)
    }

    fn begin(&mut self, id: TaskId) {
        let Some(task) = self.tasks.all.get_mut(&id) else { return };
        task.started = true;
        let task = task.clone();
        *self.tasks.running.entry(task.to).or_default() += 1;
        self.note(format_args!(
            "load {} on {} (from {:?}, {:?})",
            task.segment,
            task.to,
            task.from.map(|node| node.0),
            task.source
        ));
        if self.waits_for_dead_delegator(id, &task) {
            return;
        }
        if let Err((wait, refusal)) = self.admit(&task) {
            self.after(wait, Event::TaskFails(id, refusal));
            return;
        }
        let takes = self.load_time(&task);
        self.add_copy(task.segment, task.replica, task.to, CopyState::Loading);
        self.after(takes, Event::LoadDone(id));
    }

    /// What the destination says to a load.
    fn admit(&self, task: &Task) -> Result<(), (Duration, Refusal)> {
        self.check_stale(task).map_err(|refusal| (Duration::ZERO, refusal))?;
        let (Some(node), Some(segment)) = (self.nodes.get(&task.to), self.segments.get(&task.segment)) else {
            return Err((Duration::ZERO, Refusal::new(901, "node not found")));
        };
        if !node.is_running() {
            return Err((UNREACHABLE_DELAY, unreachable_worker()));
        }
        if node.refuses_loads_until > self.now {
            return Err((REFUSAL_DELAY, Refusal::new(65535, "segcore error: cannot load segment")));
        }
        let already_there =
            segment.copies.iter().any(|copy| copy.node == task.to && copy.state.is_resident());
        let (memory, _) = self.footprint(segment);
        let used = node.memory_used();
        if used >= node.memory {
            let (used, limit) = (as_go_prints(used), as_go_prints(node.memory));
            let text = format!("memory limit exceeded[predict={used}][limit={limit}]");
            return Err((REFUSAL_DELAY, Refusal::new(self.profile.out_of_memory_code, text)));
        }
        let predicted = used + if already_there { 0 } else { memory };
        if predicted > node.memory / 100 * self.settings.load_guard_percent {
            let text = format!("load segment failed, OOM if load, predictMemUsage = {predicted}");
            return Err((REFUSAL_DELAY, Refusal::new(self.profile.out_of_memory_code, text)));
        }
        Ok(())
    }

    /// Loads and releases go through the shard's delegator. While it is dead and believed to live, they hang;
    /// they fail with its session (measured on 2.3.5).
    fn waits_for_dead_delegator(&mut self, id: TaskId, task: &Task) -> bool {
        let Some(segment) = self.segments.get(&task.segment) else { return false };
        let shard = segment.shard;
        let Some(delegator) = self.leader_of(segment, task.replica) else { return false };
        let Some(NodeState::Crashed { at }) = self.nodes.get(&delegator).map(|node| node.state) else {
            return false;
        };
        let wait = (at + self.settings.session_ttl).saturating_sub(self.now);
        let is_its_own = task.to == delegator || task.from == Some(delegator);
        if is_its_own && self.delegator_chance.chance(CALLED_SUCCESS) {
            self.after(wait, Event::TaskGivesUp(id));
            return true;
        }
        let refusal = if is_its_own {
            Refusal::new(901, format!("node not found[node={delegator}]"))
        } else {
            let collection = self.collections.get(&task.collection);
            let channel = collection.and_then(|collection| collection.channels.get(shard));
            let channel = channel.map(String::as_str).unwrap_or_default();
            Refusal::new(500, format!("failed to get shard delegator: channel not found[channel={channel}]"))
        };
        self.after(wait, Event::TaskFails(id, refusal));
        true
    }

    /// Why the coordinator drops a task before it sends the next step.
    fn check_stale(&self, task: &Task) -> Result<(), Refusal> {
        let Some(node) = self.nodes.get(&task.to) else {
            return Err(Refusal::new(901, format!("node not found[node={}]", task.to)));
        };
        if node.state == NodeState::Stopping {
            return Err(Refusal::new(902, format!("node offline[node={}]", task.to)));
        }
        let replica = self
            .collections
            .get(&task.collection)
            .and_then(|collection| collection.replicas.get(task.replica));
        let Some(replica) = replica else { return Err(Refusal::new(400, "replica not found")) };
        if self.profile.cancels_read_only_destination && replica.read_only.contains(&task.to) {
            return Err(Refusal::new(906, format!("node state unexpected[node={}]", task.to)));
        }
        if replica.leaders.iter().all(Option::is_none) {
            return Err(Refusal::new(500, "channel not found: no shard leader"));
        }
        let target = self.segments.get(&task.segment).map(|segment| segment.target);
        let left_target = matches!(target, None | Some(TargetState::Gone));
        if left_target && task.source == TaskSource::Manual {
            return Err(Refusal::new(603, format!("segment not in target[segment={}]", task.segment)));
        }
        Ok(())
    }

    /// A base, a part that grows with the bytes, and the wait for the coordinator's next look.
    #[allow(clippy::cast_precision_loss)] // seconds, not sums
    fn load_time(&mut self, task: &Task) -> Duration {
        let bytes = self.segments.get(&task.segment).map_or(0, |segment| segment.bytes);
        let slowness = self.nodes.get(&task.to).map_or(1.0, |node| node.slowness);
        let jitter = self.task_chance.between(0.9, 1.1);
        let seconds =
            self.settings.load_base.as_secs_f64() + bytes as f64 / self.settings.load_bytes_per_second as f64;
        let pull = self.settings.distribution_pull.as_secs_f64() * self.task_chance.between(0.0, 1.0);
        Duration::from_secs_f64((seconds * slowness * jitter + pull).min(86_400.0))
    }

    pub(super) fn load_done(&mut self, id: TaskId) {
        let Some(task) = self.tasks.all.get(&id).cloned() else { return };
        if self.waits_for_dead_delegator(id, &task) {
            return;
        }
        if self.nodes.get(&task.to).is_none_or(|node| !node.is_running()) {
            self.after(UNREACHABLE_DELAY, Event::TaskFails(id, unreachable_worker()));
            return;
        }
        if let Err(refusal) = self.check_stale(&task) {
            self.remove_copy_if_loading(&task);
            self.finish_task(id, Err(refusal));
            return;
        }
        self.set_copy(task.segment, task.replica, task.to, CopyState::Serving);
        if task.from.is_none() {
            self.finish_task(id, Ok(()));
            return;
        }
        if let Some(task) = self.tasks.all.get_mut(&id) {
            task.releasing = true;
        }
        // The delegator does not mind that the node to release on is dead (measured on 2.3.5).
        self.after(self.settings.release, Event::ReleaseDone(id));
    }

    pub(super) fn release_done(&mut self, id: TaskId) {
        let Some(task) = self.tasks.all.get(&id).cloned() else { return };
        if let Some(from) = task.from {
            self.release(task.segment, task.replica, from, Some(task.source));
        }
        self.finish_task(id, Ok(()));
    }

    /// Releases a copy: its memory is free at once, the coordinator notices with its next look.
    pub(super) fn release(
        &mut self,
        segment: SegmentId,
        replica: usize,
        node: NodeId,
        by: Option<TaskSource>,
    ) {
        self.set_copy(segment, replica, node, CopyState::Leaving);
        let pull = self.settings.distribution_pull.mul_f64(self.task_chance.between(0.2, 1.0));
        self.after(pull, Event::Unlist(segment, replica, node));
        self.note(format_args!("release {segment} on {node} ({by:?})"));
        if by == Some(TaskSource::Manual)
            && let Some(left) = self.nodes.get(&node)
        {
            let hostname = left.hostname.clone();
            self.left.push(LeftByCall { at: self.now, segment, hostname });
        }
        self.check_loss(segment, replica, node, by);
    }

    /// Writes down a segment of the current target that no node of the replica serves any more.
    pub(super) fn check_loss(
        &mut self,
        segment: SegmentId,
        replica: usize,
        node: NodeId,
        by: Option<TaskSource>,
    ) {
        let Some(lost) = self.segments.get(&segment) else { return };
        let served =
            lost.copies.iter().any(|copy| copy.replica == replica && copy.state == CopyState::Serving);
        let wanted = lost.target.is_current();
        let collection = lost.collection;
        if served || !wanted {
            return;
        }
        self.losses.push(Loss { at: self.now, segment, node, released_by: by });
        self.note(format_args!("lost {segment} on {node} ({by:?})"));
        self.mark_dirty(collection);
    }

    pub(super) fn unlist(&mut self, segment: SegmentId, replica: usize, node: NodeId) {
        // Nobody can look at a dead node: what is listed there stays listed as long as its session.
        if self.nodes.get(&node).is_some_and(|node| !node.is_running()) {
            return;
        }
        let leaving = self.segments.get(&segment).is_some_and(|segment| {
            segment
                .copies
                .iter()
                .any(|copy| copy.replica == replica && copy.node == node && copy.state == CopyState::Leaving)
        });
        if leaving {
            self.remove_copy(segment, replica, node);
        }
        self.forget_if_gone(segment);
    }

    /// A load whose task was cancelled half-way ends as a second copy.
    pub(super) fn orphan_loaded(&mut self, segment: SegmentId, replica: usize, node: NodeId) {
        self.set_copy(segment, replica, node, CopyState::Serving);
        if let Some(collection) = self.segments.get(&segment).map(|segment| segment.collection) {
            self.mark_dirty(collection);
        }
    }

    fn remove_copy_if_loading(&mut self, task: &Task) {
        let loading = self.segments.get(&task.segment).is_some_and(|segment| {
            segment.copies.iter().any(|copy| {
                copy.replica == task.replica && copy.node == task.to && copy.state == CopyState::Loading
            })
        });
        if loading {
            self.remove_copy(task.segment, task.replica, task.to);
        }
    }

    pub(super) fn finish_task(&mut self, id: TaskId, outcome: Result<(), Refusal>) {
        let Some(task) = self.tasks.all.remove(&id) else { return };
        self.changes += 1;
        if outcome.is_ok() {
            self.tasks.busy.remove(&(task.segment, task.replica));
        } else {
            // Its caller is told at once; the scheduler forgets it with its next look (measured on 2.3.5).
            let wait = self.settings.distribution_pull.mul_f64(self.task_chance.between(0.2, 1.0));
            self.after(wait, Event::TaskForgotten(task.segment, task.replica, id));
        }
        if let Err(refusal) = &outcome {
            self.remove_copy_if_loading(&task);
            self.note(format_args!("task for {} to {} failed: {}", task.segment, task.to, refusal.reason));
            self.mark_dirty(task.collection);
        }
        if self.is_there_twice(task.segment, task.replica) {
            self.mark_dirty(task.collection);
        }
        if task.source == TaskSource::Balancer && outcome.is_ok() {
            self.tasks.own_moves += 1;
        }
        self.free_slot(&task);
        self.update_load_percentage(task.collection);
        if let Some(call) = task.call {
            self.task_of_call_ended(call, id, outcome);
        }
    }

    /// The node that it was about is gone: there is nothing to do, so it is done.
    pub(super) fn give_up_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.all.get(&id).cloned() else { return };
        self.remove_copy_if_loading(&task);
        self.note(format_args!("task for {} to {} is given up and called done", task.segment, task.to));
        self.mark_dirty(task.collection);
        self.finish_task(id, Ok(()));
    }

    pub(super) fn task_forgotten(&mut self, segment: SegmentId, replica: usize, id: TaskId) {
        if self.tasks.busy.get(&(segment, replica)) == Some(&id) {
            self.tasks.busy.remove(&(segment, replica));
        }
        if let Some(collection) = self.segments.get(&segment).map(|segment| segment.collection) {
            self.mark_dirty(collection);
        }
    }

    fn is_there_twice(&self, segment: SegmentId, replica: usize) -> bool {
        self.segments.get(&segment).is_some_and(|segment| {
            let copies = segment.copies.iter().filter(|copy| copy.replica == replica);
            copies.filter(|copy| copy.state == CopyState::Serving).count() > 1
        })
    }

    /// Ends a task without an outcome: it was replaced, or its caller went away.
    pub(super) fn drop_task(&mut self, id: TaskId) {
        let Some(task) = self.tasks.all.remove(&id) else { return };
        self.tasks.busy.remove(&(task.segment, task.replica));
        if task.started && !task.releasing {
            self.after(self.settings.load_base, Event::OrphanLoaded(task.segment, task.replica, task.to));
        } else if task.releasing {
            self.mark_dirty(task.collection);
        }
        self.free_slot(&task);
        if let Some(call) = task.call {
            self.task_of_call_ended(
                call,
                id,
                Err(Refusal::new(5, "task replaced by one of higher priority")),
            );
        }
    }

    fn free_slot(&mut self, task: &Task) {
        if !task.started {
            if let Some(waiting) = self.tasks.waiting.get_mut(&task.to) {
                let tasks = &self.tasks.all;
                waiting.retain(|id| tasks.contains_key(id));
            }
            return;
        }
        if let Some(running) = self.tasks.running.get_mut(&task.to) {
            *running = running.saturating_sub(1);
        }
        if let Some(next) = self.tasks.waiting.get_mut(&task.to).and_then(VecDeque::pop_front) {
            self.begin(next);
        }
    }
}
