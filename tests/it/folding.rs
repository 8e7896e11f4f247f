//! How observations become snapshots: standings, copies, bytes, components, doubts.

use std::collections::BTreeMap;

use milvus_rebalancer::model::{BytesSource, DoubtKind, Held, ModelState, Snapshot, Standing, fold};
use milvus_rebalancer::observe::observation::{NodeRole, Observation, ServerVersion};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId};

use crate::cluster::{add_collection, address, cluster, node};

fn snapshot(observation: &Observation) -> Snapshot {
    fold(ModelState::default(), observation, &[]).1
}

fn standing(observation: &Observation, node: i64) -> Standing {
    let snapshot = snapshot(observation);
    snapshot.node(snapshot.node_index(NodeId(node)).unwrap()).standing
}

#[test]
fn standings_follow_from_metrics_groups_and_replicas_together() {
    let mut observation = cluster(5);
    add_collection(&mut observation, 7, &[&[(1, 1), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)]]);
    observation.nodes[1].role = NodeRole::StreamingNode;
    observation.nodes[2].error = Some("context deadline exceeded".to_owned());
    observation.resource_groups.as_mut().unwrap()[0]
        .nodes
        .as_mut()
        .unwrap()
        .retain(|node| node.id != NodeId(4));
    assert_eq!(standing(&observation, 1), Standing::ReadWrite);
    assert_eq!(standing(&observation, 2), Standing::Streaming);
    assert_eq!(
        standing(&observation, 3),
        Standing::Absent,
        "an error carries a made-up id and tells nothing of it"
    );
    assert_eq!(standing(&observation, 4), Standing::ReadOnly);
    assert_eq!(standing(&observation, 6), Standing::Absent, "in the replica, not in GetMetrics");
}

#[test]
fn a_node_of_another_group_is_read_only_in_the_replica() {
    use milvus_rebalancer::observe::observation::ResourceGroupReport;
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 1), (2, 1)]]);
    let groups = observation.resource_groups.as_mut().unwrap();
    let moved = groups[0].nodes.as_mut().unwrap().pop().unwrap();
    groups.push(ResourceGroupReport { name: "other".to_owned(), nodes: Some(vec![moved]) });
    let snapshot = snapshot(&observation);
    let members: Vec<Standing> = snapshot.replicas[0].members.iter().map(|member| member.standing).collect();
    assert_eq!(members, [Standing::ReadWrite, Standing::ReadOnly]);
    assert_eq!(snapshot.copies.held, [None, Some(Held::NodeUnfit)]);
    assert_eq!(snapshot.components.len(), 1);
    assert_eq!(snapshot.components[0].nodes.len(), 1, "nothing can flow to a read-only node");
}

#[test]
fn before_2_4_members_are_read_write_unless_outbound_nodes_are_reported() {
    let mut observation = cluster(2);
    observation.server = ServerVersion::parse("2.3.5");
    observation.resource_groups = None;
    add_collection(&mut observation, 7, &[&[(1, 1), (2, 0)]]);
    assert!(
        snapshot(&observation).replicas[0]
            .members
            .iter()
            .all(|member| member.standing == Standing::ReadWrite)
    );
    observation.collections[0].replicas.as_mut().unwrap()[0].outbound_nodes = 1;
    assert!(
        snapshot(&observation).replicas[0].members.iter().all(|member| member.standing == Standing::Unknown)
    );
}

#[test]
fn bytes_come_from_the_nodes_then_from_the_schema_then_from_a_guess() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 3), (2, 1)]]);
    observation.nodes[0].sealed_bytes = Some(BTreeMap::from([(CollectionId(7), Bytes(240_000))]));
    observation.nodes[1].sealed_bytes = Some(BTreeMap::from([(CollectionId(7), Bytes(80_000))]));
    let (state, first) = fold(ModelState::default(), &observation, &[]);
    assert_eq!(
        (first.copies.bytes[0], first.collections[0].bytes_source),
        (Bytes(80_000), BytesSource::Reported)
    );

    observation.nodes[0].sealed_bytes = None;
    observation.nodes[1].sealed_bytes = None;
    let (_, second) = fold(state, &observation, &[]);
    assert_eq!(second.copies.bytes[0], Bytes(80_000), "what was reported once is better than an estimate");

    assert_eq!(snapshot(&observation).collections[0].bytes_source, BytesSource::Schema);
    assert_eq!(snapshot(&observation).copies.bytes[0], Bytes(10_000));
    observation.collections[0].estimated_row_bytes = None;
    assert_eq!(snapshot(&observation).collections[0].bytes_source, BytesSource::Guessed);
    assert_eq!(snapshot(&observation).copies.bytes[0], Bytes(1_024_000));
}

#[test]
fn nodes_without_a_common_replica_are_separate_components() {
    let mut observation = cluster(5);
    add_collection(&mut observation, 7, &[&[(1, 1), (2, 0)], &[(3, 1), (4, 0)]]);
    let apart = snapshot(&observation);
    assert_eq!(apart.components.len(), 2);
    assert_eq!(apart.nodes[4].component, None, "node 5 serves nothing");
    add_collection(&mut observation, 8, &[&[(2, 1), (3, 0)]]);
    assert_eq!(snapshot(&observation).components.len(), 1, "collection 8 links them");
}

#[test]
fn contradictions_are_named() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 0)]]);
    observation.collections[0].segments.as_mut().unwrap()[0].nodes = vec![NodeId(3)];
    observation.nodes[1].address = address(NodeId(1));
    observation.nodes[2].memory_capacity = None;
    let mut kinds: Vec<&str> = snapshot(&observation).doubts.iter().map(|doubt| doubt.kind.code()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["capacity_unknown", "outside_replicas", "shared_address", "shared_address"]);
    let sentence =
        snapshot(&observation).doubts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(
        sentence.contains("segment 7000: it is listed on node 3, which belongs to none of its replicas"),
        "{sentence}"
    );
}

#[test]
fn duplicate_entries_do_not_count_twice() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 0)]]);
    observation.nodes.push(node(NodeId(1)));
    let twin = observation.collections[0].clone();
    observation.collections.push(twin);
    let segments = observation.collections[0].segments.as_mut().unwrap();
    segments.push(segments[0].clone());
    let snapshot = snapshot(&observation);
    assert_eq!((snapshot.nodes.len(), snapshot.collections.len(), snapshot.copies.len()), (2, 1, 2));
    assert!(!snapshot.doubts.iter().any(|doubt| matches!(doubt.kind, DoubtKind::SharedAddress { .. })));
}
