//! A wall clock that jumps while moves are open: an operator sets it, NTP corrects it, a virtual machine wakes up. Each
//! cluster is played twice, with a steady clock and with one that jumps; the second must not move more, faster or again
//! what the first would not have moved, and must get on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::executor::Executor;
use milvus_rebalancer::execute::operation::{Operation, OperationId, OperationState};
use milvus_rebalancer::execute::{ExecuteSettings, WaveSettings};
use milvus_rebalancer::gate::{BlastRadiusSettings, GateSettings, WarmUpSettings};
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings};
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::calls::{CallAnswer, CallRecord};
use milvus_rebalancer::sim::cluster::SimTime;
use milvus_rebalancer::sim::invariants::{InvariantChecker, InvariantSettings};
use milvus_rebalancer::sim::{
    Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, WorldSettings, build,
};
use milvus_rebalancer::turn::Thinking;
use milvus_rebalancer::units::{Bytes, Ratio};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::outcome::Outcome;
use crate::scene::Chance;

/// How long a cluster is played: the daily budget is used up or all is level long before.
const PLAYED: Duration = Duration::from_secs(90 * 60);

/// Pause between looks while moves are open.
const LOOK: Duration = Duration::from_secs(1);

/// Pause between looks while none is: only calls can do what must never happen.
const FAR_LOOK: Duration = Duration::from_secs(10);

/// What the clock jumps by: less and more than each of the daemon's own times, both ways.
const STEPS: [SignedDuration; 8] = [
    SignedDuration::from_secs(-90),
    SignedDuration::from_mins(-20),
    SignedDuration::from_hours(-1),
    SignedDuration::from_hours(-24),
    SignedDuration::from_secs(90),
    SignedDuration::from_mins(20),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(24),
];

/// One move in so many may be made more with a clock that jumps, by all clusters together: a step makes what was seen before
/// it look old, a turn is left out, and the plan of the next one is as good and not the same.
const SAME_IN: usize = 20;

/// In one cluster, so many moves more are chance.
const CHANCE: usize = 2;

/// How long after its first sight a move may be open: what the daemon waits, a few polls, and some more.
const LONGEST_OPEN: Duration = Duration::from_secs(15 * 60);

/// A cluster, its limits, and when its clock jumps.
struct Scene {
    plan: WorldPlan,
    execute: ExecuteSettings,
    gate: GateSettings,
    /// After so many calls, so much later, by so much.
    steps: Vec<(usize, Duration, SignedDuration)>,
}

impl Scene {
    fn of(seed: u64) -> Scene {
        let mut chance = Chance::new(seed);
        let lines = [Line::V2_3, Line::V2_4, Line::V2_5, Line::V2_6, Line::V3_0];
        let plan = WorldPlan {
            settings: WorldSettings {
                // Looking at traffic every few seconds is enough, and a fraction of the work.
                traffic_tick: Duration::from_secs(10),
                // Moves that take a while, so that some are open when the clock jumps.
                load_bytes_per_second: *chance.of(&[8 << 20, 32 << 20, 128 << 20]),
                ..WorldSettings::default()
            },
            nodes: 6,
            collections: 4,
            segments: 80,
            memory_fill: 0.1,
            placement: *chance.of(&[Placement::OneNode, Placement::Grown]),
            ..WorldPlan::new(Profile::of(*chance.of(&lines)), seed)
        };
        let execute = ExecuteSettings {
            calls_per_minute: *chance.of(&[2, 6]),
            calls_in_flight: *chance.of(&[2, 4]),
            calls_in_flight_per_node: 0,
            bytes_per_second: Bytes::ZERO,
            moves_in_flight_per_source: 0,
            moves_per_hour: *chance.of(&[0, 0, 10]),
            bytes_per_hour: Ratio::ZERO,
            segments_per_call: *chance.of(&[1, 2]),
            // A half of them is held back by today's bytes.
            bytes_per_day: *chance.of(&[Ratio(100_000), Ratio(300_000), Ratio::ZERO, Ratio::ZERO]),
            waves: WaveSettings { enabled: chance.happens(0.5), ..WaveSettings::default() },
            ..ExecuteSettings::default()
        };
        let gate = GateSettings {
            warm_up: WarmUpSettings { time: Duration::ZERO, ..WarmUpSettings::default() },
            blast_radius: BlastRadiusSettings {
                collection_segments: Ratio::ZERO,
                collection_bytes: Ratio::ZERO,
                node_bytes: Bytes::ZERO,
                ..BlastRadiusSettings::default()
            },
            ..GateSettings::default()
        };
        let mut calls = 0;
        let steps = (0..chance.count(1, 4)).map(|_| {
            calls += usize::try_from(chance.count(1, 3)).unwrap_or(1);
            let wait = *chance.of(&[Duration::ZERO, Duration::from_millis(100), Duration::from_secs(5)]);
            (calls, wait, *chance.of(&STEPS))
        });
        let steps = steps.collect();
        Scene { plan, execute, gate, steps }
    }

