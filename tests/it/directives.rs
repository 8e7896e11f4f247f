//! What policies order and forbid, and what the planner must make of it, whatever planner that is: nodes that are emptied,
//! segments that are nominated, pinned or kept apart, limits that hold.

use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::model::{Held, PlanningInput};
use milvus_rebalancer::observe::observation::{Observation, SegmentLevel};
use milvus_rebalancer::plan::{FindingState, PlanSettings};
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::policy::{
    Assessment, DimensionSettings, Directive, Policy, PolicySettings, RowsSettings,
};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, CollectionId, Load, NodeId, Ratio, SegmentId};
use proptest::prelude::*;

use crate::cluster::{
    NODE_MEMORY, add_collection, apply, cluster, counts, decide, lifted_gates, memory_at_once, moment,
    rows_at_once, segment,
};

/// A policy that says what a test wants.
struct Says(Vec<Directive>);

impl Policy for Says {
    fn name(&self) -> &str {
        "says"
    }

    fn assess(&self, _: &PlanningInput) -> Assessment {
        Assessment { directives: self.0.clone(), ..Assessment::default() }
    }
}

fn decide_with(observation: &Observation, directives: Vec<Directive>) -> Decision {
    decide_under(observation, &rows_at_once(), lifted_gates(), directives)
}

fn decide_under(
    observation: &Observation,
    policies: &PolicySettings,
    gate: GateSettings,
    directives: Vec<Directive>,
) -> Decision {
    let mut thinking =
        Thinking::new(policies, PlanSettings::default(), gate).with_policy(Box::new(Says(directives)));
    thinking.turn(observation, OwnMoves::default(), moment(1))
}

fn evacuate(node: i64) -> Directive {
    Directive::Evacuate { node: NodeId(node) }
}

fn nominate(source: i64, segments: &[i64], priority: u32) -> Directive {
    let segments = segments.iter().copied().map(SegmentId).collect();
    Directive::Nominate { source: NodeId(source), segments, priority }
}

/// (segment, from, to) of every move that is planned and let through, in order.
fn moves(decision: &Decision) -> Vec<(i64, i64, i64)> {
    assert_eq!(
        decision.verdict.admitted.len(),
        decision.plan.steps.len(),
        "the gate agrees: {:?}",
        decision.verdict.refusals
    );
    decision.plan.moves().map(|movement| (movement.segment.0, movement.from.0, movement.to.0)).collect()
}

#[test]
fn a_node_that_is_not_overloaded_at_all_is_emptied_and_nothing_enters_it() {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 8), (2, 2), (3, 8), (4, 8)]]);
    let decision = decide_with(&observation, vec![evacuate(2)]);
    assert!(moves(&decision).iter().all(|(_, from, to)| *from == 2 && *to != 2), "{:?}", moves(&decision));
    apply(&mut observation, &decision);
    assert_eq!(counts(&observation, 4)[1], 0);
    assert_eq!(decide_with(&observation, vec![evacuate(2)]).plan.steps, [], "planning again plans nothing");
}

#[test]
fn the_others_are_not_called_overloaded_for_what_they_took() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 12), (3, 12)]]);
    for round in 0..2 {
        let decision = decide_with(&observation, vec![evacuate(1)]);
        assert_eq!(moves(&decision).len(), if round == 0 { 12 } else { 0 });
        assert!(decision.findings.iter().all(|finding| finding.node != NodeId(1)), "it has no fair share");
        for finding in &decision.findings {
            assert_eq!(finding.state, FindingState::Even, "{finding:?}");
            assert_eq!(finding.fair, Load(18_000), "half of all 36 segments of 1,000 rows");
        }
        apply(&mut observation, &decision);
    }
    assert_eq!(counts(&observation, 3), [0, 18, 18]);
}

