//! Milvus' own balancer at work.

use super::*;
use crate::sim::profile::ALL_LINES;

fn spread(world: &World) -> (u64, u64) {
    let collection = first_collection(world);
    let rows: Vec<u64> = query_nodes(world)
        .iter()
        .map(|node| {
            world.shares_of(*node).filter(|(id, _)| *id == collection).map(|(_, share)| share.rows).sum()
        })
        .collect();
    (*rows.iter().min().unwrap(), *rows.iter().max().unwrap())
}

fn crowded(line: Line, on: bool) -> World {
    let mut plan = small_plan(Profile::of(line));
    plan.segments = 24;
    plan.placement = Placement::OneNode;
    plan.settings.own_balancer = on;
    let mut world = build(&plan);
    for node in world.nodes.values_mut() {
        node.memory *= 4;
    }
    world
}

#[test]
fn it_spreads_rows_from_one_node_within_a_minute_or_so() {
    for line in ALL_LINES {
        let mut world = crowded(line, true);
        run(&mut world, 120.0);
        let (least, most) = spread(&world);
        assert!(least > 0 && most < 3 * least, "{line}: {least} to {most} rows");
        assert!(world.own_balancer_moves() > 5, "{line}");
        assert_eq!(world.losses(), [], "{line}");
        let moves = world.own_balancer_moves();
        run(&mut world, 300.0);
        assert_eq!(world.own_balancer_moves(), moves, "{line}: at rest");
        assert_sums(&world);
    }
}

#[test]
fn it_does_nothing_when_it_is_off_or_suspended() {
    let mut world = crowded(Line::V2_5, false);
    run(&mut world, 60.0);
    assert_eq!(world.own_balancer_moves(), 0);
    let mut world = crowded(Line::V2_5, true);
    world.suspend_own_balancer(true);
    run(&mut world, 60.0);
    assert_eq!(world.own_balancer_moves(), 0);
    world.suspend_own_balancer(false);
    run(&mut world, 60.0);
    assert!(world.own_balancer_moves() > 0);
}

#[test]
fn it_undoes_what_its_score_dislikes() {
    let mut plan = small_plan(Profile::of(Line::V2_5));
    plan.settings.own_balancer = true;
    plan.segments = 80;
    plan.memory_fill = 0.2;
    let mut world = build(&plan);
    run(&mut world, 120.0);
    let before = spread(&world);
    let node = NodeId(1);
    let away: Vec<SegmentId> = world
        .segments()
        .values()
        .filter(|segment| segment.collection == first_collection(&world) && !segment.level0)
        .filter(|segment| listed(&world, segment.id) == [node.0])
        .map(|segment| segment.id)
        .collect();
    ask(&mut world, 1, &[2], &away);
    assert!(spread(&world).0 < before.0 / 2, "most rows of node 1 are on node 2");
    let moves = world.own_balancer_moves();
    run(&mut world, 120.0);
    assert!(world.own_balancer_moves() > moves);
    let after = spread(&world);
    assert!(after.0 > before.0 / 2, "{before:?}, then {after:?}");
}

#[test]
fn a_manual_move_takes_the_place_of_the_balancers() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(1));
    assert!(world.move_by_someone_else(segment, NodeId(1), NodeId(3)));
    let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
    assert_eq!(answered, CallAnswer::Success);
    run(&mut world, 20.0);
    let nodes = listed(&world, segment);
    assert_eq!(nodes.len(), 1, "the half-done copy on node 3 is cleaned away: {nodes:?}");
}

#[test]
fn channels_own_nodes_where_there_are_enough_of_them() {
    let mut plan = small_plan(Profile::of(Line::V2_6));
    plan.nodes = 6;
    plan.shards = 2;
    plan.segments = 48;
    plan.settings.own_balancer = true;
    plan.memory_fill = 0.2;
    let mut world = build(&plan);
    let collection = first_collection(&world);
    let exclusive = world.collections()[&collection].replicas[0].exclusive.clone();
    assert_eq!(exclusive.iter().map(std::collections::BTreeSet::len).collect::<Vec<_>>(), [3, 3]);
    run(&mut world, 60.0);
    let stray =
        world.listed_segments(collection).find(|segment| segment.shard == 0 && !segment.level0).unwrap();
    let (stray, from) = (stray.id, stray.copies[0].node);
    let foreign = *exclusive[1].iter().next().unwrap();
    let (_, answered) = ask(&mut world, from.0, &[foreign.0], &[stray]);
    assert_eq!(answered, CallAnswer::Success);
    run(&mut world, 30.0);
    let now = NodeId(listed(&world, stray)[0]);
    assert!(exclusive[0].contains(&now), "brought back to the channel's own nodes, not left on {foreign}");
}
