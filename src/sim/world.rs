//! The simulated world: what there is, what will happen next, and the one way time passes.
//!
//! It has no clock of its own. Whoever owns it says what time it is; everything due until then happens, in the
//! order of (time, sequence), so that the same seed and the same calls give the same world to the last bit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::calls::{CallId, CallRecord, PendingCall};
use super::cluster::{CopyState, Share, SimCollection, SimCopy, SimNode, SimSegment, SimTime};
use super::faults::{Fault, FaultState};
use super::own_balancer::OwnBalancer;
use super::profile::Profile;
use super::random::{Purpose, Stream};
use super::tasks::{LeftByCall, Loss, TaskId, Tasks};
use crate::units::{CollectionId, NodeId, SegmentId};

/// Lines of the trace that are kept for a report of a failure; older ones live on in the digest alone.
const TRACE_LINES: usize = 400;

/// How fast things go in the world. The defaults are what was measured on real clusters where it was.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldSettings {
    /// What the calendar says when the world begins.
    pub begins_at: Timestamp,
    /// How long a dead node's session lives on (measured: about 28 s).
    pub session_ttl: Duration,
    /// Pause between the coordinator's looks at the nodes (`queryCoord.distPullInterval`).
    pub distribution_pull: Duration,
    /// Pause between refreshes of the target (`UpdateNextTargetInterval`).
    pub target_refresh: Duration,
    /// What loading any segment takes, however small.
    pub load_base: Duration,
    /// Bytes that a node loads in a second.
    pub load_bytes_per_second: u64,
    /// What releasing a segment takes.
    pub release: Duration,
    /// Share of memory above which a node refuses to load, in percent
    /// (`queryCoord.overloadedMemoryThresholdPercentage`).
    pub load_guard_percent: u64,
    /// Pause between looks at demand, ingestion and use.
    pub traffic_tick: Duration,
    /// Pause between compactions; `None` for none.
    pub compaction: Option<Duration>,
    /// Whether Milvus' own balancer runs from the beginning on.
    pub own_balancer: bool,
    /// Whether growing segments are listed among the sealed ones, as such. No version does so; nothing promises
    /// that none will.
    pub lists_growing: bool,
}

impl Default for WorldSettings {
    fn default() -> Self {
        WorldSettings {
            // Any Monday: days and hours are what matters.
            begins_at: Timestamp::constant(1_767_571_200, 0),
            session_ttl: Duration::from_secs(28),
            distribution_pull: Duration::from_millis(500),
            target_refresh: Duration::from_secs(10),
            load_base: Duration::from_millis(250),
            load_bytes_per_second: 256 << 20,
            release: Duration::from_millis(150),
            load_guard_percent: 90,
            traffic_tick: Duration::from_secs(1),
            compaction: None,
            own_balancer: false,
            lists_growing: false,
        }
    }
}

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    LoadDone(TaskId),
    ReleaseDone(TaskId),
    TaskFails(TaskId, super::calls::Refusal),
    TaskGivesUp(TaskId),
    TaskForgotten(SegmentId, usize, TaskId),
    OrphanLoaded(SegmentId, usize, NodeId),
    Unlist(SegmentId, usize, NodeId),
    CallTimeout(CallId),
    SessionExpiry(NodeId),
    ElectLeaders(CollectionId),
    Check,
    TargetRefresh,
    Traffic,
    Compaction,
    Balance,
    Fault(Fault),
    NodeStarts(Box<SimNode>),
}

