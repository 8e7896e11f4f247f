//! Replicas that may use exactly the same nodes, taken together: to the planner it makes no difference in which of
//! them a segment is. A cluster with ten thousand replicas has a few dozen of these sets.

use crate::model::{NodeIndex, Replica, ReplicaIndex};

/// The different sets of nodes that replicas have.
#[derive(Clone, Debug, Default)]
pub struct MemberSets {
    /// The set of each replica, by replica.
    set_of: Vec<u32>,
    /// Usable members of each set, by index.
    members: Vec<Vec<NodeIndex>>,
}

impl MemberSets {
    /// Of these replicas, in the order in which they first name a set. Only members that may give and take count,
    /// and of those only the ones that are `wanted`.
    pub fn of(replicas: &[Replica], wanted: impl Fn(NodeIndex) -> bool) -> MemberSets {
        let usable = |replica: &Replica| -> Vec<NodeIndex> {
            let usable = replica.members.iter().filter(|member| member.standing.is_usable());
            let mut nodes: Vec<NodeIndex> =
                usable.map(|member| member.node).filter(|node| wanted(*node)).collect();
            nodes.sort_unstable();
            nodes.dedup();
            nodes
        };
        let mut sets = MemberSets { set_of: vec![0; replicas.len()], members: Vec::new() };
        let mut order: Vec<(u64, u32)> = Vec::with_capacity(replicas.len());
        for (position, replica) in replicas.iter().enumerate() {
            order.push((fingerprint(replica), ReplicaIndex::from_position(position).0));
        }
        order.sort_unstable();
        let mut first_of: Vec<u32> = vec![0; replicas.len()];
        let mut known: Vec<(u32, Vec<NodeIndex>)> = Vec::new();
        let mut last = None;
        for (hash, position) in order {
            // Sets with one fingerprint are the same but for accidents, and accidents must not change a plan.
            if last != Some(hash) {
                known.clear();
                last = Some(hash);
            }
            let nodes = usable(&replicas[position as usize]);
            let first = match known.iter().find(|(_, members)| *members == nodes) {
                Some((first, _)) => *first,
                None => {
                    known.push((position, nodes));
                    position
                }
            };
            first_of[position as usize] = first;
        }
        let mut set_of_first: Vec<u32> = vec![0; replicas.len()];
        for position in 0..replicas.len() {
            let first = first_of[position] as usize;
            if first == position {
                set_of_first[position] = ReplicaIndex::from_position(sets.members.len()).0;
                sets.members.push(usable(&replicas[position]));
            }
            sets.set_of[position] = set_of_first[first];
        }
        sets
    }

    /// The set that a replica has.
    pub fn set_of(&self, replica: ReplicaIndex) -> usize {
        self.set_of[replica.at()] as usize
    }

    /// The nodes of a set, by index.
    pub fn members(&self, set: usize) -> &[NodeIndex] {
        &self.members[set]
    }

    /// How many different sets there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }
}

/// Start and factor of the 64-bit FNV-1a hash: any hash will do, as long as it is the same everywhere.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0100_0000_01b3;

fn fingerprint(replica: &Replica) -> u64 {
    let usable = replica.members.iter().filter(|member| member.standing.is_usable());
    usable.fold(FNV_START, |hash, member| (hash ^ u64::from(member.node.0)).wrapping_mul(FNV_FACTOR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CollectionIndex, Member, Standing};
    use crate::units::ReplicaId;

    fn replica(id: i64, members: &[(usize, Standing)]) -> Replica {
        let member = |(node, standing): &(usize, Standing)| Member {
            node: NodeIndex::from_position(*node),
            standing: *standing,
        };
        Replica {
            id: ReplicaId(id),
            collection: CollectionIndex(0),
            resource_group: String::new(),
            members: members.iter().map(member).collect(),
            component: None,
        }
    }

    #[test]
    fn replicas_with_the_same_usable_members_have_one_set() {
        use Standing::{ReadOnly, ReadWrite};
        let replicas = [
            replica(1, &[(4, ReadWrite), (5, ReadWrite)]),
            replica(2, &[(1, ReadWrite), (2, ReadWrite)]),
            replica(3, &[(4, ReadWrite), (5, ReadWrite), (6, ReadOnly)]),
            replica(4, &[]),
        ];
        let sets = MemberSets::of(&replicas, |_| true);
        let set_of = |replica| sets.set_of(ReplicaIndex(replica));
        assert_eq!([set_of(0), set_of(1), set_of(2), set_of(3)], [0, 1, 0, 2]);
        assert_eq!(sets.members(0), [NodeIndex(4), NodeIndex(5)]);
        assert_eq!((sets.len(), sets.members(2).len()), (3, 0));
    }
}
