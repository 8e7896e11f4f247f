//! What plug-ins are shown: sums per node and per (node, collection), and segments only of the nodes for which they ask;
//! a million segments every turn would be a burden on everybody.

use std::collections::{BTreeMap, BTreeSet};

use super::wire;
use crate::model::{Collection, Node, NodeIndex, Snapshot};
use crate::units::NodeId;

/// The first question of a turn.
pub(super) fn aggregates(snapshot: &Snapshot) -> wire::AssessRequest {
    let mut nodes: Vec<wire::Node> = snapshot.nodes.iter().map(node).collect();
    let mut pairs: BTreeMap<(i64, i64), wire::NodeCollection> = BTreeMap::new();
    let copies = &snapshot.copies;
    for copy in copies.indices() {
        let at = copy.at();
        let node = &mut nodes[copies.node[at].at()];
        let collection_id = snapshot.collection_of(copies.replica[at]).id.0;
        let (rows, bytes) = (copies.rows[at].0, copies.bytes[at].0);
        let pair = pairs.entry((node.id, collection_id)).or_insert_with(|| wire::NodeCollection {
            node_id: node.id,
            collection_id,
            ..wire::NodeCollection::default()
        });
        for (segments, all_rows, all_bytes) in [
            (&mut node.segments, &mut node.rows, &mut node.bytes),
            (&mut pair.segments, &mut pair.rows, &mut pair.bytes),
        ] {
            *segments += 1;
            *all_rows = all_rows.saturating_add(rows);
            *all_bytes = all_bytes.saturating_add(bytes);
        }
    }
    let mut collections: Vec<wire::Collection> = snapshot.collections.iter().map(collection).collect();
    for replica in &snapshot.replicas {
        collections[replica.collection.at()].replicas += 1;
    }
    wire::AssessRequest {
        observed_at_ms: snapshot.taken_at.as_millisecond(),
        milvus_version: snapshot.server.text.clone(),
        nodes,
        collections,
        node_collections: pairs.into_values().collect(),
        segments: Vec::new(),
    }
}

/// The segments of these nodes.
pub(super) fn segments(snapshot: &Snapshot, nodes: &BTreeSet<NodeIndex>) -> Vec<wire::NodeSegments> {
    let mut columns: BTreeMap<NodeIndex, wire::NodeSegments> = BTreeMap::new();
    for node in nodes {
        let NodeId(node_id) = snapshot.node(*node).id;
        columns.insert(*node, wire::NodeSegments { node_id, ..wire::NodeSegments::default() });
    }
    let copies = &snapshot.copies;
    for at in 0..copies.len() {
        if let Some(column) = columns.get_mut(&copies.node[at]) {
            column.segment_ids.push(copies.segment[at].0);
            column.collection_ids.push(snapshot.collection_of(copies.replica[at]).id.0);
            column.rows.push(copies.rows[at].0);
            column.bytes.push(copies.bytes[at].0);
        }
    }
    columns.into_values().collect()
}

fn node(node: &Node) -> wire::Node {
    wire::Node {
        id: node.id.0,
        address: node.address.clone(),
        hostname: node.hostname.clone(),
        is_usable: node.standing.is_usable(),
        memory_capacity_bytes: node.memory_capacity.map(|bytes| bytes.0),
        memory_used_bytes: node.memory_used.map(|bytes| bytes.0),
        growing_bytes: node.growing.map(|bytes| bytes.0),
        segments: 0,
        rows: 0,
        bytes: 0,
    }
}

fn collection(collection: &Collection) -> wire::Collection {
    wire::Collection {
        id: collection.id.0,
        database: collection.database.clone(),
        name: collection.name.clone(),
        replicas: 0,
    }
}
