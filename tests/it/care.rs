//! What a cluster can bear at once: new nodes, bytes that come back, how much of a collection and a node, gains that are
//! not worth it, figures that lag behind, and memory with all copies resident.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use milvus_rebalancer::gate::{self, BlastRadiusSettings, GateSettings, WarmUpSettings};
use milvus_rebalancer::model::{Controls, Departure, History, InFlight, PlanningInput};
use milvus_rebalancer::observe::observation::{NodeReport, Observation};
use milvus_rebalancer::plan::{Move, Plan, PlanSettings, Step};
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::turn::{Decision, GateMemory, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, Ratio, ReplicaId, Rows, SegmentId};
use proptest::prelude::*;

use crate::cluster::{
    NODE_MEMORY, ROW_BYTES, SEGMENT_ROWS, add_collection, address, cluster, group_node, lifted_gates,
    memory_at_once, moment, no_blast_radius, node, rows_at_once, segment,
};

/// Bytes of the segments of these clusters.
const SEGMENT: Bytes = Bytes(SEGMENT_ROWS.0 * ROW_BYTES);

fn uneven() -> Observation {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 0), (3, 0)]]);
    observation
}

fn seen_at(observation: &Observation, second: i64) -> Observation {
    let mut observation = observation.clone();
    observation.started_at = moment(second).wall;
    observation.collections.iter_mut().for_each(|collection| collection.read_at = moment(second).wall);
    observation
}

fn decide_at(observation: &Observation, gates: GateSettings, own: OwnMoves, second: i64) -> Decision {
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    thinking.turn(&seen_at(observation, second), own, moment(second))
}

fn departure(segment: i64, from: i64, to: i64, bytes: Bytes, second: i64) -> Departure {
    Departure {
        segment: SegmentId(segment),
        collection: CollectionId(7),
        from: NodeId(from),
        from_address: address(NodeId(from)),
        to: NodeId(to),
        bytes,
        at: moment(second).wall,
    }
}

fn left(departures: Vec<Departure>) -> OwnMoves {
    OwnMoves { departures, ..OwnMoves::default() }
}

/// How many admitted moves go to each node.
fn arrivals(decision: &Decision) -> BTreeMap<i64, usize> {
    let mut arrivals = BTreeMap::new();
    for step in decision.verdict.admitted.iter().map(|position| &decision.plan.steps[*position]) {
        for movement in &step.moves {
            *arrivals.entry(movement.to.0).or_default() += 1;
        }
    }
    arrivals
}

mod a_new_node {
    use super::*;

    /// Sixty segments on three nodes; the fourth joins.
    fn four() -> Observation {
        let mut observation = cluster(4);
        add_collection(&mut observation, 7, &[&[(1, 20), (2, 20), (3, 20), (4, 0)]]);
        observation
    }

    /// The same before it joined.
    fn three() -> Observation {
        let mut observation = four();
        observation.nodes.retain(|node| node.id != NodeId(4));
        observation.resource_groups.as_mut().unwrap()[0].nodes.as_mut().unwrap().pop();
        observation.collections[0].replicas.as_mut().unwrap()[0].nodes.pop();
        observation
    }

    fn gates() -> GateSettings {
        GateSettings { warm_up: WarmUpSettings::default(), ..lifted_gates() }
    }

    fn thinking() -> Thinking {
        Thinking::new(&rows_at_once(), PlanSettings::default(), gates())
    }

    fn turn(thinking: &mut Thinking, observation: &Observation, second: i64) -> Decision {
        thinking.turn(&seen_at(observation, second), OwnMoves::default(), moment(second))
    }

    #[test]
    fn gets_a_share_that_grows_with_the_time() {
        let mut thinking = thinking();
        turn(&mut thinking, &three(), 0);
        // Its fair share is 15 segments: 10 % of that at once, 55 % after half of the time, all of it in the end.
        let mut taken = |second| arrivals(&turn(&mut thinking, &four(), second)).get(&4).copied();
        assert_eq!(taken(10), Some(1));
        assert_eq!(taken(10 + 900), Some(8));
        assert_eq!(taken(10 + 1350), Some(11));
        assert_eq!(taken(10 + 1800), Some(12), "by then only the band decides");
    }

