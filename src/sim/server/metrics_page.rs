//! /metrics of a query node and of the proxy, with Milvus' names and labels.

use std::fmt::Write;

use crate::sim::cluster::{LATENCY_EDGES, SimCollection, SimNode};
use crate::sim::profile::Line;
use crate::sim::world::World;
use crate::units::CollectionId;

/// Writes samples; writing to a string cannot fail.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str) {
        writeln!(self.0, "# HELP {name} simulated\n# TYPE {name} {kind}").ok();
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")).ok();
    }

    fn bare(&mut self, name: &str, value: f64) {
        writeln!(self.0, "{name} {value}").ok();
    }

    /// A histogram whose observations are all taken to be the mean: sum and count are right, and the buckets
    /// say in which power of two the mean lies.
    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], sum: f64, count: f64) {
        /// Milvus' buckets: powers of two, in milliseconds.
        const EDGES: i32 = 17;
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        for power in 0..EDGES {
            let edge = 2_f64.powi(power);
            let text = edge.to_string();
            let mut labels = labels.to_vec();
            labels.push(("le", &text));
            let below = if mean <= edge { count } else { 0.0 };
            self.sample(&format!("{name}_bucket"), &labels, below.floor());
        }
        let mut all = labels.to_vec();
        all.push(("le", "+Inf"));
        self.sample(&format!("{name}_bucket"), &all, count.floor());
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count.floor());
    }
}

/// Milvus counts disk in MB of 2^20 bytes.
const MEGABYTE: f64 = 1_048_576.0;

/// A query node's page.
#[allow(clippy::cast_precision_loss)] // metrics are floating point
pub(in crate::sim) fn of_node(world: &World, node: &SimNode) -> String {
    let mut page = Page(String::new());
    let id = node.id.to_string();
    let line = world.profile().line;
    page.family("process_cpu_seconds_total", "counter");
    page.bare("process_cpu_seconds_total", node.cpu_seconds);
    page.family("process_start_time_seconds", "gauge");
    let begins = world.settings().begins_at.as_second() as f64;
    page.bare("process_start_time_seconds", begins + node.started_at.as_secs_f64());
    page.family("process_resident_memory_bytes", "gauge");
    page.bare("process_resident_memory_bytes", node.memory_used() as f64);

    data(&mut page, world, node, &id);
    requests(&mut page, world, node, &id, line);

    let led = world
        .collections()
        .values()
        .flat_map(|collection| &collection.replicas)
        .flat_map(|replica| &replica.leaders)
        .filter(|leader| **leader == Some(node.id))
        .count();
    for (name, value) in [
        ("milvus_querynode_dml_vchannel_num", led as f64),
        ("milvus_querynode_collection_num", world.shares_of(node.id).count() as f64),
        ("milvus_querynode_read_task_ready_len", waiting(node) as f64),
        ("milvus_querynode_read_task_concurrency", node.demand.min(1.0) * node.cores),
    ] {
        page.family(name, "gauge");
        page.sample(name, &[("node_id", &id)], value);
    }
    page.family("milvus_querynode_disk_used_size", "gauge");
    page.sample("milvus_querynode_disk_used_size", &[("node_id", &id)], node.mapped_disk as f64 / MEGABYTE);
    page.0
}

/// Read tasks that wait: none while the node can do what is asked of it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small and positive
pub(in crate::sim) fn waiting(node: &SimNode) -> u64 {
    ((node.demand - 1.0).max(0.0) * 100.0) as u64
}

/// What the node holds, by collection.
#[allow(clippy::cast_precision_loss)] // metrics are floating point
fn data(page: &mut Page, world: &World, node: &SimNode, id: &str) {
    let profile = world.profile();
    page.family("milvus_querynode_segment_num", "gauge");
    for (collection, share) in world.shares_of(node.id) {
        let (name, partition) = (collection.to_string(), partition_of(world, collection));
        let mut labels = vec![("node_id", id), ("collection_id", &name), ("segment_state", "Sealed")];
        if profile.line >= Line::V2_4 {
            labels.push(("segment_level", "L1"));
        } else {
            labels.extend([("partition_id", partition.as_str()), ("indexed_field_count", "1")]);
        }
        page.sample("milvus_querynode_segment_num", &labels, share.segments as f64);
    }
    if profile.measures_entity_size {
        page.family("milvus_querynode_entity_size", "gauge");
        for (collection, share) in world.shares_of(node.id).filter(|(_, share)| share.segments > 0) {
            let name = collection.to_string();
            let labels =
                |state| [("node_id", id), ("collection_id", name.as_str()), ("segment_state", state)];
            let growing = world.growing_rows_on(node.id, collection)
                * world.collections().get(&collection).map_or(0, |collection| collection.row_bytes);
            page.sample("milvus_querynode_entity_size", &labels("Sealed"), share.bytes as f64);
            page.sample("milvus_querynode_entity_size", &labels("Growing"), growing as f64);
        }
    }
    page.family("milvus_querynode_entity_num", "gauge");
    for (collection, share) in world.shares_of(node.id) {
        let (name, partition) = (collection.to_string(), partition_of(world, collection));
        let Some(known) = world.collections().get(&collection) else { continue };
        let mut labels = vec![("node_id", id), ("collection_id", name.as_str()), ("segment_state", "Sealed")];
        if profile.line >= Line::V2_4 {
            labels.extend([("db_name", known.database.as_str()), ("collection_name", known.name.as_str())]);
        } else {
            labels.extend([("partition_id", partition.as_str()), ("indexed_field_count", "1")]);
        }
        page.sample("milvus_querynode_entity_num", &labels, share.rows as f64);
    }
}

