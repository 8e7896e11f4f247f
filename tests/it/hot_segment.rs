//! Ten equal one-segment collections, two on each of five nodes, four of which may use 0.3 cores; all searches are on the
//! two of one small node. By rows, bytes and segments nothing is wrong. The daemon finds the one move that helps, makes
//! it, and then leaves everything alone: the logic of the test on a real cluster (tests/real/hot_segment.rs), which
//! measures it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalError, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::model::signals::{CapacityOverride, SearchLoad};
use milvus_rebalancer::model::{BalancerSettings, CapacitySettings, SignalSettings};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings, SearchSettings};
use milvus_rebalancer::sim::{
    CollectionOrder, Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build,
};
use milvus_rebalancer::turn::Thinking;
use milvus_rebalancer::units::{CollectionId, Millicores, NodeId, Ratio};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The nodes that may use 0.3 cores, and the one that may use more.
const SMALL: [NodeId; 4] = [NodeId(2), NodeId(3), NodeId(4), NodeId(5)];
const LARGE: NodeId = NodeId(1);

/// The scene: the world and its collections, of which the first two, on the first small node, are the hot ones.
pub struct Scene {
    pub world: SharedWorld,
    pub collections: Vec<CollectionId>,
}

impl Scene {
    pub fn new(line: Line, own_balancer: bool) -> Scene {
        let mut plan =
            WorldPlan { nodes: 5, collections: 0, segments: 0, ..WorldPlan::new(Profile::of(line), 1) };
        plan.unequal_machines = false;
        plan.settings.own_balancer = own_balancer;
        let mut world = build(&plan);
        for node in SMALL {
            world.set_cores(node, 0.3);
        }
        world.set_cores(LARGE, 1.0);
        let mut collections = Vec::new();
        for number in 0..10_usize {
            let order = CollectionOrder {
                database: String::new(),
                name: format!("books_{number}"),
                segments: 1,
                rows_per_segment: 2_000,
                dimension: 128,
                row_bytes: 540,
                replicas: 1,
                shards: 1,
                growing_rows: 0,
                searches_per_second: 0.0,
                loaded: true,
            };
            let id = world.create_collection(&order);
            world.put_collection(id, [SMALL[0], SMALL[1], SMALL[2], SMALL[3], LARGE][number / 2]);
            collections.push(id);
        }
        Scene { world: SharedWorld::new(world), collections }
    }

    /// Searches on the two hot collections, so often that their node is asked for half as much again as it has.
    pub fn search(&self, is_on: bool) {
        let mut world = self.world.lock();
        for collection in &self.collections[..2] {
            world.set_searches(*collection, if is_on { 3_000.0 } else { 0.0 });
        }
    }

    /// Where the two hot segments are.
    pub fn hot_nodes(&self) -> Vec<NodeId> {
        let world = self.world.lock();
        let is_hot = |collection| self.collections[..2].contains(&collection);
        let hot = world.segments().values().filter(|segment| is_hot(segment.collection));
        hot.flat_map(|segment| segment.copies.iter().map(|copy| copy.node)).collect()
    }

    /// Searches answered so far.
    pub fn answered(&self) -> f64 {
        self.world.lock().collections().values().map(|collection| collection.searches_done).sum()
    }

    pub fn moves(&self) -> usize {
        self.world.lock().calls().iter().map(|call| call.request.segments.len()).sum()
    }
}

/// As in the real test: polls every 5 s, two turns, capacities by configuration, no bounds on bytes (two segments are
/// all of this cluster's).
pub struct Daemon {
    state: watch::Receiver<LoopState>,
    task: JoinHandle<Result<(), JournalError>>,
}

impl Daemon {
    fn start(scene: &Scene, folder: &Path, mode: Mode) -> Daemon {
        let (gate, capacity) = (GateSettings::default(), capacity(scene));
        Daemon::start_in(mode, &scene.world, folder, &policies(), gate, capacity)
    }

    pub fn start_with(
        world: &SharedWorld,
        folder: &Path,
        policies: &PolicySettings,
        gate: GateSettings,
        capacity: CapacitySettings,
    ) -> Daemon {
        Daemon::start_in(Mode::Act, world, folder, policies, gate, capacity)
    }