    #[test]
    fn is_named_with_its_share_in_what_is_refused() {
        let mut thinking = thinking();
        turn(&mut thinking, &three(), 0);
        turn(&mut thinking, &four(), 910);
        let decision = turn(&mut thinking, &four(), 1_810);
        let refusal = decision.verdict.refusals.iter().find_map(|refusal| match &refusal.reason {
            Reason::WarmingUp { node, share, remaining } => Some((*node, *share, *remaining)),
            _ => None,
        });
        assert_eq!(refusal, Some((NodeId(4), Ratio(550_000), Duration::from_secs(900))));
    }

    #[test]
    fn is_none_of_those_that_were_there_when_the_memory_began() {
        assert!(arrivals(&turn(&mut thinking(), &four(), 0))[&4] == 12);
    }

    #[test]
    fn is_none_that_restarts_under_another_id_and_is_one_with_another_hostname() {
        let mut restarted = four();
        let other_id = |id: &mut NodeId| *id = if *id == NodeId(4) { NodeId(44) } else { *id };
        restarted.nodes.iter_mut().for_each(|node| other_id(&mut node.id));
        restarted.collections[0].replicas.as_mut().unwrap()[0].nodes.iter_mut().for_each(other_id);
        let group = restarted.resource_groups.as_mut().unwrap()[0].nodes.as_mut().unwrap();
        group.iter_mut().for_each(|node| other_id(&mut node.id));
        let mut known = thinking();
        turn(&mut known, &four(), 0);
        assert!(arrivals(&turn(&mut known, &restarted, 10))[&44] == 12, "same address, same hostname");

        let group = restarted.resource_groups.as_mut().unwrap()[0].nodes.as_mut().unwrap();
        group.iter_mut().filter(|node| node.id == NodeId(44)).for_each(|node| node.hostname = "other".into());
        let mut known = thinking();
        turn(&mut known, &four(), 0);
        assert_eq!(
            arrivals(&turn(&mut known, &restarted, 10)).get(&44),
            Some(&1),
            "another pod at that address"
        );
    }

    #[test]
    fn stays_new_and_the_others_known_over_a_restart() {
        let mut before = thinking();
        turn(&mut before, &three(), 0);
        turn(&mut before, &four(), 10);
        let memory = serde_json::to_string(&before.gate_memory()).unwrap();
        let mut after = thinking();
        after.recall_gates(serde_json::from_str::<GateMemory>(&memory).unwrap());
        assert_eq!(arrivals(&turn(&mut after, &four(), 910)).get(&4), Some(&8));
    }

    #[test]
    fn counts_what_is_on_its_way_to_it_and_a_clock_set_back_makes_it_no_older() {
        let mut thinking = thinking();
        turn(&mut thinking, &three(), 100);
        turn(&mut thinking, &four(), 110);
        let flight = |segment: i64| InFlight {
            segment: SegmentId(segment),
            collection: CollectionId(7),
            replica: ReplicaId(70),
            from: NodeId(1),
            to: NodeId(4),
            bytes: SEGMENT,
            rows: Rows(1_000),
        };
        let own = OwnMoves { in_flight: (7000..7007).map(flight).collect(), ..OwnMoves::default() };
        let later = thinking.turn(&seen_at(&four(), 1010), own, moment(1010));
        assert_eq!(arrivals(&later).get(&4), Some(&1), "eight less the seven that are coming");
        assert_eq!(arrivals(&turn(&mut thinking, &four(), 0)).get(&4), Some(&1));
    }
}

mod bytes_that_left {
    use super::*;

