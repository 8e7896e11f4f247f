//! Each gate, by the situation that it is there for: what it stops, where, and what it leaves alone.

use std::time::Duration;

use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::model::{Blame, Departure, InFlight, KnownMove, Setback, Subject};
use milvus_rebalancer::observe::observation::{Gap, GapSubject, Observation, ServerVersion};
use milvus_rebalancer::plan::{Move, Plan, PlanSettings, Step};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, Ratio, ReplicaId, Rows, SegmentId};

use crate::cluster::{
    ROW_BYTES, SEGMENT_ROWS, add_collection, address, apply, cluster, decide, lifted_gates, memory_at_once,
    moment, move_segment, rows_at_once,
};

fn uneven() -> Observation {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 0), (3, 0)]]);
    observation
}

fn decide_at(observation: &Observation, gates: GateSettings, own: OwnMoves, second: i64) -> Decision {
    Thinking::new(&rows_at_once(), PlanSettings::default(), gates).turn(observation, own, moment(second))
}

fn cluster_reason(decision: &Decision) -> Option<&Reason> {
    assert_eq!(decision.verdict.admitted, Vec::<usize>::new());
    let whole = decision.verdict.refusals.iter().find(|refusal| refusal.subject == Subject::Cluster);
    whole.map(|refusal| &refusal.reason)
}

#[test]
fn a_collection_that_nodes_serve_and_we_were_not_shown_stops_everything() {
    let mut observation = uneven();
    observation.nodes[1].collections = Some(vec![CollectionId(7), CollectionId(8)]);
    let decision = decide(&observation, &rows_at_once());
    assert!(matches!(cluster_reason(&decision), Some(Reason::VisibilityGap { .. })));
    observation.nodes[1].collections = Some(vec![CollectionId(7)]);
    assert_eq!(decide(&observation, &rows_at_once()).verdict.admitted.len(), 8);
}

#[test]
fn ids_that_the_proxy_rounded_are_no_gap() {
    let mut observation = uneven();
    observation.server = ServerVersion::parse("v2.6.20");
    observation.collections[0].id = CollectionId(451_000_000_000_000_001);
    observation.nodes[1].collections = Some(vec![CollectionId(451_000_000_000_000_000)]);
    assert_eq!(decide(&observation, &rows_at_once()).verdict.admitted.len(), 8);
    observation.server = ServerVersion::parse("v2.5.4");
    assert!(cluster_reason(&decide(&observation, &rows_at_once())).is_some(), "2.5 gives every digit");
}

#[test]
fn a_server_before_2_3_or_of_unknown_version_is_never_acted_on() {
    for version in ["v2.2.16", "nightly"] {
        let mut observation = uneven();
        observation.server = ServerVersion::parse(version);
        assert_eq!(
            cluster_reason(&decide(&observation, &rows_at_once())),
            Some(&Reason::ServerTooOld),
            "{version}"
        );
    }
}

#[test]
fn an_old_observation_is_not_acted_on_nor_one_from_the_future() {
    for second in [61, 10_000] {
        let decision = decide_at(&uneven(), lifted_gates(), OwnMoves::default(), second);
        assert_eq!(decision.verdict.admitted, Vec::<usize>::new(), "after {second} s");
        assert!(
            decision.verdict.refusals.iter().any(|refusal| matches!(refusal.reason, Reason::Stale { .. }))
        );
    }
    let mut future = uneven();
    future.collections[0].read_at = moment(3600).wall;
    assert_eq!(
        decide_at(&future, lifted_gates(), OwnMoves::default(), 1).verdict.admitted,
        Vec::<usize>::new()
    );
}

#[test]
fn a_partial_reading_freezes_only_its_own_collection() {
    let mut observation = uneven();
    add_collection(&mut observation, 8, &[&[(1, 12), (2, 0), (3, 0)]]);
    observation.collections[0].segments = None;
    let subject = GapSubject::Segments { collection: CollectionId(7) };
    observation.gaps.push(Gap { subject, cause: "deadline".to_owned() });
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.verdict.admitted.len(), 8);
    assert!(decision.plan.moves().all(|movement| movement.collection == CollectionId(8)));
}

#[test]
fn nodes_that_could_not_be_read_stop_everything() {
    let mut observation = uneven();
    observation.nodes.clear();
    observation.gaps.push(Gap { subject: GapSubject::SystemInfo, cause: "not JSON".to_owned() });
    assert!(matches!(
        cluster_reason(&decide(&observation, &rows_at_once())),
        Some(Reason::NodesUnread { .. })
    ));
}

