//! Two balancers on one component undo each other's work: while somebody else moves segments, we do not.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{Restrictions, component_name, elapsed};
use crate::model::{ComponentIndex, ForeignMove, PlanningInput};
use crate::reason::Reason;

/// Freezes components in which another actor has been at work.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let settings = &input.gate.foreign;
    if settings.moves == 0 {
        return;
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

/// Times of foreign moves in each component, oldest first. Nodes are looked up by id: a move between nodes that
/// are gone concerns nobody any more.
fn moves_by_component(input: &PlanningInput) -> BTreeMap<ComponentIndex, Vec<Timestamp>> {
    let mut moves: BTreeMap<ComponentIndex, Vec<Timestamp>> = BTreeMap::new();
    for ForeignMove { from, to, at, .. } in &input.history.foreign_moves {
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
}