    fn gates() -> GateSettings {
        GateSettings { cool_down: Duration::from_secs(1800), ..lifted_gates() }
    }

    /// Whether segments of node 1 may go to node 2 after these moves.
    fn may_go_back(departures: Vec<Departure>, second: i64) -> bool {
        let decision = decide_at(&uneven(), gates(), left(departures), second);
        assert!(arrivals(&decision).contains_key(&3), "node 3 is free: {:?}", decision.verdict.refusals);
        arrivals(&decision).contains_key(&2)
    }

    #[test]
    fn do_not_return_under_another_segment_id_within_the_cool_down() {
        let came = |second| departure(9_999, 2, 1, SEGMENT, second);
        assert!(!may_go_back(vec![came(0)], 1_799));
        assert!(may_go_back(vec![came(0)], 1_800));
        assert!(!may_go_back(vec![came(100)], 0), "a clock set back does not shorten it");
        let of_another_collection = Departure { collection: CollectionId(8), ..came(0) };
        assert!(may_go_back(vec![of_another_collection], 10));
        assert!(may_go_back(vec![departure(9_999, 1, 2, SEGMENT, 0)], 10), "the same way again is no return");
    }

    #[test]
    fn are_not_what_a_much_larger_move_is_about() {
        let came = |bytes| vec![departure(9_999, 2, 1, Bytes(bytes), 0)];
        assert!(may_go_back(came(SEGMENT.0 / 2), 10), "twice as much goes as came");
        assert!(!may_go_back(came(SEGMENT.0 / 2 + 1), 10), "compaction has merged it with something smaller");
    }

    #[test]
    fn wait_twice_as_long_with_every_return() {
        let to_and_fro = vec![
            departure(9_997, 2, 1, SEGMENT, 0),
            departure(9_998, 1, 2, SEGMENT, 10),
            departure(9_999, 2, 1, SEGMENT, 20),
        ];
        assert!(!may_go_back(to_and_fro.clone(), 20 + 4 * 1_800 - 1));
        assert!(may_go_back(to_and_fro, 20 + 4 * 1_800));
    }

    #[test]
    fn are_known_by_the_address_of_a_node_that_restarted() {
        let before = Departure { from: NodeId(99), ..departure(9_999, 2, 1, SEGMENT, 0) };
        assert!(!may_go_back(vec![before.clone()], 10));
        assert!(
            may_go_back(vec![Departure { from_address: String::new(), ..before }], 10),
            "unknown is nobody"
        );
    }
}

mod the_blast_radius {
    use super::*;

    fn gates(change: impl FnOnce(&mut BlastRadiusSettings)) -> GateSettings {
        let mut blast_radius = no_blast_radius();
        change(&mut blast_radius);
        GateSettings { blast_radius, ..lifted_gates() }
    }

    fn quarter() -> GateSettings {
        gates(|radius| radius.collection_segments = Ratio(250_000))
    }

    fn moved(count: i64) -> Vec<Departure> {
        (0..count).map(|number| departure(9_000 + number, 1, 2, SEGMENT, 0)).collect()
    }

    fn admitted(gates: GateSettings, own: OwnMoves, second: i64) -> usize {
        decide_at(&uneven(), gates, own, second).verdict.admitted.len()
    }

    #[test]
    fn of_a_collection_is_kept_in_segments_and_in_bytes() {
        let by_bytes = gates(|radius| radius.collection_bytes = Ratio(250_000));
        for gates in [quarter(), by_bytes] {
            assert_eq!(admitted(gates.clone(), OwnMoves::default(), 1), 3, "of twelve");
            assert_eq!(admitted(gates.clone(), left(moved(2)), 1), 1, "two were moved");
            assert_eq!(admitted(gates.clone(), left(moved(3)), 3_599), 0);
            assert_eq!(admitted(gates, left(moved(3)), 3_600), 3, "an hour later");
        }
    }

