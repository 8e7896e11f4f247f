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
async fn a_drain_waits_for_no_daily_budget_and_not_behind_those_who_do_but_for_every_other_limit() {
    let fake = Fake::new(4, 1);
    fake.state().segments.get_mut(&4).unwrap().insert(401, vec![3]);
    let mut drained = admitted(401, 4);
    drained.movement.from = milvus_rebalancer::units::NodeId(3);
    let settings = ExecuteSettings { bytes_per_day: Ratio(100_000), moves_per_day: 1, ..unlimited() };
    let mut executor = fake.executor(settings.clone());
    executor.note_drains([milvus_rebalancer::units::NodeId(3)].into());
    executor.offer([one_of_each(3), vec![drained.clone()]].concat(), Bytes(1_000));
    drive(&mut executor, |_| fake.calls().len() == 2).await;
    assert_eq!(fake.calls(), [(1, 2, vec![101]), (3, 4, vec![401])]);
    assert_eq!(executor.status().bytes_spent, Bytes(200), "it is counted all the same");
    assert!(matches!(executor.limited_by(), Some(Reason::DailyMoves { .. } | Reason::DailyBytes { .. })));

    let fake = Fake::new(4, 1);
    fake.state().segments.get_mut(&4).unwrap().insert(401, vec![3]);
    let mut executor = fake.executor(ExecuteSettings { moves_per_hour: 1, ..settings });
    executor.note_drains([milvus_rebalancer::units::NodeId(3)].into());
    executor.offer(vec![admitted(101, 2), drained], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    let_pass(&mut executor, Duration::from_secs(3_000)).await;
    assert_eq!(fake.calls().len(), 1, "an hour has one move");
    let_pass(&mut executor, Duration::from_secs(1_000)).await;
    assert_eq!(fake.calls().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_segment_a_day_goes_however_large_it_is() {
    let fake = Fake::new(2, 1);
    let mut executor = fake.executor(ExecuteSettings { bytes_per_day: Ratio(1), ..unlimited() });
    executor.offer(one_of_each(2), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    assert_eq!(executor.limited_by(), Some(Reason::DailyBytes { limit: Bytes(1) }));
}

/// The most moves on their way at once while all that was offered is sent, and what held the next ones back.
async fn most_at_once(
    fake: &Fake,
    settings: ExecuteSettings,
    moves: Vec<AdmittedMove>,
    of: impl Fn(&milvus_rebalancer::model::InFlight) -> bool,
) -> (usize, std::collections::BTreeSet<&'static str>) {
    let (mut most, mut reasons) = (0, std::collections::BTreeSet::new());
    for movement in &moves {
        fake.state().fates.insert(movement.movement.segment.0, Fate::LandsAfter(3));
    }
    let mut executor = fake.arc().executor(settings);
    executor.offer(moves, Bytes(1_000));
    drive(&mut executor, |executor| {
        most = most.max(executor.in_flight().iter().filter(|flight| of(flight)).count());
        reasons.extend(executor.limited_by().map(|reason| reason.code()));
        let status = executor.status();
        status.queued == 0 && status.open_operations == 0
    })
    .await;
    assert_eq!(executor.status().ended.len(), 1, "all of them landed in the end");
    (most, reasons)
}

#[tokio::test(start_paused = true)]
async fn moves_in_flight_are_limited_in_all_and_by_where_they_go() {
    let three = || ExecuteSettings { segments_per_call: 2, ..unlimited() };
    // Nodes 2 and 3 take five segments each from node 1, of two collections.
    let moves = || -> Vec<AdmittedMove> {
        (1..=5).flat_map(|number| [admitted(100 + number, 2), admitted(200 + number, 3)]).collect()
    };
    let total = ExecuteSettings { moves_in_flight: 3, ..three() };
    let (most, reasons) = most_at_once(&Fake::new(2, 5), total, moves(), |_| true).await;
    assert_eq!((most, reasons.contains("moves_in_flight")), (3, true), "{reasons:?}");

    let source = ExecuteSettings { moves_in_flight_per_source: 3, ..three() };
    let (most, reasons) = most_at_once(&Fake::new(2, 5), source, moves(), |_| true).await;
    assert_eq!((most, reasons.contains("source_moves_in_flight")), (3, true), "{reasons:?}");

    let destination = ExecuteSettings { moves_in_flight_per_destination: 1, ..three() };
    let to_2 = |flight: &milvus_rebalancer::model::InFlight| flight.to.0 == 2;
    let (most, reasons) = most_at_once(&Fake::new(2, 5), destination.clone(), moves(), to_2).await;
    assert_eq!((most, reasons.contains("destination_moves_in_flight")), (1, true), "{reasons:?}");
    let (most, _) = most_at_once(&Fake::new(2, 5), destination, moves(), |_| true).await;
    assert_eq!(most, 2, "the other destination is not held up");

    let collection = ExecuteSettings { moves_in_flight_per_collection: 1, ..three() };
    let of_1 = |flight: &milvus_rebalancer::model::InFlight| flight.collection.0 == 1;
    let (most, reasons) = most_at_once(&Fake::new(2, 5), collection, moves(), of_1).await;
    assert_eq!((most, reasons.contains("collection_moves_in_flight")), (1, true), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn bytes_a_second_are_kept_over_any_time() {
    let fake = Fake::new(10, 4);
    // Calls of two segments, which is a bucketful; it fills in 20 seconds.
    let settings = ExecuteSettings { bytes_per_second: Bytes(10), bytes_per_call: Bytes(200), ..unlimited() };
    let mut executor = fake.executor(settings);
    let moves =
        (1..=10).flat_map(|collection| (1..=4).map(move |number| admitted(collection * 100 + number, 2)));
    executor.offer(moves.collect(), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    assert_eq!(executor.limited_by(), Some(Reason::ByteRate { per_second: Bytes(10) }));
    finish(&mut executor).await;
    let state = fake.state();
    let sent: Vec<(Instant, u64)> =
        state.calls.iter().map(|(at, call)| (*at, call.segments().len() as u64 * 100)).collect();
    assert_eq!(sent.len(), 20, "a bucketful each");
    for (first, (from, _)) in sent.iter().enumerate() {
        let mut total = 0;
        for (until, bytes) in &sent[first..] {
            total += bytes;
            assert!(total <= 200 + (*until - *from).as_secs() * 10, "{sent:?}");
        }
    }
    assert!(sent[19].0 - sent[0].0 < Duration::from_secs(19 * 21), "it does not dawdle");
}

#[tokio::test(start_paused = true)]
async fn moves_and_bytes_an_hour_and_moves_a_day_are_kept() {
    let hour = Duration::from_secs(3_600);
    let by_moves = ExecuteSettings { moves_per_hour: 3, ..unlimited() };
    let by_bytes = ExecuteSettings { bytes_per_hour: Ratio(300_000), ..unlimited() };
    let by_day = ExecuteSettings { moves_per_day: 3, ..unlimited() };
    for (settings, window, reason) in [
        (by_moves, hour, Reason::HourlyMoves { limit: 3 }),
        (by_bytes, hour, Reason::HourlyBytes { limit: Bytes(300) }),
        (by_day, 24 * hour, Reason::DailyMoves { limit: 3 }),
    ] {
        let fake = Fake::new(2, 4);
        let mut executor = fake.executor(settings);
        let moves = (1..=4).flat_map(|number| [admitted(100 + number, 2), admitted(200 + number, 2)]);
        executor.offer(moves.take(6).collect(), Bytes(1_000));
        drive(&mut executor, |executor| executor.status().queued == 3).await;
        assert_eq!(executor.limited_by(), Some(reason.clone()));
        finish(&mut executor).await;
        let state = fake.state();
        let mut sent: Vec<Instant> = Vec::new();
        for (at, call) in &state.calls {
            sent.extend(call.segments().iter().map(|_| *at));
        }
        assert_eq!(sent.len(), 6);
        for moves in sent.windows(4) {
            assert!(moves[3] - moves[0] >= window, "{reason:?}: {sent:?}");
        }
        assert!(sent[5] - sent[0] < window + Duration::from_secs(5), "{reason:?}: {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_limit_tells_how_much_of_it_is_used() {
    let fake = Fake::new(1, 3);
    for segment in 101..=103 {
        fake.state().fates.insert(segment, Fate::LandsAfter(50));
    }
    let settings = ExecuteSettings { bytes_per_day: Ratio(500_000), moves_per_hour: 9, ..unlimited() };
    let mut executor = fake.executor(settings);
    executor.offer((101..=103).map(|segment| admitted(segment, 2)).collect(), Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    let used: std::collections::BTreeMap<&str, (u64, u64)> =
        executor.status().limits.iter().map(|limit| (limit.name, (limit.used, limit.limit))).collect();
    assert_eq!(used["calls_in_flight"], (1, 0));
    assert_eq!(used["calls_in_flight_per_node"], (1, 0));
    for name in ["moves_in_flight", "moves_in_flight_per_source", "moves_in_flight_per_collection"] {
        assert_eq!(used[name], (3, 0), "{name}");
    }
    assert_eq!(used["moves_per_hour"], (3, 9));
    assert_eq!(used["bytes_per_day"], (300, 500));
    assert_eq!(used.len(), 12, "all that the configuration has");
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

/// While an intent is being written a turn can find that nothing is to be sent for now.
#[tokio::test(start_paused = true)]
async fn what_holds_all_holds_a_call_whose_intent_is_being_written() {
    let fake = Fake::new(1, 2);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
    {
        // Somebody else writes, so ours waits.
        let other = rusqlite::Connection::open(&fake.journal_path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        assert!(futures::poll!(std::pin::pin!(executor.next_event())).is_pending());
        executor.hold(Some(Reason::Pinned));
        other.execute_batch("COMMIT").unwrap();
    }
    let_pass(&mut executor, Duration::from_secs(10)).await;
    assert_eq!(fake.calls(), []);
    assert!(fake.journalled().values().all(|state| state == "superseded"), "{:?}", fake.journalled());
    executor.hold(None);
    executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(fake.calls(), [(1, 2, vec![101, 102])]);
}
