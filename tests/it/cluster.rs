//! A small cluster in the form in which observations describe one; tests change what they are about.

use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::gate::{BlastRadiusSettings, ForeignSettings, GateSettings, WarmUpSettings};
use milvus_rebalancer::observe::observation::{
    CollectionReport, GroupNode, NodeReport, NodeRole, Observation, ReplicaReport, ResourceGroupReport,
    SegmentLevel, SegmentReport, ServerVersion, ShardReport,
};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings, RowsSettings};
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{
    Bytes, CollectionId, Moment, NodeId, PartitionId, Ratio, ReplicaId, Rows, SegmentId,
};

/// Memory of each node unless a test says otherwise.
pub const NODE_MEMORY: Bytes = Bytes(1_000_000);
/// Rows of each segment; with [`ROW_BYTES`] a segment is 10,000 bytes, 1 % of a node.
pub const SEGMENT_ROWS: Rows = Rows(1_000);
/// Bytes of a row.
pub const ROW_BYTES: u64 = 10;

/// The time of all observations here.
pub fn moment(second: i64) -> Moment {
    let wall = Timestamp::from_second(1_790_000_000 + second).unwrap();
    Moment { wall, monotonic: Duration::from_secs(u64::try_from(second).unwrap_or(0)) }
}

/// An observation of a 2.4 cluster with nodes 1 … `nodes` and nothing loaded.
pub fn cluster(nodes: i64) -> Observation {
    let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
    Observation {
        started_at: moment(0).wall,
        took: Duration::from_millis(20),
        server: ServerVersion::parse("v2.4.23"),
        nodes: ids.iter().map(|id| node(*id)).collect(),
        resource_groups: Some(vec![ResourceGroupReport {
            name: "__default_resource_group".to_owned(),
            nodes: Some(ids.iter().map(|id| group_node(*id)).collect()),
        }]),
        collections: Vec::new(),
        service: milvus_rebalancer::observe::service::ServiceReport::default(),
        management: None,
        signals: milvus_rebalancer::observe::signals::SignalReport::default(),
        complaints: Vec::new(),
        prometheus: Default::default(),
        opinions: Vec::new(),
        gaps: Vec::new(),
    }
}

/// A query node that uses nothing yet.
pub fn node(id: NodeId) -> NodeReport {
    NodeReport {
        id,
        address: address(id),
        role: NodeRole::QueryNode,
        error: None,
        memory_capacity: Some(NODE_MEMORY),
        memory_used: Some(Bytes::ZERO),
        growing: None,
        collections: None,
        collection_rows: None,
        sealed_bytes: None,
        hardware: milvus_rebalancer::observe::observation::HardwareReport::default(),
        version: "v2.4.23".to_owned(),
    }
}

/// The address of a node.
pub fn address(id: NodeId) -> String {
    format!("10.0.0.{id}:21123")
}

/// A node as its resource group lists it.
pub fn group_node(id: NodeId) -> GroupNode {
    GroupNode { id, address: address(id), hostname: format!("querynode-{id}") }
}

/// Adds a collection whose replica `r` has the given nodes and holds, on each of them, the given number of
/// segments. Segment ids count up from `id × 1000`; every replica holds the same segments.
pub fn add_collection(observation: &mut Observation, id: i64, replicas: &[&[(i64, usize)]]) {
    let mut segments: Vec<SegmentReport> = Vec::new();
    for (position, replica) in replicas.iter().enumerate() {
        let homes = replica.iter().flat_map(|(node, count)| std::iter::repeat_n(NodeId(*node), *count));
        for (number, home) in homes.enumerate() {
            if position == 0 {
                segments.push(segment(id * 1000 + i64::try_from(number).unwrap(), home));
            } else {
                // A replica that is told to hold more than there is holds what there is.
                let Some(segment) = segments.get_mut(number) else { continue };
                segment.nodes.push(home);
            }
        }
    }
    let replica_reports = replicas.iter().enumerate().map(|(position, replica)| {
        let nodes: Vec<NodeId> = replica.iter().map(|(node, _)| NodeId(*node)).collect();
        ReplicaReport {
            id: ReplicaId(id * 10 + i64::try_from(position).unwrap()),
            shards: vec![ShardReport {
                leader: nodes[0],
                leader_address: address(nodes[0]),
                channel: format!("by-dev-rootcoord-dml_0_{id}v0"),
            }],
            nodes,
            resource_group: "__default_resource_group".to_owned(),
            outbound_nodes: 0,
        }
    });
    observation.collections.push(CollectionReport {
        database: "default".to_owned(),
        name: format!("collection{id}"),
        id: CollectionId(id),
        load_percentage: 100,
        read_at: observation.started_at,
        replicas: Some(replica_reports.collect()),
        segments: Some(segments),
        estimated_row_bytes: Some(ROW_BYTES),
    });
}

