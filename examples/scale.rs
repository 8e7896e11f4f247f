//! How long a turn takes, and how much memory, at the size that this program is designed for.
//!
//! ```text
//! cargo run --release --example scale            both of the following, each in a process of its own
//! cargo run --release --example scale poll       1,000 nodes × 100,000 segments, polled over gRPC and planned
//! cargo run --release --example scale plan       1,000 nodes × 1,000,000 copies, planned without a network, once
//!                                                in small replicas and once in replicas of all nodes
//! ```
//!
//! 2026-11-22, 2 cores of an Intel Xeon at 2.6 GHz that had other work as well, optimised but without link-time
//! optimisation, default settings (the plan ends with its budget of 20,000,000 candidates):
//!
//! | nodes × copies    | replicas         | first poll | next poll | fold   | plan   | gates    | peak memory |
//! | ----------------- | ---------------- | ---------- | --------- | ------ | ------ | -------- | ----------- |
//! | 1,000 × 200,800   | 2 of 12 nodes    | 0.78 s     | 0.47 s    | 0.05 s | 0.61 s | < 0.01 s | 56 MiB      |
//! | 1,000 × 1,000,000 | 2 of 10 nodes    | –          | –         | 0.17 s | 0.70 s | < 0.01 s | 187 MiB     |
//! | 1,000 × 1,000,000 | 1 of 1,000 nodes | –          | –         | 0.70 s | 1.3 s  | < 0.01 s | 278 MiB     |
//!
//! The simulated Milvus of `poll` runs in a process of its own (`scale serve`), so that the memory printed is that
//! of the daemon's half alone. Nothing is judged here: machines differ.

#![allow(clippy::expect_used)] // nobody is there to handle an error: the printer ends, and says why

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::gate::{self, GateSettings};
use milvus_rebalancer::milvus::{ConnectionSettings, MilvusClient};
use milvus_rebalancer::model::{Controls, ModelState, PlanningInput, fold};
use milvus_rebalancer::observe::observation::{
    CollectionReport, GroupNode, NodeReport, NodeRole, Observation, ReplicaReport, ResourceGroupReport,
    SegmentLevel, SegmentReport, ServerVersion, ShardReport,
};
use milvus_rebalancer::observe::{MilvusObserver, NodeMetricsSettings, Observer};
use milvus_rebalancer::plan::{self, DimensionView, Placement, PlanSettings};
use milvus_rebalancer::policy::{self, PolicySettings};
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use milvus_rebalancer::units::{
    Bytes, CollectionId, Moment, NodeId, PartitionId, ReplicaId, Rows, SegmentId,
};
use tokio::time::Instant;

/// Query nodes of both clusters.
const NODES: usize = 1_000;
/// Segments of the simulated cluster, each of them in two replicas.
const SIMULATED_SEGMENTS: usize = 100_000;
/// Collections of the made-up clusters.
const COLLECTIONS: usize = 1_000;
/// Copies of the segments of each of them: a million in all.
const COPIES_OF_COLLECTION: usize = 1_000;

/// How the made-up collections lie.
#[derive(Clone, Copy)]
struct Shape {
    replicas: usize,
    nodes_of_replica: usize,
}

/// Small replicas that overlap leave the planner little choice; large ones give it a lot to look at.
const SHAPES: [Shape; 2] =
    [Shape { replicas: 2, nodes_of_replica: 10 }, Shape { replicas: 1, nodes_of_replica: NODES }];

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        None => {
            machine();
            for part in ["poll", "plan"] {
                let status = again(part).status().expect("this program can be started again");
                assert!(status.success(), "{part} failed");
            }
        }
        Some("serve") => serve().await,
        Some("poll") => poll().await,
        Some("plan") => SHAPES.into_iter().for_each(plan_made_up),
        Some(other) => panic!("{other:?}: write poll, plan or nothing"),
    }
}

/// This program, for one part of the work.
fn again(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program knows where it is"));
    command.arg(part);
    command
}

/// What the figures were measured on, and when.
fn machine() {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let model = model.map_or("unknown", |(_, model)| model);
    println!("{} · {cores} cores of {model} · {profile} build", Clock::system().read().wall);
}

/// The simulated Milvus; it ends with its standard input.
async fn serve() {
    let big = WorldPlan {
        nodes: NODES,
        collections: 400,
        segments: SIMULATED_SEGMENTS,
        replicas: 2,
        // 24 nodes for a collection: neighbours overlap, and all nodes are linked.
        nodes_per_replica: 12,
        ..WorldPlan::new(Profile::of(Line::V2_5), 1)
    };
    let began = Instant::now();
    let server = SimServer::start(SharedWorld::new(build(&big))).await.expect("loopback has free ports");
    eprintln!("  (simulated Milvus built in {})", seconds(began.elapsed()));
    println!("{} {}", server.endpoint(), server.http_address());
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0]));
    ended.await.ok();
}

