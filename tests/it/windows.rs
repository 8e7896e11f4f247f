//! Maintenance windows: hours, days, midnight, the two nights on which the clock is changed, and emergencies.

use jiff::{SignedDuration, Timestamp};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::gate::windows::{Window, is_open, next_opening, open_until};
use milvus_rebalancer::model::Subject;
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{Bytes, Moment, NodeId};
use proptest::prelude::*;
use serde_json::json;

use crate::cluster::{NODE_MEMORY, add_collection, cluster, lifted_gates, moment, rows_at_once};

fn window(kind: &str, days: &[&str], hours: &str, zone: &str) -> Window {
    let (from, to) = hours.split_once('-').unwrap();
    serde_json::from_value(json!({ "kind": kind, "days": days, "from": from, "to": to, "time_zone": zone }))
        .unwrap()
}

const WEEK: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

fn nightly(zone: &str) -> Vec<Window> {
    vec![window("allow", &WEEK, "22:00-06:00", zone)]
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Each case: windows, times at which they are open, times at which they are not.
#[test]
fn windows_are_open_by_the_clock_on_the_wall() {
    let workdays = &WEEK[..5];
    let cases = [
        ("none at all", vec![], vec!["2026-11-22T12:00:00Z"], vec![]),
        (
            "over midnight, UTC",
            nightly("UTC"),
            vec![
                "2026-11-22T22:00:00Z",
                "2026-11-22T23:59:59Z",
                "2026-11-23T00:00:00Z",
                "2026-11-23T05:59:59Z",
            ],
            vec!["2026-11-22T21:59:59Z", "2026-11-23T06:00:00Z", "2026-11-23T12:00:00Z"],
        ),
        (
            "an hour earlier in Berlin's winter, two in its summer",
            nightly("Europe/Berlin"),
            vec!["2026-11-22T21:00:00Z", "2026-07-01T20:00:00Z", "2026-07-02T03:59:59Z"],
            vec!["2026-11-22T20:59:59Z", "2026-07-01T19:59:59Z", "2026-07-02T04:00:00Z"],
        ),
        (
            "the night after Friday belongs to Friday, the one after Sunday to Sunday",
            vec![window("allow", workdays, "22:00-06:00", "UTC")],
            vec!["2026-11-28T05:00:00Z", "2026-11-23T22:00:00Z"],
            vec!["2026-11-28T23:00:00Z", "2026-11-23T05:00:00Z"],
        ),
        (
            "a whole day",
            vec![window("allow", &["sat"], "00:00-24:00", "UTC")],
            vec!["2026-11-28T00:00:00Z", "2026-11-28T23:59:59Z"],
            vec!["2026-11-27T23:59:59Z", "2026-11-29T00:00:00Z"],
        ),
        (
            "a whole day from noon on",
            vec![window("allow", &["sat"], "12:00-12:00", "UTC")],
            vec!["2026-11-28T12:00:00Z", "2026-11-29T11:59:59Z"],
            vec!["2026-11-28T11:59:59Z", "2026-11-29T12:00:00Z"],
        ),
        (
            "deny alone",
            vec![window("deny", workdays, "08:00-18:00", "UTC")],
            vec!["2026-11-23T07:59:59Z", "2026-11-23T18:00:00Z", "2026-11-22T12:00:00Z"],
            vec!["2026-11-23T08:00:00Z", "2026-11-23T17:59:59Z"],
        ),
        (
            "deny beats allow",
            vec![nightly("UTC")[0].clone(), window("deny", &WEEK, "23:30-00:30", "UTC")],
            vec!["2026-11-22T23:29:59Z", "2026-11-23T00:30:00Z"],
            vec!["2026-11-22T23:30:00Z", "2026-11-23T00:29:59Z", "2026-11-22T12:00:00Z"],
        ),
        (
            "an hour that is skipped is in no window: at 01:00Z the clock jumps from 02:00 to 03:00",
            vec![window("allow", &WEEK, "02:15-02:45", "Europe/Berlin")],
            vec!["2026-03-28T01:15:00Z", "2026-03-30T00:15:00Z"],
            vec![
                "2026-03-29T00:59:59Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:15:00Z",
                "2026-03-29T00:15:00Z",
            ],
        ),
        (
            "a window that begins in the hour that is skipped is open after it",
            vec![window("allow", &WEEK, "02:30-04:00", "Europe/Berlin")],
            vec!["2026-03-29T01:00:00Z", "2026-03-29T01:59:59Z"],
            vec!["2026-03-29T00:59:59Z", "2026-03-29T02:00:00Z"],
        ),
        (
            "an hour that comes twice is in it twice: at 01:00Z the clock goes from 03:00 back to 02:00",
            vec![window("allow", &WEEK, "02:15-02:45", "Europe/Berlin")],
            vec![
                "2026-10-25T00:15:00Z",
                "2026-10-25T00:44:59Z",
                "2026-10-25T01:15:00Z",
                "2026-10-25T01:44:59Z",
            ],
            vec!["2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:45:00Z"],
        ),
        (
            "a zone with an odd offset",
            vec![window("allow", &WEEK, "00:00-01:00", "Asia/Kathmandu")],
            vec!["2026-11-21T18:15:00Z", "2026-11-21T19:14:59Z"],
            vec!["2026-11-21T18:14:59Z", "2026-11-21T19:15:00Z"],
        ),
    ];
    for (name, windows, open, closed) in cases {
        for time in open {
            assert!(is_open(&windows, at(time)), "{name}: {time} should be open");
        }
        for time in closed {
            assert!(!is_open(&windows, at(time)), "{name}: {time} should be closed");
        }
    }
}

#[test]
fn it_is_known_when_they_open_and_close() {
    let berlin = nightly("Europe/Berlin");
    assert_eq!(next_opening(&berlin, at("2026-11-22T12:00:00Z")), Some(at("2026-11-22T21:00:00Z")));
    assert_eq!(open_until(&berlin, at("2026-11-22T22:00:00Z")), Some(at("2026-11-23T05:00:00Z")));
    // The night of the change is an hour longer, and an hour shorter in spring.
    assert_eq!(open_until(&berlin, at("2026-10-24T21:00:00Z")), Some(at("2026-10-25T05:00:00Z")));
    assert_eq!(open_until(&berlin, at("2026-03-28T22:00:00Z")), Some(at("2026-03-29T04:00:00Z")));
    let in_the_gap = [window("allow", &["sun"], "02:15-02:45", "Europe/Berlin")];
    let week_later = Some(at("2026-04-05T00:15:00Z"));
    assert_eq!(next_opening(&in_the_gap, at("2026-03-29T00:00:00Z")), week_later, "it is skipped once");
    assert_eq!(open_until(&[], at("2026-11-22T12:00:00Z")), None, "always open");
    let never = [window("deny", &WEEK, "00:00-24:00", "UTC")];
    assert_eq!(next_opening(&never, at("2026-11-22T12:00:00Z")), None);
}

#[test]
fn nonsense_in_a_window_is_named() {
    let read = |text: &str| serde_json::from_str::<Window>(text).unwrap_err().to_string();
    for (text, named) in [
        (r#"{"kind":"allow","from":"22:00","to":"6:00"}"#, "\"6:00\" is no time of the day"),
        (r#"{"kind":"allow","from":"24:01","to":"06:00"}"#, "\"24:01\" is no time of the day"),
        (r#"{"kind":"allow","from":"22:00","to":"06:60"}"#, "\"06:60\" is no time of the day"),
        (r#"{"kind":"allow","from":"+1:00","to":"06:00"}"#, "\"+1:00\" is no time of the day"),
        (r#"{"kind":"allow","from":"22:00"}"#, "to"),
        (r#"{"kind":"maybe","from":"22:00","to":"06:00"}"#, "maybe"),
        (r#"{"kind":"allow","from":"22:00","to":"06:00","days":["monday"]}"#, "monday"),
        (
            r#"{"kind":"allow","from":"22:00","to":"06:00","time_zone":"Berlin"}"#,
            "\"Berlin\" is no time zone",
        ),
        (r#"{"kind":"allow","from":"22:00","to":"06:00","zone":"UTC"}"#, "zone"),
    ] {
        assert!(read(text).contains(named), "{text}: {}", read(text));
    }
}

/// Without changes of the clock, with large ones, with one of half an hour in the other hemisphere, with an odd offset.
const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];

fn any_window() -> impl Strategy<Value = Window> {
    let time = (0_u8..24, 0_u8..4).prop_map(|(hour, quarter)| format!("{hour:02}:{:02}", quarter * 15));
    let days = prop::collection::btree_set(0_usize..7, 1..8);
    (prop::bool::ANY, days, time.clone(), time, prop::sample::select(&ZONES[..])).prop_map(
        |(allows, days, from, to, zone)| {
            let days: Vec<&str> = days.into_iter().map(|day| WEEK[day]).collect();
            window(if allows { "allow" } else { "deny" }, &days, &format!("{from}-{to}"), zone)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What a walk minute by minute finds is what is said beforehand, around both changes of the clock too.
    #[test]
    fn the_next_change_is_the_one_that_a_walk_finds(
        windows in prop::collection::vec(any_window(), 0..4),
        around in prop::sample::select(&["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-04-04T12:00:00Z"][..]),
        minutes in 0_i64..(3 * 24 * 60),
    ) {
        let now = at(around) + SignedDuration::from_mins(minutes);
        let is_open_now = is_open(&windows, now);
        let said = if is_open_now { open_until(&windows, now) } else { next_opening(&windows, now) };
        let walk = (1..=8 * 24 * 60).map(|minute| now + SignedDuration::from_mins(minute));
        let found = walk.into_iter().find(|time| is_open(&windows, *time) != is_open_now);
        match found {
            Some(found) => prop_assert_eq!(said, Some(found)),
            None => prop_assert!(said.is_none_or(|said| said > now + SignedDuration::from_hours(8 * 24))),
        }
    }
}

/// Twelve segments each on nodes 1 and 2, nothing on 3 and 4.
fn uneven() -> Observation {
    let mut observation = cluster(4);
    add_collection(&mut observation, 7, &[&[(1, 12), (2, 12), (3, 0), (4, 0)]]);
    observation
}

/// One turn within windows that open ten seconds after the time of the observation.
fn decide(observation: &Observation, second: i64) -> Decision {
    let opens = moment(10).wall.to_zoned(jiff::tz::TimeZone::UTC);
    let opens = format!("{:02}:{:02}", opens.hour(), opens.minute());
    let windows = vec![window("allow", &WEEK, &format!("{opens}-{opens}"), "UTC")];
    assert!(is_open(&windows, moment(0).wall), "a whole day is always open");
    let closed = window("deny", &WEEK, "00:00-24:00", "UTC");
    let windows = if second < 0 { vec![closed] } else { windows };
    let gates = GateSettings { windows, ..lifted_gates() };
    let mut thinking = Thinking::new(&rows_at_once(), PlanSettings::default(), gates);
    thinking.turn(observation, OwnMoves::default(), Moment { ..moment(second.abs()) })
}

#[test]
fn outside_a_window_there_is_a_plan_and_nothing_of_it_is_done() {
    let open = decide(&uneven(), 1);
    assert!(!open.verdict.admitted.is_empty());
    let closed = decide(&uneven(), -1);
    assert_eq!(closed.plan, open.plan, "people see what would be done");
    assert_eq!(closed.verdict.admitted, Vec::<usize>::new());
    let refusal = closed.verdict.refusals.iter().find(|refusal| refusal.subject == Subject::Cluster);
    assert_eq!(refusal.map(|refusal| &refusal.reason), Some(&Reason::OutsideWindow { next: None }));
}

#[test]
fn only_what_leaves_a_node_in_an_emergency_moves_outside_a_window() {
    let emergency = |used: u64| {
        let mut observation = uneven();
        observation.nodes[0].memory_used = Some(Bytes(used));
        decide(&observation, -1)
    };
    for (used, moves) in
        [(0, false), (850_000, false), (900_000, false), (900_001, true), (NODE_MEMORY.0, true)]
    {
        let decision = emergency(used);
        assert_eq!(!decision.verdict.admitted.is_empty(), moves, "{used} bytes used");
        for step in decision.verdict.admitted.iter().map(|position| &decision.plan.steps[*position]) {
            assert!(step.moves.iter().all(|movement| movement.from == NodeId(1)), "{step:?}");
        }
    }
    let decision = emergency(950_000);
    let left = decision.plan.proof.left_alone.iter().find(|left| left.node == NodeId(2)).unwrap();
    assert_eq!(left.reason, Reason::OutsideWindow { next: None });
    // A node of which nobody knows how much memory it has is in no emergency that anybody could know of.
    let mut unknown = uneven();
    unknown.nodes[0].memory_used = Some(Bytes(950_000));
    unknown.nodes[0].memory_capacity = None;
    assert_eq!(decide(&unknown, -1).verdict.admitted, Vec::<usize>::new());
}
