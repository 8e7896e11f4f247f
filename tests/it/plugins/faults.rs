//! Plug-ins that are slow, broken or lying: each is left out by its name and its fault, and the rest of the turn goes on.

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plugin::Plugins;
use milvus_rebalancer::plugin::wire::{
    AssessResponse, DescribeResponse, Dimension, DimensionDescription, DimensionSettings, Directive,
    Evacuate, KeepApart, NodeCollectionLoads, Nominate, Pin, SegmentLoads, directive::Kind,
};
use milvus_rebalancer::policy::plugin::{LARGEST_LOAD, PluginSettings};
use milvus_rebalancer::units::Bytes;
use tokio::sync::Notify;

use super::{Assessing, DEADLINE, Served, Turning, cost, described, directive, even, left_out, node_loads};
use crate::cluster::{add_collection, cluster};

/// Uneven in rows, so that a turn without the plug-in has something to do.
fn uneven() -> Observation {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 8), (2, 0), (3, 0), (4, 0)]]);
    observation
}

/// Turns once: the plug-in is left out for this reason, and rows are planned all the same.
async fn is_left_out(settings: PluginSettings, because: &str) {
    let decision = Turning::new(settings).turn(&mut uneven()).await;
    let doubts = left_out(&decision);
    assert_eq!(doubts.len(), 1, "{because}: {doubts:?}");
    assert!(doubts[0].contains("plug-in fake") && doubts[0].contains(because), "{because}: {doubts:?}");
    assert!(!decision.plan.steps.is_empty(), "{because}: the rest of the turn goes on");
    assert!(decision.findings.iter().all(|finding| finding.dimension != "fake.cost"), "{because}");
    assert!(decision.restrictions.pinned.is_empty(), "{because}: nothing of it is used");
}

fn with(dimension: Dimension) -> AssessResponse {
    AssessResponse { dimensions: vec![dimension], ..AssessResponse::default() }
}

fn ordering(kind: Kind) -> AssessResponse {
    let pin = directive(Kind::Pin(Pin { segment_id: 7000 }));
    AssessResponse { directives: vec![pin, directive(kind)], ..AssessResponse::default() }
}

fn suggesting(settings: DimensionSettings) -> AssessResponse {
    with(Dimension { settings: Some(settings), ..cost(&[]) })
}

