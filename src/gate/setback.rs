//! A node that refused a segment, or never took it, has a reason that we may not see: its own memory guard, a stop
//! that this version does not show, a fault. It is left alone for a while, and longer each time until it takes one.
//! And a move that came to nothing twice will hardly succeed a moment later: the same segment would be offered to the
//! same node for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::cool_down::doubled;
use super::{Restrictions, elapsed};
use crate::model::{Blame, PlanningInput, Setback};
use crate::reason::Reason;
use crate::units::{NodeId, SegmentId};

/// The pause after the second failure; doubles with every further one. The first is free: the server may have been
/// busy with something else.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Lets nodes rest that did not take a segment, and keeps segments off nodes to which they could not be moved twice.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    rest_nodes(input, restrictions);
    keep_off(input, restrictions);
}

fn rest_nodes(input: &PlanningInput, restrictions: &mut Restrictions) {
    let mut taken: BTreeMap<NodeId, Timestamp> = BTreeMap::new();
    for departure in &input.history.departures {
        let last = taken.entry(departure.to).or_insert(departure.at);
        *last = departure.at.max(*last);
    }
    let mut failures: BTreeMap<NodeId, Vec<Timestamp>> = BTreeMap::new();
    let blamed = |setback: &&Setback| setback.blame == Blame::Destination;
    for setback in input.history.setbacks.iter().filter(blamed) {
        // What it has taken since forgives everything before.
        if taken.get(&setback.to).is_none_or(|taken_at| *taken_at < setback.at) {
            failures.entry(setback.to).or_default().push(setback.at);
        }
    }
    for (node, times) in failures {
        let rest = Rest::after(times, input.gate.setback_rest, input.gate.cool_down_limit);
        let remaining = rest.length.saturating_sub(elapsed(rest.began, input.now.wall));
        if !remaining.is_zero() {
            let reason = Reason::NotTaken { node, remaining };
            restrictions.destinations.entry(node).or_insert(reason);
        }
    }
}

/// The last rest of a node.
struct Rest {
    began: Timestamp,
    length: Duration,
}

impl Rest {
    /// Each failure after the end of a rest begins one of twice the length. Those during a rest were on their way when
    /// it began.
    fn after(mut failures: Vec<Timestamp>, first: Duration, limit: Duration) -> Rest {
        failures.sort_unstable();
        let mut rest = Rest { began: Timestamp::MIN, length: Duration::ZERO };
        let mut times = 0;
        for at in failures {
            let length = SignedDuration::try_from(rest.length).unwrap_or(SignedDuration::MAX);
            if times > 0 && at.duration_since(rest.began) < length {
                continue;
            }
            times += 1;
            rest = Rest { began: at, length: doubled(first, times, limit.max(first)) };
        }
        rest
    }
}

fn keep_off(input: &PlanningInput, restrictions: &mut Restrictions) {
    let mut arrived: BTreeMap<(SegmentId, NodeId), Timestamp> = BTreeMap::new();
    for departure in &input.history.departures {
        let last = arrived.entry((departure.segment, departure.to)).or_insert(departure.at);
        *last = departure.at.max(*last);
    }
    let mut failures: BTreeMap<(SegmentId, NodeId), (usize, Timestamp)> = BTreeMap::new();
    for setback in &input.history.setbacks {
        let pair = (setback.segment, setback.to);
        if arrived.get(&pair).is_some_and(|arrived_at| *arrived_at >= setback.at) {
            continue;
        }
        let (times, last) = failures.entry(pair).or_insert((0, setback.at));
        *times += 1;
        *last = setback.at.max(*last);
    }
    for ((segment, node), (times, last)) in failures {
        if times < 2 {
            continue;
        }
        let length = doubled(FIRST_PAUSE, times - 1, input.gate.cool_down_limit.max(FIRST_PAUSE));
        let passed = elapsed(last, input.now.wall);
        let Some(remaining) = length.checked_sub(passed).filter(|left| !left.is_zero()) else { continue };
        let reason = Reason::FailedBefore { node, times, remaining };
        restrictions.returns.entry((segment, node)).or_insert(reason);
        restrictions.named_segments.insert(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(failures: &[i64]) -> (i64, u64) {
        let at = |minute: &i64| Timestamp::from_second(minute * 60).unwrap();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let rest = Rest::after(failures.iter().map(at).collect(), minutes(5), minutes(24 * 60));
        (rest.began.as_second() / 60, rest.length.as_secs() / 60)
    }

    #[test]
    fn each_failure_after_a_rest_doubles_it_and_those_during_it_do_not() {
        assert_eq!(rest(&[0]), (0, 5));
        assert_eq!(rest(&[0, 0, 0, 4]), (0, 5), "one call of many segments, and one that was out already");
        assert_eq!(rest(&[5, 0]), (5, 10), "in whatever order");
        assert_eq!(rest(&[0, 5, 14, 15]), (15, 20));
        let always: Vec<i64> = (0..10_000).collect();
        assert_eq!(rest(&always).1, 24 * 60, "never longer than a day");
    }
}
