//! Segments that are to be kept apart: which of them are on which node at the moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeIndex, Snapshot};
use crate::units::SegmentId;

/// All sets of segments to be kept apart.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    sets_of: BTreeMap<SegmentId, Vec<usize>>,
    /// How many of a set are on a node; no entry for none.
    on_node: BTreeMap<(usize, NodeIndex), u32>,
}

impl Apart {
    /// Of these sets, with copies on these nodes.
    pub fn new(snapshot: &Snapshot, sets: &[BTreeSet<SegmentId>], node_of: &[NodeIndex]) -> Apart {
        let mut apart = Apart::default();
        for (position, set) in sets.iter().enumerate() {
            for segment in set {
                apart.sets_of.entry(*segment).or_default().push(position);
            }
        }
        if apart.is_empty() {
            return apart;
        }
        for (position, segment) in snapshot.copies.segment.iter().enumerate() {
            if apart.names(*segment) {
                apart.count(*segment, node_of[position], true);
            }
        }
        apart
    }

    /// Whether there is nothing to be kept apart.
    pub fn is_empty(&self) -> bool {
        self.sets_of.is_empty()
    }

    /// Whether a segment is one of them.
    pub fn names(&self, segment: SegmentId) -> bool {
        self.sets_of.contains_key(&segment)
    }

    /// A copy comes to a node, or leaves it.
    pub fn count(&mut self, segment: SegmentId, node: NodeIndex, comes: bool) {
        for set in self.sets_of.get(&segment).into_iter().flatten() {
            let there = self.on_node.entry((*set, node)).or_default();
            *there = if comes { *there + 1 } else { there.saturating_sub(1) };
            if *there == 0 {
                self.on_node.remove(&(*set, node));
            }
        }
    }

    /// Whether the segment would meet another of its set on this node, where it is not yet.
    pub fn would_meet(&self, segment: SegmentId, node: NodeIndex) -> bool {
        let sets = self.sets_of.get(&segment).into_iter().flatten();
        sets.into_iter().any(|set| self.on_node.contains_key(&(*set, node)))
    }

    /// Whether a segment shares the node that it is on with another of its set.
    pub fn is_crowded(&self, segment: SegmentId, node: NodeIndex) -> bool {
        let sets = self.sets_of.get(&segment).into_iter().flatten();
        sets.into_iter().any(|set| self.on_node.get(&(*set, node)).is_some_and(|there| *there > 1))
    }
}
