//! What the planner does with small clusters, and what it must do with any: plans once, lowers the pressure with
//! every step, and keeps to replicas.

use milvus_rebalancer::model::Standing;
use milvus_rebalancer::plan::{FindingState, FloorCause};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::{Bytes, NodeId, Ratio, SegmentId};
use proptest::prelude::*;

use crate::cluster::{
    NODE_MEMORY, add_collection, apply, cluster, counts, decide, memory_at_once, rows_at_once, segment,
};

#[test]
fn twelve_segments_on_one_of_three_nodes_become_four_each_in_eight_moves() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 0), (3, 0)]]);
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.plan.moves().count(), 8);
    assert_eq!(decision.verdict.admitted.len(), 8, "{:?}", decision.verdict.refusals);
    let proof = &decision.plan.proof.dimensions[0];
    assert_eq!((proof.before, proof.after, proof.floor), (Ratio(3_000_000), Ratio::ONE, Ratio::ONE));
    apply(&mut observation, &decision);
    assert_eq!(counts(&observation, 3), [4, 4, 4]);
    assert_eq!(decide(&observation, &rows_at_once()).plan.steps, [], "planning again plans nothing");
}

#[test]
fn replicas_are_levelled_each_in_itself() {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 9), (2, 0)], &[(3, 0), (4, 9)]]);
    let decision = decide(&observation, &rows_at_once());
    for movement in decision.plan.moves() {
        let same_side = (movement.from.0 <= 2) == (movement.to.0 <= 2);
        assert!(same_side, "{movement:?} crosses replicas");
    }
    apply(&mut observation, &decision);
    let counts = counts(&observation, 4);
    assert!(counts.iter().all(|count| *count == 4 || *count == 5), "{counts:?}");
    let floor = &decision.plan.proof.dimensions[0];
    assert_eq!(floor.floor, Ratio::of(5, 4).min(Ratio(1_111_111)), "9 segments on 2 nodes: one has 5 of 4.5");
    assert_eq!(floor.floor_cause, FloorCause::Pigeonhole { segments: 9, nodes: 2 });
}

#[test]
fn a_slight_unevenness_is_left_alone() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 11), (2, 9)]]);
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.plan.steps, []);
    assert!(decision.findings.iter().all(|finding| finding.state == FindingState::Even));
}

#[test]
fn an_indivisible_load_is_left_alone_and_the_segment_is_named() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 1), (2, 0), (3, 0)]]);
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.plan.steps, []);
    let left = &decision.plan.proof.left_alone[0];
    assert_eq!((left.node, &left.reason), (NodeId(1), &Reason::NoImprovement));
    let proof = &decision.plan.proof.dimensions[0];
    assert_eq!(proof.floor_cause, FloorCause::LargestSegment { segment: SegmentId(7000) });
    // The fair share of 1,000 rows over three nodes is rounded down, which puts the ratio a little over 3.
    assert_eq!(proof.floor.to_string(), "3.00");
}

#[test]
fn nodes_are_filled_in_proportion_to_their_memory() {
    let mut observation = cluster(2);
    observation.nodes[1].memory_capacity = Some(Bytes(3 * NODE_MEMORY.0));
    add_collection(&mut observation, 7, &[&[(1, 8), (2, 0)]]);
    let decision = decide(&observation, &memory_at_once());
    apply(&mut observation, &decision);
    assert_eq!(counts(&observation, 2), [2, 6]);
}

#[test]
fn base_load_is_worked_around_and_its_part_is_told() {
    let mut observation = cluster(2);
    // 60,000 bytes of segments and 100,000 that moves cannot change: more than half of the cluster's 180,000.
    observation.nodes[0].memory_used = Some(Bytes(160_000));
    add_collection(&mut observation, 7, &[&[(1, 6), (2, 2)]]);
    let decision = decide(&observation, &memory_at_once());
    apply(&mut observation, &decision);
    assert_eq!(
        counts(&observation, 2),
        [1, 7],
        "for the last 5 % of pressure a quarter of a fair share is too dear"
    );
    assert_eq!(decision.plan.proof.left_alone[0].reason, Reason::NotWorthItsPrice);
    let finding = decision.findings.iter().find(|finding| finding.node == NodeId(1)).unwrap();
    assert_eq!((finding.load.0, finding.fair.0, finding.immovable.0), (160_000, 100_000, 100_000));
    let floor = &decision.plan.proof.dimensions[0];
    assert_eq!((floor.floor, &floor.floor_cause), (Ratio::ONE, &FloorCause::Average));
}

#[test]
fn segments_that_must_stay_make_a_floor_that_names_their_node() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 6), (2, 2)]]);
    for segment in &mut observation.collections[0].segments.as_mut().unwrap()[..6] {
        segment.level = milvus_rebalancer::observe::observation::SegmentLevel::L0;
    }
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.plan.steps, []);
    let proof = &decision.plan.proof.dimensions[0];
    assert_eq!(
        (proof.floor, &proof.floor_cause),
        (Ratio(1_500_000), &FloorCause::BaseLoad { node: NodeId(1) })
    );
    assert!(matches!(decision.plan.proof.left_alone[0].reason, Reason::OverloadImmovable { .. }));
}

