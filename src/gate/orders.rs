//! What people order outright: the kill switch, a pause. Both stop the whole cluster, and nothing overrides them.

use crate::model::{Pause, PlanningInput, Thrown};
use crate::reason::Reason;

/// The order that stops everything, if there is one.
pub fn stop(input: &PlanningInput) -> Option<Reason> {
    if let Some(Thrown { path, unreadable }) = &input.controls.kill_switch {
        return Some(Reason::KillSwitch { path: path.clone(), unreadable: unreadable.clone() });
    }
    let Pause { until, reason, by, .. } =
        input.controls.pause.as_ref().filter(|pause| pause.holds_at(input.now.wall))?;
    Some(Reason::Paused { until: *until, by: by.clone(), why: reason.clone() })
}