/// A simulated cluster.
pub struct World {
    pub(super) profile: Profile,
    pub(super) settings: WorldSettings,
    pub(super) now: SimTime,
    queue: BTreeMap<(SimTime, u64), Event>,
    sequence: u64,
    pub(super) nodes: BTreeMap<NodeId, SimNode>,
    pub(super) collections: BTreeMap<CollectionId, SimCollection>,
    pub(super) segments: BTreeMap<SegmentId, SimSegment>,
    pub(super) shares: BTreeMap<(NodeId, CollectionId), Share>,
    pub(super) resource_groups: BTreeSet<String>,
    pub(super) tasks: Tasks,
    pub(super) calls: BTreeMap<CallId, PendingCall>,
    pub(super) log: Vec<CallRecord>,
    pub(super) losses: Vec<Loss>,
    pub(super) left: Vec<LeftByCall>,
    pub(super) faults: FaultState,
    pub(super) own_balancer: OwnBalancer,
    /// Settings that were altered over HTTP, as written, by name.
    pub(super) altered: BTreeMap<&'static str, String>,
    pub(super) dirty: BTreeSet<CollectionId>,
    check_is_due: bool,
    pub(super) target_pending: BTreeSet<CollectionId>,
    pub(super) next_node: i64,
    pub(super) next_id: i64,
    pub(super) task_chance: Stream,
    pub(super) size_chance: Stream,
    pub(super) compaction_chance: Stream,
    pub(super) answer_chance: Stream,
    pub(super) delegator_chance: Stream,
    pub(super) counts: super::answers::CallCounts,
    pub(super) metrics_cache: Option<super::answers::CachedMetrics>,
    /// Counts what could change the balancer's mind.
    pub(super) changes: u64,
    /// By how much the calendar was turned.
    turned_by: jiff::SignedDuration,
    trace: VecDeque<String>,
    digest: u64,
}

/// Ids of collections, segments and replicas begin here: like Milvus' own they exceed 2^53.
const FIRST_ID: i64 = 455_000_000_000_000_001;

impl World {
    /// An empty world.
    pub fn new(profile: Profile, settings: WorldSettings, seed: u64) -> World {
        let own_balancer = OwnBalancer::new(&profile, settings.own_balancer);
        let mut world = World {
            profile,
            now: SimTime::ZERO,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: BTreeMap::new(),
            collections: BTreeMap::new(),
            segments: BTreeMap::new(),
            shares: BTreeMap::new(),
            resource_groups: BTreeSet::from([super::DEFAULT_RESOURCE_GROUP.to_owned()]),
            tasks: Tasks::default(),
            calls: BTreeMap::new(),
            log: Vec::new(),
            losses: Vec::new(),
            left: Vec::new(),
            faults: FaultState::default(),
            own_balancer,
            altered: BTreeMap::new(),
            dirty: BTreeSet::new(),
            check_is_due: false,
            target_pending: BTreeSet::new(),
            next_node: 1,
            next_id: FIRST_ID,
            task_chance: Stream::new(seed, Purpose::Tasks),
            size_chance: Stream::new(seed, Purpose::Sizes),
            compaction_chance: Stream::new(seed, Purpose::Compaction),
            answer_chance: Stream::new(seed, Purpose::Answers),
            delegator_chance: Stream::new(seed, Purpose::Delegators),
            counts: super::answers::CallCounts::default(),
            metrics_cache: None,
            changes: 0,
            turned_by: jiff::SignedDuration::ZERO,
            trace: VecDeque::new(),
            digest: FNV_BASIS,
            settings,
        };
        world.after(world.settings.traffic_tick, Event::Traffic);
        world.after(world.settings.target_refresh, Event::TargetRefresh);
        if let Some(pause) = world.settings.compaction {
            world.after(pause, Event::Compaction);
        }
        world.keep_balancing();
        world
    }

    /// Lets time pass. A time that lies behind is no error: nothing happens.
    pub fn advance(&mut self, to: SimTime) {
        while let Some(((due, _), event)) =
            self.queue.first_key_value().map(|(key, _)| *key).and_then(|key| {
                if key.0 > to { None } else { self.queue.remove(&key).map(|event| (key, event)) }
            })
        {
            self.now = self.now.max(due);
            self.handle(event);
        }
        self.now = self.now.max(to);
    }

    /// When the next thing happens.
    pub fn next_event_at(&self) -> Option<SimTime> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// What time it is in the world.
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// What the calendar says in the world.
    pub fn wall(&self) -> Timestamp {
        let past = jiff::SignedDuration::try_from(self.now).unwrap_or(jiff::SignedDuration::MAX);
        let past = past.saturating_add(self.turned_by);
        self.settings.begins_at.saturating_add(past).unwrap_or(Timestamp::MAX)
    }

    /// Turns the calendar, forwards or backwards. Nothing in the world goes by it.
    pub fn turn_calendar(&mut self, by: jiff::SignedDuration) {
        self.turned_by = self.turned_by.saturating_add(by);
        self.note(format_args!("the calendar is turned by {by:#}"));
    }

    /// The version it plays.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// How fast things go in it.
    pub fn settings(&self) -> &WorldSettings {
        &self.settings
    }