/// An answer that cannot be right, and what is said of it.
fn lies() -> Vec<(AssessResponse, &'static str)> {
    let columns = |node_ids: Vec<i64>, collection_ids: Vec<i64>, loads: Vec<u64>| {
        let loads = NodeCollectionLoads { node_ids, collection_ids, loads };
        with(Dimension { collection_loads: Some(loads), ..cost(&[]) })
    };
    let single = |node, segment, load| {
        let loads = SegmentLoads { node_ids: vec![node], segment_ids: vec![segment], loads: vec![load] };
        with(Dimension { segment_loads: Some(loads), ..cost(&[]) })
    };
    let base = |loads: &[(i64, u64)]| with(Dimension { base_loads: Some(node_loads(loads)), ..cost(&[]) });
    let capacity =
        |loads: &[(i64, u64)]| with(Dimension { capacities: Some(node_loads(loads)), ..cost(&[]) });
    let setting = DimensionSettings::default;
    let segments = SegmentLoads { node_ids: vec![1], segment_ids: Vec::new(), loads: vec![1] };
    let half = LARGEST_LOAD.0 / 2 + 1;
    vec![
        (columns(vec![1], vec![7, 7], vec![1]), "columns of collection_loads of dimension \"cost\""),
        (columns(vec![1], vec![7], vec![]), "different lengths: [1, 1, 0]"),
        (with(Dimension { segment_loads: Some(segments), ..cost(&[]) }), "columns of segment_loads"),
        (columns(vec![99], vec![7], vec![1]), "names node 99, which it was not shown"),
        (columns(vec![1], vec![99], vec![1]), "names collection 99, which it was not shown"),
        (columns(vec![2], vec![7], vec![1]), "node 2 load of collection 7, of which it holds nothing"),
        (columns(vec![1, 1], vec![7, 7], vec![1, 2]), "two entries for node 1 and collection 7"),
        (columns(vec![1], vec![7], vec![u64::MAX]), "node 1 a load of more than"),
        (single(1, 99, 1), "node 1 load of segment 99"),
        (single(2, 7000, 1), "node 2 load of segment 7000, of which it holds nothing"),
        (base(&[(1, u64::MAX)]), "node 1 a load of more than"),
        (base(&[(1, 1), (1, 1)]), "two entries for node 1"),
        (
            with(Dimension { base_loads: Some(node_loads(&[(1, half)])), ..cost(&[(1, 7, half)]) }),
            "node 1 a load of more than",
        ),
        (capacity(&[(1, 5)]), "gives node 2 no capacity, and others one"),
        (capacity(&[(1, 5), (2, 5), (3, 5), (4, 0)]), "gives node 4 no capacity"),
        (
            with(Dimension { confidence: Some(f64::NAN), ..cost(&[]) }),
            "confidence of dimension \"cost\" is NaN",
        ),
        (with(Dimension { confidence: Some(-0.5), ..cost(&[]) }), "is -0.5, which is no ratio"),
        (with(Dimension { confidence: Some(1.5), ..cost(&[]) }), "a confidence of 1.50"),
        (suggesting(DimensionSettings { weight: Some(f64::INFINITY), ..setting() }), "weight of dimension"),
        (suggesting(DimensionSettings { weight: Some(1e9), ..setting() }), "at most 100"),
        (suggesting(DimensionSettings { enter: Some(0.5), ..setting() }), "enter cannot be 0.50"),
        (suggesting(DimensionSettings { leave: Some(3.0), ..setting() }), "leave cannot be 3.00"),
        (suggesting(DimensionSettings { limit: Some(1.5), ..setting() }), "limit cannot be 1.50"),
        (suggesting(DimensionSettings { matters_above: Some(2.0), ..setting() }), "matters_above cannot be"),
        (with(Dimension { only_collection_id: Some(99), ..cost(&[]) }), "names collection 99"),
        (with(Dimension { name: "memory".to_owned(), ..cost(&[]) }), "dimension \"memory\" is not described"),
        (
            AssessResponse { dimensions: vec![cost(&[]), cost(&[])], ..AssessResponse::default() },
            "dimension \"cost\" is there twice",
        ),
        (
            AssessResponse { dimensions: vec![cost(&[]); 9], ..AssessResponse::default() },
            "it has 9 dimensions; at most 8",
        ),
        (
            AssessResponse { directives: vec![Directive { kind: None }], ..AssessResponse::default() },
            "directive 0 is of a kind that this daemon does not know",
        ),
        (
            ordering(Kind::Pin(Pin { segment_id: 99 })),
            "a directive pin names segment 99, which is not loaded",
        ),
        (ordering(Kind::Evacuate(Evacuate { node_id: 99 })), "a directive evacuate names node 99"),
        (
            ordering(Kind::Nominate(Nominate {
                source_node_id: 1,
                segment_ids: vec![7000, 99],
                priority: 1,
            })),
            "a directive nominate names segment 99",
        ),
        (
            ordering(Kind::KeepApart(KeepApart { label: "x".to_owned(), segment_ids: vec![99] })),
            "a directive keep_apart names segment 99",
        ),
        (
            AssessResponse { segments_of_nodes: vec![99], ..AssessResponse::default() },
            "asks for the segments of node 99, which it was not shown",
        ),
        (
            AssessResponse { segments_of_nodes: vec![1], ..AssessResponse::default() },
            "asks for segments a second time",
        ),
    ]
}

