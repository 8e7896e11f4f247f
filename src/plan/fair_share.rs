//! How much load each node has and how much would be its fair share: capacity-weighted, and water-filled around
//! load that moves cannot change.

use super::levelling;
use super::member_sets::MemberSets;
use super::share::Share;
use crate::model::{Component, CopyIndex, Held, InFlight, NodeIndex, Snapshot};
use crate::policy::{Dimension, Directive, Scope};
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

/// Nodes that have no fair share of anything, by order of a policy.
#[derive(Clone, Debug, Default)]
pub struct Outsiders {
    /// Being emptied, by node: what can leave them is shared by the others already.
    evacuated: Vec<bool>,
    /// Left out altogether, by node.
    excluded: Vec<bool>,
}

impl Outsiders {
    /// Those that the directives name.
    pub fn of(snapshot: &Snapshot, directives: &[Directive]) -> Outsiders {
        let nobody = vec![false; snapshot.nodes.len()];
        let mut outsiders = Outsiders { evacuated: nobody.clone(), excluded: nobody };
        for directive in directives {
            let (list, node) = match directive {
                Directive::Evacuate { node } => (&mut outsiders.evacuated, node),
                Directive::Exclude { node } => (&mut outsiders.excluded, node),
                _ => continue,
            };
            if let Some(index) = snapshot.node_index(*node) {
                list[index.at()] = true;
            }
        }
        outsiders
    }

    fn includes(&self, node: NodeIndex) -> bool {
        self.evacuated[node.at()] || self.excluded[node.at()]
    }

    fn is_evacuated(&self, node: NodeIndex) -> bool {
        self.evacuated[node.at()] && !self.excluded[node.at()]
    }
}

/// Loads and fair shares of one dimension, by node.
#[derive(Clone, Debug)]
pub struct NodeLoads {
    /// Load now, moves in flight carried out.
    pub load: Vec<Load>,
    /// Fair share; `None` for nodes that take no part (no component, no capacity to speak of, no replica of the group,
    /// or an outsider by order).
    pub fair: Vec<Option<Load>>,
    /// The same with its fraction.
    exact: Vec<Option<Share>>,
    /// What the share would be if all load could be moved, likewise: a node whose fair share is above it owes that to what
    /// moves cannot change.
    pub even: Vec<Option<Load>>,
}

impl NodeLoads {
    /// Adds up a dimension over the nodes and shares it out: over each component, or over the nodes of each replica of
    /// the one collection that the dimension is about.
    pub fn of(
        snapshot: &Snapshot,
        dimension: &Dimension,
        placement: &Placement,
        outsiders: &Outsiders,
        sets: &MemberSets,
    ) -> NodeLoads {
        let mut load = dimension.base_load.clone();
        let mut leaving = vec![0_u128; snapshot.nodes.len()];
        for (position, node) in placement.node.iter().enumerate() {
            let of_copy = dimension.copy_load[position];
            load[node.at()] = load[node.at()].saturating_add(of_copy);
            let is_held = snapshot.copies.held[position].is_some() && !placement.in_flight[position];
            if outsiders.is_evacuated(*node) && !is_held {
                leaving[node.at()] += u128::from(of_copy.0);
            }
        }
        let nobody = vec![None; snapshot.nodes.len()];
        let mut loads =
            NodeLoads { load, fair: nobody.clone(), even: nobody, exact: vec![None; snapshot.nodes.len()] };
        for group in groups(snapshot, dimension.scope) {
            let from_leaving: u128 = group.iter().map(|node| leaving[node.at()]).sum();
            let sharing: Vec<NodeIndex> =
                group.into_iter().filter(|node| !outsiders.includes(*node)).collect();
            share_out(&sharing, dimension, from_leaving, &mut loads);
        }
        if dimension.scope == Scope::Node {
            loads.respect_replicas(snapshot, dimension, placement, outsiders, sets);
        }
        loads.fair = loads.exact.iter().map(|share| share.map(|share| Load(share.units()))).collect();
        loads
    }

    /// Shares out anew where not every replica of a component may use all its nodes: what is for all of them together is
    /// more than some can get, or less than some must take.
    fn respect_replicas(
        &mut self,
        snapshot: &Snapshot,
        dimension: &Dimension,
        placement: &Placement,
        outsiders: &Outsiders,
        sets: &MemberSets,
    ) {
        let are_mixed = |component: &&Component| levelling::sets_of(component, sets).len() > 1;
        let mixed: Vec<&Component> = snapshot.components.iter().filter(are_mixed).collect();
        if mixed.is_empty() {
            return;
        }
        let mut load_of_set = vec![0_u64; sets.len()];
        let mut fixed = self.load.clone();
        for copy in snapshot.copies.indices() {
            let node = placement.node[copy.at()];
            let is_outside = snapshot.copies.held[copy.at()] == Some(Held::NodeUnfit);
            if is_outside || outsiders.excluded[node.at()] {
                continue;
            }
            let of_copy = dimension.copy_load[copy.at()];
            fixed[node.at()] = fixed[node.at()].saturating_sub(of_copy);
            let of_set = &mut load_of_set[sets.set_of(snapshot.copies.replica[copy.at()])];
            *of_set = of_set.saturating_add(of_copy.0);
        }
        let capacity = dimension.capacity.amounts();
        for component in mixed {
            let wanted = |node| !outsiders.includes(node);
            let shares = levelling::level(component, sets, capacity, &load_of_set, &fixed, wanted);
            for (node, share) in shares {
                self.exact[node.at()] = Some(share);
            }
        }
    }

