//! The bench of these tests: the daemon with the shim, a cluster that is uneven, and what was seen of both.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use milvus_rebalancer::milvus::wire::common::Status as MilvusStatus;
use milvus_rebalancer::milvus::wire::milvus::LoadBalanceRequest;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::calls::BalanceRequest;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, World, WorldPlan, WorldSettings, build};
use milvus_rebalancer::units::{NodeId, SegmentId};
use tokio::time::Instant;
use tonic::Status;

use crate::fake_milvus::{FakeMilvus, Script, Serving};

/// How long anything may take on a machine that does much else; a bound on hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nothing but what the tests need: quick looks, and no limit on moves that would hide a missing sync.
const CONFIGURATION: &str = r#"
mode = "act"
[poll]
interval = "1s"
duty = 1.0
[policies.memory]
turns = 1
matters_above = 0.05
[execute]
calls_per_minute = 0
bytes_per_day = 0
[journal.observations]
enabled = false
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
"#;

/// What the shim is to do.
#[derive(Clone, Copy)]
pub enum Order {
    None,
    Fail,
    Delay(Duration),
}

/// A sync of the journal that has ended.
#[derive(Clone, Debug)]
pub struct Synced {
    pub failed: bool,
    /// Bytes of the file when it began.
    pub size: u64,
    /// Whether it was the write-ahead log and not the database itself.
    pub of_log: bool,
}

/// A call as it reached the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub segments: Vec<i64>,
    /// Of these, the ones of which a power failure at that moment would have left the intent.
    pub durable: Vec<i64>,
    pub after_first_poll: Duration,
}

/// What was seen so far.
#[derive(Clone, Debug)]
pub struct Seen {
    pub calls: Vec<Call>,
    pub polls: usize,
    pub syncs: Vec<Synced>,
    /// What the daemon says.
    pub log: String,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    polls: usize,
    first_poll: Option<Instant>,
}

/// Files that daemon, shim and test share.
#[derive(Clone)]
struct Files {
    folder: PathBuf,
    journal: PathBuf,
}

impl Files {
    /// As the system spells them: the shim compares paths.
    fn in_folders(folder: &Path, journal: &Path) -> Files {
        let journal = journal.canonicalize().unwrap().join("journal.db");
        Files { folder: folder.canonicalize().unwrap(), journal }
    }

    fn syncs(&self) -> Vec<Synced> {
        let lines = std::fs::read_to_string(self.folder.join("syncs")).unwrap_or_default();
        let sync = |line: &str| {
            let [how, size, file] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
            Synced { failed: how == "failed", size: size.parse().unwrap(), of_log: file == "journal-wal" }
        };
        lines.lines().map(sync).collect()
    }

    fn order(&self, order: Order) {
        let text = match order {
            Order::None => String::new(),
            Order::Fail => "fail".to_owned(),
            Order::Delay(time) => format!("delay {}", time.as_millis()),
        };
        // At once, so that the shim never reads half of it.
        std::fs::write(self.folder.join("control.new"), text).unwrap();
        std::fs::rename(self.folder.join("control.new"), self.folder.join("control")).unwrap();
    }

