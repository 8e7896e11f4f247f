//! The size that the program is designed for, from the wire to the verdict. It is no benchmark: what is asserted
//! is what came out. What it took is printed (`cargo test --test it scale -- --nocapture`), and in earnest by
//! `examples/scale.rs`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::milvus::{ConnectionSettings, MilvusClient};
use milvus_rebalancer::model::Snapshot;
use milvus_rebalancer::observe::{MilvusObserver, NodeMetricsSettings, Observer};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use milvus_rebalancer::turn::{OwnMoves, Thinking};
use tokio::time::Instant;

use crate::cluster::lifted_gates;

const NODES: usize = 1_000;
const COLLECTIONS: usize = 400;
const SEGMENTS: usize = 100_000;

/// Too little for a plan to its end: the budget must hold, and what is planned before it ends must be sound. It
/// also keeps a build without optimisation quick.
const EFFORT: u64 = 20_000;

fn big_plan() -> WorldPlan {
    WorldPlan {
        nodes: NODES,
        collections: COLLECTIONS,
        segments: SEGMENTS,
        replicas: 2,
        // 24 nodes for a collection: neighbours overlap, so that all nodes are linked.
        nodes_per_replica: 12,
        ..WorldPlan::new(Profile::of(Line::V2_5), 1)
    }
}

/// Without what tells when it was looked at.
fn timeless(snapshot: &Snapshot) -> Snapshot {
    let mut snapshot = snapshot.clone();
    snapshot.taken_at = Timestamp::UNIX_EPOCH;
    for collection in &mut snapshot.collections {
        collection.read_at = Timestamp::UNIX_EPOCH;
    }
    snapshot
}

/// Prints how long something took.
fn took(what: &str, since: Instant) {
    println!("{what}: {:.2} s", since.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_nodes_and_a_hundred_thousand_segments_go_from_the_wire_to_a_verdict() {
    let began = Instant::now();
    let shared = SharedWorld::new(build(&big_plan()));
    took("building", began);
    let server = SimServer::start(shared.clone()).await.unwrap();
    let connection = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    let client = MilvusClient::new("simulated", &connection).unwrap();
    let pages = NodeMetricsSettings {
        targets: server.node_pages().clone(),
        // A machine that runs other tests as well may let a page wait.
        timeout: Duration::from_secs(30),
        ..NodeMetricsSettings::default()
    };
    let clock = Arc::new(Clock::system());
    let observer = MilvusObserver::new(client, Arc::clone(&clock), &pages).unwrap();
    let settings = PlanSettings { effort: EFFORT, ..PlanSettings::default() };
    let mut thinking = Thinking::for_one_look(&PolicySettings::default(), settings, lifted_gates());

    let mut decisions = Vec::new();
    for _ in 0..2 {
        let began = Instant::now();
        let observation = observer.observe().await.unwrap();
        took("poll", began);
        assert_eq!(observation.gaps, []);
        let pages_read = observation.nodes.iter().filter(|node| node.sealed_bytes.is_some());
        assert_eq!(pages_read.count(), NODES);
        let began = Instant::now();
        decisions.push(thinking.turn(&observation, OwnMoves::default(), clock.read()));
        took("turn", began);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    println!("peak memory, with the simulated Milvus and other tests: {}", peak.unwrap_or("unknown"));

    let (second, first) = (decisions.pop().unwrap(), decisions.pop().unwrap());
    let snapshot = &first.snapshot;
    // A level-0 segment for each collection.
    let segments = SEGMENTS + COLLECTIONS;
    assert_eq!((snapshot.nodes.len(), snapshot.collections.len()), (NODES, COLLECTIONS));
    assert_eq!((snapshot.replicas.len(), snapshot.copies.len()), (2 * COLLECTIONS, 2 * segments));
    assert_eq!(snapshot.components.len(), 1, "all nodes are linked by overlapping replicas");
    assert_eq!(snapshot.doubts, []);
    assert!(snapshot.nodes.iter().all(|node| node.standing.is_usable()));

    assert!(!first.plan.steps.is_empty());
    let proof = &first.plan.proof;
    assert_eq!(proof.effort_used, EFFORT, "the plan ends with its budget");
    assert!(proof.left_alone.iter().any(|left| left.reason == Reason::EffortSpent));
    assert!(proof.dimensions.iter().all(|dimension| dimension.after <= dimension.before));
    for step in &first.plan.steps {
        assert!(step.source_after < step.source_before, "every step is worth having: {step:?}");
    }
    assert_eq!(first.verdict.admitted.len(), first.plan.steps.len(), "{:?}", first.verdict.refusals);

    assert_eq!(second.foreign_moves.len(), 0);
    assert!(second.plan == first.plan, "nothing has changed, so nothing else is planned");
    assert!(timeless(&second.snapshot) == timeless(&first.snapshot), "nothing has changed");

    let world = shared.lock();
    let counts = world.counts();
    let collections = COLLECTIONS as u64;
    assert_eq!((counts.segment_info, counts.replicas), (2 * collections, 2 * collections));
    assert_eq!(counts.schemas, 2 * collections, "schemas and indexes are read once");
}
