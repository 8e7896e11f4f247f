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
pub fn bytes_floor(search: &mut Search<'_>, nodes: &[NodeIndex], ordered: &[CopyIndex]) -> Bytes {
    let mut floor = 0.0;
    let bytes =
        |search: &Search<'_>, copy: CopyIndex| decimal(search.input.snapshot.copies.bytes[copy.at()].0);
    let mut ordered_from = vec![0.0; search.input.snapshot.nodes.len()];
    for copy in ordered {
        ordered_from[search.origin[copy.at()].at()] += bytes(search, *copy);
    }
    let copies_of = search.copies_at_first(nodes);
    for (node, copies) in nodes.iter().zip(&copies_of) {
        let mut of_node: f64 = std::mem::take(&mut ordered_from[node.at()]);
        for (view, shown) in search.field.views.iter().enumerate() {
            let Some(cell) = search.field.cell_if_part(view, *node) else { continue };
            let before = search.field.scaled(view, shown.loads.load[node.at()]);
            let must_leave = before - cell.load.max(cell.inside);
            if must_leave <= 0.0 {
                continue;
            }
            let mut pieces: Vec<(f64, f64)> = Vec::with_capacity(copies.len());
            for copy in copies {
                let load = search.field.load_of(view, *copy);
                if load > 0.0 {
                    pieces.push((bytes(search, *copy) / load, load));
                }
            }
            of_node = of_node.max(knapsack(pieces, must_leave));
        }
        floor += of_node;
    }
    floor += ordered_from.iter().sum::<f64>();
    // Fractions of bytes are no bytes, and sums of fractions are not exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Bytes((floor * (1.0 - 1e-12)) as u64)
}

/// The fewest bytes of pieces (bytes per load, load) that make up a load, or all that there are.
fn knapsack(mut pieces: Vec<(f64, f64)>, must_leave: f64) -> f64 {
    pieces.sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.total_cmp(&right.1)));
    let (mut bytes, mut left) = (0.0, must_leave);
    for (price, load) in pieces {
        let taken = load.min(left);
        bytes += price * taken;
        left -= taken;
        if left <= 0.0 {
            break;
        }
    }
    bytes
}
