//! Milvus' own balancer, switched on or not: its rounds, with the score that the pure half models.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::{CopyState, TargetState};
use super::profile::{Line, Profile};
use super::tasks::{Task, TaskSource};
use super::world::{Event, World};
use crate::model::milvus_score::{
    ChannelView, NodeView, ReplicaView, RowCounts, ScoreSettings, SegmentView, plan_channels, plan_segments,
};
use crate::observe::observation::ServerVersion;
use crate::units::{Bytes, CollectionId, NodeId, Rows, SegmentId};

/// The balancer's settings and where its last round ended.
pub struct OwnBalancer {
    pub(super) settings: ScoreSettings,
    /// What it goes back to when a setting is reset.
    pub(super) defaults: ScoreSettings,
    suspended: bool,
    channels_suspended: bool,
    /// Whether its next round is on the calendar.
    is_due: bool,
    last: Option<CollectionId>,
    /// State of the world in which a whole round found nothing to do.
    idle_at: Option<u64>,
}

/// As short as `queryCoord.checkBalanceInterval` of the later versions.
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);

/// What a node carries in all, summed once for a round.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    sealed_rows: u64,
    growing_rows: u64,
    channels: u32,
}

impl OwnBalancer {
    pub(super) fn new(profile: &Profile, is_on: bool) -> OwnBalancer {
        let version = ServerVersion::parse(&profile.build_version);
        let settings = ScoreSettings::for_version(&version)
            .or_else(|| ScoreSettings::for_version(&ServerVersion::parse("3.0.0")));
        #[allow(clippy::expect_used)] // a constant version that is known, checked by a test
        let settings = ScoreSettings { auto_balance: is_on, ..settings.expect("defaults of 3.0") };
        OwnBalancer {
            defaults: settings.clone(),
            settings,
            suspended: false,
            channels_suspended: false,
            is_due: false,
            last: None,
            idle_at: None,
        }
    }

    pub(super) fn settings(&self) -> &ScoreSettings {
        &self.settings
    }
}

impl World {
    /// Suspends or resumes the balancer, as `/management/querycoord/balance/*` does; draining goes on.
    pub fn suspend_own_balancer(&mut self, suspended: bool) {
        self.own_balancer.suspended = suspended;
    }

    /// Whether it is suspended.
    pub fn own_balancer_is_suspended(&self) -> bool {
        self.own_balancer.suspended
    }

    /// Suspends or resumes the balancing of channels (`streaming/balance/status`, 2.6+).
    pub fn suspend_channel_balance(&mut self, suspended: bool) {
        self.own_balancer.channels_suspended = suspended;
        self.changes += 1;
    }

    /// Whether the balancing of channels is suspended.
    pub fn channel_balance_is_suspended(&self) -> bool {
        self.own_balancer.channels_suspended
    }

    /// Switches it on or off, as `queryCoord.autoBalance` does: draining goes on.
    pub fn switch_own_balancer(&mut self, is_on: bool) {
        self.own_balancer.settings.auto_balance = is_on;
        self.keep_balancing();
    }

    /// A restarting coordinator forgets that its balancer was suspended; what is set stays set.
    pub(super) fn forget_suspension(&mut self) {
        self.own_balancer.suspended = false;
        self.own_balancer.channels_suspended = false;
    }

    /// Puts the next round on the calendar, if there is to be one.
    pub(super) fn keep_balancing(&mut self) {
        if self.own_balancer.settings.auto_balance && !self.own_balancer.is_due {
            self.own_balancer.is_due = true;
            // Time has to pass from round to round, whatever is set.
            let pause = self.own_balancer.settings.auto_balance_interval.max(SHORTEST_PAUSE);
            self.after(pause, Event::Balance);
        }
    }

    pub(super) fn balance(&mut self) {
        self.own_balancer.is_due = false;
        self.balance_round();
        self.keep_balancing();
    }

    /// How many segments it has moved.
    pub fn own_balancer_moves(&self) -> u64 {
        self.tasks.own_moves
    }

    /// The settings it works with.
    pub fn own_balancer_settings(&self) -> &ScoreSettings {
        self.own_balancer.settings()
    }

