//! What helps when no single move does: a move that burdens its destination, a swap, in which the node that takes a
//! copy gives another one back, and a chain, in which it gives one on to a third node. Close to the floor most of what is
//! left to gain is of this kind.
//!
//! Trying all pairs takes the product of what two nodes hold. So of every node only a sample is tried: what has most of
//! one kind of load beside the others, because such copies are what nodes with different wants exchange, and some of
//! every size, because what must be exchanged is a difference.

use super::field::Cell;
use super::order::Way;
use super::search::{LEAST_GAIN, Search};
use crate::model::{CopyIndex, NodeIndex};

/// Copies of the stuck node that are tried first in an exchange.
const TRIED: usize = 24;
/// Nodes that could take one, the emptiest first.
const PARTNERS: usize = 16;
/// Copies of a node of each kind that it could give in an exchange: so many of each dimension, and so many sizes.
const OF_EACH_KIND: usize = 12;
/// Exchanges that one look may make: the best it found, each weighed again before it is made.
const AT_ONCE: usize = 8;
/// Chains are looked for among fewer: copies of the node, partners, copies of a partner, and third nodes.
const CHAINED: (usize, usize, usize, usize) = (6, 4, 12, 3);

/// What the nodes have to exchange, as far as anybody asked.
pub struct Exchanges {
    samples: Vec<Option<Sample>>,
    /// How many changes had been made when nothing was found for a node.
    failed_at: Vec<Option<u64>>,
}

/// Some copies of a node, and their loads in the dimensions about whole nodes, one after the other.
#[derive(Clone, Default)]
struct Sample {
    copies: Vec<CopyIndex>,
    loads: Vec<f64>,
}

impl Sample {
    fn loads(&self, at: usize, width: usize) -> &[f64] {
        &self.loads[at * width..(at + 1) * width]
    }

    /// Of what is on a node now.
    fn of(search: &mut Search<'_>, node: NodeIndex) -> Sample {
        let here: Vec<CopyIndex> =
            search.copies_on(node).into_iter().filter(|copy| search.is_free(*copy)).collect();
        search.spend(here.len());
        let width = search.field.width();
        let mut loads = Vec::with_capacity(here.len() * width);
        here.iter().for_each(|copy| search.field.loads_of(*copy, &mut loads));
        let chosen = chosen_of(search, &here, &loads);
        let mut sample = Sample::default();
        for at in chosen {
            sample.copies.push(here[at]);
            sample.loads.extend_from_slice(&loads[at * width..(at + 1) * width]);
        }
        sample
    }

    /// Whether most of it is still there.
    fn is_fresh(&self, search: &Search<'_>, node: NodeIndex) -> bool {
        let here = self.copies.iter().filter(|copy| search.field.node_of[copy.at()] == node).count();
        !self.copies.is_empty() && here * 4 >= self.copies.len() * 3
    }
}

