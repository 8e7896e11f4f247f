//! What is taken over from look to look equals what is made anew, to the bit, whatever happens to a cluster: moves,
//! compaction, loads and releases, nodes that restart, join and leave, and lists that make no sense.

use milvus_rebalancer::model::{CopiesMemory, ModelState, Snapshot, fold};
use milvus_rebalancer::observe::observation::{
    CollectionReport, NodeRole, Observation, ReplicaReport, SegmentLevel,
};
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};
use proptest::prelude::*;
use proptest::test_runner::Config;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{add_collection, cluster, group_node, moment, node, segment};

/// What happens between two looks. The numbers choose among what there is.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Move { segment: usize, to: usize },
    OnTwoNodes { segment: usize, and: usize },
    Compact { collection: usize, from: usize },
    Grow { segment: usize, rows: u64 },
    Load { nodes: (usize, usize) },
    Release { collection: usize },
    Unread { collection: usize },
    Percentage { collection: usize, percentage: u8 },
    Restart { node: usize },
    Join,
    Leave { node: usize },
    Streaming { node: usize },
    Report { node: usize, bytes: u64 },
    TwinReplica { collection: usize },
    Reorder { collection: usize },
    TwinSegment { collection: usize },
    Level0 { segment: usize },
}

fn change() -> impl Strategy<Value = Change> {
    let any = any::<usize>;
    prop_oneof![
        3 => Just(Change::Nothing),
        6 => (any(), any()).prop_map(|(segment, to)| Change::Move { segment, to }),
        3 => (any(), any()).prop_map(|(segment, and)| Change::OnTwoNodes { segment, and }),
        3 => (any(), any()).prop_map(|(collection, from)| Change::Compact { collection, from }),
        1 => (any(), 0..3_000_u64).prop_map(|(segment, rows)| Change::Grow { segment, rows }),
        2 => (any(), any()).prop_map(|nodes| Change::Load { nodes }),
        1 => any().prop_map(|collection| Change::Release { collection }),
        1 => any().prop_map(|collection| Change::Unread { collection }),
        1 => (any(), 90..=100_u8)
            .prop_map(|(collection, percentage)| Change::Percentage { collection, percentage }),
        2 => any().prop_map(|node| Change::Restart { node }),
        2 => Just(Change::Join),
        1 => any().prop_map(|node| Change::Leave { node }),
        1 => any().prop_map(|node| Change::Streaming { node }),
        2 => (any(), 0..1_000_000_u64).prop_map(|(node, bytes)| Change::Report { node, bytes }),
        1 => any().prop_map(|collection| Change::TwinReplica { collection }),
        1 => any().prop_map(|collection| Change::Reorder { collection }),
        1 => any().prop_map(|collection| Change::TwinSegment { collection }),
        1 => any().prop_map(|segment| Change::Level0 { segment }),
    ]
}

/// One of them; `None` when there are none.
fn pick<T>(among: &mut [T], number: usize) -> Option<&mut T> {
    let count = among.len();
    (count > 0).then(|| &mut among[number % count])
}

fn pick_segment(
    observation: &mut Observation,
    number: usize,
) -> Option<&mut milvus_rebalancer::observe::observation::SegmentReport> {
    let lists = observation.collections.iter_mut().filter_map(|collection| collection.segments.as_mut());
    let mut all: Vec<_> = lists.flatten().collect();
    let count = all.len();
    (count > 0).then(|| all.swap_remove(number % count))
}

/// The largest id in use, and one more.
fn next_id(observation: &Observation) -> i64 {
    let nodes = observation.nodes.iter().map(|node| node.id.0);
    let segments = observation
        .collections
        .iter()
        .filter_map(|collection| collection.segments.as_ref())
        .flatten()
        .map(|segment| segment.id.0);
    nodes.chain(segments).max().unwrap_or(0) + 1
}

fn replace_node(observation: &mut Observation, old: NodeId, new: Option<NodeId>) {
    let swap = |nodes: &mut Vec<NodeId>| {
        nodes.retain(|id| *id != old || new.is_some());
        nodes.iter_mut().filter(|id| **id == old).for_each(|id| *id = new.unwrap_or(old));
    };
    for collection in &mut observation.collections {
        collection.replicas.iter_mut().flatten().for_each(|replica| swap(&mut replica.nodes));
        collection.segments.iter_mut().flatten().for_each(|segment| swap(&mut segment.nodes));
    }
    observation.nodes.retain(|node| node.id != old);
    for group in observation.resource_groups.iter_mut().flatten() {
        group.nodes.iter_mut().for_each(|nodes| nodes.retain(|node| node.id != old));
    }
    if let Some(new) = new {
        join(observation, new);
    }
}