async fn poll() {
    let mut milvus = again("serve")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started again");
    let mut line = String::new();
    BufReader::new(milvus.stdout.take().expect("it is piped")).read_line(&mut line).expect("text");
    let (endpoint, http) = line.trim().split_once(' ').expect("two addresses");
    println!("\n{NODES} nodes × {SIMULATED_SEGMENTS} segments × 2 replicas, over gRPC");
    let settings = ConnectionSettings { endpoint: endpoint.to_owned(), ..ConnectionSettings::default() };
    let client = MilvusClient::new("scale", &settings).expect("the address is one");
    let pages = NodeMetricsSettings {
        url: Some(format!("http://{http}/nodes/{{host}}:{{port}}/metrics")),
        ..NodeMetricsSettings::default()
    };
    let clock = Arc::new(Clock::system());
    let observer = MilvusObserver::new(client, Arc::clone(&clock), &pages).expect("the template is one");
    let mut state = ModelState::default();
    for name in ["first poll, with schemas", "second poll"] {
        let began = Instant::now();
        let observation = observer.observe().await.expect("the simulated Milvus answers");
        row(name, began.elapsed());
        println!("    {} gaps", observation.gaps.len());
        state = turn(state, &observation, clock.read());
    }
    println!("  peak memory {}", peak_memory());
    drop(milvus.stdin.take());
    milvus.wait().expect("it ends with its input");
}

fn plan_made_up(shape: Shape) {
    let Shape { replicas, nodes_of_replica } = shape;
    println!(
        "\n{NODES} nodes × {} copies, {replicas} replicas of {nodes_of_replica} nodes, without a network",
        COLLECTIONS * COPIES_OF_COLLECTION
    );
    let now = Clock::system().read();
    let observation = made_up(shape, now);
    println!("  the observation alone: peak memory {}", peak_memory());
    let mut state = ModelState::default();
    for name in ["first turn", "second turn, nothing changed"] {
        println!("  {name}");
        state = turn(state, &observation, now);
    }
    println!("  peak memory {}", peak_memory());
}

/// One turn of the pure half as `turn::Thinking` takes it, part by part.
fn turn(state: ModelState, observation: &Observation, now: Moment) -> ModelState {
    let mut policies = PolicySettings::default();
    policies.for_each_dimension(|dimension| dimension.turns = 1);
    let policies = policy::registry(&policies);
    let whole = Instant::now();

    let began = Instant::now();
    let (mut state, snapshot) = fold(state, observation, &[]);
    row("fold", began.elapsed());
    println!("    {} copies, {} doubts", snapshot.copies.len(), snapshot.doubts.len());

    let began = Instant::now();
    let history = std::mem::take(&mut state.history);
    let (plan, gate) = (PlanSettings::default(), GateSettings::default());
    let mut input = PlanningInput {
        snapshot: snapshot.into(),
        in_flight: Vec::new(),
        history,
        opinions: milvus_rebalancer::policy::Assessment::default(),
        own_balancer: milvus_rebalancer::model::OwnBalancer::default(),
        controls: Controls::default(),
        plan,
        gate,
        now,
    };
    let assessment = policy::assess_all(&policies, &input);
    let placement = Placement::projected(&input.snapshot, &input.in_flight);
    let views = DimensionView::all(&input.snapshot, &assessment, &placement);
    let (findings, history) = plan::find_overloads(&input, &views, &placement);
    row("assess", began.elapsed());

    let began = Instant::now();
    let restrictions = gate::restrict(&input, &assessment.directives);
    row("restrict", began.elapsed());

    let began = Instant::now();
    let plan = plan::plan(&input, &views, &placement, &findings, &restrictions);
    row("plan", began.elapsed());
    println!(
        "    {} steps, {} moved, {} candidates",
        plan.steps.len(),
        plan.proof.bytes_moved,
        plan.proof.effort_used
    );
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &plan.proof.left_alone {
        *left.entry(node.reason.code()).or_default() += 1;
    }
    println!("    left alone {left:?}");
    for proof in &plan.proof.dimensions {
        println!("    {} {} -> {}, floor {}", proof.dimension, proof.before, proof.after, proof.floor);
    }

    let began = Instant::now();
    let verdict = gate::check(&input, &restrictions, &plan);
    row("check", began.elapsed());
    println!("    {} admitted, {} refusals", verdict.admitted.len(), verdict.refusals.len());
    println!("    digest {:016x}", digest(&(&plan, &verdict)));
    input.history = history;
    state.history = input.history;
    row("pure half, all", whole.elapsed());
    state
}

