//! The best placement of a small component, by branch and bound: where a few segments are on a few nodes no local search
//! can be relied upon, and trying everything takes no longer than the local search would.

use super::search::{LEAST_GAIN, Search};
use crate::model::{ComponentIndex, CopyIndex, NodeIndex};

/// Placements that a component may have for all of them to be tried: ten segments on three nodes have 59,049, of which
/// nine in ten are never looked at.
const MOST_PLACEMENTS: u64 = 200_000;

/// Components with more copies are not even looked at: nobody has so many that must stay, and so few that may move.
const MOST_COPIES: usize = 64;

/// The components that could be small enough, of these.
pub fn small_of(search: &Search<'_>, components: Vec<ComponentIndex>) -> Vec<ComponentIndex> {
    let snapshot = &search.input.snapshot;
    let mut copies = vec![0_usize; snapshot.components.len()];
    for node in &search.field.node_of {
        if let Some(component) = snapshot.node(*node).component {
            copies[component.at()] += 1;
        }
    }
    components.into_iter().filter(|component| copies[component.at()] <= MOST_COPIES).collect()
}

/// Places the copies of a component as well as they can be placed, if it is so small that this can be known. True when
/// that is better than what it was.
pub fn perfect(search: &mut Search<'_>, component: ComponentIndex) -> bool {
    if search.is_kept() || search.is_spent() {
        return false;
    }
    let Some(free) = free_copies(search, component) else { return false };
    let mut price = 0.0;
    for copy in &free {
        if search.field.node_of[copy.at()] != search.origin[copy.at()] {
            price += search.price(*copy);
        }
    }
    let nodes = search.input.snapshot.components[component.at()].nodes.clone();
    let places: Vec<NodeIndex> = free.iter().map(|copy| search.field.node_of[copy.at()]).collect();
    let mut tree = Tree { nodes, free, place: places.clone(), best: None, least: 0.0 };
    tree.least = tree.potential(search) + price - LEAST_GAIN;
    for copy in &tree.free {
        search.lift(*copy);
    }
    tree.branch(search, 0, 0.0);
    for (copy, place) in tree.free.iter().zip(&places) {
        search.set_down(*copy, *place);
    }
    let Some(best) = tree.best else { return false };
    for (copy, to) in tree.free.iter().zip(best) {
        if search.field.node_of[copy.at()] != to {
            search.put(*copy, to);
        }
    }
    true
}

/// What may move in a component, the largest first; nothing when there is too much of it.
fn free_copies(search: &mut Search<'_>, component: ComponentIndex) -> Option<Vec<CopyIndex>> {
    let nodes = search.input.snapshot.components[component.at()].nodes.clone();
    search.list(&nodes);
    let mut placements: u64 = 1;
    let mut free = Vec::new();
    for node in nodes {
        if !search.rules.may_give(node) {
            continue;
        }
        for copy in search.copies_on(node) {
            let members = search.field.sets.members(search.set_of(copy)).len() as u64;
            if members < 2 || !search.is_free(copy) {
                continue;
            }
            placements = placements.saturating_mul(members);
            if placements > MOST_PLACEMENTS {
                return None;
            }
            free.push(copy);
        }
    }
    let largest = |copy: CopyIndex| {
        let mut loads = Vec::new();
        search.field.loads_of(copy, &mut loads);
        let part = |(view, load): (usize, &f64)| load * search.field.typical_slope(view);
        loads.iter().enumerate().map(part).fold(0.0, f64::max)
    };
    let mut scored: Vec<(f64, CopyIndex)> = free.into_iter().map(|copy| (largest(copy), copy)).collect();
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    Some(scored.into_iter().map(|(_, copy)| copy).collect())
}

/// The tree of placements. Above a branch the copies that are not placed yet count nowhere.
struct Tree {
    nodes: Vec<NodeIndex>,
    free: Vec<CopyIndex>,
    place: Vec<NodeIndex>,
    best: Option<Vec<NodeIndex>>,
    /// The objective that the next best must be below.
    least: f64,
}

impl Tree {
    fn potential(&self, search: &Search<'_>) -> f64 {
        self.nodes.iter().map(|node| search.field.potential_of(*node)).sum()
    }

    /// Tries all places of one copy, and below it of the others. Afterwards everything is as it was.
    fn branch(&mut self, search: &mut Search<'_>, at: usize, price: f64) {
        let Some(copy) = self.free.get(at).copied() else {
            let objective = self.potential(search) + price;
            if objective < self.least {
                self.least = objective - LEAST_GAIN;
                self.best = Some(self.place.clone());
            }
            return;
        };
        let base = search.origin[copy.at()];
        let set = search.set_of(copy);
        for member in 0..search.field.sets.members(set).len() {
            let to = search.field.sets.members(set)[member];
            if to != base && !search.may_enter(copy, to) || !search.spend(1) {
                continue;
            }
            search.set_down(copy, to);
            let price = price + if to == base { 0.0 } else { search.price(copy) };
            // What is not placed yet can only add to the potential.
            if price + self.potential(search) < self.least {
                self.place[at] = to;
                self.branch(search, at + 1, price);
            }
            search.lift(copy);
        }
    }
}