    fn without_steps(&self) -> Scene {
        Scene {
            plan: self.plan.clone(),
            execute: self.execute.clone(),
            gate: self.gate.clone(),
            steps: Vec::new(),
        }
    }

    fn invariants(&self) -> InvariantSettings {
        let limit = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        InvariantSettings {
            safety_percent: 90,
            calls_per_minute: limit(self.execute.calls_per_minute),
            calls_in_flight: limit(self.execute.calls_in_flight),
            segments_per_call: limit(self.execute.segments_per_call),
            bytes_per_call: Bytes::ZERO,
            // Judged by what the daemon knew of them.
            bytes_per_day: Bytes::ZERO,
            cool_down: self.gate.cool_down,
        }
    }
}

/// Plays so many clusters.
pub fn prove(first: u64, count: u64) -> Outcome {
    let mut sum = Outcome::default();
    let (mut all_fewer, mut all_more) = (0, 0);
    for seed in first..first + count {
        let scene = Scene::of(seed);
        let steady = play(&scene.without_steps());
        let mut jumping = play(&scene);
        let (more, fewer) = (jumping.segments, steady.segments);
        if more > fewer + CHANCE.max(fewer.div_ceil(SAME_IN)) {
            jumping.problems.push(format!("{more} segments were moved, {fewer} with a steady clock"));
        }
        (all_fewer, all_more) = (all_fewer + fewer, all_more + more);
        let mut outcome = Outcome {
            clusters: 1,
            calls: jumping.calls,
            steps: jumping.stepped.len() as u64,
            steps_in_moves: jumping.stepped.iter().filter(|(_, _, open)| *open > 0).count() as u64,
            problems: steady.problems.iter().map(|problem| format!("steady clock: {problem}")).collect(),
            ..Outcome::default()
        };
        outcome.problems.extend(jumping.problems);
        if !outcome.problems.is_empty() {
            println!("seed {seed} FAILED; the clock jumped: {:?}", jumping.stepped);
            println!("  {:?}", scene.execute);
            let again = format!("again: cargo test --test chaos -- --clocks 1 --seed {seed}");
            outcome.problems.push(again);
        }
        sum.add(outcome);
    }
    println!("{all_more} segments were moved with clocks that jump, {all_fewer} with steady ones");
    if all_more > all_fewer + CHANCE + all_fewer / SAME_IN {
        let again = format!("again: cargo test --test chaos -- --clocks {count} --seed {first}");
        sum.problems.push(format!("with clocks that jump more is moved; {again}"));
    }
    sum
}

/// What became of a cluster.
#[derive(Default)]
struct Played {
    calls: usize,
    segments: usize,
    /// When, by how much, and how many moves were open.
    stepped: Vec<(SimTime, SignedDuration, usize)>,
    problems: Vec<String>,
}

/// Plays it on a runtime of its own, whose time is the world's.
fn play(scene: &Scene) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir_in(scratch()).expect("a folder for the journal");
    runtime.block_on(async { Play::start(scene, folder.path()).run().await })
}

/// A folder in memory where there is one: nobody pulls the plug here.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

struct Play<'a> {
    scene: &'a Scene,
    world: SharedWorld,
    state: watch::Receiver<LoopState>,
    stop: CancellationToken,
    journal: Journal,
    checker: InvariantChecker,
    checked: usize,
    open_since: BTreeMap<OperationId, SimTime>,
    played: Played,
}

