//! Floors: how even a component can get at best, whatever is moved. Printed beside every plan, because nobody
//! believes a balancer that leaves a node at 1.6 without saying that one segment makes it so.

use super::FloorCause;
use super::fair_share::Placement;
use super::finding::{DimensionView, is_stuck};
use super::member_sets::MemberSets;
use super::share::Share;
use crate::model::{Component, CopyIndex, NodeIndex, Snapshot};
use crate::units::{Load, Ratio};

/// Segments are counted into pigeonholes up to so many on a node. Beyond, a floor is less than a twentieth above an even
/// spread, which is inside any band.
const MOST_PER_HOLE: u64 = 20;

/// The highest of the simple lower bounds on the worst pressure, by dimension and component.
pub fn floors(
    snapshot: &Snapshot,
    views: &[DimensionView<'_>],
    placement: &Placement,
) -> Vec<Vec<(Ratio, FloorCause)>> {
    let sets = MemberSets::of(&snapshot.replicas, |_| true);
    views.iter().map(|view| Floors::of(snapshot, view, placement, &sets).by_component()).collect()
}

/// What one look at all copies tells about a dimension.
struct Floors<'a> {
    snapshot: &'a Snapshot,
    view: &'a DimensionView<'a>,
    sets: &'a MemberSets,
    /// What moves cannot change, by node.
    stuck: Vec<Load>,
    /// The largest movable copy of each set.
    largest: Vec<Option<CopyIndex>>,
    /// Loads of movable copies that are large beside a fair share, by set.
    large: Vec<Vec<u64>>,
}

impl<'a> Floors<'a> {
    fn of(
        snapshot: &'a Snapshot,
        view: &'a DimensionView<'a>,
        placement: &Placement,
        sets: &'a MemberSets,
    ) -> Floors<'a> {
        let mut floors = Floors {
            snapshot,
            view,
            sets,
            stuck: view.dimension.base_load.clone(),
            largest: vec![None; sets.len()],
            large: vec![Vec::new(); sets.len()],
        };
        let share_of = |set: usize| floors.largest_share(set).map_or(u64::MAX, Share::units);
        // Smaller ones fill no hole above the share that so many of them have.
        let least: Vec<u64> = (0..sets.len()).map(|set| share_of(set) / (MOST_PER_HOLE + 1)).collect();
        for copy in snapshot.copies.indices() {
            let load = view.dimension.copy_load[copy.at()];
            let node = placement.node[copy.at()];
            if is_stuck(snapshot, placement, copy) {
                let stuck = &mut floors.stuck[node.at()];
                *stuck = stuck.saturating_add(load);
                continue;
            }
            let set = sets.set_of(snapshot.copies.replica[copy.at()]);
            let largest = &mut floors.largest[set];
            if largest.is_none_or(|known| load > view.dimension.copy_load[known.at()]) {
                *largest = Some(copy);
            }
            if load.0 > least[set] {
                floors.large[set].push(load.0);
            }
        }
        floors
    }

    fn largest_share(&self, set: usize) -> Option<Share> {
        self.sets.members(set).iter().filter_map(|node| self.view.loads.share(*node)).max()
    }

    fn by_component(&self) -> Vec<(Ratio, FloorCause)> {
        let components = &self.snapshot.components;
        let mut all: Vec<(Ratio, FloorCause)> =
            components.iter().map(|component| (self.average(component), FloorCause::Average)).collect();
        for (component, best) in components.iter().zip(&mut all) {
            let mut sets: Vec<usize> =
                component.replicas.iter().map(|replica| self.sets.set_of(*replica)).collect();
            sets.sort_unstable();
            sets.dedup();
            let mut candidates: Vec<Option<(Ratio, FloorCause)>> = vec![self.base_load(component)];
            for set in sets {
                candidates.push(self.largest_segment(set));
                candidates.push(self.pigeonhole(set));
            }
            for candidate in candidates.into_iter().flatten() {
                if candidate.0 > best.0 {
                    *best = candidate;
                }
            }
        }
        all
    }

    /// The load of the nodes that have a share against what they share: 1 but for rounding, and less where something
    /// cannot come to them.
    fn average(&self, component: &Component) -> Ratio {
        let mut load: u128 = 0;
        let mut shares = Share::whole(0);
        for node in &component.nodes {
            if let Some(share) = self.view.loads.share(*node) {
                load += u128::from(self.view.loads.load[node.at()].0);
                shares = shares.saturating_add(share);
            }
        }
        let ratio = shares.pressure(Load(u64::try_from(load).unwrap_or(u64::MAX)));
        ratio.min(Ratio::ONE)
    }

    /// What a node carries that moves cannot change.
    fn base_load(&self, component: &Component) -> Option<(Ratio, FloorCause)> {
        let pressures = component
            .nodes
            .iter()
            .filter_map(|node| Some((self.view.loads.pressure_with(*node, self.stuck[node.at()])?, *node)));
        let (pressure, node) =
            pressures.max_by_key(|(pressure, node)| (*pressure, std::cmp::Reverse(*node)))?;
        Some((pressure, FloorCause::BaseLoad { node: self.snapshot.node(node).id }))
    }

    /// The largest segment must be on some node of its replica, together with that node's base load.
    fn largest_segment(&self, set: usize) -> Option<(Ratio, FloorCause)> {
        let copy = self.largest[set]?;
        let load = self.view.dimension.copy_load[copy.at()];
        if load == Load::ZERO {
            return None;
        }
        let with_it = |node: &NodeIndex| {
            let load = self.view.dimension.base_load[node.at()].saturating_add(load);
            // A node that takes no part bears it without any pressure.
            self.view.loads.pressure_with(*node, load).unwrap_or(Ratio::ZERO)
        };
        let at_best = self.sets.members(set).iter().map(with_it).min()?;
        Some((at_best, FloorCause::LargestSegment { segment: self.snapshot.copies.segment[copy.at()] }))
    }

    /// Of the `m × n + 1` largest segments of a set of `n` nodes, some node must take `m + 1`: at least the smallest
    /// `m + 1` of them, on the node with the largest fair share.
    fn pigeonhole(&self, set: usize) -> Option<(Ratio, FloorCause)> {
        let members = self.sets.members(set);
        if members.iter().any(|node| self.view.loads.share(*node).is_none()) {
            return None;
        }
        let share = self.largest_share(set)?;
        let mut sorted = self.large[set].clone();
        sorted.sort_unstable_by(|left, right| right.cmp(left));
        let mut sums = vec![0_u64; 1];
        for load in &sorted {
            sums.push(sums[sums.len() - 1].saturating_add(*load));
        }
        let nodes = members.len();
        let mut worst: Option<(Ratio, FloorCause)> = None;
        for per_node in 1..=sorted.len().saturating_sub(1) / nodes.max(1) {
            let taken = per_node * nodes + 1;
            let smallest = sums[taken] - sums[taken - (per_node + 1)];
            let pressure = share.pressure(Load(smallest));
            if worst.as_ref().is_none_or(|(known, _)| pressure > *known) {
                worst = Some((pressure, FloorCause::Pigeonhole { segments: taken, nodes }));
            }
        }
        worst
    }
}
