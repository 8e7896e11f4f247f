//! Every policy alone, and every two of them together, on one uneven site: what the plan report says is compared with the
//! texts in `tests/scenarios`. `UPDATE_GOLDEN=1 cargo test --test it scenarios` writes them anew; look at the difference
//! before you commit it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::observe::prometheus::{ServerReading, ServerSample, ServerSignal};
use milvus_rebalancer::plan::Drain;
use milvus_rebalancer::policy::nominate::NomineeSettings;
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings};
use milvus_rebalancer::turn::Decision;
use milvus_rebalancer::units::{Bytes, NodeId, Ratio, Rows, SegmentId};

use crate::cluster::{add_collection, cluster, decide, segment};

/// How a scenario switches a policy on.
type Switch = fn(&mut PolicySettings);

/// Every policy, and what it is to do here.
const POLICIES: [(&str, Switch); 10] = [
    ("memory", |policies| policies.memory.enabled = true),
    ("rows", |policies| policies.rows.0.enabled = true),
    ("search", |policies| policies.search.0.enabled = true),
    ("disk", |policies| policies.disk.0.enabled = true),
    ("segments", |policies| policies.segments.0.enabled = true),
    ("spread", |policies| policies.spread.collections = Patterns::of("hot")),
    ("drain", |policies| policies.drain.nodes = Patterns::of("querynode-4")),
    ("pin", |policies| policies.pin.collections = Patterns::of("wide")),
    ("exclude", |policies| policies.exclude.nodes = Patterns::of("querynode-5")),
    ("nominate", |policies| {
        let nominee = NomineeSettings {
            nodes: Patterns::of("querynode-1"),
            segments: vec![SegmentId(7003)],
            priority: 1,
        };
        policies.nominate.insert("tonight".to_owned(), nominee);
    }),
];

/// CPU and disk of the nodes, as a Prometheus server tells them (their own pages are counters, which need two looks):
/// collection `hot` is searched, on node 1 more than elsewhere; disks are alike, and fuller where `wide` is.
fn add_loads(observation: &mut Observation) {
    for node in &mut observation.nodes {
        node.hardware.cpu_cores = Some(1);
        node.hardware.disk_capacity = Some(Bytes(4_000_000));
    }
    let mut tell = |query: &str, signal, samples: Vec<(i64, Option<&str>, u64)>| {
        let sample = |(node, collection, value): (i64, Option<&str>, u64)| ServerSample {
            node: node.to_string(),
            collection: collection.map(str::to_owned),
            value,
        };
        let samples = samples.into_iter().map(sample).collect();
        let reading = ServerReading { signal, window: Duration::from_secs(60), samples };
        observation.prometheus.readings.insert(query.to_owned(), reading);
    };
    let cpu = [(1, 820), (2, 300), (3, 60), (4, 140), (5, 20)];
    tell("cpu", ServerSignal::CpuUsed, cpu.map(|(node, cpu)| (node, None, cpu)).into());
    let searches = [(1, 750), (2, 250), (3, 0), (4, 0), (5, 0)];
    tell("searches", ServerSignal::SearchLoad, searches.map(|(node, cpu)| (node, Some("hot"), cpu)).into());
    let disk = [(1, 800_000), (2, 400_000), (3, 250_000), (4, 300_000), (5, 120_000)];
    tell("disk", ServerSignal::DiskUsed, disk.map(|(node, bytes)| (node, None, bytes)).into());
}

/// Nothing is on, and what is switched on acts at once.
fn nothing() -> PolicySettings {
    let mut policies = PolicySettings::default();
    let off =
        DimensionSettings { enabled: false, turns: 1, matters_above: Ratio::ZERO, ..Default::default() };
    policies.memory = off.clone();
    policies.rows.0 = off.clone();
    policies.search.0 = off.clone();
    policies.disk.0 = off.clone();
    policies.segments.0 = off;
    policies.spread.dimension.turns = 1;
    policies
}

/// Five nodes, the fifth with twice the memory. `wide` has few rows of many bytes, on two nodes; `narrow` many small
/// segments; `hot` is on two of its four nodes; node 4 has growing data.
fn site() -> Observation {
    let mut observation = cluster(5);
    observation.nodes[4].memory_capacity = Some(Bytes(2_000_000));
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 4), (3, 0), (4, 4), (5, 0)]]);
    add_collection(&mut observation, 8, &[&[(1, 4), (2, 10), (3, 16), (4, 4), (5, 8)]]);
    add_collection(&mut observation, 9, &[&[(1, 3), (2, 3), (3, 0), (4, 0)]]);
    for (collection, name, row_bytes, rows) in
        [(0, "wide", 160, 100), (1, "narrow", 10, 500), (2, "hot", 10, 2_000)]
    {
        let collection = &mut observation.collections[collection];
        collection.name = name.to_owned();
        collection.estimated_row_bytes = Some(row_bytes);
        for segment in collection.segments.iter_mut().flatten() {
            segment.rows = Rows(rows);
        }
    }
    let mut empty = segment(7_900, NodeId(4));
    empty.rows = Rows(0);
    observation.collections[0].segments.as_mut().unwrap().push(empty);
    observation.nodes[3].growing = Some(Bytes(30_000));
    observation.nodes[3].memory_used = Some(Bytes(160_000));
    add_loads(&mut observation);
    observation
}

