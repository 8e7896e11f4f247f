//! What the net-zero ledger promises, for examples and for any moves.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// A move of segment 1 of 100 bytes.
fn movement(second: i64, from: i64, to: i64) -> EndedMove {
    EndedMove {
        at: at(second),
        segment: SegmentId(1),
        replica: ReplicaId(1),
        collection: CollectionId(1),
        from: NodeId(from),
        to: NodeId(to),
        bytes: Bytes(100),
        actor: Actor::Daemon,
    }
}

/// The walk of segment 1 over these nodes.
fn walk(nodes: &[i64]) -> Vec<EndedMove> {
    (0..).zip(nodes.windows(2)).map(|(second, pair)| movement(second, pair[0], pair[1])).collect()
}

fn account(moves: &[EndedMove]) -> NetZero {
    NetZero::account(moves.iter().copied(), BandTime::default(), at(10_000))
}

/// Bytes moved, undone and cancelled.
fn figures(share: NetZeroShare) -> (u64, u64, u64) {
    (share.bytes.0, share.undone.0, share.cancelled.0)
}

#[test]
fn what_came_back_is_undone_and_nothing_else_is() {
    for (nodes, undone) in [
        (&[1, 2][..], 0),
        (&[1, 2, 1], 200),
        (&[1, 2, 3], 0),
        (&[1, 2, 3, 1], 300),
        (&[1, 2, 3, 2], 200),
        (&[1, 2, 1, 2], 200),
        (&[1, 2, 1, 2, 1], 400),
        (&[1, 2, 3, 4, 2, 5], 300),
        (&[1, 1], 100),
    ] {
        assert_eq!(account(&walk(nodes)).daemon.undone, Bytes(undone), "{nodes:?}");
    }
    let share = account(&walk(&[1, 2, 3, 2])).daemon;
    assert_eq!((share.moves, share.undone_moves, share.ratio()), (3, 2, Ratio::of(2, 3)));
}

#[test]
fn a_gap_in_the_walk_begins_a_new_one() {
    let crashed_between = [movement(0, 1, 2), movement(1, 3, 1)];
    assert_eq!(account(&crashed_between).daemon.undone, Bytes::ZERO);
}

#[test]
fn copies_in_other_replicas_walk_by_themselves() {
    let other = EndedMove { replica: ReplicaId(2), ..movement(1, 2, 1) };
    assert_eq!(account(&[movement(0, 1, 2), other]).daemon.undone, Bytes::ZERO);
}

#[test]
fn compaction_hides_a_round_trip_from_the_first_measure_only() {
    let compacted = EndedMove { segment: SegmentId(2), ..movement(1, 2, 1) };
    let share = account(&[movement(0, 1, 2), compacted]).daemon;
    assert_eq!(figures(share), (200, 0, 200));
    let elsewhere = EndedMove { collection: CollectionId(2), ..compacted };
    let share = account(&[movement(0, 1, 2), elsewhere]).daemon;
    assert_eq!(figures(share), (200, 0, 0), "another collection's bytes are other bytes");
}

#[test]
fn a_swap_is_no_waste_by_the_headline() {
    let small = EndedMove { segment: SegmentId(2), bytes: Bytes(40), ..movement(1, 2, 1) };
    assert_eq!(figures(account(&[movement(0, 1, 2), small]).daemon), (140, 0, 80));
}

#[test]
fn two_who_undo_each_others_work_show_in_all_and_in_neither() {
    let back = EndedMove { actor: Actor::Foreign, ..movement(1, 2, 1) };
    let ledger = account(&[movement(0, 1, 2), back]);
    assert_eq!(ledger.daemon.ratio(), Ratio::ZERO);
    assert_eq!(ledger.foreign.ratio(), Ratio::ZERO);
    assert_eq!(ledger.all.ratio(), Ratio::ONE);
    assert_eq!(ledger.manual, NetZeroShare::default());
}

