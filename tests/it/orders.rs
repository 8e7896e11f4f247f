//! What people order: pauses, the kill switch, approvals. Nothing overrides them, and the plan stays visible.

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::gate::{ApprovalRule, GateSettings};
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalSettings};
use milvus_rebalancer::kill_switch::KillSwitch;
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::model::{Approval, Controls, Pause, Thrown};
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plan::{PlanDigest, PlanSettings};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::report::limiting_reason;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::{Decision, GateMemory, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, NodeId, SegmentId};
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::{add_collection, apply, cluster, lifted_gates, moment, move_segment, rows_at_once};
use crate::executor::fake::{Fake, admitted, let_pass, save, unlimited};

fn uneven() -> Observation {
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 0), (3, 0)]]);
    observation
}

fn pause(until: Option<i64>) -> Controls {
    let until = until.map(|second| moment(second).wall);
    let pause = Pause { from: moment(0).wall, until, reason: "load test".into(), by: "ann".into() };
    Controls { pause: Some(pause), ..Controls::default() }
}

fn turn(thinking: &mut Thinking, observation: &Observation, second: i64) -> Decision {
    let mut observation = observation.clone();
    observation.started_at = moment(second).wall;
    observation.collections.iter_mut().for_each(|collection| collection.read_at = moment(second).wall);
    thinking.turn(&observation, OwnMoves::default(), moment(second))
}

fn limited_by(decision: &Decision) -> Option<Reason> {
    limiting_reason(Mode::Act, decision, None)
}

#[test]
fn a_pause_stops_everything_until_its_end_and_the_plan_stays_visible() {
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    thinking.obey(pause(Some(100)));
    let paused = turn(&mut thinking, &uneven(), 99);
    assert_eq!((paused.plan.steps.len(), paused.verdict.admitted.len()), (8, 0));
    let reason = limited_by(&paused).unwrap();
    assert_eq!(
        reason.to_string(),
        "paused by ann until 2026-09-21T14:55:00Z: load test".replace("14:55:00", &clock(100))
    );
    assert_eq!(turn(&mut thinking, &uneven(), 100).verdict.admitted.len(), 8, "its time is over");

    thinking.obey(pause(None));
    assert_eq!(turn(&mut thinking, &uneven(), 100_000).verdict.admitted.len(), 0, "without an end it stays");
    thinking.obey(Controls::default());
    assert_eq!(turn(&mut thinking, &uneven(), 100_001).verdict.admitted.len(), 8, "until somebody ends it");
}

/// The time of day of a moment.
fn clock(second: i64) -> String {
    moment(second).wall.strftime("%H:%M:%S").to_string()
}

#[test]
fn a_pause_is_said_also_when_there_is_nothing_to_do() {
    let mut even = cluster(3);
    add_collection(&mut even, 7, &[&[(1, 4), (2, 4), (3, 4)]]);
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    assert_eq!(limited_by(&turn(&mut thinking, &even, 1)), None);
    thinking.obey(pause(None));
    assert!(matches!(limited_by(&turn(&mut thinking, &even, 2)), Some(Reason::Paused { .. })));
}

#[test]
fn a_kill_switch_stops_everything_and_says_where_it_is() {
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    for unreadable in [None, Some("no such device".to_owned())] {
        let thrown = Thrown { path: "/run/stop".into(), unreadable: unreadable.clone() };
        thinking.obey(Controls { kill_switch: Some(thrown), ..pause(None) });
        let decision = turn(&mut thinking, &uneven(), 1);
        assert_eq!(decision.verdict.admitted.len(), 0);
        assert_eq!(limited_by(&decision), Some(Reason::KillSwitch { path: "/run/stop".into(), unreadable }));
    }
}

/// A daemon for which every plan needs approval.
fn strict() -> Thinking {
    let gates = GateSettings { approval: ApprovalRule::Required, ..lifted_gates() };
    Thinking::new(&rows_at_once(), PlanSettings::default(), gates)
}

fn approve(digest: PlanDigest, second: i64) -> Controls {
    let approval = Approval { digest, at: moment(second).wall, by: "ann".into() };
    Controls { approvals: vec![approval], ..Controls::default() }
}

/// The digest that the decision waits for.
fn waits_for(decision: &Decision) -> Option<PlanDigest> {
    match limited_by(decision) {
        Some(Reason::AwaitingApproval { digest }) => {
            assert_eq!(decision.verdict.admitted, Vec::<usize>::new());
            Some(digest)
        }
        _ => None,
    }
}

#[test]
fn a_plan_waits_until_exactly_it_is_approved() {
    let mut thinking = strict();
    let digest = waits_for(&turn(&mut thinking, &uneven(), 1)).unwrap();
    thinking.obey(approve(PlanDigest(digest.0 ^ 1), 2));
    assert_eq!(waits_for(&turn(&mut thinking, &uneven(), 3)), Some(digest), "another plan was approved");
    thinking.obey(approve(digest, 4));
    assert_eq!(turn(&mut thinking, &uneven(), 5).verdict.admitted.len(), 8);
}