#[test]
fn a_loading_collection_stays_and_the_others_move() {
    let mut observation = uneven();
    add_collection(&mut observation, 8, &[&[(1, 12), (2, 0), (3, 0)]]);
    observation.collections[1].load_percentage = 99;
    let decision = decide(&observation, &rows_at_once());
    assert!(!decision.verdict.admitted.is_empty());
    assert!(decision.plan.moves().all(|movement| movement.collection == CollectionId(7)));
}

#[test]
fn an_upgrade_under_way_freezes_only_its_component() {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 8), (2, 0)]]);
    add_collection(&mut observation, 8, &[&[(3, 8), (4, 0)]]);
    observation.nodes[1].version = "v2.4.24".to_owned();
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.verdict.admitted.len(), 4);
    assert!(decision.plan.moves().all(|movement| movement.collection == CollectionId(8)));
    let refused = decision.verdict.refusals.iter().find(|refusal| refusal.reason == Reason::MixedVersions);
    assert_eq!(refused.map(|refusal| refusal.subject), Some(Subject::Component(NodeId(1))));
}

#[test]
fn a_destination_takes_no_more_than_its_safety_line_with_all_copies_resident() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 40), (2, 0)]]);
    // 80 % of 1,000,000 less what is used leaves room for three segments of 10,000 bytes.
    observation.nodes[1].memory_used = Some(Bytes(769_999));
    let decision = decide(&observation, &rows_at_once());
    assert_eq!(decision.verdict.admitted.len(), 3);
    let left = &decision.plan.proof.left_alone[0];
    let segment_bytes = Bytes(SEGMENT_ROWS.0 * ROW_BYTES);
    assert_eq!(left.reason, Reason::NoHeadroom { node: NodeId(2), needed: segment_bytes, room: Bytes(1) });
}

#[test]
fn what_is_on_its_way_counts_against_the_room() {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 40), (2, 0)]]);
    observation.nodes[1].memory_used = Some(Bytes(769_999));
    let flight = |segment: i64| InFlight {
        segment: SegmentId(segment),
        collection: CollectionId(7),
        replica: ReplicaId(70),
        from: NodeId(1),
        to: NodeId(2),
        bytes: Bytes(10_000),
        rows: Rows(1_000),
    };
    let own = OwnMoves { in_flight: vec![flight(7000), flight(7001)], ..OwnMoves::default() };
    let decision = decide_at(&observation, lifted_gates(), own, 1);
    assert_eq!(decision.verdict.admitted.len(), 1);
    assert!(decision.plan.moves().all(|movement| movement.segment.0 > 7001));
}

#[test]
fn a_node_without_known_memory_takes_nothing() {
    let mut observation = uneven();
    observation.nodes[2].memory_capacity = Some(Bytes::ZERO);
    let decision = decide(&observation, &rows_at_once());
    assert!(!decision.verdict.admitted.is_empty());
    assert!(decision.plan.moves().all(|movement| movement.to == NodeId(2)));
}

fn departure(segment: i64, from: i64, to: i64, second: i64) -> Departure {
    Departure {
        segment: SegmentId(segment),
        collection: CollectionId(7),
        from: NodeId(from),
        from_address: address(NodeId(from)),
        to: NodeId(to),
        bytes: Bytes(SEGMENT_ROWS.0 * ROW_BYTES),
        at: moment(second).wall,
    }
}

#[test]
fn a_moved_segment_stays_for_its_cool_down() {
    let gates = GateSettings { cool_down: Duration::from_secs(1800), ..lifted_gates() };
    let all_moved: Vec<Departure> = (7000..7012).map(|segment| departure(segment, 2, 1, 0)).collect();
    let own = || OwnMoves { departures: all_moved.clone(), ..OwnMoves::default() };
    let mut observation = uneven();
    assert_eq!(decide_at(&observation, gates.clone(), own(), 50).verdict.admitted, Vec::<usize>::new());
    observation.collections[0].read_at = moment(1801).wall;
    assert_eq!(decide_at(&observation, gates, own(), 1801).verdict.admitted.len(), 8);
}

