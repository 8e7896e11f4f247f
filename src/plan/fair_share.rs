//! How much load each node has and how much would be its fair share: capacity-weighted, and water-filled around
//! load that moves cannot change.

use std::collections::BTreeSet;

use super::member_sets::MemberSets;
use crate::model::{Component, CopyIndex, InFlight, NodeIndex, ReplicaIndex, Snapshot};
use crate::policy::{Dimension, Scope};
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
    /// Fair share, in whole units; `None` for nodes that take no part (no component, or no capacity to speak of).
    pub fair: Vec<Option<Load>>,
    /// The same with its fraction: ten segments on three nodes are 3 ⅓ each.
    exact: Vec<Option<Share>>,
}

/// A fair share with its fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u128);

/// Binary digits of the fraction of a share: one part in 10¹² of a unit, and a load in millionths still fits beside
/// it.
const SHARE_BITS: u32 = 40;

impl Share {
    /// So many whole units.
    fn whole(units: u128) -> Share {
        Share(units.min(u128::MAX >> SHARE_BITS) << SHARE_BITS)
    }

    /// `to_share × weight / total`, where the weights have [`CAPACITY_BITS`].
    fn part(to_share: u128, weight: u128, total: u128) -> Share {
        let product = to_share * weight;
        let fraction = (product % total << SHARE_BITS) / total;
        Share(Share::whole(product / total).0.saturating_add(fraction))
    }

    /// The nearest to a number of units.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn of_units(units: f64) -> Share {
        Share((units * (1_u64 << SHARE_BITS) as f64) as u128)
    }

    /// Whole units, rounded down.
    fn units(self) -> u64 {
        u64::try_from(self.0 >> SHARE_BITS).unwrap_or(u64::MAX)
    }

    /// In units, with the fraction.
    #[allow(clippy::cast_precision_loss)]
    pub fn decimal(self) -> f64 {
        self.0 as f64 / (1_u64 << SHARE_BITS) as f64
    }

    /// A load divided by this share. Nothing divided by nothing is zero.
    pub fn pressure(self, load: Load) -> Ratio {
        if self.0 == 0 {
            return Ratio::of(load.0, 0);
        }
        let millionths = u128::from(load.0) * u128::from(Ratio::ONE.0);
        Ratio(u64::try_from((millionths << SHARE_BITS) / self.0).unwrap_or(u64::MAX))
    }

    /// The largest load at which the pressure is not above this ratio.
    pub fn load_at(self, pressure: Ratio) -> u64 {
        // pressure_of(load) <= pressure exactly when load × 10⁶ × 2⁴⁰ < (pressure + 1) × share.
        let limit = u128::from(pressure.0) + 1;
        let (high, low) = (self.0 >> SHARE_BITS, self.0 & ((1 << SHARE_BITS) - 1));
        let one = u128::from(Ratio::ONE.0);
        // limit × share / (10⁶ × 2⁴⁰), rounded up, less one; the parts keep it inside 128 bits.
        let Some(whole) = high.checked_mul(limit) else { return u64::MAX };
        let rest = (whole % one << SHARE_BITS) + low.saturating_mul(limit);
        let up = rest.div_ceil(one << SHARE_BITS);
        u64::try_from((whole / one + up).saturating_sub(1)).unwrap_or(u64::MAX)
    }
}