/// What is compared: what the policies find and order, which is the same for every planner. How good the moves are is
/// asserted, not written down.
fn report(decision: &Decision) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").unwrap();
    for finding in &decision.findings {
        let state = match finding.state.reason() {
            Some(reason) => reason.to_string(),
            None => format!("{:?}", finding.state).to_lowercase(),
        };
        let unit = finding.unit;
        line(format!(
            "{}: node {}: {} of {} = {} ({} immovable): {state}",
            finding.dimension,
            finding.node,
            unit.display(finding.load),
            unit.display(finding.fair),
            finding.pressure,
            unit.display(finding.immovable),
        ));
    }
    for (node, reason) in &decision.restrictions.destinations {
        line(format!("nothing to node {node}: {reason}"));
    }
    for (collection, reason) in &decision.restrictions.collections {
        line(format!("nothing of collection {collection}: {reason}"));
    }
    for of_drain in decision.drains.iter().flat_map(Drain::lines) {
        line(of_drain);
    }
    text
}

/// What any planner must make of it: nothing leaves or enters what must be left alone, orders are carried out, and the worst
/// node of a levelling policy is better off, unless an order brought it more.
fn check_moves(scenario: &str, decision: &Decision) {
    let has = |policy: &str| scenario.split('+').any(|name| name == policy);
    let moves: Vec<(i64, i64, i64)> =
        decision.plan.moves().map(|one| (one.segment.0, one.from.0, one.to.0)).collect();
    let excluded = |(_, from, to): &&(i64, i64, i64)| has("exclude") && (*from == 5 || *to == 5);
    assert_eq!(moves.iter().find(excluded), None, "{scenario}");
    let pinned = |(segment, ..): &&(i64, i64, i64)| has("pin") && (7_000..8_000).contains(segment);
    assert_eq!(moves.iter().find(pinned), None, "{scenario}");
    if has("drain") {
        assert!(moves.iter().all(|(_, _, to)| *to != 4), "{scenario}: {moves:?}");
        let left = moves.iter().filter(|(_, from, _)| *from == 4).count();
        assert_eq!(left, decision.drains[0].to_go, "{scenario}");
    }
    if has("nominate") && !has("pin") {
        assert_eq!((moves[0].0, moves[0].1), (7_003, 1), "{scenario}: nominated segments go first");
    }
    let is_levelling_alone = !has("drain") && !has("nominate");
    for proof in decision.plan.proof.dimensions.iter().filter(|_| is_levelling_alone) {
        let is_better = proof.after < proof.before || proof.before <= Ratio(1_200_000) || has("pin");
        let is_only_one = !scenario.contains('+');
        assert!(is_better || !is_only_one, "{scenario}: {proof:?}");
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(format!("{name}.txt"))
}

/// The lines that differ, the committed ones with `-`, the new ones with `+`.
fn difference(committed: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (committed.lines().collect(), found.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(come).collect::<Vec<String>>().join("\n")
}

#[test]
fn every_policy_and_every_pair_plans_what_its_golden_report_says() {
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = String::new();
    for (first, (name, switch)) in POLICIES.iter().enumerate() {
        let others = POLICIES[first + 1..].iter().map(Some);
        for other in std::iter::once(None).chain(others) {
            let mut policies = nothing();
            switch(&mut policies);
            let mut scenario = (*name).to_owned();
            if let Some((name, switch)) = other {
                switch(&mut policies);
                scenario = format!("{scenario}+{name}");
            }
            let decision = decide(&site(), &policies);
            assert_eq!(decision.verdict.admitted.len(), decision.plan.steps.len(), "{scenario}");
            check_moves(&scenario, &decision);
            let found = report(&decision);
            if is_update {
                std::fs::write(golden(&scenario), &found).unwrap();
                continue;
            }
            let committed = std::fs::read_to_string(golden(&scenario)).unwrap_or_default();
            if committed != found {
                write!(wrong, "\n{scenario}:\n{}\n", difference(&committed, &found)).unwrap();
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "plan reports differ from tests/scenarios (UPDATE_GOLDEN=1 writes them anew):{wrong}"
    );
}

#[test]
fn no_golden_report_is_about_nothing() {
    let names: Vec<&str> = POLICIES.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(golden("x").parent().unwrap()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let scenario = file.strip_suffix(".txt").unwrap_or_else(|| panic!("{file} is no report"));
        let is_known = scenario.split('+').all(|name| names.contains(&name));
        assert!(is_known, "{file} belongs to no policy");
    }
}
