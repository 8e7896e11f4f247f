//! Ends and new beginnings of the daemon: nothing that was sent is forgotten.

use std::time::Duration;

use milvus_rebalancer::execute::operation::OperationState;
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::model::Actor;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::{Bytes, NodeId, Ratio, SegmentId};
use tokio::time::{Instant, sleep};

use super::fake::{Answer, Fake, Fate, admitted, drive, finish, unlimited};

#[tokio::test(start_paused = true)]
async fn a_new_start_finds_what_was_under_way() {
    let fake = Fake::new(3, 1);
    fake.state().answers.extend([Answer::Never, Answer::Success, Answer::Success]);
    fake.state().fates.extend([(101, Fate::LandsAfter(1_000)), (201, Fate::Stays)]);
    let mut executor = fake.executor(unlimited());
    let moves = [101, 201, 301].map(|segment| admitted(segment, 2));
    executor.offer(moves.to_vec(), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().open_operations == 2 && executor.status().queued == 0)
        .await;
    drop(executor);

    sleep(Duration::from_secs(20)).await;
    let mut executor = fake.executor(unlimited());
    executor.recover().await.unwrap();
    let states: Vec<_> = executor.open_operations().map(|operation| operation.state.clone()).collect();
    assert_eq!(states, [OperationState::Verifying, OperationState::Verifying]);
    assert_eq!(executor.departures().len(), 1, "that of segment 301");
    assert_eq!(executor.known_moves().len(), 3);
    let landed: Vec<_> =
        executor.landed_moves().iter().map(|landed| (landed.segment, landed.actor)).collect();
    assert_eq!(landed, [(SegmentId(301), Actor::Daemon)], "only what has ended");
    executor.offer(moves.to_vec(), Bytes(1_000));
    assert_eq!(executor.status().queued, 1, "what is open is not sent again");
    executor.offer(Vec::new(), Bytes(1_000));

    let mut landed = fake.observation();
    landed.collections[0].segments.as_mut().unwrap()[0].nodes = vec![NodeId(2)];
    executor.settle(&landed).await;
    assert_eq!(executor.open_operations().count(), 1);
    assert_eq!(fake.journalled()[&101], "landed");

    sleep(Duration::from_secs(600)).await;
    executor.settle(&fake.observation()).await;
    assert_eq!(fake.journalled()[&201], "expired", "counted from the sending, not from the restart");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_from_sent_counts_as_sent() {
    let fake = Fake::new(1, 1);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    finish(&mut executor).await;
    drop(executor);
    let client = rusqlite::Connection::open(&fake.journal_path).unwrap();
    client.execute_batch("UPDATE operations SET state = 'admitted', sent_at = NULL").unwrap();

    let mut executor = fake.executor(unlimited());
    executor.recover().await.unwrap();
    assert_eq!(executor.open_operations().next().unwrap().state, OperationState::Verifying);
    assert_eq!(fake.journalled()[&101], "verifying");
}

#[tokio::test(start_paused = true)]
async fn rates_and_budgets_survive_a_restart() {
    let limited = || ExecuteSettings { calls_per_minute: 2, ..unlimited() };
    let fake = Fake::new(4, 1);
    let mut executor = fake.executor(limited());
    executor.offer(vec![admitted(101, 2), admitted(201, 2)], Bytes(1_000));
    finish(&mut executor).await;
    drop(executor);

    let mut executor = fake.executor(limited());
    executor.recover().await.unwrap();
    assert_eq!(executor.status().bytes_spent, Bytes(200));
    executor.offer(vec![admitted(301, 2)], Bytes(1_000));
    assert_eq!(executor.limited_by(), Some(Reason::CallRate { per_minute: 2 }));
    finish(&mut executor).await;
    {
        let calls = &fake.state().calls;
        assert!(calls[2].0 - calls[0].0 > Duration::from_secs(60));
    }
    drop(executor);

    let daily = ExecuteSettings { bytes_per_day: Ratio(300_000), ..unlimited() };
    let mut executor = fake.executor(daily);
    executor.recover().await.unwrap();
    executor.offer(vec![admitted(401, 2)], Bytes(1_000));
    assert_eq!(executor.limited_by(), Some(Reason::DailyBytes { limit: Bytes(300) }));
}

async fn with_two_calls_out(fake: &std::sync::Arc<Fake>, answers: [Answer; 2]) -> Executor {
    fake.state().answers.extend(answers);
    fake.state().fates.extend([(101, Fate::LandsAfter(50)), (201, Fate::LandsAfter(50))]);
    let settings = ExecuteSettings { calls_in_flight: 2, ..unlimited() };
    let mut executor = fake.executor(settings);
    executor.offer([101, 201, 301].map(|segment| admitted(segment, 2)).to_vec(), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 2).await;
    executor
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_running_calls_finish_and_sends_no_more() {
    let fake = Fake::new(3, 1);
    let slow = Answer::SuccessAfter(Duration::from_secs(20));
    let mut executor = with_two_calls_out(&fake, [slow, Answer::Success]).await;
    let began = Instant::now();
    executor.stop().await;
    assert!(began.elapsed() >= Duration::from_secs(19) && began.elapsed() < Duration::from_secs(30));
    assert_eq!(fake.calls().len(), 2);
    assert_eq!(executor.limited_by(), Some(Reason::Stopping));
    executor.offer(vec![admitted(301, 2)], Bytes(1_000));
    assert_eq!(executor.status().queued, 0);
    let states: Vec<String> = fake.journalled().into_values().collect();
    assert_eq!(states, ["verifying", "verifying"], "open, and not forgotten");
}

#[tokio::test(start_paused = true)]
async fn stopping_has_a_limit() {
    let fake = Fake::new(3, 1);
    let mut executor = with_two_calls_out(&fake, [Answer::Never, Answer::Success]).await;
    let began = Instant::now();
    executor.stop().await;
    assert_eq!(began.elapsed().as_secs(), 30, "stop_timeout");
    assert_eq!(fake.journalled().into_values().collect::<Vec<_>>(), ["sent", "verifying"]);
}