impl NodeLoads {
    /// Adds up a dimension over the nodes and shares it out: in each component, or in each replica of the one
    /// collection that it is about. Nodes to be evacuated get no share: what can leave them is for the others.
    pub fn of(
        snapshot: &Snapshot,
        dimension: &Dimension,
        placement: &Placement,
        sets: &MemberSets,
        evacuated: &BTreeSet<NodeIndex>,
    ) -> NodeLoads {
        let mut load = dimension.base_load.clone();
        let mut of_set = vec![0_u64; sets.len()];
        let of_replica: Vec<usize> = (0..snapshot.replicas.len())
            .map(|replica| sets.set_of(ReplicaIndex::from_position(replica)))
            .collect();
        for (position, node) in placement.node.iter().enumerate() {
            let of_copy = dimension.copy_load[position];
            load[node.at()] = load[node.at()].saturating_add(of_copy);
            let pool = &mut of_set[of_replica[snapshot.copies.replica[position].at()]];
            *pool = pool.saturating_add(of_copy.0);
        }
        let mut exact = vec![None; snapshot.nodes.len()];
        match dimension.scope {
            Scope::Node => {
                for component in &snapshot.components {
                    let overlapping = overlapping_sets(component, sets);
                    if overlapping.len() == 1 {
                        share_out(&component.nodes, evacuated, dimension, &load, &mut exact);
                    } else {
                        level(&component.nodes, &overlapping, sets, dimension, &of_set, &mut exact);
                    }
                }
            }
            Scope::NodeInGroup(collection) => {
                let own = snapshot.replicas.iter().filter(|replica| replica.collection == collection);
                for replica in own {
                    let usable = replica.members.iter().filter(|member| member.standing.is_usable());
                    let nodes: Vec<NodeIndex> = usable.map(|member| member.node).collect();
                    share_out(&nodes, evacuated, dimension, &load, &mut exact);
                }
            }
        }
        let fair = exact.iter().map(|share| share.map(|share| Load(share.units()))).collect();
        NodeLoads { load, fair, exact }
    }

    /// Load divided by fair share; `None` for nodes that take no part.
    pub fn pressure(&self, node: NodeIndex) -> Option<Ratio> {
        self.pressure_with(node, self.load[node.at()])
    }

    /// The pressure that a node would have with this load.
    pub fn pressure_with(&self, node: NodeIndex, load: Load) -> Option<Ratio> {
        self.exact[node.at()].map(|share| share.pressure(load))
    }

    /// The fair share with its fraction.
    pub fn share(&self, node: NodeIndex) -> Option<Share> {
        self.exact[node.at()]
    }
}

/// Capacities are shared out with this many bits: products with any sum of loads then fit 128 bits.
const CAPACITY_BITS: u32 = 48;

/// Finds the level to which the load fills the capacities of nodes that can all take any of it. A node whose base
/// load alone is above the level keeps it as its share; the others divide the rest.
fn share_out(
    nodes: &[NodeIndex],
    evacuated: &BTreeSet<NodeIndex>,
    dimension: &Dimension,
    load: &[Load],
    exact: &mut [Option<Share>],
) {
    let capacity = dimension.capacity.amounts();
    let largest = nodes.iter().map(|node| capacity[node.at()].0).max().unwrap_or(0);
    let shift = (u64::BITS - largest.leading_zeros()).saturating_sub(CAPACITY_BITS);
    let weight = |node: &NodeIndex| u128::from(capacity[node.at()].0 >> shift);
    let is_left = |node: &NodeIndex| evacuated.contains(node);
    let mut sharing: Vec<NodeIndex> =
        nodes.iter().copied().filter(|node| weight(node) > 0 && !is_left(node)).collect();
    let leaving = nodes.iter().filter(|node| is_left(node));
    let leaving = leaving.map(|node| load[node.at()].saturating_sub(dimension.base_load[node.at()]));
    let staying = sharing.iter().map(|node| load[node.at()]);
    let mut to_share: u128 = staying.chain(leaving).map(|load| u128::from(load.0)).sum();
    loop {
        let total_capacity: u128 = sharing.iter().map(weight).sum();
        if total_capacity == 0 {
            return;
        }
        let share = |node: &NodeIndex| Share::part(to_share, weight(node), total_capacity);
        let base = |node: &NodeIndex| Share::whole(u128::from(dimension.base_load[node.at()].0));
        let (flooded, dry): (Vec<NodeIndex>, Vec<NodeIndex>) =
            sharing.iter().partition(|node| base(node) > share(node));
        if flooded.is_empty() {
            for node in &sharing {
                exact[node.at()] = Some(share(node));
            }
            return;
        }
        for node in &flooded {
            exact[node.at()] = Some(base(node));
            to_share = to_share.saturating_sub(u128::from(dimension.base_load[node.at()].0));
        }
        sharing = dry;
    }
}

/// The different sets that the replicas of a component have.
fn overlapping_sets(component: &Component, sets: &MemberSets) -> Vec<usize> {
    let mut own: Vec<usize> = component.replicas.iter().map(|replica| sets.set_of(*replica)).collect();
    own.sort_unstable();
    own.dedup();
    own
}

