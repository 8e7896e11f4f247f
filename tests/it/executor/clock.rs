//! Somebody sets the machine's clock, both ways: what is under way and what was spent does not notice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::{Bytes, Ratio};
use tokio::time::{Instant, sleep};

use super::fake::{Fake, Fate, admitted, drive, finish, let_pass, unlimited};

/// A year ahead and a year back.
const STEPS: [i64; 2] = [365 * 86_400, -365 * 86_400];

fn step(fake: &Fake, seconds: i64) {
    fake.stepped.fetch_add(seconds, Ordering::Relaxed);
}

async fn poll(fake: &Arc<Fake>, executor: &mut Executor, times: u32) {
    for _ in 0..times {
        let_pass(executor, Duration::from_secs(30)).await;
        executor.settle(&fake.observation()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_operation_is_waited_for_as_long_as_ever() {
    for seconds in STEPS {
        let fake = Fake::new(1, 2);
        fake.state().fates.extend([(101, Fate::Stays), (102, Fate::LandsAfter(100_000))]);
        let mut executor = fake.executor(unlimited());
        executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
        let began = Instant::now();
        drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
        step(&fake, seconds);
        poll(&fake, &mut executor, 10).await;
        assert_eq!(executor.open_operations().count(), 2, "nothing is over too soon");
        fake.state().segments.get_mut(&1).unwrap().insert(102, vec![2]);
        fake.state().forget_moves();
        poll(&fake, &mut executor, 1).await;
        assert_eq!(fake.journalled()[&102], "landed", "and a landing is seen at the first look");
        while executor.open_operations().count() > 0 {
            poll(&fake, &mut executor, 1).await;
            assert!(began.elapsed() < Duration::from_secs(700), "nor is it kept for ever");
        }
        assert_eq!(fake.journalled()[&101], "expired");

        let departure = &executor.departures()[0];
        let age = fake.now().duration_since(departure.at).as_secs();
        assert!((0..=700).contains(&age), "the gates are told times by the calendar as it is now: {age} s");
        let setback = executor.setbacks()[0];
        assert!((0..=60).contains(&fake.now().duration_since(setback.at).as_secs()));
    }
}

#[tokio::test(start_paused = true)]
async fn rates_and_budgets_neither_come_free_nor_freeze() {
    let hour = Duration::from_secs(3_600);
    let minute = ExecuteSettings { calls_per_minute: 2, ..unlimited() };
    let moves = ExecuteSettings { moves_per_hour: 2, ..unlimited() };
    let bytes = ExecuteSettings { bytes_per_day: Ratio(200_000), ..unlimited() };
    let rate = ExecuteSettings { bytes_per_second: Bytes(1), bytes_per_call: Bytes(100), ..unlimited() };
    for seconds in STEPS {
        for (settings, window) in [
            (minute.clone(), Duration::from_secs(60)),
            (moves.clone(), hour),
            (bytes.clone(), 24 * hour),
            (rate.clone(), Duration::from_secs(100)),
        ] {
            let fake = Fake::new(3, 1);
            let mut executor = fake.executor(settings);
            executor.offer([101, 201, 301].map(|segment| admitted(segment, 2)).to_vec(), Bytes(1_000));
            drive(&mut executor, |executor| executor.limited_by().is_some()).await;
            step(&fake, seconds);
            let before = executor.status().queued;
            assert!(executor.limited_by().is_some() && before > 0, "a step of {seconds} s frees nothing");
            finish(&mut executor).await;
            let state = fake.state();
            let waited = state.calls[2].0 - state.calls[0].0;
            assert!(
                waited >= window && waited < window * 2 + Duration::from_secs(5),
                "{waited:?} of {window:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_between_two_starts_frees_nothing_and_freezes_nothing_for_good() {
    let daily = || ExecuteSettings { calls_per_minute: 2, bytes_per_day: Ratio(200_000), ..unlimited() };
    let fake = Fake::new(3, 1);
    let mut executor = fake.executor(daily());
    executor.offer(vec![admitted(101, 2), admitted(201, 2)], Bytes(1_000));
    finish(&mut executor).await;
    drop(executor);

    step(&fake, -365 * 86_400);
    let mut executor = fake.executor(daily());
    executor.recover().await.unwrap();
    assert_eq!(executor.status().bytes_spent, Bytes(200), "it happened just now, at the latest");
    executor.offer(vec![admitted(301, 2)], Bytes(1_000));
    assert_eq!(executor.limited_by(), Some(Reason::CallRate { per_minute: 2 }));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(executor.limited_by(), Some(Reason::DailyBytes { limit: Bytes(200) }));
    sleep(Duration::from_secs(86_400)).await;
    finish(&mut executor).await;
    assert_eq!(fake.calls().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_operation_from_before_a_step_back_and_a_restart_expires_in_its_time() {
    let fake = Fake::new(1, 1);
    fake.state().fates.insert(101, Fate::Stays);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    let_pass(&mut executor, Duration::from_secs(5)).await;
    drop(executor);

    step(&fake, -10 * 86_400);
    let mut executor = fake.executor(unlimited());
    executor.recover().await.unwrap();
    poll(&fake, &mut executor, 19).await;
    assert_eq!(fake.journalled()[&101], "verifying", "for all that is known it was sent at the start");
    poll(&fake, &mut executor, 2).await;
    assert_eq!(fake.journalled()[&101], "expired");
}