#[test]
fn what_cannot_move_stays_on_an_evacuated_node_and_is_named() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 5), (2, 5), (3, 5)]]);
    let segments = observation.collections[0].segments.as_mut().unwrap();
    segments[0].level = SegmentLevel::L0;
    segments[1].rows.0 = 0;
    let decision = decide_with(&observation, vec![evacuate(1), Directive::Pin { segment: SegmentId(7002) }]);
    let moved: Vec<i64> = moves(&decision).iter().map(|(segment, ..)| *segment).collect();
    assert_eq!(moved, [7003, 7004]);
    let unmet = &decision.plan.proof.unmet_orders;
    let unmet: Vec<(i64, Reason)> =
        unmet.iter().map(|order| (order.segment.0, order.reason.clone())).collect();
    let held = |held| Reason::Held { held };
    assert_eq!(unmet, [(7000, held(Held::Level0)), (7001, held(Held::NoRows)), (7002, Reason::Pinned)]);
}

#[test]
fn an_evacuated_node_keeps_what_nobody_has_room_for() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 10), (2, 10)]]);
    // 10,000 bytes a segment; the other node may take three more below its 80 %.
    observation.nodes[1].memory_used = Some(Bytes(NODE_MEMORY.0 * 8 / 10 - 35_000));
    let decision = decide_with(&observation, vec![evacuate(1)]);
    assert_eq!(moves(&decision).len(), 3);
    let unmet = &decision.plan.proof.unmet_orders;
    assert_eq!(unmet.len(), 7);
    assert!(unmet.iter().all(|order| matches!(order.reason, Reason::NoHeadroom { .. })), "{unmet:?}");
}

#[test]
fn an_evacuation_never_leaves_the_replica() {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 4), (2, 4)], &[(3, 4), (4, 4)]]);
    let decision = decide_with(&observation, vec![evacuate(3)]);
    assert_eq!(moves(&decision).len(), 4);
    assert!(moves(&decision).iter().all(|(_, from, to)| (*from, *to) == (3, 4)), "{:?}", moves(&decision));
    let both = decide_with(&observation, vec![evacuate(3), evacuate(4)]);
    assert_eq!(moves(&both), [], "nowhere to go");
    let reasons: Vec<&Reason> = both.plan.proof.unmet_orders.iter().map(|order| &order.reason).collect();
    assert_eq!(reasons.len(), 8);
    assert!(reasons.iter().all(|reason| matches!(reason, Reason::Draining { .. })), "{reasons:?}");
}

#[test]
fn nominated_segments_go_first_and_the_highest_priority_first_of_all() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 30), (2, 6), (3, 6)]]);
    let orders = vec![evacuate(3), nominate(1, &[7010], 1), nominate(1, &[7020, 7021], 5)];
    let planned = moves(&decide_with(&observation, orders));
    let order: Vec<i64> = planned.iter().map(|(segment, ..)| *segment).collect();
    assert_eq!(order[..3], [7020, 7021, 7010]);
    let evacuated: Vec<usize> =
        planned.iter().enumerate().filter(|(_, (_, from, _))| *from == 3).map(|(at, _)| at).collect();
    assert_eq!(evacuated, [3, 4, 5, 6, 7, 8], "then what is ordered, then what levels: {planned:?}");
    assert!(planned.len() > 9, "the overloaded node is relieved as well: {planned:?}");
}

#[test]
fn a_nominated_segment_goes_although_it_gains_nothing_and_only_from_the_node_that_is_named() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 6), (2, 6), (3, 6)]]);
    let elsewhere = nominate(2, &[7001], 0);
    assert_eq!(moves(&decide_with(&observation, vec![elsewhere])), [], "it is not on node 2");
    let decision = decide_with(&observation, vec![nominate(1, &[7001, 999], 0)]);
    let planned = moves(&decision);
    assert_eq!(planned, [(7001, 1, 2)]);
    apply(&mut observation, &decision);
    assert_eq!(moves(&decide_with(&observation, vec![nominate(1, &[7001, 999], 0)])), []);
}

