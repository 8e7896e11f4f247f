//! What a plug-in says is done: its dimension is levelled, its directives hold, the operator's settings go before its
//! own, and a replay of the recorded turn needs no plug-in.

use std::sync::{Arc, Mutex};

use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::plugin::wire::{
    AssessRequest, AssessResponse, Dimension, DimensionSettings, NeverDestination, NodeSegments, Pin,
    SegmentLoads, directive::Kind,
};
use milvus_rebalancer::policy::plugin::PluginSettings;
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{NodeId, Ratio, SegmentId};

use super::{Assessing, Served, Turning, cost, described, directive, even, left_out, policies};
use crate::cluster::{lifted_gates, moment};

/// Collection 7 costs ten times as much on node 1 as anywhere else.
fn dear_on_node_1() -> Dimension {
    cost(&[(1, 7, 10_000), (2, 7, 1_000), (3, 7, 1_000), (4, 7, 1_000)])
}

fn moves(decision: &Decision) -> Vec<(SegmentId, NodeId, NodeId)> {
    decision.plan.moves().map(|movement| (movement.segment, movement.from, movement.to)).collect()
}

#[tokio::test]
async fn its_dimension_is_levelled_its_directives_hold_and_a_replay_asks_nobody() {
    let answer = AssessResponse {
        dimensions: vec![dear_on_node_1()],
        directives: vec![
            directive(Kind::NeverDestination(NeverDestination { node_id: 2 })),
            directive(Kind::Pin(Pin { segment_id: 7000 })),
        ],
        ..AssessResponse::default()
    };
    let served = Served::answering(answer);
    let mut turning = Turning::new(served.settings());
    let mut observation = even();
    let decision = turning.turn(&mut observation).await;
    assert_eq!(left_out(&decision), [""; 0]);
    let planned = moves(&decision);
    let (dear, _, to) = planned[0];
    assert_eq!((dear, planned[0].1), (SegmentId(7001), NodeId(1)), "7000 is pinned: {planned:?}");
    assert!(to != NodeId(2), "{planned:?}");
    assert!(planned.iter().all(|(_, _, to)| *to != NodeId(2)), "{planned:?}");
    let finding = decision.findings.iter().find(|finding| finding.dimension == "fake.cost");
    assert!(finding.is_some(), "{:?}", decision.findings);

    // What was recorded, read again, without anybody to ask.
    drop(served);
    let recorded = serde_json::to_string(&observation).unwrap();
    let read: Observation = serde_json::from_str(&recorded).unwrap();
    assert_eq!(read, observation);
    let mut replay = Thinking::new(&policies(turning_settings()), PlanSettings::default(), lifted_gates());
    let again = replay.turn(&read, OwnMoves::default(), moment(1));
    assert_eq!(again.plan, decision.plan);
}

/// As for the daemon, but for the socket, which a replay does not need.
fn turning_settings() -> PluginSettings {
    PluginSettings { turns: Some(1), ..PluginSettings::default() }
}

#[tokio::test]
async fn its_directives_can_be_switched_off() {
    let answer = AssessResponse {
        dimensions: vec![dear_on_node_1()],
        directives: vec![directive(Kind::Pin(Pin { segment_id: 7000 }))],
        ..AssessResponse::default()
    };
    let served = Served::answering(answer);
    let settings = PluginSettings { directives: false, ..served.settings() };
    let decision = Turning::new(settings).turn(&mut even()).await;
    assert!(decision.restrictions.pinned.is_empty());
    assert!(moves(&decision).iter().any(|(segment, ..)| *segment == SegmentId(7000)), "{:?}", decision.plan);
}

#[tokio::test]
async fn it_sees_sums_first_and_then_the_segments_for_which_it_asks() {
    let questions: Arc<Mutex<Vec<AssessRequest>>> = Arc::default();
    let seen = Arc::clone(&questions);
    let assess = move |request: AssessRequest| -> Assessing {
        let is_first = request.segments.is_empty();
        seen.lock().unwrap().push(request);
        let single = SegmentLoads { node_ids: vec![1], segment_ids: vec![8001], loads: vec![5_000] };
        let dimension = Dimension { segment_loads: Some(single), ..cost(&[]) };
        let answer = if is_first {
            AssessResponse { segments_of_nodes: vec![1], ..AssessResponse::default() }
        } else {
            AssessResponse { dimensions: vec![dimension], ..AssessResponse::default() }
        };
        Box::pin(async move { Ok(answer) })
    };
    let served = Served::start(Box::new(|_| described()), Box::new(assess));
    let mut observation = even();
    let decision = Turning::new(served.settings()).turn(&mut observation).await;
    assert_eq!(left_out(&decision), [""; 0]);
    let questions = questions.lock().unwrap();
    let first = &questions[0];
    let sums: Vec<(i64, u64, u64, u64)> =
        first.nodes.iter().map(|node| (node.id, node.segments, node.rows, node.bytes)).collect();
    assert_eq!(sums[..2], [(1, 4, 4_000, 40_000), (2, 4, 4_000, 40_000)]);
    assert_eq!(first.node_collections.len(), 8);
    assert_eq!(first.nodes[0].address, "10.0.0.1:21123");
    assert!(first.nodes[0].is_usable);
    assert_eq!((first.collections[1].name.as_str(), first.collections[1].replicas), ("collection8", 1));
    let columns = NodeSegments {
        node_id: 1,
        segment_ids: vec![7000, 7001, 8000, 8001],
        collection_ids: vec![7, 7, 8, 8],
        rows: vec![1_000; 4],
        bytes: vec![10_000; 4],
    };
    assert_eq!(questions[1].segments, [columns]);
    assert_eq!(questions[1].nodes, first.nodes, "the second question repeats the first");
    let finding = |node: i64| {
        let of_node = decision
            .findings
            .iter()
            .find(|finding| finding.dimension == "fake.cost" && finding.node == NodeId(node));
        of_node.unwrap().pressure
    };
    assert_eq!((finding(1), finding(2)), (Ratio(4_000_000), Ratio::ZERO), "all of it is on node 1 of four");
}

#[tokio::test]
async fn the_operators_settings_go_before_those_it_suggests() {
    let suggested =
        DimensionSettings { enter: Some(50.0), leave: Some(40.0), ..DimensionSettings::default() };
    let dimension = Dimension { settings: Some(suggested), ..dear_on_node_1() };
    let served =
        Served::answering(AssessResponse { dimensions: vec![dimension], ..AssessResponse::default() });
    let of_plugin = Turning::new(served.settings()).turn(&mut even()).await;
    assert_eq!(moves(&of_plugin), [], "nobody is fifty times over");
    let (enter, leave) = (Some(Ratio(1_200_000)), Some(Ratio(1_050_000)));
    let settings = PluginSettings { enter, leave, ..served.settings() };
    let of_operator = Turning::new(settings).turn(&mut even()).await;
    assert!(!moves(&of_operator).is_empty());
}
