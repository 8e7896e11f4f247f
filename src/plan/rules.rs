//! What a plan must not do, asked of every candidate: the restrictions of gates and policies, translated once into
//! tables by index, because the planner asks them some million times a turn.

use super::apart::Apart;
use super::field::Field;
use crate::gate::Restrictions;
use crate::model::{CopyIndex, NodeIndex, PlanningInput};
use crate::policy::Capacity;
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

/// A dimension with a hard limit: what may still arrive at each node. Nothing is credited for what leaves, because
/// both nodes hold a segment while it moves.
struct Limited {
    view: usize,
    left: Vec<f64>,
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
    /// Collections of which nothing moves.
    shut_collections: Vec<bool>,
    /// Copies of segments that are named anywhere, by copy; empty when none is.
    named: Vec<bool>,
    ways_are_limited: bool,
    /// Bytes that may still arrive at each node.
    pub room: Vec<u64>,
    limited: Vec<Limited>,
    /// Segments to be kept apart.
    pub apart: Apart,
}

impl<'a> Rules<'a> {
    /// Of this turn.
    pub fn new(
        input: &'a PlanningInput,
        restrictions: &'a Restrictions,
        field: &Field<'_>,
        in_flight: &'a [bool],
    ) -> Rules<'a> {
        let snapshot = &input.snapshot;
        let apart = Apart::new(snapshot, &restrictions.apart, &field.node_of);
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
            shut_collections: Vec::new(),
            named,
            ways_are_limited: restrictions.ways_are_limited(),
            room: snapshot.nodes.iter().map(|node| restrictions.room_of(node.id).0).collect(),
            limited: limits(input, field),
            apart,
        };
        let nodes = || (0..snapshot.nodes.len()).map(NodeIndex::from_position);
        rules.shut_sources = nodes().map(|node| rules.blocked_source(node).is_some()).collect();
        rules.shut_destinations =
            nodes().map(|node| restrictions.destinations.contains_key(&rules.id(node))).collect();
        let is_shut = |collection: &crate::model::Collection| {
            restrictions.collections.contains_key(&collection.id)
        };
        rules.shut_collections = snapshot.collections.iter().map(is_shut).collect();
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
        let replica = self.input.snapshot.replica(copies.replica[copy.at()]);
        if self.shut_collections[replica.collection.at()] {
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
        let (segment, replica) = (copies.segment[copy.at()], copies.replica[copy.at()]);
        let collection = self.input.snapshot.collection_of(replica).id;
        if let Some(reason) = self.restrictions.collections.get(&collection) {
            return Some(reason.clone());
        }
        let radius = &self.restrictions.blast_radius;
        if !radius.is_untouched() {
            let (bytes, from) = (copies.bytes[copy.at()], self.id(copies.node[copy.at()]));
            let refusal = radius.collection_refusal(collection, bytes);
            if let Some(reason) = refusal.or_else(|| radius.node_refusal(from, bytes)) {
                return Some(reason);
            }
        }
        if self.named.is_empty() || !self.named[copy.at()] {
            return None;
        }
        if let Some(reason) = self.restrictions.segments.get(&(segment, replica)) {
            return Some(reason.clone());
        }
        self.restrictions.pinned.contains(&segment).then_some(Reason::Pinned)
    }

    /// Whether a node takes anything.
    pub fn may_take(&self, node: NodeIndex) -> bool {
        !self.shut_destinations[node.at()]
    }

    /// Whether a copy may go to a node.
    #[inline]
    pub fn may_enter(&self, candidate: &Candidate, field: &Field<'_>) -> bool {
        let (copy, to) = (candidate.copy, candidate.to);
        let bytes = self.input.snapshot.copies.bytes[copy.at()].0;
        if self.shut_destinations[to.at()] || bytes > self.room[to.at()] {
            return false;
        }
        let is_named = !self.named.is_empty() && self.named[copy.at()];
        let plain = !is_named && !self.ways_are_limited && self.limited.is_empty();
        plain || self.blocked_destination(candidate, field).is_none()
    }

    /// Whether a copy that was to leave may stay on its node after all.
    pub fn may_return(&self, copy: CopyIndex, home: NodeIndex) -> bool {
        let is_named = !self.named.is_empty() && self.named[copy.at()];
        let segment = self.input.snapshot.copies.segment[copy.at()];
        let must_leave = !self.restrictions.evacuated.is_empty()
            && self.restrictions.evacuated.contains(&self.id(home));
        !must_leave && !(is_named && self.apart.would_meet(segment, home))
    }

    /// Why a copy must not go to a node.
    pub fn blocked_destination(&self, candidate: &Candidate, field: &Field<'_>) -> Option<Reason> {
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
            if self.apart.would_meet(segment, candidate.to) {
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
        for limited in &self.limited {
            if field.load_of(limited.view, copy) > limited.left[candidate.to.at()] {
                let dimension = &field.views[limited.view].dimension;
                let limit = dimension.settings.limit.unwrap_or_default();
                return Some(Reason::LimitReached { node, dimension: dimension.name.clone(), limit });
            }
        }
        let room = Bytes(self.room[candidate.to.at()]);
        (needed > room).then(|| self.restrictions.no_room(node, needed, room))
    }

    /// A copy goes to a node, or is taken back from there.
    pub fn count(&mut self, copy: CopyIndex, at: NodeIndex, arrives: bool, field: &Field<'_>) {
        let copies = &self.input.snapshot.copies;
        let is_home = copies.node[copy.at()] == at;
        if !is_home {
            let (room, bytes) = (&mut self.room[at.at()], copies.bytes[copy.at()].0);
            *room = if arrives { room.saturating_sub(bytes) } else { room.saturating_add(bytes) };
            for limited in &mut self.limited {
                let load = field.load_of(limited.view, copy);
                limited.left[at.at()] += if arrives { -load } else { load };
            }
        }
        if !self.named.is_empty() && self.named[copy.at()] {
            self.apart.count(copies.segment[copy.at()], at, arrives);
        }
    }
}

/// What may still arrive at each node in dimensions with a hard limit. What is on its way to a node counts there, and
/// on the node that it leaves as well.
fn limits(input: &PlanningInput, field: &Field<'_>) -> Vec<Limited> {
    let snapshot = &input.snapshot;
    let mut limited = Vec::new();
    for (view, shown) in field.views.iter().enumerate() {
        let (Some(limit), Capacity::Physical(capacity)) =
            (shown.dimension.settings.limit, &shown.dimension.capacity)
        else {
            continue;
        };
        let mut load = shown.loads.load.clone();
        for copy in snapshot.copies.indices() {
            let here = snapshot.copies.node[copy.at()];
            if field.node_of[copy.at()] != here {
                load[here.at()] = load[here.at()].saturating_add(shown.dimension.copy_load[copy.at()]);
            }
        }
        let left = |node: usize| {
            let most = Load(limit.share_of(capacity[node].0));
            field.scaled(view, most.saturating_sub(load[node]))
        };
        limited.push(Limited { view, left: (0..snapshot.nodes.len()).map(left).collect() });
    }
    limited
}
