//! A control loop on a simulated cluster that moves, can be killed, and can be started again on its journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LastTurn, LoopState};
use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::execute::executor::Executor;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalError, JournalSettings, RecordingSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::{Thinking, ThinkingSettings};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A bound on hangs, in simulated time.
const PATIENCE: Duration = Duration::from_secs(36_000);

/// Four nodes of a 2.4 cluster, of which the first holds everything.
pub fn on_one_node(segments: usize, ingest_rows_per_second: f64) -> SharedWorld {
    SharedWorld::new(build(&WorldPlan {
        nodes: 4,
        unequal_machines: false,
        collections: 1,
        segments,
        databases: 1,
        memory_fill: 0.2,
        placement: Placement::OneNode,
        ingest_rows_per_second,
        ..WorldPlan::new(Profile::of(Line::V2_4), 7)
    }))
}

/// What a daemon is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub thinking: ThinkingSettings,
    pub execute: ExecuteSettings,
    pub observations: RecordingSettings,
}

impl From<ExecuteSettings> for Options {
    fn from(execute: ExecuteSettings) -> Options {
        Options { execute, ..Options::default() }
    }
}

/// A running daemon.
pub struct Daemon {
    pub state: watch::Receiver<LoopState>,
    pub journal: Journal,
    seen: u64,
    stop: CancellationToken,
    task: JoinHandle<Result<(), JournalError>>,
}

impl Daemon {
    pub fn start(world: &SharedWorld, folder: &Path, options: impl Into<Options>) -> Daemon {
        let Options { thinking, execute, observations } = options.into();
        let clock = Arc::new(world.clock());
        let settings =
            JournalSettings { path: folder.join("it.db"), observations, ..JournalSettings::default() };
        let journal = Journal::open(&settings, clock.read().wall).unwrap();
        let observer = Arc::new(SimObserver::new(world.clone(), true));
        let mover = Arc::new(SimMover::new(world.clone(), execute.call_timeout));
        let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
        let (shown, state) = watch::channel(LoopState::default());
        let stop = CancellationToken::new();
        let control_loop = ControlLoop {
            observer,
            plugins: milvus_rebalancer::plugin::Plugins::default(),
            thinking: Thinking::with_settings(&thinking),
            executor,
            election: None,
            mode: Mode::Act,
            poll: PollSettings::default(),
            clock,
            journal: journal.clone(),
            metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
            health: Arc::new(Health::new()),
            state: shown,
            wake: Arc::default(),
            stop: stop.clone(),
        };
        Daemon { state, journal, seen: 0, stop, task: tokio::spawn(control_loop.run()) }
    }

    /// Every turn that was not asked for yet up to this number, counted from the start of this process.
    pub async fn turns(&mut self, number: u64) -> Vec<Arc<LastTurn>> {
        let mut turns = Vec::new();
        while self.seen < number {
            let seen = self.seen;
            let changed = self.state.wait_for(|state| state.turns > seen && state.last.is_some());
            let state = tokio::time::timeout(PATIENCE, changed).await;
            let state = state.expect("the turn comes").expect("the loop lives");
            assert_eq!(state.turns, seen + 1, "no turn was missed");
            self.seen = state.turns;
            turns.push(state.last.clone().unwrap());
            drop(state);
            // The clock stands still, so the disk has all the time that it needs.
            self.journal.finish_recording().await;
        }
        turns
    }

    /// The turn of this number, or a later one where that has passed.
    pub async fn turn(&mut self, number: u64) -> Arc<LastTurn> {
        let reached = self.state.wait_for(|state| state.turns >= number && state.last.is_some());
        let state = tokio::time::timeout(PATIENCE, reached).await;
        state.expect("the turn comes").expect("the loop lives").last.clone().unwrap()
    }

    /// As a killed process, of which the disk has what it wrote.
    pub async fn kill(self) {
        self.journal.finish_recording().await;
        self.task.abort();
        drop(self.task.await);
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}