    #[test]
    fn cuts_the_tail_and_says_so_and_what_is_spent_is_not_proposed() {
        let decision = decide_at(&uneven(), quarter(), OwnMoves::default(), 1);
        assert_eq!((decision.plan.steps.len(), decision.verdict.admitted.as_slice()), (8, &[0, 1, 2][..]));
        let reason = Reason::CollectionMovedEnough {
            collection: CollectionId(7),
            limit: Ratio(250_000),
            within: Duration::from_secs(3_600),
        };
        assert!(decision.verdict.refusals.iter().any(|refusal| refusal.reason == reason));
        let spent = decide_at(&uneven(), quarter(), left(moved(3)), 1);
        assert_eq!(spent.plan.steps, []);
        assert_eq!(spent.plan.proof.left_alone[0].reason, reason);
    }

    #[test]
    fn holds_up_no_other_collection() {
        let mut observation = uneven();
        add_collection(&mut observation, 8, &[&[(1, 12), (2, 0), (3, 0)]]);
        let decision = decide_at(&observation, quarter(), left(moved(3)), 1);
        assert_eq!(decision.verdict.admitted.len(), 3);
        assert!(decision.plan.moves().all(|movement| movement.collection == CollectionId(8)));
    }

    #[test]
    fn always_lets_one_segment_through() {
        let narrow = || gates(|radius| radius.collection_segments = Ratio(1));
        assert_eq!(admitted(narrow(), OwnMoves::default(), 1), 1);
        assert_eq!(admitted(narrow(), left(moved(1)), 1), 0);
        assert_eq!(admitted(gates(|radius| radius.node_bytes = Bytes(1)), OwnMoves::default(), 1), 1);
    }

    #[test]
    fn of_a_node_counts_what_leaves_and_what_enters() {
        let two_segments = || gates(|radius| radius.node_bytes = Bytes(2 * SEGMENT.0));
        assert_eq!(admitted(two_segments(), OwnMoves::default(), 1), 2, "node 1 gives two");
        let spent = vec![departure(9_000, 3, 2, Bytes(2 * SEGMENT.0), 0)];
        let decision = decide_at(&uneven(), two_segments(), left(spent), 1);
        assert_eq!(arrivals(&decision), BTreeMap::new(), "nodes 2 and 3 have had enough");
        let within = Duration::from_secs(3_600);
        let reason = Reason::NodeMovedEnough { node: NodeId(2), limit: Bytes(2 * SEGMENT.0), within };
        assert_eq!(decision.plan.proof.left_alone[0].reason, reason);
    }

    #[test]
    fn counts_what_is_on_its_way() {
        let flight = InFlight {
            segment: SegmentId(7000),
            collection: CollectionId(7),
            replica: ReplicaId(70),
            from: NodeId(1),
            to: NodeId(2),
            bytes: SEGMENT,
            rows: Rows(1_000),
        };
        let own = OwnMoves { in_flight: vec![flight], ..OwnMoves::default() };
        assert_eq!(admitted(quarter(), own, 1), 2);
    }
}

mod the_minimum_gain {
    use super::*;
    use milvus_rebalancer::units::Rows;

    fn narrow() -> PolicySettings {
        let mut policies = rows_at_once();
        policies.rows.0.enter = Ratio(1_050_000);
        policies.rows.0.leave = Ratio(1_010_000);
        policies
    }

    fn decide(observation: &Observation, minimum_gain: Ratio) -> Decision {
        let gates = GateSettings { minimum_gain, ..lifted_gates() };
        let mut thinking = Thinking::new(&narrow(), PlanSettings::default(), gates);
        thinking.turn(observation, OwnMoves::default(), moment(1))
    }

