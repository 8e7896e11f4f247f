//! Builds a world from a few numbers: machines, collections, segments, who is hot.

use std::collections::{BTreeMap, BTreeSet};

use super::churn::scaled;
use super::cluster::{
    CopyState, Demand, HotSpell, LATENCY_EDGES, NodeState, SimCollection, SimNode, SimReplica, SimRole,
    SimSegment, SimTime, TargetState,
};
use super::profile::Profile;
use super::random::{Purpose, Stream};
use super::world::{World, WorldSettings};
use crate::units::{CollectionId, NodeId, PartitionId, ReplicaId, SegmentId};

/// How the segments of a new world lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// By rows, as Milvus itself would leave them.
    EvenRows,
    /// Round-robin, without a look at anything.
    RoundRobin,
    /// All of a replica on its first node.
    OneNode,
    /// As in a cluster that has grown while nobody balanced it: the last quarter of a replica's nodes, at least
    /// one, holds nothing, and the first node half as much again as the others.
    Grown,
}

/// What a world is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldPlan {
    /// Everything that chance decides.
    pub seed: u64,
    /// The version.
    pub profile: Profile,
    /// How fast things go.
    pub settings: WorldSettings,
    /// Query nodes.
    pub nodes: usize,
    /// Streaming nodes, where the version has them.
    pub streaming_nodes: usize,
    /// Every third machine is twice the size of the others.
    pub unequal_machines: bool,
    /// Resource groups that nodes and collections are spread over; the first is Milvus' default one.
    pub resource_groups: usize,
    /// Databases that the collections are spread over, where the version has them.
    pub databases: usize,
    /// Collections.
    pub collections: usize,
    /// Sealed segments, all collections together, one replica each.
    pub segments: usize,
    /// Replicas of a collection.
    pub replicas: usize,
    /// Nodes of one replica at most; 0 for all there are.
    pub nodes_per_replica: usize,
    /// Shards of a collection.
    pub shards: usize,
    /// Share of memory that the data fills, averaged over the nodes.
    pub memory_fill: f64,
    /// Share of CPU that searches use, averaged over the nodes.
    pub cpu_fill: f64,
    /// How many times more often the hottest collection is searched than an ordinary one.
    pub hot_factor: f64,
    /// Every n-th collection is memory-mapped; 0 for none.
    pub mapped_every: usize,
    /// Rows that arrive in a second, all collections together.
    pub ingest_rows_per_second: f64,
    /// Rows that level-0 segments are listed with. What hides their level must list them with none.
    pub level0_rows: u64,
    /// How the segments lie.
    pub placement: Placement,
}

impl WorldPlan {
    /// Eight unequal machines, forty collections, one of them hot.
    pub fn new(profile: Profile, seed: u64) -> WorldPlan {
        WorldPlan {
            seed,
            streaming_nodes: if profile.has_streaming_nodes { 2 } else { 0 },
            profile,
            settings: WorldSettings::default(),
            nodes: 8,
            unequal_machines: true,
            resource_groups: 1,
            databases: 2,
            collections: 40,
            segments: 400,
            replicas: 1,
            nodes_per_replica: 0,
            shards: 1,
            memory_fill: 0.45,
            cpu_fill: 0.35,
            hot_factor: 12.0,
            mapped_every: 0,
            ingest_rows_per_second: 0.0,
            level0_rows: 0,
            placement: Placement::EvenRows,
        }
    }
}

/// Rows of an ordinary full segment.
const FULL_SEGMENT_ROWS: u64 = 100_000;
/// How far the rows and the bytes per row scatter (deviation of the logarithm).
const ROWS_SPREAD: f64 = 0.6;
/// Memory of an ordinary machine.
const MACHINE_MEMORY: u64 = 16 << 30;
/// Memory of a query node without data (measured: 44 MB).
const BASE_MEMORY: u64 = 44 << 20;
/// Dimensions of vectors; the bytes of a row follow from them.
const DIMENSIONS: [u32; 4] = [128, 384, 768, 1536];

