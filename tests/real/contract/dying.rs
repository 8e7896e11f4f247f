//! A node dies: from the moment when only its own port knows, to the time when all is well again.

use std::collections::BTreeSet;
use std::time::Duration;

use milvus_rebalancer::milvus::wire::milvus::{GetMetricsRequest, LoadBalanceRequest};
use milvus_rebalancer::milvus::{Refusal, Remedy};
use milvus_rebalancer::units::CollectionId;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::{Places, Subject, Told, balance, places, request};
use super::{HANG, expect_about};

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
    all: usize,
}

async fn follow(s: &Subject, (database, name): Place, dead: i64, killed: Instant) -> Seen {
    let (client, speed, id) = (&s.client, s.cluster.speed(), s.id(name));
    let all = places(client, database, name).await.len();
    let mut seen = Seen { fewest_segments: all, all, ..Seen::default() };
    while killed.elapsed() < HANG {
        let now = s.since(killed);
        let places: Places = places(client, database, name).await;
        let still_there = places.values().any(|at| at.contains(&dead));
        if still_there {
            seen.listed_until = now;
        }
        seen.fewest_segments = seen.fewest_segments.min(places.len());
        let mut in_replica = false;
        match client.replicas(CollectionId(id)).await {
            Ok(replicas) => in_replica = replicas.iter().any(|replica| replica.node_ids.contains(&dead)),
            Err(error) => {
                seen.replica_errors.insert(error.to_string());
            }
        }
        if in_replica {
            seen.in_replica_until = now;
        }
        if !still_there && !in_replica && places.len() == all && places.values().all(|at| at.len() == 1) {
            seen.whole_again_at = Some(now);
            break;
        }
        tokio::time::sleep(Duration::from_millis(200) / speed).await;
    }
    seen
}

/// An answer of `GetMetrics`.
struct Metrics {
    nodes: BTreeSet<i64>,
    /// After the death, like the next one.
    asked: Duration,
    answered: Duration,
}