    /// One round: collections in turn, until there is something to do.
    fn balance_round(&mut self) {
        let is_on = self.own_balancer.settings.auto_balance;
        let is_idle = self.own_balancer.idle_at == Some(self.changes);
        if self.own_balancer.suspended || !is_on || is_idle || self.coordinator_refuses().is_some() {
            return;
        }
        // 2.4: one collection that is not ready holds up all of them.
        let unready = |world: &World, id: &CollectionId| {
            let collection = &world.collections[id];
            collection.loaded && collection.load_percentage < 100
        };
        let all: Vec<CollectionId> = self.collections.keys().copied().collect();
        if self.profile.line == Line::V2_4 && all.iter().any(|id| unready(self, id)) {
            return;
        }
        let start = self.own_balancer.last.map_or(0, |last| all.partition_point(|id| *id <= last));
        let in_turn = all[start..].iter().chain(&all[..start]).copied();
        let limit = self.own_balancer.settings.collections_per_round.max(1);
        let mut looked_at = 0;
        let carried = self.carried();
        let changes = self.changes;
        for id in in_turn.collect::<Vec<_>>() {
            if !self.collections[&id].loaded || unready(self, &id) {
                continue;
            }
            self.own_balancer.last = Some(id);
            let planned = self.balance_collection(id, &carried);
            looked_at += 1;
            if planned > 0 || (looked_at >= limit && limit > 1) {
                return;
            }
        }
        self.own_balancer.idle_at = Some(changes);
    }

    fn balance_collection(&mut self, id: CollectionId, carried: &BTreeMap<NodeId, Carried>) -> usize {
        // It waits for its own tasks on a collection before it makes more.
        let busy =
            self.tasks.all.values().any(|task| task.collection == id && task.source == TaskSource::Balancer);
        if busy {
            return 0;
        }
        let mut planned = 0;
        for replica in 0..self.collections[&id].replicas.len() {
            let view = self.view_of_replica(id, replica, carried);
            let channels = plan_channels(&view, &self.own_balancer.settings);
            let moves_channels = !self.profile.has_streaming_nodes && !self.own_balancer.channels_suspended;
            if !channels.is_empty() && moves_channels {
                for moved in channels {
                    self.note(format_args!("channel {} of {id} to {}", moved.channel, moved.to));
                    self.change_leader(id, replica, moved.channel, moved.to);
                    planned += 1;
                }
                continue;
            }
            for moved in plan_segments(&view, &self.own_balancer.settings) {
                let task = Task {
                    source: TaskSource::Balancer,
                    call: None,
                    segment: moved.segment,
                    collection: id,
                    replica,
                    from: Some(moved.from),
                    to: moved.to,
                    started: false,
                    releasing: false,
                };
                planned += usize::from(self.add_task(task).is_ok());
            }
        }
        planned
    }

    /// Makes a node the delegator of a shard.
    pub(super) fn change_leader(&mut self, id: CollectionId, replica: usize, shard: usize, to: NodeId) {
        let leader = self
            .collections
            .get_mut(&id)
            .and_then(|collection| collection.replicas.get_mut(replica))
            .and_then(|replica| replica.leaders.get_mut(shard));
        if let Some(leader) = leader {
            *leader = Some(to);
        }
        // Level 0 follows its delegator.
        let level0: Vec<(SegmentId, NodeId)> = self
            .listed_segments(id)
            .filter(|segment| segment.level0 && segment.shard == shard)
            .flat_map(|segment| {
                segment
                    .copies
                    .iter()
                    .filter(|copy| copy.replica == replica)
                    .map(|copy| (segment.id, copy.node))
            })
            .collect();
        for (segment, from) in level0 {
            self.remove_copy(segment, replica, from);
            self.add_copy(segment, replica, to, CopyState::Serving);
        }
        self.measure_led_memory();
    }

