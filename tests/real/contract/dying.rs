//! A node dies: from the moment when only its own port knows, to the day after.

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::milvus::MilvusClient;
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::units::{CollectionId, NodeId, SegmentId};
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::{BOOKS, Places, Subject, places};
use super::expect_about;

/// Measured on 2.3.5: the session's time to live.
const BELIEVED_ALIVE: Duration = Duration::from_secs(28);
/// Measured on 2.3.5: until a call from a dead node fails.
const FRUITLESS: Duration = Duration::from_secs(13);
/// Measured on 2.3.5: what `GetMetrics` takes while it asks a dead node.
const SLOW_METRICS: Duration = Duration::from_millis(2500);

fn query_nodes(info: &str) -> BTreeSet<i64> {
    let info: Value = serde_json::from_str(info).unwrap();
    let entries = info["nodes_info"].as_array().unwrap();
    let of_query_nodes = entries.iter().filter(|entry| entry["infos"]["type"] == "querynode");
    of_query_nodes.map(|entry| entry["identifier"].as_i64().unwrap()).collect()
}

/// What was seen of the dead node's segments, and when, in the cluster's time.
#[derive(Debug, Default)]
struct Seen {
    listed_until: Duration,
    in_replica_until: Duration,
    whole_again_at: Option<Duration>,
    replica_errors: BTreeSet<String>,
    fewest_segments: usize,
}

async fn follow(client: &MilvusClient, speed: u32, books: i64, dead: i64) -> Seen {
    let began = Instant::now();
    let mut seen = Seen { fewest_segments: BOOKS, ..Seen::default() };
    while began.elapsed() * speed < Duration::from_secs(90) {
        let now = began.elapsed() * speed;
        let places: Places = places(client, "", "books").await;
        let still_there = places.values().any(|at| at.contains(&dead));
        if still_there {
            seen.listed_until = now;
        }
        seen.fewest_segments = seen.fewest_segments.min(places.len());
        let mut in_replica = false;
        match client.replicas(CollectionId(books)).await {
            Ok(replicas) => in_replica = replicas.iter().any(|replica| replica.node_ids.contains(&dead)),
            Err(error) => {
                seen.replica_errors.insert(error.to_string());
            }
        }
        if in_replica {
            seen.in_replica_until = now;
        }
        if !still_there && !in_replica && places.len() == BOOKS && places.values().all(|at| at.len() == 1) {
            seen.whole_again_at = Some(now);
            break;
        }
        tokio::time::sleep(Duration::from_millis(200) / speed).await;
    }
    seen
}

pub fn killed(s: &mut Subject) {
    let [alive, dead] = [1, 3].map(|position| s.cluster.nodes()[position]);
    let (one, two) = {
        let mut all = s.places("books").into_keys();
        (all.next().unwrap(), all.next().unwrap())
    };
    s.gather(&[one], dead);
    s.gather(&[two], alive);
    // The cache of GetMetrics must have ended.
    s.pause(Duration::from_secs(6));
    s.cluster.kill(dead);
    let (books, speed, mover) = (s.id("books"), s.cluster.speed(), s.mover());
    let call = |from: i64, to: i64, segment: i64| {
        MoveCall::new("", "books", NodeId(from), NodeId(to), vec![SegmentId(segment)]).unwrap()
    };
    let (away, there) = (call(dead, alive, one), call(alive, dead, two));
    let timed = async |call: &MoveCall| {
        let began = Instant::now();
        (mover.load_balance(call).await, began.elapsed() * speed)
    };
    let metrics = async {
        let began = Instant::now();
        let first = s.client.system_info().await.unwrap();
        (query_nodes(&first), began.elapsed() * speed)
    };
    let (seen, metrics, away, there) = s.ask(async {
        futures::join!(follow(&s.client, speed, books, dead), metrics, timed(&away), timed(&there))
    });
    println!("    {seen:#?}");
    println!("    GetMetrics: {:?} after {:.1?}", metrics.0, metrics.1);
    println!("    from the dead node, after {:.1?}: {:?}", away.1, away.0);
    println!("    to the dead node, after {:.1?}: {:?}", there.1, there.0);
    assert!(!metrics.0.contains(&dead) && metrics.0.contains(&alive));
    expect_about(s, "GetMetrics", metrics.1, SLOW_METRICS);
    expect_about(s, "listed", seen.listed_until, BELIEVED_ALIVE);
    expect_about(s, "in its replica", seen.in_replica_until, BELIEVED_ALIVE);
    let whole = seen.whole_again_at.expect("the segments come back elsewhere");
    expect_about(s, "recovery after that", whole.saturating_sub(seen.listed_until), Duration::from_secs(3));
    expect_about(s, "from the dead node", away.1, FRUITLESS);
    assert_eq!(away.0.unwrap_err().remedy(), Remedy::OutcomeUnknown);
    expect_about(s, "to the dead node", there.1, FRUITLESS);
    assert_eq!(there.0.unwrap_err().remedy(), Remedy::OutcomeUnknown);
}