#[test]
fn a_nominated_node_is_relieved_at_once_but_only_by_moves_that_pay() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 30), (2, 6), (3, 6)]]);
    let mut patient = rows_at_once();
    patient.rows.0.turns = 10;
    let without = decide_under(&observation, &patient, lifted_gates(), vec![]);
    assert_eq!(moves(&without), [], "not overloaded for long enough");
    let decision = decide_under(&observation, &patient, lifted_gates(), vec![nominate(1, &[], 0)]);
    assert!(!moves(&decision).is_empty());
    assert!(moves(&decision).iter().all(|(_, from, _)| *from == 1));
    let mut even = cluster(3);
    add_collection(&mut even, 7, &[&[(1, 6), (2, 6), (3, 6)]]);
    assert_eq!(moves(&decide_with(&even, vec![nominate(1, &[], 0)])), [], "nothing would be gained");
}

#[test]
fn segments_are_kept_apart_as_far_as_that_can_be() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 8), (2, 8), (3, 8)]]);
    let apart = |segments: &[i64]| Directive::KeepApart {
        label: "hot".to_owned(),
        segments: segments.iter().copied().map(SegmentId).collect(),
    };
    let decision = decide_with(&observation, vec![apart(&[7000, 7001, 7008])]);
    let planned = moves(&decision);
    assert_eq!(planned.len(), 1, "{planned:?}");
    assert!(matches!(planned[0], (7000 | 7001, 1, 3)), "node 2 holds the third: {planned:?}");
    apply(&mut observation, &decision);
    assert_eq!(moves(&decide_with(&observation, vec![apart(&[7000, 7001, 7008])])), []);

    let too_many = decide_with(&observation, vec![apart(&[7000, 7001, 7002, 7008])]);
    assert_eq!(moves(&too_many), [], "four segments, three nodes");
    let reasons: Vec<&Reason> = too_many.plan.proof.unmet_orders.iter().map(|order| &order.reason).collect();
    assert!(!reasons.is_empty());
    assert!(reasons.iter().all(|reason| matches!(reason, Reason::KeptApart { .. })), "{reasons:?}");
}

#[test]
fn levelling_puts_no_two_of_a_set_together() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 6), (2, 1)]]);
    let apart = Directive::KeepApart {
        label: "hot".to_owned(),
        segments: [7000, 7001, 7002, 7003, 7006].map(SegmentId).to_vec(),
    };
    let planned = moves(&decide_with(&observation, vec![apart]));
    assert!(!planned.is_empty());
    assert!(planned.iter().all(|(segment, ..)| [7004, 7005].contains(segment)), "{planned:?}");
}

#[test]
fn what_is_pinned_stays_and_what_is_excluded_has_no_share() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 0), (3, 0)]]);
    add_collection(&mut observation, 8, &[&[(1, 6), (2, 0), (3, 0)]]);
    let pinned = decide_with(&observation, vec![Directive::PinCollection { collection: CollectionId(7) }]);
    assert!(!moves(&pinned).is_empty());
    assert!(moves(&pinned).iter().all(|(segment, ..)| *segment >= 8000));

    let replica = observation.collections[1].replicas.as_ref().unwrap()[0].id;
    let pinned = decide_with(&observation, vec![Directive::PinReplica { replica }]);
    assert!(!moves(&pinned).is_empty());
    assert!(moves(&pinned).iter().all(|(segment, ..)| *segment < 8000));

    let never = decide_with(&observation, vec![Directive::NeverSource { node: NodeId(1) }]);
    assert_eq!(moves(&never), []);
    let left = &never.plan.proof.left_alone[0];
    assert_eq!((left.node, &left.reason), (NodeId(1), &Reason::NeverSource { node: NodeId(1) }));

    let excluded = decide_with(&observation, vec![Directive::Exclude { node: NodeId(3) }]);
    assert!(moves(&excluded).iter().all(|(_, _, to)| *to == 2), "{:?}", moves(&excluded));
    let fair: Vec<(i64, u64)> =
        excluded.findings.iter().map(|finding| (finding.node.0, finding.fair.0)).collect();
    assert_eq!(fair, [(1, 9_000), (2, 9_000)]);
}

