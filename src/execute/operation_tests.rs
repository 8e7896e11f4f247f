//! The whole transition table: every state against every event.

use super::*;
use crate::units::{Bytes, CollectionId, ReplicaId, Rows, SegmentId};
use OperationState as State;

const SETTLE: Patience = Patience { on_source: Duration::from_secs(600), on_both: Duration::from_secs(900) };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).unwrap()
}

/// So long after the start of the process, in which second 0 is when the call goes out.
fn moment(seconds: i64) -> Moment {
    Moment { wall: at(seconds), monotonic: Duration::from_secs(u64::try_from(seconds).unwrap()) }
}

fn movement() -> Move {
    Move {
        segment: SegmentId(1),
        collection: CollectionId(2),
        replica: ReplicaId(3),
        from: NodeId(4),
        to: NodeId(5),
        bytes: Bytes(6),
        rows: Rows(7),
    }
}

/// An operation whose call went out at second 0.
pub(crate) fn sent(movement: Move) -> Operation {
    Operation {
        id: OperationId(1),
        batch: BatchId(1),
        origin: Origin::Daemon,
        database: "default".into(),
        collection_name: "books".into(),
        from_address: "host:1".into(),
        movement,
        state: State::Sent,
        intended_at: at(0),
        sent_at: Some(at(0)),
        changed_at: at(0),
        refusal: None,
        evidence: Evidence::default(),
    }
}

fn in_state(state: State) -> Operation {
    Operation { state, ..sent(movement()) }
}

fn listed(nodes: &[i64]) -> Presence {
    let (from, to) = (4, 5);
    Presence::Listed {
        on_source: nodes.contains(&from),
        on_destination: nodes.contains(&to),
        elsewhere: nodes.iter().filter(|node| ![from, to].contains(*node)).copied().map(NodeId).collect(),
        source_left: false,
        destination_left: false,
    }
}

fn seen(read_at: i64, presence: Presence) -> Event {
    let nodes = match &presence {
        Presence::Listed { on_source: true, on_destination: true, .. } => vec![NodeId(4), NodeId(5)],
        _ => Vec::new(),
    };
    Event::Seen(Sight { read_at: Steady::of(moment(read_at)), presence, nodes })
}

fn gone() -> Presence {
    Presence::Missing { cause: "gone".into() }
}

fn failed(remedy: Remedy) -> Event {
    Event::Failed { remedy, cause: "no room".into() }
}

/// The states after each event, each applied one second after its reading.
fn run(start: &Operation, events: &[(i64, Event)]) -> State {
    let mut operation = start.clone();
    for (second, event) in events {
        if let Some(next) = operation.advance(event, moment(*second), SETTLE) {
            operation = next;
        }
    }
    operation.state
}

fn all_states() -> Vec<State> {
    vec![
        State::Proposed,
        State::Admitted,
        State::Sent,
        State::Verifying,
        State::Landed,
        State::Refused { cause: "c".into() },
        State::Superseded { cause: "c".into() },
        State::Expired,
        State::Contradicted { seen: "node 9".into() },
    ]
}

fn next_code(state: &State, event: &Event) -> &'static str {
    in_state(state.clone()).advance(event, moment(10), SETTLE).map_or("-", |next| next.state.code())
}

#[test]
fn every_state_against_every_event() {
    let events = [
        Event::Admit,
        Event::Send,
        Event::Withdraw { cause: "c".into() },
        Event::Answered,
        failed(Remedy::OutcomeUnknown),
        Event::Recovered,
        seen(5, listed(&[5])),
        seen(5, listed(&[4])),
    ];
    #[rustfmt::skip]
    let table = [
        // admit     send    withdraw      answered     failed       recovered    on destination  on source
        ["admitted", "-",    "superseded", "-",         "-",         "-",         "-",            "-"],
        ["-",        "sent", "superseded", "-",         "-",         "verifying", "-",            "-"],
        ["-",        "-",    "-",          "verifying", "verifying", "verifying", "landed",       "sent"],
        ["-",        "-",    "-",          "-",         "-",         "-",         "landed",       "verifying"],
        ["-",        "-",    "-",          "-",         "-",         "-",         "-",            "-"],
        ["-",        "-",    "-",          "-",         "-",         "-",         "landed",       "-"],
        ["-",        "-",    "-",          "-",         "-",         "-",         "-",            "-"],
        ["-",        "-",    "-",          "-",         "-",         "-",         "landed",       "-"],
        ["-",        "-",    "-",          "-",         "-",         "-",         "-",            "-"],
    ];
    for (state, row) in all_states().iter().zip(table) {
        for (event, expected) in events.iter().zip(row) {
            assert_eq!(next_code(state, event), expected, "{state:?} {event:?}");
        }
    }
}

