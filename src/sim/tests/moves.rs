//! `LoadBalance`: what is checked, what moves, what is answered.

use super::*;
use crate::sim::calls::Refusal;
use crate::sim::cluster::TargetState;
use crate::sim::faults::Fault;
use crate::sim::profile::ALL_LINES;
use crate::sim::tasks::TaskSource;

#[test]
fn a_move_loads_before_it_releases_and_is_listed_twice_for_a_moment() {
    for line in ALL_LINES {
        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        let before = world.nodes()[&NodeId(2)].memory_used();
        let call = world.load_balance(request(&world, 1, &[2], &[segment]));
        assert!(world.nodes()[&NodeId(2)].memory_used() > before, "{line}: both copies are resident");
        assert_eq!(listed(&world, segment), [1], "{line}: not before it is loaded");
        let mut seen_twice = false;
        let answered = loop {
            seen_twice |= listed(&world, segment) == [1, 2];
            if let Some(answer) = world.answer(call) {
                break answer;
            }
            let next = world.next_event_at().unwrap();
            world.advance(next);
        };
        assert_eq!(answered, CallAnswer::Success, "{line}");
        assert!(seen_twice, "{line}");
        run(&mut world, 1.0);
        assert_eq!(listed(&world, segment), [2], "{line}");
        assert_eq!(world.losses(), [], "{line}");
        assert_sums(&world);
    }
}

#[test]
fn a_batch_takes_about_as_long_as_one_segment() {
    let mut plan = small_plan(Profile::of(Line::V2_3));
    plan.settings.load_bytes_per_second = 64 << 30;
    let mut world = build(&plan);
    let one = segment_on(&world, NodeId(1));
    let (single, _) = ask(&mut world, 1, &[2], &[one]);
    let many: Vec<SegmentId> = world
        .segments()
        .values()
        .filter(|segment| segment.collection == first_collection(&world) && !segment.level0)
        .filter(|segment| listed(&world, segment.id) == [3])
        .map(|segment| segment.id)
        .collect();
    assert!(many.len() > 1);
    let (batch, _) = ask(&mut world, 3, &[4], &many);
    let measured = Duration::from_millis(350)..Duration::from_millis(1200);
    assert!(measured.contains(&single) && measured.contains(&batch), "{single:?}, {batch:?}");
}

#[test]
fn wrong_ids_are_refused_with_the_codes_of_each_version() {
    for line in ALL_LINES {
        let mut world = small(line);
        let (here, there) = (segment_on(&world, NodeId(1)), segment_on(&world, NodeId(3)));
        let not_here = if line >= Line::V2_4 { 600 } else { 65535 };
        let unknown = SegmentId(1);
        let cases = [
            (request(&world, 99, &[2], &[here]), 901),
            (request(&world, 1, &[99], &[here]), 901),
            (request(&world, 1, &[2], &[there]), not_here),
            (request(&world, 1, &[2], &[here, unknown]), not_here),
            (BalanceRequest { collection: "nobody".into(), ..request(&world, 1, &[2], &[here]) }, 100),
        ];
        for (request, expected) in cases {
            let (took, answered) = send(&mut world, request.clone());
            assert_eq!(code(&answered), expected, "{line}: {request:?}");
            assert!(took < Duration::from_millis(10));
            let status = world.balance_status(&answered);
            assert_ne!(status.error_code, 0, "{line}");
            assert_eq!(status.code != 0, line >= Line::V2_3, "{line}: 2.2 has no codes");
        }
        assert_eq!(listed(&world, here), [1], "{line}: the whole call fails before any move");
    }
}

#[test]
fn a_segment_that_left_the_target_is_an_error_at_first_and_passed_over_later() {
    for (line, expected) in [(Line::V2_3, 65535), (Line::V2_4, 0), (Line::V3_0, 0)] {
        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        world.segments.get_mut(&segment).unwrap().target = TargetState::Gone;
        let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
        assert_eq!(code(&answered), expected, "{line}");
        assert_ne!(listed(&world, segment), [2], "{line}: success, and nothing moved");
    }
}

