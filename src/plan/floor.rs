//! Floors: how even a component can get at best, whatever is moved. Printed beside every plan, because nobody
//! believes a balancer that leaves a node at 1.6 without saying that one segment makes it so.

use super::FloorCause;
use super::fair_share::Placement;
use super::finding::{DimensionView, is_stuck};
use crate::model::{Component, CopyIndex, NodeIndex, Snapshot};
use crate::units::{Load, Ratio};

/// The highest of the simple lower bounds on the worst pressure of a component with these copies.
pub fn floor(
    snapshot: &Snapshot,
    view: &DimensionView<'_>,
    component: &Component,
    copies: &[CopyIndex],
    placement: &Placement,
) -> (Ratio, FloorCause) {
    let candidates = [
        base_load(snapshot, view, component, copies, placement),
        largest_segment(snapshot, view, copies),
        pigeonhole(snapshot, view, component, copies),
    ];
    let mut best = (average(view, component), FloorCause::Average);
    for candidate in candidates.into_iter().flatten() {
        if candidate.0 > best.0 {
            best = candidate;
        }
    }
    best
}

/// The copies on the nodes of each component, by component.
pub fn copies_by_component(snapshot: &Snapshot, placement: &Placement) -> Vec<Vec<CopyIndex>> {
    let mut copies = vec![Vec::new(); snapshot.components.len()];
    for copy in snapshot.copies.indices() {
        if let Some(component) = snapshot.node(placement.node[copy.at()]).component {
            copies[component.at()].push(copy);
        }
    }
    copies
}

/// Total load over total fair share: 1 but for rounding, and 0 without load.
fn average(view: &DimensionView<'_>, component: &Component) -> Ratio {
    let any_load = component.nodes.iter().any(|node| view.loads.load[node.at()] > Load::ZERO);
    if any_load { Ratio::ONE } else { Ratio::ZERO }
}

/// What a node carries that moves cannot change.
fn base_load(
    snapshot: &Snapshot,
    view: &DimensionView<'_>,
    component: &Component,
    copies: &[CopyIndex],
    placement: &Placement,
) -> Option<(Ratio, FloorCause)> {
    let mut stuck = view.dimension.base_load.clone();
    for copy in copies {
        if is_stuck(snapshot, placement, *copy) {
            let node = placement.node[copy.at()].at();
            stuck[node] = stuck[node].saturating_add(view.dimension.copy_load[copy.at()]);
        }
    }
    let worst = component
        .nodes
        .iter()
        .filter_map(|node| Some((view.loads.pressure_with(*node, stuck[node.at()])?, *node)))
        .max_by_key(|(pressure, node)| (*pressure, std::cmp::Reverse(*node)))?;
    Some((worst.0, FloorCause::BaseLoad { node: snapshot.node(worst.1).id }))
}

/// The largest segment must be on some node of its replica, together with that node's base load.
fn largest_segment(
    snapshot: &Snapshot,
    view: &DimensionView<'_>,
    copies: &[CopyIndex],
) -> Option<(Ratio, FloorCause)> {
    let mut largest: Vec<Option<CopyIndex>> = vec![None; snapshot.replicas.len()];
    for copy in copies {
        let slot = &mut largest[snapshot.copies.replica[copy.at()].at()];
        if slot.is_none_or(|known| view.dimension.copy_load[copy.at()] > view.dimension.copy_load[known.at()])
        {
            *slot = Some(*copy);
        }
    }
    let mut worst: Option<(Ratio, FloorCause)> = None;
    for copy in largest.into_iter().flatten() {
        let replica = snapshot.replica(snapshot.copies.replica[copy.at()]);
        let at_best = usable(replica)
            .filter_map(|node| {
                let load =
                    view.dimension.base_load[node.at()].saturating_add(view.dimension.copy_load[copy.at()]);
                view.loads.pressure_with(node, load)
            })
            .min();
        let Some(at_best) = at_best else { continue };
        if worst.as_ref().is_none_or(|(pressure, _)| at_best > *pressure) {
            worst =
                Some((at_best, FloorCause::LargestSegment { segment: snapshot.copies.segment[copy.at()] }));
        }
    }
    worst
}

/// Of the `m × n + 1` largest segments of a replica with `n` nodes, some node must take `m + 1`: at least the
/// smallest `m + 1` of them, on the node with the largest fair share.
fn pigeonhole(
    snapshot: &Snapshot,
    view: &DimensionView<'_>,
    component: &Component,
    copies: &[CopyIndex],
) -> Option<(Ratio, FloorCause)> {
    let mut loads: Vec<Vec<u64>> = vec![Vec::new(); snapshot.replicas.len()];
    for copy in copies {
        loads[snapshot.copies.replica[copy.at()].at()].push(view.dimension.copy_load[copy.at()].0);
    }
    let mut worst: Option<(Ratio, FloorCause)> = None;
    for replica in &component.replicas {
        let mut sorted = std::mem::take(&mut loads[replica.at()]);
        sorted.sort_unstable_by(|left, right| right.cmp(left));
        let nodes: Vec<NodeIndex> = usable(snapshot.replica(*replica)).collect();
        let largest_share = nodes.iter().filter_map(|node| view.loads.fair[node.at()]).max();
        let Some(share) = largest_share else { continue };
        let mut sums = vec![0_u64];
        for load in &sorted {
            sums.push(sums[sums.len() - 1].saturating_add(*load));
        }
        for per_node in 1..=sorted.len().saturating_sub(1) / nodes.len() {
            let taken = per_node * nodes.len() + 1;
            let smallest = sums[taken] - sums[taken - (per_node + 1)];
            let pressure = Ratio::of(smallest, share.0);
            if worst.as_ref().is_none_or(|(known, _)| pressure > *known) {
                worst = Some((pressure, FloorCause::Pigeonhole { segments: taken, nodes: nodes.len() }));
            }
        }
    }
    worst
}

fn usable(replica: &crate::model::Replica) -> impl Iterator<Item = NodeIndex> + '_ {
    replica.members.iter().filter(|member| member.standing.is_usable()).map(|member| member.node)
}
