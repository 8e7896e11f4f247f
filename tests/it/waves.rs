//! Waves from end to end: the real control loop on a simulated cluster, whose bytes either follow the segments or
//! never do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::{ExecuteSettings, Executor, Mover};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalError, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::observe::observation::{CollectionReport, Observation};
use milvus_rebalancer::observe::{ObserveError, Observer, SeamFuture};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::Thinking;
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, Ratio};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3_600);

/// Shows the cluster as it is, or with the bytes of each node as they were at the first look.
struct Onlooker {
    inner: SimObserver,
    frozen: Option<Mutex<BTreeMap<NodeId, BTreeMap<CollectionId, Bytes>>>>,
}

impl Observer for Onlooker {
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>> {
        Box::pin(async {
            let mut observation = self.inner.observe().await?;
            if let Some(frozen) = &self.frozen {
                let mut first = frozen.lock().unwrap();
                for node in &mut observation.nodes {
                    if let Some(bytes) = &mut node.sealed_bytes {
                        *bytes = first.entry(node.id).or_insert_with(|| bytes.clone()).clone();
                    }
                }
            }
            Ok(observation)
        })
    }

    fn reread<'a>(
        &'a self,
        database: &'a str,
        collection: &'a str,
        id: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>> {
        self.inner.reread(database, collection, id)
    }
}

/// A cluster in which one node of six holds everything.
pub fn uneven(seed: u64) -> SharedWorld {
    let mut plan = WorldPlan {
        nodes: 6,
        collections: 3,
        segments: 90,
        unequal_machines: false,
        memory_fill: 0.12,
        placement: Placement::OneNode,
        ..WorldPlan::new(Profile::of(Line::V2_4), seed)
    };
    plan.settings.traffic_tick = Duration::from_secs(10);
    SharedWorld::new(build(&plan))
}

/// A running daemon with the default limits, but for the bytes of a day.
pub struct Daemon {
    pub state: watch::Receiver<LoopState>,
    metrics: Arc<Metrics>,
    task: JoinHandle<Result<(), JournalError>>,
}

impl Daemon {
    fn start(world: &SharedWorld, folder: &Path, observer: Arc<dyn Observer>) -> Daemon {
        let mover = Arc::new(SimMover::new(world.clone(), ExecuteSettings::default().call_timeout));
        Daemon::start_with(world, folder, observer, mover)
    }

    pub fn start_with(
        world: &SharedWorld,
        folder: &Path,
        observer: Arc<dyn Observer>,
        mover: Arc<dyn Mover>,
    ) -> Daemon {
        let clock = Arc::new(world.clock());
        let execute = ExecuteSettings {
            bytes_per_hour: Ratio::ZERO,
            bytes_per_day: Ratio::ZERO,
            ..ExecuteSettings::default()
        };
        let settings = JournalSettings { path: folder.join("it.db"), ..JournalSettings::default() };
        let journal = Journal::open(&settings, clock.read().wall).unwrap();
        let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
        let metrics = Arc::new(Metrics::register(&Registry::new()).unwrap());
        let (state, seen) = watch::channel(LoopState::default());
        let gate = GateSettings { max_age: 5 * MINUTE, ..GateSettings::default() };
        let control_loop = ControlLoop {
            observer,
            thinking: Thinking::new(&PolicySettings::default(), PlanSettings::default(), gate),
            executor,
            election: None,
            mode: Mode::Act,
            poll: PollSettings { interval: MINUTE, ..PollSettings::default() },
            clock,
            journal,
            metrics: metrics.clone(),
            health: Arc::new(Health::new()),
            state,
            wake: Arc::default(),
            stop: CancellationToken::new(),
        };
        Daemon { state: seen, metrics, task: tokio::spawn(control_loop.run()) }
    }

    pub async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }

    pub fn metric(&self, line: &str) -> f64 {
        let text = String::from_utf8(self.metrics.exposition().unwrap().0).unwrap();
        let wanted = format!("milvus_rebalancer_{line} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&wanted));
        value.unwrap_or_else(|| panic!("{wanted} is missing in {text}")).parse().unwrap()
    }
}

fn frozen(world: &SharedWorld) -> Arc<dyn Observer> {
    let inner = SimObserver::new(world.clone(), true);
    Arc::new(Onlooker { inner, frozen: Some(Mutex::default()) })
}

