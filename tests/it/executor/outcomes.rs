//! What becomes of moves, as the distribution shows it and whatever the server says.

use std::time::Duration;

use milvus_rebalancer::execute::operation::OperationState;
use milvus_rebalancer::execute::shared_rereads::SharedRereads;
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::units::{Bytes, CollectionId};
use tokio::time::{Instant, sleep};

use super::fake::{Answer, Fake, Fate, admitted, drive, finish, let_pass, save, unlimited};

fn ended(executor: &Executor) -> Vec<(&'static str, u64)> {
    executor.status().ended.into_iter().collect()
}

/// Polls every half minute of paused time, as the control loop does, until nothing is open.
async fn poll_until_settled(fake: &Fake, executor: &mut Executor) {
    for _ in 0..100 {
        if executor.status().open_operations == 0 {
            return;
        }
        let_pass(executor, Duration::from_secs(30)).await;
        executor.settle(&fake.observation()).await;
    }
    panic!("it never settles");
}

#[tokio::test(start_paused = true)]
async fn success_is_not_believed_until_the_segment_has_left_its_source() {
    let fake = Fake::new(1, 1);
    fake.state().fates.insert(101, Fate::LandsAfter(4));
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    drive(&mut executor, |_| fake.state().reads.len() == 3).await;
    assert_eq!(executor.in_flight().len(), 1, "listed on both nodes");
    finish(&mut executor).await;
    assert_eq!(ended(&executor), [("landed", 1)]);
    assert_eq!(fake.state().reads.len(), 4, "and nobody looks any more");
}

