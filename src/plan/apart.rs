//! Segments that are to be kept apart: which of them are on which node at the moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{CopyIndex, NodeIndex, ReplicaIndex, Snapshot};
use crate::units::SegmentId;

/// All sets of segments to be kept apart.
#[derive(Clone, Debug, Default)]
pub struct Apart {
    sets_of: BTreeMap<SegmentId, Vec<usize>>,
    /// How many of a set's copies in one replica are on a node; no entry for none.
    on_node: BTreeMap<(usize, ReplicaIndex, NodeIndex), u32>,
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
        for copy in snapshot.copies.indices() {
            if apart.names(snapshot.copies.segment[copy.at()]) {
                apart.count(snapshot, copy, node_of[copy.at()], true);
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

    /// The sets that a copy is in, each with the copy's replica.
    fn sets_of(&self, snapshot: &Snapshot, copy: CopyIndex) -> Vec<(usize, ReplicaIndex)> {
        let replica = snapshot.copies.replica[copy.at()];
        let sets = self.sets_of.get(&snapshot.copies.segment[copy.at()]).into_iter().flatten();
        sets.map(|set| (*set, replica)).collect()
    }

    /// A copy comes to a node, or leaves it.
    pub fn count(&mut self, snapshot: &Snapshot, copy: CopyIndex, node: NodeIndex, comes: bool) {
        for (set, replica) in self.sets_of(snapshot, copy) {
            let there = self.on_node.entry((set, replica, node)).or_default();
            *there = if comes { *there + 1 } else { there.saturating_sub(1) };
        }
    }

    fn any_has(&self, snapshot: &Snapshot, copy: CopyIndex, node: NodeIndex, at_least: u32) -> bool {
        let there = |(set, replica)| self.on_node.get(&(set, replica, node)).copied().unwrap_or(0);
        self.sets_of(snapshot, copy).into_iter().any(|key| there(key) >= at_least)
    }

    /// Whether the copy would meet another of its set on this node, where it is not yet.
    pub fn would_meet(&self, snapshot: &Snapshot, copy: CopyIndex, node: NodeIndex) -> bool {
        self.any_has(snapshot, copy, node, 1)
    }

    /// Whether the copy shares the node that it is on with another of its set.
    pub fn is_crowded(&self, snapshot: &Snapshot, copy: CopyIndex, node: NodeIndex) -> bool {
        self.any_has(snapshot, copy, node, 2)
    }
}
