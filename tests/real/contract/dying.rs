//! A node dies: from the moment when only its own port knows, to the day after.

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::milvus::MilvusClient;
use milvus_rebalancer::milvus::Remedy;
use milvus_rebalancer::milvus::wire::milvus::GetMetricsRequest;
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
    let speed = s.cluster.speed();
    let dead = s.replicas("books")[0].shard_replicas[0].leader_id;
    let living: Vec<i64> = s.cluster.nodes().into_iter().filter(|node| *node != dead).collect();
    let (alive, other) = (living[0], living[1]);
    println!("old is led by {} dead {dead}", s.replicas("old")[0].shard_replicas[0].leader_id);
    let mut books = s.places("books").into_keys();
    let books: Vec<i64> = (0..3).map(|_| books.next().unwrap()).collect();
    s.gather(&books[..1], dead);
    s.gather(&books[1..], alive);
    let old = s.ask(places(&s.client, "archive", "old"));
    println!("{old:?}");
    let old_on = |node: i64| old.iter().find(|(_, at)| **at == [node]).map(|(id, _)| *id).unwrap();
    // The cache of GetMetrics must have ended.
    s.pause(Duration::from_secs(6));
    s.cluster.kill(dead);
    let s = &*s;
    let began = Instant::now();
    let call = |database: &str, name: &str, from: i64, to: i64, segment: i64| {
        let mut request = super::cluster::request(name, from, &[to], &[segment]);
        request.db_name = database.to_owned();
        let what = format!("{name} {from} -> {to} (dead {dead})");
        async move {
            let told = super::cluster::balance(s.rpc.clone(), request, speed).await;
            println!("    {what}: {:?} after {:.1?}", told.status, told.took);
            told
        }
    };
    let metrics = |after: u64| async move {
        tokio::time::sleep(Duration::from_secs(after) / speed).await;
        let began = Instant::now();
        // Not through the client, which would give up first.
        let query = GetMetricsRequest { request: r#"{"metric_type":"system_info"}"#.to_owned() };
        let answer = s.rpc.clone().get_metrics(query).await.unwrap().into_inner();
        println!(
            "GetMetrics at {after} took {:?} {:?} {:?}",
            began.elapsed(),
            answer.status,
            query_nodes(&answer.response)
        );
    };
    let _ = began;
    let seen = s.ask(async {
        futures::join!(
            follow(&s.client, speed, s.id("books"), dead),
            metrics(0),
            metrics(1),
            metrics(5),
            metrics(15),
            metrics(24),
            metrics(29),
            call("", "books", dead, alive, books[0]),
            call("", "books", alive, dead, books[1]),
            call("", "books", alive, other, books[2]),
            call("archive", "old", dead, alive, old_on(dead)),
            call("archive", "old", alive, dead, old_on(alive)),
            call("archive", "old", other, alive, old_on(other)),
        )
    });
    println!("{:#?}", seen.0);
}
