//! What policies do to a simulated cluster, with the whole loop: bytes that rows do not show, nodes of unequal memory, and
//! a node that is emptied while data comes in. The logic of the tests on a real cluster (tests/real/policies.rs), which
//! measure it.

use std::collections::BTreeMap;

use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings};
use milvus_rebalancer::sim::calls::CallAnswer;
use milvus_rebalancer::sim::{CollectionOrder, Line, Profile, SharedWorld, World, WorldPlan, build};
use milvus_rebalancer::units::{CollectionId, NodeId, Ratio};

use crate::cluster::lifted_gates;
use crate::hot_segment::{Daemon, pass};

const MIB: u64 = 1 << 20;

const LINES: [Line; 3] = [Line::V2_3, Line::V2_4, Line::V2_5];

fn world(line: Line, nodes: usize) -> World {
    let plan = WorldPlan {
        nodes,
        collections: 0,
        segments: 0,
        unequal_machines: false,
        ..WorldPlan::new(Profile::of(line), 1)
    };
    build(&plan)
}

fn order(name: &str, segments: usize, row_bytes: u64) -> CollectionOrder {
    CollectionOrder {
        database: String::new(),
        name: name.to_owned(),
        segments,
        rows_per_segment: 5_000,
        dimension: 32,
        row_bytes,
        replicas: 1,
        shards: 1,
        growing_rows: 0,
        searches_per_second: 0.0,
        loaded: true,
    }
}

/// Sealed bytes are to be even, whatever else a node uses.
fn sealed_bytes() -> PolicySettings {
    let memory = DimensionSettings {
        enter: Ratio(1_050_000),
        leave: Ratio(1_010_000),
        turns: 1,
        matters_above: Ratio::ZERO,
        base_load: false,
        ..DimensionSettings::default()
    };
    PolicySettings { memory, ..PolicySettings::default() }
}

/// Bytes of sealed segments on each node.
fn bytes_by_node(world: &SharedWorld) -> BTreeMap<NodeId, u64> {
    let world = world.lock();
    let mut bytes: BTreeMap<NodeId, u64> = world.nodes().keys().map(|id| (*id, 0)).collect();
    for segment in world.segments().values() {
        for copy in &segment.copies {
            *bytes.entry(copy.node).or_default() += segment.bytes;
        }
    }
    bytes
}

fn refused(world: &SharedWorld) -> usize {
    let world = world.lock();
    let is_refused = |answer: &CallAnswer| matches!(answer, CallAnswer::Refused(_));
    world.calls().iter().filter_map(|call| call.answered.as_ref()).filter(|(_, one)| is_refused(one)).count()
}