#[test]
fn a_segment_does_not_return_to_the_address_that_it_left_even_under_a_new_node_id() {
    let gates = GateSettings { cool_down: Duration::from_secs(1800), ..lifted_gates() };
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 0)]]);
    // Node 2 was node 99 when the segments left it, and they have been moved twice: the cool-down is an hour.
    let mut departures = Vec::new();
    for segment in [7000, 7001] {
        departures.push(Departure { from_address: address(NodeId(2)), ..departure(segment, 99, 1, 0) });
        departures.push(Departure { from_address: address(NodeId(2)), ..departure(segment, 99, 1, 1) });
    }
    let own = OwnMoves { departures, ..OwnMoves::default() };
    observation.collections[0].read_at = moment(1900).wall;
    let decision = decide_at(&observation, gates, own, 1900);
    assert_eq!(decision.verdict.admitted, Vec::<usize>::new());
    assert!(matches!(decision.plan.proof.left_alone[0].reason, Reason::CoolingDown { .. }));
}

#[test]
fn nodes_rest_after_a_move_between_them_has_landed() {
    let gates = GateSettings { settle_time: Duration::from_secs(15), ..lifted_gates() };
    let own = || OwnMoves { departures: vec![departure(9999, 1, 2, 0)], ..OwnMoves::default() };
    let resting = decide_at(&uneven(), gates.clone(), own(), 14);
    assert_eq!(resting.verdict.admitted, Vec::<usize>::new());
    let reason = Reason::Settling { node: NodeId(1), remaining: Duration::from_secs(1) };
    assert!(
        resting.verdict.refusals.iter().any(|refusal| refusal.reason == reason),
        "{:?}",
        resting.verdict.refusals
    );
    assert_eq!(decide_at(&uneven(), gates, own(), 15).verdict.admitted.len(), 8);
}

#[test]
fn a_node_that_rests_half_way_is_relieved_down_to_the_leave_value_afterwards() {
    // 1.14 is inside the enter value and above the leave value: half of the way has been gone.
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 13), (2, 7)]]);
    let gates = GateSettings { settle_time: Duration::from_secs(15), ..lifted_gates() };
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    assert!(!thinking.turn(&observation, OwnMoves::default(), moment(0)).verdict.admitted.is_empty());
    move_segment(&mut observation, SegmentId(7000), NodeId(1), NodeId(2));
    move_segment(&mut observation, SegmentId(7001), NodeId(1), NodeId(2));
    let own = || OwnMoves {
        departures: vec![departure(7000, 1, 2, 1), departure(7001, 1, 2, 1)],
        ..OwnMoves::default()
    };
    assert_eq!(thinking.turn(&observation, own(), moment(2)).verdict.admitted, Vec::<usize>::new());
    assert_eq!(thinking.turn(&observation, own(), moment(16)).verdict.admitted.len(), 1);
}

#[test]
fn a_node_that_did_not_take_a_segment_is_left_alone_for_a_while() {
    let gates = GateSettings { setback_rest: Duration::from_secs(300), ..lifted_gates() };
    let setback = Setback {
        segment: SegmentId(7000),
        collection: CollectionId(7),
        to: NodeId(2),
        blame: Blame::Destination,
        at: moment(0).wall,
    };
    let own = || OwnMoves { setbacks: vec![setback], ..OwnMoves::default() };
    let decision = decide_at(&uneven(), gates.clone(), own(), 10);
    assert!(!decision.verdict.admitted.is_empty());
    assert!(decision.plan.moves().all(|movement| movement.to == NodeId(3)));
    let mut later = uneven();
    later.collections[0].read_at = moment(300).wall;
    let decision = decide_at(&later, gates.clone(), own(), 300);
    assert!(decision.plan.moves().any(|movement| movement.to == NodeId(2)));
    // Set back by an hour, the clock does not make the wait shorter.
    let setback = Setback { at: moment(3600).wall, ..setback };
    let own = OwnMoves { setbacks: vec![setback], ..OwnMoves::default() };
    assert!(decide_at(&uneven(), gates, own, 10).plan.moves().all(|movement| movement.to == NodeId(3)));
}