/// Builds the world. The same plan gives the same world.
pub fn build(plan: &WorldPlan) -> World {
    let mut chance = Stream::new(plan.seed, Purpose::World);
    let mut world = World::new(plan.profile.clone(), plan.settings.clone(), plan.seed);
    for number in 0..plan.nodes {
        world.start_node(machine(plan, number, SimRole::Query));
    }
    if plan.profile.has_streaming_nodes {
        for number in 0..plan.streaming_nodes {
            world.start_node(machine(plan, plan.nodes + number, SimRole::Streaming));
        }
    }
    for number in 0..plan.collections {
        add_collection(&mut world, plan, number, &mut chance);
    }
    fit_to_machines(&mut world, plan);
    place(&mut world, plan);
    fit_demand(&mut world, plan);
    world.measure_led_memory();
    world.traffic_tick();
    world
}

fn machine(plan: &WorldPlan, number: usize, role: SimRole) -> SimNode {
    let size = if plan.unequal_machines && number % 3 == 2 { 2 } else { 1 };
    let (kind, group) = match role {
        SimRole::Query => ("querynode", Some(group_name(plan, number))),
        SimRole::Streaming => ("streamingnode", None),
    };
    SimNode {
        id: NodeId(0),
        address: format!("10.0.{}.{}:21123", number / 250, number % 250 + 1),
        hostname: format!("{kind}-{number}"),
        resource_group: group,
        role,
        state: NodeState::Up,
        memory: MACHINE_MEMORY * size,
        cores: if size == 2 { 8.0 } else { 4.0 },
        disk: 500_000_000_000 * size,
        base_memory: BASE_MEMORY,
        slowness: 1.0,
        refuses_loads_until: SimTime::ZERO,
        errors_until: SimTime::ZERO,
        frozen: false,
        sealed_memory: 0,
        mapped_disk: 0,
        led_memory: 0,
        started_at: SimTime::ZERO,
        cpu_seconds: 0.0,
        demand: 0.0,
    }
}

/// The group of the n-th node or collection.
fn group_name(plan: &WorldPlan, number: usize) -> String {
    match number % plan.resource_groups.max(1) {
        0 => super::DEFAULT_RESOURCE_GROUP.to_owned(),
        group => format!("rg_{group}"),
    }
}

fn add_collection(world: &mut World, plan: &WorldPlan, number: usize, chance: &mut Stream) {
    let id = CollectionId(world.take_id());
    let dimension = chance.pick(&DIMENSIONS).copied().unwrap_or(DIMENSIONS[0]);
    let database = match (plan.profile.has_databases, plan.databases.max(1)) {
        (false, _) => String::new(),
        (true, databases) if number.is_multiple_of(databases) => super::DEFAULT_DATABASE.to_owned(),
        (true, databases) => format!("team_{}", number % databases),
    };
    let shards = plan.shards.max(1);
    let is_hot = number == 0;
    let collection = SimCollection {
        id,
        database,
        name: format!("collection_{number}"),
        partition: PartitionId(world.take_id()),
        dimension,
        // Vector, key, and the index around it.
        row_bytes: scaled(u64::from(dimension) * 4 + 8, chance.between(1.1, 1.9)),
        mapped: plan.mapped_every > 0 && number % plan.mapped_every == plan.mapped_every - 1,
        loaded: true,
        load_percentage: 100,
        channels: (0..shards).map(|shard| format!("by-dev-rootcoord-dml_{number}_{id}v{shard}")).collect(),
        replicas: replicas(world, plan, number),
        growing_rows: vec![0.0; shards],
        growing_segments: (0..shards).map(|_| SegmentId(world.take_id())).collect(),
        ingest_rows_per_second: plan.ingest_rows_per_second / plan.collections.max(1) as f64,
        seal_rows: FULL_SEGMENT_ROWS,
        demand: Demand {
            searches_per_second: if is_hot { plan.hot_factor } else { chance.between(0.2, 2.0) },
            day_swing: chance.between(0.1, 0.6),
            peak_hour: chance.between(0.0, 24.0),
            hot_spells: Vec::<HotSpell>::new(),
        },
        segments: BTreeSet::new(),
        latency_ms: 0.0,
        searches_done: 0.0,
        search_ms: 0.0,
        search_buckets: [0.0; LATENCY_EDGES],
    };
    world.collections.insert(id, collection);
    let count = plan.segments / plan.collections.max(1)
        + usize::from(number < plan.segments % plan.collections.max(1));
    for position in 0..count {
        add_segment(world, id, position % shards, chance.factor(ROWS_SPREAD), chance.factor(0.35));
    }
    if plan.profile.lists_level0 || plan.profile.has_streaming_nodes {
        // Deletes that belong to the first shard.
        let level0 = SegmentId(world.take_id());
        let segment = SimSegment {
            id: level0,
            collection: id,
            shard: 0,
            rows: if plan.profile.lists_levels { plan.level0_rows } else { 0 },
            bytes: 1 << 20,
            level0: true,
            target: TargetState::Current,
            copies: Vec::new(),
        };
        insert_segment(world, segment);
    }
    world.redraw_exclusive_sets(id);
    world.elect_leaders(id);
}

