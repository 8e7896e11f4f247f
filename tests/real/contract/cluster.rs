//! What every contract can do to a cluster, whichever it is, and how it looks at it: through the project's own
//! client where that shows enough, through raw messages where it would hide what the server really said.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use milvus_rebalancer::milvus::wire::common::Status;
use milvus_rebalancer::milvus::wire::milvus as rpc;
use milvus_rebalancer::milvus::wire::milvus::milvus_service_client::MilvusServiceClient;
use milvus_rebalancer::milvus::{ConnectionSettings, MilvusClient, MilvusMover};
use milvus_rebalancer::units::CollectionId;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::HANG;

/// Nodes of every cluster at its start.
pub const NODES: usize = 4;
/// Rows of a segment.
pub const ROWS: i64 = 2000;
/// Dimension of the vectors.
pub const DIMENSION: usize = 32;
/// Bytes of a row as inserted: the vector and its key.
pub const ROW_BYTES: u64 = DIMENSION as u64 * 4 + 8;
/// Rows that stay growing in `growing`.
pub const GROWING_ROWS: usize = 700;
/// Memory of the node that [`Cluster::start_full_node`] starts: less than an idle process takes.
pub const SMALL_MEMORY: u64 = 20_000_000;
/// Segments of `books`.
pub const BOOKS: usize = 12;

/// What a collection is to be.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub database: &'static str,
    pub name: &'static str,
    pub segments: usize,
    pub replicas: usize,
    pub shards: usize,
    pub growing_rows: usize,
    pub loaded: bool,
}

const PLAIN: Wanted =
    Wanted { database: "", name: "", segments: 0, replicas: 1, shards: 1, growing_rows: 0, loaded: true };

/// The collections of every cluster.
pub const CONTENTS: [Wanted; 6] = [
    Wanted { name: "books", segments: BOOKS, ..PLAIN },
    Wanted { name: "more", segments: NODES, ..PLAIN },
    Wanted { name: "pairs", segments: 4, replicas: 2, shards: 2, ..PLAIN },
    Wanted { name: "growing", segments: 2, shards: 2, growing_rows: GROWING_ROWS, ..PLAIN },
    Wanted { name: "unloaded", segments: 1, loaded: false, ..PLAIN },
    Wanted { name: "old", database: "archive", segments: NODES, ..PLAIN },
];

/// A cluster of [`NODES`] nodes with [`CONTENTS`].
pub trait Cluster {
    /// Which kind it is, for messages.
    fn kind(&self) -> &'static str;
    /// Where its proxy is.
    fn endpoint(&self) -> String;
    /// How many times faster than ours its time goes.
    fn speed(&self) -> u32;
    /// Ids of the nodes that it was started with. The first one is not killed: a real one is the proxy, too.
    fn nodes(&self) -> Vec<i64>;
    /// Address of the `/metrics` page of a node, by its id.
    fn node_page(&self, node: i64) -> String;
    /// Address of the proxy's `/metrics`.
    fn proxy_page(&self) -> String;
    /// Ids of the collections of [`CONTENTS`], by name.
    fn collections(&self) -> &BTreeMap<&'static str, i64>;
    /// Has somebody search `books` from now on, until [`Cluster::stop_searches`].
    fn start_searches(&mut self);
    fn stop_searches(&mut self);
    /// Starts one more node, with [`SMALL_MEMORY`], of which none is free. Returns its id.
    fn start_full_node(&mut self) -> i64;
    /// Kills a node's process.
    fn kill(&mut self, node: i64);
}

/// A cluster with all the eyes on it.
pub struct Subject {
    pub cluster: Box<dyn Cluster>,
    pub client: MilvusClient,
    pub rpc: MilvusServiceClient<Channel>,
    // Dropped last: the simulated server runs on it.
    pub runtime: Runtime,
}

/// A raw answer to `LoadBalance`.
#[derive(Clone, Debug)]
pub struct Told {
    pub status: Status,
    pub took: Duration,
}

/// Where the segments of a collection are: node ids by segment.
pub type Places = BTreeMap<i64, Vec<i64>>;

impl Subject {
    /// Starts a cluster and connects to it.
    pub fn start(start: impl FnOnce(&Runtime) -> Box<dyn Cluster>) -> Subject {
        let runtime = Runtime::new().unwrap();
        let cluster = start(&runtime);
        // The project's own patience is not what is tried here.
        let settings = ConnectionSettings {
            endpoint: cluster.endpoint(),
            connect_timeout: HANG,
            request_timeout: HANG,
            ..ConnectionSettings::default()
        };
        let (client, channel) = runtime.block_on(async {
            let channel = Channel::from_shared(cluster.endpoint()).unwrap().connect_lazy();
            (MilvusClient::new(cluster.kind(), &settings).unwrap(), channel)
        });
        Subject { cluster, client, rpc: MilvusServiceClient::new(channel), runtime }
    }

