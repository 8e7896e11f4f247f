//! Two balancers on one component undo each other's work: while somebody else moves segments, we do not. In mode `within`
//! the other one is expected at work, and only what it takes back from us counts.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Restrictions, component_name, elapsed};
use crate::model::{ComponentIndex, Departure, ForeignMove, PlanningInput};
use crate::reason::Reason;
use crate::units::NodeId;

/// Freezes components in which another actor has been at work.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let settings = &input.gate.foreign;
    if settings.moves == 0 {
        return;
    }
    if input.own_balancer.is_binding {
        return rest_after_undoing(input, restrictions);
    }
    for (component, moves) in moves_by_component(input) {
        let Some(name) = component_name(&input.snapshot, component) else { continue };
        if let Some(moves) =
            is_at_work(&moves, settings.moves, settings.within, settings.quiet, input.now.wall)
        {
            restrictions
                .components
                .entry(name)
                .or_insert(Reason::ForeignMover { moves, within: settings.within });
        }
    }
}

/// Lets a component rest in which moves of ours were taken back: the score that we model is not the one that acts there.
fn rest_after_undoing(input: &PlanningInput, restrictions: &mut Restrictions) {
    let quiet = input.gate.foreign.quiet;
    let mut undone: BTreeMap<NodeId, (usize, Duration)> = BTreeMap::new();
    for foreign in &input.history.foreign_moves {
        let since = elapsed(foreign.at, input.now.wall);
        let Some(remaining) = quiet.checked_sub(since).filter(|left| !left.is_zero()) else { continue };
        if !input.history.departures.iter().any(|departure| takes_back(foreign, departure)) {
            continue;
        }
        let node = input.snapshot.node_index(foreign.to).or_else(|| input.snapshot.node_index(foreign.from));
        let component = node.and_then(|node| input.snapshot.node(node).component);
        if let Some(name) = component.and_then(|component| component_name(&input.snapshot, component)) {
            let known = undone.entry(name).or_default();
            *known = (known.0 + 1, known.1.max(remaining));
        }
    }
    for (name, (moves, remaining)) in undone {
        restrictions.components.entry(name).or_insert(Reason::TakenBack { moves, remaining });
    }
}

/// Whether a move undoes one of ours that landed before it: the same segment leaves the node to which we brought it, or
/// another one of its collection goes the opposite way, which to a balancer of rows is the same.
fn takes_back(foreign: &ForeignMove, departure: &Departure) -> bool {
    foreign.at >= departure.at
        && foreign.collection == departure.collection
        && foreign.from == departure.to
        && (foreign.segment == departure.segment || foreign.to == departure.from)
}

/// Times of foreign moves in each component, oldest first. Nodes are looked up by id: moves off a node that is gone since
/// concern nobody any more. Before 2.4 nothing shows that a node is stopping, and so it looks like a balancer's work while
/// it is emptied.
fn moves_by_component(input: &PlanningInput) -> BTreeMap<ComponentIndex, Vec<Timestamp>> {
    let mut moves: BTreeMap<ComponentIndex, Vec<Timestamp>> = BTreeMap::new();
    for ForeignMove { from, to, at, .. } in &input.history.foreign_moves {
        if input.snapshot.node_index(*from).is_none() {
            continue;
        }
        let node = input.snapshot.node_index(*to).or_else(|| input.snapshot.node_index(*from));
        if let Some(component) = node.and_then(|node| input.snapshot.node(node).component) {
            moves.entry(component).or_default().push(*at);
        }
    }
    for times in moves.values_mut() {
        times.sort_unstable();
    }
    moves
}

/// Whether enough moves fell within the window, the last of them no longer than `quiet` ago; the number of moves
/// in that window. Any later move, even a single one, starts the quiet time anew.
fn is_at_work(
    moves: &[Timestamp],
    limit: u32,
    within: Duration,
    quiet: Duration,
    now: Timestamp,
) -> Option<usize> {
    let limit = limit as usize;
    let mut alarm: Option<(usize, Timestamp)> = None;
    for (position, at) in moves.iter().enumerate() {
        let in_window =
            moves[..=position].iter().rev().take_while(|earlier| elapsed(**earlier, *at) <= within).count();
        let still_alarmed = alarm.is_some_and(|(_, last)| elapsed(last, *at) <= quiet);
        if in_window >= limit || still_alarmed {
            alarm = Some((in_window.max(alarm.map_or(0, |(count, _)| count)), *at));
        }
    }
    alarm.filter(|(_, last)| elapsed(*last, now) <= quiet).map(|(count, _)| count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Bytes, CollectionId, ReplicaId, SegmentId};

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn verdict(minutes: &[i64], now: i64) -> Option<usize> {
        let moves: Vec<Timestamp> = minutes.iter().copied().map(at).collect();
        is_at_work(&moves, 3, Duration::from_secs(600), Duration::from_secs(1800), at(now))
    }

    #[test]
    fn three_moves_within_ten_minutes_stop_us_and_two_do_not() {
        assert_eq!(verdict(&[0, 5], 6), None);
        assert_eq!(verdict(&[0, 5, 10], 11), Some(3));
        assert_eq!(verdict(&[0, 9, 18], 19), None, "spread over more than ten minutes");
    }

    #[test]
    fn thirty_quiet_minutes_let_us_go_on_and_one_more_move_starts_them_anew() {
        assert_eq!(verdict(&[0, 1, 2], 31), Some(3));
        assert_eq!(verdict(&[0, 1, 2], 33), None);
        assert_eq!(verdict(&[0, 1, 2, 30], 59), Some(3), "the single move at 30 keeps the alarm up");
        assert_eq!(verdict(&[0, 1, 2, 40], 41), None, "by then it was over, and one move is none");
    }

    #[test]
    fn a_clock_set_back_keeps_us_stopped() {
        assert_eq!(verdict(&[100, 101, 102], 0), Some(3));
    }

    fn departure(segment: i64, from: i64, to: i64, minute: i64) -> Departure {
        Departure {
            segment: SegmentId(segment),
            collection: CollectionId(7),
            from: NodeId(from),
            from_address: String::new(),
            to: NodeId(to),
            bytes: Bytes(10),
            at: at(minute),
        }
    }

    fn foreign(segment: i64, from: i64, to: i64, minute: i64) -> ForeignMove {
        ForeignMove {
            segment: SegmentId(segment),
            collection: CollectionId(7),
            replica: ReplicaId(70),
            from: NodeId(from),
            to: NodeId(to),
            bytes: Bytes(10),
            at: at(minute),
        }
    }

    #[test]
    fn only_what_undoes_a_move_of_ours_takes_it_back() {
        let ours = departure(1, 1, 2, 10);
        let cases = [
            (foreign(1, 2, 1, 11), true, "the same segment goes back"),
            (foreign(1, 2, 3, 11), true, "it goes on elsewhere"),
            (foreign(2, 2, 1, 11), true, "another one of its collection goes the opposite way"),
            (foreign(2, 2, 3, 11), false, "another one goes elsewhere"),
            (foreign(2, 1, 2, 11), false, "another one goes the same way"),
            (foreign(1, 2, 1, 9), false, "before ours"),
            (
                ForeignMove { collection: CollectionId(8), ..foreign(2, 2, 1, 11) },
                false,
                "of another collection",
            ),
        ];
        for (foreign, expected, name) in cases {
            assert_eq!(takes_back(&foreign, &ours), expected, "{name}");
        }
    }
}