fn moves(world: &SharedWorld) -> usize {
    world.lock().calls().iter().map(|call| call.request.segments.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn equal_rows_of_sixteen_times_the_bytes_are_levelled_by_bytes() {
    for line in LINES {
        let mut world = world(line, 3);
        let long = world.create_collection(&order("long", 6, 2_240));
        world.put_collection(long, NodeId(1));
        // Twelve segments of the same rows on the other two: to Milvus this is even.
        for (number, home) in [(0, NodeId(2)), (1, NodeId(3))] {
            let short = world.create_collection(&order(&format!("short{number}"), 6, 140));
            world.put_collection(short, home);
        }
        let (world, folder) = (SharedWorld::new(world), tempfile::tempdir().unwrap());
        let before = bytes_by_node(&world);
        assert!(before[&NodeId(1)] > 14 * before[&NodeId(2)], "{line:?}: {before:?}");
        let _daemon =
            Daemon::start_with(&world, folder.path(), &sealed_bytes(), lifted_gates(), Default::default());
        pass(1_800).await;
        let (after, moved) = (bytes_by_node(&world), moves(&world));
        let (most, sum) = (after.values().max().unwrap(), after.values().sum::<u64>());
        assert!(most * 3 * 100 <= sum * 105, "{line:?}: {before:?} became {after:?} by {moved} moves");
        // Two of the six on each node, and no more than the short ones that even out the rest.
        assert!((4..=8).contains(&moved), "{line:?}: {moved} moves");
        pass(600).await;
        assert_eq!((moves(&world), refused(&world)), (moved, 0), "{line:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unequal_nodes_are_filled_in_proportion_and_nothing_is_sent_that_would_be_refused() {
    for line in LINES {
        let mut world = world(line, 4);
        // The process itself takes most of what the fourth has.
        let base = world.nodes()[&NodeId(4)].base_memory;
        let memory = [1_000 * MIB, 1_000 * MIB, 2_000 * MIB, 5 * MIB];
        for (id, memory) in (1..).map(NodeId).zip(memory) {
            world.set_memory(id, base + memory);
        }
        let books = world.create_collection(&order("books", 16, 2_240));
        world.put_collection(books, NodeId(1));
        let (world, folder) = (SharedWorld::new(world), tempfile::tempdir().unwrap());
        let _daemon =
            Daemon::start_with(&world, folder.path(), &sealed_bytes(), lifted_gates(), Default::default());
        pass(1_800).await;
        let after = bytes_by_node(&world);
        let segment = 5_000 * 2_240;
        let counts: Vec<u64> = after.values().map(|bytes| bytes / segment).collect();
        assert_eq!(counts[3], 0, "{line:?}: {counts:?}");
        assert!((4..=5).contains(&counts[0]) && (4..=5).contains(&counts[1]), "{line:?}: {counts:?}");
        assert!((7..=8).contains(&counts[2]), "{line:?}: {counts:?}");
        assert_eq!(refused(&world), 0, "{line:?}");
        let to_small =
            world.lock().calls().iter().filter(|call| call.request.to.contains(&NodeId(4))).count();
        assert_eq!(to_small, 0, "{line:?}");
    }
}

/// Segments on a node that could move.
fn movable_on(world: &SharedWorld, node: NodeId) -> usize {
    let world = world.lock();
    let is_there = |segment: &&milvus_rebalancer::sim::cluster::SimSegment| {
        segment.rows > 0 && segment.copies.iter().any(|copy| copy.node == node)
    };
    world.segments().values().filter(is_there).count()
}

#[tokio::test(start_paused = true)]
async fn a_node_is_emptied_while_data_comes_in_and_nothing_flows_back() {
    for line in LINES {
        let mut world = world(line, 3);
        let books: CollectionId = world.create_collection(&order("books", 9, 540));
        world.put_collection(books, NodeId(3));
        // A new segment every 40 s, which Milvus puts where it likes.
        world.set_ingest(books, 50.0, 2_000);
        let address = world.nodes()[&NodeId(3)].address.clone();
        let (world, folder) = (SharedWorld::new(world), tempfile::tempdir().unwrap());
        let mut policies = PolicySettings::default();
        policies.drain.nodes = Patterns::of(&address);
        let _daemon =
            Daemon::start_with(&world, folder.path(), &policies, lifted_gates(), Default::default());
        pass(600).await;
        assert!(moves(&world) >= 9, "{line:?}: {}", moves(&world));
        world.lock().set_ingest(books, 0.0, u64::MAX);
        pass(600).await;
        assert_eq!(movable_on(&world, NodeId(3)), 0, "{line:?}");
        let moved = moves(&world);
        pass(600).await;
        assert_eq!(moves(&world), moved, "{line:?}: something moved in quiet turns");
        let world = world.lock();
        assert!(world.segments().len() > 15, "{line:?}: data came in: {}", world.segments().len());
        let mut sent = BTreeMap::new();
        for call in world.calls() {
            assert!(!call.request.to.contains(&NodeId(3)), "{line:?}: {call:?}");
            for segment in &call.request.segments {
                *sent.entry(*segment).or_insert(0) += 1;
            }
        }
        assert!(sent.values().all(|times| *times == 1), "{line:?}: no segment moves twice: {sent:?}");
    }
}