    #[test]
    fn keeps_a_plan_from_being_begun_that_hardly_changes_anything() {
        let mut observation = cluster(2);
        add_collection(&mut observation, 7, &[&[(1, 11), (2, 9)]]);
        assert_eq!(
            decide(&observation, Ratio(90_000)).verdict.admitted.len(),
            1,
            "from 1.10 to the 1.01 of the band"
        );
        let decision = decide(&observation, Ratio(90_001));
        assert_eq!(decision.plan.steps, []);
        let reason =
            Reason::GainTooSmall { gain: Ratio(90_000), gainable: Ratio(90_000), minimum: Ratio(90_001) };
        assert_eq!(decision.plan.proof.left_alone[0].reason, reason);
        assert_eq!(decision.plan.proof.dimensions[0].after, decision.plan.proof.dimensions[0].before);
        assert_eq!(decision.plan.proof.bytes_moved, Bytes::ZERO);
    }

    #[test]
    fn is_told_with_what_could_be_gained_at_all() {
        // One segment is as large as all others: node 1 cannot get below it, and only crumbs can leave.
        let mut observation = cluster(2);
        add_collection(&mut observation, 7, &[&[(1, 2), (2, 1)]]);
        let segments = observation.collections[0].segments.as_mut().unwrap();
        segments[0].rows = Rows(10_000);
        segments[1].rows = Rows(50);
        segments[2].rows = Rows(5_000);
        let decision = decide(&observation, Ratio(10_000));
        assert_eq!(decision.plan.steps, []);
        let Reason::GainTooSmall { gain, gainable, .. } = decision.plan.proof.left_alone[0].reason else {
            panic!("{:?}", decision.plan.proof.left_alone)
        };
        assert!(
            gain <= gainable && gainable < Ratio(10_000),
            "{gain:?} of {gainable:?}, though the excess is 0.3"
        );
        assert_eq!(decide(&observation, Ratio::ZERO).verdict.admitted.len(), 1);
    }

    #[test]
    fn is_counted_over_all_nodes_of_a_component_and_by_component() {
        let mut observation = cluster(4);
        add_collection(&mut observation, 7, &[&[(1, 11), (2, 9)]]);
        add_collection(&mut observation, 8, &[&[(3, 12), (4, 8)]]);
        let decision = decide(&observation, Ratio(100_000));
        assert!(decision.plan.moves().all(|movement| movement.collection == CollectionId(8)));
        assert!(!decision.verdict.admitted.is_empty());
    }
}

mod figures_that_lag_behind {
    use super::*;

    fn gates(settle_above: u64) -> GateSettings {
        let settle_time = Duration::from_secs(15);
        GateSettings { settle_time, settle_above: Ratio(settle_above), ..lifted_gates() }
    }

    fn may_move(departures: Vec<Departure>, second: i64) -> bool {
        !decide_at(&uneven(), gates(50_000), left(departures), second).verdict.admitted.is_empty()
    }

    #[test]
    fn freeze_a_node_only_for_a_landing_above_a_twentieth_of_its_load() {
        // Node 1 holds 120,000 bytes, of which 6,000 are a twentieth.
        let landed = |bytes| departure(9_999, 1, 99, Bytes(bytes), 0);
        assert!(may_move(vec![landed(6_000)], 1));
        assert!(!may_move(vec![landed(6_001)], 1));
        assert!(!may_move(vec![landed(3_001), landed(3_000)], 1), "two small ones are a large one");
        assert!(may_move(vec![landed(6_001)], 15), "until its figures have caught up");
    }

    #[test]
    fn count_small_landings_at_their_destination_at_once() {
        let mut observation = cluster(2);
        add_collection(&mut observation, 7, &[&[(1, 40), (2, 0)]]);
        // Room for three segments, says a figure that may be older than the landing.
        observation.nodes[1].memory_used = Some(Bytes(769_999));
        let decide = |second| {
            let own = left(vec![departure(9_999, 1, 2, SEGMENT, 0)]);
            decide_at(&observation, gates(50_000), own, second).verdict.admitted.len()
        };
        assert_eq!(decide(14), 2);
        assert_eq!(decide(15), 3);
    }