/// Neighbouring nodes for each replica, so that collections overlap without being the same.
fn replicas(world: &mut World, plan: &WorldPlan, number: usize) -> Vec<SimReplica> {
    let group = group_name(plan, number);
    let query: Vec<NodeId> = world
        .nodes
        .values()
        .filter(|node| node.resource_group.as_ref() == Some(&group))
        .map(|node| node.id)
        .collect();
    let streaming: BTreeSet<NodeId> =
        world.nodes.values().filter(|node| node.role == SimRole::Streaming).map(|node| node.id).collect();
    let count = plan.replicas.max(1);
    let most = query.len() / count;
    let each = if plan.nodes_per_replica == 0 { most } else { plan.nodes_per_replica.min(most) };
    let first = if plan.nodes_per_replica == 0 { 0 } else { number * count * each };
    (0..count)
        .map(|replica| {
            let members = (0..each)
                .filter_map(|position| query.get((first + replica * each + position) % query.len().max(1)))
                .copied()
                .collect();
            // Streaming nodes are shared out: a node is in one replica of a collection only.
            let channels =
                streaming.iter().enumerate().filter(|(at, _)| at % count == replica).map(|(_, node)| *node);
            SimReplica {
                id: ReplicaId(world.take_id()),
                resource_group: group.clone(),
                read_write: members,
                read_only: BTreeSet::new(),
                streaming: channels.collect(),
                leaders: vec![None; plan.shards.max(1)],
                exclusive: Vec::new(),
            }
        })
        .collect()
}

fn add_segment(world: &mut World, collection: CollectionId, shard: usize, rows: f64, bytes: f64) {
    let id = SegmentId(world.take_id());
    let row_bytes = world.collections.get(&collection).map_or(0, |collection| collection.row_bytes);
    let rows = scaled(FULL_SEGMENT_ROWS, rows).max(1);
    let segment = SimSegment {
        id,
        collection,
        shard,
        rows,
        bytes: scaled(rows * row_bytes, bytes),
        level0: false,
        target: TargetState::Current,
        copies: Vec::new(),
    };
    insert_segment(world, segment);
}

fn insert_segment(world: &mut World, segment: SimSegment) {
    if let Some(collection) = world.collections.get_mut(&segment.collection) {
        collection.segments.insert(segment.id);
    }
    world.segments.insert(segment.id, segment);
}