#[test]
fn what_is_left_of_an_approved_plan_stays_approved_for_an_hour() {
    let (mut thinking, mut observation) = (strict(), uneven());
    let first = turn(&mut thinking, &observation, 1);
    thinking.obey(approve(waits_for(&first).unwrap(), 2));
    assert_eq!(turn(&mut thinking, &observation, 2).verdict.admitted.len(), 8);
    for (wave, movement) in first.plan.moves().take(3).enumerate() {
        move_segment(&mut observation, movement.segment, movement.from, movement.to);
        let second = 3 + i64::try_from(wave).unwrap();
        assert_eq!(turn(&mut thinking, &observation, second).verdict.admitted.len(), 7 - wave);
    }
    // A restart in between changes nothing.
    let memory = serde_json::to_string(&thinking.gate_memory()).unwrap();
    let mut restarted = strict();
    restarted.recall_gates(serde_json::from_str::<GateMemory>(&memory).unwrap());
    assert_eq!(turn(&mut restarted, &observation, 3601).verdict.admitted.len(), 5);
    let lapsed = turn(&mut restarted, &observation, 3602);
    assert!(waits_for(&lapsed).is_some(), "an hour after the approval");
    restarted.obey(approve(waits_for(&lapsed).unwrap(), 3603));
    assert_eq!(turn(&mut restarted, &observation, 3604).verdict.admitted.len(), 5, "and approved anew");
}

#[test]
fn an_approval_is_void_as_soon_as_something_else_is_planned() {
    let (mut thinking, observation) = (strict(), uneven());
    let digest = waits_for(&turn(&mut thinking, &observation, 1)).unwrap();
    thinking.obey(approve(digest, 2));
    assert_eq!(turn(&mut thinking, &observation, 2).verdict.admitted.len(), 8);
    let mut other = observation.clone();
    move_segment(&mut other, SegmentId(7000), NodeId(1), NodeId(2));
    move_segment(&mut other, SegmentId(7011), NodeId(1), NodeId(2));
    for segment in 7002..7011 {
        move_segment(&mut other, SegmentId(segment), NodeId(1), NodeId(3));
    }
    let changed = turn(&mut thinking, &other, 3);
    let new = waits_for(&changed).expect("these moves were not approved");
    assert_ne!(new, digest);
    assert_eq!(
        waits_for(&turn(&mut thinking, &observation, 4)),
        Some(digest),
        "nor is the old plan any more"
    );
    thinking.obey(approve(digest, 5));
    let approved = turn(&mut thinking, &observation, 6);
    assert_eq!(approved.verdict.admitted.len(), 8);
    let mut done = observation.clone();
    apply(&mut done, &approved);
    assert_eq!(limited_by(&turn(&mut thinking, &done, 7)), None, "nothing planned needs no approval");
}

#[test]
fn an_approval_of_before_the_first_plan_counts_and_one_from_the_future_does_not() {
    let digest = waits_for(&turn(&mut strict(), &uneven(), 1)).unwrap();
    let approved_at = |second: i64, now: i64| {
        let mut thinking = strict();
        thinking.obey(approve(digest, second));
        turn(&mut thinking, &uneven(), now).verdict.admitted.len()
    };
    assert_eq!(approved_at(0, 3_599), 8, "`plan` shows the digest before the daemon plans it");
    assert_eq!(approved_at(0, 3_600), 0);
    assert_eq!(approved_at(10, 9), 0, "the clock was set back: nobody knows how old it is");
}

