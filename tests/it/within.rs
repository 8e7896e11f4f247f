//! Mode `within` beside the simulated balancer: what we move stays where we put it, and still makes the cluster more even.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::model::BalancerSettings;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::profile::ALL_LINES;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::{Decision, Thinking};
use milvus_rebalancer::units::Ratio;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);

/// Long enough for Milvus' balancer to come to rest, and for us to do what we can.
const LONG: Duration = Duration::from_secs(2 * 60 * 60);

/// Versions on which anything is ever moved.
fn lines() -> impl Iterator<Item = Line> {
    ALL_LINES.into_iter().filter(|line| *line != Line::V2_2)
}

/// Equal machines and many collections, most of them small, with rows of very different bytes.
fn plan(profile: Profile, seed: u64) -> WorldPlan {
    let mut plan = WorldPlan {
        nodes: 6,
        collections: 60,
        segments: 150,
        unequal_machines: false,
        placement: Placement::EvenRows,
        ..WorldPlan::new(profile, seed)
    };
    plan.settings.traffic_tick = Duration::from_secs(10);
    plan
}

/// Starts the daemon on a world whose balancer is on.
fn start(world: &SharedWorld, folder: &Path) -> watch::Receiver<LoopState> {
    let clock = Arc::new(world.clock());
    let observer = Arc::new(SimObserver::new(world.clone(), true).reading_management());
    let execute = ExecuteSettings {
        bytes_per_hour: Ratio::ZERO,
        bytes_per_day: Ratio::ZERO,
        ..ExecuteSettings::default()
    };
    let mover = Arc::new(SimMover::new(world.clone(), execute.call_timeout));
    let settings = JournalSettings { path: folder.join("within.db"), ..JournalSettings::default() };
    let journal = Journal::open(&settings, clock.read().wall).unwrap();
    let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
    let (state, seen) = watch::channel(LoopState::default());
    let gate = GateSettings { max_age: 5 * MINUTE, ..GateSettings::default() };
    let thinking = Thinking::new(&PolicySettings::default(), PlanSettings::default(), gate);
    let control_loop = ControlLoop {
        observer,
        thinking: thinking.beside(BalancerSettings::default(), true),
        executor,
        mode: Mode::Within,
        poll: PollSettings { interval: MINUTE, ..PollSettings::default() },
        clock,
        journal,
        metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
        health: Arc::new(Health::new()),
        state,
        stop: CancellationToken::new(),
    };
    tokio::spawn(control_loop.run());
    seen
}

/// The sum of what is above an even spread of memory, all nodes together.
fn unevenness(decision: &Decision) -> u64 {
    let above = |pressure: Ratio| pressure.0.saturating_sub(Ratio::ONE.0);
    let of_memory = decision.findings.iter().filter(|finding| finding.dimension == "memory");
    of_memory.map(|finding| above(finding.pressure)).sum()
}

fn latest(state: &watch::Receiver<LoopState>) -> Decision {
    state.borrow().last.as_ref().expect("a turn was taken").decision.clone()
}

/// What two hours came to.
struct Outcome {
    landed: u64,
    /// Moves by Milvus' balancer meanwhile.
    by_milvus: u64,
    before: u64,
    after: u64,
}

async fn two_hours(world: &SharedWorld, name: &str) -> Outcome {
    world.lock().switch_own_balancer(true);
    tokio::time::sleep(LONG).await;
    let by_milvus = world.lock().own_balancer_moves();
    let folder = tempfile::tempdir().unwrap();
    let state = start(world, folder.path());
    tokio::time::sleep(MINUTE / 2).await;
    let before = unevenness(&latest(&state));
    for _ in 0..LONG.as_secs() / 60 {
        tokio::time::sleep(MINUTE).await;
        let decision = latest(&state);
        let taken_back = decision
            .restrictions
            .components
            .values()
            .find(|reason| matches!(reason, Reason::TakenBack { .. }));
        assert_eq!(taken_back, None, "{name}");
    }
    let after = unevenness(&latest(&state));
    let landed = state.borrow().executor.ended.get("landed").copied().unwrap_or(0);
    Outcome { landed, by_milvus: world.lock().own_balancer_moves() - by_milvus, before, after }
}

#[tokio::test(start_paused = true)]
async fn what_we_move_stays_and_makes_the_cluster_more_even() {
    for line in lines() {
        let (mut landed, mut before, mut after) = (0, 0, 0);
        for seed in 1..=3 {
            let world = SharedWorld::new(build(&plan(Profile::of(line), seed)));
            let name = format!("{line}, seed {seed}");
            let outcome = two_hours(&world, &name).await;
            assert_eq!(outcome.by_milvus, 0, "{name}: Milvus' balancer was at rest before we began");
            landed += outcome.landed;
            before += outcome.before;
            after += outcome.after;
        }
        println!("{line}: {landed} moves, {before} -> {after}");
        assert!(landed > 0, "{line}: nothing was moved at all");
        assert!(after < before, "{line}: {before} before, {after} after {landed} moves");
    }
}