/// Machines of the size that the data asks for: whatever the plan's numbers, memory is filled as it says.
#[allow(clippy::cast_precision_loss)] // sizes of machines
fn fit_to_machines(world: &mut World, plan: &WorldPlan) {
    let data: u64 = world
        .segments
        .values()
        .map(|segment| {
            let replicas = world.collections[&segment.collection].replicas.len() as u64;
            world.footprint(segment).0 * replicas
        })
        .sum();
    let machines: u64 =
        world.nodes.values().filter(|node| node.role == SimRole::Query).map(|node| node.memory).sum();
    if machines == 0 || plan.memory_fill <= 0.0 {
        return;
    }
    let factor = data as f64 / plan.memory_fill / machines as f64;
    for node in world.nodes.values_mut() {
        node.memory = scaled(node.memory, factor).max(4 * BASE_MEMORY);
    }
}

/// Puts the copies where the plan wants them.
fn place(world: &mut World, plan: &WorldPlan) {
    let mut rows_on: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut turn = 0_usize;
    let ids: Vec<SegmentId> = world.segments.keys().copied().collect();
    for id in ids {
        let segment = &world.segments[&id];
        let (shard, level0, rows) = (segment.shard, segment.level0, segment.rows);
        let replicas = world.collections[&segment.collection].replicas.clone();
        for (position, replica) in replicas.iter().enumerate() {
            let own = replica.exclusive.get(shard).filter(|own| !own.is_empty());
            let members: Vec<NodeId> = own.unwrap_or(&replica.read_write).iter().copied().collect();
            let memory = |node: &NodeId| world.nodes.get(node).map_or(1, |node| node.memory).max(1);
            let chosen = match plan.placement {
                _ if level0 => replica.leaders.get(shard).copied().flatten(),
                Placement::OneNode => members.first().copied(),
                Placement::RoundRobin => {
                    turn += 1;
                    members.get(turn % members.len().max(1)).copied()
                }
                Placement::Grown => {
                    turn += 1;
                    grown_position(turn, members.len()).and_then(|position| members.get(position)).copied()
                }
                Placement::EvenRows => members.iter().copied().min_by_key(|node| {
                    let there = u128::from(rows_on.get(node).copied().unwrap_or(0));
                    (there * 1_000_000_000 / u128::from(memory(node)), *node)
                }),
            };
            let Some(node) = chosen else { continue };
            *rows_on.entry(node).or_default() += rows;
            world.add_copy(id, position, node, CopyState::Serving);
        }
    }
}

/// Which member of a replica gets the next copy under [`Placement::Grown`]: two rounds over those that were there
/// first, and one more for the first of them.
fn grown_position(turn: usize, members: usize) -> Option<usize> {
    let first_ones = members.checked_sub((members / 4).max(1))?.max(1);
    Some((turn % (2 * first_ones + 1)) % first_ones)
}

/// Scales the demand so that the CPU is used as the plan says, day's average.
fn fit_demand(world: &mut World, plan: &WorldPlan) {
    let cores: f64 =
        world.nodes.values().filter(|node| node.role == SimRole::Query).map(|node| node.cores).sum();
    let mut wanted = 0.0;
    for ((_, collection), share) in &world.shares {
        let Some(collection) = world.collections.get(collection) else { continue };
        #[allow(clippy::cast_precision_loss)] // microseconds
        let micros = share.search_micros as f64;
        wanted +=
            collection.demand.searches_per_second / collection.replicas.len().max(1) as f64 * micros / 1e6;
    }
    if wanted <= 0.0 {
        return;
    }
    let factor = plan.cpu_fill * cores / wanted;
    for collection in world.collections.values_mut() {
        collection.demand.searches_per_second *= factor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grown_cluster_has_a_full_node_and_empty_ones() {
        let copies = |members: usize| {
            let mut copies = vec![0; members];
            for turn in 0..1100 {
                copies[grown_position(turn, members).unwrap()] += 1;
            }
            copies
        };
        assert_eq!(copies(8), [254, 170, 169, 169, 169, 169, 0, 0]);
        assert_eq!(copies(3), [660, 440, 0]);
        assert_eq!(copies(1), [1100]);
        assert_eq!(grown_position(0, 0), None);
    }
}
