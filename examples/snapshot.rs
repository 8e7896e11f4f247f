//! Writes a snapshot file of a simulated cluster of any size, and says what reading it and planning on it costs.
//!
//! ```text
//! cargo run --release --example snapshot write FILE [NODES [SEGMENTS]]   a simulated Milvus 2.6, two replicas of 10 nodes
//! cargo run --release --example snapshot read FILE                       reads it, plans, prints times and peak memory
//! ```
//!
//! The figures in `docs/snapshots.md` come from here.

#![allow(clippy::expect_used)] // nobody is there to handle an error: the printer ends, and says why

use std::path::PathBuf;
use std::time::Duration;

use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimObserver, WorldPlan, build};
use milvus_rebalancer::situation::{Situation, file};
use milvus_rebalancer::turn::{OwnMoves, Thinking};
use milvus_rebalancer::units::Moment;
use tokio::time::Instant;

/// Nodes of each replica.
const NODES_PER_REPLICA: usize = 10;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, otherwise: usize| {
        arguments.get(at).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let path = PathBuf::from(arguments.get(1).expect("write FILE or read FILE"));
    match arguments[0].as_str() {
        "write" => write(path, number(2, 1_000), number(3, 500_000)).await,
        "read" => read(path),
        other => panic!("{other:?}: write or read"),
    }
}

async fn write(path: PathBuf, nodes: usize, segments: usize) {
    let plan = WorldPlan {
        nodes,
        segments,
        collections: (segments / 500).clamp(3, 2_000),
        replicas: 2,
        nodes_per_replica: NODES_PER_REPLICA.min(nodes / 2),
        ..WorldPlan::new(Profile::of(Line::V2_6), 1)
    };
    let observer = SimObserver::new(SharedWorld::new(build(&plan)), true);
    let observation = observer.observe().await.expect("a simulated cluster can be observed");
    let policies = PolicySettings::default();
    let mut thinking = Thinking::new(&policies, PlanSettings::default(), GateSettings::default());
    let now = Moment { wall: observation.started_at, monotonic: Duration::ZERO };
    let begun = thinking.begin(&observation, OwnMoves::default(), now);
    let situation = Situation { input: begun.input, policies, directives: Vec::new() };
    let began = Instant::now();
    file::save(&situation, &path).expect("the file can be written");
    let bytes = path.metadata().map_or(0, |metadata| metadata.len());
    println!("{} copies", situation.input.snapshot.copies.len());
    println!("written in {:.2} s: {:.1} MiB", began.elapsed().as_secs_f64(), mebibytes(bytes));
}

fn read(path: PathBuf) {
    let began = Instant::now();
    let read = file::load(&path).expect("the file can be read");
    println!("read and checked in {:.2} s, {}", began.elapsed().as_secs_f64(), peak());
    let policies = read.policies.expect("written with its settings");
    let situation = Situation { input: read.input, policies, directives: read.directives };
    let began = Instant::now();
    let decision = situation.decide();
    println!(
        "{} moves planned in {:.2} s, {}",
        decision.plan.moves().count(),
        began.elapsed().as_secs_f64(),
        peak()
    );
}

#[allow(clippy::cast_precision_loss)] // for people
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The most memory that this process has had.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    format!("peak memory {}", line.map_or("unknown", str::trim))
}