/// Asks `GetMetrics` some time after the death.
async fn metrics(s: &Subject, killed: Instant, after: Duration) -> Metrics {
    tokio::time::sleep(after / s.cluster.speed()).await;
    let asked = s.since(killed);
    let query = GetMetricsRequest { request: r#"{"metric_type":"system_info"}"#.to_owned() };
    let mut rpc = s.rpc.clone();
    let answer = tokio::time::timeout(HANG, rpc.get_metrics(query));
    let answer = answer.await.expect("GetMetrics hangs").unwrap().into_inner();
    Metrics { nodes: query_nodes(&answer.response), asked, answered: s.since(killed) }
}

/// Asserts a refusal, and what the client makes of it.
fn expect_refused(told: &Told, code: i32, reason: &str, remedy: Remedy) {
    assert_eq!((told.status.code, told.status.error_code), (code, 1), "{told:?}");
    assert!(told.status.reason.starts_with(reason), "{told:?}");
    let refusal = Refusal::in_status(&told.status).unwrap();
    assert_eq!(refusal.remedy(milvus_rebalancer::milvus::Call::LoadBalance), remedy);
}

/// A collection of one shard, with the database it is in.
type Place = (&'static str, &'static str);

/// A node that may die, a collection that it leads, and one that it does not lead.
fn victim(s: &Subject) -> (i64, Place, Place) {
    let of_one_shard: [Place; 3] = [("", "books"), ("", "more"), ("archive", "old")];
    let led = of_one_shard.map(|place| (place, s.replicas(place.1)[0].shard_replicas[0].leader_id));
    for (place, leader) in led {
        let elsewhere = led.into_iter().find(|(_, other)| *other != leader);
        if let Some((other, _)) = elsewhere.filter(|_| leader != s.cluster.nodes()[0]) {
            return (leader, place, other);
        }
    }
    panic!("one node leads everything: {led:?}");
}

/// Three moves of a collection: from the dead node, to it, and past it.
fn three_moves(s: &Subject, place: Place, dead: i64) -> [LoadBalanceRequest; 3] {
    let (database, name) = place;
    let living: Vec<i64> = s.cluster.nodes().into_iter().filter(|node| *node != dead).collect();
    let (alive, other) = (living[0], living[1]);
    let segments: Vec<i64> = s.places_in(database, name).into_keys().collect();
    [(dead, alive), (alive, dead), (other, alive)].map(|(from, to)| {
        let segment = segments[[dead, alive, other].iter().position(|node| *node == from).unwrap()];
        s.gather_in(database, name, &[segment], from);
        LoadBalanceRequest { db_name: database.to_owned(), ..request(name, from, &[to], &[segment]) }
    })
}

/// Moves in a shard that the dead node leads hang until its session has ended. In one that another node leads only
/// those to the dead node fail, and soon.
pub fn killed(s: &mut Subject) {
    let (dead, led, led_elsewhere) = victim(s);
    let hindered = three_moves(s, led, dead);
    let unhindered = three_moves(s, led_elsewhere, dead);
    // The cache of GetMetrics must have ended.
    s.pause(Duration::from_secs(6));
    s.cluster.kill(dead);

    let (s, killed) = (&*s, Instant::now());
    let speed = s.cluster.speed();
    let call = |request: LoadBalanceRequest| balance(s.rpc.clone(), request, speed);
    let (seen, first, later, hindered, unhindered) = s.ask(async {
        futures::join!(
            follow(s, led, dead, killed),
            metrics(s, killed, Duration::ZERO),
            metrics(s, killed, Duration::from_secs(12)),
            futures::future::join_all(hindered.map(call)),
            futures::future::join_all(unhindered.map(call)),
        )
    });
    println!("    {seen:?}");
    expect_about(s, "listed as if alive", seen.listed_until, BELIEVED_ALIVE);
    expect_about(s, "in its replica as if alive", seen.in_replica_until, BELIEVED_ALIVE);
    assert!(seen.fewest_segments < seen.all, "what was on it is gone for a moment");
    let whole = seen.whole_again_at.expect("the segments come back elsewhere");
    expect_about(s, "until all is back", whole.saturating_sub(seen.listed_until), RECOVERY);
    let no_leader = |error: &String| error.contains("code 901 (failed to get shard leader");
    assert!(!seen.replica_errors.is_empty() && seen.replica_errors.iter().all(no_leader), "{seen:?}");

    // Asked while the dead node is believed to live, it takes until it is not, and does not list it then. It tries
    // again 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 22.6 and 32.6 s after the question, so the answer may come late.
    for Metrics { nodes, asked, answered } in [first, later] {
        let until = seen.listed_until;
        println!(
            "    GetMetrics asked at {asked:.1?} answers at {answered:.1?}; the session ends at {until:.1?}"
        );
        assert!(!nodes.contains(&dead) && nodes.contains(&s.cluster.nodes()[0]), "{nodes:?}");
        assert!(answered + Duration::from_secs(2) >= until, "{answered:?}");
    }

    let [away, there, among] = &hindered[..] else { unreachable!() };
    for told in &hindered {
        println!("    led by the dead node: {} {:?}", told.status.code, told.status.reason);
        expect_about(s, "answered", told.took, BELIEVED_ALIVE);
    }
    let gone = format!("failed to balance segments: node not found[node={dead}]");
    for told in [away, there] {
        // Seen on 2.3.5 as often: success, which proves nothing.
        if told.status.code != 0 {
            expect_refused(told, 901, &gone, Remedy::Replan);
        }
    }
    expect_refused(among, 500, "failed to get shard delegator: channel not found[channel=", Remedy::Replan);
    let [away, there, among] = &unhindered[..] else { unreachable!() };
    for told in [away, among] {
        assert_eq!((told.status.code, told.status.reason.as_str()), (0, ""));
        expect_about(s, "away from the dead node, or past it", told.took, UNHINDERED);
    }
    expect_refused(there, 65535, "failed to balance segments: unrecoverable error", Remedy::OutcomeUnknown);
    expect_about(s, "to the dead node", there.took, UNREACHABLE);
}
