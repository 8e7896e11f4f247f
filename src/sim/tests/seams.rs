//! The direct seams, on tokio's clock.

use super::*;
use crate::execute::{MoveCall, Mover};
use crate::milvus::{Failure, Remedy};
use crate::observe::Observer;
use crate::sim::faults::Fault;
use crate::sim::profile::ALL_LINES;
use crate::sim::seams::{SharedWorld, SimMover, SimObserver};

fn call(world: &World, from: i64, to: i64, segment: SegmentId) -> MoveCall {
    let collection = &world.collections()[&first_collection(world)];
    MoveCall::new(&collection.database, &collection.name, NodeId(from), NodeId(to), vec![segment]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_version_can_be_observed_and_moved() {
    for line in ALL_LINES {
        let shared = SharedWorld::new(small(line));
        let observer = SimObserver::new(shared.clone(), true);
        let mover = SimMover::new(shared.clone(), Duration::from_secs(150));
        let seen = observer.observe().await.unwrap();
        assert_eq!(seen.gaps, [], "{line}");
        assert_eq!(seen.server.number.unwrap().0, if line == Line::V3_0 { 3 } else { 2 });
        assert_eq!(seen.collections.len(), 2, "{line}");
        assert_eq!(
            seen.nodes.iter().any(|node| node.sealed_bytes.as_ref().is_some_and(|bytes| !bytes.is_empty())),
            line >= Line::V2_3,
            "{line}"
        );
        let (segment, call) = {
            let world = shared.lock();
            let segment = segment_on(&world, NodeId(1));
            (segment, call(&world, 1, 2, segment))
        };
        mover.load_balance(&call).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let id = first_collection(&shared.lock());
        let report = observer.reread(call.database(), call.collection(), id).await.unwrap();
        let moved = report.segments.unwrap().into_iter().find(|found| found.id == segment).unwrap();
        assert_eq!(moved.nodes, [NodeId(2)], "{line}");
    }
}

/// Asked again too soon, it does not ask the server again: what it shows of the nodes is up to 6 s old.
#[tokio::test(start_paused = true)]
async fn a_dead_node_is_shown_until_metrics_are_asked_for_again() {
    let shared = SharedWorld::new(small(Line::V2_5));
    let observer = SimObserver::new(shared.clone(), true);
    let shows_node_2 =
        async || observer.observe().await.unwrap().nodes.iter().any(|node| node.id == NodeId(2));
    assert!(shows_node_2().await);
    shared.lock().crash(NodeId(2));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(shows_node_2().await, "remembered");
    assert_eq!(shared.lock().counts().metrics, 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!shows_node_2().await);
    assert_eq!(shared.lock().counts().metrics, 2);
}

#[tokio::test(start_paused = true)]
async fn days_pass_without_waiting_and_speed_multiplies_them() {
    let shared = SharedWorld::with_speed(small(Line::V2_5), 60);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let world = shared.lock();
    assert_eq!(world.now(), Duration::from_secs(3600 * 60));
    assert_eq!(world.wall().duration_since(world.settings.begins_at).as_hours(), 60);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_end_in_a_deadline_and_refusals_keep_their_code() {
    let shared = SharedWorld::new(small(Line::V2_5));
    let mover = SimMover::new(shared.clone(), Duration::from_secs(10));
    let move_call = {
        let mut world = shared.lock();
        world.strike(Fault::LoseAnswers { calls: 1 });
        let segment = segment_on(&world, NodeId(1));
        call(&world, 1, 2, segment)
    };
    let error = mover.load_balance(&move_call).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Deadline { .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::OutcomeUnknown);
    let error = mover.load_balance(&move_call).await.unwrap_err();
    assert!(matches!(&error.failure, Failure::Refused(refusal) if refusal.code == 600), "{error}");
    shared.lock().strike(Fault::ProxyAway { lasts: Duration::from_secs(60) });
    let error = mover.load_balance(&move_call).await.unwrap_err();
    assert!(matches!(error.failure, Failure::Unreachable { .. }), "{error}");
    assert!(SimObserver::new(shared.clone(), false).observe().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_a_caller_that_went_away() {
    let shared = SharedWorld::new(small(Line::V2_3));
    let mover = SimMover::new(shared.clone(), Duration::from_millis(100));
    let move_call = {
        let world = shared.lock();
        call(&world, 1, 2, segment_on(&world, NodeId(1)))
    };
    mover.load_balance(&move_call).await.unwrap_err();
    assert!(shared.lock().calls()[0].disconnected);
}

#[tokio::test(start_paused = true)]
async fn partial_polls_leave_gaps_instead_of_holes() {
    let shared = SharedWorld::new(small(Line::V2_5));
    let observer = SimObserver::new(shared.clone(), true);
    observer.observe().await.unwrap();
    shared.lock().strike(Fault::PartialPolls { lasts: Duration::from_secs(600), percent: 40 });
    let mut with_gaps = 0;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(6)).await;
        if let Ok(seen) = observer.observe().await {
            with_gaps += usize::from(!seen.gaps.is_empty());
        }
    }
    assert!(with_gaps > 5, "{with_gaps} of 20");
}