    fn start_in(
        mode: Mode,
        world: &SharedWorld,
        folder: &Path,
        policies: &PolicySettings,
        gate: GateSettings,
        capacity: CapacitySettings,
    ) -> Daemon {
        let clock = Arc::new(world.clock());
        let observer = Arc::new(SimObserver::new(world.clone(), true));
        let mover = Arc::new(SimMover::new(world.clone(), ExecuteSettings::default().call_timeout));
        let execute = ExecuteSettings {
            bytes_per_hour: Ratio::ZERO,
            bytes_per_day: Ratio::ZERO,
            ..ExecuteSettings::default()
        };
        let settings = JournalSettings { path: folder.join("it.db"), ..JournalSettings::default() };
        let journal = Journal::open(&settings, clock.read().wall).unwrap();
        let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
        let (state, seen) = watch::channel(LoopState::default());
        let control_loop = ControlLoop {
            observer,
            plugins: milvus_rebalancer::plugin::Plugins::default(),
            thinking: Thinking::new(policies, PlanSettings::default(), gate)
                .with_signals(SignalSettings::default(), capacity)
                .beside(BalancerSettings::default(), mode == Mode::Within),
            executor,
            election: None,
            mode,
            poll: PollSettings { interval: Duration::from_secs(5), duty: 1.0, ..PollSettings::default() },
            clock,
            journal,
            metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
            health: Arc::new(Health::new()),
            state,
            stop: CancellationToken::new(),
            wake: Arc::default(),
        };
        Daemon { state: seen, task: tokio::spawn(control_loop.run()) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn policies() -> PolicySettings {
    let search = DimensionSettings { enabled: true, turns: 2, ..SearchSettings::default().0 };
    PolicySettings { search: SearchSettings(search), ..PolicySettings::default() }
}

/// Milvus reports whole cores.
fn capacity(scene: &Scene) -> CapacitySettings {
    let world = scene.world.lock();
    let entry = |id: &NodeId| {
        let entry = CapacityOverride {
            nodes: Patterns::of(&world.nodes()[id].address),
            cpu: Some(Millicores(300)),
            ..CapacityOverride::default()
        };
        (format!("small-{id}"), entry)
    };
    CapacitySettings(SMALL.iter().map(entry).collect())
}

pub async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Searches a second over so many seconds.
async fn throughput(scene: &Scene, seconds: u64) -> f64 {
    let before = scene.answered();
    pass(seconds).await;
    (scene.answered() - before) / f64::from(u32::try_from(seconds).unwrap())
}

async fn play(line: Line, mode: Mode) {
    let is_beside = mode == Mode::Within;
    let (scene, folder) = (Scene::new(line, is_beside), tempfile::tempdir().unwrap());
    let daemon = Daemon::start(&scene, folder.path(), mode);
    pass(30).await;
    assert_eq!(scene.moves(), 0, "{line:?}: nobody searches");
    scene.search(true);
    pass(2).await;
    assert_eq!(scene.hot_nodes(), [SMALL[0], SMALL[0]]);
    let before = throughput(&scene, 3).await;

    pass(55).await;
    let moved = scene.moves();
    assert!((1..=2).contains(&moved), "{line:?}: {moved} moves within a minute");
    let hot = scene.hot_nodes();
    assert!(hot[0] != hot[1] || !SMALL.contains(&hot[0]), "{line:?}: both are on {hot:?}");
    let after = throughput(&scene, 60).await;
    assert!(after > 1.4 * before, "{line:?}: {before} → {after} searches a second");
    pass(60).await;
    assert_eq!(scene.moves(), moved, "{line:?}: something moved under steady load");
    let state = daemon.state.borrow().clone();
    let wave = state.last_wave.clone().unwrap_or_else(|| panic!("{line:?}: no wave was judged"));
    assert!(wave.relief.is_measured, "{line:?}: {wave:?}");
    assert!(wave.relief.percent().is_some_and(|percent| percent >= 50), "{line:?}: {wave:?}");

    scene.search(false);
    pass(300).await;
    assert_eq!(scene.moves(), moved, "{line:?}: something moved without load");
    assert_eq!(scene.world.lock().own_balancer_moves(), 0, "{line:?}: Milvus' balancer");
}

#[tokio::test(start_paused = true)]
async fn the_one_move_that_helps_is_made_and_no_other() {
    for line in [Line::V2_3, Line::V2_4, Line::V2_5] {
        play(line, Mode::Act).await;
    }
}

#[tokio::test(start_paused = true)]
async fn beside_milvus_balancer_it_is_made_too_and_not_moved_back() {
    // Later versions count a segment on its way twice for a moment, and might answer that.
    play(Line::V2_3, Mode::Within).await;
}

#[tokio::test(start_paused = true)]
async fn every_figure_says_where_it_comes_from_and_what_is_missing_is_named() {
    let (scene, folder) = (Scene::new(Line::V2_3, false), tempfile::tempdir().unwrap());
    scene.search(true);
    let daemon = Daemon::start(&scene, folder.path(), Mode::Act);
    pass(11).await;
    let state = daemon.state.borrow().clone();
    let snapshot = &state.last.as_ref().unwrap().decision.snapshot;
    let hot = &snapshot.signals.nodes[snapshot.node_index(SMALL[0]).unwrap().at()];
    assert_eq!(hot.search_load, SearchLoad::Measured);
    let cpu = hot.cpu.as_ref().unwrap();
    assert!((290..=310).contains(&cpu.value.0), "{cpu:?}");
    assert_eq!(cpu.source.to_string(), "the node's /metrics");
    let capacity = hot.capacity.cpu.as_ref().unwrap();
    assert_eq!(
        (capacity.value, capacity.source.to_string()),
        (Millicores(300), "capacity.small-2 of the configuration".to_owned())
    );
    let demand = snapshot.signals.demand[0].as_ref().unwrap();
    assert!(demand.value.per_second() > 1_000.0, "{demand:?}");
    assert_eq!(demand.source.to_string(), "the proxies' /metrics");
    let missing: Vec<&str> = snapshot.signals.absent.iter().map(|absent| absent.signal.code()).collect();
    assert_eq!(missing, ["disk_capacity"], "2.3 makes up its disks: {:?}", snapshot.signals.absent);
    let searches: Vec<u64> = snapshot
        .copies
        .indices()
        .map(|copy| snapshot.signals.copy_search[copy.at()].0)
        .filter(|search| *search > 0)
        .collect();
    assert_eq!(searches.len(), 2, "{searches:?}");
    // Its node leads both collections, too; that part of its 0.3 cores stays whatever moves.
    assert!(searches.iter().all(|search| (70..=100).contains(search)), "{searches:?}");
}