    /// The fair share with its fraction.
    pub fn share(&self, node: NodeIndex) -> Option<Share> {
        self.exact[node.at()]
    }

    /// Load divided by fair share; `None` for nodes that take no part.
    pub fn pressure(&self, node: NodeIndex) -> Option<Ratio> {
        self.pressure_with(node, self.load[node.at()])
    }

    /// The pressure that a node would have with this load.
    pub fn pressure_with(&self, node: NodeIndex, load: Load) -> Option<Ratio> {
        self.exact[node.at()].map(|share| share.pressure(load))
    }
}

/// Capacities are shared out with this many bits: products with any sum of loads then fit 128 bits.
const CAPACITY_BITS: u32 = 48;

/// The sets of nodes of which each shares out its load by itself.
fn groups(snapshot: &Snapshot, scope: Scope) -> Vec<Vec<NodeIndex>> {
    match scope {
        Scope::Node => snapshot.components.iter().map(|component| component.nodes.clone()).collect(),
        // A copy of a collection moves inside its replica only, so that each is even or uneven by itself.
        Scope::NodeInGroup(collection) => {
            let replicas = snapshot.replicas.iter().filter(|replica| replica.collection == collection);
            let usable = replicas.map(|replica| {
                let members = replica.members.iter().filter(|member| member.standing.is_usable());
                members.map(|member| member.node).collect()
            });
            usable.collect()
        }
    }
}

/// Finds the level to which the load of these nodes, and what comes to them from others, fills their capacities. A node
/// whose base load alone is above the level keeps it as its share; the others divide the rest.
fn share_out(nodes: &[NodeIndex], dimension: &Dimension, from_others: u128, loads: &mut NodeLoads) {
    let capacity = dimension.capacity.amounts();
    let largest = nodes.iter().map(|node| capacity[node.at()].0).max().unwrap_or(0);
    let shift = (u64::BITS - largest.leading_zeros()).saturating_sub(CAPACITY_BITS);
    let weight = |node: &NodeIndex| u128::from(capacity[node.at()].0 >> shift);
    let mut sharing: Vec<NodeIndex> = nodes.iter().copied().filter(|node| weight(node) > 0).collect();
    let of_all: u128 = sharing.iter().map(|node| u128::from(loads.load[node.at()].0)).sum();
    let mut to_share = of_all.saturating_add(from_others);
    let load_of = |amount: u128| Load(u64::try_from(amount).unwrap_or(u64::MAX));
    let mut is_first_round = true;
    loop {
        let total_capacity: u128 = sharing.iter().map(weight).sum();
        if total_capacity == 0 {
            return;
        }
        let share = |node: &NodeIndex| to_share * weight(node) / total_capacity;
        if is_first_round {
            for node in &sharing {
                loads.even[node.at()] = Some(load_of(share(node)));
            }
            is_first_round = false;
        }
        let (flooded, dry): (Vec<NodeIndex>, Vec<NodeIndex>) =
            sharing.iter().partition(|node| u128::from(dimension.base_load[node.at()].0) > share(node));
        if flooded.is_empty() {
            for node in &sharing {
                loads.exact[node.at()] = Some(Share::part(to_share, weight(node), total_capacity));
            }
            return;
        }
        for node in &flooded {
            let base = dimension.base_load[node.at()];
            loads.exact[node.at()] = Some(Share::whole(u128::from(base.0)));
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
            base_parts: Vec::new(),
            measured_load: Vec::new(),
            capacity: Capacity::Weights(capacity.iter().copied().map(Load).collect()),
            settings: DimensionSettings::default(),
            confidence: Ratio::ONE,
        }
    }

    fn shared_out(base: &[u64], capacity: &[u64], load: &[u64], from_others: u64) -> NodeLoads {
        let nodes: Vec<NodeIndex> = (0..load.len()).map(NodeIndex::from_position).collect();
        let nobody = vec![None; load.len()];
        let load = load.iter().copied().map(Load).collect();
        let exact = vec![None; nodes.len()];
        let mut loads = NodeLoads { load, fair: nobody.clone(), even: nobody, exact };
        share_out(&nodes, &dimension(base, capacity), u128::from(from_others), &mut loads);
        loads.fair = loads.exact.iter().map(|share| share.map(|share| Load(share.units()))).collect();
        loads
    }

    fn shares(base: &[u64], capacity: &[u64], load: &[u64]) -> Vec<Option<u64>> {
        shared_out(base, capacity, load, 0).fair.into_iter().map(|share| share.map(|share| share.0)).collect()
    }

    #[test]
    fn what_comes_from_others_is_shared_like_the_rest() {
        let loads = shared_out(&[0, 0], &[1, 3], &[100, 100], 200);
        assert_eq!(loads.fair, [Some(Load(100)), Some(Load(300))]);
    }

    #[test]
    fn the_even_share_knows_no_base_load() {
        let loads = shared_out(&[300, 0, 0], &[1, 1, 1], &[300, 100, 50], 0);
        assert_eq!(loads.even, [Some(Load(150)); 3]);
        assert_eq!(loads.fair, [Some(Load(300)), Some(Load(75)), Some(Load(75))]);
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