fn partition_of(world: &World, collection: CollectionId) -> String {
    world.collections().get(&collection).map(|known| known.partition.to_string()).unwrap_or_default()
}

/// Requests that a node has seen in one scope, by collection.
struct Scope {
    name: &'static str,
    counts: Vec<(CollectionId, f64, f64)>,
}

/// What was asked of the node: as a worker, and as the delegator of whole collections.
fn scopes(world: &World, node: &SimNode) -> Vec<Scope> {
    let as_worker =
        world.shares_of(node.id).map(|(id, share)| (id, share.requests, share.request_ms)).collect();
    let leads = |collection: &&SimCollection| {
        collection.replicas.iter().any(|replica| replica.leaders.contains(&Some(node.id)))
    };
    let as_leader = world
        .collections()
        .values()
        .filter(leads)
        .map(|collection| {
            let replicas = collection.replicas.len().max(1) as f64;
            (collection.id, collection.searches_done / replicas, collection.search_ms / replicas)
        })
        .collect();
    vec![Scope { name: "FromLeader", counts: as_worker }, Scope { name: "OnLeader", counts: as_leader }]
}

/// Requests: before 2.4 not by collection, before 2.3 not by scope.
fn requests(page: &mut Page, world: &World, node: &SimNode, id: &str, line: Line) {
    let mut scopes = scopes(world, node);
    if line < Line::V2_3 {
        scopes.truncate(1);
    }
    page.family("milvus_querynode_sq_req_count", "counter");
    for scope in &scopes {
        let mut labels = vec![("node_id", id), ("query_type", "search")];
        if line >= Line::V2_3 {
            labels.push(("scope", scope.name));
        }
        let mut count = |labels: &[(&str, &str)], requests: f64| {
            for status in ["success", "total"] {
                let mut labels = labels.to_vec();
                labels.push(("status", status));
                page.sample("milvus_querynode_sq_req_count", &labels, requests.floor());
            }
        };
        if world.profile().counts_requests_by_collection {
            for (collection, requests, _) in &scope.counts {
                let name = collection.to_string();
                let mut labels = labels.clone();
                labels.push(("collection_id", name.as_str()));
                count(&labels, *requests);
            }
        } else {
            count(&labels, scope.counts.iter().map(|(_, requests, _)| requests).sum());
        }
    }
    page.family("milvus_querynode_sq_req_latency", "histogram");
    for scope in &scopes {
        let mut labels = vec![("node_id", id), ("query_type", "search")];
        if line >= Line::V2_3 {
            labels.push(("scope", scope.name));
        }
        let requests = scope.counts.iter().map(|(_, requests, _)| requests).sum();
        let took = scope.counts.iter().map(|(_, _, took)| took).sum();
        page.histogram("milvus_querynode_sq_req_latency", &labels, took, requests);
    }
}

/// The proxy's page: demand, and what users feel.
pub(in crate::sim) fn of_proxy(world: &World) -> String {
    let mut page = Page(String::new());
    let proxy = ("node_id", "1004");
    page.family("milvus_proxy_req_count", "counter");
    let all: f64 = world.collections().values().map(|collection| collection.searches_done).sum();
    for status in ["success", "total"] {
        let labels = [("function_name", "Search"), proxy, ("status", status)];
        page.sample("milvus_proxy_req_count", &labels, all.floor());
    }
    latencies(&mut page, world, proxy);
    page.family("milvus_proxy_received_nq", "counter");
    for collection in world.collections().values() {
        let mut labels = vec![("collection_name", collection.name.as_str()), proxy, ("query_type", "search")];
        if world.profile().line >= Line::V2_4 {
            labels.push(("db_name", collection.database.as_str()));
        }
        page.sample("milvus_proxy_received_nq", &labels, collection.searches_done.floor());
    }
    page.family("milvus_proxy_collection_sq_latency", "histogram");
    for collection in world.collections().values() {
        let labels = [("collection_name", collection.name.as_str()), proxy, ("query_type", "search")];
        let (count, sum) = (collection.searches_done, collection.search_ms);
        page.histogram("milvus_proxy_collection_sq_latency", &labels, sum, count);
    }
    page.0
}

/// How long searches took, all collections together.
#[allow(clippy::cast_precision_loss)] // edges are small powers of two
fn latencies(page: &mut Page, world: &World, proxy: (&str, &str)) {
    let name = "milvus_proxy_sq_latency";
    page.family(name, "histogram");
    let mut below = 0.0;
    let (mut count, mut sum) = (0.0, 0.0);
    for collection in world.collections().values() {
        count += collection.searches_done;
        sum += collection.search_ms;
    }
    for (power, edge) in (0..).map(|power| 1_u64 << power).take(LATENCY_EDGES).enumerate() {
        let in_bucket = |collection: &SimCollection| collection.search_buckets[power];
        below += world.collections().values().map(in_bucket).sum::<f64>();
        let edge = edge.to_string();
        let labels = [proxy, ("query_type", "search"), ("le", edge.as_str())];
        page.sample(&format!("{name}_bucket"), &labels, below.floor());
    }
    let labels = [proxy, ("query_type", "search")];
    page.sample(&format!("{name}_bucket"), &[labels[0], labels[1], ("le", "+Inf")], count.floor());
    page.sample(&format!("{name}_sum"), &labels, sum);
    page.sample(&format!("{name}_count"), &labels, count.floor());
}