/// An executor with a switch that can be thrown, and the switch.
fn with_switch(fake: &Arc<Fake>) -> (Executor, std::path::PathBuf) {
    let path = fake.journal_path.with_file_name("stop");
    let mut executor = fake.executor(unlimited());
    executor.obey(KillSwitch::at(Some(path.clone())));
    (executor, path)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_switch_is_thrown_whatever_was_offered() {
    let fake = Fake::new(1, 4);
    let (mut executor, path) = with_switch(&fake);
    std::fs::write(&path, "").unwrap();
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    let_pass(&mut executor, Duration::from_secs(60)).await;
    assert_eq!(fake.calls(), []);
    assert!(matches!(executor.limited_by(), Some(Reason::KillSwitch { unreadable: None, .. })));
    assert_eq!(fake.journalled().len(), 0, "not even an intent");

    std::fs::remove_file(&path).unwrap();
    let_pass(&mut executor, Duration::from_secs(60)).await;
    assert_eq!(fake.calls(), [], "what waited is forgotten");
    executor.offer(vec![admitted(102, 2)], Bytes(1_000));
    let_pass(&mut executor, Duration::from_secs(60)).await;
    assert_eq!(fake.calls(), [(1, 2, vec![102])]);
}

#[tokio::test(start_paused = true)]
async fn a_switch_thrown_after_the_intent_was_written_still_stops_the_call() {
    let fake = Fake::new(1, 4);
    let (mut executor, path) = with_switch(&fake);
    executor.offer(vec![admitted(101, 2)], Bytes(1_000));
    // The first step begins to write the intent and is cut off there.
    let cut_off = std::future::poll_fn(|context| {
        let mut next = std::pin::pin!(executor.next_event());
        let polled = std::future::Future::poll(next.as_mut(), context);
        std::task::Poll::Ready(polled.is_pending())
    });
    assert!(cut_off.await, "the intent takes its time");
    std::fs::write(&path, "").unwrap();
    let_pass(&mut executor, Duration::from_secs(60)).await;
    save(&mut executor).await;
    assert_eq!(fake.calls(), []);
    assert_eq!(fake.journalled().values().collect::<Vec<_>>(), ["superseded"], "withdrawn, and known to be");
}

/// A daemon that looks once an hour and may send one call a minute, on a cluster that needs many calls.
struct SlowDaemon {
    state: watch::Receiver<LoopState>,
    journal: Journal,
    clock: Arc<Clock>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

fn slow_daemon() -> SlowDaemon {
    let plan = WorldPlan {
        nodes: 3,
        collections: 6,
        segments: 60,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 7)
    };
    let world = SharedWorld::new(build(&plan));
    let clock = Arc::new(world.clock());
    let folder = tempfile::tempdir().unwrap();
    let settings = JournalSettings { path: folder.path().join("it.db"), ..JournalSettings::default() };
    let journal = Journal::open(&settings, clock.read().wall).unwrap();
    let observer: Arc<dyn Observer> = Arc::new(SimObserver::new(world.clone(), true));
    let execute = ExecuteSettings { calls_per_minute: 1, segments_per_call: 1, ..unlimited() };
    let mover = Arc::new(SimMover::new(world, execute.call_timeout));
    let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
    let gates = GateSettings { max_age: Duration::from_secs(3_600), ..lifted_gates() };
    let (sender, state) = watch::channel(LoopState::default());
    let stop = CancellationToken::new();
    let control_loop = ControlLoop {
        observer,
        thinking: Thinking::new(&rows_at_once(), PlanSettings::default(), gates),
        executor,
        election: None,
        mode: Mode::Act,
        poll: PollSettings { interval: Duration::from_secs(3_600), ..PollSettings::default() },
        clock: clock.clone(),
        journal: journal.clone(),
        metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
        health: Arc::new(Health::new()),
        state: sender,
        wake: Arc::default(),
        stop: stop.clone(),
    };
    tokio::spawn(control_loop.run());
    SlowDaemon { state, journal, clock, stop, _folder: folder }
}

/// Between two turns an hour may pass: what waits to be sent does not wait for the next one.
#[tokio::test(start_paused = true)]
async fn a_pause_between_turns_takes_back_what_waits_to_be_sent() {
    let mut daemon = slow_daemon();
    daemon.state.wait_for(|state| state.executor.calls_sent >= 1 && state.executor.queued > 2).await.unwrap();
    let from = daemon.clock.read().wall;
    let pause = Pause { from, until: None, reason: String::new(), by: "ann".into() };
    daemon.journal.pause(pause).await.unwrap();
    let sent = daemon.state.wait_for(|state| state.executor.queued == 0).await.unwrap().executor.calls_sent;
    assert!(daemon.clock.read().wall.duration_since(from).as_secs() < 60, "within seconds");
    assert!(sent <= 2, "one may have gone out meanwhile: {sent}");
    tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(daemon.state.borrow().executor.calls_sent, sent, "nor with the turns after it");
    assert!(daemon.state.borrow().turns >= 2);
    daemon.journal.resume(daemon.clock.read().wall, "ann".into()).await.unwrap();
    daemon.state.wait_for(|state| state.executor.calls_sent > sent).await.unwrap();
    daemon.stop.cancel();
}

/// Hours of a window end between two turns, too.
#[test]
fn a_plan_holds_no_longer_than_its_window() {
    let window = serde_json::json!([{ "kind": "allow", "from": clock(0)[..5], "to": clock(600)[..5] }]);
    let gates = GateSettings { windows: serde_json::from_value(window).unwrap(), ..lifted_gates() };
    let thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    // The tests' time begins 20 seconds after a minute, and windows are written in minutes.
    assert_eq!(thinking.plan_holds(moment(570).wall), Duration::from_secs(10));
    assert_eq!(thinking.plan_holds(moment(100).wall), Duration::from_secs(60), "no longer than its view");
    let always = Thinking::new(&rows_at_once(), PlanSettings::default(), lifted_gates());
    assert_eq!(always.plan_holds(moment(0).wall), Duration::from_secs(60));
}