/// Rounds of levelling: with nodes in a row of overlapping sets, load flows one set further with every round.
const LEVELLING_ROUNDS: usize = 100;
/// Levels that change by less than this are found: a thousandth of what the narrowest band has.
const LEVEL_FOUND: f64 = 1e-5;

/// Shares for nodes whose replicas may use different, overlapping sets of them: a replica of three nodes beside one of
/// seven cannot be levelled, and nobody is to be alarmed about it. Each set in turn pours its load over its nodes, as
/// low as the others' loads let it, until the levels stand: that is the least of a convex sum, whose lowest point
/// has every node as low as its replicas allow.
///
/// The numbers have fractions; they are added up in one order only, so that they are the same everywhere.
#[allow(clippy::cast_precision_loss)]
fn level(
    nodes: &[NodeIndex],
    overlapping: &[usize],
    sets: &MemberSets,
    dimension: &Dimension,
    of_set: &[u64],
    exact: &mut [Option<Share>],
) {
    let capacity = dimension.capacity.amounts();
    let mut total: Vec<f64> = dimension.base_load.iter().map(|load| load.0 as f64).collect();
    let takes_part = |node: &&NodeIndex| capacity[node.at()] > Load::ZERO;
    let mut pools: Vec<Pool> = overlapping
        .iter()
        .map(|set| {
            let nodes: Vec<NodeIndex> = sets.members(*set).iter().filter(takes_part).copied().collect();
            Pool { load: of_set[*set] as f64, poured: vec![0.0; nodes.len()], nodes }
        })
        .collect();
    for _ in 0..LEVELLING_ROUNDS {
        let mut largest_change: f64 = 0.0;
        for pool in &mut pools {
            largest_change = largest_change.max(pool.pour(capacity, &mut total));
        }
        if largest_change < LEVEL_FOUND {
            break;
        }
    }
    for node in nodes.iter().filter(takes_part) {
        exact[node.at()] = Some(Share::of_units(total[node.at()]));
    }
}

/// The load of all replicas that have one set of nodes, and how it is poured over them.
struct Pool {
    load: f64,
    nodes: Vec<NodeIndex>,
    poured: Vec<f64>,
}

impl Pool {
    /// Pours the load out again beside what the nodes have from others; answers with the largest change, as a part
    /// of a node's load.
    #[allow(clippy::cast_precision_loss)]
    fn pour(&mut self, capacity: &[Load], total: &mut [f64]) -> f64 {
        let mut by_level: Vec<(f64, usize)> = Vec::with_capacity(self.nodes.len());
        for (at, node) in self.nodes.iter().enumerate() {
            total[node.at()] -= self.poured[at];
            by_level.push((total[node.at()] / capacity[node.at()].0 as f64, at));
        }
        by_level.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
        // The level at which so many of the lowest nodes hold all of it, and the next one is not below it.
        let (mut width, mut there) = (0.0, 0.0);
        let mut level = 0.0;
        for (position, (_, at)) in by_level.iter().enumerate() {
            let node = self.nodes[*at];
            width += capacity[node.at()].0 as f64;
            there += total[node.at()];
            level = (self.load + there) / width;
            if by_level.get(position + 1).is_none_or(|next| next.0 >= level) {
                break;
            }
        }
        let mut largest_change: f64 = 0.0;
        for (at, node) in self.nodes.iter().enumerate() {
            let poured = (level * capacity[node.at()].0 as f64 - total[node.at()]).max(0.0);
            let change = (poured - self.poured[at]).abs();
            total[node.at()] += poured;
            self.poured[at] = poured;
            if total[node.at()] > 0.0 {
                largest_change = largest_change.max(change / total[node.at()]);
            }
        }
        largest_change
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
    use crate::policy::{Capacity, DimensionSettings, LoadUnit};

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
        let mut exact = vec![None; load.len()];
        share_out(&nodes, &BTreeSet::new(), &dimension(base, capacity), &loads, &mut exact);
        exact.into_iter().map(|share: Option<Share>| share.map(Share::units)).collect()
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
