//! The contracts' cluster as the simulator plays it, over loopback like the real one.

use std::collections::BTreeMap;

use milvus_rebalancer::sim::cluster::SimNode;
use milvus_rebalancer::sim::{
    CollectionOrder, Line, Profile, SharedWorld, SimServer, World, WorldPlan, build,
};
use milvus_rebalancer::units::NodeId;
use tokio::runtime::Runtime;

use super::cluster::{CONTENTS, Cluster, DIMENSION, NODES, ROW_BYTES, ROWS, SMALL_MEMORY, Wanted};

/// How many times faster its time goes: a millisecond on loopback must stay little beside what is measured.
const SPEED: u32 = 5;

pub struct SimulatedCluster {
    shared: SharedWorld,
    server: SimServer,
    nodes: Vec<i64>,
    collections: BTreeMap<&'static str, i64>,
}

impl SimulatedCluster {
    pub fn start(runtime: &Runtime) -> SimulatedCluster {
        let plan = WorldPlan {
            nodes: NODES,
            unequal_machines: false,
            collections: 0,
            memory_fill: 0.0,
            segments: 0,
            ..WorldPlan::new(Profile::of(Line::V2_3), 1)
        };
        let mut world = build(&plan);
        let ids = CONTENTS.map(|wanted| (wanted.name, world.create_collection(&order(&wanted)).0));
        let nodes = world.nodes().keys().map(|node| node.0).collect();
        let (shared, server) = runtime.block_on(async {
            let shared = SharedWorld::with_speed(world, SPEED);
            let server = SimServer::start(shared.clone()).await.unwrap();
            (shared, server)
        });
        SimulatedCluster { shared, server, nodes, collections: ids.into_iter().collect() }
    }
}

fn order(wanted: &Wanted) -> CollectionOrder {
    CollectionOrder {
        database: wanted.database.to_owned(),
        name: wanted.name.to_owned(),
        segments: wanted.segments,
        rows_per_segment: u64::try_from(ROWS).unwrap(),
        dimension: u32::try_from(DIMENSION).unwrap(),
        row_bytes: ROW_BYTES,
        replicas: wanted.replicas,
        shards: wanted.shards,
        growing_rows: wanted.growing_rows as u64,
        // There is no telling when the simulated searches begin and end: they are always there.
        searches_per_second: if wanted.name == "books" { 50.0 } else { 0.0 },
        loaded: wanted.loaded,
    }
}

/// A machine like the others with too little memory.
fn full(world: &World) -> SimNode {
    let like = world.nodes().values().next().unwrap().clone();
    SimNode {
        address: "10.0.99.1:21123".to_owned(),
        hostname: "querynode-full".to_owned(),
        memory: SMALL_MEMORY,
        base_memory: SMALL_MEMORY + 1_000_000,
        ..like
    }
}

impl Cluster for SimulatedCluster {
    fn kind(&self) -> &'static str {
        "simulated"
    }

    fn endpoint(&self) -> String {
        self.server.endpoint()
    }

    fn speed(&self) -> u32 {
        SPEED
    }

    fn nodes(&self) -> Vec<i64> {
        self.nodes.clone()
    }

    fn node_page(&self, node: i64) -> String {
        let address = self.shared.lock().nodes()[&NodeId(node)].address.clone();
        self.server.node_pages()[&address].clone()
    }

    fn proxy_page(&self) -> String {
        format!("http://{}/metrics", self.server.http_address())
    }

    fn collections(&self) -> &BTreeMap<&'static str, i64> {
        &self.collections
    }

    fn start_searches(&mut self) {}

    fn stop_searches(&mut self) {}

    fn start_full_node(&mut self) -> i64 {
        let mut world = self.shared.lock();
        let template = full(&world);
        world.start_node(template).0
    }

    fn kill(&mut self, node: i64) {
        self.shared.lock().crash(NodeId(node));
    }
}