    /// Moves and loads that are not done.
    pub fn pending_tasks(&self) -> impl Iterator<Item = &super::tasks::Task> {
        self.tasks.all.values()
    }

    /// Its nodes, dead ones included until their session ends.
    pub fn nodes(&self) -> &BTreeMap<NodeId, SimNode> {
        &self.nodes
    }

    /// Its collections.
    pub fn collections(&self) -> &BTreeMap<CollectionId, SimCollection> {
        &self.collections
    }

    /// Its sealed segments.
    pub fn segments(&self) -> &BTreeMap<SegmentId, SimSegment> {
        &self.segments
    }

    /// Every `LoadBalance` call so far.
    pub fn calls(&self) -> &[CallRecord] {
        &self.log
    }

    /// Every segment that was left without a copy in a replica.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Every segment that left a node because a call had asked for it.
    pub fn left_by_calls(&self) -> &[LeftByCall] {
        &self.left
    }

    /// What was asked of the coordinator.
    pub fn counts(&self) -> &super::answers::CallCounts {
        &self.counts
    }

    /// The last things that happened, for the report of a failure.
    pub fn trace(&self) -> impl Iterator<Item = &str> {
        self.trace.iter().map(String::as_str)
    }

    /// A number that stands for everything that has happened.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// A node by its machine's name, which survives restarts.
    pub fn node_named(&self, hostname: &str) -> Option<NodeId> {
        self.nodes.values().rev().find(|node| node.hostname == hostname).map(|node| node.id)
    }