#[tokio::test(start_paused = true)]
async fn a_refused_move_is_refused_and_costs_nothing() {
    let fake = Fake::new(1, 1);
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(101, Fate::Stays);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(ended(&executor), [("refused", 1)]);
    assert_eq!(fake.journalled()[&101], "refused");
    assert_eq!(executor.status().bytes_spent, Bytes::ZERO);
    assert!(executor.departures().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_error_beside_a_move_that_happens_is_a_landing() {
    let fake = Fake::new(1, 1);
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(101, Fate::LandsAfter(2));
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(ended(&executor), [("landed", 1)]);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_lock_the_segment_until_it_is_seen_or_expires() {
    let lost = [Answer::Error(Remedy::OutcomeUnknown), Answer::Never, Answer::Panics];
    for answer in lost {
        let fake = Fake::new(1, 2);
        fake.state().answers.push_back(answer);
        fake.state().fates.insert(101, Fate::Stays);
        let mut executor = fake.executor(ExecuteSettings { calls_in_flight: 1, ..unlimited() });
        executor.offer(vec![admitted(101, 2)], Bytes(1_000));
        let began = Instant::now();
        let_pass(&mut executor, Duration::from_secs(180)).await;
        let state = executor.open_operations().next().map(|operation| operation.state.clone());
        assert_eq!(state, Some(OperationState::Verifying), "{answer:?}");

        // It is planned again, and something else with it: neither goes out.
        executor.offer(vec![admitted(101, 2), admitted(102, 3)], Bytes(1_000));
        assert_eq!(executor.status().queued, 1, "the locked one is left out");
        assert_eq!(executor.limited_by(), Some(Reason::InFlightLimit { limit: 1 }), "and counted");
        executor.offer(Vec::new(), Bytes(1_000));

        poll_until_settled(&fake, &mut executor).await;
        assert_eq!(ended(&executor), [("expired", 1)], "{answer:?}");
        assert!(began.elapsed() >= Duration::from_secs(600));
        assert_eq!(fake.calls().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_landing_is_still_ours() {
    let fake = Fake::new(1, 1);
    fake.state().fates.insert(101, Fate::Stays);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    poll_until_settled(&fake, &mut executor).await;
    assert_eq!(fake.journalled()[&101], "expired");
    assert_eq!(executor.known_moves().len(), 1, "it may come yet");

    fake.state().segments.get_mut(&1).unwrap().insert(101, vec![2]);
    executor.settle(&fake.observation()).await;
    assert_eq!(fake.journalled()[&101], "landed");
    assert_eq!(executor.departures().len(), 1);
    assert_eq!(ended(&executor), [("expired", 1), ("landed", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_second_try_does_not_bring_the_first_one_back() {
    let fake = Fake::new(1, 1);
    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    fake.state().fates.insert(101, Fate::Stays);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    finish(&mut executor).await;
    fake.state().fates.clear();
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    finish(&mut executor).await;
    executor.settle(&fake.observation()).await;
    assert_eq!(ended(&executor), [("landed", 1), ("refused", 1)], "the first one stays refused");
    assert_eq!(executor.departures().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn segments_that_go_elsewhere_or_away_end_so() {
    let fake = Fake::new(1, 2);
    fake.state().fates.extend([(101, Fate::GoesTo(3)), (102, Fate::Vanishes)]);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
    let began = Instant::now();
    finish(&mut executor).await;
    assert_eq!(ended(&executor), [("contradicted", 1), ("superseded", 1)]);
    assert!(began.elapsed() >= Duration::from_secs(5), "a flicker of the listing would not do");
    let departures = executor.departures();
    assert_eq!(departures.len(), 1, "whoever moved it, 101 has left its node and must not return too soon");
    assert_eq!(departures[0].segment.0, 101);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_lands_while_the_next_one_wants_the_segment_elsewhere() {
    let fake = Fake::new(1, 1);
    fake.state().fates.insert(101, Fate::Stays);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    poll_until_settled(&fake, &mut executor).await;

    fake.state().answers.push_back(Answer::Error(Remedy::Replan));
    executor.offer(vec![admitted(101, 3)], Bytes(1_000));
    finish(&mut executor).await;
    assert_eq!(ended(&executor), [("expired", 1), ("refused", 1)]);
    assert_eq!(executor.setbacks().len(), 2);

    fake.state().segments.get_mut(&1).unwrap().insert(101, vec![2]);
    executor.settle(&fake.observation()).await;
    assert_eq!(ended(&executor), [("expired", 1), ("landed", 1), ("refused", 1)]);
    assert_eq!(executor.departures().len(), 1);
    assert_eq!(executor.setbacks().len(), 1, "the first came to something after all");
}

#[tokio::test(start_paused = true)]
async fn when_nothing_can_be_read_the_polls_go_on_looking() {
    let fake = Fake::new(1, 1);
    fake.state().reads_fail = true;
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    let_pass(&mut executor, Duration::from_secs(90)).await;
    assert_eq!(executor.in_flight().len(), 1);
    executor.settle(&fake.observation()).await;
    assert_eq!(ended(&executor), [("landed", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_from_before_the_call_says_nothing_about_it() {
    let fake = Fake::new(1, 1);
    fake.state().segments.get_mut(&1).unwrap().insert(101, vec![2]);
    let before = fake.observation();
    fake.state().segments.get_mut(&1).unwrap().insert(101, vec![1]);
    fake.state().fates.insert(101, Fate::LandsAfter(30));
    sleep(Duration::from_secs(1)).await;
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    drive(&mut executor, |executor| executor.status().calls_sent == 1).await;
    executor.settle(&before).await;
    assert_eq!(executor.in_flight().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_cannot_be_written_stops_all_calls_until_it_can() {
    let fake = Fake::new(2, 1);
    let mut executor = fake.executor(unlimited());
    let other = rusqlite::Connection::open(&fake.journal_path).unwrap();
    other.execute_batch("ALTER TABLE operations RENAME TO hidden").unwrap();
    executor.offer(vec![admitted(101, 2), admitted(201, 2)], Bytes(1_000));
    tokio::time::timeout(Duration::from_secs(60), executor.next_event()).await.ok();
    assert!(fake.calls().is_empty());
    let Some(Reason::JournalUnavailable { detail }) = executor.limited_by() else { panic!("it must say so") };
    assert!(detail.contains("cannot record the intent in the journal"), "{detail}");

    other.execute_batch("ALTER TABLE hidden RENAME TO operations").unwrap();
    finish(&mut executor).await;
    assert_eq!(fake.calls().len(), 2);
    assert_eq!((executor.limited_by(), executor.status().journal_failure), (None, None));
    assert_eq!(fake.state().violations, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cancelled_at_any_point_loses_and_doubles_nothing() {
    let fake = Fake::new(10, 2);
    fake.state().fates.extend((1..=10).map(|collection| (collection * 100 + 1, Fate::LandsAfter(3))));
    let mut executor = fake.executor(unlimited());
    let moves = (1..=10).flat_map(|collection| [collection * 100 + 1, collection * 100 + 2]);
    executor.offer(moves.map(|segment| admitted(segment, 2)).collect(), Bytes(1_000));
    let mut patience = 0;
    while executor.status().queued > 0 || executor.status().open_operations > 0 {
        // Cancelled after 0, 1, 2 … polls of the executor's future.
        patience = (patience + 1) % 7;
        tokio::select! {
            biased;
            () = executor.next_event() => {}
            () = async { for _ in 0..patience { tokio::task::yield_now().await } } => {}
        }
        if patience == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    }
    save(&mut executor).await;
    assert_eq!(fake.calls().len(), 10);
    assert_eq!(ended(&executor), [("landed", 20)]);
    assert_eq!(fake.journalled().len(), 20);
    assert!(fake.journalled().values().all(|state| state == "landed"));
    assert_eq!(fake.state().violations, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn moves_that_are_taken_back_while_their_intent_is_written_are_not_sent() {
    let fake = Fake::new(1, 1);
    let mut executor = fake.executor(unlimited());
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    // One poll begins the writing.
    futures::future::poll_fn(|context| {
        let waiting = std::pin::pin!(executor.next_event());
        assert!(waiting.poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    executor.offer(Vec::new(), Bytes(1_000));
    tokio::time::timeout(Duration::from_secs(60), executor.next_event()).await.ok();
    save(&mut executor).await;
    assert!(fake.calls().is_empty());
    assert_eq!(fake.journalled()[&101], "superseded", "its intent was on disk already");
}

#[tokio::test(start_paused = true)]
async fn one_read_serves_all_who_asked_before_it_began() {
    let fake = Fake::new(2, 1);
    fake.state().read_takes = Duration::from_secs(1);
    let rereads = SharedRereads::new(fake.clone());
    let began = Instant::now();
    let ask = |collection: i64, after: u64| {
        let rereads = rereads.clone();
        async move {
            sleep(Duration::from_millis(after)).await;
            rereads.reread("default", "c1", CollectionId(collection)).await.unwrap();
            began.elapsed().as_millis()
        }
    };
    // The first read starts at 0; 2 to 4 come while it runs and share the second; collection 2 has its own.
    let answered = tokio::join!(ask(1, 0), ask(1, 100), ask(1, 200), ask(1, 900), ask(2, 300), ask(1, 2_500));
    assert_eq!(answered, (1_000, 2_000, 2_000, 2_000, 1_300, 3_500));
    assert_eq!(fake.state().reads.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_breaks_leaves_nobody_waiting() {
    let fake = Fake::new(1, 1);
    let rereads = SharedRereads::new(fake.clone());
    // The fake panics over a collection that it does not have.
    let error = rereads.reread("default", "c9", CollectionId(9)).await.unwrap_err();
    assert!(error.to_string().contains("collection 9"), "{error}");
    rereads.reread("default", "c1", CollectionId(1)).await.unwrap_err();
}
