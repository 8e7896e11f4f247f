//! What of an answer belongs to which node and collection, and what the `points` policy makes of it.

use std::time::Duration;

use milvus_rebalancer::model::{ModelState, Snapshot, fold};
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::observe::prometheus::{ServerReading, ServerSample, ServerSignal};
use milvus_rebalancer::policy::{PointsSettings, PolicySettings};
use milvus_rebalancer::units::{Load, NodeId};

use super::sample;
use crate::cluster::{add_collection, cluster, decide, rows_at_once};

fn observed(samples: Vec<ServerSample>) -> Observation {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 2), (3, 2)]]);
    add_collection(&mut observation, 8, &[&[(1, 2), (2, 2), (3, 2)]]);
    let reading = ServerReading { signal: ServerSignal::Points, window: Duration::ZERO, samples };
    observation.prometheus.readings.insert("q".to_owned(), reading);
    observation
}

fn seen(samples: Vec<ServerSample>) -> (Snapshot, Vec<String>) {
    let snapshot = fold(ModelState::default(), &observed(samples), &[]).1;
    let doubts = snapshot.doubts.iter().map(ToString::to_string).collect();
    (snapshot, doubts)
}

fn by_node(snapshot: &Snapshot) -> Vec<u64> {
    let points = &snapshot.points["q"];
    let mut sums: Vec<u64> = points.base_load.iter().map(|load| load.0).collect();
    for (node, Load(load)) in snapshot.copies.node.iter().zip(&points.copy_load) {
        sums[node.at()] += load;
    }
    sums
}

#[test]
fn nodes_are_found_by_address_host_hostname_and_id() {
    let (snapshot, doubts) = seen(vec![
        sample("10.0.0.1:21123", None, 101),
        sample("10.0.0.2:9091", None, 102),
        sample("querynode-3", None, 103),
        sample("prometheus:9090", None, 9),
    ]);
    assert_eq!(doubts, [""; 0], "whoever is no node of ours is nobody's business");
    assert_eq!(by_node(&snapshot), [101, 102, 103]);
    let (snapshot, doubts) = seen(vec![sample("1", None, 5), sample("2", None, 6), sample("3", None, 7)]);
    assert_eq!((doubts.len(), by_node(&snapshot)), (0, vec![5, 6, 7]));
}

#[test]
fn points_of_a_collection_are_those_of_its_segments() {
    let of = |node: &str, collection: &str, value| sample(node, Some(collection), value);
    let (snapshot, doubts) = seen(vec![
        of("10.0.0.1:1", "7", 11),
        of("10.0.0.2:1", "collection7", 21),
        of("10.0.0.3:1", "default.collection8", 31),
        of("10.0.0.3:1", "99", 31),
    ]);
    assert_eq!(
        doubts,
        ["the cluster: the Prometheus query q: \"99\" is no loaded collection; it is not used"]
    );
    assert_eq!(by_node(&snapshot), [11, 21, 31]);
    let of_eight = snapshot.copies.replica.iter().zip(&snapshot.points["q"].copy_load);
    let of_eight: u64 = of_eight
        .filter(|(replica, _)| snapshot.collection_of(**replica).id.0 == 8)
        .map(|(_, load)| load.0)
        .sum();
    assert_eq!(of_eight, 31);
}

#[test]
fn what_does_not_fit_is_a_doubt_and_not_used() {
    let (snapshot, doubts) = seen(vec![
        sample("10.0.0.1:1", None, 5),
        sample("10.0.0.1:2", None, 6),
        sample("10.0.0.2:1", None, 7),
    ]);
    assert_eq!(
        doubts,
        [
            "the cluster: the Prometheus query q: there are two series for \"10.0.0.1:2\"; neither is used: aggregate in the query",
            "node 3: the Prometheus query q: it has nothing about this node",
        ]
    );
    assert_eq!(by_node(&snapshot), [0, 7, 0]);
    let (_, doubts) = seen(vec![sample("elsewhere:1", None, 5)]);
    assert_eq!(
        doubts,
        [
            "the cluster: the Prometheus query q: its labels name none of the nodes, \"elsewhere:1\" for example: is node_label right?"
        ]
    );
}

#[test]
fn nodes_on_one_host_are_told_apart_or_not_at_all() {
    let mut observation = observed(vec![sample("10.0.0.1:9091", None, 5), sample("10.0.0.1:2", None, 6)]);
    for (node, port) in observation.nodes.iter_mut().zip(1..) {
        node.address = format!("10.0.0.1:{port}");
    }
    let snapshot = fold(ModelState::default(), &observation, &[]).1;
    let doubts: Vec<String> = snapshot.doubts.iter().map(ToString::to_string).collect();
    assert!(doubts[0].contains("\"10.0.0.1:9091\" may be one or another; it is not used"), "{doubts:?}");
    assert_eq!(by_node(&snapshot), [0, 6, 0]);
}

#[test]
fn the_points_policy_levels_them_and_keeps_off_nodes_of_which_nothing_is_known() {
    let rows = rows_at_once();
    let mut memory = rows.memory.clone();
    memory.enabled = false;
    let points = PointsSettings(rows.rows.0.clone());
    let policies = PolicySettings { memory, points, ..PolicySettings::default() };
    let of = |node: &str, collection: &str, value| sample(node, Some(collection), value);
    let samples = vec![of("1", "7", 9_000), of("2", "7", 1_000), of("2", "8", 1_000)];
    let decision = decide(&observed(samples), &policies);
    let moves: Vec<(NodeId, NodeId)> =
        decision.plan.moves().map(|movement| (movement.from, movement.to)).collect();
    assert_eq!(moves.first(), Some(&(NodeId(1), NodeId(2))), "{:?}", decision.plan);
    assert!(moves.iter().all(|(_, to)| *to != NodeId(3)), "nothing is known of node 3: {moves:?}");
    assert!(decision.findings.iter().any(|finding| finding.dimension == "points.q"));
}

#[test]
fn a_quota_that_prometheus_knows_is_what_the_node_has() {
    let mut observation = observed(vec![sample("1", None, 1), sample("2", None, 1), sample("3", None, 1)]);
    let reading = ServerReading {
        signal: ServerSignal::CpuCapacity,
        window: Duration::ZERO,
        samples: vec![sample("10.0.0.1:9100", None, 300)],
    };
    observation.prometheus.readings.insert("quota".to_owned(), reading);
    let snapshot = fold(ModelState::default(), &observation, &[]).1;
    let cpu = |node: usize| {
        let cpu = snapshot.signals.nodes[node].capacity.cpu.as_ref();
        cpu.map(|reading| (reading.value.0, reading.source.to_string()))
    };
    assert_eq!(cpu(0), Some((300, "Prometheus (quota)".to_owned())));
    assert_ne!(cpu(1).map(|(cores, _)| cores), Some(300), "nothing is said of the others");
    let lacking = snapshot.doubts.iter().filter(|doubt| doubt.kind.code() == "query_answer").count();
    assert_eq!(lacking, 2, "{:?}", snapshot.doubts);
}
