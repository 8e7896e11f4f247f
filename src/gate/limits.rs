//! The hard limits of policies: to which share of its capacity a destination may be filled. A destination holds a segment
//! while its source still does, so nothing is credited for what leaves, and all that is on its way counts.

use crate::model::{CopyIndex, NodeIndex, PlanningInput, Snapshot};
use crate::policy::{Capacity, Dimension};
use crate::reason::Reason;
use crate::units::{Load, Ratio};

/// The limit of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadLimit {
    dimension: String,
    limit: Ratio,
    /// By copy.
    copy_load: Vec<Load>,
    /// What may still arrive, by node.
    room: Vec<Load>,
}

impl LoadLimit {
    /// Those of all dimensions that have a limit and a capacity, and fit the snapshot.
    pub fn all(input: &PlanningInput, dimensions: &[Dimension]) -> Vec<LoadLimit> {
        dimensions.iter().filter_map(|dimension| LoadLimit::of(input, dimension)).collect()
    }

    fn of(input: &PlanningInput, dimension: &Dimension) -> Option<LoadLimit> {
        let snapshot = &input.snapshot;
        let limit = dimension.settings.limit?;
        let Capacity::Physical(capacity) = &dimension.capacity else { return None };
        let fits = dimension.copy_load.len() == snapshot.copies.len()
            && dimension.base_load.len() == snapshot.nodes.len()
            && capacity.len() == snapshot.nodes.len();
        if !fits {
            return None;
        }
        let mut used = dimension.base_load.clone();
        let mut add = |node: NodeIndex, load: Load| {
            used[node.at()] = used[node.at()].saturating_add(load);
        };
        for copy in snapshot.copies.indices() {
            add(snapshot.copies.node[copy.at()], dimension.copy_load[copy.at()]);
        }
        for flight in &input.in_flight {
            let replica = snapshot.replica_index(flight.replica);
            let copy = replica.and_then(|replica| snapshot.copy_index(flight.segment, replica));
            if let (Some(copy), Some(to)) = (copy, snapshot.node_index(flight.to))
                && snapshot.copies.node[copy.at()] != to
            {
                add(to, dimension.copy_load[copy.at()]);
            }
        }
        let room = capacity.iter().zip(&used);
        let room = room.map(|(capacity, used)| Load(limit.share_of(capacity.0)).saturating_sub(*used));
        Some(LoadLimit {
            dimension: dimension.name.clone(),
            limit,
            copy_load: dimension.copy_load.clone(),
            room: room.collect(),
        })
    }

    /// What a copy weighs here.
    pub fn load_of(&self, copy: CopyIndex) -> Load {
        self.copy_load[copy.at()]
    }

    /// Why a copy may not go to a node, where so much has arrived by the moves before it.
    pub fn refusal(
        &self,
        snapshot: &Snapshot,
        copy: CopyIndex,
        to: NodeIndex,
        arrived: Load,
    ) -> Option<Reason> {
        let load = self.load_of(copy);
        let room = self.room[to.at()].saturating_sub(arrived);
        // What weighs nothing fills nothing.
        (load > room && load > Load::ZERO).then(|| Reason::AboveLimit {
            node: snapshot.node(to).id,
            dimension: self.dimension.clone(),
            limit: self.limit,
        })
    }
}
