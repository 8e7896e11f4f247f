//! Nodes that die, stop and come back; data that comes and goes.

use std::collections::BTreeMap;

use super::*;
use crate::sim::cluster::{SimSegment, TargetState};
use crate::sim::faults::{Fault, FaultSettings, random_faults};
use crate::sim::operator::Transfer;

fn served(world: &World) -> usize {
    world
        .segments()
        .values()
        .filter(|segment| segment.copies.iter().any(|copy| copy.state == CopyState::Serving))
        .count()
}

#[test]
fn a_dead_node_is_believed_to_live_for_28_seconds_and_its_segments_reappear_elsewhere() {
    let mut world = small(Line::V2_3);
    let segment = segment_on(&world, NodeId(2));
    world.crash(NodeId(2));
    run(&mut world, 27.5);
    assert_eq!(listed(&world, segment), [2], "listed as if alive");
    assert!(world.replica_with(first_collection(&world), NodeId(2)).is_some());
    run(&mut world, 0.6);
    assert_eq!(listed(&world, segment), [0_i64; 0], "gone from one moment to the next");
    assert!(!world.nodes().contains_key(&NodeId(2)));
    run(&mut world, 20.0);
    assert_eq!(listed(&world, segment).len(), 1, "loaded elsewhere");
    assert_eq!(served(&world), world.segments().len());
    assert!(world.losses().iter().all(|loss| loss.released_by.is_none()));
    assert_sums(&world);
}