#[tokio::test]
async fn an_answer_that_cannot_be_right_is_left_out_as_a_whole() {
    for (answer, because) in lies() {
        let served = Served::answering(answer);
        is_left_out(served.settings(), because).await;
    }
}

#[tokio::test]
async fn a_description_that_cannot_be_right_is_left_out() {
    let dimension = |name: &str, unit, physical| DimensionDescription {
        name: name.to_owned(),
        unit,
        has_physical_capacity: physical,
    };
    let describing = |dimensions: Vec<DimensionDescription>, answer: AssessResponse| {
        let description = DescribeResponse { version: "x".to_owned(), dimensions };
        let assess = move |_| -> Assessing {
            let answer = answer.clone();
            Box::pin(async move { Ok(answer) })
        };
        Served::start(Box::new(move |_| description.clone()), Box::new(assess))
    };
    let named = |name: &str| with(Dimension { name: name.to_owned(), ..Dimension::default() });
    let endless = "e".repeat(5_000);
    for (dimensions, answer, because) in [
        (vec![dimension("cost", 99, false)], with(cost(&[])), "a unit of number 99"),
        (vec![dimension("cost", 0, false); 2], with(cost(&[])), "\"cost\" is described twice"),
        (
            vec![dimension("cost", 0, true)],
            with(cost(&[])),
            "described with a physical capacity and has none",
        ),
        (vec![dimension("Cost €", 0, false)], named("Cost €"), "\"Cost €\" is no name of a dimension"),
        (vec![dimension("", 0, false)], named(""), "\"\" is no name of a dimension"),
        (vec![dimension(&endless, 0, false)], named(&endless), "is no name of a dimension"),
    ] {
        let served = describing(dimensions, answer);
        is_left_out(served.settings(), because).await;
    }
}

#[tokio::test]
async fn one_that_never_answers_costs_its_deadline_and_no_more() {
    let never = |_| -> Assessing { Box::pin(std::future::pending()) };
    let served = Served::start(Box::new(|_| described()), Box::new(never));
    let settings = PluginSettings { deadline: Duration::from_millis(200), ..served.settings() };
    is_left_out(settings, "it did not answer within 200ms").await;
}

#[tokio::test]
async fn all_are_asked_at_once_and_a_slow_one_keeps_none_of_the_others_from_being_heard() {
    // Each waits until both are being asked: one after the other would never end.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let served: Vec<Served> = (0..2)
        .map(|_| {
            let both = Arc::clone(&both);
            let assess = move |_| -> Assessing {
                let both = Arc::clone(&both);
                Box::pin(async move {
                    both.wait().await;
                    Ok(with(cost(&[])))
                })
            };
            Served::start(Box::new(|_| described()), Box::new(assess))
        })
        .collect();
    let never = |_| -> Assessing { Box::pin(std::future::pending()) };
    let slow = Served::start(Box::new(|_| described()), Box::new(never));
    let settings = [
        ("a".to_owned(), served[0].settings()),
        ("b".to_owned(), served[1].settings()),
        ("slow".to_owned(), PluginSettings { deadline: Duration::from_secs(2), ..slow.settings() }),
    ];
    let plugins = Plugins::new(&settings.into_iter().collect()).unwrap();
    let turning = Turning::new(served[0].settings());
    let asked = plugins.ask(&turning.thinking.preview(&even())).await;
    let heard: Vec<(&str, bool)> = asked
        .iter()
        .map(|asked| {
            let outcome = &asked.hearing.outcome;
            let heard = matches!(outcome, milvus_rebalancer::observe::opinion::HearingOutcome::Heard(_));
            (asked.hearing.plugin.as_str(), heard)
        })
        .collect();
    assert_eq!(heard, [("a", true), ("b", true), ("slow", false)]);
}

