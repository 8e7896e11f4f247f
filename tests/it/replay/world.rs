//! A simulated cluster and a daemon that records what it does with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LastTurn, LoopState};
use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::execute::executor::Executor;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{
    Journal, JournalError, JournalSettings, Recorded, RecordingReader, RecordingSettings, recordings,
    recordings_folder,
};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::operator::Transfer;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::{Thinking, ThinkingSettings};
use milvus_rebalancer::units::{NodeId, Ratio};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Four nodes, of which the first holds everything, with searches and ingestion.
pub fn uneven() -> SharedWorld {
    let mut plan = WorldPlan::new(Profile::of(Line::V2_4), 7);
    plan.nodes = 4;
    plan.unequal_machines = false;
    plan.collections = 1;
    plan.segments = 30;
    plan.databases = 1;
    plan.memory_fill = 0.2;
    plan.placement = Placement::OneNode;
    plan.ingest_rows_per_second = 500.0;
    SharedWorld::new(build(&plan))
}

/// Without a budget for the day, so that it keeps moving.
pub fn busy() -> ExecuteSettings {
    ExecuteSettings { bytes_per_hour: Ratio::ZERO, bytes_per_day: Ratio::ZERO, ..ExecuteSettings::default() }
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
    pub fn start(world: &SharedWorld, folder: &Path, settings: &ThinkingSettings, mode: Mode) -> Daemon {
        Daemon::recording(world, folder, settings, mode, RecordingSettings::default())
    }

    pub fn recording(
        world: &SharedWorld,
        folder: &Path,
        settings: &ThinkingSettings,
        mode: Mode,
        observations: RecordingSettings,
    ) -> Daemon {
        let clock = Arc::new(world.clock());
        let journal_settings =
            JournalSettings { path: folder.join("it.db"), observations, ..JournalSettings::default() };
        let journal = Journal::open(&journal_settings, clock.read().wall).unwrap();
        let observer = Arc::new(SimObserver::new(world.clone(), true));
        let execute = busy();
        let mover = Arc::new(SimMover::new(world.clone(), execute.call_timeout));
        let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
        let (shown, state) = watch::channel(LoopState::default());
        let stop = CancellationToken::new();
        let control_loop = ControlLoop {
            observer,
            plugins: milvus_rebalancer::plugin::Plugins::default(),
            thinking: Thinking::with_settings(settings),
            executor,
            election: None,
            mode,
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
            let state = tokio::time::timeout(Duration::from_secs(36_000), changed).await;
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

    pub async fn kill(self) {
        self.journal.finish_recording().await;
        self.task.abort();
        drop(self.task.await);
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Somebody else moves a segment, any that can be.
pub fn somebody_moves(world: &SharedWorld) {
    let mut locked = world.lock();
    let held: Vec<_> = locked
        .segments()
        .values()
        .filter(|segment| !segment.level0)
        .flat_map(|segment| segment.copies.iter().map(|copy| (segment.id, copy.node)))
        .collect();
    let has_moved = held.into_iter().any(|(segment, from)| {
        let to = if from == NodeId(4) { NodeId(3) } else { NodeId(4) };
        let transfer = Transfer { from, to: Some(to), segment: Some(segment), copy: false };
        locked.transfer_segments(&transfer).is_ok()
    });
    assert!(has_moved, "somebody could move something");
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    recordings(&recordings_folder(&folder.join("it.db"))).unwrap()
}

pub fn recorded(folder: &Path) -> Vec<Recorded> {
    files(folder)
        .iter()
        .flat_map(|file| RecordingReader::open(file).unwrap().map(Result::unwrap).collect::<Vec<_>>())
        .collect()
}
