//! A node dies: from the moment when only its own port knows, to the time when all is well again.

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::milvus::wire::milvus::{GetMetricsRequest, LoadBalanceRequest};
use milvus_rebalancer::milvus::{MilvusClient, Refusal, Remedy};
use milvus_rebalancer::units::CollectionId;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::{BOOKS, Places, Subject, Told, balance, places, request};
use super::expect_about;

/// Measured on 2.3.5: 20 to 28 s, by how long ago the session's lease was renewed.
const BELIEVED_ALIVE: Duration = Duration::from_secs(25);
/// Measured on 2.3.5: until every segment is back.
const RECOVERY: Duration = Duration::from_secs(2);
/// Measured on 2.3.5: a move that a dead node does not hinder.
const UNHINDERED: Duration = Duration::from_millis(1200);
/// Measured on 2.3.5: until a delegator says that it cannot reach the dead node.
const UNREACHABLE: Duration = Duration::from_millis(700);

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

/// What `GetMetrics` says, and how long it takes. Not through the client, which would give up first.
async fn metrics(s: &Subject, after: Duration) -> (BTreeSet<i64>, Duration) {
    let speed = s.cluster.speed();
    tokio::time::sleep(after / speed).await;
    let began = Instant::now();
    let query = GetMetricsRequest { request: r#"{"metric_type":"system_info"}"#.to_owned() };
    let answer = s.rpc.clone().get_metrics(query).await.unwrap().into_inner();
    (query_nodes(&answer.response), began.elapsed() * speed)
}

/// Asserts a refusal, and what the client makes of it.
fn expect_refused(told: &Told, code: i32, reason: &str, remedy: Remedy) {
    assert_eq!((told.status.code, told.status.error_code), (code, 1), "{told:?}");
    assert!(told.status.reason.starts_with(reason), "{told:?}");
    let refusal = Refusal::in_status(&told.status).unwrap();
    assert_eq!(refusal.remedy(milvus_rebalancer::milvus::Call::LoadBalance), remedy);
}

/// The node that dies leads `books`, whose moves all hang until its session has ended; in `old`, which another
/// node leads, only moves to the dead node fail.
pub fn killed(s: &mut Subject) {
    let dead = s.replicas("books")[0].shard_replicas[0].leader_id;
    let living: Vec<i64> = s.cluster.nodes().into_iter().filter(|node| *node != dead).collect();
    let (alive, other) = (living[0], living[1]);
    let segments: Vec<i64> = s.places("books").into_keys().take(3).collect();
    s.gather(&segments[..1], dead);
    s.gather(&segments[1..], alive);
    let led_elsewhere = s.replicas("old")[0].shard_replicas[0].leader_id != dead;
    let old: Vec<i64> = s.places_in("archive", "old").into_keys().collect();
    for (segment, node) in old.iter().zip([dead, alive, other]) {
        s.gather_in("archive", "old", &[*segment], node);
    }
    let in_old = |from: i64, to: i64, segment: i64| LoadBalanceRequest {
        db_name: "archive".to_owned(),
        ..request("old", from, &[to], &[segment])
    };
    // The cache of GetMetrics must have ended.
    s.pause(Duration::from_secs(6));
    s.cluster.kill(dead);

    let s = &*s;
    let speed = s.cluster.speed();
    let call = |request: LoadBalanceRequest| balance(s.rpc.clone(), request, speed);
    let hindered = [
        request("books", dead, &[alive], &segments[..1]),
        request("books", alive, &[dead], &segments[1..2]),
        request("books", alive, &[other], &segments[2..]),
    ];
    let unhindered = [in_old(dead, alive, old[0]), in_old(alive, dead, old[1]), in_old(other, alive, old[2])];
    let (seen, first, later, hindered, unhindered) = s.ask(async {
        futures::join!(
            follow(&s.client, speed, s.id("books"), dead),
            metrics(s, Duration::ZERO),
            metrics(s, Duration::from_secs(12)),
            futures::future::join_all(hindered.map(call)),
            futures::future::join_all(unhindered.map(call)),
        )
    });
    println!("    {seen:?}");
    expect_about(s, "listed as if alive", seen.listed_until, BELIEVED_ALIVE);
    expect_about(s, "in its replica as if alive", seen.in_replica_until, BELIEVED_ALIVE);
    assert!(seen.fewest_segments < BOOKS, "what was on it is gone for a moment");
    let whole = seen.whole_again_at.expect("the segments come back elsewhere");
    expect_about(s, "until all is back", whole.saturating_sub(seen.listed_until), RECOVERY);
    let no_leader = |error: &String| error.contains("code 901 (failed to get shard leader");
    assert!(!seen.replica_errors.is_empty() && seen.replica_errors.iter().all(no_leader), "{seen:?}");

    // Asked while the dead node is believed to live, it takes until it is not, and does not list it then.
    for (nodes, took, asked_at) in [(first.0, first.1, 0), (later.0, later.1, 12)] {
        let session = seen.listed_until.saturating_sub(Duration::from_secs(asked_at));
        println!("    GetMetrics asked after {asked_at} s takes {took:.1?} for a session of {session:.1?}");
        assert!(!nodes.contains(&dead) && nodes.contains(&alive), "{nodes:?}");
        // It tries again after 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 22.6 and 32.6 s.
        assert!(took + Duration::from_secs(2) >= session, "{took:?}");
        assert!(took <= session * 2 + Duration::from_secs(2), "{took:?}");
    }

    let [away, there, among] = &hindered[..] else { unreachable!() };
    for told in &hindered {
        println!("    led by the dead node: {} after {:.1?}", told.status.reason, told.took);
        expect_about(s, "refused", told.took, BELIEVED_ALIVE);
    }
    let gone = format!("failed to balance segments: node not found[node={dead}]");
    expect_refused(away, 901, &gone, Remedy::Replan);
    expect_refused(there, 901, &gone, Remedy::Replan);
    expect_refused(among, 500, "failed to get shard delegator: channel not found[channel=", Remedy::Replan);
    if !led_elsewhere {
        println!("    the same node leads both collections: nothing to be learnt of dead workers");
        return;
    }
    let [away, there, among] = &unhindered[..] else { unreachable!() };
    for told in [away, among] {
        assert_eq!((told.status.code, told.status.reason.as_str()), (0, ""));
        expect_about(s, "away from the dead node, or past it", told.took, UNHINDERED);
    }
    expect_refused(there, 65535, "failed to balance segments: unrecoverable error", Remedy::OutcomeUnknown);
    expect_about(s, "to the dead node", there.took, UNREACHABLE);
}
