//! How good a plan is: the worst pressures before and after, and how much had to be moved at least.

use super::DimensionProof;
use super::fair_share::Placement;
use super::field::Field;
use super::floor;
use super::search::{Search, decimal};
use crate::model::{CopyIndex, NodeIndex, Snapshot};
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
            });
        }
    }
    proofs
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
            let must_leave = before - cell.load.max(cell.quiet);
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