/// One number out of the journal.
fn ask(folder: &Path, query: &str) -> f64 {
    let client = rusqlite::Connection::open(folder.join("it.db")).unwrap();
    client.query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn waves_that_bring_what_was_predicted_grow_until_there_is_balance() {
    for seed in 1..=3 {
        let (world, folder) = (uneven(seed), tempfile::tempdir().unwrap());
        let observer = Arc::new(SimObserver::new(world.clone(), true));
        let daemon = Daemon::start(&world, folder.path(), observer);
        tokio::time::sleep(2 * HOUR).await;
        let state = daemon.state.borrow().clone();
        assert!(state.last.unwrap().decision.plan.steps.is_empty(), "seed {seed}: not level");
        let largest = ask(folder.path(), "SELECT max(sent) * 1.0 FROM waves");
        assert!(largest >= 8.0, "seed {seed}: {largest}");
        // The bytes of a single small segment are a guess; those of most waves are none.
        let outcomes = |wanted: &str| {
            ask(folder.path(), &format!("SELECT count(*) * 1.0 FROM waves WHERE outcome IN ({wanted})"))
        };
        assert_eq!(outcomes("'no_relief', 'failed', 'proves_nothing'"), 0.0, "seed {seed}");
        assert!(outcomes("'good'") >= 4.0 * outcomes("'poor'"), "seed {seed}");
        let share = ask(folder.path(), "SELECT sum(realised_relief) / sum(predicted_relief) FROM waves");
        assert!((0.9..1.1).contains(&share), "seed {seed}: {share} of the relief came");
        let (predicted, realised) =
            (daemon.metric("waves_relief_predicted_total"), daemon.metric("waves_relief_realised_total"));
        assert!((realised / predicted - share).abs() < 1e-6, "seed {seed}: {realised} of {predicted}");
        assert_eq!(daemon.metric("waves_stopped"), 0.0);
        daemon.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_never_follow_end_in_a_stop_and_not_in_more_moves() {
    for seed in 1..=3 {
        let (world, folder) = (uneven(seed), tempfile::tempdir().unwrap());
        let observer = frozen(&world);
        let daemon = Daemon::start(&world, folder.path(), observer.clone());
        tokio::time::sleep(25 * MINUTE).await;
        let state = daemon.state.borrow().clone();
        let limit = state.last.as_ref().and_then(|last| last.limited_by.clone());
        assert!(matches!(limit, Some(Reason::NoRelief { waves: 3, .. })), "seed {seed}: {limit:?}");
        assert_eq!((state.waves_judged, state.ended_count), (3, 3), "seed {seed}");
        assert_eq!(daemon.metric("waves_stopped"), 1.0);
        assert_eq!(daemon.metric("waves_total{verdict=\"no_relief\"}"), 3.0);
        assert_eq!(daemon.metric("wave_relief_realised"), 0.0);
        assert!(daemon.metric("wave_relief_predicted") > 0.0);
        daemon.kill().await;

        // Neither does a new process try its luck.
        let daemon = Daemon::start(&world, folder.path(), observer);
        tokio::time::sleep(5 * MINUTE).await;
        assert_eq!(daemon.state.borrow().ended_count, 0, "seed {seed}: it moved on after a restart");
        assert_eq!(daemon.metric("waves_stopped"), 1.0);
        // One move after each rest: 30 minutes, 1 h, 2 h, 4 h.
        tokio::time::sleep(7 * HOUR).await;
        let moved = daemon.state.borrow().ended_count;
        assert_eq!(moved, 3, "seed {seed}: moves in the next seven hours");
        daemon.kill().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_size_of_the_last_wave() {
    let (world, folder) = (uneven(1), tempfile::tempdir().unwrap());
    let observer = Arc::new(SimObserver::new(world.clone(), true));
    let daemon = Daemon::start(&world, folder.path(), observer.clone());
    let mut state = daemon.state.clone();
    let grown = state.wait_for(|state| state.executor.wave_size == Some(4));
    drop(tokio::time::timeout(2 * HOUR, grown).await.expect("never grew").unwrap());
    daemon.kill().await;
    let daemon = Daemon::start(&world, folder.path(), observer);
    let mut state = daemon.state.clone();
    let judged = state.wait_for(|state| state.waves_judged == 1);
    drop(tokio::time::timeout(2 * HOUR, judged).await.expect("never judged").unwrap());
    assert!(state.borrow().last_wave.as_ref().unwrap().size >= 4);
    daemon.kill().await;
}