    #[test]
    fn do_not_make_a_destination_look_as_if_its_base_load_had_shrunk() {
        let with_landed = |departures: Vec<Departure>| {
            let mut thinking = Thinking::new(&memory_at_once(), PlanSettings::default(), lifted_gates());
            let mut before = cluster(2);
            add_collection(&mut before, 7, &[&[(1, 20), (2, 10)]]);
            before.nodes[1].memory_used = Some(Bytes(150_000));
            thinking.turn(&before, OwnMoves::default(), moment(0));
            let mut after = cluster(2);
            add_collection(&mut after, 7, &[&[(1, 16), (2, 14)]]);
            after.nodes[1].memory_used = Some(Bytes(150_000));
            let decision = thinking.turn(&seen_at(&after, 5), left(departures), moment(5));
            decision.snapshot.nodes[1].unexplained_memory
        };
        let landed = (0..4).map(|number| departure(7_016 + number, 1, 2, SEGMENT, 4)).collect();
        assert_eq!(with_landed(landed), Some(Bytes(50_000)));
        assert_eq!(with_landed(Vec::new()), Some(Bytes(10_000)), "what it is kept from");
    }
}

/// Nodes with this much memory in use, and segments with their rows and homes.
fn any_cluster(used: Range<u64>) -> impl Strategy<Value = (Vec<u64>, Vec<(u64, usize)>)> {
    prop::collection::vec(used, 2..7).prop_flat_map(|used| {
        let segment = (1_u64..12_000, 0..used.len());
        (Just(used), prop::collection::vec(segment, 1..80))
    })
}

fn build((used, segments): &(Vec<u64>, Vec<(u64, usize)>)) -> Observation {
    let nodes = i64::try_from(used.len()).unwrap();
    let mut observation = cluster(nodes);
    let members: Vec<(i64, usize)> = (1..=nodes).map(|node| (node, 0)).collect();
    add_collection(&mut observation, 7, &[&members]);
    for (node, used) in observation.nodes.iter_mut().zip(used) {
        node.memory_used = Some(Bytes(*used));
    }
    let reports = segments.iter().zip(7_000..).map(|((rows, home), id)| {
        let mut report = segment(id, NodeId(i64::try_from(*home).unwrap() + 1));
        report.rows = Rows(*rows);
        report
    });
    observation.collections[0].segments = Some(reports.collect());
    observation
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    /// Whatever part of a plan has been carried out, and however late its sources let go: no destination is fuller than
    /// it may be, by its own figure and by what is on it.
    #[test]
    fn every_prefix_of_what_is_admitted_fits_with_all_copies_resident(world in any_cluster(0..NODE_MEMORY.0)) {
        let observation = build(&world);
        for policies in [rows_at_once(), memory_at_once()] {
            let mut thinking = Thinking::new(&policies, PlanSettings::default(), lifted_gates());
            let decision = thinking.turn(&observation, OwnMoves::default(), moment(1));
            let mut resident: Vec<u64> = world.0.clone();
            for (position, used) in resident.iter_mut().enumerate() {
                let on_it = world.1.iter().filter(|(_, home)| *home == position);
                *used = on_it.map(|(rows, _)| rows * ROW_BYTES).sum::<u64>().max(*used);
            }
            for step in decision.verdict.admitted.iter().map(|position| &decision.plan.steps[*position]) {
                for movement in &step.moves {
                    let to = usize::try_from(movement.to.0).unwrap() - 1;
                    resident[to] += movement.bytes.0;
                    prop_assert!(resident[to] <= NODE_MEMORY.0 / 10 * 8, "{movement:?}: {resident:?}");
                }
            }
        }
    }

    /// The same for a plan that somebody else made: the check lets no prefix through that does not fit.
    #[test]
    fn the_check_admits_no_prefix_that_does_not_fit(
        world in any_cluster(600_000..790_000),
        wanted in prop::collection::btree_map(0_usize..80, 0_usize..6, 1..20),
    ) {
        let observation = build(&world);
        let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
        let snapshot = thinking.turn(&observation, OwnMoves::default(), moment(1)).snapshot;
        let moves = wanted.iter().filter_map(|(segment, to)| {
            let (rows, home) = world.1.get(*segment)?;
            // Only what would be let through by itself: whatever follows a refusal is refused.
            let to = to % world.0.len();
            let fits = world.0[to] + rows * ROW_BYTES <= NODE_MEMORY.0 / 10 * 8;
            (to != *home && fits).then_some(())?;
            Some(Move {
                segment: SegmentId(7_000 + i64::try_from(*segment).ok()?),
                collection: CollectionId(7),
                replica: ReplicaId(70),
                from: NodeId(i64::try_from(*home).ok()? + 1),
                to: NodeId(i64::try_from(to).ok()? + 1),
                bytes: Bytes(rows * ROW_BYTES),
                rows: Rows(*rows),
            })
        });
        let plan = Plan { steps: moves.map(step).collect(), ..Plan::default() };
        let input = PlanningInput {
            snapshot,
            in_flight: Vec::new(),
            history: History::default(),
            opinions: milvus_rebalancer::policy::Assessment::default(),
            controls: Controls::default(),
            own_balancer: milvus_rebalancer::model::OwnBalancer::default(),
            plan: PlanSettings::default(),
            gate: lifted_gates(),
            now: moment(1),
        };
        let verdict = gate::check(&input, &gate::restrict(&input, &[]), &plan);
        let mut resident: Vec<u64> = world.0.clone();
        for (position, used) in resident.iter_mut().enumerate() {
            let on_it = world.1.iter().filter(|(_, home)| *home == position);
            *used = on_it.map(|(rows, _)| rows * ROW_BYTES).sum::<u64>().max(*used);
        }
        for movement in verdict.admitted.iter().flat_map(|position| &plan.steps[*position].moves) {
            let to = usize::try_from(movement.to.0).unwrap() - 1;
            resident[to] += movement.bytes.0;
            prop_assert!(resident[to] <= NODE_MEMORY.0 / 10 * 8, "{movement:?}: {resident:?}");
        }
    }
}

