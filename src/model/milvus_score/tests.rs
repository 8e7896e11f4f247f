//! The numbers in these tables (inputs and expected moves) are those of Milvus' own
//! `internal/querycoordv2/balance/score_based_balancer_test.go`: of milvus-io/milvus 32471f9d (the pairwise
//! balancer of 2.2 and 2.3) and 01a270f7 (2024-10, the quotas of 2.4 and 2.5). The channel cases are from a
//! version of 2025 (2.5 and 2.6). 3.0 has no table of its own here; it is checked for what sets it apart.

use super::*;
use crate::observe::observation::ServerVersion;

fn defaults(version: &str) -> ScoreSettings {
    ScoreSettings::for_version(&ServerVersion::parse(version)).unwrap()
}

/// `(node, [(segment, rows)])` for the collection, and rows of other collections on the same nodes.
fn view(placement: &[(i64, &[(i64, u64)])], foreign: &[(i64, u64)]) -> ReplicaView {
    let mut view = ReplicaView::default();
    for (node, segments) in placement {
        let own: u64 = segments.iter().map(|(_, rows)| rows).sum();
        let others: u64 = foreign.iter().filter(|(on, _)| on == node).map(|(_, rows)| rows).sum();
        view.nodes.push(NodeView {
            node: NodeId(*node),
            collection: RowCounts { sealed: Rows(own), ..RowCounts::default() },
            all: RowCounts { sealed: Rows(own + others), ..RowCounts::default() },
            ..NodeView::default()
        });
        view.segments.extend(segments.iter().map(|(id, rows)| segment(*id, *node, *rows)));
    }
    view
}

fn segment(id: i64, node: i64, rows: u64) -> SegmentView {
    SegmentView { segment: SegmentId(id), node: NodeId(node), rows: Rows(rows), channel: None, movable: true }
}

fn channel(name: &str, leader: i64, exclusive: &[i64]) -> ChannelView {
    ChannelView {
        name: name.to_owned(),
        leader: Some(NodeId(leader)),
        exclusive_nodes: exclusive.iter().copied().map(NodeId).collect(),
    }
}

fn moves(list: &[(i64, i64, i64)]) -> Vec<ScoreMove> {
    let mut moves: Vec<ScoreMove> = list
        .iter()
        .map(|(id, from, to)| ScoreMove { segment: SegmentId(*id), from: NodeId(*from), to: NodeId(*to) })
        .collect();
    moves.sort();
    moves
}

fn sorted(mut moves: Vec<ScoreMove>) -> Vec<ScoreMove> {
    moves.sort();
    moves
}

#[test]
fn one_round_as_in_the_tables_of_milvus() {
    type Case<'a> = (&'a str, ReplicaView, &'a [(i64, i64, i64)]);
    let cases: Vec<Case> = vec![
        ("uneven", view(&[(1, &[(1, 10)]), (2, &[(2, 20), (3, 30)])], &[]), &[(2, 2, 1)]),
        ("even", view(&[(1, &[(1, 10), (2, 20)]), (2, &[(3, 30)])], &[]), &[]),
        (
            "one collection crowds a node",
            view(&[(1, &[(1, 20)]), (2, &[(3, 20)]), (3, &[])], &[(1, 20), (2, 30)]),
            &[(3, 2, 3)],
        ),
        (
            "and afterwards the other may stay",
            view(&[(1, &[(2, 20)]), (2, &[(4, 30)]), (3, &[])], &[(1, 20), (3, 20)]),
            &[],
        ),
    ];
    for version in ["2.2.16", "2.3.5", "2.4.23", "2.5.27", "2.6.10", "2.6.20", "3.0.0"] {
        for (name, view, expected) in &cases {
            assert_eq!(plan_segments(view, &defaults(version)), moves(expected), "{name} on {version}");
        }
    }
}

#[test]
fn queued_rows_count_as_if_they_had_arrived() {
    let mut view = view(&[(1, &[(1, 10)]), (2, &[(2, 10)]), (3, &[(3, 20), (4, 30)])], &[]);
    view.nodes[0].collection.queued = 30;
    view.nodes[0].all.queued = 30;
    for version in ["2.4.23", "2.6.10"] {
        assert_eq!(plan_segments(&view, &defaults(version)), moves(&[(3, 3, 2)]), "{version}");
    }
}

