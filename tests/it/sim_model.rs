//! The simulated Milvus as the model understands it: a quiet cluster raises no doubts but those that it should.

#![allow(clippy::unwrap_used)] // a test that cannot set its scene should fail loudly

use std::time::Duration;

use milvus_rebalancer::model::{DoubtKind, ModelState, Snapshot, Standing, fold};
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::sim::faults::Fault;
use milvus_rebalancer::sim::profile::ALL_LINES;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimObserver, WorldPlan, build};

/// Polls a few times, as the daemon would, and folds.
async fn seen(shared: &SharedWorld) -> Snapshot {
    let observer = SimObserver::new(shared.clone(), true);
    let mut state = ModelState::default();
    let mut latest = None;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (next, snapshot) = fold(state, &observer.observe().await.unwrap(), &[]);
        (state, latest) = (next, Some(snapshot));
    }
    latest.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_cluster_of_any_version_raises_no_doubts_about_its_query_nodes() {
    for line in ALL_LINES {
        let mut plan = WorldPlan::new(Profile::of(line), 2);
        plan.ingest_rows_per_second = 2_000.0;
        let snapshot = seen(&SharedWorld::new(build(&plan))).await;
        let usable = snapshot.nodes.iter().filter(|node| node.standing == Standing::ReadWrite).count();
        assert_eq!(usable, 8, "{line}: {:?}", snapshot.nodes);
        for doubt in &snapshot.doubts {
            let is_streaming =
                matches!(doubt.kind, DoubtKind::NodeStanding { standing: Standing::Streaming });
            let is_old = doubt.kind == DoubtKind::ServerTooOld && line == Line::V2_2;
            assert!(is_old || (is_streaming && line >= Line::V2_6), "{line}: {doubt:?}");
        }
        assert!(snapshot.copies.len() >= 400, "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_or_dead_is_doubted() {
    let shared = SharedWorld::new(build(&WorldPlan::new(Profile::of(Line::V2_5), 2)));
    let lasts = Duration::from_secs(3600);
    shared.lock().schedule(Duration::ZERO, Fault::HideCollections { lasts, every: 2 });
    let snapshot = seen(&shared).await;
    let hidden = |kind: &DoubtKind| matches!(kind, DoubtKind::HiddenCollection { .. });
    assert!(snapshot.doubts.iter().any(|doubt| hidden(&doubt.kind)), "{:?}", snapshot.doubts);

    let shared = SharedWorld::new(build(&WorldPlan::new(Profile::of(Line::V2_5), 2)));
    let at = Duration::from_secs(110);
    shared.lock().schedule(at, Fault::Crash { hostname: "querynode-3".to_owned(), back_after: None });
    let snapshot = seen(&shared).await;
    let usable = snapshot.nodes.iter().filter(|node| node.standing == Standing::ReadWrite).count();
    assert_eq!(usable, 7, "believed to live, but missing from GetMetrics: {:?}", snapshot.nodes);
}
