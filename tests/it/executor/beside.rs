//! A daemon and a person want the same segment in the same second: the journal decides, and one of them gets it.

use std::time::Duration;

use milvus_rebalancer::execute::Executor;
use milvus_rebalancer::execute::manual::{ManualOutcome, ManualPlan, execute};
use milvus_rebalancer::kill_switch::KillSwitch;
use milvus_rebalancer::units::Bytes;
use tokio::time::timeout;

use super::fake::{Fake, Fate, admitted, drive, finish, unlimited};
use std::sync::Arc;

/// What a person asked for, and the daemon's own work beside it.
async fn both(fake: &Arc<Fake>, segments: &[i64], to: i64, daemon: &mut Executor) -> Vec<ManualOutcome> {
    let moves = segments.iter().map(|segment| admitted(*segment, to)).collect();
    let plan = ManualPlan { moves, staying: Vec::new() };
    let settings = unlimited();
    let by_hand = execute(plan, None, &settings, fake.tools(KillSwitch::default()));
    tokio::pin!(by_hand);
    loop {
        tokio::select! {
            outcomes = &mut by_hand => return outcomes.unwrap(),
            () = daemon.next_event() => {}
        }
    }
}

fn calls_for(fake: &Fake, segment: i64) -> usize {
    fake.calls().iter().filter(|(_, _, segments)| segments.contains(&segment)).count()
}

#[tokio::test(start_paused = true)]
async fn what_the_daemon_moves_is_not_moved_by_hand() {
    let fake = Fake::new(1, 3);
    fake.state().fates.insert(101, Fate::LandsAfter(20));
    let mut daemon = fake.executor(unlimited());
    daemon.offer(vec![admitted(101, 2)], Bytes(1_000));
    drive(&mut daemon, |_| fake.calls().len() == 1).await;

    let outcomes = both(&fake, &[101, 102], 3, &mut daemon).await;
    let sentences: Vec<String> = outcomes.iter().map(ManualOutcome::sentence).collect();
    assert_eq!(sentences[0], "segment 101: not moved: the segment is on its way already");
    assert_eq!(sentences[1], "segment 102: moved from node 1 to node 3", "the rest of its call goes");
    let outcomes = both(&fake, &[101], 3, &mut daemon).await;
    assert!(outcomes[0].sentence().contains("on its way already"), "a call of nothing is none");
    finish(&mut daemon).await;
    assert_eq!(calls_for(&fake, 101), 1);
    assert_eq!(fake.state().violations, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn in_the_same_second_one_of_the_two_gets_it() {
    for rotation in 0..4 {
        let fake = Fake::new(1, 4);
        fake.state().fates.extend((101..=104).map(|segment| (segment, Fate::LandsAfter(3))));
        let mut daemon = fake.executor(unlimited());
        daemon.offer((101..=104).map(|segment| admitted(segment, 2)).collect(), Bytes(1_000));
        // The daemon gets a head start of so many polls of its future.
        for _ in 0..rotation {
            timeout(Duration::ZERO, daemon.next_event()).await.ok();
        }
        both(&fake, &[104, 102, 101, 103], 3, &mut daemon).await;
        finish(&mut daemon).await;
        for segment in 101..=104 {
            assert_eq!(calls_for(&fake, segment), 1, "segment {segment}, head start {rotation}");
        }
        assert_eq!(fake.state().violations, Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_person_moves_is_left_alone_by_a_daemon_that_has_not_noticed_yet() {
    let fake = Fake::new(1, 2);
    fake.state().fates.insert(101, Fate::LandsAfter(30));
    let mut daemon = fake.executor(unlimited());
    let by_hand = {
        let fake = Arc::clone(&fake);
        tokio::spawn(async move {
            let plan = ManualPlan { moves: vec![admitted(101, 3)], staying: Vec::new() };
            execute(plan, None, &unlimited(), fake.tools(KillSwitch::default())).await.unwrap()
        })
    };
    while fake.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    daemon.offer(vec![admitted(101, 2), admitted(102, 2)], Bytes(1_000));
    finish(&mut daemon).await;
    assert_eq!(fake.calls(), [(1, 3, vec![101]), (1, 2, vec![102])]);
    assert_eq!(daemon.status().dropped.get("in_flight"), Some(&1));
    assert!(by_hand.await.unwrap()[0].sentence().contains("moved from node 1 to node 3"));
}