#[test]
fn drained_segments_go_to_the_emptiest_however_little_it_helps() {
    let mut view = view(&[(2, &[(3, 30)]), (3, &[])], &[]);
    let drained = [segment(1, 1, 10), segment(2, 1, 20)];
    for version in ["2.2.16", "2.3.5", "2.4.23", "2.6.20"] {
        let planned = sorted(drain_segments(&view, &drained, &defaults(version)));
        assert_eq!(planned, moves(&[(1, 1, 3), (2, 1, 3)]), "{version}");
    }
    view.nodes.clear();
    assert_eq!(drain_segments(&view, &drained, &defaults("2.4.23")), vec![], "nowhere to go");
}

#[test]
fn newly_loaded_segments_fill_the_lowest_priority_first() {
    let view = view(&[(1, &[(1, 10)]), (2, &[(3, 20)]), (3, &[(5, 30)])], &[(1, 300), (2, 180), (3, 20)]);
    let new = [segment(7, -1, 5), segment(8, -1, 10), segment(9, -1, 15)];
    let planned = sorted(assign_segments(&view, &new, &defaults("2.4.23")));
    assert_eq!(planned, moves(&[(7, -1, 1), (8, -1, 2), (9, -1, 3)]));
}

#[test]
fn newly_loaded_segments_avoid_the_delegator() {
    let mut settings = defaults("2.4.23");
    settings.delegator_memory_overload_factor = 0.3;
    let mut view = view(&[(1, &[(1, 100)]), (2, &[(2, 100)])], &[]);
    view.channels.push(channel("a", 1, &[]));
    let new = [segment(3, -1, 10), segment(4, -1, 10)];
    assert_eq!(sorted(assign_segments(&view, &new, &settings)), moves(&[(3, -1, 2), (4, -1, 2)]));
}

#[test]
fn memory_set_aside_for_the_delegator_turns_the_moves_around() {
    let mut view = view(&[(1, &[(1, 10)]), (2, &[(2, 10), (3, 10), (4, 10), (5, 10)])], &[]);
    view.channels.push(channel("a", 1, &[]));
    let mut settings = defaults("2.4.23");
    for (factor, expected) in [(0.0, Some(NodeId(1))), (1.0, None), (2.0, Some(NodeId(2)))] {
        settings.delegator_memory_overload_factor = factor;
        let planned = plan_segments(&view, &settings);
        assert_eq!(planned.first().map(|planned| planned.to), expected, "factor {factor}: {planned:?}");
        assert!(planned.len() <= 1);
    }
}

#[test]
fn quotas_follow_memory_once_all_nodes_have_reported_it() {
    let mut view = view(&[(1, &[(1, 10)]), (2, &[(2, 10), (3, 20), (4, 20)])], &[]);
    view.nodes[0].memory = Some(Bytes(1024));
    let settings = defaults("2.4.23");
    for (second, moved) in [(Some(Bytes(1024)), 3), (Some(Bytes(2048)), 2), (None, 3)] {
        view.nodes[1].memory = second;
        let planned = plan_segments(&view, &settings);
        assert_eq!(planned.len(), 1, "{second:?}: {planned:?}");
        assert_eq!(planned[0].to, NodeId(1));
        // Segments 3 and 4 have the same 20 rows; which of them goes is our tie-break.
        assert_eq!(planned[0].segment, SegmentId(moved), "{second:?}");
    }
    let scores = segment_scores(&view, &settings);
    assert_eq!((scores[0].quota, scores[1].quota), (33.0, 33.0));
    assert_eq!((scores[0].priority(), scores[1].priority()), (-22, 22));
}

#[test]
fn each_replica_is_balanced_by_itself_and_rounds_are_limited() {
    let uneven = view(&[(1, &[(1, 30), (2, 30)]), (2, &[])], &[]);
    assert_eq!(plan_segments(&uneven, &defaults("2.4.23")).len(), 1);

    let three = view(&[(1, &[(1, 10), (2, 10), (3, 10)]), (2, &[]), (3, &[])], &[]);
    assert_eq!(plan_segments(&three, &defaults("2.5.27")).len(), 2);

    let many: Vec<(i64, u64)> = (0..100).map(|id| (id, 10)).collect();
    let full = view(&[(1, &many), (2, &[])], &[]);
    assert_eq!(plan_segments(&full, &defaults("2.5.27")).len(), 5, "a round has five moves");
    assert_eq!(
        plan_segments(&full, &defaults("2.3.5")).len(),
        49,
        "the pairwise balancer has no batch, but a tolerance"
    );
}

