//! How good a plan is: the worst pressures before and after, and how much had to be moved at least.

use super::fair_share::Placement;
use super::field::Field;
use super::finding::DimensionView;
use super::floor;
use super::search::{Search, decimal};
use super::{DimensionProof, LeftAlone, Proof, WhyNotBetter};
use crate::model::{CopyIndex, NodeIndex, Snapshot};
use crate::reason::Reason;
use crate::units::{Bytes, Ratio};

/// The worst pressure of every component in every dimension, before, after, and at best.
pub fn dimensions(snapshot: &Snapshot, after: &Field<'_>, placement: &Placement) -> Vec<DimensionProof> {
    let mut proofs = Vec::new();
    let floors = floor::floors(snapshot, after.views, placement);
    for (position, component) in snapshot.components.iter().enumerate() {
        let Some(first) = component.nodes.first() else { continue };
        for (at, view) in after.views.iter().enumerate() {
            let worst = |pressure: &dyn Fn(NodeIndex) -> Option<Ratio>| {
                component.nodes.iter().filter_map(|node| pressure(*node)).max().unwrap_or(Ratio::ZERO)
            };
            let (floor, floor_cause) = floors[at][position].clone();
            proofs.push(DimensionProof {
                dimension: view.dimension.name.clone(),
                component: snapshot.node(*first).id,
                before: worst(&|node| view.loads.pressure(node)),
                after: worst(&|node| Some(after.pressure(at, node))),
                floor,
                floor_cause,
                why: None,
            });
        }
    }
    proofs
}

/// Says of every dimension that stays above its band why its worst pressure is not lower: what the floor is made of, or
/// else what was said about its worst node that is left alone.
pub fn say_why(proof: &mut Proof, snapshot: &Snapshot, views: &[DimensionView<'_>], is_spent: bool) {
    let left_alone = &proof.left_alone;
    for own in &mut proof.dimensions {
        let view = views.iter().find(|view| view.dimension.name == own.dimension);
        if view.is_none_or(|view| own.after <= view.dimension.settings.leave) {
            continue;
        }
        let component = snapshot.node_index(own.component).and_then(|node| snapshot.node(node).component);
        let is_its_own = |left: &&LeftAlone| {
            let node = snapshot.node_index(left.node);
            node.is_some_and(|node| snapshot.node(node).component == component)
        };
        // A node is told of once, for the dimension in which it is worst.
        let is_about_it = |left: &&LeftAlone| (left.dimension == own.dimension, left.pressure);
        let worst = left_alone.iter().filter(is_its_own).max_by_key(is_about_it);
        own.why = match worst {
            _ if own.after <= own.floor => Some(WhyNotBetter::Floor),
            _ if is_spent => Some(WhyNotBetter::Budget),
            Some(left) => Some(why_of(left)),
            // Above leave and not above enter, or not for long enough.
            None => None,
        };
    }
}

fn why_of(left: &LeftAlone) -> WhyNotBetter {
    match (&left.reason, &left.best_candidate) {
        (Reason::NotWorthItsPrice, _) => {
            let short = Ratio(left.price.0.saturating_sub(left.gain.0));
            WhyNotBetter::Price { gain: left.gain, price: left.price, short }
        }
        (Reason::NoImprovement, Some(movement)) => WhyNotBetter::Granularity { segment: movement.segment },
        (Reason::NoHeadroom { .. } | Reason::AboveLimit { .. }, _) => {
            WhyNotBetter::Capacity { reason: left.reason.clone() }
        }
        _ => WhyNotBetter::Directive { reason: left.reason.clone() },
    }
}

/// The bytes that any plan must move that leaves these nodes no more loaded than this one does, or inside their
/// bands: for each node and dimension the excess, made up of what has most load per byte, the last piece a fraction
/// (the fractional knapsack). Every move leaves one node, so the nodes' floors add up; one move can help several
/// dimensions, so of those only the largest counts. What was ordered must be moved in any case.
pub fn bytes_floor(search: &Search<'_>, nodes: &[NodeIndex], ordered: &[CopyIndex]) -> Bytes {
    let snapshot = &search.input.snapshot;
    let bytes = |copy: CopyIndex| decimal(snapshot.copies.bytes[copy.at()].0);
    let width = search.field.views.len();
    let mut of_node = vec![0.0; snapshot.nodes.len()];
    for copy in ordered {
        of_node[search.origin[copy.at()].at()] += bytes(*copy);
    }
    // By node and dimension: what must leave, and what it can be made of. In one pass over all copies, because going from
    // node to node would go through all of the memory as often.
    let mut must_leave = vec![0.0; snapshot.nodes.len() * width];
    let mut has_excess = vec![false; snapshot.nodes.len()];
    for node in nodes {
        for (view, shown) in search.field.views.iter().enumerate() {
            let Some(cell) = search.field.cell_if_part(view, *node) else { continue };
            let before = search.field.scaled(view, shown.loads.load[node.at()]);
            let excess = before - cell.load.max(cell.inside);
            if excess > 0.0 {
                must_leave[node.at() * width + view] = excess;
                has_excess[node.at()] = true;
            }
        }
    }
    let mut pieces: Vec<Vec<Piece>> = vec![Vec::new(); must_leave.len()];
    for (position, node) in search.origin.iter().enumerate() {
        if !has_excess[node.at()] {
            continue;
        }
        let copy = CopyIndex::from_position(position);
        for view in 0..width {
            let place = node.at() * width + view;
            if must_leave[place] > 0.0 {
                let load = search.field.load_of(view, copy);
                if load > 0.0 {
                    pieces[place].push((bytes(copy) / load, load));
                }
            }
        }
    }
    for (place, pieces) in pieces.iter_mut().enumerate() {
        let of_node = &mut of_node[place / width.max(1)];
        *of_node = of_node.max(knapsack(pieces, must_leave[place]));
    }
    // Fractions of bytes are no bytes, and sums of fractions are not exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Bytes((of_node.iter().sum::<f64>() * (1.0 - 1e-12)) as u64)
}

/// Bytes per load, and load.
type Piece = (f64, f64);

/// So few pieces are sorted.
const FEW_PIECES: usize = 32;

/// The fewest bytes of pieces that make up a load, or all that there are.
fn knapsack(mut pieces: &mut [Piece], must_leave: f64) -> f64 {
    let order = |left: &Piece, right: &Piece| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1));
    let (mut bytes, mut left) = (0.0, must_leave);
    // Halves that are taken, or left, as a whole need not be sorted.
    while pieces.len() > FEW_PIECES {
        let (cheap, _, _) = pieces.select_nth_unstable_by(pieces.len() / 2, order);
        let middle = cheap.len();
        let load: f64 = cheap.iter().map(|(_, load)| load).sum();
        if load < left {
            bytes += cheap.iter().map(|(price, load)| price * load).sum::<f64>();
            left -= load;
            pieces = &mut pieces[middle..];
        } else {
            pieces = &mut pieces[..middle];
        }
    }
    pieces.sort_unstable_by(order);
    for (price, load) in pieces {
        let taken = load.min(left);
        bytes += *price * taken;
        left -= taken;
        if left <= 0.0 {
            break;
        }
    }
    bytes
}
