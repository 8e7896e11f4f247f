//! Calls that are refused: with which codes and texts, and what the client makes of them.

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::milvus::wire::milvus::LoadBalanceRequest;
use milvus_rebalancer::units::{NodeId, SegmentId};

use super::cluster::{Subject, request};
use super::expect_at_once;

/// No node has it.
const NO_NODE: i64 = 9999;

pub fn wrong(s: &mut Subject) {
    let [from, to] = [0, 1].map(|position| s.cluster.nodes()[position]);
    let segment = s.places("books").into_iter().next().unwrap().0;
    s.gather(&[segment], from);
    let books = s.id("books");
    let good = || request("books", from, &[to], &[segment]);
    let no_source =
        format!("source node not found in any replica of collection {books}: node not found[node={NO_NODE}]");
    let no_destination =
        format!("destination node not found in the same replica: node not found[node={NO_NODE}]");
    let no_segment = format!("failed to balance segments: segment 1 not found in source node {from}");
    let not_there = format!("failed to balance segments: segment {segment} not found in source node {to}");
    let no_collection = |name: &str| format!("collection not found[database=default][collection={name}]");
    let no_database = "collection not found[database=nowhere][collection=books]".to_owned();
    let cases = [
        ("source", LoadBalanceRequest { src_node_id: NO_NODE, ..good() }, (901, 1), no_source),
        ("destination", request("books", from, &[NO_NODE], &[segment]), (901, 1), no_destination.clone()),
        ("one destination", request("books", from, &[to, NO_NODE], &[segment]), (901, 1), no_destination),
        ("segment", request("books", from, &[to], &[1]), (65535, 1), no_segment),
        ("node of the segment", request("books", to, &[from], &[segment]), (65535, 1), not_there),
        ("collection", request("unknown", from, &[to], &[segment]), (100, 4), no_collection("unknown")),
        ("database", request("old", from, &[to], &[segment]), (100, 4), no_collection("old")),
        (
            "name of a database",
            LoadBalanceRequest { db_name: "nowhere".to_owned(), ..good() },
            (100, 4),
            no_database,
        ),
    ];
    for (what, request, codes, reason) in cases {
        let told = s.balance(request);
        assert_eq!((told.status.code, told.status.error_code), codes, "{what}: {:?}", told.status);
        assert_eq!(told.status.reason, reason, "{what}");
        assert!(!told.status.retriable, "{what}");
        expect_at_once(s, what, told.took);
    }
    assert_eq!(s.places("books")[&segment], [from], "nothing was moved");
}

pub fn other_replica(s: &mut Subject) {
    let replicas = s.replicas("pairs");
    let (segment, at) = s.places("pairs").into_iter().next().unwrap();
    let home = replicas.iter().find(|replica| replica.node_ids.contains(&at[0])).unwrap();
    let outside = *s.cluster.nodes().iter().find(|node| !home.node_ids.contains(node)).unwrap();
    let told = s.balance(request("pairs", at[0], &[outside], &[segment]));
    assert_eq!((told.status.code, told.status.error_code), (901, 1));
    let text = format!("destination node not found in the same replica: node not found[node={outside}]");
    assert_eq!(told.status.reason, text);
    let inside = *home.node_ids.iter().find(|node| **node != at[0]).unwrap();
    assert_eq!(s.balance(request("pairs", at[0], &[inside], &[segment])).status.code, 0);
    let mut expected = vec![inside, at[1]];
    expected.sort_unstable();
    s.until("the other replica is as it was", || s.places("pairs")[&segment] == expected);
}

pub fn partly_wrong(s: &mut Subject) {
    let [from, to] = [0, 1].map(|position| s.cluster.nodes()[position]);
    let segment = s.places("books").into_iter().next().unwrap().0;
    s.gather(&[segment], from);
    for segments in [[segment, 1], [1, segment]] {
        let told = s.balance(request("books", from, &[to], &segments));
        assert_eq!(told.status.code, 65535);
        assert!(told.status.reason.contains("segment 1 not found in source node"), "{:?}", told.status);
        expect_at_once(s, "the refusal", told.took);
    }
    s.pause(std::time::Duration::from_secs(2));
    assert_eq!(s.places("books")[&segment], [from]);
}

pub fn remedies(s: &mut Subject) {
    let [from, to] = [0, 1].map(|position| s.cluster.nodes()[position]);
    let segment = s.places("books").into_iter().next().unwrap().0;
    s.gather(&[segment], from);
    let cases = [
        ("default", "books", NO_NODE, to, segment, Remedy::Replan),
        ("default", "books", from, NO_NODE, segment, Remedy::Replan),
        ("default", "books", from, to, 1, Remedy::Replan),
        ("default", "unknown", from, to, segment, Remedy::SkipCollection),
        ("nowhere", "books", from, to, segment, Remedy::SkipCollection),
    ];
    for (database, name, from, to, segment, remedy) in cases {
        let call = MoveCall::new(database, name, NodeId(from), NodeId(to), vec![SegmentId(segment)]).unwrap();
        let error = s.ask(s.mover().load_balance(&call)).unwrap_err();
        assert_eq!(error.remedy(), remedy, "{error}");
        assert_eq!(error.collection_is_gone(), remedy == Remedy::SkipCollection, "{error}");
        assert!(!error.destination_is_full());
    }
}
