//! What was planned is held against what has been seen since, just before it is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use milvus_rebalancer::execute::{AdmittedMove, ExecuteSettings, Executor};
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::{Bytes, NodeId};

use super::fake::{Answer, Fake, Fate, State, admitted, drive, finish, unlimited};

/// One call at a time, so that there is something to be seen between two calls.
fn one_by_one() -> ExecuteSettings {
    ExecuteSettings { calls_in_flight: 1, segments_per_call: 1, ..unlimited() }
}

fn from(segment: i64, from: i64, to: i64) -> AdmittedMove {
    let mut moved = admitted(segment, to);
    moved.movement.from = NodeId(from);
    moved
}

/// Sends 101 and lets this happen before the second move of the collection is due.
async fn meanwhile(change: impl FnOnce(&mut State)) -> (Arc<Fake>, Executor) {
    let fake = Fake::new(1, 3);
    fake.state().fates.insert(101, Fate::LandsAfter(3));
    let mut executor = fake.executor(one_by_one());
    executor.offer([101, 102, 103].map(|segment| admitted(segment, 2)).to_vec(), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    change(&mut fake.state());
    finish(&mut executor).await;
    (fake, executor)
}

fn dropped(executor: &mut Executor) -> Vec<(i64, &'static str)> {
    let happened = executor.take_happenings().dropped;
    happened.iter().map(|(movement, reason)| (movement.segment.0, reason.code())).collect()
}

fn sent(fake: &Fake) -> Vec<i64> {
    fake.calls().into_iter().flat_map(|(_, _, segments)| segments).collect()
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_any_more_is_not_sent() {
    let nodes_of_102 = |nodes: Option<Vec<i64>>| {
        move |state: &mut State| {
            let segments = state.segments.get_mut(&1).unwrap();
            match nodes {
                Some(nodes) => segments.insert(102, nodes),
                None => segments.remove(&102),
            };
        }
    };
    for (nodes, reason) in [
        (None, "segment_gone"),
        (Some(vec![3]), "not_on_source"),
        (Some(vec![1, 3]), "held"),
        (Some(vec![1, 2]), "held"),
    ] {
        let (fake, mut executor) = meanwhile(nodes_of_102(nodes.clone())).await;
        assert_eq!(sent(&fake), [101, 103], "{nodes:?}");
        assert_eq!(dropped(&mut executor), [(102, reason)], "{nodes:?}");
        assert_eq!(executor.status().dropped, BTreeMap::from([(reason, 1)]));
        assert!(!fake.journalled().contains_key(&102), "nothing was intended");
    }
}

#[tokio::test(start_paused = true)]
async fn empty_segments_loading_collections_and_lost_members_are_left_alone() {
    let (fake, mut executor) = meanwhile(|state| {
        state.rows.insert(102, 0);
    })
    .await;
    assert_eq!((sent(&fake), dropped(&mut executor)), (vec![101, 103], vec![(102, "held")]));

    let (fake, mut executor) = meanwhile(|state| state.load_percentage = 99).await;
    assert_eq!(sent(&fake), [101]);
    let unready = "collection_unready";
    assert_eq!(dropped(&mut executor), [(102, unready), (103, unready)]);

    let (fake, mut executor) = meanwhile(|state| state.members = vec![1, 3, 4]).await;
    assert_eq!(sent(&fake), [101]);
    assert_eq!(dropped(&mut executor), [(102, "node_unfit"), (103, "node_unfit")]);
}

#[tokio::test(start_paused = true)]
async fn a_look_at_one_collection_says_nothing_about_another() {
    let fake = Fake::new(2, 1);
    fake.state().fates.insert(101, Fate::LandsAfter(3));
    let mut executor = fake.executor(one_by_one());
    executor.offer(vec![admitted(101, 2), admitted(201, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!((sent(&fake), dropped(&mut executor)), (vec![101, 201], vec![]));
}

#[tokio::test(start_paused = true)]
async fn the_room_of_a_destination_is_shared_in_plan_order() {
    let fake = Fake::new(2, 4);
    fake.state().segments.get_mut(&2).unwrap().insert(202, vec![3]);
    let mut executor = fake.executor(unlimited());
    let room = |free| BTreeMap::from([(NodeId(2), Bytes(free)), (NodeId(4), Bytes(100))]);
    executor.note_room(room(250));
    // 202 goes by a call of its own, and would fit if it came first.
    let moves = [from(101, 1, 2), from(201, 1, 2), from(202, 3, 2), from(102, 1, 4), from(103, 1, 3)];
    executor.offer(moves.to_vec(), Bytes(1_000));
    finish(&mut executor).await;
    let mut arrived = sent(&fake);
    arrived.sort_unstable();
    assert_eq!(arrived, [101, 102, 201]);
    let no_room = "no_headroom";
    assert_eq!(dropped(&mut executor), [(202, no_room), (103, no_room)], "of node 3 nobody knows any room");

    executor.offer(vec![admitted(104, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(dropped(&mut executor), [(104, no_room)], "what was sent is taken off");
    executor.note_room(room(100));
    executor.offer(vec![admitted(104, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(sent(&fake).last(), Some(&104));
}

#[tokio::test(start_paused = true)]
async fn half_a_swap_is_not_made() {
    // 101 goes from 1 to 2, and 102 back; 103 is another matter.
    let swap = || vec![from(101, 1, 2), from(102, 2, 1), from(103, 3, 4)];
    let place = |fake: &Fake| {
        let mut state = fake.state();
        let segments = state.segments.get_mut(&1).unwrap();
        segments.extend([(102, vec![2]), (103, vec![3])]);
    };
    let fake = Fake::new(1, 3);
    place(&fake);
    fake.state().fates.insert(101, Fate::LandsAfter(4));
    let mut executor = fake.executor(unlimited());
    executor.offer(swap(), Bytes(1_000));
    drive(&mut executor, |_| fake.calls().len() == 2).await;
    assert_eq!(sent(&fake), [101, 103], "the other half waits");
    assert_eq!(executor.limited_by(), Some(Reason::EarlierStepOpen));
    finish(&mut executor).await;
    assert_eq!(sent(&fake), [101, 103, 102]);

    let fake = Fake::new(1, 3);
    place(&fake);
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(101, Fate::Stays);
    let mut executor = fake.executor(unlimited());
    executor.offer(swap(), Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(sent(&fake), [101, 103]);
    assert_eq!(dropped(&mut executor), [(102, "earlier_step_refused")]);
    assert_eq!(executor.limited_by(), None);
}
