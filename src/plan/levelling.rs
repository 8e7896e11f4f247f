//! Fair shares where replicas may use different, overlapping sets of nodes.

use super::member_sets::MemberSets;
use super::share::Share;
use crate::model::{Component, NodeIndex};
use crate::units::Load;

/// The different sets that the replicas of a component have.
pub fn sets_of(component: &Component, sets: &MemberSets) -> Vec<usize> {
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
///
/// `load_of_set` is what each set has to pour, `fixed` what each node has besides. Answers for the nodes that are
/// `wanted`.
#[allow(clippy::cast_precision_loss)]
pub fn level(
    component: &Component,
    sets: &MemberSets,
    capacity: &[Load],
    load_of_set: &[u64],
    fixed: &[Load],
    wanted: impl Fn(NodeIndex) -> bool,
) -> Vec<(NodeIndex, Share)> {
    let mut total: Vec<f64> = fixed.iter().map(|load| load.0 as f64).collect();
    let takes_part = |node: &&NodeIndex| capacity[node.at()] > Load::ZERO && wanted(**node);
    let mut pools: Vec<Pool> = sets_of(component, sets)
        .iter()
        .map(|set| {
            let nodes: Vec<NodeIndex> = sets.members(*set).iter().filter(takes_part).copied().collect();
            Pool { load: load_of_set[*set] as f64, poured: vec![0.0; nodes.len()], nodes }
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
    let nodes = component.nodes.iter().filter(takes_part);
    nodes.map(|node| (*node, Share::of_units(total[node.at()]))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CollectionIndex, Member, Replica, ReplicaIndex, Standing};
    use crate::units::ReplicaId;

    fn replica(members: std::ops::Range<usize>) -> Replica {
        let member = |node| Member { node: NodeIndex::from_position(node), standing: Standing::ReadWrite };
        Replica {
            id: ReplicaId(1),
            collection: CollectionIndex(0),
            resource_group: String::new(),
            members: members.map(member).collect(),
            component: None,
        }
    }

    fn levels(replicas: &[(std::ops::Range<usize>, u64)], nodes: usize) -> Vec<u64> {
        let component = Component {
            nodes: (0..nodes).map(NodeIndex::from_position).collect(),
            replicas: (0..replicas.len()).map(ReplicaIndex::from_position).collect(),
        };
        let members: Vec<Replica> = replicas.iter().map(|(members, _)| replica(members.clone())).collect();
        let sets = MemberSets::of(&members, |_| true);
        let loads: Vec<u64> = replicas.iter().map(|(_, load)| *load).collect();
        let capacity = vec![Load(1); nodes];
        let shares = level(&component, &sets, &capacity, &loads, &vec![Load::ZERO; nodes], |_| true);
        shares.into_iter().map(|(_, share)| (share.decimal() * 10.0).round() as u64).collect()
    }

    #[test]
    fn a_narrow_replica_is_no_reason_to_alarm_anybody() {
        // 300 on three nodes, 350 on seven, and a little that links them.
        assert_eq!(levels(&[(0..3, 300), (3..10, 350), (2..4, 1)], 10)[..4], [1000, 1000, 1000, 501]);
    }

    #[test]
    fn what_links_nodes_levels_them_as_far_as_it_can() {
        assert_eq!(levels(&[(0..2, 100), (1..3, 100)], 3), [667, 667, 667]);
        assert_eq!(levels(&[(0..2, 200), (1..3, 0)], 3), [1000, 1000, 0]);
    }
}
