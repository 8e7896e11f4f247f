//! Searches, the CPU they use, and how long they take: the reason anybody wants balance.
//!
//! A search fans out from a shard's delegator to every node that holds a segment of the shard, and is done when
//! the slowest of them is. A node that is asked for more than it can do answers slowly, like a queue; beyond
//! that it answers fewer.

use std::collections::BTreeMap;

use super::cluster::{LATENCY_EDGES, SimNode};
use super::world::World;
use crate::units::{CollectionId, NodeId};

/// CPU time of a search on its delegator for each shard: fan-out and merge of the results, in microseconds.
const DELEGATOR_MICROS: f64 = 120.0;
/// CPU that a node uses when nobody asks it anything, in cores.
const IDLE_CORES: f64 = 0.02;
/// CPU time of a row that arrives, in microseconds.
const INGEST_MICROS: f64 = 4.0;
/// Use beyond which the queue is taken as this full: latency stays finite, throughput suffers instead.
const FULLEST: f64 = 0.98;

impl World {
    /// One tick: rows arrive, demand becomes work, work becomes use and latency.
    pub(super) fn traffic_tick(&mut self) {
        self.ingest();
        let seconds = self.settings.traffic_tick.as_secs_f64();
        let demand = self.demand_by_collection();
        self.measure_use(&demand, seconds);
        self.measure_latency(&demand, seconds);
    }

    /// Searches a second, for each replica of a loaded collection.
    fn demand_by_collection(&self) -> BTreeMap<CollectionId, f64> {
        self.collections
            .values()
            .filter(|collection| collection.loaded && !collection.replicas.is_empty())
            .map(|collection| {
                (collection.id, collection.demand.at(self.now) / collection.replicas.len() as f64)
            })
            .collect()
    }

    #[allow(clippy::cast_precision_loss)] // microseconds
    fn measure_use(&mut self, demand: &BTreeMap<CollectionId, f64>, seconds: f64) {
        let mut cores: BTreeMap<NodeId, f64> = self.nodes.keys().map(|node| (*node, IDLE_CORES)).collect();
        for ((node, collection), share) in &self.shares {
            let Some(rate) = demand.get(collection).filter(|_| share.segments > 0) else { continue };
            let micros = share.search_micros as f64;
            *cores.entry(*node).or_default() += rate * micros / 1e6;
        }
        for collection in self.collections.values() {
            let Some(rate) = demand.get(&collection.id) else { continue };
            let ingest = collection.ingest_rows_per_second / collection.channels.len().max(1) as f64;
            let work = (rate * DELEGATOR_MICROS + ingest * INGEST_MICROS) / 1e6;
            for leader in collection.replicas.iter().flat_map(|replica| &replica.leaders).flatten() {
                *cores.entry(*leader).or_default() += work;
            }
        }
        for node in self.nodes.values_mut() {
            let wanted = cores.get(&node.id).copied().unwrap_or(0.0) * node.slowness;
            node.demand = if node.is_running() { wanted / node.cores.max(0.01) } else { 0.0 };
            node.cpu_seconds += node.demand.min(1.0) * node.cores * seconds;
        }
    }

    #[allow(clippy::cast_precision_loss)] // microseconds
    fn measure_latency(&mut self, demand: &BTreeMap<CollectionId, f64>, seconds: f64) {
        let mut slowest: BTreeMap<CollectionId, f64> = BTreeMap::new();
        let mut throttle: BTreeMap<CollectionId, f64> = BTreeMap::new();
        for ((node, collection), share) in &self.shares {
            let Some(node) = self.nodes.get(node).filter(|_| share.segments > 0) else { continue };
            let takes = response_ms(node, share.search_micros as f64);
            let worst = slowest.entry(*collection).or_default();
            *worst = worst.max(takes);
            let possible = if node.demand > 1.0 { 1.0 / node.demand } else { 1.0 };
            let least = throttle.entry(*collection).or_insert(1.0);
            *least = least.min(possible);
        }
        for ((node, collection), share) in &mut self.shares {
            let Some(rate) = demand.get(collection).filter(|_| share.segments > 0) else { continue };
            let Some(node) = self.nodes.get(node).filter(|node| node.is_running()) else { continue };
            let done = rate * seconds * throttle.get(collection).copied().unwrap_or(1.0);
            share.requests += done;
            share.request_ms += done * response_ms(node, share.search_micros as f64);
        }
        for collection in self.collections.values_mut() {
            let Some(rate) = demand.get(&collection.id) else { continue };
            let led_by = collection.replicas.iter().flat_map(|replica| &replica.leaders).flatten();
            let merge = led_by
                .filter_map(|leader| self.nodes.get(leader))
                .map(|node| response_ms(node, DELEGATOR_MICROS))
                .fold(0.0, f64::max);
            collection.latency_ms = merge + slowest.get(&collection.id).copied().unwrap_or(0.0);
            let done = throttle.get(&collection.id).copied().unwrap_or(1.0);
            let answered = rate * seconds * done * collection.replicas.len() as f64;
            collection.searches_done += answered;
            collection.search_ms += answered * collection.latency_ms;
            if let Some(bucket) = collection.search_buckets.get_mut(bucket_of(collection.latency_ms)) {
                *bucket += answered;
            }
        }
    }

    /// Mean latency over all searches being made now, in milliseconds.
    pub fn mean_latency_ms(&self) -> f64 {
        let (mut weighted, mut weight) = (0.0, 0.0);
        for collection in self.collections.values().filter(|collection| collection.loaded) {
            let rate = collection.demand.at(self.now);
            weighted += rate * collection.latency_ms;
            weight += rate;
        }
        if weight > 0.0 { weighted / weight } else { 0.0 }
    }
}

/// The first bucket whose edge a latency does not pass.
fn bucket_of(milliseconds: f64) -> usize {
    (0..LATENCY_EDGES).find(|power| milliseconds <= (1_u64 << power) as f64).unwrap_or(LATENCY_EDGES)
}

/// How long a node takes for a piece of work, as a queue does: the fuller, the slower.
fn response_ms(node: &SimNode, micros: f64) -> f64 {
    let full = node.demand.clamp(0.0, FULLEST);
    let overload = node.demand.max(1.0);
    micros / 1000.0 * node.slowness / (1.0 - full) * overload
}