/// A cluster that nobody has: every collection on neighbouring nodes, half of each replica on its first third.
fn made_up(shape: Shape, now: Moment) -> Observation {
    let mut chance = Chance(1);
    let mut sealed: Vec<BTreeMap<CollectionId, Bytes>> = vec![BTreeMap::new(); NODES];
    let collections: Vec<CollectionReport> =
        (0..COLLECTIONS).map(|number| collection(number, shape, now, &mut chance, &mut sealed)).collect();
    let all: Bytes = sealed.iter().flat_map(BTreeMap::values).copied().sum();
    // Machines that are 40 % full.
    let capacity = Bytes(all.0 / NODES as u64 * 5 / 2);
    let members = (0..NODES).map(|number| GroupNode {
        id: NodeId(id(number)),
        address: address(number),
        hostname: format!("querynode-{number}"),
    });
    let group = ResourceGroupReport { name: GROUP.to_owned(), nodes: Some(members.collect()) };
    let report = |(number, sealed): (usize, BTreeMap<CollectionId, Bytes>)| NodeReport {
        id: NodeId(id(number)),
        address: address(number),
        role: NodeRole::QueryNode,
        error: None,
        memory_capacity: Some(capacity),
        memory_used: Some(sealed.values().copied().sum()),
        growing: None,
        collections: Some(sealed.keys().copied().collect()),
        collection_rows: None,
        sealed_bytes: Some(sealed),
        hardware: milvus_rebalancer::observe::observation::HardwareReport::default(),
        version: VERSION.to_owned(),
    };
    Observation {
        started_at: now.wall,
        took: Duration::ZERO,
        server: ServerVersion::parse(VERSION),
        nodes: sealed.into_iter().enumerate().map(report).collect(),
        resource_groups: Some(vec![group]),
        collections,
        service: milvus_rebalancer::observe::service::ServiceReport::default(),
        signals: milvus_rebalancer::observe::signals::SignalReport::default(),
        complaints: Vec::new(),
        prometheus: Default::default(),
        management: None,
        opinions: Vec::new(),
        gaps: Vec::new(),
    }
}

/// The version that the made-up clusters say they are.
const VERSION: &str = "v2.5.27";
/// The only resource group.
const GROUP: &str = "__default_resource_group";
/// Milvus' ids are as large.
const FIRST_ID: i64 = 455_000_000_000_000_000;

fn id(number: usize) -> i64 {
    i64::try_from(number).expect("numbers here are small")
}

fn address(number: usize) -> String {
    format!("10.0.{}.{}:21123", number / 250, number % 250 + 1)
}

/// A collection, whose bytes are added to what its nodes hold.
fn collection(
    number: usize,
    shape: Shape,
    now: Moment,
    chance: &mut Chance,
    sealed: &mut [BTreeMap<CollectionId, Bytes>],
) -> CollectionReport {
    let collection = CollectionId(FIRST_ID + id(number));
    let row_bytes = 500 + chance.below(4_000);
    let first = number * 7 % (NODES - shape.replicas * shape.nodes_of_replica + 1);
    let member = |replica: usize, at: usize| first + replica * shape.nodes_of_replica + at;
    let count = COPIES_OF_COLLECTION / shape.replicas;
    let mut segments = Vec::with_capacity(count);
    for position in 0..count {
        let rows = 10_000 + chance.below(200_000);
        let mut nodes = Vec::with_capacity(shape.replicas);
        for replica in 0..shape.replicas {
            let part = if chance.below(2) == 0 { 3 } else { 1 };
            let at = chance.below((shape.nodes_of_replica / part) as u64);
            let node = member(replica, usize::try_from(at).expect("replicas are small"));
            let there = sealed[node].entry(collection).or_default();
            *there = there.saturating_add(Bytes(rows * row_bytes));
            nodes.push(NodeId(id(node)));
        }
        segments.push(SegmentReport {
            id: SegmentId(FIRST_ID + id(number * count + position)),
            partition: PartitionId(1),
            rows: Rows(rows),
            nodes,
            level: SegmentLevel::L1,
        });
    }
    let replica = |replica: usize| ReplicaReport {
        id: ReplicaId(FIRST_ID + id(number * shape.replicas + replica)),
        nodes: (0..shape.nodes_of_replica).map(|at| NodeId(id(member(replica, at)))).collect(),
        resource_group: GROUP.to_owned(),
        shards: vec![ShardReport {
            leader: NodeId(id(member(replica, 0))),
            leader_address: address(member(replica, 0)),
            channel: format!("by-dev-rootcoord-dml_0_{collection}v0"),
        }],
        outbound_nodes: 0,
    };
    CollectionReport {
        database: "default".to_owned(),
        name: format!("collection_{number}"),
        id: collection,
        load_percentage: 100,
        read_at: now.wall,
        replicas: Some((0..shape.replicas).map(replica).collect()),
        segments: Some(segments),
        estimated_row_bytes: Some(row_bytes),
    }
}

/// Numbers that look like chance and are the same everywhere (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A number that two machines and two versions agree on exactly when they decide the same (FNV-1a).
fn digest(decision: &impl serde::Serialize) -> u64 {
    let text = serde_json::to_string(decision).expect("plans and verdicts are JSON");
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn row(name: &str, took: Duration) {
    println!("  {name:<28} {:>10}", seconds(took));
}

fn seconds(took: Duration) -> String {
    format!("{:.3} s", took.as_secs_f64())
}

/// The most memory that this process has had, as Linux counts it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kibibytes.map_or("unknown".to_owned(), |kibibytes| Bytes(kibibytes << 10).to_string())
}
