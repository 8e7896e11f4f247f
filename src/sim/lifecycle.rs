//! Nodes die, stop, come back under other ids; the coordinator notices late and puts things right.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cluster::{CopyState, NodeState, SimNode, SimRole, SimSegment, SimTime, TargetState};
use super::tasks::{Task, TaskSource};
use super::world::{Event, World};
use crate::units::{CollectionId, NodeId, SegmentId};

/// How long shards are without a leader after their node's session ended: segments vanish and reappear within
/// 1 to 3 s (measured on 2.3.5).
const ELECTION: (f64, f64) = (1.0, 3.0);

impl World {
    /// Kills a node's process. Its session lives on: for a while everybody else still sees it.
    pub fn crash(&mut self, id: NodeId) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if !node.is_running() {
            return;
        }
        node.state = NodeState::Crashed { at: now };
        self.note(format_args!("node {id} crashes"));
        self.after(self.settings.session_ttl, Event::SessionExpiry(id));
    }

    /// Asks a node to stop: it leaves its group at once and is drained.
    pub fn stop_gracefully(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.state != NodeState::Up {
            return;
        }
        node.state = NodeState::Stopping;
        self.note(format_args!("node {id} stops"));
        self.make_read_only(id);
    }

    /// Takes a node out of its resource group (`node/suspend`, 2.4+): it lives on, read-only, and is drained.
    pub fn suspend(&mut self, id: NodeId) {
        if self.nodes.get(&id).is_some_and(|node| node.state == NodeState::Up) {
            self.note(format_args!("node {id} suspended"));
            self.make_read_only(id);
        }
    }

    fn make_read_only(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.resource_group = None;
        }
        let mut touched = Vec::new();
        for collection in self.collections.values_mut() {
            for replica in &mut collection.replicas {
                if replica.read_write.remove(&id) {
                    replica.read_only.insert(id);
                    touched.push(collection.id);
                }
            }
        }
        for collection in touched {
            self.redraw_exclusive_sets(collection);
            self.after(Duration::from_secs(1), Event::ElectLeaders(collection));
            self.mark_dirty(collection);
        }
    }

    /// The session of a dead node ends: now the coordinator knows.
    pub(super) fn session_expires(&mut self, id: NodeId) {
        if self.nodes.get(&id).is_none_or(SimNode::is_running) {
            return;
        }
        self.note(format_args!("session of node {id} ends"));
        self.forget_node(id);
    }

    /// Removes a node and everything on it.
    fn forget_node(&mut self, id: NodeId) {
        let held: Vec<CollectionId> = self.collections.keys().copied().collect();
        let mut lost: Vec<(SegmentId, usize)> = Vec::new();
        for segment in self.segments.values() {
            lost.extend(
                segment.copies.iter().filter(|copy| copy.node == id).map(|copy| (segment.id, copy.replica)),
            );
        }
        for (segment, replica) in lost {
            self.remove_copy(segment, replica, id);
            self.check_loss(segment, replica, id, None);
        }
        self.nodes.remove(&id);
        self.shares.retain(|(node, _), _| *node != id);
        let election = self.task_chance.between(ELECTION.0, ELECTION.1);
        for collection in held {
            let Some(touched) = self.collections.get_mut(&collection) else { continue };
            let mut was_here = false;
            for replica in &mut touched.replicas {
                was_here |= replica.has(id);
                replica.read_write.remove(&id);
                replica.read_only.remove(&id);
                replica.streaming.remove(&id);
                for leader in &mut replica.leaders {
                    if *leader == Some(id) {
                        *leader = None;
                    }
                }
            }
            if was_here {
                self.redraw_exclusive_sets(collection);
                self.after(Duration::from_secs_f64(election), Event::ElectLeaders(collection));
            }
        }
    }

    /// Gives shards without a fit leader a new one: the node of the replica that leads least, channels of the
    /// collection itself first, then all.
    pub(super) fn elect_leaders(&mut self, id: CollectionId) {
        let leads = self.leads();
        let Some(collection) = self.collections.get_mut(&id) else { return };
        let nodes = &self.nodes;
        let is_up = |node: &NodeId| nodes.get(node).is_some_and(SimNode::is_believed_up);
        let is_frozen = |node: &NodeId| nodes.get(node).is_some_and(|node| node.frozen);
        for replica in &mut collection.replicas {
            let on_streaming = replica.streaming.iter().any(&is_up);
            let homes = if on_streaming { &replica.streaming } else { &replica.read_write };
            let mut homes: Vec<NodeId> = homes.iter().copied().filter(|node| is_up(node)).collect();
            // A frozen node keeps what nobody else can take.
            if homes.iter().any(|node| !is_frozen(node)) {
                homes.retain(|node| !is_frozen(node));
            }
            for shard in 0..replica.leaders.len() {
                let current = replica.leaders[shard];
                if current.is_some_and(|leader| homes.contains(&leader)) {
                    continue;
                }
                let own = |node: &NodeId| replica.leaders.iter().filter(|led| **led == Some(*node)).count();
                let all = |node: &NodeId| leads.get(node).copied().unwrap_or(0);
                let chosen = homes.iter().min_by_key(|node| (own(node), all(node), **node)).copied();
                // A leader that is merely being drained stays until there is another.
                replica.leaders[shard] = chosen.or(current);
            }
        }
        self.note(format_args!("leaders of {id} elected"));
        self.measure_led_memory();
        self.mark_dirty(id);
    }

    /// Channels that each node leads.
    fn leads(&self) -> BTreeMap<NodeId, usize> {
        let mut leads = BTreeMap::new();
        let replicas = self.collections.values().flat_map(|collection| &collection.replicas);
        for leader in replicas.flat_map(|replica| &replica.leaders).flatten() {
            *leads.entry(*leader).or_default() += 1;
        }
        leads
    }

    /// Starts a node: a new session, whatever it was before. It joins a replica of every collection of its
    /// group.
    pub fn start_node(&mut self, template: SimNode) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        let node = SimNode {
            id,
            state: NodeState::Up,
            sealed_memory: 0,
            mapped_disk: 0,
            led_memory: 0,
            started_at: self.now,
            cpu_seconds: 0.0,
            demand: 0.0,
            ..template
        };
        self.note(format_args!("node {id} starts on {}", node.hostname));
        let group = node.resource_group.clone();
        self.nodes.insert(id, node);
        let Some(group) = group else { return id };
        self.resource_groups.insert(group.clone());
        let mut joined = Vec::new();
        for collection in self.collections.values_mut() {
            let smallest = collection
                .replicas
                .iter_mut()
                .filter(|replica| replica.resource_group == group)
                .min_by_key(|replica| (replica.read_write.len(), replica.id));
            if let Some(replica) = smallest {
                replica.read_write.insert(id);
                joined.push(collection.id);
            }
        }
        for collection in joined {
            self.redraw_exclusive_sets(collection);
            self.elect_leaders(collection);
        }
        id
    }

    pub(super) fn node_starts(&mut self, node: SimNode) {
        self.start_node(node);
    }

    /// Brings a crashed or stopped machine back after a while, under a new id at its old address.
    pub fn restart_later(&mut self, id: NodeId, wait: Duration) {
        let Some(node) = self.nodes.get(&id) else { return };
        let group = node.resource_group.clone();
        let group =
            group.or_else(|| (node.role == SimRole::Query).then(|| super::DEFAULT_RESOURCE_GROUP.to_owned()));
        let again = SimNode {
            resource_group: group,
            slowness: 1.0,
            refuses_loads_until: SimTime::ZERO,
            errors_until: SimTime::ZERO,
            frozen: false,
            ..node.clone()
        };
        self.after(wait, Event::NodeStarts(Box::new(again)));
    }

    /// In channel-exclusive mode every channel owns a set of nodes; the mode needs enough nodes per channel.
    pub(super) fn redraw_exclusive_sets(&mut self, id: CollectionId) {
        self.changes += 1;
        let settings = self.own_balancer.settings();
        let is_exclusive = settings.algorithm == crate::model::milvus_score::Algorithm::ChannelLevel;
        let factor = settings.channel_exclusive_node_factor as usize;
        let Some(collection) = self.collections.get_mut(&id) else { return };
        let channels = collection.channels.len();
        for replica in &mut collection.replicas {
            replica.exclusive = vec![BTreeSet::new(); channels];
            if !is_exclusive || channels == 0 || replica.read_write.len() < channels * factor {
                continue;
            }
            for (position, node) in replica.read_write.iter().enumerate() {
                replica.exclusive[position % channels].insert(*node);
            }
        }
    }

    /// The checkers: load what is missing, drain read-only nodes, release what is there twice.
    pub(super) fn check_segments(&mut self) {
        let dirty = std::mem::take(&mut self.dirty);
        for collection in dirty {
            if !self.collections.get(&collection).is_some_and(|collection| collection.loaded) {
                continue;
            }
            let ids: Vec<SegmentId> = self.collections[&collection].segments.iter().copied().collect();
            let replicas = self.collections[&collection].replicas.len();
            for id in ids {
                for replica in 0..replicas {
                    self.check_copy(id, replica);
                }
            }
            self.update_load_percentage(collection);
        }
        self.forget_drained_nodes();
    }

    fn check_copy(&mut self, id: SegmentId, replica: usize) {
        let Some(segment) = self.segments.get(&id) else { return };
        if self.tasks.busy.contains_key(&(id, replica)) {
            return;
        }
        let (collection, target) = (segment.collection, segment.target);
        let serving: Vec<NodeId> = segment
            .copies
            .iter()
            .filter(|copy| copy.replica == replica && copy.state == CopyState::Serving)
            .map(|copy| copy.node)
            .collect();
        if target == TargetState::New {
            return;
        }
        if target == TargetState::Gone {
            for node in serving {
                self.release(id, replica, node, Some(TaskSource::Checker));
            }
            return;
        }
        // Level 0 must sit with its delegator.
        let leader = self.leader_of(segment, replica).filter(|_| segment.level0);
        let fit: Vec<NodeId> = serving
            .iter()
            .copied()
            .filter(|node| match leader {
                Some(leader) => *node == leader,
                None => segment.level0 || self.is_fit(collection, replica, *node),
            })
            .collect();
        if serving.is_empty() || fit.is_empty() {
            let is_loading =
                segment.copies.iter().any(|copy| copy.replica == replica && copy.state == CopyState::Loading);
            if !is_loading {
                self.place(id, replica, serving.first().copied());
            }
            return;
        }
        if serving.len() > 1 {
            // The copy that arrived first goes, as nothing says which of them is wanted.
            let spare = serving.iter().find(|node| !fit.contains(node)).copied().unwrap_or(serving[0]);
            self.release(id, replica, spare, Some(TaskSource::Checker));
        }
    }

    /// Loads a segment on the node with the fewest rows for its memory; level 0 goes to the delegator.
    fn place(&mut self, id: SegmentId, replica: usize, from: Option<NodeId>) {
        let Some(segment) = self.segments.get(&id) else { return };
        let collection = segment.collection;
        let to =
            if segment.level0 { self.leader_of(segment, replica) } else { self.emptiest(segment, replica) };
        let Some(to) = to else {
            // Nobody to hold it: look again later.
            self.mark_dirty(collection);
            return;
        };
        let task = Task {
            source: TaskSource::Checker,
            call: None,
            segment: id,
            collection,
            replica,
            from,
            to,
            started: false,
            releasing: false,
        };
        // Refused only while another task is at work on it, whose end is looked at again.
        if self.add_task(task).is_err() {
            self.mark_dirty(collection);
        }
    }

    pub(super) fn leader_of(&self, segment: &SimSegment, replica: usize) -> Option<NodeId> {
        let replica = self.collections.get(&segment.collection)?.replicas.get(replica)?;
        replica.leaders.get(segment.shard).copied().flatten()
    }

    /// Milvus places new segments round-robin first; rows per memory come to the same and keep no state. What
    /// is on its way counts as there.
    fn emptiest(&self, segment: &SimSegment, replica: usize) -> Option<NodeId> {
        let members = self.collections.get(&segment.collection)?.replicas.get(replica)?;
        let own = members.exclusive.get(segment.shard).filter(|own| !own.is_empty());
        own.unwrap_or(&members.read_write)
            .iter()
            .filter_map(|id| self.nodes.get(id))
            .filter(|node| node.is_believed_up() && node.refuses_loads_until <= self.now)
            .min_by_key(|node| {
                (u128::from(node.sealed_memory) * 1_000_000 / u128::from(node.memory.max(1)), node.id)
            })
            .map(|node| node.id)
    }

    /// A stopping node without data is gone.
    fn forget_drained_nodes(&mut self) {
        let stopping: Vec<NodeId> = self
            .nodes
            .values()
            .filter(|node| node.state == NodeState::Stopping)
            .map(|node| node.id)
            .collect();
        for id in stopping {
            let holds = self.shares.iter().any(|((node, _), share)| *node == id && share.segments > 0);
            let leads = self
                .collections
                .values()
                .flat_map(|collection| &collection.replicas)
                .any(|replica| replica.leaders.contains(&Some(id)));
            let busy = self.tasks.all.values().any(|task| task.to == id || task.from == Some(id));
            if !holds && !leads && !busy {
                self.note(format_args!("node {id} has stopped"));
                self.forget_node(id);
            } else if let Some(collection) = self.collections.keys().next().copied() {
                self.mark_dirty(collection);
            }
        }
    }
}
