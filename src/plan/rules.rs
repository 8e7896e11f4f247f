//! What a plan must not do, asked of every candidate: the restrictions of gates and policies, translated once into
//! tables by index, because the planner asks them some million times a turn.

use std::cell::RefCell;

use super::apart::Apart;
use crate::gate::Restrictions;
use crate::model::milvus_score::Keeper;
use crate::model::{CopyIndex, NodeIndex, PlanningInput, Replica};
use crate::reason::Reason;
use crate::units::{Bytes, Load, NodeId};

/// A copy that could go to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What goes.
    pub copy: CopyIndex,
    /// From where: the node that holds it, whatever detours a search has made.
    pub from: NodeIndex,
    /// To where.
    pub to: NodeIndex,
}

/// The restrictions of this turn.
pub struct Rules<'a> {
    input: &'a PlanningInput,
    restrictions: &'a Restrictions,
    /// Copies on their way, by copy.
    in_flight: &'a [bool],
    /// Nodes that nothing may leave, and nodes that nothing may enter.
    shut_sources: Vec<bool>,
    shut_destinations: Vec<bool>,
    /// Replicas of which nothing moves.
    shut_replicas: Vec<bool>,
    /// Copies of segments that are named anywhere, by copy; empty when none is.
    named: Vec<bool>,
    ways_are_limited: bool,
    /// Bytes that may still arrive at each node; below 0 while a search has overfilled one, so that what is taken back gives
    /// no more room than there was.
    room: Vec<i64>,
    /// What has arrived at each node by moves chosen so far, by limit and node.
    arrived: Vec<Vec<Load>>,
    /// Copies that go where somebody ordered them to, by copy; empty when there are none.
    bound: Vec<bool>,
    /// Segments to be kept apart.
    pub apart: Apart,
    /// Says what Milvus' own balancer would undo, in mode `within`. A question changes it and changes it back.
    keeper: Option<RefCell<Keeper>>,
}

