//! Collections with exactly the segments asked for: for tests that have to know what there is, and that are run
//! beside a real cluster of the same contents.

use std::collections::BTreeSet;

use super::cluster::{CopyState, Demand, LATENCY_EDGES, SimCollection, SimReplica, SimSegment, TargetState};
use super::world::World;
use crate::units::{CollectionId, NodeId, PartitionId, ReplicaId, SegmentId};

/// A collection of equal segments.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionOrder {
    /// Its database; empty is the default one.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Sealed segments.
    pub segments: usize,
    /// Rows of each.
    pub rows_per_segment: u64,
    /// Dimension of its vectors.
    pub dimension: u32,
    /// Bytes of a row in memory.
    pub row_bytes: u64,
    /// Replicas; more than there are nodes are not made.
    pub replicas: usize,
    /// Shards.
    pub shards: usize,
    /// Rows that are still growing, all shards together.
    pub growing_rows: u64,
    /// Searches a second.
    pub searches_per_second: f64,
    /// Whether it is loaded.
    pub loaded: bool,
}

impl World {
    /// Creates a collection on the nodes of the default resource group, its segments dealt out in turn.
    #[allow(clippy::cast_precision_loss)] // rows arrive in fractions
    pub fn create_collection(&mut self, order: &CollectionOrder) -> CollectionId {
        let id = CollectionId(self.take_id());
        let shards = order.shards.max(1);
        let database = match (self.profile.has_databases, order.database.as_str()) {
            (false, _) => "",
            (true, "") => super::DEFAULT_DATABASE,
            (true, named) => named,
        };
        let collection = SimCollection {
            id,
            database: database.to_owned(),
            name: order.name.clone(),
            partition: PartitionId(self.take_id()),
            dimension: order.dimension,
            row_bytes: order.row_bytes,
            mapped: false,
            loaded: true,
            load_percentage: 100,
            channels: (0..shards).map(|shard| format!("by-dev-rootcoord-dml_{shard}_{id}v{shard}")).collect(),
            replicas: self.deal_nodes(order.replicas.max(1), shards),
            growing_rows: vec![order.growing_rows as f64 / shards as f64; shards],
            growing_segments: (0..shards).map(|_| SegmentId(self.take_id())).collect(),
            ingest_rows_per_second: 0.0,
            seal_rows: u64::MAX,
            demand: Demand {
                searches_per_second: order.searches_per_second,
                day_swing: 0.0,
                peak_hour: 0.0,
                hot_spells: Vec::new(),
            },
            segments: BTreeSet::new(),
            latency_ms: 0.0,
            searches_done: 0.0,
            search_ms: 0.0,
            search_buckets: [0.0; LATENCY_EDGES],
        };
        self.collections.insert(id, collection);
        for position in 0..order.segments {
            self.insert_ordered(id, position, position % shards, order);
        }
        self.redraw_exclusive_sets(id);
        self.elect_leaders(id);
        if !order.loaded {
            self.release_collection(id);
        }
        id
    }

