//! Judges which nodes may give and take segments. Milvus' gRPC has no field for it: it follows from GetMetrics,
//! resource groups and replicas together, and differently so before 2.4.

use std::collections::{BTreeMap, BTreeSet};

use super::doubt::{Doubt, DoubtKind, Subject};
use super::snapshot::Standing;
use crate::observe::management::NodeState;
use crate::observe::observation::{CollectionReport, GapSubject, NodeRole, Observation, ReplicaReport};
use crate::units::{NodeId, ReplicaId};

/// The standing of every node, by itself and in a replica.
pub struct Standings {
    /// Every query node that GetMetrics or a replica names.
    pub nodes: BTreeMap<NodeId, Standing>,
    /// Nodes of each resource group; `None` before 2.4, where groups do not name theirs.
    group_members: Option<BTreeMap<String, BTreeSet<NodeId>>>,
    /// What Milvus' own pages call read-only in a replica: gRPC does not tell where a resource group has more than one.
    read_only: BTreeSet<(ReplicaId, NodeId)>,
}

impl Standings {
    /// A node's standing in one replica.
    ///
    /// From 2.4 on the read-write nodes of a replica are those that its resource group lists; the others are
    /// read-only, stopping or suspended. Before 2.4 all are, unless the replica reports outbound nodes.
    pub fn in_replica(&self, node: NodeId, replica: &ReplicaReport) -> Standing {
        let standing = self.nodes.get(&node).copied().unwrap_or(Standing::Unknown);
        if standing != Standing::ReadWrite {
            return standing;
        }
        if self.read_only.contains(&(replica.id, node)) {
            return Standing::ReadOnly;
        }
        match &self.group_members {
            Some(groups) => match groups.get(&replica.resource_group) {
                Some(members) if members.contains(&node) => Standing::ReadWrite,
                Some(_) => Standing::ReadOnly,
                None => Standing::Unknown,
            },
            None if replica.outbound_nodes > 0 => Standing::Unknown,
            None => Standing::ReadWrite,
        }
    }
}

/// Judges all nodes and records what is doubtful about them.
pub fn judge_nodes(
    observation: &Observation,
    collections: &[&CollectionReport],
    doubts: &mut Vec<Doubt>,
) -> Standings {
    let group_members = group_members(observation);
    let nodes_unread = observation.gaps.iter().any(|gap| gap.subject == GapSubject::SystemInfo);
    let mut nodes = standings_by_report(observation);
    for replica in collections.iter().filter_map(|report| report.replicas.as_ref()).flatten() {
        for node in &replica.nodes {
            let unreported = if nodes_unread { Standing::Unknown } else { Standing::Absent };
            nodes.entry(*node).or_insert(unreported);
        }
        if group_members.is_none() && replica.outbound_nodes > 0 {
            doubts.push(Doubt {
                subject: Subject::Replica(replica.id),
                kind: DoubtKind::OutboundNodes { count: replica.outbound_nodes },
            });
        }
    }
    if let Some(groups) = &group_members {
        // Only when every group could be read does absence from all of them mean something.
        let all_read = !observation
            .gaps
            .iter()
            .any(|gap| matches!(gap.subject, GapSubject::ResourceGroups | GapSubject::ResourceGroup { .. }));
        let outside = if all_read { Standing::ReadOnly } else { Standing::Unknown };
        let members: BTreeSet<NodeId> = groups.values().flatten().copied().collect();
        for (node, standing) in &mut nodes {
            if *standing == Standing::ReadWrite && !members.contains(node) {
                *standing = outside;
            }
        }
    }
    for (node, state) in observation.management.iter().flat_map(|report| report.nodes.iter().flatten()) {
        let is_leaving = matches!(state, NodeState::Stopping | NodeState::Suspended);
        if let Some(standing) = nodes.get_mut(node).filter(|standing| is_leaving && standing.is_usable()) {
            *standing = Standing::ReadOnly;
        }
    }
    for (node, standing) in &nodes {
        if *standing != Standing::ReadWrite {
            let kind = DoubtKind::NodeStanding { standing: *standing };
            doubts.push(Doubt { subject: Subject::Node(*node), kind });
        }
    }
    doubt_capacities(observation, &nodes, doubts);
    doubt_identities(observation, doubts);
    Standings { nodes, group_members, read_only: read_only_members(observation) }
}