impl<'a> Rules<'a> {
    /// Of this turn.
    pub fn new(
        input: &'a PlanningInput,
        restrictions: &'a Restrictions,
        node_of: &[NodeIndex],
        in_flight: &'a [bool],
    ) -> Rules<'a> {
        let snapshot = &input.snapshot;
        let apart = Apart::new(snapshot, &restrictions.apart, node_of);
        let mut named = Vec::new();
        if !restrictions.named_segments.is_empty() || !apart.is_empty() {
            let is_named = |segment| restrictions.named_segments.contains(segment) || apart.names(*segment);
            named = snapshot.copies.segment.iter().map(is_named).collect();
        }
        let mut rules = Rules {
            input,
            restrictions,
            in_flight,
            shut_sources: Vec::new(),
            shut_destinations: Vec::new(),
            shut_replicas: Vec::new(),
            named,
            ways_are_limited: restrictions.ways_are_limited(),
            room: snapshot.nodes.iter().map(|node| signed(restrictions.room_of(node.id))).collect(),
            arrived: vec![vec![Load::ZERO; snapshot.nodes.len()]; restrictions.limits.len()],
            bound: Vec::new(),
            apart,
            keeper: restrictions.keeper.as_deref().cloned().map(RefCell::new),
        };
        let nodes = || (0..snapshot.nodes.len()).map(NodeIndex::from_position);
        rules.shut_sources = nodes().map(|node| rules.blocked_source(node).is_some()).collect();
        rules.shut_destinations =
            nodes().map(|node| restrictions.destinations.contains_key(&rules.id(node))).collect();
        let is_shut = |replica: &Replica| {
            let collection = &snapshot.collections[replica.collection.at()];
            restrictions.collections.contains_key(&collection.id)
                || restrictions.replicas.contains_key(&replica.id)
        };
        rules.shut_replicas = snapshot.replicas.iter().map(is_shut).collect();
        rules
    }

    fn id(&self, node: NodeIndex) -> NodeId {
        self.input.snapshot.node(node).id
    }

    /// Whether things may leave a node.
    pub fn may_give(&self, node: NodeIndex) -> bool {
        !self.shut_sources[node.at()]
    }

    /// Why nothing may leave a node.
    pub fn blocked_source(&self, from: NodeIndex) -> Option<Reason> {
        let node = self.input.snapshot.node(from);
        if let Some(reason) = self.restrictions.leaving(node.id) {
            return Some(reason.clone());
        }
        if let Some(component) = node.component {
            let name = self.input.snapshot.components[component.at()].nodes.first();
            let frozen = name.and_then(|first| self.restrictions.components.get(&self.id(*first)));
            if let Some(reason) = frozen {
                return Some(reason.clone());
            }
        }
        self.restrictions.sources.get(&node.id).cloned()
    }

    /// Whether a copy may move at all.
    #[inline]
    pub fn is_free(&self, copy: CopyIndex) -> bool {
        let copies = &self.input.snapshot.copies;
        if self.in_flight[copy.at()] || copies.held[copy.at()].is_some() {
            return false;
        }
        if self.shut_replicas[copies.replica[copy.at()].at()] || self.is_bound(copy) {
            return false;
        }
        let is_named = !self.named.is_empty() && self.named[copy.at()];
        let plain = !is_named && self.restrictions.blast_radius.is_untouched();
        plain || self.blocked_copy(copy).is_none()
    }

    /// Why a copy must stay where it is.
    pub fn blocked_copy(&self, copy: CopyIndex) -> Option<Reason> {
        let copies = &self.input.snapshot.copies;
        if self.in_flight[copy.at()] {
            return Some(Reason::InFlight);
        }
        if let Some(held) = copies.held[copy.at()] {
            return Some(Reason::Held { held });
        }
        if let Some(reason) = self.restrictions.copy_refusal(&self.input.snapshot, copy) {
            return Some(reason);
        }
        let radius = &self.restrictions.blast_radius;
        if radius.is_untouched() {
            return None;
        }
        let collection = self.input.snapshot.collection_of(copies.replica[copy.at()]).id;
        let (bytes, from) = (copies.bytes[copy.at()], self.id(copies.node[copy.at()]));
        radius.collection_refusal(collection, bytes).or_else(|| radius.node_refusal(from, bytes))
    }

    /// Whether somebody ordered a copy to where it goes, so that it stays there.
    pub fn is_bound(&self, copy: CopyIndex) -> bool {
        !self.bound.is_empty() && self.bound[copy.at()]
    }

    /// A copy goes where somebody ordered it to.
    pub fn bind(&mut self, copy: CopyIndex) {
        self.bound.resize(self.input.snapshot.copies.len(), false);
        self.bound[copy.at()] = true;
    }

    /// Whether a node takes anything.
    pub fn may_take(&self, node: NodeIndex) -> bool {
        !self.shut_destinations[node.at()]
    }

    /// Whether a copy may go to a node.
    #[inline]
    pub fn may_enter(&self, candidate: &Candidate) -> bool {
        let (copy, to) = (candidate.copy, candidate.to);
        let bytes = self.input.snapshot.copies.bytes[copy.at()];
        if self.shut_destinations[to.at()] || !self.has_room(to, bytes) {
            return false;
        }
        let is_named = !self.named.is_empty() && self.named[copy.at()];
        let plain = !is_named && !self.ways_are_limited && self.arrived.is_empty();
        if plain { self.undone(candidate).is_none() } else { self.blocked_destination(candidate).is_none() }
    }

    /// Whether so many bytes fit into a node.
    pub fn has_room(&self, node: NodeIndex, bytes: Bytes) -> bool {
        signed(bytes) <= self.room[node.at()]
    }

    /// Why Milvus' own balancer would undo it. The dearest question, so it is asked last.
    fn undone(&self, candidate: &Candidate) -> Option<Reason> {
        let keeper = self.keeper.as_ref()?;
        keeper.borrow_mut().allows(candidate.copy, candidate.to).err()
    }

    /// Whether a copy that was to leave may stay on its node after all.
    pub fn may_return(&self, copy: CopyIndex, home: NodeIndex) -> bool {
        let is_named = !self.named.is_empty() && self.named[copy.at()];
        let must_leave =
            !self.restrictions.evacuated.is_empty() && self.restrictions.evacuated.contains(&self.id(home));
        !(must_leave || is_named && self.apart.would_meet(&self.input.snapshot, copy, home))
    }

    /// Why a copy must not go to a node.
    pub fn blocked_destination(&self, candidate: &Candidate) -> Option<Reason> {
        let node = self.id(candidate.to);
        if let Some(reason) = self.restrictions.destinations.get(&node) {
            return Some(reason.clone());
        }
        let copies = &self.input.snapshot.copies;
        let copy = candidate.copy;
        let (segment, needed) = (copies.segment[copy.at()], copies.bytes[copy.at()]);
        if !self.named.is_empty() && self.named[copy.at()] {
            if let Some(reason) = self.restrictions.returns.get(&(segment, node)) {
                return Some(reason.clone());
            }
            if self.apart.would_meet(&self.input.snapshot, copy, candidate.to) {
                return Some(Reason::KeptApart { node });
            }
        }
        if self.ways_are_limited {
            let way = (self.id(candidate.from), node);
            let collection = self.input.snapshot.collection_of(copies.replica[copy.at()]).id;
            if let Some(reason) = self.restrictions.not_that_way(collection, way, needed) {
                return Some(reason);
            }
        }
        for (limit, arrived) in self.restrictions.limits.iter().zip(&self.arrived) {
            let refusal = limit.refusal(&self.input.snapshot, copy, candidate.to, arrived[candidate.to.at()]);
            if refusal.is_some() {
                return refusal;
            }
        }
        let room = Bytes(u64::try_from(self.room[candidate.to.at()]).unwrap_or(0));
        let no_room = (needed > room).then(|| self.restrictions.no_room(node, needed, room));
        no_room.or_else(|| self.undone(candidate))
    }

    /// A copy goes to a node, or is taken back from there.
    pub fn count(&mut self, copy: CopyIndex, at: NodeIndex, arrives: bool) {
        let copies = &self.input.snapshot.copies;
        let is_home = copies.node[copy.at()] == at;
        if !is_home {
            let (room, bytes) = (&mut self.room[at.at()], signed(copies.bytes[copy.at()]));
            *room = if arrives { room.saturating_sub(bytes) } else { room.saturating_add(bytes) };
            for (limit, arrived) in self.restrictions.limits.iter().zip(&mut self.arrived) {
                let (arrived, load) = (&mut arrived[at.at()], limit.load_of(copy));
                *arrived = if arrives { arrived.saturating_add(load) } else { arrived.saturating_sub(load) };
            }
        }
        if arrives && let Some(keeper) = &self.keeper {
            keeper.borrow_mut().apply(copy, at);
        }
        if !self.named.is_empty() && self.named[copy.at()] {
            self.apart.count(&self.input.snapshot, copy, at, arrives);
        }
    }
}

/// Bytes with a sign; no machine has 2^63 of them.
fn signed(bytes: Bytes) -> i64 {
    i64::try_from(bytes.0).unwrap_or(i64::MAX)
}
