//! What is said of load that no move can change, of nodes that are all full, and of nodes that are being emptied.

use milvus_rebalancer::cli::plan_view;
use milvus_rebalancer::config::Mode;
use milvus_rebalancer::execute::executor::ExecutorStatus;
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::model::PlanningInput;
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plan::{FindingState, PlanSettings};
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::policy::{
    Assessment, BaseCause, BasePart, Capacity, Dimension, DimensionSettings, LoadUnit, Policy,
    PolicySettings, Scope,
};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::report::{PlanReport, limiting_reason, turn_metrics};
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, Load, Ratio};
use prometheus::Registry;

use crate::cluster::{add_collection, cluster, decide, lifted_gates, memory_at_once, moment, rows_at_once};

/// What `plan` prints of a decision, what limits it, and the metrics of the turn.
fn shown(decision: &Decision) -> (String, Option<&'static str>, String) {
    let limited_by = limiting_reason(Mode::Act, decision, None);
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    metrics.observe_turn(&turn_metrics(decision, limited_by.as_ref(), &ExecutorStatus::default()));
    let exposition = String::from_utf8(metrics.exposition().unwrap().0).unwrap();
    let report = PlanReport::new(decision, limited_by.as_ref());
    (plan_view::tables(&report), limited_by.as_ref().map(Reason::code), exposition)
}

/// Three even nodes; the first has as much growing data besides as half its memory.
fn growing_on_one_node() -> Observation {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 10), (2, 10), (3, 10)]]);
    observation.nodes[0].growing = Some(Bytes(500_000));
    for (node, used) in observation.nodes.iter_mut().zip([620_000, 100_000, 100_000]) {
        node.memory_used = Some(Bytes(used));
    }
    observation
}

#[test]
fn nothing_is_shuffled_around_growing_data_and_the_finding_says_what_it_is() {
    let mut policies = memory_at_once();
    policies.memory.enter = Ratio(1_300_000);
    let decision = decide(&growing_on_one_node(), &policies);
    assert_eq!(decision.plan.steps, [], "moves would not help");
    let finding = &decision.findings[0];
    let FindingState::Tolerated(Reason::OverloadImmovable { pressure, immovable }) = &finding.state else {
        panic!("{finding:?}");
    };
    assert!(*pressure > Ratio(2_000_000), "{pressure}");
    assert_eq!(*immovable, Ratio::of(520_000, 620_000));
    let parts: Vec<(&str, u64)> =
        finding.immovable_parts.iter().map(|part| (part.cause.code(), part.load.0)).collect();
    assert_eq!(parts, [("growing_data", 500_000), ("unexplained", 20_000)]);
    assert_eq!(finding.immovable, Load(520_000));

    let (table, limited_by, metrics) = shown(&decision);
    assert!(table.contains("growing data"), "{table}");
    assert!(table.contains("nothing that moves can change"), "{table}");
    assert_eq!(limited_by, Some("overload_immovable"));
    let line =
        "milvus_rebalancer_node_immovable_ratio{cause=\"growing_data\",dimension=\"memory\",node=\"1\"} 0.8";
    assert!(metrics.contains(line), "{metrics}");
    assert!(
        metrics.contains("milvus_rebalancer_turn_refusals{reason=\"overload_immovable\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_node_with_growing_data_still_gives_away_what_it_can() {
    let mut observation = growing_on_one_node();
    add_collection(&mut observation, 8, &[&[(1, 20), (2, 0), (3, 0)]]);
    observation.nodes[0].memory_used = Some(Bytes(800_000));
    let decision = decide(&observation, &memory_at_once());
    assert_eq!(decision.findings[0].state, FindingState::Overloaded);
    assert!(decision.plan.moves().count() > 5);
    assert!(decision.plan.moves().all(|movement| movement.from.0 == 1));
}

#[test]
fn what_is_held_or_pinned_is_named_and_blamed() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 2)]]);
    add_collection(&mut observation, 8, &[&[(1, 1), (2, 1)]]);
    for segment in observation.collections[0].segments.as_mut().unwrap().iter_mut().take(3) {
        segment.level = milvus_rebalancer::observe::observation::SegmentLevel::L0;
    }
    let mut policies = rows_at_once();
    policies.pin.collections = Patterns::of("collection7");
    let decision = decide(&observation, &policies);
    let parts: Vec<(&str, u64)> =
        decision.findings[0].immovable_parts.iter().map(|part| (part.cause.code(), part.load.0)).collect();
    assert_eq!(parts, [("pinned", 9_000), ("level0", 3_000)]);
    let left = &decision.plan.proof.left_alone[0];
    assert!(matches!(left.reason, Reason::OverloadImmovable { .. }), "{left:?}");
    assert!(decision.plan.moves().all(|movement| movement.segment.0 >= 8000));
}

/// A dimension whose base load is the work of a delegator on node 1.
struct Delegator;

