//! Links nodes that share a replica into components: load can flow inside one and never between two.

use super::snapshot::{Component, ComponentIndex, Node, NodeIndex, Replica, ReplicaIndex};

/// Finds the components and writes them into nodes and replicas. Only read-write members link: through another
/// node no segment can flow.
pub fn link_components(nodes: &mut [Node], replicas: &mut [Replica]) -> Vec<Component> {
    let mut parents: Vec<usize> = (0..nodes.len()).collect();
    let mut is_member = vec![false; nodes.len()];
    for replica in replicas.iter() {
        let mut usable = usable_members(replica);
        let Some(first) = usable.next() else { continue };
        is_member[first] = true;
        for node in usable {
            is_member[node] = true;
            let (left, right) = (root_of(&mut parents, first), root_of(&mut parents, node));
            // The smaller index stays the root, so that a component is named by its first node.
            parents[left.max(right)] = left.min(right);
        }
    }

    let mut components: Vec<Component> = Vec::new();
    let mut component_of_root: Vec<Option<ComponentIndex>> = vec![None; nodes.len()];
    for position in 0..nodes.len() {
        if !is_member[position] {
            continue;
        }
        let root = root_of(&mut parents, position);
        let index = *component_of_root[root].get_or_insert_with(|| {
            components.push(Component { nodes: Vec::new(), replicas: Vec::new() });
            ComponentIndex::from_position(components.len() - 1)
        });
        components[index.at()].nodes.push(NodeIndex::from_position(position));
        nodes[position].component = Some(index);
    }
    for (position, replica) in replicas.iter_mut().enumerate() {
        let first = usable_members(replica).next();
        replica.component = first.and_then(|node| nodes[node].component);
        if let Some(index) = replica.component {
            components[index.at()].replicas.push(ReplicaIndex::from_position(position));
        }
    }
    components
}

fn usable_members(replica: &Replica) -> impl Iterator<Item = usize> + '_ {
    replica.members.iter().filter(|member| member.standing.is_usable()).map(|member| member.node.at())
}

/// The root of a node's set, shortening the path on the way.
fn root_of(parents: &mut [usize], node: usize) -> usize {
    let mut root = node;
    while parents[root] != root {
        parents[root] = parents[parents[root]];
        root = parents[root];
    }
    root
}