#[test]
fn what_is_barely_used_is_nobodys_problem() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 10), (2, 0)]]);
    let mut policies = memory_at_once();
    policies.memory.matters_above = Ratio(300_000);
    let decision = decide(&observation, &policies);
    assert_eq!(decision.plan.steps, []);
    let reason = Reason::DoesNotMatter { utilisation: Ratio(100_000), matters_above: Ratio(300_000) };
    assert_eq!(decision.findings[0].state, FindingState::Tolerated(reason));
}

#[test]
fn level_0_and_empty_segments_and_unfit_nodes_are_never_touched() {
    use milvus_rebalancer::observe::observation::SegmentLevel;
    use milvus_rebalancer::units::Rows;
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 6), (2, 0), (3, 0)]]);
    let segments = observation.collections[0].segments.as_mut().unwrap();
    segments[0].level = SegmentLevel::L0;
    segments[1].rows = Rows(0);
    segments[2].nodes.push(NodeId(2));
    // Node 3 is in the replica but has left its resource group: it is being drained.
    observation.resource_groups.as_mut().unwrap()[0]
        .nodes
        .as_mut()
        .unwrap()
        .retain(|node| node.id != NodeId(3));
    let decision = decide(&observation, &rows_at_once());
    let moved: Vec<(i64, i64)> =
        decision.plan.moves().map(|movement| (movement.segment.0, movement.to.0)).collect();
    assert!(!moved.is_empty());
    for (segment, to) in moved {
        assert!(segment > 7002, "segment {segment} must stay");
        assert_eq!(to, 2, "node 3 is {}", Standing::ReadOnly);
    }
}

#[test]
fn sane_answers_to_clusters_with_nothing_in_them() {
    for nodes in [0, 1, 2] {
        let observation = cluster(nodes);
        assert_eq!(decide(&observation, &rows_at_once()).plan.steps, []);
    }
    let mut lonely = cluster(1);
    add_collection(&mut lonely, 7, &[&[(1, 5)]]);
    assert_eq!(decide(&lonely, &rows_at_once()).plan.steps, []);
    let mut without_nodes = cluster(0);
    add_collection(&mut without_nodes, 7, &[&[(1, 5)]]);
    assert_eq!(decide(&without_nodes, &rows_at_once()).plan.steps, []);
}

/// A random cluster: nodes, and for each collection the rows of its segments and where they are.
fn any_cluster() -> impl Strategy<Value = (i64, Vec<Vec<(u64, i64)>>)> {
    (2_i64..8).prop_flat_map(|nodes| {
        let segment = (prop_oneof![Just(0_u64), 1_u64..5_000, Just(u64::MAX)], 1..=nodes);
        (Just(nodes), prop::collection::vec(prop::collection::vec(segment, 0..30), 1..4))
    })
}

fn build(
    (nodes, collections): &(i64, Vec<Vec<(u64, i64)>>),
) -> milvus_rebalancer::observe::observation::Observation {
    use milvus_rebalancer::units::Rows;
    let mut observation = cluster(*nodes);
    for (position, segments) in collections.iter().enumerate() {
        let id = i64::try_from(position).unwrap() + 1;
        let all: Vec<(i64, usize)> = (1..=*nodes).map(|node| (node, 0)).collect();
        add_collection(&mut observation, id, &[&all]);
        let reports = segments.iter().enumerate().map(|(number, (rows, node))| {
            let mut report = segment(id * 1000 + i64::try_from(number).unwrap(), NodeId(*node));
            report.rows = Rows(*rows);
            report
        });
        observation.collections[position].segments = Some(reports.collect());
    }
    observation
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn a_plan_that_has_landed_is_not_followed_by_another(world in any_cluster()) {
        let mut observation = build(&world);
        for policies in [rows_at_once(), memory_at_once()] {
            let first = decide(&observation, &policies);
            prop_assert_eq!(first.verdict.admitted.len(), first.plan.steps.len(), "{:?}", first.verdict.refusals);
            apply(&mut observation, &first);
            prop_assert_eq!(decide(&observation, &policies).plan.steps, vec![]);
        }
    }

    #[test]
    fn the_worst_pressure_never_rises_and_never_falls_below_its_floor(world in any_cluster()) {
        let decision = decide(&build(&world), &rows_at_once());
        for proof in &decision.plan.proof.dimensions {
            prop_assert!(proof.after <= proof.before, "{proof:?}");
            prop_assert!(proof.after >= proof.floor, "{proof:?}");
        }
    }

    #[test]
    fn the_order_in_which_things_are_listed_changes_nothing(world in any_cluster()) {
        let observation = build(&world);
        let mut shuffled = observation.clone();
        shuffled.nodes.reverse();
        shuffled.collections.reverse();
        for collection in &mut shuffled.collections {
            collection.segments.as_mut().unwrap().reverse();
            collection.replicas.as_mut().unwrap()[0].nodes.reverse();
        }
        let (plain, other) = (decide(&observation, &rows_at_once()), decide(&shuffled, &rows_at_once()));
        prop_assert_eq!(plain.plan, other.plan);
    }
}