#[test]
fn empty_lists_do_what_nobody_wants() {
    for line in ALL_LINES {
        let mut world = small(line);
        let (_, answered) = ask(&mut world, 1, &[2], &[]);
        assert_eq!(answered, CallAnswer::Success, "{line}");
        run(&mut world, 2.0);
        let collection = first_collection(&world);
        let left = world.shares_of(NodeId(1)).find(|(id, _)| *id == collection).unwrap().1.rows;
        assert_eq!(left, 0, "{line}: everything left");
        let level0 =
            world.segments().values().find(|segment| segment.level0 && segment.collection == collection);
        let Some(level0) = level0 else { continue };
        let released = format!("release {}", level0.id);
        let was_moved = world.trace().any(|line| line.contains(&released));
        assert_eq!(was_moved, line <= Line::V2_5, "{line}: level 0 included, where it is known");
    }
}

#[test]
fn a_source_that_is_its_own_destination_loses_the_segment_since_2_4() {
    for line in ALL_LINES {
        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        let (_, answered) = ask(&mut world, 1, &[1], &[segment]);
        assert_eq!(answered, CallAnswer::Success, "{line}");
        let lost: Vec<_> = world.losses().iter().map(|loss| (loss.segment, loss.released_by)).collect();
        if line >= Line::V2_4 {
            assert_eq!(lost, [(segment, Some(TaskSource::Manual))], "{line}");
            run(&mut world, 10.0);
            assert_eq!(listed(&world, segment).len(), 1, "{line}: the checkers load it again");
        } else {
            assert_eq!(lost, [], "{line}");
        }
        assert_sums(&world);
    }
}

#[test]
fn a_second_call_for_the_same_segment_is_refused_or_passed_over() {
    for (line, expected) in [(Line::V2_3, 5), (Line::V2_5, 0)] {
        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        let first = world.load_balance(request(&world, 1, &[2], &[segment]));
        let (_, second) = ask(&mut world, 1, &[3], &[segment]);
        assert_eq!(code(&second), expected, "{line}");
        assert_eq!(answer(&mut world, first).1, CallAnswer::Success);
        run(&mut world, 1.0);
        assert_eq!(listed(&world, segment), [2], "{line}");
    }
}

#[test]
fn a_destination_without_room_says_so_and_the_segment_stays() {
    for (line, expected) in [(Line::V2_3, 65535), (Line::V2_5, 65535), (Line::V2_6, 605)] {
        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        let full = world.nodes.get_mut(&NodeId(2)).unwrap();
        full.memory = full.memory_used();
        let (took, answered) = ask(&mut world, 1, &[2], &[segment]);
        let CallAnswer::Refused(Refusal { code, reason }) = &answered else { panic!("{line}: {answered:?}") };
        assert_eq!(*code, expected, "{line}");
        assert!(reason.contains("memory limit exceeded"), "{reason}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert_eq!(listed(&world, segment), [1]);
        assert_sums(&world);
    }
}

#[test]
fn stopping_and_read_only_nodes_are_refused_by_version() {
    for line in [Line::V2_3, Line::V2_5, Line::V2_6] {
        let stopping = if line >= Line::V2_6 { 2 } else { 65535 };
        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        world.stop_gracefully(NodeId(2));
        let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
        assert_eq!(code(&answered), stopping, "{line}: stopping destination");

        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        world.suspend(NodeId(1));
        let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
        assert_eq!(code(&answered), if line >= Line::V2_6 { 901 } else { 0 }, "{line}: read-only source");

        let mut world = small(line);
        let segment = segment_on(&world, NodeId(1));
        world.suspend(NodeId(2));
        let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
        assert_eq!(
            code(&answered),
            if line >= Line::V2_6 { 906 } else { 0 },
            "{line}: read-only destination"
        );
    }
}

#[test]
fn an_unloaded_collection_is_not_moved() {
    let mut world = small(Line::V2_4);
    let segment = segment_on(&world, NodeId(1));
    let collection = first_collection(&world);
    world.release_collection(collection);
    let (_, answered) = ask(&mut world, 1, &[2], &[segment]);
    assert_eq!(code(&answered), 103);
    assert!(world.balance_status(&answered).retriable);
    world.load_collection(collection);
    run(&mut world, 1.5);
    assert!(world.collections()[&collection].load_percentage < 100, "loading takes time");
    run(&mut world, 30.0);
    assert_eq!(world.collections()[&collection].load_percentage, 100);
    assert_sums(&world);
}

#[test]
fn after_two_minutes_the_server_says_success_and_the_move_goes_on() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(1));
    world.nodes.get_mut(&NodeId(2)).unwrap().slowness = 500.0;
    let (took, answered) = ask(&mut world, 1, &[2], &[segment]);
    assert_eq!(answered, CallAnswer::Success);
    assert!(took >= Duration::from_secs(120) && took < Duration::from_secs(121), "{took:?}");
    assert_eq!(listed(&world, segment), [1], "not moved yet");
    run(&mut world, 3000.0);
    assert_eq!(listed(&world, segment), [2], "moved in the end");
}

