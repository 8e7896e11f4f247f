//! The real control loop against simulated clusters: by seed, with faults, and with what must never happen
//! checked all the while. A failing seed is printed with the last things that happened in its world.

#![allow(clippy::unwrap_used)] // a test that cannot set its scene should fail loudly

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::ControlLoop;
use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::execute::executor::Executor;
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::calls::{CallAnswer, CallRecord};
use milvus_rebalancer::sim::faults::{FaultSettings, random_faults};
use milvus_rebalancer::sim::invariants::{InvariantChecker, InvariantSettings};
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, World, WorldPlan, build};
use milvus_rebalancer::turn::Thinking;
use milvus_rebalancer::units::{Bytes, Ratio};
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

/// How long a world is played.
const PLAYED: Duration = Duration::from_secs(90 * 60);
/// The end of it, in which nothing should be left to do: the last fault is over for longer than a cool-down.
const QUIET: Duration = Duration::from_secs(8 * 60);
/// How long the daemon needs to get over a call that was refused or whose answer was lost: such faults wait for
/// the next call, however late that comes.
const PATIENCE: Duration = Duration::from_secs(45 * 60);
/// When the last fault begins.
const FAULTS_UNTIL: Duration = Duration::from_secs(40 * 60);

/// A crowded world whose details follow from the seed.
fn plan(seed: u64) -> WorldPlan {
    let lines = [Line::V2_3, Line::V2_4, Line::V2_5, Line::V2_6, Line::V3_0];
    let line = lines[usize::try_from(seed % 5).unwrap()];
    let mut plan = WorldPlan {
        nodes: 6,
        collections: 6,
        segments: 90,
        replicas: 1 + usize::try_from(seed / 5 % 2).unwrap(),
        memory_fill: 0.4,
        placement: Placement::RoundRobin,
        ..WorldPlan::new(Profile::of(line), seed)
    };
    // Looking at traffic every few seconds is enough, and a fraction of the work.
    plan.settings.traffic_tick = Duration::from_secs(10);
    if seed.is_multiple_of(3) {
        plan.settings.compaction = Some(Duration::from_secs(120));
        plan.ingest_rows_per_second = 200.0;
    }
    plan
}

fn execute_settings() -> ExecuteSettings {
    // A day's budget would be spent in the first minutes of so crowded a cluster.
    ExecuteSettings { bytes_per_day: Ratio(5_000_000), ..ExecuteSettings::default() }
}

fn limits(gate: &GateSettings) -> InvariantSettings {
    let execute = execute_settings();
    InvariantSettings {
        safety_percent: 80,
        calls_per_minute: usize::try_from(execute.calls_per_minute).unwrap(),
        calls_in_flight: usize::try_from(execute.calls_in_flight).unwrap(),
        segments_per_call: usize::try_from(execute.segments_per_call).unwrap(),
        // The daemon knows bytes by estimate only; its own limit is checked by its own tests.
        bytes_per_call: Bytes::ZERO,
        bytes_per_day: Bytes::ZERO,
        cool_down: gate.cool_down,
    }
}

/// Starts the daemon's loop on a world.
fn start(
    shared: &SharedWorld,
    folder: &tempfile::TempDir,
    stop: &CancellationToken,
) -> tokio::task::JoinHandle<()> {
    let clock = Arc::new(shared.clock());
    let observer: Arc<dyn Observer> = Arc::new(SimObserver::new(shared.clone(), true));
    let execute = execute_settings();
    let mover = Arc::new(SimMover::new(shared.clone(), execute.call_timeout));
    let settings = JournalSettings { path: folder.path().join("journal.db"), ..JournalSettings::default() };
    let journal = Journal::open(&settings, clock.read().wall).unwrap();
    let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
    let control_loop = ControlLoop {
        observer,
        thinking: Thinking::new(&PolicySettings::default(), PlanSettings::default(), GateSettings::default()),
        executor,
        mode: Mode::Act,
        poll: PollSettings::default(),
        clock,
        journal,
        metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
        health: Arc::new(Health::new()),
        stop: stop.clone(),
    };
    tokio::spawn(async move { control_loop.run().await.unwrap() })
}

/// Memory of the fullest query node in percent of its own.
fn fullest(world: &World) -> u64 {
    let nodes = world.nodes().values().filter(|node| node.resource_group.is_some());
    nodes.map(|node| node.memory_used() * 100 / node.memory).max().unwrap()
}

/// How many seeds to play: `SIM_SEEDS` for long runs.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("SIM_SEEDS").ok().and_then(|text| text.parse().ok());
    0..count.unwrap_or(20)
}

/// What became of a seed.
struct Played {
    problems: Vec<String>,
    fullest_before: u64,
    fullest_after: u64,
    calls: usize,
    late_calls: usize,
    spoiled_late: bool,
}

/// Plays one seed.
async fn play(seed: u64, with_faults: bool) -> Played {
    let world = build(&plan(seed));
    let before = fullest(&world);
    let shared = SharedWorld::new(world);
    if with_faults {
        let mut world = shared.lock();
        let hostnames: Vec<String> = world.nodes().values().map(|node| node.hostname.clone()).collect();
        let faults = FaultSettings { count: 6, until: FAULTS_UNTIL, loses_nodes: false };
        for (at, fault) in random_faults(seed, &hostnames, faults) {
            world.schedule(at, fault);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let daemon = start(&shared, &folder, &stop);
    let mut checker = InvariantChecker::new(limits(&GateSettings::default()));
    let mut problems = Vec::new();
    let began = tokio::time::Instant::now();
    while began.elapsed() < PLAYED && problems.is_empty() {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let world = shared.lock();
        for violation in checker.check(&world) {
            problems.push(violation.to_string());
        }
        if !problems.is_empty() {
            let lines: Vec<&str> = world.trace().collect();
            problems.extend(lines.iter().rev().take(25).rev().map(|line| (*line).to_owned()));
        }
    }
    stop.cancel();
    daemon.await.unwrap();
    let world = shared.lock();
    let late = world.calls().iter().filter(|call| call.at + QUIET > PLAYED);
    let is_spoiled = |call: &CallRecord| {
        let refused = matches!(&call.answered, Some((_, CallAnswer::Refused(refusal))) if refusal.code == 2);
        (refused || call.disconnected) && call.at + PATIENCE > PLAYED
    };
    Played {
        spoiled_late: world.calls().iter().any(is_spoiled),
        problems,
        fullest_before: before,
        fullest_after: fullest(&world),
        calls: world.calls().len(),
        late_calls: late.count(),
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_must_never_happen_happens_whatever_fails() {
    for seed in seeds() {
        let played = play(seed, true).await;
        assert!(played.problems.is_empty(), "seed {seed}: {:#?}", played.problems);
        if plan(seed).ingest_rows_per_second == 0.0 && !played.spoiled_late {
            assert_eq!(played.late_calls, 0, "seed {seed}: it should have come to rest");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowded_cluster_is_relieved() {
    for seed in 0..10 {
        let played = play(seed, false).await;
        assert!(played.problems.is_empty(), "seed {seed}: {:#?}", played.problems);
        let (before, after) = (played.fullest_before, played.fullest_after);
        // Two fifths are full on average; what ingestion brings and a delegator holds comes on top.
        assert!(played.calls > 0 && after <= 60, "seed {seed}: {before} % to {after} %");
    }
}
