//! Maintenance windows: when something may be moved, and when not, by the clock on the wall in a time zone. A node that
//! runs out of memory does not wait for one.

mod settings;

pub use settings::{ClockTime, Day, Window, WindowKind, Zone};

use jiff::tz::AmbiguousTimestamp;
use jiff::{Span, Timestamp};

use super::Restrictions;
use crate::model::{Node, PlanningInput};
use crate::reason::Reason;
use crate::units::Ratio;

/// How far an opening is looked for: every window opens within a week, unless the hour that it is in is skipped on its
/// only day, when the clocks are set forward.
const DAYS_AHEAD: i32 = 15;

/// Changes of a zone's clock that are looked at: no zone changes more often in those days.
const CLOCK_CHANGES: usize = 4;

/// Outside of windows only what leaves a node in an emergency may move.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let windows = &input.gate.windows;
    if is_open(windows, input.now.wall) {
        return;
    }
    restrictions.closed = Some(Reason::OutsideWindow { next: next_opening(windows, input.now.wall) });
    let limit = input.gate.emergency_memory;
    let emergencies = input.snapshot.nodes.iter().filter(|node| is_emergency(node, limit));
    restrictions.emergencies = emergencies.map(|node| node.id).collect();
}

/// Whether a node has more of its memory in use than that. Where one of the two is not known, nobody can say so.
fn is_emergency(node: &Node, limit: Ratio) -> bool {
    let (Some(used), Some(capacity)) = (node.memory_used, node.memory_capacity) else { return false };
    node.standing.is_usable() && Ratio::of(used.0, capacity.0) > limit
}

/// Whether something may be moved at that time: inside an `allow` window, where there are any, and inside no `deny`
/// window. A window is open whenever the clock on the wall of its zone shows a time inside it: an hour that is skipped
/// is in no window, an hour that comes twice is in it twice.
pub fn is_open(windows: &[Window], at: Timestamp) -> bool {
    let mut is_allowed = windows.iter().all(|window| window.kind != WindowKind::Allow);
    for window in windows.iter().filter(|window| shows(window, at)) {
        match window.kind {
            WindowKind::Deny => return false,
            WindowKind::Allow => is_allowed = true,
        }
    }
    is_allowed
}

/// When something may be moved next, if that is not now.
pub fn next_opening(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    changes_after(windows, now).into_iter().find(|at| is_open(windows, *at))
}

/// Until when something may be moved, if that is now and has an end.
pub fn open_until(windows: &[Window], now: Timestamp) -> Option<Timestamp> {
    changes_after(windows, now).into_iter().find(|at| !is_open(windows, *at))
}

/// Whether a window is open by the clock of its zone.
fn shows(window: &Window, at: Timestamp) -> bool {
    let clock = window.time_zone.to_datetime(at);
    let (today, time) = (clock.date(), clock.time());
    let (from, to) = (window.from.0, window.to.0);
    let is_on = |day: jiff::civil::Date| window.days.iter().any(|on| on.weekday() == day.weekday());
    if from < to {
        return is_on(today) && from <= time && time < to;
    }
    // Over midnight, and a whole day where both times are the same: it belongs to the day on which it begins.
    let began_yesterday = today.yesterday().is_ok_and(is_on);
    (is_on(today) && from <= time) || (began_yesterday && time < to)
}

/// All times, in order, at which a window may open or close: its hours on every day, and changes of the clock.
fn changes_after(windows: &[Window], now: Timestamp) -> Vec<Timestamp> {
    let mut changes = Vec::new();
    for window in windows {
        let zone = &window.time_zone;
        let today = zone.to_datetime(now).date();
        for ahead in -1..=DAYS_AHEAD {
            let Ok(day) = today.checked_add(Span::new().days(ahead)) else { continue };
            for time in [window.from, window.to] {
                let ambiguous = zone.to_ambiguous_timestamp(day.to_datetime(time.0));
                let read = [AmbiguousTimestamp::earlier, AmbiguousTimestamp::later];
                changes.extend(read.iter().filter_map(|read| read(ambiguous).ok()));
            }
        }
        changes.extend(zone.clock_changes_after(now).take(CLOCK_CHANGES));
    }
    changes.retain(|at| *at > now);
    changes.sort_unstable();
    changes.dedup();
    changes
}