impl<'a> Play<'a> {
    fn start(scene: &'a Scene, folder: &Path) -> Play<'a> {
        let world = SharedWorld::new(build(&scene.plan));
        let clock = Arc::new(world.clock());
        let observer: Arc<dyn Observer> = Arc::new(SimObserver::new(world.clone(), true));
        let mover = Arc::new(SimMover::new(world.clone(), scene.execute.call_timeout));
        let settings = JournalSettings { path: folder.join("journal.db"), ..JournalSettings::default() };
        let journal = Journal::open(&settings, clock.read().wall).expect("the journal opens");
        let execute = scene.execute.clone();
        let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
        let memory =
            DimensionSettings { turns: 1, matters_above: Ratio::ZERO, ..DimensionSettings::default() };
        let policies = PolicySettings { memory, ..PolicySettings::default() };
        let (state, seen) = watch::channel(LoopState::default());
        let stop = CancellationToken::new();
        let control_loop = ControlLoop {
            observer,
            plugins: milvus_rebalancer::plugin::Plugins::default(),
            thinking: Thinking::new(&policies, PlanSettings::default(), scene.gate.clone()),
            executor,
            election: None,
            mode: Mode::Act,
            poll: PollSettings::default(),
            clock,
            journal: journal.clone(),
            metrics: Arc::new(Metrics::register(&Registry::new()).expect("an empty registry")),
            health: Arc::new(Health::new()),
            state,
            wake: Arc::default(),
            stop: stop.clone(),
        };
        tokio::spawn(control_loop.run());
        Play {
            scene,
            world,
            state: seen,
            stop,
            journal,
            checker: InvariantChecker::new(scene.invariants()),
            checked: 0,
            open_since: BTreeMap::new(),
            played: Played::default(),
        }
    }

    async fn run(mut self) -> Played {
        let mut steps = self.scene.steps.iter().peekable();
        loop {
            let is_calm = self.open_since.is_empty() && steps.peek().is_none();
            sleep(if is_calm { FAR_LOOK } else { LOOK }).await;
            self.look();
            let (now, calls) = {
                let world = self.world.lock();
                (world.now(), world.calls().len())
            };
            if let Some((_, wait, by)) = steps.next_if(|(after, _, _)| *after <= calls) {
                sleep(*wait).await;
                let mut world = self.world.lock();
                world.turn_calendar(*by);
                let open = world.pending_tasks().count();
                self.played.stepped.push((world.now(), *by, open));
            }
            if !self.played.problems.is_empty() || now >= PLAYED {
                break;
            }
        }
        if self.played.problems.is_empty() {
            self.check_end().await;
        }
        self.stop.cancel();
        let world = self.world.lock();
        self.played.calls = world.calls().len();
        let made = world.calls().iter().filter(|call| !is_refused(call));
        self.played.segments = made.map(|call| call.segments.len()).sum();
        drop(world);
        self.played
    }

    fn look(&mut self) {
        let world = self.world.lock();
        let problems = &mut self.played.problems;
        problems.extend(self.checker.check(&world).iter().map(|violation| format!("forbidden: {violation}")));
        for (call, record) in world.calls().iter().enumerate().skip(self.checked) {
            for segment in record.segments.iter().filter(|segment| segment.is_under_way) {
                let text = format!("call {call} at {:?} moves segment {}", record.at, segment.segment);
                problems.push(format!("{text} while it is being moved"));
            }
            for left in world.left_by_calls() {
                let is_again = record.at >= left.at && record.at < left.at + self.scene.gate.cool_down;
                if is_again && record.request.segments.contains(&left.segment) {
                    let text = format!("call {call} at {:?} moves segment {}", record.at, left.segment);
                    problems.push(format!("{text} again, which moved at {:?}", left.at));
                }
            }
            let limit = usize::try_from(self.scene.execute.calls_in_flight).unwrap_or(usize::MAX);
            if record.calls_under_way + 1 > limit {
                problems.push(format!("call {call} at {:?} is one too many in flight", record.at));
            }
        }
        let an_hour_ago = world.now().saturating_sub(Duration::from_secs(60 * 60));
        let recent = world.calls().iter().filter(|call| call.at > an_hour_ago && !is_refused(call));
        let moves: usize = recent.map(|call| call.segments.len()).sum();
        let limit = usize::try_from(self.scene.execute.moves_per_hour).unwrap_or(usize::MAX);
        if limit > 0 && moves > limit {
            problems.push(format!("{moves} segments were moved within an hour; {limit} are allowed"));
        }
        self.checked = world.calls().len();
        let state = self.state.borrow();
        let open_since = &mut self.open_since;
        open_since.retain(|id, _| state.open.iter().any(|operation| operation.id == *id));
        for operation in &state.open {
            let since = *open_since.entry(operation.id).or_insert(world.now());
            if world.now().saturating_sub(since) > LONGEST_OPEN {
                problems.push(format!("open for more than {LONGEST_OPEN:?}: {operation:?}"));
            }
        }
    }

    /// Everything is level or waits for a reason that time lifts, and today's bytes were kept.
    async fn check_end(&mut self) {
        let operations = match self.journal.operations_since(Timestamp::UNIX_EPOCH).await {
            Ok(operations) => operations,
            Err(error) => return self.played.problems.push(error.to_string()),
        };
        let state = self.state.borrow();
        let Some(last) = &state.last else {
            self.played.problems.push("there was no turn".to_owned());
            return;
        };
        let planned = last.decision.plan.moves().count();
        let is_spent =
            matches!(last.limited_by, Some(Reason::DailyBytes { .. } | Reason::HourlyMoves { .. }));
        if planned > 0 && !is_spent {
            let text = format!("after {PLAYED:?} {planned} moves are still planned");
            self.played.problems.push(format!("{text}, held back by {:?}", last.limited_by));
        }
        let limit = self
            .scene
            .execute
            .bytes_per_day
            .share_of(last.decision.snapshot.copies.bytes.iter().copied().sum::<Bytes>().0);
        // All of it is less than a day.
        let counts = |operation: &&Operation| !matches!(operation.state, OperationState::Refused { .. });
        let moved: Vec<Bytes> =
            operations.iter().filter(counts).map(|operation| operation.movement.bytes).collect();
        // One segment is always admitted when nothing is spent, however large.
        let is_one = moved.len() == 1;
        let moved: Bytes = moved.into_iter().sum();
        if limit > 0 && moved.0 > limit && !is_one {
            let text = format!("{moved} were moved in less than a day, {} are allowed", Bytes(limit));
            self.played.problems.push(text);
        }
    }
}

fn is_refused(call: &CallRecord) -> bool {
    matches!(call.answered, Some((_, CallAnswer::Refused(_))))
}