/// Nodes that Milvus' own pages call read-only, by replica.
fn read_only_members(observation: &Observation) -> BTreeSet<(ReplicaId, NodeId)> {
    let replicas = observation.management.iter().flat_map(|report| report.replicas.iter().flatten());
    replicas.flat_map(|detail| detail.read_only.iter().map(|node| (detail.replica, *node))).collect()
}

/// `None` before 2.4. From 2.4 on a group whose nodes could not be read is missing, and its replicas' nodes are
/// of unknown standing.
fn group_members(observation: &Observation) -> Option<BTreeMap<String, BTreeSet<NodeId>>> {
    if !observation.server.lists_group_nodes() {
        return None;
    }
    let mut groups = BTreeMap::new();
    for group in observation.resource_groups.iter().flatten() {
        if let Some(nodes) = &group.nodes {
            groups.insert(group.name.clone(), nodes.iter().map(|node| node.id).collect());
        }
    }
    Some(groups)
}

/// What GetMetrics says by itself. A node that answered with an error carries a made-up id, so it tells nothing
/// about the node of that id; the one behind it is missing and therefore absent.
fn standings_by_report(observation: &Observation) -> BTreeMap<NodeId, Standing> {
    let mut nodes = BTreeMap::new();
    for report in observation.nodes.iter().filter(|report| report.error.is_none()) {
        let standing = match report.role {
            NodeRole::QueryNode => Standing::ReadWrite,
            NodeRole::StreamingNode => Standing::Streaming,
            NodeRole::Other(_) => continue,
        };
        // The same id as query node and as streaming node is a streaming node with an embedded query node.
        let known = nodes.entry(report.id).or_insert(standing);
        *known = (*known).max(standing);
    }
    nodes
}

fn doubt_capacities(observation: &Observation, nodes: &BTreeMap<NodeId, Standing>, doubts: &mut Vec<Doubt>) {
    for report in observation.nodes.iter().filter(|report| report.role == NodeRole::QueryNode) {
        let reported = report.memory_capacity.is_some_and(|capacity| capacity.0 > 0);
        if report.error.is_none() && nodes.get(&report.id) == Some(&Standing::ReadWrite) && !reported {
            doubts.push(Doubt { subject: Subject::Node(report.id), kind: DoubtKind::CapacityUnknown });
        }
    }
}

/// Nodes that cannot be told apart by address, and upgrades under way.
fn doubt_identities(observation: &Observation, doubts: &mut Vec<Doubt>) {
    let query_nodes: Vec<_> = observation
        .nodes
        .iter()
        .filter(|report| report.error.is_none() && report.role == NodeRole::QueryNode)
        .collect();
    let mut ids_at: BTreeMap<&str, BTreeSet<NodeId>> = BTreeMap::new();
    for report in &query_nodes {
        ids_at.entry(&report.address).or_default().insert(report.id);
    }
    for report in &query_nodes {
        let shared = ids_at.get(report.address.as_str()).is_some_and(|ids| ids.len() > 1);
        if shared && !report.address.is_empty() {
            let kind = DoubtKind::SharedAddress { address: report.address.clone() };
            doubts.push(Doubt { subject: Subject::Node(report.id), kind });
        }
    }
    let versions: BTreeSet<&str> = query_nodes
        .iter()
        .map(|report| report.version.as_str())
        .filter(|version| !version.is_empty())
        .collect();
    if versions.len() > 1 {
        doubts.push(Doubt { subject: Subject::Cluster, kind: DoubtKind::MixedVersions });
    }
}
