//! The four combinations of given and omitted lists, and every way to ask for the wrong thing.

use super::*;
use crate::model::{BytesSource, Collection, CopyRow, Member, Node, SegmentCopies};
use crate::observe::observation::ServerVersion;
use crate::units::{Bytes, CollectionId, ReplicaId, Rows};
use jiff::Timestamp;
use std::sync::Arc;

/// Room for everything.
fn plenty(_: NodeId) -> Bytes {
    Bytes(u64::MAX)
}

/// Nodes 1 to 5 at positions 0 to 4: 1, 2, 3 are replica 10's (3 is read-only), 4 is replica 20's, 5 is
/// replica 10's streaming node.
fn snapshot() -> Snapshot {
    let node = |id| Node {
        id: NodeId(id),
        address: format!("host-{id}:1"),
        hostname: None,
        standing: Standing::ReadWrite,
        memory_capacity: None,
        memory_used: None,
        growing: None,
        unexplained_memory: None,
        reported_sealed: None,
        version: String::new(),
        component: None,
    };
    let member = |node, standing| Member { node: NodeIndex(node), standing };
    let replica = |id, members| Replica {
        id: ReplicaId(id),
        collection: CollectionIndex(0),
        resource_group: "group".into(),
        members,
        component: None,
    };
    let mut snapshot = Snapshot {
        taken_at: Timestamp::UNIX_EPOCH,
        server: ServerVersion::parse("2.3.5"),
        nodes: (1..=6).map(node).collect(),
        collections: vec![Collection {
            id: CollectionId(7),
            database: "default".into(),
            name: "books".into(),
            load_percentage: 100,
            read_at: Timestamp::UNIX_EPOCH,
            bytes_source: BytesSource::Schema,
        }],
        replicas: vec![
            replica(
                10,
                vec![
                    member(0, Standing::ReadWrite),
                    member(1, Standing::ReadWrite),
                    member(2, Standing::ReadOnly),
                    member(4, Standing::Streaming),
                    member(5, Standing::ReadWrite),
                ],
            ),
            replica(20, vec![member(3, Standing::ReadWrite)]),
        ],
        copies: Arc::default(),
        components: Vec::new(),
        doubts: Vec::new(),
        signals: crate::model::Signals::default(),
    };
    let mut copies = SegmentCopies::default();
    for (segment, replica, node, rows, held) in [
        (101, 0, 0, 100, None),
        (102, 0, 0, 300, None),
        (103, 0, 0, 200, None),
        (104, 0, 0, 5, Some(Held::Level0)),
        (105, 0, 0, 0, Some(Held::NoRows)),
        (106, 0, 0, 50, Some(Held::OnTwoNodes)),
        (107, 0, 1, 250, None),
        (108, 1, 3, 10, None),
    ] {
        copies.push(CopyRow {
            segment: SegmentId(segment),
            replica: ReplicaIndex(replica),
            node: NodeIndex(node),
            rows: Rows(rows),
            bytes: Bytes(rows * 10),
            held,
        });
    }
    snapshot.copies = Arc::new(copies);
    snapshot
}

fn request(src_node: i64, dst_nodes: &[i64], segments: &[i64]) -> ManualRequest {
    ManualRequest {
        database: String::new(),
        collection: "books".into(),
        src_node: NodeId(src_node),
        dst_nodes: dst_nodes.iter().copied().map(NodeId).collect(),
        segments: segments.iter().copied().map(SegmentId).collect(),
        timeout: None,
    }
}

fn chosen(request: &ManualRequest) -> Vec<(i64, i64)> {
    let plan = choose_moves(request, &snapshot(), plenty, std::iter::empty()).unwrap();
    plan.moves.iter().map(|one| (one.movement.segment.0, one.movement.to.0)).collect()
}

fn refused(request: &ManualRequest) -> String {
    choose_moves(request, &snapshot(), plenty, std::iter::empty()).unwrap_err().to_string()
}

