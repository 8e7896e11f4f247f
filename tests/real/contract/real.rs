//! The contracts' cluster as a real Milvus 2.3.5.

use std::collections::BTreeMap;

use super::cluster::{CONTENTS, Cluster, DIMENSION, NODES, ROWS, SMALL_MEMORY, Wanted};
use crate::lab::{CollectionSpec, Lab, LabOptions};

pub struct RealCluster {
    lab: Lab,
    collections: BTreeMap<&'static str, i64>,
}

impl RealCluster {
    pub fn start() -> RealCluster {
        let options =
            LabOptions { memory_limits: vec![(NODES, SMALL_MEMORY)], ..LabOptions::with_nodes(NODES) };
        let mut lab = Lab::start(options);
        let databases = CONTENTS.iter().map(|wanted| wanted.database);
        for database in databases.filter(|name| !name.is_empty()) {
            lab.create_database(database);
        }
        let specs: Vec<CollectionSpec> = CONTENTS.iter().map(spec).collect();
        let created = lab.create_collections(&specs);
        for wanted in CONTENTS.iter().filter(|wanted| wanted.growing_rows > 0) {
            lab.insert(wanted.name, wanted.growing_rows);
        }
        let ids = created.iter().map(|created| created.collection_id);
        RealCluster { lab, collections: CONTENTS.iter().map(|wanted| wanted.name).zip(ids).collect() }
    }

    fn index_of(&self, node: i64) -> usize {
        self.lab.nodes.iter().position(|known| known.id == node).unwrap()
    }
}

fn spec(wanted: &Wanted) -> CollectionSpec {
    CollectionSpec {
        database: Some(wanted.database.to_owned()).filter(|name| !name.is_empty()),
        dim: DIMENSION,
        replicas: wanted.replicas,
        shards: wanted.shards,
        load: wanted.loaded,
        ..CollectionSpec::new(wanted.name, wanted.segments, usize::try_from(ROWS).unwrap())
    }
}

impl Cluster for RealCluster {
    fn kind(&self) -> &'static str {
        "real"
    }

    fn endpoint(&self) -> String {
        self.lab.url()
    }

    fn speed(&self) -> u32 {
        1
    }

    fn nodes(&self) -> Vec<i64> {
        self.lab.nodes.iter().map(|node| node.id).collect()
    }

    fn node_page(&self, node: i64) -> String {
        format!("http://{}/metrics", self.lab.nodes[self.index_of(node)].metrics)
    }

    fn proxy_page(&self) -> String {
        format!("http://{}/metrics", self.lab.nodes[0].metrics)
    }

    fn collections(&self) -> &BTreeMap<&'static str, i64> {
        &self.collections
    }

    fn start_searches(&mut self) {
        self.lab.start_load(&["books"], 1);
    }

    fn stop_searches(&mut self) {
        let report = self.lab.stop_load();
        assert_eq!(report.failures, 0, "{:?}", report.errors);
    }

    fn start_full_node(&mut self) -> i64 {
        self.lab.start_node(Some(NODES)).id
    }

    fn kill(&mut self, node: i64) {
        let index = self.lab.nodes[self.index_of(node)].index;
        self.lab.kill_node(index);
    }
}