impl Policy for Delegator {
    fn name(&self) -> &str {
        "work"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let nodes = input.snapshot.nodes.len();
        let mut base_load = vec![Load::ZERO; nodes];
        base_load[0] = Load(3_000);
        let dimension = Dimension {
            name: "work".to_owned(),
            unit: LoadUnit::Millicores,
            scope: Scope::Node,
            copy_load: vec![Load(100); input.snapshot.copies.len()],
            base_parts: vec![BasePart { cause: BaseCause::Delegator, load: vec![Load(2_500); nodes] }],
            base_load,
            measured_load: Vec::new(),
            capacity: Capacity::Physical(vec![Load(4_000); nodes]),
            settings: DimensionSettings { turns: 1, ..DimensionSettings::default() },
            confidence: Ratio::ONE,
        };
        Assessment { dimensions: vec![dimension], ..Assessment::default() }
    }
}

#[test]
fn the_parts_of_a_base_load_are_never_more_than_the_whole() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 2), (3, 2)]]);
    let off = DimensionSettings { enabled: false, ..DimensionSettings::default() };
    let policies = PolicySettings { memory: off, ..PolicySettings::default() };
    let thinking = Thinking::new(&policies, PlanSettings::default(), lifted_gates());
    let mut thinking = thinking.with_policy(Box::new(Delegator));
    let decision = thinking.turn(&observation, OwnMoves::default(), moment(1));
    let parts = |node: usize| -> Vec<(&str, u64)> {
        let parts = decision.findings[node].immovable_parts.iter();
        parts.map(|part| (part.cause.code(), part.load.0)).collect()
    };
    assert_eq!(parts(0), [("delegator", 2_500), ("unexplained", 500)]);
    assert_eq!(parts(1), [], "where there is no base load, it has no parts");
    assert!(matches!(decision.findings[0].state, FindingState::Tolerated(Reason::OverloadImmovable { .. })));
    assert_eq!(decision.plan.steps, []);
}

#[test]
fn nodes_that_are_all_full_and_even_are_saturated_and_more_nodes_are_asked_for() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 84), (2, 82), (3, 83)]]);
    for (node, used) in observation.nodes.iter_mut().zip([840_000, 820_000, 830_000]) {
        node.memory_used = Some(Bytes(used));
    }
    let decision = decide(&observation, &memory_at_once());
    for finding in &decision.findings {
        assert!(matches!(finding.state, FindingState::Saturated(Reason::Saturated { .. })), "{finding:?}");
    }
    let (table, limited_by, metrics) = shown(&decision);
    assert!(table.contains("add query nodes"), "{table}");
    assert_eq!(limited_by, Some("saturated"));
    assert!(metrics.contains("milvus_rebalancer_limited_by{reason=\"saturated\"} 1"), "{metrics}");

    observation.nodes[2].memory_used = Some(Bytes(600_000));
    observation.collections[0].segments.as_mut().unwrap().truncate(84 + 82 + 60);
    let decision = decide(&observation, &memory_at_once());
    let saturated =
        |finding: &milvus_rebalancer::plan::Finding| matches!(finding.state, FindingState::Saturated(_));
    assert!(!decision.findings.iter().any(saturated), "one of them has room");
}

#[test]
fn full_is_what_a_policy_sets_as_its_limit() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 50), (2, 50)]]);
    let mut policies = memory_at_once();
    assert_eq!(decide(&observation, &policies).findings[0].state, FindingState::Even);
    policies.memory.limit = Some(Ratio(500_000));
    let decision = decide(&observation, &policies);
    assert!(matches!(decision.findings[0].state, FindingState::Saturated(_)), "{:?}", decision.findings[0]);
}

#[test]
fn a_drain_says_what_goes_what_stays_and_how_it_ends() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 6), (2, 6), (3, 6)]]);
    observation.collections[0].segments.as_mut().unwrap()[0].rows.0 = 0;
    let mut policies = rows_at_once();
    policies.drain.nodes = Patterns::of("querynode-1");
    let decision = decide(&observation, &policies);
    let drain = &decision.drains[0];
    assert_eq!((drain.node.0, drain.to_go, drain.under_way, drain.is_done()), (1, 5, 0, false));
    assert_eq!(drain.staying.len(), 1);
    let (table, _, metrics) = shown(&decision);
    assert!(table.contains("being emptied"), "{table}");
    assert!(table.contains("node 1: 1 stay (0 B; 7000): it is listed with 0 rows"), "{table}");
    assert!(metrics.contains("milvus_rebalancer_drain_segments{node=\"1\",state=\"to_go\"} 5"), "{metrics}");

    crate::cluster::apply(&mut observation, &decision);
    let decision = decide(&observation, &policies);
    assert!(decision.drains[0].is_done(), "{:?}", decision.drains);
    let (table, limited_by, _) = shown(&decision);
    assert!(table.contains("SIGTERM"), "{table}");
    assert_eq!(limited_by, None, "what stays for good holds nothing back");
}

#[test]
fn a_drain_that_must_wait_is_not_done_and_says_for_what() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 4), (2, 4)]]);
    let mut policies = rows_at_once();
    policies.drain.nodes = Patterns::of("1");
    let hasty = PlanSettings { effort: 2, ..PlanSettings::default() };
    let mut thinking = Thinking::new(&policies, hasty, lifted_gates());
    let decision = thinking.turn(&observation, OwnMoves::default(), moment(1));
    let drain = &decision.drains[0];
    assert!(drain.to_go < 4 && !drain.is_done(), "{drain:?}");
    assert_eq!(drain.staying[0].reason, Reason::EffortSpent);
}
