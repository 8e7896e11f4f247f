//! Who stays above the band, and why: for every such node the move that comes closest, and what speaks against it.

use super::LeftAlone;
use super::order::Way;
use super::planner::describe;
use super::search::{LEAST_GAIN, Search};
use crate::model::{CopyIndex, NodeIndex};
use crate::reason::Reason;
use crate::units::Ratio;

/// So many copies of a node are looked at, those that would relieve it most, and so many destinations of each.
const LOOKED_AT: usize = 64;

/// The closest move, and what it would gain.
struct Closest {
    gain: f64,
    copy: CopyIndex,
    to: NodeIndex,
}

/// About one node, as it is after the plan; nothing when it is inside its band.
pub fn left_alone(search: &mut Search<'_>, node: NodeIndex) -> Option<LeftAlone> {
    let view = worst_view(search, node)?;
    let (reason, closest) = why(search, node);
    let describe = |copy: CopyIndex, to| {
        let from = search.origin[copy.at()];
        describe(&search.input.snapshot, &Way { copy, from, to })
    };
    let price = closest.as_ref().map_or(0.0, |closest| search.price(closest.copy));
    Some(LeftAlone {
        node: search.input.snapshot.node(node).id,
        dimension: search.field.views[view].dimension.name.clone(),
        pressure: search.field.pressure(view, node),
        best_candidate: closest.as_ref().map(|closest| describe(closest.copy, closest.to)),
        reason,
        gain: Ratio::from_decimal(closest.map_or(0.0, |closest| closest.gain.max(0.0))).unwrap_or_default(),
        price: Ratio::from_decimal(price).unwrap_or_default(),
    })
}

/// The dimension that makes most of a node's potential.
fn worst_view(search: &Search<'_>, node: NodeIndex) -> Option<usize> {
    let mut worst: Option<(f64, usize)> = None;
    for view in 0..search.field.views.len() {
        let cell = search.field.cell(view, node);
        let potential = cell.potential(cell.load);
        if cell.load > cell.inside && worst.is_none_or(|(most, _)| potential > most) {
            worst = Some((potential, view));
        }
    }
    worst.map(|(_, view)| view)
}

fn why(search: &mut Search<'_>, node: NodeIndex) -> (Reason, Option<Closest>) {
    if let Some(reason) = search.rules.blocked_source(node) {
        return (reason, None);
    }
    let mut blocked = None;
    let mut scored: Vec<(f64, CopyIndex)> = Vec::new();
    let mut loads = Vec::new();
    for copy in search.copies_on(node) {
        // What came by this plan has been weighed already.
        if search.origin[copy.at()] != node {
            continue;
        }
        if !search.is_free(copy) {
            blocked = search.rules.blocked_copy(copy).or(blocked);
            continue;
        }
        loads.clear();
        search.field.loads_of(copy, &mut loads);
        scored.push((search.field.relief(copy, &loads, node), copy));
    }
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    let mut closest: Option<Closest> = None;
    let mut refused: Option<(Reason, CopyIndex, NodeIndex)> = None;
    for (relief, copy) in scored.into_iter().take(LOOKED_AT) {
        loads.clear();
        search.field.loads_of(copy, &mut loads);
        let members = search.field.sets.members(search.set_of(copy)).iter();
        let others: Vec<NodeIndex> = members.copied().filter(|to| *to != node).take(LOOKED_AT).collect();
        for to in others {
            if let Some(reason) = search.why_not(copy, to) {
                refused.get_or_insert((reason, copy, to));
                continue;
            }
            let gain = relief - search.field.burden(copy, &loads, to);
            if closest.as_ref().is_none_or(|known| gain > known.gain) {
                closest = Some(Closest { gain, copy, to });
            }
        }
    }
    match (closest, refused) {
        (Some(closest), _) if search.is_spent() => (Reason::EffortSpent, Some(closest)),
        (Some(closest), _) if closest.gain > LEAST_GAIN => (Reason::NotWorthItsPrice, Some(closest)),
        (Some(closest), _) => (Reason::NoImprovement, Some(closest)),
        (None, Some((reason, copy, to))) => (reason, Some(Closest { gain: 0.0, copy, to })),
        (None, None) => (blocked.unwrap_or(Reason::NothingMovable), None),
    }
}