    /// A replica as the balancer sees it.
    pub fn replica_view(&self, id: CollectionId, replica: usize) -> ReplicaView {
        self.view_of_replica(id, replica, &self.carried())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rows are not negative
    fn carried(&self) -> BTreeMap<NodeId, Carried> {
        let mut carried = BTreeMap::<NodeId, Carried>::new();
        for ((node, _), share) in &self.shares {
            carried.entry(*node).or_default().sealed_rows += share.rows;
        }
        for collection in self.collections.values().filter(|collection| collection.loaded) {
            for replica in &collection.replicas {
                for (leader, growing) in replica.leaders.iter().zip(&collection.growing_rows) {
                    let Some(leader) = leader else { continue };
                    let leads = carried.entry(*leader).or_default();
                    leads.growing_rows += *growing as u64;
                    leads.channels += 1;
                }
            }
        }
        carried
    }

    fn view_of_replica(
        &self,
        id: CollectionId,
        replica: usize,
        carried: &BTreeMap<NodeId, Carried>,
    ) -> ReplicaView {
        let Some(collection) = self.collections.get(&id) else { return ReplicaView::default() };
        let Some(members) = collection.replicas.get(replica) else { return ReplicaView::default() };
        let queued = self.queued_rows(id);
        let nodes = members
            .read_write
            .iter()
            .filter_map(|node| self.nodes.get(node))
            .filter(|node| node.is_believed_up())
            .map(|node| {
                let (own, all) = queued.get(&node.id).copied().unwrap_or_default();
                let carries = carried.get(&node.id).copied().unwrap_or_default();
                let led = members.leaders.iter().filter(|leader| **leader == Some(node.id)).count();
                let sealed = self.shares.get(&(node.id, id)).map_or(0, |share| share.rows);
                NodeView {
                    node: node.id,
                    memory: Some(Bytes(node.memory)),
                    collection: RowCounts {
                        sealed: Rows(sealed),
                        growing: Rows(self.growing_rows_on(node.id, id)),
                        queued: own,
                    },
                    all: RowCounts {
                        sealed: Rows(carries.sealed_rows),
                        growing: Rows(carries.growing_rows),
                        queued: all,
                    },
                    foreign_channels: carries.channels.saturating_sub(u32::try_from(led).unwrap_or(0)),
                }
            })
            .collect();
        let mut segments = Vec::new();
        for segment in self.listed_segments(id).filter(|segment| !segment.level0) {
            let copies: Vec<_> = segment
                .copies
                .iter()
                .filter(|copy| copy.replica == replica && copy.state.is_listed())
                .collect();
            let movable = copies.len() == 1
                && segment.target == TargetState::Current
                && !self.tasks.busy.contains_key(&(segment.id, replica));
            segments.extend(copies.into_iter().map(|copy| SegmentView {
                segment: segment.id,
                node: copy.node,
                rows: Rows(segment.rows),
                channel: Some(segment.shard),
                movable,
            }));
        }
        let channels = collection
            .channels
            .iter()
            .enumerate()
            .map(|(shard, name)| ChannelView {
                name: name.clone(),
                leader: members.leaders.get(shard).copied().flatten(),
                exclusive_nodes: members
                    .exclusive
                    .get(shard)
                    .map(|own| own.iter().copied().collect())
                    .unwrap_or_default(),
            })
            .collect();
        ReplicaView { nodes, segments, channels }
    }

    /// Growing rows of a collection that a node holds as a delegator.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rows are not negative
    pub(super) fn growing_rows_on(&self, node: NodeId, id: CollectionId) -> u64 {
        let Some(collection) = self.collections.get(&id).filter(|collection| collection.loaded) else {
            return 0;
        };
        let mut rows = 0;
        for replica in &collection.replicas {
            for (leader, growing) in replica.leaders.iter().zip(&collection.growing_rows) {
                if *leader == Some(node) {
                    rows += *growing as u64;
                }
            }
        }
        rows
    }

    /// Rows that unfinished tasks bring to and take from nodes, of one collection and of all.
    fn queued_rows(&self, of: CollectionId) -> BTreeMap<NodeId, (i64, i64)> {
        let mut queued = BTreeMap::<NodeId, (i64, i64)>::new();
        for task in self.tasks.all.values() {
            let rows = self.segments.get(&task.segment).map_or(0, |segment| segment.rows);
            let rows = i64::try_from(rows).unwrap_or(i64::MAX);
            let own = if task.collection == of { rows } else { 0 };
            if !task.releasing {
                let (collection, all) = queued.entry(task.to).or_default();
                *collection += own;
                *all += rows;
            }
            if let Some(from) = task.from {
                let (collection, all) = queued.entry(from).or_default();
                *collection -= own;
                *all -= rows;
            }
        }
        queued
    }
}
