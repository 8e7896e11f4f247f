//! Takes back what turned out not to be needed: a move that was worth having when it was chosen may have become so
//! by later ones. The largest are tried first, because they cost most.

use std::cmp::Reverse;

use super::search::{LEAST_GAIN, Search};
use crate::model::CopyIndex;
use crate::units::Bytes;

/// Sends home every copy whose journey is not worth its price any more. True when there was one.
pub fn prune(search: &mut Search<'_>) -> bool {
    if search.is_kept() {
        return false;
    }
    let bytes = |copy: CopyIndex| (Reverse(search.input.snapshot.copies.bytes[copy.at()]), copy);
    let mut away: Vec<(Reverse<Bytes>, CopyIndex)> = search.away().into_iter().map(bytes).collect();
    away.sort_unstable();
    let mut any = false;
    let mut loads = Vec::new();
    for (_, copy) in away {
        if search.rules.is_bound(copy) || !search.spend(1) {
            continue;
        }
        loads.clear();
        search.field.loads_of(copy, &mut loads);
        let (here, home) = (search.field.node_of[copy.at()], search.origin[copy.at()]);
        if !search.may_enter(copy, home) {
            continue;
        }
        let worse = search.field.burden(copy, &loads, home) - search.field.relief(copy, &loads, here);
        if worse <= search.price(copy) + LEAST_GAIN {
            search.put(copy, home);
            any = true;
        }
    }
    any
}
