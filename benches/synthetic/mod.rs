//! Made-up clusters for the planner, by seed: log-normal segments, three classes of capacity, three loosely
//! correlated kinds of load, 5 % hot and 2 % empty nodes, replicas that keep segments to some of the nodes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::gate::{GateSettings, Restrictions};
use milvus_rebalancer::model::{
    BytesSource, Collection, CollectionIndex, Component, ComponentIndex, Controls, History, Member, Node,
    NodeIndex, PlanningInput, Replica, ReplicaIndex, SegmentCopies, Snapshot, Standing,
};
use milvus_rebalancer::observe::observation::ServerVersion;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::{Assessment, Capacity, Dimension, DimensionSettings, LoadUnit, Scope};
use milvus_rebalancer::units::{
    Bytes, CollectionId, Load, Moment, NodeId, Ratio, ReplicaId, Rows, SegmentId,
};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};

/// What a made-up cluster looks like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Query nodes.
    pub nodes: usize,
    /// Segments; each has a copy in every replica of its collection.
    pub segments: usize,
    /// Collections.
    pub collections: usize,
    /// Replicas of a collection: from so many …
    pub replicas_from: usize,
    /// … to so many.
    pub replicas_to: usize,
    /// Sets of neighbouring nodes; a replica has all nodes of one of them.
    pub groups: usize,
    /// Whether a few collections are searched much more than the others.
    pub hot_collections: bool,
    /// The band: both its enter and its leave value.
    pub band: Ratio,
}

/// A cluster and what policies would say about it.
pub struct Cluster {
    /// The snapshot with its settings.
    pub input: PlanningInput,
    /// Three dimensions.
    pub assessment: Assessment,
    /// Room on every node, nothing else.
    pub restrictions: Restrictions,
}

/// Shares of nodes that have twice the load of others, and none at all.
const HOT_NODES: f64 = 0.05;
const EMPTY_NODES: f64 = 0.02;
/// How many times as likely a segment is on a hot node.
const HEAT: f64 = 2.2;
/// Spread of the size of segments around the typical one: the largest of a thousand is twenty times as large.
const SIZE_SPREAD: f64 = 1.0;
/// Spread of rows per byte over collections, and of searches per byte over collections and over segments.
const ROWS_SPREAD: f64 = 0.4;
const SEARCH_SPREAD: f64 = 0.5;
/// Typical bytes of a segment.
const TYPICAL_BYTES: f64 = 200e6;
/// How full the memory of the cluster is.
const UTILISATION: f64 = 0.5;
/// Classes of capacity, as multiples of the smallest.
const CLASSES: [f64; 3] = [1.0, 1.5, 2.0];
/// Spread of the other capacities of a node against its memory: machines of one class are not all alike.
const CAPACITY_SPREAD: f64 = 0.1;