#[test]
fn a_destination_is_not_filled_above_the_limit_of_a_policy() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 40), (2, 5)]]);
    let mut policies = memory_at_once();
    policies.memory.matters_above = Ratio::ZERO;
    let free = moves(&decide(&observation, &policies)).len();
    assert!(free > 10, "{free}");
    // 5 segments of 10,000 bytes are there; up to 120,000 of the million.
    policies.memory.limit = Some(Ratio(120_000));
    let decision = decide(&observation, &policies);
    assert_eq!(moves(&decision).len(), 7);
    let left = &decision.plan.proof.left_alone[0];
    let limit = Reason::AboveLimit { node: NodeId(2), dimension: "memory".to_owned(), limit: Ratio(120_000) };
    assert_eq!((left.node, &left.reason), (NodeId(1), &limit));
    let drained = decide_under(&observation, &policies, lifted_gates(), vec![evacuate(1)]);
    assert_eq!(moves(&drained).len(), 7, "orders do not stand over limits");
}

#[test]
fn a_collection_is_spread_over_the_nodes_of_its_replicas_alone() {
    let mut observation = cluster(5);
    // Rows are even over all nodes, but the hot collection is on two of the four nodes of its replica.
    add_collection(&mut observation, 7, &[&[(1, 4), (2, 4), (3, 0), (4, 0)]]);
    add_collection(&mut observation, 8, &[&[(1, 4), (2, 4), (3, 8), (4, 8), (5, 8)]]);
    let mut policies = rows_at_once();
    assert_eq!(moves(&decide(&observation, &policies)), []);
    policies.rows = RowsSettings::default();
    policies.spread.collections = Patterns::of("collection7");
    policies.spread.dimension.turns = 1;
    let decision = decide(&observation, &policies);
    let planned = moves(&decision);
    assert!(planned.iter().all(|(segment, ..)| *segment < 8000), "{planned:?}");
    let findings: Vec<(i64, u64)> =
        decision.findings.iter().map(|finding| (finding.node.0, finding.fair.0)).collect();
    assert_eq!(findings, [(1, 2_000), (2, 2_000), (3, 2_000), (4, 2_000)], "node 5 has no replica of it");
    apply(&mut observation, &decision);
    let on_node = |node: i64| {
        let segments = observation.collections[0].segments.iter().flatten();
        segments.filter(|segment| segment.nodes == [NodeId(node)]).count()
    };
    assert_eq!([1, 2, 3, 4].map(on_node), [2, 2, 2, 2]);
    assert_eq!(moves(&decide(&observation, &policies)), []);
}

#[test]
fn each_replica_of_a_spread_collection_is_even_or_uneven_by_itself() {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 8), (2, 0)], &[(3, 4), (4, 4)]]);
    let mut policies = rows_at_once();
    policies.rows = RowsSettings::default();
    policies.spread.collections = Patterns::of("default.*");
    policies.spread.dimension.turns = 1;
    let decision = decide(&observation, &policies);
    let pressures: Vec<f64> = decision.findings.iter().map(|finding| finding.pressure.decimal()).collect();
    assert_eq!(pressures, [2.0, 0.0, 1.0, 1.0]);
    assert!(moves(&decision).iter().all(|(_, from, to)| (*from, *to) == (1, 2)));
}

#[test]
fn configured_nodes_are_drained_by_name_and_what_matches_nothing_is_remarked() {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 3), (2, 3), (3, 3)]]);
    let mut policies = rows_at_once();
    policies.drain.nodes = Patterns::of("querynode-2, 10.9.*");
    let decision = decide(&observation, &policies);
    assert_eq!(moves(&decision).len(), 3);
    assert!(moves(&decision).iter().all(|(_, from, _)| *from == 2));
    let remarks: Vec<String> = decision.remarks.iter().map(ToString::to_string).collect();
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    assert!(remarks[0].starts_with("policies.drain.nodes: \"10.9.*\" matches nothing"), "{remarks:?}");
}

#[test]
fn a_drain_alone_is_a_policy_too() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 3), (2, 3)]]);
    let off = DimensionSettings { enabled: false, ..DimensionSettings::default() };
    let mut policies = PolicySettings { memory: off, ..PolicySettings::default() };
    policies.drain.nodes = Patterns::of("1");
    let decision = decide(&observation, &policies);
    assert_eq!(moves(&decision).len(), 3, "{:?}", decision.plan.proof);
}

