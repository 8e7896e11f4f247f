//! The limits, and that they hold up nothing that they are not about.

use std::time::Duration;

use milvus_rebalancer::execute::{AdmittedMove, ExecuteSettings};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::{Bytes, Ratio};
use tokio::time::Instant;

use super::fake::{Answer, Fake, Fate, admitted, drive, finish, let_pass, unlimited};

/// One move for each of so many collections, to node 2: each needs a call of its own.
fn one_of_each(collections: i64) -> Vec<AdmittedMove> {
    (1..=collections).map(|collection| admitted(collection * 100 + 1, 2)).collect()
}

#[tokio::test(start_paused = true)]
async fn moves_of_one_way_share_a_call_and_the_order_is_kept() {
    let fake = Fake::new(2, 4);
    let mut executor = fake.executor(unlimited());
    let moves = [(101, 2), (201, 3), (102, 2), (103, 4), (202, 3)];
    executor.offer(moves.map(|(segment, to)| admitted(segment, to)).to_vec(), Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(fake.calls(), [(1, 2, vec![101, 102]), (1, 3, vec![201, 202]), (1, 4, vec![103])]);
    assert_eq!(fake.state().violations, Vec::<String>::new());
    let status = executor.status();
    assert_eq!((status.calls_sent, status.ended.get("landed")), (3, Some(&5)));
    assert!(fake.journalled().values().all(|state| state == "landed"));
    assert_eq!(executor.departures().len(), 5);
    assert_eq!(executor.known_moves().len(), 5, "moves that just ended are still known as ours");
    assert_eq!(executor.limited_by(), None);
}

#[tokio::test(start_paused = true)]
async fn calls_are_capped_in_segments_and_bytes() {
    let fake = Fake::new(1, 7);
    let mut executor =
        fake.executor(ExecuteSettings { segments_per_call: 3, bytes_per_call: Bytes(250), ..unlimited() });
    executor.offer((101..=107).map(|segment| admitted(segment, 2)).collect(), Bytes(1_000));
    finish(&mut executor).await;
    let sizes: Vec<usize> = fake.calls().iter().map(|(_, _, segments)| segments.len()).collect();
    assert_eq!(sizes, [2, 2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn no_minute_sees_more_calls_than_the_limit() {
    let fake = Fake::new(20, 1);
    let mut executor = fake.executor(ExecuteSettings { calls_per_minute: 3, ..unlimited() });
    executor.offer(one_of_each(20), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 3).await;
    assert_eq!(executor.limited_by(), Some(Reason::CallRate { per_minute: 3 }));
    finish(&mut executor).await;
    let sent: Vec<Instant> = fake.state().calls.iter().map(|(at, _)| *at).collect();
    assert_eq!(sent.len(), 20);
    for window in sent.windows(4) {
        assert!(window[3] - window[0] > Duration::from_secs(60), "{window:?}");
    }
    assert!(sent[19] - sent[0] < Duration::from_secs(7 * 61), "it does not dawdle");
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_holds_back_for_too_long_is_not_sent_any_more() {
    let fake = Fake::new(20, 1);
    let mut executor = fake.executor(ExecuteSettings { calls_per_minute: 3, ..unlimited() });
    executor.offer(one_of_each(20), Bytes(1_000));
    executor.let_offer_lapse(Instant::now() + Duration::from_secs(90));
    let_pass(&mut executor, Duration::from_secs(600)).await;
    assert_eq!(fake.calls().len(), 6, "three at once, three after a minute, and then the plan is too old");
    assert_eq!(executor.status().queued, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_counted_until_their_moves_have_settled() {
    let fake = Fake::new(6, 2);
    for segment in (101..=601).step_by(100) {
        fake.state().fates.insert(segment, Fate::LandsAfter(5));
    }
    let mut executor = fake.executor(ExecuteSettings { calls_in_flight: 2, ..unlimited() });
    executor.offer(one_of_each(6), Bytes(1_000));
    let mut most = 0;
    drive(&mut executor, |executor| {
        let status = executor.status();
        most = most.max(status.calls_in_flight);
        if status.calls_in_flight == 2 && status.queued > 0 {
            assert_eq!(executor.limited_by(), Some(Reason::InFlightLimit { limit: 2 }));
        }
        status.queued == 0 && status.open_operations == 0
    })
    .await;
    assert_eq!(most, 2);
    assert_eq!(fake.calls().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_busy_node_holds_up_its_own_calls_only() {
    let fake = Fake::new(2, 4);
    fake.state().segments.get_mut(&2).unwrap().insert(201, vec![3]);
    fake.state().answers.push_back(Answer::SuccessAfter(Duration::from_secs(100)));
    let mut executor = fake.executor(ExecuteSettings { calls_in_flight_per_node: 1, ..unlimited() });
    let mut elsewhere = admitted(201, 4);
    elsewhere.movement.from = milvus_rebalancer::units::NodeId(3);
    executor.offer(vec![admitted(101, 2), admitted(102, 4), elsewhere], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().ended.contains_key("landed")).await;
    assert_eq!(fake.calls(), [(1, 2, vec![101]), (3, 4, vec![201])], "the second waits for node 1");
    let reason = Reason::NodeInFlightLimit { node: milvus_rebalancer::units::NodeId(1), limit: 1 };
    assert_eq!(executor.limited_by(), Some(reason));
    finish(&mut executor).await;
    assert_eq!(fake.calls()[2], (1, 4, vec![102]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_holds_up_nothing_else() {
    let fake = Fake::new(5, 1);
    fake.state().answers.push_back(Answer::SuccessAfter(Duration::from_secs(100)));
    fake.state().fates.insert(101, Fate::LandsAfter(3));
    let mut executor = fake.executor(unlimited());
    let began = Instant::now();
    executor.offer(one_of_each(5), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().open_operations == 1).await;
    assert!(began.elapsed() < Duration::from_secs(10), "the other four have landed meanwhile");
    assert_eq!(executor.in_flight()[0].segment.0, 101);
    finish(&mut executor).await;
}

#[tokio::test(start_paused = true)]
async fn one_way_never_has_two_unanswered_calls() {
    let fake = Fake::new(1, 2);
    fake.state().answers.push_back(Answer::SuccessAfter(Duration::from_secs(50)));
    let mut executor = fake.executor(ExecuteSettings { segments_per_call: 1, ..unlimited() });
    executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
    finish(&mut executor).await;
    let state = fake.state();
    assert!(state.calls[1].0 - state.calls[0].0 >= Duration::from_secs(50));
}

#[tokio::test(start_paused = true)]
async fn the_daily_bytes_come_free_after_24_hours() {
    let fake = Fake::new(4, 1);
    // A quarter of 1,000 bytes: two segments of 100.
    let mut executor = fake.executor(ExecuteSettings { bytes_per_day: Ratio(250_000), ..unlimited() });
    executor.offer(one_of_each(4), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 2).await;
    assert_eq!(executor.limited_by(), Some(Reason::DailyBytes { limit: Bytes(250) }));
    assert_eq!(executor.status().bytes_spent, Bytes(200));
    finish(&mut executor).await;
    let state = fake.state();
    let day = Duration::from_secs(24 * 3_600);
    assert!(state.calls[2].0 - state.calls[0].0 >= day);
    assert!(state.calls[2].0 - state.calls[0].0 < day + Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn one_segment_a_day_goes_however_large_it_is() {
    let fake = Fake::new(2, 1);
    let mut executor = fake.executor(ExecuteSettings { bytes_per_day: Ratio(1), ..unlimited() });
    executor.offer(one_of_each(2), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    assert_eq!(executor.limited_by(), Some(Reason::DailyBytes { limit: Bytes(1) }));
}

#[tokio::test(start_paused = true)]
async fn without_a_mover_nothing_is_ever_sent() {
    use std::sync::Arc;
    let fake = Fake::new(1, 1);
    let observer = Arc::clone(&fake);
    let clock = Arc::clone(&fake.clock);
    let mut executor =
        milvus_rebalancer::execute::Executor::new(unlimited(), None, observer, fake.journal(), clock);
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    assert_eq!((executor.status().queued, executor.limited_by()), (0, Some(Reason::AdviseOnly)));
    let waited = tokio::time::timeout(Duration::from_secs(3_600), executor.next_event()).await;
    assert!(waited.is_err(), "nothing ever happens");
    assert!(fake.calls().is_empty() && fake.journalled().is_empty());
}
