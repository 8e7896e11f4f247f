//! Where a copy could go: the usable members of its replica, and of many only the least loaded. The planner asks
//! for every copy of an overloaded node at every step, so what can be known before is kept.

use std::collections::BTreeSet;

use crate::model::{NodeIndex, Replica, ReplicaIndex};
use crate::units::Ratio;

/// Only so many destinations are tried for a segment, the least loaded first: with hundreds of nodes in a replica
/// the others are worse.
pub const DESTINATIONS_TRIED: usize = 64;

/// Possible destinations, by replica, and all nodes by their pressure.
pub struct Destinations {
    /// Usable members of each replica.
    members: Vec<Vec<NodeIndex>>,
    /// For replicas with more of them than are tried: whether a node is one, by node. Empty for the others.
    is_member: Vec<Vec<bool>>,
    /// The highest pressure of each node over all dimensions.
    pressure: Vec<Ratio>,
    by_pressure: BTreeSet<(Ratio, NodeIndex)>,
}

impl Destinations {
    /// Of these replicas, where the nodes have these pressures.
    pub fn new(replicas: &[Replica], pressure: Vec<Ratio>) -> Destinations {
        let mut members = Vec::with_capacity(replicas.len());
        let mut is_member = Vec::with_capacity(replicas.len());
        for replica in replicas {
            let usable = replica.members.iter().filter(|member| member.standing.is_usable());
            let usable: Vec<NodeIndex> = usable.map(|member| member.node).collect();
            let mut by_node = Vec::new();
            if usable.len() > DESTINATIONS_TRIED {
                by_node.resize(pressure.len(), false);
                for node in &usable {
                    by_node[node.at()] = true;
                }
            }
            members.push(usable);
            is_member.push(by_node);
        }
        let by_pressure = pressure
            .iter()
            .enumerate()
            .map(|(position, pressure)| (*pressure, NodeIndex::from_position(position)))
            .collect();
        Destinations { members, is_member, pressure, by_pressure }
    }

    /// A node has another pressure now.
    pub fn update(&mut self, node: NodeIndex, pressure: Ratio) {
        let before = std::mem::replace(&mut self.pressure[node.at()], pressure);
        self.by_pressure.remove(&(before, node));
        self.by_pressure.insert((pressure, node));
    }

    /// Writes down the members of a replica but `from`; when they are too many, those that would have the least
    /// pressure afterwards, and those in that order. `after` tells the pressure of a node with the copy on it,
    /// which is never less than without.
    pub fn of(
        &self,
        replica: ReplicaIndex,
        from: NodeIndex,
        after: impl Fn(NodeIndex) -> Ratio,
        into: &mut Vec<NodeIndex>,
    ) {
        into.clear();
        let is_member = &self.is_member[replica.at()];
        let members = &self.members[replica.at()];
        let others = members.len() - usize::from(is_member.get(from.at()) == Some(&true));
        if others <= DESTINATIONS_TRIED {
            into.extend(members.iter().filter(|node| **node != from));
            return;
        }
        let mut found: Vec<(Ratio, NodeIndex)> = Vec::with_capacity(2 * DESTINATIONS_TRIED);
        let mut limit = Ratio::MAX;
        for (pressure, node) in &self.by_pressure {
            // Already above the worst of enough others, and so are all that follow.
            if *pressure > limit {
                break;
            }
            if *node == from || !is_member[node.at()] {
                continue;
            }
            found.push((after(*node), *node));
            if found.len() == DESTINATIONS_TRIED {
                limit = found.iter().map(|(after, _)| *after).max().unwrap_or(Ratio::MAX);
            }
        }
        found.sort_unstable();
        into.extend(found.iter().take(DESTINATIONS_TRIED).map(|(_, node)| *node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CollectionIndex, Member, Standing};
    use crate::units::ReplicaId;

    fn node(position: usize) -> NodeIndex {
        NodeIndex::from_position(position)
    }

    fn replica(members: &[usize]) -> Replica {
        let member = |position: &usize| Member { node: node(*position), standing: Standing::ReadWrite };
        Replica {
            id: ReplicaId(1),
            collection: CollectionIndex(0),
            resource_group: String::new(),
            members: members.iter().map(member).collect(),
            component: None,
        }
    }

    /// Pressures that repeat, and grow by different amounts.
    fn pressure(position: usize) -> u64 {
        (position as u64 * 7_919) % 53 * 10
    }

    fn after(node: NodeIndex) -> Ratio {
        Ratio(pressure(node.at()) + (node.at() as u64 * 31) % 40)
    }

    fn asked(destinations: &Destinations, from: usize) -> Vec<usize> {
        let mut found = Vec::new();
        destinations.of(ReplicaIndex(0), node(from), after, &mut found);
        found.iter().map(|node| node.at()).collect()
    }

    #[test]
    fn of_many_members_the_least_loaded_are_tried() {
        let members: Vec<usize> = (0..300).filter(|position| position % 3 != 0).collect();
        let mut unusable = replica(&members);
        unusable.members[0].standing = Standing::ReadOnly;
        let pressures = (0..300).map(|position| Ratio(pressure(position))).collect();
        let destinations = Destinations::new(&[unusable], pressures);
        for from in [2, 4, 298] {
            let mut sorted: Vec<usize> =
                members[1..].iter().copied().filter(|member| *member != from).collect();
            sorted.sort_by_key(|member| (after(node(*member)), *member));
            sorted.truncate(DESTINATIONS_TRIED);
            assert_eq!(asked(&destinations, from), sorted);
        }
    }

    #[test]
    fn few_members_are_all_tried_in_their_own_order() {
        let members: Vec<usize> = (0..=DESTINATIONS_TRIED).collect();
        let destinations = Destinations::new(&[replica(&members)], vec![Ratio::ONE; 70]);
        assert_eq!(asked(&destinations, 0), members[1..], "64 others");
        assert_eq!(asked(&destinations, 69).len(), DESTINATIONS_TRIED, "65 others");
    }

    #[test]
    fn a_node_that_has_been_relieved_is_tried_again() {
        let members: Vec<usize> = (0..100).collect();
        let mut pressures = vec![Ratio::ZERO; 100];
        pressures[0] = Ratio(900_000);
        let mut destinations = Destinations::new(&[replica(&members)], pressures);
        assert!(!asked(&destinations, 99).contains(&0));
        destinations.update(node(0), Ratio::ZERO);
        assert_eq!(asked(&destinations, 99)[0], 0);
    }
}
