//! How much load each node has and how much would be its fair share: capacity-weighted, and water-filled around
//! load that moves cannot change.

use crate::model::{CopyIndex, InFlight, NodeIndex, Snapshot};
use crate::policy::Dimension;
use crate::units::{Load, Ratio};

/// Where every copy is for the purpose of pressure: one that is on its way counts on its destination.
pub struct Placement {
    /// By copy.
    pub node: Vec<NodeIndex>,
    /// Copies on their way, by copy.
    pub in_flight: Vec<bool>,
}

impl Placement {
    /// The snapshot's placement with the moves in flight carried out.
    pub fn projected(snapshot: &Snapshot, in_flight: &[InFlight]) -> Placement {
        let mut placement =
            Placement { node: snapshot.copies.node.clone(), in_flight: vec![false; snapshot.copies.len()] };
        for flight in in_flight {
            let replica = snapshot.replica_index(flight.replica);
            let copy = replica.and_then(|replica| snapshot.copy_index(flight.segment, replica));
            if let (Some(copy), Some(destination)) = (copy, snapshot.node_index(flight.to)) {
                placement.node[copy.at()] = destination;
                placement.in_flight[copy.at()] = true;
            }
        }
        placement
    }

    /// Copies on each node, by node.
    pub fn copies_by_node(&self, nodes: usize) -> Vec<Vec<CopyIndex>> {
        let mut copies = vec![Vec::new(); nodes];
        for (position, node) in self.node.iter().enumerate() {
            copies[node.at()].push(CopyIndex::from_position(position));
        }
        copies
    }
}

/// Loads and fair shares of one dimension, by node.
#[derive(Clone, Debug)]
pub struct NodeLoads {
    /// Load now, moves in flight carried out.
    pub load: Vec<Load>,
    /// Fair share; `None` for nodes that take no part (no component, or no capacity to speak of).
    pub fair: Vec<Option<Load>>,
}

impl NodeLoads {
    /// Adds up a dimension over the nodes and shares it out in each component.
    pub fn of(snapshot: &Snapshot, dimension: &Dimension, placement: &Placement) -> NodeLoads {
        let mut load = dimension.base_load.clone();
        for (position, node) in placement.node.iter().enumerate() {
            load[node.at()] = load[node.at()].saturating_add(dimension.copy_load[position]);
        }
        let mut fair = vec![None; snapshot.nodes.len()];
        for component in &snapshot.components {
            share_out(&component.nodes, dimension, &load, &mut fair);
        }
        NodeLoads { load, fair }
    }

    /// Load divided by fair share; `None` for nodes that take no part.
    pub fn pressure(&self, node: NodeIndex) -> Option<Ratio> {
        self.pressure_with(node, self.load[node.at()])
    }

    /// The pressure that a node would have with this load.
    pub fn pressure_with(&self, node: NodeIndex, load: Load) -> Option<Ratio> {
        self.fair[node.at()].map(|fair| Ratio::of(load.0, fair.0))
    }
}

/// Capacities are shared out with this many bits: products with any sum of loads then fit 128 bits.
const CAPACITY_BITS: u32 = 48;

/// Finds the level to which the component's load fills its capacities. A node whose base load alone is above the
/// level keeps it as its share; the others divide the rest.
fn share_out(nodes: &[NodeIndex], dimension: &Dimension, load: &[Load], fair: &mut [Option<Load>]) {
    let capacity = dimension.capacity.amounts();
    let largest = nodes.iter().map(|node| capacity[node.at()].0).max().unwrap_or(0);
    let shift = (u64::BITS - largest.leading_zeros()).saturating_sub(CAPACITY_BITS);
    let weight = |node: &NodeIndex| u128::from(capacity[node.at()].0 >> shift);
    let mut sharing: Vec<NodeIndex> = nodes.iter().copied().filter(|node| weight(node) > 0).collect();
    let mut to_share: u128 = sharing.iter().map(|node| u128::from(load[node.at()].0)).sum();
    loop {
        let total_capacity: u128 = sharing.iter().map(weight).sum();
        if total_capacity == 0 {
            return;
        }
        let share = |node: &NodeIndex| to_share * weight(node) / total_capacity;
        let (flooded, dry): (Vec<NodeIndex>, Vec<NodeIndex>) =
            sharing.iter().partition(|node| u128::from(dimension.base_load[node.at()].0) > share(node));
        if flooded.is_empty() {
            for node in &sharing {
                fair[node.at()] = Some(Load(u64::try_from(share(node)).unwrap_or(u64::MAX)));
            }
            return;
        }
        for node in &flooded {
            let base = dimension.base_load[node.at()];
            fair[node.at()] = Some(base);
            to_share = to_share.saturating_sub(u128::from(base.0));
        }
        sharing = dry;
    }
}

/// Utilisation of a node in a dimension that has a physical capacity.
pub fn utilisation(dimension: &Dimension, node: NodeIndex, load: Load) -> Option<Ratio> {
    match &dimension.capacity {
        crate::policy::Capacity::Physical(capacity) => Some(Ratio::of(load.0, capacity[node.at()].0)),
        crate::policy::Capacity::Weights(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Capacity, DimensionSettings, LoadUnit, Scope};

    fn dimension(base: &[u64], capacity: &[u64]) -> Dimension {
        Dimension {
            name: "test".to_owned(),
            unit: LoadUnit::Rows,
            scope: Scope::Node,
            copy_load: Vec::new(),
            base_load: base.iter().copied().map(Load).collect(),
            measured_load: Vec::new(),
            capacity: Capacity::Weights(capacity.iter().copied().map(Load).collect()),
            settings: DimensionSettings::default(),
            confidence: Ratio::ONE,
        }
    }

    fn shares(base: &[u64], capacity: &[u64], load: &[u64]) -> Vec<Option<u64>> {
        let nodes: Vec<NodeIndex> = (0..load.len()).map(NodeIndex::from_position).collect();
        let loads: Vec<Load> = load.iter().copied().map(Load).collect();
        let mut fair = vec![None; load.len()];
        share_out(&nodes, &dimension(base, capacity), &loads, &mut fair);
        fair.into_iter().map(|share| share.map(|share| share.0)).collect()
    }

    #[test]
    fn shares_follow_capacity() {
        assert_eq!(shares(&[0, 0, 0], &[1, 1, 2], &[400, 0, 0]), [Some(100), Some(100), Some(200)]);
    }

    #[test]
    fn a_node_flooded_by_its_base_keeps_it_and_the_rest_is_shared() {
        assert_eq!(shares(&[300, 0, 0], &[1, 1, 1], &[300, 100, 0]), [Some(300), Some(50), Some(50)]);
    }

    #[test]
    fn flooding_can_cascade() {
        // With the first node's 900 taken out, 110 remain for two: the second one's base of 100 is too much as well.
        assert_eq!(shares(&[900, 100, 0], &[1, 1, 1], &[900, 100, 10]), [Some(900), Some(100), Some(10)]);
    }

    #[test]
    fn a_node_without_capacity_takes_no_part() {
        assert_eq!(shares(&[0, 0], &[0, 5], &[100, 100]), [None, Some(100)]);
        assert_eq!(shares(&[0, 0], &[0, 0], &[100, 100]), [None, None]);
    }

    #[test]
    fn enormous_loads_do_not_overflow() {
        assert_eq!(
            shares(&[0, 0], &[u64::MAX, u64::MAX], &[u64::MAX, u64::MAX]),
            [Some(u64::MAX), Some(u64::MAX)]
        );
    }
}