#[test]
fn success_proves_nothing() {
    assert_eq!(run(&sent(movement()), &[(1, Event::Answered)]), State::Verifying);
}

#[test]
fn listed_on_both_is_not_landed() {
    let events = [(1, Event::Answered), (2, seen(2, listed(&[4, 5]))), (700, seen(700, listed(&[4, 5])))];
    assert_eq!(run(&sent(movement()), &events), State::Verifying, "loading takes its time");
    let and_then = [&events[..], &[(701, seen(701, listed(&[5])))]].concat();
    assert_eq!(run(&sent(movement()), &and_then), State::Landed);
}

#[test]
fn a_segment_that_stays_on_both_nodes_does_not_keep_its_operation_open_for_ever() {
    let events = [(1, Event::Answered), (2, seen(2, listed(&[4, 5]))), (902, seen(902, listed(&[4, 5])))];
    let stuck = State::Contradicted { seen: "node 4 and node 5".into() };
    assert_eq!(run(&sent(movement()), &events), stuck);
    let once = [(1, Event::Answered), (2, seen(2, listed(&[4]))), (902, seen(902, listed(&[4, 5])))];
    assert_eq!(run(&sent(movement()), &once), State::Verifying, "it is there only now");
    let late = [&events[..], &[(2_000, seen(2_000, listed(&[5])))]].concat();
    assert_eq!(run(&sent(movement()), &late), State::Landed, "its second half is ours, too");
    let taken_back = [&events[..], &[(2_000, seen(2_000, listed(&[4])))]].concat();
    assert_eq!(run(&sent(movement()), &taken_back), stuck);
}

#[test]
fn absence_must_last() {
    let flicker =
        [(1, Event::Answered), (2, seen(2, gone())), (5, seen(5, gone())), (6, seen(6, listed(&[5])))];
    assert_eq!(run(&sent(movement()), &flicker), State::Landed, "three seconds are a flicker");
    let once = [(1, Event::Answered), (20, seen(20, gone()))];
    assert_eq!(run(&sent(movement()), &once), State::Verifying);
    let interrupted =
        [(1, Event::Answered), (2, seen(2, gone())), (4, seen(4, listed(&[4]))), (9, seen(9, gone()))];
    assert_eq!(run(&sent(movement()), &interrupted), State::Verifying, "not in a row");
    let lasting = [(1, Event::Answered), (2, seen(2, gone())), (7, seen(7, gone()))];
    assert_eq!(run(&sent(movement()), &lasting), State::Superseded { cause: "gone".into() });
}

#[test]
fn one_reading_counts_once_and_old_ones_not_at_all() {
    let shared = [(1, Event::Answered), (2, seen(2, gone())), (9, seen(2, gone())), (10, seen(2, gone()))];
    assert_eq!(run(&sent(movement()), &shared), State::Verifying);
    let stale = [(5, Event::Answered), (6, seen(4, listed(&[5])))];
    assert_eq!(run(&sent(movement()), &stale), State::Verifying, "read before the answer came");
}

