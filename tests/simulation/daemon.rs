//! The daemon as it is assembled for real, but for its two ends: it looks at and acts on a simulated cluster.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use milvus_rebalancer::config::Mode;
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::executor::Executor;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalError, JournalSettings, RecordingSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::sim::{SharedWorld, SimMover};
use milvus_rebalancer::turn::Thinking;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::polls::{Polls, RecordingObserver};
use crate::scenario::Scenario;
use crate::sloppy;

/// A running daemon.
pub struct Daemon {
    /// What it shows of itself.
    pub state: watch::Receiver<LoopState>,
    /// Its memory, which outlives it.
    pub journal: Journal,
    stop: CancellationToken,
    task: JoinHandle<Result<(), JournalError>>,
}

impl Daemon {
    /// Starts it on a cluster, with whatever the journal in this folder remembers.
    pub fn start(scenario: &Scenario, world: &SharedWorld, folder: &Path, polls: &Polls) -> Daemon {
        let clock = Arc::new(world.clock());
        let observer: Arc<dyn Observer> =
            Arc::new(RecordingObserver::new(world.clone(), scenario.reads_metrics, polls.clone()));
        let mover = Arc::new(SimMover::new(world.clone(), scenario.execute.call_timeout));
        let settings = JournalSettings {
            path: folder.join("journal.db"),
            // A failing seed can be run again, which shows more.
            observations: RecordingSettings { enabled: false, ..RecordingSettings::default() },
            ..JournalSettings::default()
        };
        let journal = Journal::open(&settings, clock.read().wall).expect("the journal opens");
        let executor = Executor::new(
            scenario.execute.clone(),
            Some(mover),
            observer.clone(),
            journal.clone(),
            clock.clone(),
        );
        let (state, seen) = watch::channel(LoopState::default());
        let stop = CancellationToken::new();
        let control_loop = ControlLoop {
            observer,
            thinking: thinking(scenario),
            executor,
            election: None,
            mode: Mode::Act,
            poll: scenario.poll.clone(),
            clock,
            journal: journal.clone(),
            metrics: Arc::new(Metrics::register(&Registry::new()).expect("an empty registry")),
            health: Arc::new(Health::new()),
            state,
            wake: Arc::default(),
            stop: stop.clone(),
        };
        Daemon { state: seen, journal, stop, task: tokio::spawn(control_loop.run()) }
    }

    /// Whether it ended by itself, which it never should.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Kills it: nothing of it runs any more, and nobody was warned.
    pub async fn kill(self) {
        self.task.abort();
        // Cancelled, or ended a moment before.
        drop(self.task.await);
    }

    /// Asks it to stop; why it could not, if so.
    pub async fn stop(self) -> Option<String> {
        self.stop.cancel();
        match self.task.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// The pure half as a scenario configures it, with an empty memory.
pub fn thinking(scenario: &Scenario) -> Thinking {
    let thinking = Thinking::new(&scenario.policies, PlanSettings::default(), scenario.gate.clone());
    if !scenario.sloppy {
        return thinking;
    }
    let lasts = SignedDuration::try_from(scenario.trouble_ends).unwrap_or(SignedDuration::MAX);
    let until = scenario.world.settings.begins_at.saturating_add(lasts).unwrap_or(Timestamp::MAX);
    thinking.planned_by(sloppy::planner(scenario.world.seed, until))
}