    /// Which of these segments have an intent in what a power failure now would leave: the database, and of the
    /// log what was there when its last sync began. (In runs as short as these SQLite neither begins the log
    /// anew nor merges it into the database.)
    fn durable(&self, segments: &[i64]) -> Vec<i64> {
        let synced = self.syncs().iter().rev().find(|sync| sync.of_log && !sync.failed).map(|sync| sync.size);
        let left = tempfile::tempdir().unwrap();
        let copy = left.path().join("journal.db");
        std::fs::copy(&self.journal, &copy).unwrap();
        let mut log = std::fs::read(beside(&self.journal, "-wal")).unwrap();
        log.truncate(usize::try_from(synced.unwrap_or(0)).unwrap());
        std::fs::write(beside(&copy, "-wal"), log).unwrap();
        let client = rusqlite::Connection::open(&copy).unwrap();
        let query = "SELECT count(*) FROM operations WHERE segment_id = ?1 AND state IN ('admitted', 'sent')";
        let is_known = |segment: &i64| {
            client.query_row(query, [segment], |row| row.get::<_, i64>(0)).is_ok_and(|rows| rows > 0)
        };
        segments.iter().copied().filter(is_known).collect()
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A daemon at work; it ends with the test.
pub struct Bench {
    files: Files,
    state: Arc<Mutex<State>>,
    daemon: Child,
    _server: Serving,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// Starts the daemon. The order holds from its first look at the cluster on: its start needs the disk.
    pub async fn start(order: Order) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folders(folder.path(), folder.path());
        let ordered = files.clone();
        Bench::start_with(folder, files, move || ordered.order(order)).await
    }

    /// Starts the daemon with its journal in this folder, and does something at its first look at the cluster.
    pub async fn start_in(journal: &Path, at_first_poll: impl Fn() + Send + Sync + 'static) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::in_folders(folder.path(), journal);
        Bench::start_with(folder, files, at_first_poll).await
    }

    async fn start_with(
        folder: tempfile::TempDir,
        files: Files,
        at_first_poll: impl Fn() + Send + Sync + 'static,
    ) -> Bench {
        files.order(Order::None);
        let state = Arc::new(Mutex::new(State::default()));
        let server = serve(&files, &state, at_first_poll).await;
        let daemon = run_daemon(&files, &server.endpoint());
        Bench { files, state, daemon, _server: server, _folder: folder }
    }

    pub fn order(&self, order: Order) {
        self.files.order(order);
    }

    pub fn look(&self) -> Seen {
        let state = self.state.lock().unwrap();
        let log = std::fs::read_to_string(self.files.folder.join("said")).unwrap();
        Seen { calls: state.calls.clone(), polls: state.polls, syncs: self.files.syncs(), log }
    }

    pub async fn wait_until(&self, what: &str, is_so: impl Fn(&Seen) -> bool) {
        let began = Instant::now();
        while !is_so(&self.look()) {
            assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}\n{}", self.look().log);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn every_intent_was_durable(&self) {
        for call in self.look().calls {
            assert!(!call.segments.is_empty());
            assert_eq!(call.durable, call.segments, "a power failure would have forgotten this call");
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }
}

fn run_daemon(files: &Files, endpoint: &str) -> Child {
    let configuration = files.folder.join("config.toml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let said = std::fs::File::create(files.folder.join("said")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"))
        .args(["run", "--config"])
        .arg(configuration)
        .env_clear()
        .env("MILVUS_REBALANCER__CONNECTIONS__DEFAULT__ENDPOINT", endpoint)
        .env("MILVUS_REBALANCER__JOURNAL__PATH", &files.journal)
        .env("LD_PRELOAD", compiled_shim(&files.folder))
        .env("DURABILITY_JOURNAL", &files.journal)
        .env("DURABILITY_LOG", files.folder.join("syncs"))
        .env("DURABILITY_CONTROL", files.folder.join("control"))
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap()
}

/// Builds the shim with the C compiler that SQLite needs anyway.
fn compiled_shim(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/durability/shim.c");
    let shim = folder.join("shim.so");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&shim)
        .arg(source)
        .arg("-ldl")
        .output()
        .expect("a C compiler called cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    shim
}

/// A simulated cluster that has grown while nobody balanced it.
fn uneven_world() -> World {
    let profile = Profile::of(Line::V2_4);
    let settings = WorldSettings { own_balancer: false, ..WorldSettings::default() };
    let plan = WorldPlan {
        settings,
        nodes: 4,
        collections: 6,
        segments: 60,
        unequal_machines: false,
        placement: Placement::Grown,
        ..WorldPlan::new(profile, 3)
    };
    build(&plan)
}

/// Serves that cluster; each call is looked at before it is answered.
async fn serve(
    files: &Files,
    state: &Arc<Mutex<State>>,
    at_first_poll: impl Fn() + Send + Sync + 'static,
) -> Serving {
    let world = SharedWorld::new(uneven_world());
    macro_rules! of_the_world {
        ($call:ident) => {{
            let world = world.clone();
            Script::says(move |_| world.lock().$call().map_err(|_| Status::unavailable("")))
        }};
        ($call:ident, request) => {{
            let world = world.clone();
            Script::says(move |request: tonic::Request<_>| {
                world.lock().$call(request.get_ref()).map_err(|_| Status::unavailable(""))
            })
        }};
    }
    let (at_poll, polled) = (Arc::clone(state), world.clone());
    let (on_call, at_call, called) = (files.clone(), Arc::clone(state), world.clone());
    let fake = FakeMilvus {
        list_databases: of_the_world!(list_databases),
        show_collections: of_the_world!(show_collections, request),
        describe_collection: of_the_world!(describe_collection, request),
        describe_index: of_the_world!(describe_index, request),
        get_load_state: of_the_world!(get_load_state, request),
        get_replicas: of_the_world!(get_replicas, request),
        get_query_segment_info: of_the_world!(get_query_segment_info, request),
        list_resource_groups: of_the_world!(list_resource_groups),
        describe_resource_group: of_the_world!(describe_resource_group, request),
        get_version: of_the_world!(get_version),
        check_health: of_the_world!(check_health),
        get_metrics: Script::says(move |request| {
            let mut state = at_poll.lock().unwrap();
            state.polls += 1;
            if state.first_poll.is_none() {
                state.first_poll = Some(Instant::now());
                at_first_poll();
            }
            polled.lock().get_metrics(request.get_ref()).map_err(|_| Status::unavailable(""))
        }),
        load_balance: Script::says(move |request| {
            Ok(take_call(&on_call, &at_call, &called, request.into_inner()))
        }),
    };
    fake.start().await
}

fn take_call(
    files: &Files,
    state: &Mutex<State>,
    world: &SharedWorld,
    request: LoadBalanceRequest,
) -> MilvusStatus {
    let durable = files.durable(&request.sealed_segment_i_ds);
    let mut state = state.lock().unwrap();
    let after_first_poll = state.first_poll.map(|at| at.elapsed()).unwrap_or_default();
    state.calls.push(Call { segments: request.sealed_segment_i_ds.clone(), durable, after_first_poll });
    world.lock().load_balance(BalanceRequest {
        caller: String::new(),
        database: request.db_name,
        collection: request.collection_name,
        from: NodeId(request.src_node_id),
        to: request.dst_node_i_ds.into_iter().map(NodeId).collect(),
        segments: request.sealed_segment_i_ds.into_iter().map(SegmentId).collect(),
    });
    // Success proves nothing; what becomes of it is seen later.
    MilvusStatus::default()
}