#[test]
fn a_refusal_needs_an_error_that_proves_it_and_a_look() {
    let refusals =
        [Remedy::Replan, Remedy::SkipCollection, Remedy::OurBug, Remedy::FixAccess, Remedy::RetryLater];
    for remedy in refusals {
        let once = [(1, failed(remedy)), (2, seen(2, listed(&[4])))];
        assert_eq!(run(&sent(movement()), &once), State::Verifying);
        let twice = [&once[..], &[(3, seen(3, listed(&[4])))]].concat();
        assert_eq!(run(&sent(movement()), &twice), State::Refused { cause: "no room".into() });
        let moved_anyway = [&once[..], &[(3, seen(3, listed(&[5])))]].concat();
        assert_eq!(run(&sent(movement()), &moved_anyway), State::Landed);
    }
    let events = [
        (1, failed(Remedy::OutcomeUnknown)),
        (2, seen(2, listed(&[4]))),
        (3, seen(3, listed(&[4]))),
        (599, seen(599, listed(&[4]))),
    ];
    assert_eq!(run(&sent(movement()), &events), State::Verifying, "it may still happen");
    let overdue = [&events[..], &[(600, seen(600, listed(&[4])))]].concat();
    assert_eq!(run(&sent(movement()), &overdue), State::Expired);
}

#[test]
fn an_expired_move_that_lands_late_is_ours() {
    let events = [(1, Event::Answered), (600, seen(600, listed(&[4]))), (700, seen(700, listed(&[4, 5])))];
    assert_eq!(run(&sent(movement()), &events), State::Expired);
    let landed = [&events[..], &[(701, seen(701, listed(&[5])))]].concat();
    assert_eq!(run(&sent(movement()), &landed), State::Landed);
}

#[test]
fn a_third_node_contradicts_unless_a_node_went_away() {
    let third = [(1, Event::Answered), (2, seen(2, listed(&[9]))), (8, seen(8, listed(&[9])))];
    assert_eq!(run(&sent(movement()), &third), State::Contradicted { seen: "node 9".into() });
    let recovered = || Presence::Listed {
        on_source: false,
        on_destination: false,
        elsewhere: vec![NodeId(9)],
        source_left: true,
        destination_left: false,
    };
    let events = [(1, Event::Answered), (2, seen(2, recovered())), (8, seen(8, recovered()))];
    assert!(
        matches!(run(&sent(movement()), &events), State::Superseded { cause } if cause.contains("node 4 left"))
    );
    let no_destination = || Presence::Listed {
        on_source: true,
        on_destination: false,
        elsewhere: Vec::new(),
        source_left: false,
        destination_left: true,
    };
    let events = [(1, Event::Answered), (2, seen(2, no_destination())), (8, seen(8, no_destination()))];
    assert!(
        matches!(run(&sent(movement()), &events), State::Superseded { cause } if cause.contains("node 5 left"))
    );
}

#[test]
fn while_the_call_is_out_only_a_landing_ends_it() {
    let events = [
        (2, seen(2, gone())),
        (9, seen(9, gone())),
        (20, seen(20, listed(&[9]))),
        (30, seen(30, listed(&[9]))),
    ];
    assert_eq!(run(&sent(movement()), &events), State::Sent);
    assert_eq!(run(&sent(movement()), &[(2, seen(2, listed(&[5])))]), State::Landed);
    let answer_lost = [(600, seen(600, listed(&[4])))];
    assert_eq!(run(&sent(movement()), &answer_lost), State::Expired, "nobody waits for that answer any more");
}

#[test]
fn the_calendar_neither_expires_nor_keeps_anything() {
    let on_source = |second| seen(second, listed(&[4]));
    for step in [-100_000, 100_000] {
        let mut operation = sent(movement());
        for (second, event, expected) in [
            (1, Event::Answered, State::Verifying),
            (20, on_source(20), State::Verifying),
            (599, on_source(599), State::Verifying),
            (600, on_source(600), State::Expired),
        ] {
            let stepped = Moment { wall: at(second + step), ..moment(second) };
            operation = operation.advance(&event, stepped, SETTLE).unwrap_or(operation);
            assert_eq!(operation.state, expected, "a step of {step} s, after {second} s");
        }
    }
}

#[test]
fn codes_and_details_bring_every_state_back() {
    for state in all_states() {
        assert_eq!(OperationState::from_code(state.code(), state.detail()), Some(state));
    }
    assert_eq!(OperationState::from_code("lost", ""), None);
}
