//! From Milvus' messages to reports: ids and amounts become types, what is unordered is put in order, what is
//! impossible is made harmless.

use std::collections::BTreeMap;

use super::observation::{
    GroupNode, ReplicaReport, ResourceGroupReport, SegmentLevel, SegmentReport, ServerVersion, ShardReport,
};
use crate::milvus::wire::common;
use crate::milvus::wire::milvus::{QuerySegmentInfo, ReplicaInfo, ResourceGroup, ShardReplica};
use crate::units::{NodeId, PartitionId, ReplicaId, Rows, SegmentId};

/// Replicas by id.
pub fn replicas(infos: Vec<ReplicaInfo>) -> Vec<ReplicaReport> {
    let mut replicas: Vec<ReplicaReport> = infos.into_iter().map(replica).collect();
    replicas.sort_by_key(|replica| replica.id);
    replicas
}

fn replica(info: ReplicaInfo) -> ReplicaReport {
    let mut shards: Vec<ShardReport> = info.shard_replicas.into_iter().map(shard).collect();
    shards.sort_by(|a, b| a.channel.cmp(&b.channel));
    let outbound = info.num_outbound_node.into_values().filter_map(|count| u32::try_from(count).ok());
    ReplicaReport {
        id: ReplicaId(info.replica_id),
        nodes: nodes(&info.node_ids),
        resource_group: info.resource_group_name,
        shards,
        outbound_nodes: outbound.fold(0, u32::saturating_add),
    }
}

fn shard(shard: ShardReplica) -> ShardReport {
    ShardReport {
        leader: NodeId(shard.leader_id),
        leader_address: shard.leader_addr,
        channel: shard.dm_channel_name,
    }
}

/// Segments by id. One that is listed twice is one segment on all the nodes of both entries. One that still grows is
/// none: it lives with its delegator and cannot move. No version is known to list it.
pub fn segments(infos: Vec<QuerySegmentInfo>) -> Vec<SegmentReport> {
    let mut segments: BTreeMap<SegmentId, SegmentReport> = BTreeMap::new();
    let growing = i32::from(common::SegmentState::Growing);
    for info in infos.into_iter().filter(|info| info.state != growing) {
        let segment = segment(&info);
        if let Some(other) = segments.get_mut(&segment.id) {
            other.nodes.extend(segment.nodes);
            other.nodes.sort_unstable();
            other.nodes.dedup();
        } else {
            segments.insert(segment.id, segment);
        }
    }
    segments.into_values().collect()
}

fn segment(info: &QuerySegmentInfo) -> SegmentReport {
    SegmentReport {
        id: SegmentId(info.segment_id),
        partition: PartitionId(info.partition_id),
        rows: Rows(u64::try_from(info.num_rows).unwrap_or(0)),
        nodes: nodes(&info.node_ids),
        level: level(info.level),
    }
}

/// A level that a later version invents is treated like the one that must not move.
fn level(number: i32) -> SegmentLevel {
    match common::SegmentLevel::try_from(number) {
        Ok(common::SegmentLevel::Legacy) => SegmentLevel::Legacy,
        Ok(common::SegmentLevel::L1) => SegmentLevel::L1,
        Ok(common::SegmentLevel::L2) => SegmentLevel::L2,
        Ok(common::SegmentLevel::L0) | Err(_) => SegmentLevel::L0,
    }
}

fn nodes(ids: &[i64]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = ids.iter().copied().map(NodeId).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// A resource group. No nodes in it means an empty group only where the server is known to list them.
pub fn resource_group(group: ResourceGroup, server: &ServerVersion) -> ResourceGroupReport {
    let lists_nodes = server.lists_group_nodes() || !group.nodes.is_empty();
    let node = |node: common::NodeInfo| GroupNode {
        id: NodeId(node.node_id),
        address: node.address,
        hostname: node.hostname,
    };
    let mut nodes: Vec<GroupNode> = group.nodes.into_iter().map(node).collect();
    nodes.sort_by_key(|node| node.id);
    ResourceGroupReport { name: group.name, nodes: lists_nodes.then_some(nodes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_listed_twice_is_one_segment() {
        let entry = |nodes: &[i64]| QuerySegmentInfo {
            segment_id: 7,
            num_rows: -1,
            node_ids: nodes.to_vec(),
            level: 9,
            ..QuerySegmentInfo::default()
        };
        let read = segments(vec![entry(&[3, 1, 3]), entry(&[2, 1])]);
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].nodes, [NodeId(1), NodeId(2), NodeId(3)]);
        assert_eq!((read[0].rows, read[0].level), (Rows(0), SegmentLevel::L0));
    }

    #[test]
    fn a_growing_segment_is_not_reported() {
        let entry = |id: i64, state: common::SegmentState| QuerySegmentInfo {
            segment_id: id,
            num_rows: 5,
            state: state.into(),
            ..QuerySegmentInfo::default()
        };
        let entries = vec![entry(1, common::SegmentState::Growing), entry(2, common::SegmentState::None)];
        let read = segments(entries);
        assert_eq!(read.iter().map(|segment| segment.id).collect::<Vec<_>>(), [SegmentId(2)]);
    }

    #[test]
    fn a_group_without_nodes_is_empty_only_where_nodes_are_listed() {
        let read =
            |version: &str| resource_group(ResourceGroup::default(), &ServerVersion::parse(version)).nodes;
        assert_eq!(read("v2.3.5"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("v2.4.1"), Some(Vec::new()));
    }

    #[test]
    fn outbound_nodes_are_summed() {
        let info = ReplicaInfo {
            num_outbound_node: BTreeMap::from([("a".into(), 2), ("b".into(), 1), ("c".into(), -5)]),
            node_ids: vec![2, 1],
            ..ReplicaInfo::default()
        };
        let read = replicas(vec![info]);
        assert_eq!((read[0].outbound_nodes, &read[0].nodes), (3, &vec![NodeId(1), NodeId(2)]));
    }
}
