//! How good a plan is: the worst pressures before and after, and how much had to be moved at least.

use super::DimensionProof;
use super::fair_share::Placement;
use super::field::Field;
use super::floor;
use super::search::Search;
use crate::model::{NodeIndex, Snapshot};
use crate::units::{Bytes, NodeId, Ratio};

/// The worst pressure of every component in every dimension, before, after, and at best.
pub fn dimensions(snapshot: &Snapshot, after: &Field<'_>, placement: &Placement) -> Vec<DimensionProof> {
    let mut proofs = Vec::new();
    let copies = floor::copies_by_component(snapshot, placement);
    for (component, copies) in snapshot.components.iter().zip(&copies) {
        let Some(first) = component.nodes.first() else { continue };
        let name: NodeId = snapshot.node(*first).id;
        for (position, view) in after.views.iter().enumerate() {
            let worst = |pressure: &dyn Fn(NodeIndex) -> Option<Ratio>| {
                component.nodes.iter().filter_map(|node| pressure(*node)).max().unwrap_or(Ratio::ZERO)
            };
            let (floor, floor_cause) = floor::floor(snapshot, view, component, copies, placement);
            proofs.push(DimensionProof {
                dimension: view.dimension.name.clone(),
                component: name,
                before: worst(&|node| view.loads.pressure(node)),
                after: worst(&|node| Some(after.pressure(position, node))),
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
/// dimensions, so of those only the largest counts.
pub fn bytes_floor(search: &mut Search<'_>, after: &Field<'_>, nodes: &[NodeIndex]) -> Bytes {
    let mut floor = 0.0;
    for node in nodes {
        let mut of_node: f64 = 0.0;
        let copies = search.copies_at_first(*node);
        for (view, shown) in after.views.iter().enumerate() {
            let Some(cell) = after.cell_if_part(view, *node) else { continue };
            let before = search.field.scaled(view, shown.loads.load[node.at()]);
            let must_leave = before - cell.load.max(cell.quiet);
            if must_leave <= 0.0 {
                continue;
            }
            let mut pieces: Vec<(f64, f64)> = Vec::with_capacity(copies.len());
            for copy in &copies {
                let load = search.field.load_of(view, *copy);
                let bytes = search.input.snapshot.copies.bytes[copy.at()].0;
                #[allow(clippy::cast_precision_loss)]
                if load > 0.0 {
                    pieces.push((bytes as f64 / load, load));
                }
            }
            of_node = of_node.max(knapsack(pieces, must_leave));
        }
        floor += of_node;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Bytes(floor as u64)
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
