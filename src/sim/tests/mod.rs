//! Tests of the simulated world. Each plays a world forward by hand; nothing waits for a clock.

mod answers;
mod invariants;
mod moves;
mod nodes;
mod own_balancer;
mod seams;

use std::time::Duration;

use super::build::{Placement, WorldPlan, build};
use super::calls::{BalanceRequest, CallAnswer, CallId};
use super::cluster::{CopyState, SimRole};
use super::profile::{Line, Profile};
use super::world::World;
use crate::units::{CollectionId, NodeId, SegmentId};

/// Four equal machines, two collections of eight segments, nothing else going on.
fn small(line: Line) -> World {
    build(&small_plan(Profile::of(line)))
}

fn small_plan(profile: Profile) -> WorldPlan {
    WorldPlan {
        nodes: 4,
        unequal_machines: false,
        databases: 1,
        collections: 2,
        segments: 16,
        placement: Placement::RoundRobin,
        ..WorldPlan::new(profile, 1)
    }
}

fn run(world: &mut World, seconds: f64) {
    let to = world.now() + Duration::from_secs_f64(seconds);
    world.advance(to);
}

fn first_collection(world: &World) -> CollectionId {
    *world.collections().keys().next().unwrap()
}

/// A sealed segment of the first collection that is on `node`.
fn segment_on(world: &World, node: NodeId) -> SegmentId {
    let collection = first_collection(world);
    world
        .segments()
        .values()
        .find(|segment| {
            segment.collection == collection
                && !segment.level0
                && segment.copies.iter().any(|copy| copy.node == node && copy.state == CopyState::Serving)
        })
        .unwrap_or_else(|| panic!("no segment on node {node}"))
        .id
}

fn request(world: &World, from: i64, to: &[i64], segments: &[SegmentId]) -> BalanceRequest {
    let collection = &world.collections()[&first_collection(world)];
    BalanceRequest {
        caller: String::new(),
        database: collection.database.clone(),
        collection: collection.name.clone(),
        from: NodeId(from),
        to: to.iter().copied().map(NodeId).collect(),
        segments: segments.to_vec(),
    }
}

/// Plays the world until the call is answered; how long that took.
fn answer(world: &mut World, call: CallId) -> (Duration, CallAnswer) {
    let began = world.now();
    for _ in 0..100_000 {
        if let Some(answer) = world.answer(call) {
            return (world.now() - began, answer);
        }
        let next = world.answer_due(call).or_else(|| world.next_event_at()).unwrap();
        world.advance(next);
    }
    panic!("call {call:?} is not answered");
}

fn send(world: &mut World, request: BalanceRequest) -> (Duration, CallAnswer) {
    let call = world.load_balance(request);
    answer(world, call)
}

/// Asks for a move and waits for the answer.
fn ask(world: &mut World, from: i64, to: &[i64], segments: &[SegmentId]) -> (Duration, CallAnswer) {
    let request = request(world, from, to, segments);
    send(world, request)
}

fn code(answer: &CallAnswer) -> i32 {
    match answer {
        CallAnswer::Success => 0,
        CallAnswer::Refused(refusal) => refusal.code,
    }
}

/// Nodes that the coordinator lists for a segment.
fn listed(world: &World, segment: SegmentId) -> Vec<i64> {
    let mut nodes: Vec<i64> = world.segments()[&segment]
        .copies
        .iter()
        .filter(|copy| copy.state.is_listed())
        .map(|copy| copy.node.0)
        .collect();
    nodes.sort_unstable();
    nodes
}

fn query_nodes(world: &World) -> Vec<NodeId> {
    world.nodes().values().filter(|node| node.role == SimRole::Query).map(|node| node.id).collect()
}

/// The sums that the world keeps must be those that can be counted.
fn assert_sums(world: &World) {
    for node in world.nodes().values() {
        let (mut memory, mut served) = (0, 0);
        for segment in world.segments().values() {
            for copy in segment.copies.iter().filter(|copy| copy.node == node.id) {
                if copy.state.is_resident() {
                    memory += world.footprint(segment).0;
                }
                served += u64::from(copy.state == CopyState::Serving);
            }
        }
        assert_eq!(node.sealed_memory, memory, "memory of node {}", node.id);
        let shares: u64 = world.shares_of(node.id).map(|(_, share)| share.segments).sum();
        assert_eq!(shares, served, "copies on node {}", node.id);
    }
}