#[test]
fn channels_are_spread_by_count_and_memory() {
    let mut view = view(&[(1, &[]), (2, &[])], &[]);
    view.channels = (0..5).map(|number| channel(&format!("c{number}"), 1, &[])).collect();
    let mut settings = defaults("2.6.10");
    settings.channel_batch_size = 10;
    assert_eq!(plan_channels(&view, &settings).len(), 2);
    view.nodes[0].memory = Some(Bytes(1024));
    view.nodes[1].memory = Some(Bytes(4096));
    assert_eq!(plan_channels(&view, &settings).len(), 4);
    assert_eq!(plan_channels(&view, &defaults("2.3.5")), vec![], "2.3 is not modelled");
}

#[test]
fn ten_one_channel_collections_stop_at_five_and_five() {
    let settings = defaults("2.6.10");
    let mut view = view(&[(1, &[]), (2, &[])], &[]);
    view.channels = vec![channel("own", 1, &[])];
    for (on_first, on_second, planned) in [(9, 0, 1), (8, 1, 1), (4, 5, 0)] {
        view.nodes[0].foreign_channels = on_first;
        view.nodes[1].foreign_channels = on_second;
        assert_eq!(plan_channels(&view, &settings).len(), planned, "{on_first}/{on_second}");
    }
}

#[test]
fn a_segment_outside_its_channels_own_nodes_is_brought_back_first() {
    let mut view = view(&[(1, &[(1, 10), (2, 10)]), (2, &[(3, 20)]), (3, &[]), (4, &[])], &[]);
    view.channels = vec![channel("a", 1, &[1, 2]), channel("b", 3, &[3, 4])];
    for (segment, of) in view.segments.iter_mut().zip([0, 1, 0]) {
        segment.channel = Some(of);
    }
    let planned = plan_segments(&view, &defaults("2.6.20"));
    assert_eq!(planned, moves(&[(2, 1, 3)]), "segment 2 belongs to b");
    let planned = plan_segments(&view, &defaults("2.6.10"));
    assert!(planned.iter().all(|planned| planned.segment != SegmentId(2) || planned.to != NodeId(1)));
    view.channels[1].exclusive_nodes.clear();
    let mixed = plan_segments(&view, &defaults("2.6.20"));
    assert_eq!(mixed, plan_segments(&view, &defaults("2.6.10")), "one channel without nodes ends the mode");
}

#[test]
fn the_tolerance_holds_moves_back_only_where_it_was_repaired() {
    // 104 against 100 rows in segments of one row: within 5 % of the quota, and a move would help a little.
    let small: Vec<(i64, u64)> = (0..104).map(|id| (id, 1)).collect();
    let other: Vec<(i64, u64)> = (200..300).map(|id| (id, 1)).collect();
    let nearly_even = view(&[(1, &small), (2, &other)], &[]);
    assert_ne!(plan_segments(&nearly_even, &defaults("2.6.20")), vec![], "the bug of 2.4 to 2.6.22");
    assert_eq!(plan_segments(&nearly_even, &defaults("3.0.0")), vec![]);
    assert_eq!(plan_segments(&nearly_even, &defaults("2.6.23")), vec![]);
}

#[test]
fn a_segment_on_two_nodes_is_left_alone_and_an_empty_replica_is_no_panic() {
    let mut uneven = view(&[(1, &[(1, 10)]), (2, &[(2, 20), (3, 30)])], &[]);
    uneven.segments[1].movable = false;
    for version in ["2.3.5", "2.4.23", "3.0.0"] {
        let planned = plan_segments(&uneven, &defaults(version));
        assert!(planned.iter().all(|planned| planned.segment != SegmentId(2)), "{version}: {planned:?}");
        assert_eq!(plan_segments(&ReplicaView::default(), &defaults(version)), vec![], "{version}");
    }
    let empty = view(&[(1, &[]), (2, &[])], &[]);
    assert_eq!(plan_segments(&empty, &defaults("2.3.5")), vec![]);
}

#[test]
fn defaults_follow_the_version_and_unknown_versions_have_none() {
    assert_eq!(ScoreSettings::for_version(&ServerVersion::parse("master-20260820")), None);
    assert_eq!(ScoreSettings::for_version(&ServerVersion::parse("2.1.4")), None);
    assert!(!defaults("2.3.3").counts_growing && defaults("2.3.4").counts_growing);
    assert!(!defaults("2.4.12").weighs_by_memory && defaults("2.4.13").weighs_by_memory);
    assert_eq!(defaults("2.6.19").algorithm, Algorithm::Score);
    assert_eq!(defaults("2.6.20").algorithm, Algorithm::ChannelLevel);
    assert_eq!(defaults("2.6.20").channel_exclusive_node_factor, 3);
}
