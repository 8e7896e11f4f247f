//! The net-zero ledger as a turn draws it up: foreign moves by what two looks show, ours by what the executor says.

use milvus_rebalancer::model::{Actor, EndedMove, NetZero};
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::turn::{OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, Ratio, ReplicaId, SegmentId};

use crate::cluster::{add_collection, cluster, lifted_gates, moment, move_segment, rows_at_once};

/// Ten segments of 10,000 bytes on node 1, none on node 2.
fn uneven() -> Observation {
    let mut observation = cluster(2);
    add_collection(&mut observation, 7, &[&[(1, 10), (2, 0)]]);
    observation
}

/// The ledger after turns, 30 seconds apart, before each of which somebody moved segment 7000 from here to there.
fn after_moves(moves: &[(i64, i64)], landed: &[EndedMove]) -> NetZero {
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    let mut observation = uneven();
    let own = || OwnMoves { landed: landed.to_vec(), ..OwnMoves::default() };
    let mut decision = thinking.turn(&observation, own(), moment(0));
    for (turn, (from, to)) in (1..).zip(moves) {
        move_segment(&mut observation, SegmentId(7000), NodeId(*from), NodeId(*to));
        observation.started_at = moment(30 * turn).wall;
        observation.collections[0].read_at = observation.started_at;
        decision = thinking.turn(&observation, own(), moment(30 * turn));
    }
    decision.net_zero
}

#[test]
fn what_another_balancer_moves_there_and_back_is_booked_as_its_waste() {
    let once = after_moves(&[(1, 2)], &[]);
    assert_eq!((once.foreign.moves, once.foreign.bytes), (1, Bytes(10_000)));
    assert_eq!(once.foreign.ratio(), Ratio::ZERO);
    let back = after_moves(&[(1, 2), (2, 1)], &[]);
    assert_eq!((back.foreign.moves, back.foreign.ratio()), (2, Ratio::ONE));
    assert_eq!(back.daemon.moves + back.manual.moves, 0);
    assert_eq!(back.all, back.foreign);
}

#[test]
fn our_move_that_another_takes_back_is_waste_of_both_together() {
    let ours = EndedMove {
        at: moment(-60).wall,
        segment: SegmentId(7000),
        replica: ReplicaId(70),
        collection: CollectionId(7),
        from: NodeId(2),
        to: NodeId(1),
        bytes: Bytes(10_000),
        actor: Actor::Daemon,
    };
    let ledger = after_moves(&[(1, 2)], &[ours]);
    assert_eq!((ledger.daemon.ratio(), ledger.foreign.ratio()), (Ratio::ZERO, Ratio::ZERO));
    assert_eq!((ledger.all.moves, ledger.all.ratio()), (2, Ratio::ONE));
}

#[test]
fn the_time_above_the_band_is_counted_from_look_to_look() {
    let ledger = after_moves(&[(1, 2), (2, 1), (1, 2)], &[]);
    assert_eq!(ledger.band.observed.as_secs(), 90);
    assert_eq!(ledger.band.out_of_band.as_secs(), 90, "ten to nothing is above every band");

    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    let mut even = cluster(2);
    add_collection(&mut even, 7, &[&[(1, 5), (2, 5)]]);
    thinking.turn(&even, OwnMoves::default(), moment(0));
    let band = thinking.turn(&even, OwnMoves::default(), moment(30)).net_zero.band;
    assert_eq!((band.out_of_band.as_secs(), band.observed.as_secs()), (0, 30));

    let unseen = cluster(0);
    thinking.turn(&unseen, OwnMoves::default(), moment(60));
    let band = thinking.turn(&uneven(), OwnMoves::default(), moment(90)).net_zero.band;
    assert_eq!(band.observed.as_secs(), 60, "of the time without nodes nothing is known");
}
