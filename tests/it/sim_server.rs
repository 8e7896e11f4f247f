//! The simulated Milvus over loopback, read and moved by the real client.

#![allow(clippy::unwrap_used)] // a test that cannot set its scene should fail loudly

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::execute::{MoveCall, Mover};
use milvus_rebalancer::milvus::{ConnectionSettings, Failure, MilvusClient, MilvusMover};
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::observe::service::{ProxyCounters, ServiceReport};
use milvus_rebalancer::observe::{MilvusObserver, NodeMetricsSettings, Observer, ProxyMetricsSettings};
use milvus_rebalancer::sim::cluster::CopyState;
use milvus_rebalancer::sim::profile::ALL_LINES;
use milvus_rebalancer::sim::{
    Line, Profile, SharedWorld, SimMover, SimObserver, SimServer, World, WorldPlan, build,
};
use milvus_rebalancer::units::{NodeId, SegmentId};

/// So fast that a move takes a few milliseconds of the test's time.
const SPEED: u32 = 200;

fn plan(line: Line) -> WorldPlan {
    WorldPlan { nodes: 4, collections: 6, segments: 60, replicas: 2, ..WorldPlan::new(Profile::of(line), 3) }
}

fn client(server: &SimServer) -> MilvusClient {
    let settings = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    MilvusClient::new("simulated", &settings).unwrap()
}

fn observer(server: &SimServer, shared: &SharedWorld) -> MilvusObserver {
    let pages =
        NodeMetricsSettings { targets: server.node_pages().clone(), ..NodeMetricsSettings::default() };
    let observer = MilvusObserver::new(client(server), Arc::new(shared.clock()), &pages).unwrap();
    let proxies = ProxyMetricsSettings {
        targets: vec![format!("http://{}/metrics", server.http_address())],
        ..ProxyMetricsSettings::default()
    };
    observer.with_proxy_metrics(&proxies).unwrap()
}

/// What does not depend on when it was asked.
fn timeless(mut seen: Observation) -> Observation {
    seen.took = Duration::ZERO;
    let started_at = jiff::Timestamp::UNIX_EPOCH;
    for collection in &mut seen.collections {
        collection.read_at = started_at;
    }
    // Searches go on.
    let signals = milvus_rebalancer::observe::signals::SignalReport::default();
    Observation { started_at, service: ServiceReport::default(), signals, ..seen }
}

/// What of the service report does not depend on when it was asked: who answered, and with which edges.
fn service_shape(seen: &Observation) -> (Vec<Vec<u64>>, Vec<NodeId>) {
    let edges = |proxy: &ProxyCounters| proxy.searches.buckets.iter().map(|(edge, _)| *edge).collect();
    (seen.service.proxies.values().map(edges).collect(), seen.service.waiting.keys().copied().collect())
}

/// A segment of the first collection on a node, as a call to another node of the same replica.
fn a_move(world: &World) -> (SegmentId, MoveCall) {
    let collection = world.collections().values().next().unwrap();
    let nodes: Vec<NodeId> = collection.replicas[0].read_write.iter().copied().collect();
    let segment = collection
        .segments
        .iter()
        .filter_map(|id| world.segments().get(id))
        .filter(|segment| segment.rows > 0)
        .find(|segment| {
            segment.copies.iter().any(|copy| copy.node == nodes[0] && copy.state == CopyState::Serving)
        })
        .unwrap();
    let call = MoveCall::new(&collection.database, &collection.name, nodes[0], nodes[1], vec![segment.id]);
    (segment.id, call.unwrap())
}

#[tokio::test]
async fn the_network_and_the_direct_seams_tell_the_same() {
    for line in ALL_LINES {
        let shared = SharedWorld::new(build(&plan(line)));
        let server = SimServer::start(shared.clone()).await.unwrap();
        let over_network = observer(&server, &shared).observe().await.unwrap();
        let direct = SimObserver::new(shared.clone(), true).observe().await.unwrap();
        assert_eq!(over_network.gaps, [], "{line}");
        assert_eq!(over_network.collections.len(), 6, "{line}");
        let (edges, waiting) = service_shape(&over_network);
        assert_eq!((edges.len(), edges[0].len()), (1, 18), "{line}");
        assert!(edges[0].contains(&256_000) && !waiting.is_empty(), "{line}");
        assert_eq!(service_shape(&direct), (edges, waiting), "{line}");
        let (over_network, direct) = (timeless(over_network), timeless(direct));
        for (one, other) in over_network.nodes.iter().zip(&direct.nodes) {
            assert_eq!(one, other, "{line}");
        }
        assert!(over_network == direct, "{line}: the nodes agree, the rest does not");
    }
}

#[tokio::test]
async fn moves_land_over_the_network() {
    for line in ALL_LINES {
        let shared = SharedWorld::with_speed(build(&plan(line)), SPEED);
        let server = SimServer::start(shared.clone()).await.unwrap();
        let mover = MilvusMover::new(client(&server), Some(Duration::from_secs(20)));
        let (segment, call) = a_move(&shared.lock());
        mover.load_balance(&call).await.unwrap();
        let wrong = MoveCall::new(call.database(), call.collection(), call.from(), NodeId(99), vec![segment]);
        let error = mover.load_balance(&wrong.unwrap()).await.unwrap_err();
        let Failure::Refused(refusal) = &error.failure else { panic!("{line}: {error}") };
        assert_eq!(refusal.code, if line == Line::V2_2 { 0 } else { 901 }, "{line}");
        let world = shared.lock();
        let copies = &world.segments()[&segment].copies;
        let serves = |node| copies.iter().any(|copy| copy.node == node && copy.state == CopyState::Serving);
        assert!(serves(call.to()) && !serves(call.from()), "{line}: {copies:?}");
    }
}

#[tokio::test]
async fn the_direct_mover_and_the_network_refuse_alike() {
    for line in ALL_LINES {
        let shared = SharedWorld::new(build(&plan(line)));
        let server = SimServer::start(shared.clone()).await.unwrap();
        let over_network = MilvusMover::new(client(&server), Some(Duration::from_secs(20)));
        let direct = SimMover::new(shared.clone(), Duration::from_secs(20));
        let (_, call) = a_move(&shared.lock());
        let unknown =
            MoveCall::new(call.database(), call.collection(), call.from(), call.to(), vec![SegmentId(1)])
                .unwrap();
        let nobody = MoveCall::new(call.database(), "nobody", call.from(), call.to(), vec![SegmentId(1)]);
        for call in [unknown, nobody.unwrap()] {
            let one = over_network.load_balance(&call).await.unwrap_err();
            let other = direct.load_balance(&call).await.unwrap_err();
            assert_eq!(one.failure, other.failure, "{line}");
            assert_eq!(one.remedy(), other.remedy(), "{line}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_noticed() {
    let shared = SharedWorld::new(build(&plan(Line::V2_3)));
    let server = SimServer::start(shared.clone()).await.unwrap();
    let mover = MilvusMover::new(client(&server), None);
    let (_, call) = a_move(&shared.lock());
    {
        let arrived = async {
            while shared.lock().calls().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = mover.load_balance(&call) => panic!("answered before anybody hung up"),
            () = arrived => {}
        }
    }
    for _ in 0..500 {
        if shared.lock().calls()[0].disconnected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody noticed");
}