fn step(movement: Move) -> Step {
    Step {
        moves: vec![movement],
        dimension: "rows".to_owned(),
        source_before: Ratio::ONE,
        source_after: Ratio::ONE,
        destination_before: Ratio::ONE,
        destination_after: Ratio::ONE,
    }
}

/// Nodes join in the middle of everything: what is new is known by address alone before 2.4.
#[test]
fn before_2_4_a_node_is_known_by_its_address() {
    let gates = GateSettings { warm_up: WarmUpSettings::default(), ..lifted_gates() };
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    let mut observation = uneven();
    observation.server = milvus_rebalancer::observe::observation::ServerVersion::parse("v2.3.5");
    observation.resource_groups = None;
    thinking.turn(&observation, OwnMoves::default(), moment(0));
    let joined = NodeReport { address: address(NodeId(4)), ..node(NodeId(4)) };
    observation.nodes.push(joined);
    observation.collections[0].replicas.as_mut().unwrap()[0].nodes.push(NodeId(4));
    let decision = thinking.turn(&seen_at(&observation, 10), OwnMoves::default(), moment(10));
    assert_eq!(arrivals(&decision).get(&4), None, "a tenth of three segments is none");
    // The upgrade to 2.4 brings hostnames, and makes nobody new.
    observation.server = milvus_rebalancer::observe::observation::ServerVersion::parse("v2.4.23");
    let members = (1..=4).map(|id| group_node(NodeId(id))).collect();
    observation.resource_groups = cluster(4).resource_groups;
    observation.resource_groups.as_mut().unwrap()[0].nodes = Some(members);
    let decision = thinking.turn(&seen_at(&observation, 2_000), OwnMoves::default(), moment(2_000));
    assert!(arrivals(&decision).contains_key(&4));
}