/// Which of these copies make a sample, by place: all when they are few.
fn chosen_of(search: &Search<'_>, copies: &[CopyIndex], loads: &[f64]) -> Vec<usize> {
    let width = search.field.width();
    if copies.len() <= OF_EACH_KIND * (width + 1) {
        return (0..copies.len()).collect();
    }
    let mut chosen = Vec::new();
    let mut order: Vec<usize> = (0..copies.len()).collect();
    let mut by = |score: &dyn Fn(usize) -> f64, step: bool| {
        order.sort_unstable_by(|left, right| score(*right).total_cmp(&score(*left)).then(left.cmp(right)));
        let step = if step { copies.len().div_ceil(OF_EACH_KIND) } else { 1 };
        chosen.extend(order.iter().step_by(step).take(OF_EACH_KIND));
    };
    for view in 0..width {
        // The part that the dimension has in all its loads, each as a part of what a node has; of those alike the large.
        let unit: Vec<f64> = (0..width).map(|view| search.field.typical_slope(view)).collect();
        let part = |at: usize| {
            let own = &loads[at * width..(at + 1) * width];
            let all: f64 = own.iter().zip(&unit).map(|(load, unit)| load * unit).sum();
            let load = own[view] * unit[view];
            if all > 0.0 { load / all * load.sqrt() } else { 0.0 }
        };
        by(&part, false);
    }
    by(&|at| search.bytes(copies[at]), true);
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

impl Exchanges {
    /// For so many nodes.
    pub fn new(nodes: usize) -> Exchanges {
        Exchanges { samples: vec![None; nodes], failed_at: vec![None; nodes] }
    }

    /// Looks for moves that help a stuck node together, and chooses the best of them. None when there are none.
    pub fn improve(&mut self, search: &mut Search<'_>, node: NodeIndex) -> Vec<Way> {
        let state = search.changes;
        // What helped nobody as things are now need not be tried again.
        if self.failed_at[node.at()] == Some(state)
            || !search.rules.may_give(node)
            || search.field.is_inside(node)
        {
            return Vec::new();
        }
        let found = self.look(search, node);
        let mut made = Vec::new();
        for (at, (value, ways)) in found.into_iter().enumerate() {
            let is_there = ways.iter().all(|way| search.field.node_of[way.copy.at()] == way.from);
            let worst = search.field.potential_of(node);
            // The first is as it was looked at.
            let is_as_good = at == 0
                || is_there
                    && played(search, worst, &ways).is_some_and(|gain| {
                        gain > LEAST_GAIN && gain / bytes_of(search, &ways) * 2.0 > value
                    })
                    && search.may_enter_together(&ways);
            if is_as_good {
                search.choose(&ways);
                made.extend(ways);
            }
        }
        if made.is_empty() {
            self.failed_at[node.at()] = Some(state);
        }
        made
    }

    fn sample(&mut self, search: &mut Search<'_>, node: NodeIndex) -> Sample {
        match self.samples[node.at()].take() {
            Some(sample) if sample.is_fresh(search, node) => sample,
            _ => Sample::of(search, node),
        }
    }

    /// The best exchanges, with what they gain per byte.
    fn look(&mut self, search: &mut Search<'_>, node: NodeIndex) -> Vec<(f64, Vec<Way>)> {
        let mut look = Look { node, worst: search.field.potential_of(node), best: Vec::new() };
        let own = self.sample(search, node);
        let firsts = most_relieving(search, &own, node);
        let mut partners: Vec<(usize, Vec<NodeIndex>)> = Vec::new();
        for at in &firsts {
            let set = search.set_of(own.copies[*at]);
            if !partners.iter().any(|(known, _)| *known == set) {
                let nodes = emptiest(search, set, node, PARTNERS);
                partners.push((set, nodes));
            }
        }
        for (set, nodes) in &partners {
            for partner in nodes {
                let theirs = if search.rules.may_give(*partner) {
                    self.sample(search, *partner)
                } else {
                    Sample::default()
                };
                for at in &firsts {
                    if search.set_of(own.copies[*at]) == *set {
                        look.exchange(search, (&own, *at), *partner, &theirs);
                    }
                }
                self.samples[partner.at()] = Some(theirs);
            }
        }
        if look.best.is_empty() {
            for (set, nodes) in &partners {
                for partner in nodes.iter().take(CHAINED.1) {
                    let theirs = self.samples[partner.at()].clone().unwrap_or_default();
                    for at in firsts.iter().take(CHAINED.0) {
                        if search.set_of(own.copies[*at]) == *set {
                            look.chain(search, (&own, *at), *partner, &theirs);
                        }
                    }
                }
            }
        }
        self.samples[node.at()] = Some(own);
        look.best
    }
}

/// One look for what helps a node.
struct Look {
    node: NodeIndex,
    /// Nothing that helps may make another node worse than this one was.
    worst: f64,
    /// What was found, with what it gains per byte, the best first; of each copy of the node the best.
    best: Vec<(f64, Vec<Way>)>,
}

impl Look {
    fn keep_better(&mut self, search: &Search<'_>, gain: f64, ways: &[Way]) {
        if gain <= LEAST_GAIN {
            return;
        }
        let value = gain / bytes_of(search, ways);
        let is_full = self.best.len() == AT_ONCE;
        if is_full && self.best.last().is_some_and(|(least, _)| *least >= value)
            || self.best.iter().any(|(known, own)| own[0].copy == ways[0].copy && *known >= value)
            || !search.may_enter_together(ways)
        {
            return;
        }
        self.best.retain(|(_, own)| own[0].copy != ways[0].copy);
        let at = self.best.partition_point(|(known, _)| *known >= value);
        self.best.insert(at, (value, ways.to_vec()));
        self.best.truncate(AT_ONCE);
    }

    /// A copy of the node for nothing, or for one of the partner's.
    fn exchange(
        &mut self,
        search: &mut Search<'_>,
        (own, at): (&Sample, usize),
        partner: NodeIndex,
        theirs: &Sample,
    ) {
        let (node, copy, width) = (self.node, own.copies[at], search.field.width());
        if search.field.node_of[copy.at()] != node || !search.may_enter(copy, partner) {
            return;
        }
        if !search.spend(1 + theirs.copies.len()) {
            return;
        }
        let away = Way { copy, from: node, to: partner };
        let leaving = own.loads(at, width);
        let scoped = search.field.has_scoped();
        let gain = search.field.relief(copy, leaving, node)
            - search.field.burden(copy, leaving, partner)
            - search.cost(copy, partner);
        self.keep_better(search, gain, &[away]);
        let rows = (search.field.row(node), search.field.row(partner));
        let before = sum(rows.0, |cell, _| cell.potential(cell.load))
            + sum(rows.1, |cell, _| cell.potential(cell.load));
        let mut found: Vec<(f64, Way)> = Vec::new();
        let mut most = 0.0;
        for (back, second) in theirs.copies.iter().enumerate() {
            let coming = theirs.loads(back, width);
            let theirs_after =
                sum(rows.1, |cell, view| cell.potential(cell.load + leaving[view] - coming[view]));
            let own_after =
                sum(rows.0, |cell, view| cell.potential(cell.load - leaving[view] + coming[view]));
            let gain = before - own_after - theirs_after;
            if !scoped && (gain <= LEAST_GAIN || theirs_after > self.worst) {
                continue;
            }
            let is_there = search.field.node_of[second.at()] == partner;
            let fits = search.field.sets.members(search.set_of(*second)).binary_search(&node).is_ok();
            if !is_there || !fits || *second == copy || !search.is_free(*second) {
                continue;
            }
            let way = Way { copy: *second, from: partner, to: node };
            let gain = gain - search.cost(copy, partner) - search.cost(*second, node);
            let value = gain / (search.bytes(copy) + search.bytes(*second));
            if scoped || (gain > LEAST_GAIN && value > most) {
                most = most.max(value);
                found.push((gain, way));
            }
        }
        for (gain, back) in found.into_iter().rev() {
            let gain = if scoped { played(search, self.worst, &[away, back]) } else { Some(gain) };
            let Some(gain) = gain else { continue };
            self.keep_better(search, gain, &[away, back]);
        }
    }

    /// A copy of the node to a partner, which gives one on to a third node.
    fn chain(
        &mut self,
        search: &mut Search<'_>,
        (own, at): (&Sample, usize),
        partner: NodeIndex,
        theirs: &Sample,
    ) {
        let (node, copy, width) = (self.node, own.copies[at], search.field.width());
        if search.field.node_of[copy.at()] != node || !search.may_enter(copy, partner) {
            return;
        }
        let away = Way { copy, from: node, to: partner };
        let first_gain = gain_of(search, &away);
        search.put_for_now(copy, partner);
        let mut seconds: Vec<(f64, usize)> = Vec::new();
        for (at, second) in theirs.copies.iter().enumerate() {
            if *second == copy || search.field.node_of[second.at()] != partner || !search.is_free(*second) {
                continue;
            }
            let relief = search.field.relief(*second, theirs.loads(at, width), partner);
            if relief + first_gain > LEAST_GAIN {
                seconds.push((relief / search.bytes(*second), at));
            }
        }
        search.spend(theirs.copies.len());
        seconds.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        let mut found: Vec<(f64, Way)> = Vec::new();
        for (_, at) in seconds.into_iter().take(CHAINED.2) {
            let second = theirs.copies[at];
            for third in emptiest(search, search.set_of(second), partner, CHAINED.3) {
                if third == node || !search.spend(1) {
                    continue;
                }
                let on = Way { copy: second, from: partner, to: third };
                let gain = first_gain + gain_of(search, &on);
                if gain > LEAST_GAIN {
                    found.push((gain, on));
                }
            }
        }
        search.put_for_now(copy, node);
        for (_, on) in found {
            if let Some(gain) = played(search, self.worst, &[away, on]) {
                self.keep_better(search, gain, &[away, on]);
            }
        }
    }
}

/// What several moves gain together, their prices taken off; nothing when a node is worse for it than the worst was.
fn played(search: &mut Search<'_>, worst: f64, ways: &[Way]) -> Option<f64> {
    let mut gain = 0.0;
    for way in ways {
        gain += gain_of(search, way);
        search.put_for_now(way.copy, way.to);
    }
    let nodes = ways.iter().flat_map(|way| [way.from, way.to]);
    let worst_after = nodes.map(|node| search.field.potential_of(node)).fold(0.0, f64::max);
    for way in ways.iter().rev() {
        search.put_for_now(way.copy, way.from);
    }
    (worst_after <= worst).then_some(gain)
}

fn bytes_of(search: &Search<'_>, ways: &[Way]) -> f64 {
    ways.iter().map(|way| search.bytes(way.copy)).sum()
}

#[inline]
fn sum(row: &[Cell], of: impl Fn(&Cell, usize) -> f64) -> f64 {
    row.iter().enumerate().map(|(view, cell)| of(cell, view)).sum()
}

/// What a move gains now, its price taken off.
fn gain_of(search: &Search<'_>, way: &Way) -> f64 {
    let mut loads = Vec::new();
    search.field.loads_of(way.copy, &mut loads);
    search.field.relief(way.copy, &loads, way.from)
        - search.field.burden(way.copy, &loads, way.to)
        - search.cost(way.copy, way.to)
}

/// The copies of a sample that relieve their node most per byte, by place.
fn most_relieving(search: &Search<'_>, sample: &Sample, node: NodeIndex) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> = Vec::new();
    for (at, copy) in sample.copies.iter().enumerate() {
        if search.field.node_of[copy.at()] != node || !search.is_free(*copy) {
            continue;
        }
        let relief = search.field.relief(*copy, sample.loads(at, search.field.width()), node);
        if relief > 0.0 {
            scored.push((relief / search.bytes(*copy), at));
        }
    }
    scored.sort_unstable_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    scored.into_iter().take(TRIED).map(|(_, at)| at).collect()
}

/// The nodes of a set, the emptiest first.
fn emptiest(search: &Search<'_>, set: usize, from: NodeIndex, most: usize) -> Vec<NodeIndex> {
    let members = search.field.sets.members(set).iter();
    let others = members.filter(|node| **node != from && search.rules.may_take(**node));
    let mut nodes: Vec<(f64, NodeIndex)> =
        others.map(|node| (search.field.fullness_beside(*node, from), *node)).collect();
    let order = |left: &(f64, NodeIndex), right: &(f64, NodeIndex)| {
        left.0.total_cmp(&right.0).then(left.1.cmp(&right.1))
    };
    if nodes.len() > most {
        nodes.select_nth_unstable_by(most, order);
        nodes.truncate(most);
    }
    nodes.sort_unstable_by(order);
    nodes.into_iter().map(|(_, node)| node).collect()
}