#[test]
fn omitted_lists_are_filled_with_what_may_move_and_who_can_take() {
    // Node 2 has 250 rows, node 6 none; 3 is read-only, 5 streams, 4 is another replica's.
    assert_eq!(chosen(&request(1, &[], &[])), [(102, 6), (103, 2), (101, 6)]);
    let plan = choose_moves(&request(1, &[], &[]), &snapshot(), plenty, std::iter::empty()).unwrap();
    let staying: Vec<i64> = plan.staying.iter().map(|(segment, _)| segment.0).collect();
    assert_eq!(staying, [104, 105, 106]);
}

#[test]
fn given_lists_are_kept_to() {
    assert_eq!(chosen(&request(1, &[2], &[])), [(102, 2), (103, 2), (101, 2)]);
    assert_eq!(chosen(&request(1, &[], &[101])), [(101, 6)]);
    assert_eq!(chosen(&request(1, &[2, 2], &[101, 103, 101])), [(103, 2), (101, 2)]);
}

#[test]
fn every_wrong_destination_is_named() {
    let refusal = refused(&request(1, &[1, 3, 4, 5, 99], &[101]));
    for part in [
        "node 1 is the source",
        "node 3 is read-only",
        "node 4 is not in replica 10",
        "node 5 is a streaming node",
        "node 99 is not in replica 10",
    ] {
        assert!(refusal.contains(part), "{refusal:?} lacks {part:?}");
    }
}

#[test]
fn every_wrong_segment_is_named() {
    let refusal = refused(&request(1, &[2], &[101, 104, 105, 106, 107, 108, 999]));
    for part in [
        "segment 104: it is a level-0 segment",
        "segment 105: it is listed with 0 rows",
        "segment 106: two nodes",
        "segment 107 is on node 2",
        "segment 108 is not in the replica of node 1",
        "segment 999 is not in the replica",
    ] {
        assert!(refusal.contains(part), "{refusal:?} lacks {part:?}");
    }
    assert!(!refusal.contains("101"), "nothing is wrong with it: {refusal}");
}

#[test]
fn wrong_sources_and_names_are_said() {
    assert!(refused(&request(99, &[], &[])).contains("its nodes are 1, 2, 3, 4, 5, 6"));
    assert!(refused(&request(3, &[], &[])).contains("node 3: it is read-only"));
    assert!(refused(&request(4, &[], &[])).contains("no other live read-write node"));
    assert!(refused(&request(6, &[], &[])).contains("nothing on node 6 can be moved: 0 segments"));
    let unknown = ManualRequest { collection: "films".into(), ..request(1, &[], &[]) };
    assert!(refused(&unknown).contains("no loaded collection \"films\" in database \"default\""));
    let elsewhere = ManualRequest { database: "other".into(), ..request(1, &[], &[]) };
    assert!(refused(&elsewhere).contains("database \"other\""));
    let mut loading = snapshot();
    loading.collections[0].load_percentage = 40;
    let refusal = choose_moves(&request(1, &[], &[]), &loading, plenty, std::iter::empty()).unwrap_err();
    assert_eq!(refusal, RequestError::NotLoaded { collection: "books".into(), percentage: 40 });
}

#[test]
fn what_is_on_its_way_already_is_left_alone() {
    let plan = choose_moves(&request(1, &[2], &[101]), &snapshot(), plenty, std::iter::empty()).unwrap();
    let busy = crate::execute::operation::tests::sent(plan.moves[0].movement.clone());
    let refusal =
        choose_moves(&request(1, &[2], &[101]), &snapshot(), plenty, std::iter::once(&busy)).unwrap_err();
    assert!(refusal.to_string().contains("on its way already"), "{refusal}");
    let rest = choose_moves(&request(1, &[2], &[]), &snapshot(), plenty, std::iter::once(&busy)).unwrap();
    assert_eq!(rest.moves.len(), 2);
}

#[test]
fn without_a_named_destination_nothing_goes_where_there_is_no_room() {
    let none = |_: NodeId| Bytes::ZERO;
    let plan = choose_moves(&request(1, &[], &[]), &snapshot(), none, std::iter::empty()).unwrap();
    assert_eq!(plan.moves, []);
    assert!(plan.staying.iter().any(|(_, why)| *why == Staying::NoRoom), "{:?}", plan.staying);
    let named = choose_moves(&request(1, &[2], &[101]), &snapshot(), none, std::iter::empty()).unwrap();
    assert_eq!(named.moves.len(), 1, "the person named the node");
}
