//! After a move has landed, the figures of its nodes are those of before for a few seconds. Planning on them would
//! move the same load twice.

use std::time::Duration;

use super::{Restrictions, elapsed};
use crate::model::PlanningInput;
use crate::reason::Reason;

/// Lets nodes rest from which, or to which, something was moved a moment ago.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    for departure in &input.history.departures {
        let passed = elapsed(departure.at, input.now.wall);
        let Some(remaining) =
            input.gate.settle_time.checked_sub(passed).filter(|left: &Duration| !left.is_zero())
        else {
            continue;
        };
        for node in [departure.from, departure.to] {
            let reason = Reason::Settling { node, remaining };
            restrictions.sources.entry(node).or_insert(reason.clone());
            restrictions.destinations.entry(node).or_insert(reason);
        }
    }
}