#[test]
fn what_ended_a_day_ago_does_not_count_any_more() {
    let round_trip = walk(&[1, 2, 1]);
    let later =
        |seconds: i64| NetZero::account(round_trip.iter().copied(), BandTime::default(), at(seconds)).daemon;
    assert_eq!(later(24 * 3_600 - 1).ratio(), Ratio::ONE);
    assert_eq!(later(24 * 3_600).ratio(), Ratio::ZERO, "half of the trip is out of the window");
    assert_eq!(later(24 * 3_600).moves, 1);
    assert_eq!(later(24 * 3_600 + 1), NetZeroShare::default());
    assert_eq!(later(-3_600).moves, 2, "a clock that was set back forgets nothing");
}

#[test]
fn absurd_bytes_do_not_overflow() {
    let huge: Vec<EndedMove> =
        walk(&[1, 2, 1, 2]).iter().map(|ended| EndedMove { bytes: Bytes(u64::MAX), ..*ended }).collect();
    let share = account(&huge).daemon;
    assert!(share.ratio() <= Ratio::ONE && share.cancelled_ratio() <= Ratio::ONE, "{share:?}");
}

fn any_move() -> impl Strategy<Value = EndedMove> {
    let actor = prop_oneof![Just(Actor::Daemon), Just(Actor::Manual), Just(Actor::Foreign)];
    (0..20_i64, 1..4_i64, 1..3_i64, 1..5_i64, 1..5_i64, actor).prop_map(
        |(second, segment, replica, from, to, actor)| EndedMove {
            segment: SegmentId(segment),
            replica: ReplicaId(replica),
            collection: CollectionId(segment % 2),
            bytes: Bytes(segment.unsigned_abs() * 100),
            actor,
            ..movement(second, from, to)
        },
    )
}

proptest! {
    #[test]
    fn every_share_is_a_share(moves in prop::collection::vec(any_move(), 0..60)) {
        let NetZero { daemon, manual, foreign, all, band: _ } = account(&moves);
        for share in [daemon, manual, foreign, all] {
            prop_assert!(share.ratio() <= Ratio::ONE, "{share:?}");
            prop_assert!(share.cancelled_ratio() <= Ratio::ONE, "{share:?}");
            prop_assert!(share.undone <= share.cancelled, "{share:?}");
            prop_assert!(share.undone_moves <= share.moves, "{share:?}");
        }
        prop_assert_eq!(daemon.moves + manual.moves + foreign.moves, moves.len() as u64);
        prop_assert_eq!(all.moves, moves.len() as u64);
    }

    #[test]
    fn the_order_in_which_they_are_given_changes_nothing(
        (moves, shuffled) in prop::collection::vec(any_move(), 0..40)
            .prop_flat_map(|moves| (Just(moves.clone()), Just(moves).prop_shuffle()))
    ) {
        prop_assert_eq!(account(&moves), account(&shuffled));
    }

    #[test]
    fn single_moves_of_any_segments_undo_nothing(
        ends in prop::collection::vec((1..5_i64, 5..9_i64, 1..1_000_u64), 0..40)
    ) {
        let moves: Vec<EndedMove> = (1..).zip(&ends).map(|(id, (from, to, bytes))| {
            EndedMove { segment: SegmentId(id), bytes: Bytes(*bytes), ..movement(id, *from, *to) }
        }).collect();
        prop_assert_eq!(account(&moves).daemon.ratio(), Ratio::ZERO);
    }

    #[test]
    fn round_trips_of_any_length_undo_everything(
        tour in prop::collection::vec(1..9_i64, 1..30).prop_filter("it must move", |tour| tour.len() > 1)
    ) {
        let there_and_back: Vec<i64> = tour.iter().chain(tour.first()).copied().collect();
        let share = account(&walk(&there_and_back)).daemon;
        prop_assert_eq!(share.ratio(), Ratio::ONE, "{:?}", there_and_back);
        prop_assert_eq!(share.cancelled_ratio(), Ratio::ONE);
    }
}