#[test]
fn a_dead_delegator_holds_its_shard_up_and_a_dead_worker_does_not() {
    let mut world = small(Line::V2_3);
    let leader = world.collections()[&first_collection(&world)].replicas[0].leaders[0].unwrap();
    let others: Vec<NodeId> = query_nodes(&world).into_iter().filter(|node| *node != leader).collect();
    let [one, two, ..] = others[..] else { panic!("four nodes") };
    let (from_one, from_two) = (segment_on(&world, one), segment_on(&world, two));
    world.crash(one);
    let (took, answered) = ask(&mut world, one.0, &[two.0], &[from_one]);
    assert_eq!(answered, CallAnswer::Success);
    assert!(took < Duration::from_secs(10), "{took:?}");
    run(&mut world, 1.0);
    assert!(listed(&world, from_one).contains(&one.0), "what a dead node holds stays listed");
    let (took, answered) = ask(&mut world, two.0, &[one.0], &[from_two]);
    assert_eq!(code(&answered), 65535);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Moves from and to it end with its session, in a refusal or in a success that proves nothing.
#[test]
fn what_a_dead_delegator_was_to_move_is_refused_or_called_done() {
    let mut codes = BTreeMap::<[i32; 3], usize>::new();
    for seed in 0..40 {
        let mut world = build(&WorldPlan { seed, ..small_plan(Profile::of(Line::V2_3)) });
        let id = first_collection(&world);
        let leader = world.collections()[&id].replicas[0].leaders[0].unwrap();
        let others: Vec<NodeId> = query_nodes(&world).into_iter().filter(|node| *node != leader).collect();
        let [one, two, ..] = others[..] else { panic!("four nodes") };
        let away = request(&world, leader.0, &[one.0], &[segment_on(&world, leader)]);
        let there = request(&world, one.0, &[leader.0], &[segment_on(&world, one)]);
        let among_others = request(&world, two.0, &[one.0], &[segment_on(&world, two)]);
        world.crash(leader);
        run(&mut world, 10.0);
        let calls = [away, there, among_others].map(|request| world.load_balance(request));
        let answers = calls.map(|call| answer(&mut world, call));
        let (took, session) = (answers[0].0, Duration::from_secs(18));
        assert!(took >= session && took < session + Duration::from_secs(1), "{took:?}");
        *codes.entry(answers.map(|(_, answer)| code(&answer))).or_default() += 1;
        run(&mut world, 60.0);
        let is_served = |segment: &SimSegment| {
            segment.copies.iter().filter(|copy| copy.state == CopyState::Serving).count() == 1
        };
        assert!(world.segments().values().all(is_served), "seed {seed}: all is well again");
        assert_sums(&world);
    }
    let [both_done, one_done, none_done] = [2, 1, 0].map(|wanted| {
        let done = |codes: &[i32; 3]| codes.iter().filter(|code| **code == 0).count() == wanted;
        codes.iter().filter(|(codes, _)| done(codes)).map(|(_, count)| count).sum::<usize>()
    });
    assert!(both_done > none_done && one_done > 0 && none_done > 0, "{codes:?}");
    for [away, there, among_others] in codes.into_keys() {
        assert!([0, 901].contains(&away) && [0, 901].contains(&there) && among_others == 500);
    }
}

#[test]
fn a_failed_move_is_forgotten_a_moment_after_its_caller_is_told() {
    let mut world = small(Line::V2_3);
    let segment = segment_on(&world, NodeId(1));
    world.nodes.get_mut(&NodeId(2)).unwrap().memory = 1;
    let (_, refused) = ask(&mut world, 1, &[2], &[segment]);
    assert_eq!(code(&refused), 65535);
    let (_, too_soon) = ask(&mut world, 1, &[3], &[segment]);
    assert_eq!(code(&too_soon), 5);
    run(&mut world, 0.6);
    let (_, later) = ask(&mut world, 1, &[3], &[segment]);
    assert_eq!(later, CallAnswer::Success);
}

#[test]
fn a_machine_comes_back_under_another_id_at_its_old_address() {
    let mut world = small(Line::V2_5);
    let address = world.nodes()[&NodeId(2)].address.clone();
    world.strike(Fault::Crash {
        hostname: "querynode-1".to_owned(),
        back_after: Some(Duration::from_secs(40)),
    });
    run(&mut world, 60.0);
    let back = world.node_named("querynode-1").unwrap();
    assert_ne!(back, NodeId(2));
    assert_eq!(world.nodes()[&back].address, address);
    assert!(world.replica_with(first_collection(&world), back).is_some(), "it joins the replicas");
    assert_eq!(world.nodes()[&back].sealed_memory, 0, "and holds nothing yet");
}

#[test]
fn a_stopping_node_is_drained_and_then_gone() {
    let mut world = small(Line::V2_5);
    let leader = world.collections()[&first_collection(&world)].replicas[0].leaders[0].unwrap();
    world.stop_gracefully(leader);
    assert_eq!(world.nodes()[&leader].resource_group, None, "it leaves its group at once");
    run(&mut world, 0.5);
    assert!(world.collections()[&first_collection(&world)].replicas[0].read_only.contains(&leader));
    run(&mut world, 60.0);
    assert!(!world.nodes().contains_key(&leader));
    assert_eq!(served(&world), world.segments().len());
    assert_eq!(world.losses(), [], "nothing is lost by a graceful stop");
    assert_sums(&world);
}

#[test]
fn rows_arrive_are_sealed_and_listed_with_the_next_target() {
    let plan = WorldPlan {
        ingest_rows_per_second: 20_000.0,
        memory_fill: 0.1,
        ..small_plan(Profile::of(Line::V2_5))
    };
    let mut world = build(&plan);
    let before = world.segments().len();
    run(&mut world, 7.0);
    let leader = world.collections()[&first_collection(&world)].replicas[0].leaders[0].unwrap();
    assert!(world.growing_rows_on(leader, first_collection(&world)) > 0);
    run(&mut world, 120.0);
    let sealed = world.segments().len() - before;
    assert!((20..=26).contains(&sealed), "{sealed} segments of 100,000 rows from 2.6 million rows");
    let listed: usize =
        world.collections().keys().map(|collection| world.listed_segments(*collection).count()).sum();
    assert!(listed > before + 15, "{listed}");
    assert_sums(&world);
}

#[test]
fn compaction_replaces_ids_without_losing_anything() {
    let mut plan = small_plan(Profile::of(Line::V2_5));
    plan.segments = 60;
    plan.settings.compaction = Some(Duration::from_secs(5));
    let mut world = build(&plan);
    let before: Vec<SegmentId> = world.segments().keys().copied().collect();
    let rows: u64 = world.segments().values().map(|segment| segment.rows).sum();
    run(&mut world, 300.0);
    let gone = before.iter().filter(|id| !world.segments().contains_key(id)).count();
    assert!(gone >= 2, "{gone} ids replaced");
    let current = world.segments().values().filter(|segment| segment.target == TargetState::Current);
    let moving: u64 = world
        .segments()
        .values()
        .filter(|segment| matches!(segment.target, TargetState::New | TargetState::Next))
        .map(|segment| segment.rows)
        .sum();
    let after: u64 = current.map(|segment| segment.rows).sum();
    assert!(after <= rows && after + moving >= rows * 9 / 10, "{after} + {moving} of {rows}");
    assert_eq!(world.losses(), []);
    assert_sums(&world);
}

#[test]
fn search_latency_follows_load_and_relief_can_be_seen() {
    let mut plan = small_plan(Profile::of(Line::V2_5));
    plan.placement = Placement::OneNode;
    plan.cpu_fill = 0.22;
    let mut world = build(&plan);
    for node in world.nodes.values_mut() {
        node.memory *= 4;
    }
    run(&mut world, 5.0);
    let crowded = world.mean_latency_ms();
    assert!(world.nodes()[&NodeId(1)].demand > 0.5, "{}", world.nodes()[&NodeId(1)].demand);
    let hot = first_collection(&world);
    let half: Vec<SegmentId> = world
        .segments()
        .values()
        .filter(|segment| segment.collection == hot && !segment.level0)
        .map(|segment| segment.id)
        .step_by(2)
        .collect();
    ask(&mut world, 1, &[2], &half);
    run(&mut world, 5.0);
    let relieved = world.mean_latency_ms();
    assert!(relieved < crowded * 0.8, "{relieved} ms after {crowded} ms");
    let share = world.shares_of(NodeId(2)).find(|(id, _)| *id == hot).unwrap().1;
    assert!(share.requests > 0.0 && share.request_ms > 0.0);
    assert!(world.nodes()[&NodeId(1)].cpu_seconds > world.nodes()[&NodeId(3)].cpu_seconds);
}

#[test]
fn the_fuller_a_node_the_slower_it_answers() {
    let mut world = small(Line::V2_5);
    let id = first_collection(&world);
    let mut latencies = Vec::new();
    for factor in [1.0, 2.0, 2.0, 2.0] {
        for collection in world.collections.values_mut() {
            collection.demand.searches_per_second *= factor;
        }
        run(&mut world, 2.0);
        latencies.push(world.collections()[&id].latency_ms);
    }
    assert!(latencies.is_sorted_by(|one, next| next > &(one * 1.2)), "{latencies:?}");
    let overloaded = world.nodes().values().filter(|node| node.demand > 1.0).count();
    assert!(overloaded > 0);
    let before = world.collections()[&id].searches_done;
    run(&mut world, 10.0);
    let done = (world.collections()[&id].searches_done - before) / 10.0;
    let wanted = world.collections()[&id].demand.at(world.now());
    assert!(done < wanted * 0.9, "{done} of {wanted} a second: what is too much is not answered");
}

#[test]
fn the_same_seed_gives_the_same_world_whatever_steps_it_is_played_in() {
    let play = |seed: u64, steps: u32| {
        let mut plan = small_plan(Profile::of(Line::V2_6));
        plan.seed = seed;
        plan.ingest_rows_per_second = 5_000.0;
        plan.settings.compaction = Some(Duration::from_secs(7));
        plan.settings.own_balancer = true;
        let mut world = build(&plan);
        let hostnames: Vec<String> = world.nodes().values().map(|node| node.hostname.clone()).collect();
        let until = Duration::from_secs(300);
        let faults = FaultSettings { count: 8, until, loses_nodes: false };
        for (at, fault) in random_faults(seed, &hostnames, faults) {
            world.schedule(at, fault);
        }
        for step in 1..=steps {
            world.advance(until * 2 * step / steps);
        }
        (world.digest(), world.segments().len(), world.mean_latency_ms().to_bits())
    };
    assert_eq!(play(7, 1), play(7, 1000));
    assert_ne!(play(7, 1).0, play(8, 1).0);
}

#[test]
fn when_faults_stop_everything_is_served_again() {
    for seed in 0..40 {
        let line = crate::sim::profile::ALL_LINES[usize::try_from(seed % 6).unwrap()];
        let mut plan = small_plan(Profile::of(line));
        plan.seed = seed;
        plan.replicas = 1 + usize::try_from(seed % 2).unwrap();
        plan.memory_fill = 0.3;
        let mut world = build(&plan);
        let hostnames: Vec<String> = world.nodes().values().map(|node| node.hostname.clone()).collect();
        let faults = FaultSettings { count: 10, until: Duration::from_secs(600), loses_nodes: false };
        for (at, fault) in random_faults(seed, &hostnames, faults) {
            world.schedule(at, fault);
        }
        run(&mut world, 1500.0);
        for segment in world.segments().values() {
            let replicas = world.collections()[&segment.collection].replicas.len();
            for replica in 0..replicas {
                let copies = segment.copies.iter().filter(|copy| copy.replica == replica);
                let serving = copies.filter(|copy| copy.state == CopyState::Serving).count();
                let trace: Vec<&str> = world.trace().collect();
                assert_eq!(serving, 1, "seed {seed} ({line}), {}: {trace:#?}", segment.id);
            }
        }
        assert_sums(&world);
    }
}

#[test]
fn faults_of_unknown_machines_are_no_panic() {
    let mut world = small(Line::V2_4);
    let nobody = || "nobody".to_owned();
    for fault in [
        Fault::Crash { hostname: nobody(), back_after: Some(Duration::ZERO) },
        Fault::Stop { hostname: nobody(), back_after: None },
        Fault::Suspend { hostname: nobody() },
        Fault::Slow { hostname: nobody(), factor: f64::NAN },
        Fault::Slow { hostname: "querynode-0".to_owned(), factor: f64::INFINITY },
        Fault::RefuseLoads { hostname: nobody(), lasts: Duration::ZERO },
    ] {
        world.strike(fault);
    }
    let segment = segment_on(&world, NodeId(2));
    let call = world.load_balance(request(&world, 2, &[1], &[segment]));
    run(&mut world, 200.0);
    assert_eq!(world.answer(call), Some(CallAnswer::Success));
    assert!(
        random_faults(1, &[], FaultSettings { count: 5, until: Duration::ZERO, loses_nodes: true })
            .is_empty()
    );
}

#[test]
fn collections_come_and_go_and_get_hot_on_a_schedule() {
    let mut world = small(Line::V2_5);
    let id = first_collection(&world);
    let collection = "collection_0".to_owned();
    let after = Duration::from_secs;
    let usual = world.collections()[&id].demand.at(after(5));
    let spell = Fault::HotSpell { collection: collection.clone(), factor: 10.0, lasts: after(20) };
    world.schedule(after(1), spell);
    run(&mut world, 5.0);
    let hot = world.collections()[&id].demand.at(world.now());
    assert!((hot / usual - 10.0).abs() < 1e-6, "{hot} after {usual}");
    world.schedule(after(30), Fault::Release { collection, back_after: after(30) });
    run(&mut world, 30.0);
    assert!(!world.collections()[&id].loaded);
    assert!(world.shares_of(NodeId(1)).all(|(other, share)| other != id || share.segments == 0));
    run(&mut world, 60.0);
    assert_eq!(world.collections()[&id].load_percentage, 100);
    assert_sums(&world);
}

#[test]
fn groups_keep_to_themselves() {
    let mut plan = small_plan(Profile::of(Line::V2_5));
    plan.resource_groups = 2;
    plan.collections = 4;
    let mut world = build(&plan);
    assert_eq!(world.list_resource_groups().unwrap().resource_groups.len(), 2);
    for collection in world.collections().values() {
        for node in &collection.replicas[0].read_write {
            let group = world.nodes()[node].resource_group.clone();
            assert_eq!(group.as_ref(), Some(&collection.replicas[0].resource_group));
        }
        assert_eq!(collection.replicas[0].read_write.len(), 2);
    }
    let segment = segment_on(&world, NodeId(1));
    let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
    assert_eq!(code(&answered), 901, "node 2 is in the other group");
}

#[test]
fn a_suspended_node_is_drained_and_can_be_resumed() {
    let mut world = small(Line::V2_5);
    world.suspend(NodeId(2));
    run(&mut world, 60.0);
    assert_eq!(world.nodes()[&NodeId(2)].sealed_memory, 0, "drained, but alive");
    world.resume(NodeId(2));
    run(&mut world, 5.0);
    let replica = &world.collections()[&first_collection(&world)].replicas[0];
    assert!(replica.read_write.contains(&NodeId(2)) && replica.read_only.is_empty());
    let segment = segment_on(&world, NodeId(1));
    let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
    assert_eq!(answered, CallAnswer::Success);
}

#[test]
fn transfers_copy_by_default_and_fail_with_several_collections() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(1));
    let transfer = Transfer { from: NodeId(1), to: Some(NodeId(2)), segment: Some(segment), copy: true };
    let refused = world.transfer_segments(&transfer).unwrap_err();
    assert_eq!(refused.code, 600, "the second collection on the node does not hold it");
    let mut world = build(&WorldPlan { collections: 1, ..small_plan(Profile::of(Line::V2_5)) });
    let segment = segment_on(&world, NodeId(1));
    let transfer = Transfer { segment: Some(segment), ..transfer };
    world.transfer_segments(&transfer).unwrap();
    let mut seen_twice = false;
    for _ in 0..100 {
        run(&mut world, 0.1);
        seen_twice |= listed(&world, segment) == [1, 2];
    }
    assert!(seen_twice, "copied, not moved");
    let nowhere = Transfer { to: Some(NodeId(99)), ..transfer };
    assert_eq!(world.transfer_segments(&nowhere).unwrap_err().code, 901);
}

#[test]
fn a_transferred_channel_takes_its_growing_rows_and_level_0_along() {
    let plan = WorldPlan { ingest_rows_per_second: 1_000.0, ..small_plan(Profile::of(Line::V2_5)) };
    let mut world = build(&plan);
    run(&mut world, 10.0);
    let id = first_collection(&world);
    let leader = world.collections()[&id].replicas[0].leaders[0].unwrap();
    let to = NodeId(leader.0 % 4 + 1);
    world.transfer_channels(leader, Some(to), Some(&world.collections()[&id].channels[0].clone())).unwrap();
    assert_eq!(world.growing_rows_on(leader, id), 0);
    assert!(world.growing_rows_on(to, id) > 0);
    let level0 =
        world.segments().values().find(|segment| segment.level0 && segment.collection == id).unwrap();
    assert_eq!(level0.copies[0].node, to);
    assert_eq!(world.transfer_channels(leader, Some(to), Some("none")).unwrap_err().code, 500);
    assert_sums(&world);
}