    /// Puts something on the calendar.
    pub(super) fn after(&mut self, wait: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + wait, self.sequence), event);
    }

    /// Writes down what happened.
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        let line = format!("{:10.3} {what}", self.now.as_secs_f64());
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if self.trace.len() == TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    /// A new id for a segment, a collection or a replica.
    pub(super) fn take_id(&mut self) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Has the coordinator's checkers look at a collection soon.
    pub(super) fn mark_dirty(&mut self, collection: CollectionId) {
        self.dirty.insert(collection);
        if !self.check_is_due {
            self.check_is_due = true;
            // `queryCoord.checkSegmentInterval`.
            self.after(Duration::from_secs(1), Event::Check);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::LoadDone(task) => self.load_done(task),
            Event::ReleaseDone(task) => self.release_done(task),
            Event::TaskFails(task, refusal) => self.finish_task(task, Err(refusal)),
            Event::TaskGivesUp(task) => self.give_up_task(task),
            Event::TaskForgotten(segment, replica, task) => self.task_forgotten(segment, replica, task),
            Event::OrphanLoaded(segment, replica, node) => self.orphan_loaded(segment, replica, node),
            Event::Unlist(segment, replica, node) => self.unlist(segment, replica, node),
            Event::CallTimeout(call) => self.call_times_out(call),
            Event::SessionExpiry(node) => self.session_expires(node),
            Event::ElectLeaders(collection) => self.elect_leaders(collection),
            Event::Check => {
                self.check_is_due = false;
                self.check_segments();
            }
            Event::TargetRefresh => {
                self.refresh_targets();
                self.after(self.settings.target_refresh, Event::TargetRefresh);
            }
            Event::Traffic => {
                self.traffic_tick();
                self.after(self.settings.traffic_tick, Event::Traffic);
            }
            Event::Compaction => {
                self.compact_one();
                if let Some(pause) = self.settings.compaction {
                    self.after(pause, Event::Compaction);
                }
            }
            Event::Balance => self.balance(),
            Event::Fault(fault) => self.strike(fault),
            Event::NodeStarts(node) => self.node_starts(*node),
        }
    }

    /// Memory and disk that a copy of a segment takes.
    pub(super) fn footprint(&self, segment: &SimSegment) -> (u64, u64) {
        let mapped = self.collections.get(&segment.collection).is_some_and(|collection| collection.mapped);
        // What stays in memory of a mapped segment: its tables, not its data.
        if mapped { (segment.bytes / 20, segment.bytes) } else { (segment.bytes, 0) }
    }

    /// CPU time that one search costs on a segment: a fixed part and a part that grows with its bytes.
    fn search_micros(&self, segment: &SimSegment) -> u64 {
        let mapped = self.collections.get(&segment.collection).is_some_and(|collection| collection.mapped);
        let work = 60 + (segment.bytes >> 20) * 12;
        if mapped { work * 2 } else { work }
    }

    /// Places a copy.
    pub(super) fn add_copy(&mut self, id: SegmentId, replica: usize, node: NodeId, state: CopyState) {
        let Some(segment) = self.segments.get_mut(&id) else { return };
        if segment.copies.iter().any(|copy| copy.replica == replica && copy.node == node) {
            return;
        }
        segment.copies.push(SimCopy { replica, node, state });
        self.account(id, node, None, Some(state));
    }

    /// Changes what a copy is doing.
    pub(super) fn set_copy(&mut self, id: SegmentId, replica: usize, node: NodeId, state: CopyState) {
        let Some(segment) = self.segments.get_mut(&id) else { return };
        let Some(copy) = segment.copies.iter_mut().find(|copy| copy.replica == replica && copy.node == node)
        else {
            return;
        };
        let before = std::mem::replace(&mut copy.state, state);
        self.account(id, node, Some(before), Some(state));
    }

    /// Removes a copy.
    pub(super) fn remove_copy(&mut self, id: SegmentId, replica: usize, node: NodeId) {
        let Some(segment) = self.segments.get_mut(&id) else { return };
        let found = segment.copies.iter().position(|copy| copy.replica == replica && copy.node == node);
        let Some(at) = found else { return };
        let copy = segment.copies.remove(at);
        self.account(id, node, Some(copy.state), None);
    }

    /// Keeps the sums per node and per (node, collection) right.
    fn account(&mut self, id: SegmentId, node: NodeId, before: Option<CopyState>, after: Option<CopyState>) {
        self.changes += 1;
        let Some(segment) = self.segments.get(&id) else { return };
        let (memory, disk) = self.footprint(segment);
        let micros = self.search_micros(segment);
        let (rows, bytes, collection) = (segment.rows, segment.bytes, segment.collection);
        let resident = |state: Option<CopyState>| state.is_some_and(CopyState::is_resident);
        if let Some(owner) = self.nodes.get_mut(&node) {
            match (resident(before), resident(after)) {
                (false, true) => {
                    owner.sealed_memory += memory;
                    owner.mapped_disk += disk;
                }
                (true, false) => {
                    owner.sealed_memory = owner.sealed_memory.saturating_sub(memory);
                    owner.mapped_disk = owner.mapped_disk.saturating_sub(disk);
                }
                _ => {}
            }
        }
        let share = self.shares.entry((node, collection)).or_default();
        match (before == Some(CopyState::Serving), after == Some(CopyState::Serving)) {
            (false, true) => {
                share.segments += 1;
                share.rows += rows;
                share.bytes += bytes;
                share.search_micros += micros;
            }
            (true, false) => {
                share.segments = share.segments.saturating_sub(1);
                share.rows = share.rows.saturating_sub(rows);
                share.bytes = share.bytes.saturating_sub(bytes);
                share.search_micros = share.search_micros.saturating_sub(micros);
            }
            _ => {}
        }
    }

    /// Whether the coordinator would put sealed segments of a replica on a node.
    pub(super) fn is_fit(&self, collection: CollectionId, replica: usize, node: NodeId) -> bool {
        let is_member = self
            .collections
            .get(&collection)
            .and_then(|collection| collection.replicas.get(replica))
            .is_some_and(|replica| replica.read_write.contains(&node));
        is_member && self.nodes.get(&node).is_some_and(SimNode::is_believed_up)
    }

    /// The replica of a collection that a node belongs to; a node is in one at most.
    pub(super) fn replica_with(&self, collection: CollectionId, node: NodeId) -> Option<usize> {
        self.collections.get(&collection)?.replicas.iter().position(|replica| replica.has(node))
    }

    /// What a node holds, by collection.
    pub fn shares_of(&self, node: NodeId) -> impl Iterator<Item = (CollectionId, &Share)> {
        let all = (node, CollectionId(i64::MIN))..=(node, CollectionId(i64::MAX));
        self.shares.range(all).map(|((_, collection), share)| (*collection, share))
    }

    /// Segments of the current target, with what lists them.
    pub(super) fn listed_segments(&self, collection: CollectionId) -> impl Iterator<Item = &SimSegment> {
        self.collections
            .get(&collection)
            .into_iter()
            .flat_map(|collection| &collection.segments)
            .filter_map(|id| self.segments.get(id))
            .filter(|segment| segment.target.is_current())
    }
}

/// FNV-1a, 64 bits: small, fixed, and the same on every machine.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