#[test]
fn a_node_that_fails_again_and_again_rests_longer_until_it_takes_a_segment() {
    let goes_there_at = |second: i64, failed: &[i64], taken: Option<i64>| {
        let setback = |failed: &i64| Setback {
            segment: SegmentId(8_000 + failed),
            collection: CollectionId(7),
            to: NodeId(2),
            blame: Blame::Destination,
            at: moment(*failed).wall,
        };
        let departures = taken.map(|second| departure(9_000, 3, 2, second)).into_iter().collect();
        let own =
            OwnMoves { setbacks: failed.iter().map(setback).collect(), departures, ..OwnMoves::default() };
        let gates = GateSettings { setback_rest: Duration::from_secs(300), ..lifted_gates() };
        let mut observation = uneven();
        observation.collections[0].read_at = moment(second).wall;
        decide_at(&observation, gates, own, second).plan.moves().any(|movement| movement.to == NodeId(2))
    };
    assert!(!goes_there_at(899, &[0, 300], None) && goes_there_at(900, &[0, 300], None));
    assert!(!goes_there_at(599, &[0, 300], Some(200)) && goes_there_at(600, &[0, 300], Some(200)));
    assert!(goes_there_at(400, &[0, 300], Some(310)), "it takes segments again");
}

#[test]
fn the_same_move_is_tried_less_and_less_often() {
    let goes_there_after = |failures: &[i64], second: i64| {
        let all = (7000..7012).flat_map(|segment| {
            failures.iter().map(move |failed| Setback {
                segment: SegmentId(segment),
                collection: CollectionId(7),
                to: NodeId(2),
                blame: Blame::Nobody,
                at: moment(*failed).wall,
            })
        });
        let own = OwnMoves { setbacks: all.collect(), ..OwnMoves::default() };
        let gates = GateSettings { setback_rest: Duration::from_secs(86_400), ..lifted_gates() };
        let mut observation = uneven();
        observation.collections[0].read_at = moment(second).wall;
        decide_at(&observation, gates, own, second).plan.moves().any(|movement| movement.to == NodeId(2))
    };
    assert!(goes_there_after(&[0], 1), "the first failure is free");
    assert!(!goes_there_after(&[0, 10], 309), "five minutes after the second");
    assert!(goes_there_after(&[0, 10], 310));
    assert!(!goes_there_after(&[0, 10, 310], 909), "ten after the third");
    assert!(goes_there_after(&[0, 10, 310], 910));
}

#[test]
fn memory_that_an_allocator_keeps_does_not_drain_its_node() {
    // Node 1 gives up half of its segments and its resident memory stays as high as before.
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 20), (2, 0)]]);
    observation.nodes[0].memory_used = Some(Bytes(210_000));
    observation.nodes[1].memory_used = Some(Bytes(10_000));
    let mut thinking = Thinking::new(&memory_at_once(), PlanSettings::default(), lifted_gates());
    let first = thinking.turn(&observation, OwnMoves::default(), moment(0));
    assert_eq!(first.verdict.admitted.len(), 9, "the tenth would gain less than it costs");
    apply(&mut observation, &first);
    observation.nodes[1].memory_used = Some(Bytes(110_000));
    let second = thinking.turn(&observation, OwnMoves::default(), moment(1));
    assert_eq!(second.plan.steps, []);
}

/// Folds turns in which somebody moves the given segments one by one from node 1 to node 2.
fn turns_with_moves(segments: &[i64], known: &[KnownMove]) -> Decision {
    let gates = GateSettings { cool_down: Duration::ZERO, ..GateSettings::default() };
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    let mut observation = uneven();
    let own = || OwnMoves { known: known.to_vec(), ..OwnMoves::default() };
    let mut decision = thinking.turn(&observation, own(), moment(0));
    for (turn, segment) in segments.iter().enumerate() {
        move_segment(&mut observation, SegmentId(*segment), NodeId(1), NodeId(2));
        let second = 10 * (i64::try_from(turn).unwrap() + 1);
        observation.started_at = moment(second).wall;
        observation.collections[0].read_at = moment(second).wall;
        decision = thinking.turn(&observation, own(), moment(second));
    }
    decision
}

#[test]
fn three_moves_by_somebody_else_stop_the_component() {
    assert!(!turns_with_moves(&[7000, 7001], &[]).verdict.admitted.is_empty());
    let decision = turns_with_moves(&[7000, 7001, 7002], &[]);
    assert_eq!(decision.verdict.admitted, Vec::<usize>::new());
    let refusal =
        decision.verdict.refusals.iter().find(|refusal| refusal.subject == Subject::Component(NodeId(1)));
    let reason = Reason::ForeignMover { moves: 3, within: Duration::from_secs(600) };
    assert_eq!(refusal.map(|refusal| &refusal.reason), Some(&reason));
}

