//! Blast radius: whatever goes wrong, it goes wrong with a part of a collection and with a part of a node. How much of
//! either has been moved lately, and how much more may be.

use std::collections::BTreeMap;
use std::time::Duration;

use super::elapsed;
use crate::model::PlanningInput;
use crate::plan::Move;
use crate::reason::Reason;
use crate::units::{Bytes, CollectionId, NodeId, Ratio};

/// What has been moved, is on its way or is about to be, against what may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlastRadius {
    within: Duration,
    /// Limits of each collection; empty when there are none.
    limits: BTreeMap<CollectionId, Limit>,
    node_bytes: Bytes,
    collections: BTreeMap<CollectionId, Amount>,
    nodes: BTreeMap<NodeId, Bytes>,
}

/// Segments and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    segments: u64,
    bytes: Bytes,
}

/// What may be moved of a collection. A limit that is not set is the largest amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit {
    most: Amount,
    by_segments: Ratio,
    by_bytes: Ratio,
}

impl BlastRadius {
    /// What was moved within the time that counts, and what is on its way.
    pub fn of(input: &PlanningInput) -> BlastRadius {
        let settings = &input.gate.blast_radius;
        let mut radius = BlastRadius {
            within: settings.within,
            limits: limits(input),
            node_bytes: settings.node_bytes,
            ..BlastRadius::default()
        };
        if radius.limits.is_empty() && radius.node_bytes == Bytes::ZERO {
            return radius;
        }
        for departure in &input.history.departures {
            if elapsed(departure.at, input.now.wall) < settings.within {
                radius.count(departure.collection, departure.from, departure.to, departure.bytes);
            }
        }
        for flight in &input.in_flight {
            radius.count(flight.collection, flight.from, flight.to, flight.bytes);
        }
        radius
    }

    /// Counts a move that is about to be made.
    pub fn add(&mut self, movement: &Move) {
        self.count(movement.collection, movement.from, movement.to, movement.bytes);
    }

    /// The move will not be made after all.
    pub fn take_back(&mut self, movement: &Move) {
        let bytes = movement.bytes;
        if let Some(moved) = self.collections.get_mut(&movement.collection) {
            moved.segments = moved.segments.saturating_sub(1);
            moved.bytes = moved.bytes.saturating_sub(bytes);
        }
        for node in [movement.from, movement.to] {
            if let Some(moved) = self.nodes.get_mut(&node) {
                *moved = moved.saturating_sub(bytes);
            }
        }
    }

    fn count(&mut self, collection: CollectionId, from: NodeId, to: NodeId, bytes: Bytes) {
        let moved = self.collections.entry(collection).or_default();
        moved.segments += 1;
        moved.bytes = moved.bytes.saturating_add(bytes);
        for node in [from, to] {
            let moved = self.nodes.entry(node).or_default();
            *moved = moved.saturating_add(bytes);
        }
    }

    /// Whether nothing has been moved, so that nothing can be refused.
    pub fn is_untouched(&self) -> bool {
        self.collections.is_empty()
    }

    /// Why no more of the collection may be moved, in segments of that size.
    pub fn collection_refusal(&self, collection: CollectionId, bytes: Bytes) -> Option<Reason> {
        let (limit, moved) = (self.limits.get(&collection)?, self.collections.get(&collection)?);
        if moved.segments == 0 {
            return None;
        }
        let refuse = |limit| Reason::CollectionMovedEnough { collection, limit, within: self.within };
        if moved.segments >= limit.most.segments {
            return Some(refuse(limit.by_segments));
        }
        (moved.bytes.saturating_add(bytes) > limit.most.bytes).then(|| refuse(limit.by_bytes))
    }

    /// Why a segment of that size may not leave or enter the node.
    pub fn node_refusal(&self, node: NodeId, bytes: Bytes) -> Option<Reason> {
        let moved = self.nodes.get(&node)?;
        let has_limit = self.node_bytes > Bytes::ZERO && *moved > Bytes::ZERO;
        let is_too_much = has_limit && moved.saturating_add(bytes) > self.node_bytes;
        is_too_much.then_some(Reason::NodeMovedEnough { node, limit: self.node_bytes, within: self.within })
    }
}

/// The limits of every collection.
fn limits(input: &PlanningInput) -> BTreeMap<CollectionId, Limit> {
    let settings = &input.gate.blast_radius;
    if settings.collection_segments == Ratio::ZERO && settings.collection_bytes == Ratio::ZERO {
        return BTreeMap::new();
    }
    let copies = &input.snapshot.copies;
    let mut totals = vec![Amount::default(); input.snapshot.collections.len()];
    for copy in copies.indices() {
        let collection = input.snapshot.replica(copies.replica[copy.at()]).collection;
        let total = &mut totals[collection.at()];
        total.segments += 1;
        total.bytes = total.bytes.saturating_add(copies.bytes[copy.at()]);
    }
    let share_of = |share: Ratio, amount: u64| match share {
        Ratio::ZERO => u64::MAX,
        share => share.share_of(amount),
    };
    let limit = |total: &Amount| Limit {
        most: Amount {
            segments: share_of(settings.collection_segments, total.segments),
            bytes: Bytes(share_of(settings.collection_bytes, total.bytes.0)),
        },
        by_segments: settings.collection_segments,
        by_bytes: settings.collection_bytes,
    };
    let collections = input.snapshot.collections.iter().zip(&totals);
    collections.map(|(collection, total)| (collection.id, limit(total))).collect()
}
