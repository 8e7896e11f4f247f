//! Loads that a Prometheus server tells, where the nodes' own pages cannot be read.

use std::time::Duration;

use milvus_rebalancer::model::signals::SearchLoad;
use milvus_rebalancer::model::{Departure, ModelState, Snapshot, fold};
use milvus_rebalancer::observe::observation::{HardwareReport, Observation};
use milvus_rebalancer::observe::prometheus::{ServerReading, ServerSample, ServerSignal};
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings, SearchSettings};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, Ratio, SegmentId};

use super::sample;
use crate::cluster::{add_collection, address, cluster, decide, moment};

const WINDOW: Duration = Duration::from_secs(60);

/// Three nodes of one core with two segments each of two collections, and no page of any node.
fn site() -> Observation {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 2), (3, 2)]]);
    add_collection(&mut observation, 8, &[&[(1, 2), (2, 2), (3, 2)]]);
    for node in &mut observation.nodes {
        node.hardware = HardwareReport { cpu_cores: Some(1), ..HardwareReport::default() };
    }
    observation
}

fn tell(observation: &mut Observation, query: &str, signal: ServerSignal, samples: Vec<ServerSample>) {
    let reading = ServerReading { signal, window: WINDOW, samples };
    observation.prometheus.readings.insert(query.to_owned(), reading);
}

/// Node 1 uses 0.9 cores, the others less.
fn with_cpu(mut observation: Observation) -> Observation {
    let samples = vec![sample("1", None, 900), sample("2", None, 300), sample("3", None, 100)];
    tell(&mut observation, "cpu", ServerSignal::CpuUsed, samples);
    observation
}

/// Collection 7 uses 0.8 cores of node 1, and 8 hardly anything.
fn with_searches(mut observation: Observation) -> Observation {
    let of = |node: &str, collection: &str, value| sample(node, Some(collection), value);
    let samples = vec![of("1", "7", 800), of("1", "8", 20), of("2", "8", 20), of("3", "8", 20)];
    tell(&mut observation, "searches", ServerSignal::SearchLoad, samples);
    observation
}

fn departure(second: i64) -> Departure {
    Departure {
        segment: SegmentId(7_000),
        collection: CollectionId(7),
        from: NodeId(1),
        from_address: address(NodeId(1)),
        to: NodeId(2),
        bytes: Bytes(10_000),
        at: moment(second).wall,
    }
}

/// CPU of the searches on each node's copies, and how it is known.
fn searches(snapshot: &Snapshot) -> Vec<(u64, SearchLoad)> {
    let mut sums = vec![0; snapshot.nodes.len()];
    for (node, search) in snapshot.copies.node.iter().zip(&snapshot.signals.copy_search) {
        sums[node.at()] += search.0;
    }
    sums.into_iter().zip(snapshot.signals.nodes.iter().map(|node| node.search_load)).collect()
}

#[test]
fn cpu_by_prometheus_stands_in_for_pages_and_says_where_it_is_from() {
    let snapshot = fold(ModelState::default(), &with_cpu(site()), &[]).1;
    let cpu = snapshot.signals.nodes[0].cpu.clone().unwrap();
    assert_eq!((cpu.value.0, cpu.source.to_string().as_str(), cpu.age), (900, "Prometheus (cpu)", WINDOW));
    assert!(cpu.trust < Ratio::ONE);
    // Demand is not known, so that all segments are searched alike; what the idlest node uses is no search.
    let found = searches(&snapshot);
    assert!(found[0].0 > 100 && found.iter().all(|(_, known)| *known == SearchLoad::Measured), "{found:?}");
    let missing: Vec<&str> = snapshot.signals.absent.iter().map(|absent| absent.signal.code()).collect();
    assert!(!missing.contains(&"cpu"), "{missing:?}");
}

#[test]
fn searches_that_prometheus_tells_are_those_and_not_worked_out() {
    let snapshot = fold(ModelState::default(), &with_searches(with_cpu(site())), &[]).1;
    assert_eq!(searches(&snapshot), [(820, 1), (20, 1), (20, 1)].map(|(cpu, _)| (cpu, SearchLoad::Measured)));
    let base: Vec<u64> = snapshot.signals.nodes.iter().map(|node| node.base_cpu.0).collect();
    assert_eq!(base, [80, 280, 80], "the rest of the CPU");
    assert!(snapshot.signals.search_confidence >= Ratio(800_000), "nothing had to be guessed");
}

#[test]
fn what_a_query_says_of_before_a_move_is_not_believed_of_after_it() {
    let known = |seconds_since: i64| {
        let state = fold(ModelState::default(), &with_searches(with_cpu(site())), &[]).0;
        let mut later = with_searches(with_cpu(site()));
        later.started_at = moment(100).wall;
        let mut state = state;
        state.history.departures.push(departure(100 - seconds_since));
        let snapshot = fold(state, &later, &[]).1;
        let known: Vec<SearchLoad> = snapshot.signals.nodes.iter().map(|node| node.search_load).collect();
        known
    };
    let (estimated, measured) = (SearchLoad::Estimated, SearchLoad::Measured);
    assert_eq!(known(59), [estimated, estimated, measured], "its window reaches back before the move");
    assert_eq!(known(61), [measured, measured, measured]);
}

#[test]
fn bytes_on_disk_by_prometheus_are_what_the_disk_policy_goes_by() {
    let mut observation = site();
    for (node, bytes) in observation.nodes.iter_mut().zip([900_000_u64, 900_000, 300_000]) {
        node.hardware.disk_capacity = Some(Bytes(bytes));
    }
    let used = vec![sample("1", None, 40_000), sample("2", None, 40_000), sample("3", None, 40_000)];
    tell(&mut observation, "disk", ServerSignal::DiskUsed, used);
    let mut policies = PolicySettings::default();
    policies.memory.enabled = false;
    policies.disk.0 =
        DimensionSettings { turns: 1, matters_above: Ratio::ZERO, ..DimensionSettings::default() };
    let decision = decide(&observation, &policies);
    // Forty thousand bytes of each are a seventh of what the small disk has of all room.
    let small = decision.findings.iter().find(|finding| finding.node == NodeId(3)).unwrap();
    assert_eq!((small.dimension.as_str(), small.load.0), ("disk", 40_000), "{small:?}");
    assert!(small.pressure > Ratio(2_300_000), "{small:?}");
    assert!(decision.plan.moves().count() >= 2, "{:?}", decision.plan);
    assert!(decision.plan.moves().all(|one| one.from == NodeId(3)), "{:?}", decision.plan);
}

#[test]
fn the_search_policy_acts_on_what_prometheus_tells() {
    let mut policies = PolicySettings::default();
    policies.memory.enabled = false;
    let search = DimensionSettings { enabled: true, turns: 1, ..SearchSettings::default().0 };
    policies.search = SearchSettings(search);
    let decision = decide(&with_searches(with_cpu(site())), &policies);
    let moves: Vec<(NodeId, i64)> =
        decision.plan.moves().map(|one| (one.from, one.segment.0 / 1_000)).collect();
    assert_eq!(moves.first(), Some(&(NodeId(1), 7)), "one of the two hot segments: {:?}", decision.plan);
    let blind = decide(&site(), &policies);
    assert!(blind.plan.steps.is_empty() && blind.findings.is_empty(), "{blind:?}");
}
