//! Each thing that must never happen is made to happen once, and must be seen.

use super::*;
use crate::sim::invariants::{InvariantChecker, InvariantSettings, Violation};
use crate::units::Bytes;

fn strict() -> InvariantSettings {
    InvariantSettings {
        safety_percent: 80,
        calls_per_minute: 6,
        calls_in_flight: 2,
        segments_per_call: 4,
        bytes_per_call: Bytes(0),
        bytes_per_day: Bytes(0),
        cool_down: Duration::from_secs(1800),
    }
}

fn violations(world: &World, settings: InvariantSettings) -> Vec<Violation> {
    InvariantChecker::new(settings).check(world)
}

#[test]
fn a_proper_move_violates_nothing_and_is_judged_once() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(1));
    ask(&mut world, 1, &[2], &[segment]);
    let mut checker = InvariantChecker::new(strict());
    assert_eq!(checker.check(&world), []);
    ask(&mut world, 2, &[2], &[segment]);
    assert!(!checker.check(&world).is_empty());
    assert_eq!(checker.check(&world), [], "what was reported is not reported again");
}

#[test]
fn misuse_is_seen() {
    let mut world = small(Line::V2_5);
    let level0 = world.segments().values().find(|segment| segment.level0).unwrap();
    let (level0, home) = (level0.id, level0.copies[0].node.0);
    let away = home % 4 + 1;
    let segment = segment_on(&world, NodeId(home));
    ask(&mut world, home, &[away], &[]);
    ask(&mut world, home, &[home], &[segment]);
    ask(&mut world, home, &[99], &[segment]);
    ask(&mut world, home, &[1, 2], &[segment]);
    ask(&mut world, home, &[away], &[level0]);
    let seen = violations(&world, strict());
    let has = |wanted: fn(&Violation) -> bool| seen.iter().any(wanted);
    assert!(has(|seen| matches!(seen, Violation::EmptyList { .. })), "{seen:?}");
    assert!(has(|seen| matches!(seen, Violation::SameNode { .. })), "{seen:?}");
    assert!(has(|seen| matches!(seen, Violation::UnfitDestination { .. })), "{seen:?}");
    assert!(has(|seen| matches!(seen, Violation::Destinations { count: 2, .. })), "{seen:?}");
    assert!(has(|seen| matches!(seen, Violation::HeldSegment { .. })), "{seen:?}");
    assert!(seen.iter().all(|seen| !seen.to_string().is_empty()));
}

#[test]
fn a_segment_lost_by_a_call_is_seen_and_one_lost_by_a_crash_is_not() {
    let mut world = small(Line::V2_5);
    world.crash(NodeId(3));
    run(&mut world, 60.0);
    assert!(!world.losses().is_empty());
    assert_eq!(violations(&world, strict()), []);
    let segment = segment_on(&world, NodeId(1));
    ask(&mut world, 1, &[1], &[segment]);
    let seen = violations(&world, strict());
    assert!(seen.iter().any(|seen| matches!(seen, Violation::Lost { .. })), "{seen:?}");
}

#[test]
fn a_destination_that_is_filled_too_far_is_seen() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(1));
    let bytes = world.segments()[&segment].bytes;
    let node = world.nodes.get_mut(&NodeId(2)).unwrap();
    node.memory = (node.memory_used() + bytes / 2) * 100 / 80;
    ask(&mut world, 1, &[2], &[segment]);
    let seen = violations(&world, strict());
    assert!(matches!(seen[..], [Violation::SafetyLine { node: NodeId(2), .. }]), "{seen:?}");
}

#[test]
fn returning_within_the_cool_down_is_seen_across_restarts() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(2));
    ask(&mut world, 2, &[1], &[segment]);
    world.restart_later(NodeId(2), Duration::from_secs(40));
    world.crash(NodeId(2));
    run(&mut world, 100.0);
    let back = world.node_named("querynode-1").unwrap();
    assert_ne!(back, NodeId(2));
    ask(&mut world, 1, &[back.0], &[segment]);
    let seen = violations(&world, strict());
    assert!(
        matches!(&seen[..], [Violation::Return { hostname, .. }] if hostname == "querynode-1"),
        "{seen:?}"
    );
    let patient = InvariantSettings { cool_down: Duration::from_secs(60), ..strict() };
    assert_eq!(violations(&world, patient), []);
}

#[test]
fn a_refused_call_is_no_departure() {
    let mut world = small(Line::V2_5);
    let segment = segment_on(&world, NodeId(2));
    world.strike(crate::sim::faults::Fault::RefuseCalls { calls: 1 });
    ask(&mut world, 2, &[1], &[segment]);
    assert!(world.move_by_someone_else(segment, NodeId(2), NodeId(3)));
    run(&mut world, 10.0);
    ask(&mut world, 3, &[2], &[segment]);
    assert_eq!(violations(&world, strict()), []);
}

#[test]
fn limits_are_counted_in_any_window() {
    let mut world = small(Line::V2_5);
    let segments: Vec<SegmentId> = world
        .segments()
        .values()
        .filter(|segment| segment.collection == first_collection(&world) && !segment.level0)
        .map(|segment| segment.id)
        .collect();
    for segment in &segments {
        let from = listed(&world, *segment)[0];
        world.load_balance(request(&world, from, &[from % 4 + 1], &[*segment]));
    }
    let limits = |settings: InvariantSettings| -> std::collections::BTreeSet<&'static str> {
        violations(&world, settings)
            .into_iter()
            .filter_map(|seen| match seen {
                Violation::Limit { what, .. } => Some(what),
                _ => None,
            })
            .collect()
    };
    assert_eq!(limits(strict()), ["calls a minute", "calls in flight"].into());
    let generous = InvariantSettings { calls_per_minute: 0, calls_in_flight: 0, ..strict() };
    assert!(limits(generous.clone()).is_empty(), "0 is no limit");
    let tight = InvariantSettings { bytes_per_day: Bytes(1), ..generous };
    assert_eq!(limits(tight), ["bytes a day"].into(), "the first segment passes, the second does not");
}