#[test]
fn the_number_of_segments_can_be_kept_even_whatever_their_size() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 1), (2, 0)]]);
    let mut segments = vec![segment(7000, NodeId(2))];
    segments[0].rows.0 = 20_000;
    segments.extend((1..=10).map(|number| segment(7000 + number, NodeId(1))));
    observation.collections[0].segments = Some(segments);
    let mut policies = rows_at_once();
    policies.segments.0 = policies.rows.0.clone();
    policies.rows = RowsSettings::default();
    let decision = decide(&observation, &policies);
    apply(&mut observation, &decision);
    let counts = counts(&observation, 2);
    assert!(counts == [5, 6] || counts == [6, 5], "{counts:?}");
}

/// A directive about one of five nodes or of the segments 7000 to 7023.
fn any_directive() -> impl Strategy<Value = Directive> {
    let node = || (1..=5_i64).prop_map(NodeId);
    let some = || (7000..7024_i64).prop_map(SegmentId);
    let segments = move || prop::collection::vec(some(), 0..4);
    prop_oneof![
        node().prop_map(|node| Directive::NeverDestination { node }),
        node().prop_map(|node| Directive::NeverSource { node }),
        node().prop_map(|node| Directive::Exclude { node }),
        node().prop_map(|node| Directive::Evacuate { node }),
        some().prop_map(|segment| Directive::Pin { segment }),
        (node(), segments(), 0..3_u32).prop_map(|(source, segments, priority)| Directive::Nominate {
            source,
            segments,
            priority
        }),
        segments().prop_map(|segments| Directive::KeepApart { label: "test".to_owned(), segments }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn no_step_goes_against_a_directive(
        on_node in prop::collection::vec(0..12_usize, 5),
        directives in prop::collection::vec(any_directive(), 1..6),
    ) {
        let mut observation = cluster(5);
        let layout: Vec<(i64, usize)> = (1..).zip(on_node).collect();
        add_collection(&mut observation, 7, &[&layout]);
        let decision = decide_with(&observation, directives.clone());
        for movement in decision.plan.moves() {
            for directive in &directives {
                let is_kept = match directive {
                    Directive::NeverDestination { node } | Directive::Evacuate { node } => movement.to != *node,
                    Directive::NeverSource { node } => movement.from != *node,
                    Directive::Exclude { node } => movement.from != *node && movement.to != *node,
                    Directive::Pin { segment } => movement.segment != *segment,
                    // One that was nominated may come from elsewhere, and one to be kept apart may meet nobody.
                    _ => true,
                };
                prop_assert!(is_kept, "{:?} against {:?}", movement, directive);
            }
        }
        // What was nominated by name leaves its node, or it is said why it does not.
        let listed = observation.collections[0].segments.as_ref().unwrap();
        for directive in &directives {
            let Directive::Nominate { source, segments, .. } = directive else { continue };
            for report in listed.iter().filter(|report| report.nodes[0] == *source) {
                if segments.contains(&report.id) {
                    let mut moves = decision.plan.moves();
                    let moves_it = moves.any(|way| way.segment == report.id && way.from == *source);
                    let unmet = &decision.plan.proof.unmet_orders;
                    let is_told = unmet.iter().any(|order| order.segment == report.id);
                    prop_assert!(moves_it != is_told, "{:?} of {:?}", report.id, directive);
                }
            }
        }
        // What is to be kept apart does not meet by a move.
        let mut place: std::collections::BTreeMap<SegmentId, NodeId> = Default::default();
        for segment in observation.collections[0].segments.iter().flatten() {
            place.insert(segment.id, segment.nodes[0]);
        }
        for movement in decision.plan.moves() {
            place.insert(movement.segment, movement.to);
        }
        for movement in decision.plan.moves() {
            for directive in &directives {
                let Directive::KeepApart { segments, .. } = directive else { continue };
                let meets = |other: &&SegmentId| {
                    **other != movement.segment && place.get(*other) == Some(&movement.to)
                };
                let met = segments.contains(&movement.segment).then(|| segments.iter().find(meets)).flatten();
                prop_assert!(met.is_none(), "{:?} meets {:?}", movement, met);
            }
        }
    }
}