    /// Waits for an answer.
    pub fn ask<A>(&self, question: impl Future<Output = A>) -> A {
        self.runtime.block_on(question)
    }

    /// The project's own writing seam.
    pub fn mover(&self) -> MilvusMover {
        MilvusMover::new(self.client.clone(), Some(Duration::from_secs(120)))
    }

    /// How much of the cluster's time has passed since then.
    pub fn since(&self, then: Instant) -> Duration {
        then.elapsed() * self.cluster.speed()
    }

    /// Lets so much of the cluster's time pass: the real one offers nothing else to wait for.
    pub fn pause(&self, time: Duration) {
        self.ask(async { tokio::time::sleep(time / self.cluster.speed()).await });
    }

    /// A collection's id.
    pub fn id(&self, name: &str) -> i64 {
        self.cluster.collections()[name]
    }

    /// Where the segments of a collection of the default database are.
    pub fn places(&self, name: &str) -> Places {
        self.places_in("", name)
    }

    /// The same in any database.
    pub fn places_in(&self, database: &str, name: &str) -> Places {
        self.ask(places(&self.client, database, name))
    }

    /// The segments that a node alone holds.
    pub fn held(&self, name: &str, node: i64) -> Vec<i64> {
        self.places(name).into_iter().filter(|(_, at)| *at == [node]).map(|(segment, _)| segment).collect()
    }

    /// The replicas of a collection.
    pub fn replicas(&self, name: &str) -> Vec<rpc::ReplicaInfo> {
        self.ask(self.client.replicas(CollectionId(self.id(name)))).unwrap()
    }

    /// A raw `LoadBalance`.
    pub fn balance(&self, request: rpc::LoadBalanceRequest) -> Told {
        self.ask(balance(self.rpc.clone(), request, self.cluster.speed()))
    }

    /// Moves segments of `books` and waits until they are nowhere else.
    pub fn gather(&self, segments: &[i64], to: i64) {
        self.gather_in("", "books", segments, to);
    }

    /// The same for any collection.
    pub fn gather_in(&self, database: &str, name: &str, segments: &[i64], to: i64) {
        let mut by_source: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (segment, at) in self.places_in(database, name) {
            if segments.contains(&segment) && at != [to] {
                by_source.entry(at[0]).or_default().push(segment);
            }
        }
        for (from, segments) in by_source {
            let request = rpc::LoadBalanceRequest {
                db_name: database.to_owned(),
                ..request(name, from, &[to], &segments)
            };
            let told = self.balance(request);
            assert_eq!((told.status.code, told.status.reason.as_str()), (0, ""));
        }
        self.until("the segments are gathered", || {
            let places = self.places_in(database, name);
            segments.iter().all(|segment| places.get(segment).is_some_and(|at| *at == [to]))
        });
    }

    /// Asks again and again until it is so; returns how long that took.
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
        let began = Instant::now();
        while !is_so() {
            assert!(began.elapsed() < HANG, "after {HANG:?} still not: {what}");
            self.pause(Duration::from_millis(50));
        }
        self.since(began)
    }

    /// The JSON of `GetMetrics`.
    pub fn system_info(&self) -> Value {
        serde_json::from_str(&self.ask(self.client.system_info()).unwrap()).unwrap()
    }

    /// A page over HTTP.
    pub fn page(&self, address: &str) -> String {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Somebody else was first: as good.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        self.ask(async { reqwest::get(address).await.unwrap().text().await.unwrap() })
    }
}

/// A raw request.
pub fn request(name: &str, from: i64, to: &[i64], segments: &[i64]) -> rpc::LoadBalanceRequest {
    rpc::LoadBalanceRequest {
        src_node_id: from,
        dst_node_i_ds: to.to_vec(),
        sealed_segment_i_ds: segments.to_vec(),
        collection_name: name.to_owned(),
        db_name: String::new(),
    }
}

/// Sends it, for contracts that do something else meanwhile.
pub async fn balance(
    mut rpc: MilvusServiceClient<Channel>,
    request: rpc::LoadBalanceRequest,
    speed: u32,
) -> Told {
    let began = Instant::now();
    let status = rpc.load_balance(request).await.unwrap().into_inner();
    Told { status, took: began.elapsed() * speed }
}

/// Where the segments are.
pub async fn places(client: &MilvusClient, database: &str, name: &str) -> Places {
    let segments = client.query_segments(database, name).await.unwrap();
    segments
        .into_iter()
        .map(|segment| {
            let mut nodes = segment.node_ids;
            nodes.sort_unstable();
            (segment.segment_id, nodes)
        })
        .collect()
}