fn join(observation: &mut Observation, id: NodeId) {
    observation.nodes.push(node(id));
    for group in observation.resource_groups.iter_mut().flatten() {
        group.nodes.iter_mut().for_each(|nodes| nodes.push(group_node(id)));
    }
}

fn apply(change: &Change, observation: &mut Observation) {
    let ids: Vec<NodeId> = observation.nodes.iter().map(|node| node.id).collect();
    let id = |number: &usize| ids.get(number % ids.len().max(1)).copied();
    let next = next_id(observation);
    let of =
        |collections: &mut Vec<CollectionReport>, number: &usize, then: &dyn Fn(&mut CollectionReport)| {
            pick(collections, *number).into_iter().for_each(then);
        };
    let collections = &mut observation.collections;
    match change {
        Change::Nothing => {}
        Change::Move { segment, to } => {
            let Some(to) = id(to) else { return };
            let home = pick_segment(observation, *segment).and_then(|segment| segment.nodes.first_mut());
            home.into_iter().for_each(|home| *home = to);
        }
        Change::OnTwoNodes { segment, and } => {
            let Some(and) = id(and) else { return };
            pick_segment(observation, *segment).into_iter().for_each(|segment| segment.nodes.push(and));
        }
        Change::Compact { collection, from } => of(collections, collection, &|collection| {
            let Some(segments) = &mut collection.segments else { return };
            if segments.len() > 1 {
                let gone = segments.remove(from % segments.len());
                let home = gone.nodes.first().copied().unwrap_or_default();
                segments.push(segment(next, home));
            }
        }),
        Change::Grow { segment, rows } => {
            pick_segment(observation, *segment).into_iter().for_each(|segment| segment.rows = Rows(*rows));
        }
        Change::Load { nodes: (first, second) } => {
            let (Some(first), Some(second)) = (id(first), id(second)) else { return };
            add_collection(observation, next, &[&[(first.0, 2), (second.0, 1)]]);
        }
        Change::Release { collection } => {
            if !collections.is_empty() {
                collections.remove(collection % collections.len());
            }
        }
        Change::Unread { collection } => of(collections, collection, &|collection| {
            (collection.segments, collection.replicas) = (None, None);
        }),
        Change::Percentage { collection, percentage } => {
            of(collections, collection, &|collection| collection.load_percentage = *percentage);
        }
        Change::Restart { node } => {
            id(node).into_iter().for_each(|old| replace_node(observation, old, Some(NodeId(next))));
        }
        Change::Join => join(observation, NodeId(next)),
        Change::Leave { node } => id(node).into_iter().for_each(|old| replace_node(observation, old, None)),
        Change::Streaming { node } => {
            pick(&mut observation.nodes, *node)
                .into_iter()
                .for_each(|node| node.role = NodeRole::StreamingNode);
        }
        Change::Report { node, bytes } => {
            let all = collections.iter().map(|collection| (collection.id, Bytes(*bytes)));
            let all: BTreeMap<CollectionId, Bytes> = all.collect();
            pick(&mut observation.nodes, *node).into_iter().for_each(|node| {
                node.memory_used = Some(Bytes(*bytes));
                node.sealed_bytes = Some(all.clone());
            });
        }
        Change::TwinReplica { collection } => of(collections, collection, &|collection| {
            let Some(replicas) = &mut collection.replicas else { return };
            let twin: Option<ReplicaReport> = replicas.first().cloned();
            replicas.extend(twin);
        }),
        Change::Reorder { collection } => of(collections, collection, &|collection| {
            collection.segments.iter_mut().for_each(|segments| segments.reverse());
        }),
        Change::TwinSegment { collection } => of(collections, collection, &|collection| {
            let Some(segments) = &mut collection.segments else { return };
            let twin = segments.first().cloned();
            segments.extend(twin);
        }),
        Change::Level0 { segment } => {
            pick_segment(observation, *segment).into_iter().for_each(|s| s.level = SegmentLevel::L0);
        }
    }
}