#[test]
fn our_own_moves_are_not_foreign() {
    let known: Vec<KnownMove> = (7000..7003)
        .map(|segment| KnownMove { segment: SegmentId(segment), from: NodeId(1), to: NodeId(2) })
        .collect();
    assert!(!turns_with_moves(&[7000, 7001, 7002], &known).verdict.admitted.is_empty());
}

#[test]
fn a_move_seen_half_way_is_judged_when_it_has_ended() {
    let gates = GateSettings { cool_down: Duration::ZERO, ..GateSettings::default() };
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    let mut observation = uneven();
    thinking.turn(&observation, OwnMoves::default(), moment(0));
    observation.collections[0].segments.as_mut().unwrap()[3].nodes = vec![NodeId(1), NodeId(2)];
    assert_eq!(thinking.turn(&observation, OwnMoves::default(), moment(1)).foreign_moves.len(), 0);
    observation.collections[0].segments.as_mut().unwrap()[3].nodes = vec![NodeId(2)];
    assert_eq!(thinking.turn(&observation, OwnMoves::default(), moment(2)).foreign_moves.len(), 1);
}

#[test]
fn what_milvus_reloads_after_a_crash_is_not_foreign() {
    let gates = GateSettings { cool_down: Duration::ZERO, ..GateSettings::default() };
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    let mut observation = uneven();
    thinking.turn(&observation, OwnMoves::default(), moment(0));
    observation.nodes.remove(0);
    for segment in observation.collections[0].segments.as_mut().unwrap() {
        segment.nodes = vec![NodeId(3)];
    }
    assert_eq!(thinking.turn(&observation, OwnMoves::default(), moment(1)).foreign_moves.len(), 0);
}

#[test]
fn the_check_sees_a_bad_plan_with_its_own_eyes() {
    let observation = uneven();
    let decision = decide(&observation, &memory_at_once());
    let mut input = milvus_rebalancer::model::PlanningInput {
        snapshot: decision.snapshot.clone(),
        in_flight: Vec::new(),
        history: milvus_rebalancer::model::History::default(),
        opinions: milvus_rebalancer::policy::Assessment::default(),
        controls: milvus_rebalancer::model::Controls::default(),
        own_balancer: milvus_rebalancer::model::OwnBalancer::default(),
        plan: PlanSettings::default(),
        gate: lifted_gates(),
        now: moment(1),
    };
    let good = Move {
        segment: SegmentId(7000),
        collection: CollectionId(7),
        replica: ReplicaId(70),
        from: NodeId(1),
        to: NodeId(2),
        bytes: Bytes(10_000),
        rows: Rows(1_000),
    };
    let admitted = |input: &milvus_rebalancer::model::PlanningInput, moves: Vec<Move>| {
        let step = |movement: Move| Step {
            moves: vec![movement],
            dimension: "rows".to_owned(),
            source_before: Ratio::ONE,
            source_after: Ratio::ONE,
            destination_before: Ratio::ONE,
            destination_after: Ratio::ONE,
        };
        let plan = Plan { steps: moves.into_iter().map(step).collect(), ..Plan::default() };
        let restrictions = milvus_rebalancer::gate::restrict(input, &[]);
        milvus_rebalancer::gate::check(input, &restrictions, &plan).admitted
    };
    assert_eq!(admitted(&input, vec![good.clone()]), [0]);
    let bad = [
        Move { to: NodeId(1), ..good.clone() },
        Move { to: NodeId(9), ..good.clone() },
        Move { from: NodeId(2), to: NodeId(3), ..good.clone() },
        Move { segment: SegmentId(1), ..good.clone() },
        Move { replica: ReplicaId(71), ..good.clone() },
    ];
    for movement in bad {
        assert_eq!(admitted(&input, vec![movement.clone()]), Vec::<usize>::new(), "{movement:?}");
    }
    assert_eq!(admitted(&input, vec![good.clone(), good.clone()]), [0], "never twice in one plan");
    input.gate.destination_memory = Ratio::ZERO;
    assert_eq!(admitted(&input, vec![good]), Vec::<usize>::new(), "no room");
}

#[test]
fn a_plan_is_carried_out_once_and_the_cluster_is_even() {
    let mut observation = uneven();
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    let decision = thinking.turn(&observation, OwnMoves::default(), moment(0));
    apply(&mut observation, &decision);
    for second in 1..10 {
        let decision = thinking.turn(&observation, OwnMoves::default(), moment(second));
        assert_eq!(decision.plan.steps, [], "turn {second}");
    }
}