#[tokio::test]
async fn one_that_is_not_there_is_found_again_when_it_comes_back() {
    let mut served = Served::answering(with(cost(&[])));
    let settings = served.settings();
    let mut turning = Turning::new(settings.clone());
    assert_eq!(left_out(&turning.turn(&mut even()).await), [""; 0]);
    let folder = served.folder.path().to_owned();
    served.kill();
    std::fs::remove_file(folder.join("plugin.sock")).unwrap();
    let doubts = left_out(&turning.turn(&mut even()).await);
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    let again = Served::answering(with(cost(&[])));
    std::os::unix::fs::symlink(again.folder.path().join("plugin.sock"), folder.join("plugin.sock")).unwrap();
    assert_eq!(left_out(&turning.turn(&mut even()).await), [""; 0], "without a restart of the daemon");
    is_left_out(
        PluginSettings { endpoint: "unix:/nowhere/at.all".to_owned(), ..settings },
        "cannot be reached",
    )
    .await;
}

#[tokio::test]
async fn one_that_dies_in_the_middle_of_a_call_is_left_out_at_once() {
    let entered = Arc::new(Notify::new());
    let signal = Arc::clone(&entered);
    let assess = move |_| -> Assessing {
        signal.notify_one();
        Box::pin(std::future::pending())
    };
    let mut served = Served::start(Box::new(|_| described()), Box::new(assess));
    let mut turning = Turning::new(served.settings());
    let mut observation = even();
    let kill = async {
        entered.notified().await;
        served.kill();
    };
    let (decision, ()) = tokio::join!(turning.turn(&mut observation), kill);
    let doubts = left_out(&decision);
    assert!(doubts.len() == 1 && !doubts[0].contains("did not answer"), "not by its deadline: {doubts:?}");
}

#[tokio::test]
async fn an_answer_above_the_limit_is_not_taken_in() {
    let huge = KeepApart { label: "x".repeat(64 << 20), segment_ids: Vec::new() };
    let served = Served::answering(ordering(Kind::KeepApart(huge)));
    let settings = PluginSettings { max_answer: Bytes(1 << 20), ..served.settings() };
    is_left_out(settings, "larger than 1.0 MiB").await;
}

#[tokio::test]
async fn one_that_describes_itself_anew_is_left_out_until_that_stays() {
    let describe = |calls: usize| DescribeResponse {
        version: format!("fake {}", if calls == 0 { 1 } else { 2 }),
        ..described()
    };
    let assess = |_| -> Assessing { Box::pin(async { Ok(with(cost(&[]))) }) };
    let served = Served::start(Box::new(describe), Box::new(assess));
    let mut turning = Turning::new(served.settings());
    assert_eq!(left_out(&turning.turn(&mut even()).await), [""; 0]);
    let doubts = left_out(&turning.turn(&mut even()).await);
    assert!(doubts[0].contains("\"fake 1\" with cost in Points and now as \"fake 2\""), "{doubts:?}");
    assert_eq!(left_out(&turning.turn(&mut even()).await), [""; 0]);
}

#[tokio::test]
async fn a_refusal_is_told_in_its_own_words_without_control_characters() {
    let refuse = |_| -> Assessing {
        Box::pin(async { Err(tonic::Status::internal("no \u{1b}[2Jcosts\ntoday".to_owned())) })
    };
    let served = Served::start(Box::new(|_| described()), Box::new(refuse));
    is_left_out(served.settings(), "Assess ended with Internal: no [2Jcoststoday").await;
}

#[tokio::test]
async fn a_turn_of_which_nothing_is_recorded_says_that_nobody_was_asked() {
    let settings = PluginSettings { deadline: DEADLINE, ..PluginSettings::default() };
    let mut turning = Turning::new(PluginSettings { endpoint: "unix:/x".to_owned(), ..settings });
    let own = milvus_rebalancer::turn::OwnMoves::default();
    let decision = turning.thinking.turn(&uneven(), own, crate::cluster::moment(1));
    assert!(left_out(&decision)[0].contains("it was not asked"));
}