/// The state as a process that remembers no rows has it.
fn without_rows(state: &ModelState) -> ModelState {
    ModelState { copies: CopiesMemory::default(), listings: BTreeMap::new(), ..state.clone() }
}

fn three_collections() -> Observation {
    let mut observation = cluster(6);
    add_collection(&mut observation, 7, &[&[(1, 3), (2, 2)], &[(3, 4), (4, 1)]]);
    add_collection(&mut observation, 8, &[&[(2, 2), (5, 2)]]);
    add_collection(&mut observation, 9, &[&[(1, 1), (6, 3)]]);
    observation
}

fn assert_ordered(snapshot: &Snapshot) {
    let rows: Vec<_> = snapshot.copies.indices().map(|copy| snapshot.copies.row(copy).key()).collect();
    assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "rows are in order: {rows:?}");
}

proptest! {
    #![proptest_config(Config { cases: 256, ..Config::default() })]

    #[test]
    fn what_is_taken_over_equals_what_is_made_anew(
        looks in prop::collection::vec(prop::collection::vec(change(), 0..4), 1..12),
    ) {
        let mut observation = three_collections();
        let (mut state, _) = fold(ModelState::default(), &observation, &[]);
        for (look, changes) in looks.iter().enumerate() {
            changes.iter().for_each(|change| apply(change, &mut observation));
            observation.started_at = moment(30 * (look as i64 + 1)).wall;
            let (anew, rebuilt) = fold(without_rows(&state), &observation, &[]);
            let (incremental, snapshot) = fold(state, &observation, &[]);
            prop_assert_eq!(&snapshot, &rebuilt);
            let bytes = |snapshot: &Snapshot| serde_json::to_vec(snapshot).unwrap();
            prop_assert_eq!(bytes(&snapshot), bytes(&rebuilt), "to the bit");
            prop_assert_eq!(&incremental.history, &anew.history, "foreign moves");
            prop_assert_eq!(&incremental.moving_from, &anew.moving_from);
            prop_assert_eq!(incremental.digest(), Some(snapshot.digest()));
            prop_assert_eq!(anew.digest(), Some(snapshot.digest()));
            assert_ordered(&snapshot);
            state = incremental;
        }
    }
}

#[test]
fn what_has_not_changed_is_shared_and_not_made_again() {
    let mut observation = three_collections();
    let (state, first) = fold(ModelState::default(), &observation, &[]);
    observation.started_at = moment(30).wall;
    observation.collections.iter_mut().for_each(|collection| collection.read_at = moment(30).wall);
    let (state, second) = fold(state, &observation, &[]);
    assert!(Arc::ptr_eq(&first.copies, &second.copies), "not even the columns are copied");
    assert_eq!(first.digest(), second.digest(), "times are not in the digest");

    observation.collections[0].segments.as_mut().unwrap()[0].rows = Rows(5);
    let (_, third) = fold(state, &observation, &[]);
    assert_eq!(third.copies.rows[0], Rows(5));
    assert_ne!(second.digest(), third.digest());
}

#[test]
fn the_digest_sees_each_thing_and_not_the_order_in_which_they_were_listed() {
    let digest = |observation: &Observation| fold(ModelState::default(), observation, &[]).1.digest();
    let plain = three_collections();
    let mut reversed = plain.clone();
    reversed.nodes.reverse();
    reversed.collections.reverse();
    reversed.collections.iter_mut().for_each(|collection| {
        collection.segments.as_mut().unwrap().reverse();
        collection.replicas.as_mut().unwrap().reverse();
    });
    assert_eq!(digest(&plain), digest(&reversed));

    let changes: [&dyn Fn(&mut Observation); 6] = [
        &|observation| observation.nodes[0].memory_used = Some(Bytes(1)),
        &|observation| observation.nodes[0].address = "elsewhere:1".to_owned(),
        &|observation| observation.collections[0].name = "other".to_owned(),
        &|observation| observation.collections[1].replicas.as_mut().unwrap()[0].id = ReplicaId(99),
        &|observation| observation.collections[1].segments.as_mut().unwrap()[0].id = SegmentId(99),
        &|observation| observation.collections[2].segments.as_mut().unwrap()[0].nodes = vec![NodeId(6)],
    ];
    for (position, change) in changes.iter().enumerate() {
        let mut changed = plain.clone();
        change(&mut changed);
        assert_ne!(digest(&plain), digest(&changed), "change {position}");
    }
}
