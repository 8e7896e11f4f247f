//! The guard from end to end: the real control loop on a simulated cluster that becomes slow when segments move.

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::execute::MoveCall;
use milvus_rebalancer::execute::Mover;
use milvus_rebalancer::milvus::MilvusError;
use milvus_rebalancer::observe::SeamFuture;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::faults::Fault;
use milvus_rebalancer::sim::{SharedWorld, SimMover, SimObserver};

use crate::waves::{Daemon, HOUR, MINUTE, uneven};

/// Makes every machine so many times slower as soon as something moves, for so long.
struct HeavyHand {
    inner: SimMover,
    world: SharedWorld,
    factor: f64,
    lasts: Duration,
}

impl Mover for HeavyHand {
    fn load_balance<'a>(&'a self, call: &'a MoveCall) -> SeamFuture<'a, Result<(), MilvusError>> {
        {
            let mut world = self.world.lock();
            let now = world.now();
            let hostnames: Vec<String> = world.nodes().values().map(|node| node.hostname.clone()).collect();
            for hostname in hostnames {
                world.schedule(now, Fault::Slow { hostname: hostname.clone(), factor: self.factor });
                world.schedule(now + self.lasts, Fault::Slow { hostname, factor: 1.0 });
            }
        }
        self.inner.load_balance(call)
    }
}

fn start(world: &SharedWorld, folder: &std::path::Path, factor: f64) -> Daemon {
    let mover = HeavyHand {
        inner: SimMover::new(world.clone(), Duration::from_secs(150)),
        world: world.clone(),
        factor,
        lasts: 10 * MINUTE,
    };
    Daemon::start_with(world, folder, Arc::new(SimObserver::new(world.clone(), true)), Arc::new(mover))
}

#[tokio::test(start_paused = true)]
async fn a_wave_that_slows_searches_down_is_followed_by_a_hold() {
    let (world, folder) = (uneven(1), tempfile::tempdir().unwrap());
    let daemon = start(&world, folder.path(), 3.0);
    let mut state = daemon.state.clone();
    let slowed = |limit: &Option<Reason>| matches!(limit, Some(Reason::UsersSlowed { .. }));
    let held = tokio::time::timeout(
        HOUR,
        state.wait_for(|state| state.last.as_ref().is_some_and(|last| slowed(&last.limited_by))),
    );
    let state_at_hold = held.await.expect("never held").unwrap().clone();
    let limit = state_at_hold.last.unwrap().limited_by.clone();
    let Some(Reason::UsersSlowed { now, usual, .. }) = limit else { panic!("{limit:?}") };
    assert!(now > usual * 3 / 2, "{now} against {usual}");
    assert_eq!(daemon.metric("guard_held"), 1.0);
    assert!(daemon.metric("guard_search_latency_seconds") > 0.0);
    let calls = state_at_hold.executor.calls_sent;
    assert!((1..=3).contains(&calls), "{calls} calls before it was noticed");
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(daemon.state.borrow().executor.calls_sent, calls, "moved on while users waited");

    // When they do not wait any more, it goes on.
    let mut state = daemon.state.clone();
    let more = tokio::time::timeout(HOUR, state.wait_for(|state| state.executor.calls_sent > calls));
    more.await.expect("never went on").unwrap();
    daemon.kill().await;
}

#[tokio::test(start_paused = true)]
async fn moves_that_nobody_feels_are_never_held() {
    let (world, folder) = (uneven(2), tempfile::tempdir().unwrap());
    let daemon = start(&world, folder.path(), 1.0);
    for _ in 0..60 {
        tokio::time::sleep(MINUTE).await;
        assert_eq!(daemon.metric("guard_held"), 0.0);
    }
    assert!(daemon.state.borrow().ended_count > 5);
    daemon.kill().await;
}