    /// Gives a node so many cores; a fraction is a quota.
    pub fn set_cores(&mut self, node: NodeId, cores: f64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.cores = cores;
        }
    }

    /// Gives a node so many bytes of memory.
    pub fn set_memory(&mut self, node: NodeId, bytes: u64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.memory = bytes;
        }
    }

    /// Has so many rows arrive in a collection each second from now on; so many of a shard become a segment.
    pub fn set_ingest(&mut self, collection: CollectionId, rows_per_second: f64, seal_rows: u64) {
        if let Some(collection) = self.collections.get_mut(&collection) {
            collection.ingest_rows_per_second = rows_per_second;
            collection.seal_rows = seal_rows;
        }
    }

    /// Has a collection searched so often from now on.
    pub fn set_searches(&mut self, collection: CollectionId, per_second: f64) {
        if let Some(collection) = self.collections.get_mut(&collection) {
            collection.demand.searches_per_second = per_second;
        }
    }

    /// Puts the copies of a collection's first replica onto a node at once, as if they had always been there.
    pub fn put_collection(&mut self, collection: CollectionId, node: NodeId) {
        let segments = self.collections.get(&collection).map(|known| known.segments.clone());
        for id in segments.into_iter().flatten() {
            let homes = self.segments.get(&id).map(|segment| segment.copies.clone()).unwrap_or_default();
            for copy in homes.into_iter().filter(|copy| copy.replica == 0) {
                self.remove_copy(id, 0, copy.node);
            }
            self.add_copy(id, 0, node, CopyState::Serving);
        }
    }

    /// Neighbouring nodes for each replica; those left over go to the first ones.
    fn deal_nodes(&mut self, replicas: usize, shards: usize) -> Vec<SimReplica> {
        let in_group = |node: &&super::cluster::SimNode| {
            node.resource_group.as_deref() == Some(super::DEFAULT_RESOURCE_GROUP)
        };
        let nodes: Vec<NodeId> = self.nodes.values().filter(in_group).map(|node| node.id).collect();
        let replicas = replicas.min(nodes.len());
        let mut dealt = Vec::new();
        let mut rest = nodes.as_slice();
        for replica in 0..replicas {
            let size = rest.len().div_ceil(replicas - replica);
            let (members, others) = rest.split_at(size);
            rest = others;
            dealt.push(SimReplica {
                id: ReplicaId(self.take_id()),
                resource_group: super::DEFAULT_RESOURCE_GROUP.to_owned(),
                read_write: members.iter().copied().collect(),
                read_only: BTreeSet::new(),
                streaming: BTreeSet::new(),
                leaders: vec![None; shards],
                exclusive: Vec::new(),
            });
        }
        dealt
    }

    fn insert_ordered(&mut self, id: CollectionId, position: usize, shard: usize, order: &CollectionOrder) {
        let segment = SegmentId(self.take_id());
        let rows = order.rows_per_segment;
        let made = SimSegment {
            id: segment,
            collection: id,
            shard,
            rows,
            bytes: rows * order.row_bytes,
            level0: false,
            target: TargetState::Current,
            copies: Vec::new(),
        };
        self.segments.insert(segment, made);
        let Some(collection) = self.collections.get_mut(&id) else { return };
        collection.segments.insert(segment);
        let homes: Vec<Option<NodeId>> = collection
            .replicas
            .iter()
            .map(|replica| replica.read_write.iter().nth(position % replica.read_write.len().max(1)).copied())
            .collect();
        for (replica, home) in homes.into_iter().enumerate() {
            if let Some(home) = home {
                self.add_copy(segment, replica, home, CopyState::Serving);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Line, Profile, WorldPlan, build};

    #[test]
    fn an_order_is_what_is_delivered() {
        let plan =
            WorldPlan { nodes: 3, collections: 0, segments: 0, ..WorldPlan::new(Profile::of(Line::V2_3), 1) };
        let mut world = build(&plan);
        let order = CollectionOrder {
            database: String::new(),
            name: "books".to_owned(),
            segments: 6,
            rows_per_segment: 1000,
            dimension: 8,
            row_bytes: 40,
            replicas: 2,
            shards: 2,
            growing_rows: 10,
            searches_per_second: 1.0,
            loaded: true,
        };
        let id = world.create_collection(&order);
        let replicas = &world.collections()[&id].replicas;
        let sizes: Vec<usize> = replicas.iter().map(|replica| replica.read_write.len()).collect();
        assert_eq!(sizes, [2, 1]);
        assert!(replicas.iter().all(|replica| replica.leaders.iter().all(Option::is_some)));
        for node in [NodeId(1), NodeId(2), NodeId(3)] {
            let held: u64 = world.shares_of(node).map(|(_, share)| share.segments).sum();
            assert_eq!(held, if node == NodeId(3) { 6 } else { 3 });
        }
        let unloaded = CollectionOrder { name: "papers".to_owned(), loaded: false, ..order };
        let id = world.create_collection(&unloaded);
        assert!(!world.collections()[&id].loaded);
        assert!(
            world.segments().values().all(|segment| segment.collection != id || segment.copies.is_empty())
        );
    }
}
