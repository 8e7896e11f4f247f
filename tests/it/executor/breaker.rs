//! When calls fail one after the other, everything stops, and one move shows when it may go on.

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::execute::{BreakerSettings, ExecuteSettings, Executor};
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::model::Blame;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::Bytes;
use tokio::time::{Instant, sleep};

use super::fake::{Answer, Fake, Fate, admitted, drive, finish, let_pass, unlimited};

/// Three failures open it for a minute.
fn fragile() -> ExecuteSettings {
    let minute = Duration::from_secs(60);
    let breaker =
        BreakerSettings { failures: 3, within: 10 * minute, pause: minute, longest_pause: 60 * minute };
    ExecuteSettings { breaker, ..unlimited() }
}

/// One segment of each of so many collections; the first `bad` calls are refused.
async fn after_failures(bad: i64) -> (Arc<Fake>, Executor) {
    let fake = Fake::new(9, 1);
    for collection in 1..=bad {
        fake.state().answers.push_back(Answer::Error(Remedy::Replan));
        fake.state().fates.insert(collection * 100 + 1, Fate::Stays);
    }
    let mut executor = fake.executor(fragile());
    executor.offer((1..=bad).map(|collection| admitted(collection * 100 + 1, 2)).collect(), Bytes(1_000));
    finish(&mut executor).await;
    (fake, executor)
}

#[tokio::test(start_paused = true)]
async fn it_opens_tries_one_move_and_closes_when_that_has_landed() {
    let (fake, mut executor) = after_failures(3).await;
    let opened = Instant::now();
    assert_eq!(executor.status().breaker, "open");
    fake.state().fates.insert(401, Fate::LandsAfter(3));
    executor.offer([401, 501, 601].map(|segment| admitted(segment, 2)).to_vec(), Bytes(1_000));
    let Some(Reason::BreakerOpen { remaining }) = executor.limited_by() else { panic!("it says so") };
    assert!(remaining <= Duration::from_secs(60) && remaining > Duration::from_secs(50));
    drive(&mut executor, |_| fake.calls().len() == 4).await;
    assert!(opened.elapsed() >= remaining);
    assert_eq!((executor.limited_by(), executor.status().breaker), (Some(Reason::BreakerTesting), "testing"));
    finish(&mut executor).await;
    assert_eq!(fake.calls().len(), 6, "then all the others go");
    assert_eq!(executor.status().breaker, "closed");
}

#[tokio::test(start_paused = true)]
async fn the_first_move_after_a_pause_is_one_segment() {
    let fake = Fake::new(2, 9);
    fake.state().answers.push_back(Answer::Error(Remedy::FixAccess));
    fake.state().fates.insert(201, Fate::Stays);
    let mut executor = fake.executor(fragile());
    executor.offer(vec![admitted(201, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(executor.status().breaker, "open", "missing rights do not come back by trying");
    executor.offer((101..=109).map(|segment| admitted(segment, 2)).collect(), Bytes(1_000));
    finish(&mut executor).await;
    let sizes: Vec<usize> = fake.calls().iter().map(|(_, _, segments)| segments.len()).collect();
    assert_eq!(sizes, [1, 1, 8]);
}

#[tokio::test(start_paused = true)]
async fn ordinary_ends_are_no_failures() {
    let fake = Fake::new(9, 1);
    fake.state().fates.extend((1..=8).map(|collection| (collection * 100 + 1, Fate::Vanishes)));
    let mut executor = fake.executor(fragile());
    executor.offer((1..=9).map(|collection| admitted(collection * 100 + 1, 2)).collect(), Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(executor.status().ended.get("superseded"), Some(&8));
    assert_eq!(executor.status().breaker, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_restart_neither_closes_nor_forgets_it() {
    let (fake, executor) = after_failures(3).await;
    drop(executor);
    let mut executor = fake.executor(fragile());
    executor.recover().await.unwrap();
    executor.offer(vec![admitted(401, 2)], Bytes(1_000));
    assert!(matches!(executor.limited_by(), Some(Reason::BreakerOpen { .. })));
    // The canary is out when the daemon dies, and fails.
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(401, Fate::Stays);
    finish(&mut executor).await;
    drop(executor);
    let mut executor = fake.executor(fragile());
    executor.recover().await.unwrap();
    executor.offer(vec![admitted(501, 2)], Bytes(1_000));
    let Some(Reason::BreakerOpen { remaining }) = executor.limited_by() else { panic!("it is still open") };
    assert!(remaining > Duration::from_secs(110), "and twice as long as before: {remaining:?}");
    drop(executor);

    sleep(Duration::from_secs(130)).await;
    let (fake, executor) = after_failures(2).await;
    drop(executor);
    let mut executor = fake.executor(fragile());
    executor.recover().await.unwrap();
    assert_eq!(executor.status().breaker, "closed");
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(401, Fate::Stays);
    executor.offer(vec![admitted(401, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(executor.status().breaker, "open", "two before the restart and one after");
}

#[tokio::test(start_paused = true)]
async fn whose_fault_it_was_is_known_after_a_restart_too() {
    let fake = Fake::new(3, 1);
    fake.state().answers.extend([Answer::Full, Answer::Error(Remedy::Replan)]);
    fake.state().fates.extend([(101, Fate::Stays), (201, Fate::Stays)]);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2), admitted(201, 2)], Bytes(1_000));
    finish(&mut executor).await;
    let blames = |executor: &Executor| -> Vec<(i64, Blame)> {
        executor.setbacks().iter().map(|setback| (setback.segment.0, setback.blame)).collect()
    };
    let expected = [(101, Blame::Destination), (201, Blame::Nobody)];
    assert_eq!(blames(&executor), expected);
    drop(executor);
    let mut executor = fake.executor(unlimited());
    executor.recover().await.unwrap();
    assert_eq!(blames(&executor), expected);
}

#[tokio::test(start_paused = true)]
async fn a_canary_that_nobody_can_see_makes_room_for_another_one() {
    let (fake, mut executor) = after_failures(3).await;
    fake.state().reads_fail = true;
    executor.offer([401, 501, 601].map(|segment| admitted(segment, 2)).to_vec(), Bytes(1_000));
    drive(&mut executor, |_| fake.calls().len() == 4).await;
    let_pass(&mut executor, fragile().settle_timeout + Duration::from_secs(1)).await;
    assert_eq!(executor.limited_by(), Some(Reason::BreakerTesting));
    let mut blind = fake.observation();
    blind.collections.iter_mut().for_each(|collection| collection.segments = None);
    executor.settle(&blind).await;
    assert_eq!((executor.limited_by(), executor.open_operations().count()), (None, 1));
    drive(&mut executor, |_| fake.calls().len() == 5).await;
    assert_eq!(executor.limited_by(), Some(Reason::BreakerTesting), "one at a time");
}