#[test]
fn a_caller_that_goes_away_cancels_by_version() {
    let profiles = [
        (Profile::of(Line::V2_3), true),
        (Profile::of(Line::V2_4), false),
        (Profile::early_2_5(), true),
        (Profile::of(Line::V2_5), false),
    ];
    for (profile, cancels) in profiles {
        let version = profile.build_version.clone();
        let mut world = build(&small_plan(profile));
        let segment = segment_on(&world, NodeId(1));
        let call = world.load_balance(request(&world, 1, &[2], &[segment]));
        run(&mut world, 0.2);
        world.disconnect(call);
        assert_eq!(world.answer(call), None);
        run(&mut world, 0.4);
        assert!(world.calls()[0].disconnected);
        if cancels {
            assert_eq!(listed(&world, segment), [1, 2], "{version}: half-way");
        }
        run(&mut world, 20.0);
        let nodes = listed(&world, segment);
        assert_eq!(nodes.len(), 1, "{version}: the checkers release what is there twice");
        assert!(cancels || nodes == [2], "{version}: {nodes:?}");
        assert_eq!(world.losses(), []);
        assert_sums(&world);
    }
}

#[test]
fn lost_late_and_refused_answers() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(1));
    world.strike(Fault::LoseAnswers { calls: 1 });
    let call = world.load_balance(request(&world, 1, &[2], &[segment]));
    run(&mut world, 300.0);
    assert_eq!(world.answer(call), None, "the answer is lost, the move is not");
    assert_eq!(listed(&world, segment), [2]);

    world.strike(Fault::DelayAnswers { calls: 1, by: Duration::from_secs(40) });
    let (took, _) = ask(&mut world, 2, &[3], &[segment]);
    assert!(took > Duration::from_secs(40), "{took:?}");

    world.strike(Fault::RefuseCalls { calls: 1 });
    let (_, answered) = ask(&mut world, 3, &[1], &[segment]);
    assert_eq!(code(&answered), 2);
    assert_eq!(listed(&world, segment), [3]);
}

#[test]
fn tasks_beyond_the_cap_wait_for_their_turn() {
    let mut profile = Profile::of(Line::V2_5);
    profile.task_cap = 1;
    let mut world = build(&WorldPlan { placement: Placement::OneNode, ..small_plan(profile) });
    let segments: Vec<SegmentId> = world
        .segments()
        .values()
        .filter(|segment| segment.collection == first_collection(&world) && !segment.level0)
        .map(|segment| segment.id)
        .collect();
    world.nodes.get_mut(&NodeId(2)).unwrap().memory *= 10;
    let call = world.load_balance(request(&world, 1, &[2], &segments));
    let loading = |world: &World| {
        let copies = world.segments().values().flat_map(|segment| &segment.copies);
        copies.filter(|copy| copy.state == CopyState::Loading).count()
    };
    assert_eq!(loading(&world), 1);
    assert_eq!(answer(&mut world, call).1, CallAnswer::Success);
    run(&mut world, 1.0);
    assert!(segments.iter().all(|segment| listed(&world, *segment) == [2]));
}

#[test]
fn with_several_destinations_the_server_chooses() {
    let mut world =
        build(&WorldPlan { placement: Placement::OneNode, ..small_plan(Profile::of(Line::V2_5)) });
    for node in world.nodes.values_mut() {
        node.memory *= 4;
    }
    let segments: Vec<SegmentId> = world
        .segments()
        .values()
        .filter(|segment| segment.collection == first_collection(&world) && !segment.level0)
        .map(|segment| segment.id)
        .collect();
    let (_, answered) = ask(&mut world, 1, &[2, 3], &segments);
    assert_eq!(answered, CallAnswer::Success);
    run(&mut world, 1.0);
    let on = |node: i64| segments.iter().filter(|segment| listed(&world, **segment) == [node]).count();
    assert_eq!(on(2) + on(3), segments.len());
    assert!(on(2) > 0 && on(3) > 0);
}