/// One copy before it becomes a row.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
#[allow(clippy::too_many_lines)] // one column after the other
pub fn cluster(shape: &Shape, seed: u64) -> Cluster {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let lognormal = |spread: f64| LogNormal::new(0.0, spread).expect("spreads are finite");
    let (size, rows_of, search_of) =
        (lognormal(SIZE_SPREAD), lognormal(ROWS_SPREAD), lognormal(SEARCH_SPREAD));

    let class: Vec<f64> = (0..shape.nodes).map(|at| CLASSES[at % CLASSES.len()]).collect();
    let mut attraction: Vec<f64> = class.clone();
    let mut strangers: Vec<usize> = (0..shape.nodes).collect();
    let count = |share: f64| ((shape.nodes as f64 * share).round() as usize).max(1);
    for kind in 0..count(HOT_NODES) + count(EMPTY_NODES) {
        let chosen = strangers.swap_remove(dice.random_range(0..strangers.len()));
        attraction[chosen] *= if kind < count(HOT_NODES) { HEAT } else { 0.0 };
    }

    let group_nodes = |group: usize| {
        let (first, last) = (group * shape.nodes / shape.groups, (group + 1) * shape.nodes / shape.groups);
        first..last
    };
    let mut collections = Vec::new();
    let mut replicas: Vec<Replica> = Vec::new();
    let mut replicas_of: Vec<Vec<(usize, usize)>> = Vec::new();
    let (mut rows_per_byte, mut heat) = (Vec::new(), Vec::new());
    for collection in 0..shape.collections {
        collections.push(a_collection(collection));
        rows_per_byte.push(rows_of.sample(&mut dice) / 1e3);
        let hot = shape.hot_collections && collection % 50 == 7;
        heat.push(search_of.sample(&mut dice) * if hot { 8.0 } else { 1.0 });
        let wanted = dice.random_range(shape.replicas_from..=shape.replicas_to).min(shape.groups);
        let first = dice.random_range(0..shape.groups);
        let step = if shape.groups > 1 { dice.random_range(1..shape.groups) } else { 1 };
        let mut own = Vec::new();
        for replica in 0..wanted {
            let group = (first + replica * step) % shape.groups;
            if own.iter().any(|(_, known)| *known == group) {
                continue;
            }
            own.push((replicas.len(), group));
            replicas.push(Replica {
                id: ReplicaId(1 + replicas.len() as i64),
                collection: CollectionIndex(collection as u32),
                resource_group: "made-up".to_owned(),
                members: group_nodes(group)
                    .map(|node| Member { node: NodeIndex(node as u32), standing: Standing::ReadWrite })
                    .collect(),
                component: Some(ComponentIndex(group as u32)),
            });
        }
        replicas_of.push(own);
    }
    let mut components: Vec<Component> = (0..shape.groups)
        .map(|group| Component {
            nodes: group_nodes(group).map(|node| NodeIndex(node as u32)).collect(),
            replicas: Vec::new(),
        })
        .collect();
    for (position, replica) in replicas.iter().enumerate() {
        let component = replica.component.expect("it was just given");
        components[component.at()].replicas.push(ReplicaIndex(position as u32));
    }

    let cumulated: Vec<Vec<f64>> = (0..shape.groups)
        .map(|group| {
            let mut sum = 0.0;
            let add = |node: usize| {
                sum += attraction[node];
                sum
            };
            group_nodes(group).map(add).collect()
        })
        .collect();
    let copies_expected = shape.segments * (shape.replicas_from + shape.replicas_to).div_ceil(2);
    let mut copies = SegmentCopies::default();
    let mut search: Vec<Load> = Vec::new();
    copies.segment.reserve_exact(copies_expected);
    copies.replica.reserve_exact(copies_expected);
    copies.node.reserve_exact(copies_expected);
    copies.rows.reserve_exact(copies_expected);
    copies.bytes.reserve_exact(copies_expected);
    copies.held.reserve_exact(copies_expected);
    search.reserve_exact(copies_expected);
    let mut base = vec![[0_u64; 3]; shape.nodes];
    for segment in 0..shape.segments {
        // Collections are of very different size: the square of an even draw.
        let draw: f64 = dice.random();
        let collection = ((draw * draw * shape.collections as f64) as usize).min(shape.collections - 1);
        let bytes = TYPICAL_BYTES * size.sample(&mut dice);
        let rows = bytes * rows_per_byte[collection];
        let searches = bytes * heat[collection] * search_of.sample(&mut dice) / 1e6;
        for (replica, group) in &replicas_of[collection] {
            let sums = &cumulated[*group];
            let draw = dice.random::<f64>() * sums[sums.len() - 1];
            let node =
                group_nodes(*group).start + sums.partition_point(|sum| *sum <= draw).min(sums.len() - 1);
            copies.segment.push(SegmentId(1 + segment as i64));
            copies.replica.push(ReplicaIndex(*replica as u32));
            copies.node.push(NodeIndex(node as u32));
            copies.rows.push(Rows(rows as u64));
            copies.bytes.push(Bytes(bytes as u64));
            copies.held.push(None);
            search.push(Load(searches as u64));
        }
    }
    for (at, base) in base.iter_mut().enumerate() {
        // The process itself, growing data and delegators: a few per cent of what a node carries.
        let share = copies.len() as f64 / shape.nodes as f64 * class[at] / 1.5 * TYPICAL_BYTES;
        base[0] = (share * dice.random_range(0.02..0.08)) as u64;
        base[2] = (share / 1e6 * dice.random_range(0.0..0.05)) as u64;
    }

    let per_class = |amounts: &dyn Fn(usize) -> u64, total_class: f64| {
        let total: f64 = (0..copies.len()).map(|at| amounts(at) as f64).sum();
        total / total_class / UTILISATION
    };
    let total_class: f64 = class.iter().sum();
    let spread = lognormal(CAPACITY_SPREAD);
    let memory_unit = per_class(&|at| copies.bytes[at].0, total_class);
    let search_unit = per_class(&|at| search[at].0, total_class);
    let memory: Vec<Load> = class.iter().map(|class| Load((class * memory_unit) as u64)).collect();
    let cores: Vec<Load> =
        class.iter().map(|class| Load((class * search_unit * spread.sample(&mut dice)) as u64 + 1)).collect();
    let weights: Vec<Load> =
        class.iter().map(|class| Load((class * memory_unit * spread.sample(&mut dice)) as u64 + 1)).collect();

    let settings = DimensionSettings {
        enter: shape.band,
        leave: shape.band,
        turns: 1,
        matters_above: Ratio::ZERO,
        ..DimensionSettings::default()
    };
    let base_of = |kind: usize| base.iter().map(|base| Load(base[kind])).collect::<Vec<Load>>();
    let dimension = |name: &str, unit, copy_load, base_load, capacity| Dimension {
        name: name.to_owned(),
        unit,
        scope: Scope::Node,
        copy_load,
        base_load,
        base_parts: Vec::new(),
        measured_load: Vec::new(),
        capacity,
        settings: settings.clone(),
        confidence: Ratio::ONE,
    };
    let bytes_load: Vec<Load> = copies.bytes.iter().map(|bytes| Load(bytes.0)).collect();
    let rows_load: Vec<Load> = copies.rows.iter().map(|rows| Load(rows.0)).collect();
    let assessment = Assessment {
        dimensions: vec![
            dimension("memory", LoadUnit::Bytes, bytes_load, base_of(0), Capacity::Physical(memory.clone())),
            dimension("rows", LoadUnit::Rows, rows_load, base_of(1), Capacity::Weights(weights)),
            dimension("search", LoadUnit::Millicores, search, base_of(2), Capacity::Physical(cores)),
        ],
        directives: Vec::new(),
        remarks: Vec::new(),
    };
    let nodes = (0..shape.nodes).map(|at| a_node(at, memory[at], shape)).collect();
    let snapshot = Snapshot {
        taken_at: Timestamp::UNIX_EPOCH,
        server: ServerVersion::parse("v2.5.27"),
        nodes,
        collections,
        replicas,
        copies: Arc::new(copies),
        components,
        signals: milvus_rebalancer::model::signals::Signals::default(),
        points: Default::default(),
        doubts: Vec::new(),
    };
    let mut restrictions = Restrictions::default();
    for (node, bytes) in snapshot.nodes.iter().zip(snapshot.bytes_by_node()) {
        let capacity = node.memory_capacity.unwrap_or_default();
        restrictions.room.insert(node.id, Bytes(capacity.0 / 10 * 9).saturating_sub(bytes));
    }
    let plan = PlanSettings {
        // What is measured is how near to the floor it gets, not when it gets too dear.
        price_per_fair_share: Ratio::ZERO,
        price_per_move: Ratio::ZERO,
        effort: u64::MAX,
    };
    let gate = GateSettings { minimum_gain: Ratio::ZERO, ..GateSettings::default() };
    let input = PlanningInput {
        snapshot: Arc::new(snapshot),
        in_flight: Vec::new(),
        history: History::default(),
        opinions: milvus_rebalancer::policy::Assessment::default(),
        own_balancer: milvus_rebalancer::model::OwnBalancer::default(),
        controls: Controls::default(),
        plan,
        gate,
        now: Moment { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO },
    };
    Cluster { input, assessment, restrictions }
}

fn a_collection(number: usize) -> Collection {
    Collection {
        id: CollectionId(1 + i64::try_from(number).expect("collections are few")),
        database: String::new(),
        name: format!("c{number}"),
        load_percentage: 100,
        read_at: Timestamp::UNIX_EPOCH,
        bytes_source: BytesSource::Reported,
    }
}

fn a_node(at: usize, memory: Load, shape: &Shape) -> Node {
    let group = (0..shape.groups).rev().find(|group| group * shape.nodes / shape.groups <= at);
    Node {
        id: NodeId(1 + i64::try_from(at).expect("nodes are few")),
        address: format!("10.0.{}.{}:21123", at / 250, at % 250),
        hostname: None,
        standing: Standing::ReadWrite,
        memory_capacity: Some(Bytes(memory.0)),
        memory_used: None,
        growing: None,
        unexplained_memory: None,
        reported_sealed: None,
        version: "v2.5.27".to_owned(),
        component: group.map(|group| ComponentIndex(u32::try_from(group).expect("groups are few"))),
    }
}
