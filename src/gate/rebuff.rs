//! A node that refused a segment, or never took it, has a reason that we may not see: its own memory guard, a stop
//! that this version does not show, a fault. Asking again every turn would make it no better.

use super::{Restrictions, elapsed};
use crate::model::PlanningInput;
use crate::reason::Reason;

/// Leaves nodes alone as destinations for a while after a move to them failed.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    for rebuff in &input.history.rebuffs {
        let passed = elapsed(rebuff.at, input.now.wall);
        let remaining = input.gate.rebuff_rest.saturating_sub(passed);
        if !remaining.is_zero() {
            let reason = Reason::Rebuffed { node: rebuff.to, remaining };
            restrictions.destinations.entry(rebuff.to).or_insert(reason);
        }
    }
}