/// A segment on one node.
pub fn segment(id: i64, node: NodeId) -> SegmentReport {
    SegmentReport {
        id: SegmentId(id),
        partition: PartitionId(1),
        rows: SEGMENT_ROWS,
        nodes: vec![node],
        level: SegmentLevel::L1,
    }
}

/// Gates that let everything through but what is never safe.
pub fn lifted_gates() -> GateSettings {
    GateSettings {
        cool_down: Duration::ZERO,
        settle_time: Duration::ZERO,
        setback_rest: Duration::ZERO,
        minimum_gain: Ratio::ZERO,
        warm_up: WarmUpSettings { time: Duration::ZERO, ..WarmUpSettings::default() },
        blast_radius: no_blast_radius(),
        foreign: ForeignSettings { moves: 0, ..ForeignSettings::default() },
        ..GateSettings::default()
    }
}

/// Any amount may be moved of a collection, and from and to a node.
pub fn no_blast_radius() -> BlastRadiusSettings {
    BlastRadiusSettings {
        collection_segments: Ratio::ZERO,
        collection_bytes: Ratio::ZERO,
        node_bytes: Bytes::ZERO,
        ..BlastRadiusSettings::default()
    }
}

/// Only the `rows` policy, without patience.
pub fn rows_at_once() -> PolicySettings {
    let at_once = DimensionSettings {
        enabled: true,
        turns: 1,
        matters_above: Ratio::ZERO,
        ..DimensionSettings::default()
    };
    let memory = DimensionSettings { enabled: false, ..DimensionSettings::default() };
    PolicySettings { memory, rows: RowsSettings(at_once), ..PolicySettings::default() }
}

/// Only the `memory` policy, without patience.
pub fn memory_at_once() -> PolicySettings {
    let rows = rows_at_once();
    let memory = rows.rows.0.clone();
    PolicySettings { memory, rows: RowsSettings::default(), ..PolicySettings::default() }
}

/// One turn with these policies and lifted gates.
pub fn decide(observation: &Observation, policies: &PolicySettings) -> Decision {
    let mut thinking = Thinking::new(policies, PlanSettings::default(), lifted_gates());
    thinking.turn(observation, OwnMoves::default(), moment(1))
}

/// Carries the admitted part of a decision out in the observation.
pub fn apply(observation: &mut Observation, decision: &Decision) {
    for step in decision.verdict.admitted.iter().map(|position| &decision.plan.steps[*position]) {
        for movement in &step.moves {
            move_segment(observation, movement.segment, movement.from, movement.to);
        }
    }
}

/// Moves one segment from one node to another.
pub fn move_segment(observation: &mut Observation, id: SegmentId, from: NodeId, to: NodeId) {
    let segments =
        observation.collections.iter_mut().filter_map(|collection| collection.segments.as_mut()).flatten();
    let home = segments.filter(|segment| segment.id == id).flat_map(|segment| segment.nodes.iter_mut());
    let mut found = home.filter(|node| **node == from);
    *found.next().unwrap_or_else(|| panic!("segment {id} is not on node {from}")) = to;
}

/// Segments on each node 1 … `nodes`.
pub fn counts(observation: &Observation, nodes: i64) -> Vec<usize> {
    let holders: Vec<NodeId> = observation
        .collections
        .iter()
        .filter_map(|collection| collection.segments.as_ref())
        .flatten()
        .flat_map(|segment| segment.nodes.iter().copied())
        .collect();
    (1..=nodes).map(|node| holders.iter().filter(|holder| **holder == NodeId(node)).count()).collect()
}
