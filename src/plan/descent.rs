//! The descent: the worst node gives away what relieves it most per byte, until another is worse, and so on until
//! nothing that moves alone pays.
//!
//! The potential is convex, so what a copy is worth only falls while its node is relieved: a list that was sorted once
//! is good for many moves, as long as each is looked at again before it is made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::order::Way;
use super::search::{LEAST_GAIN, Search};
use crate::model::{CopyIndex, NodeIndex};

/// A node is left when this part of its potential is gone: by then another may be the worst. A quarter of the
/// potential is half of the excess.
const DONE_AT: f64 = 0.25;
/// Copies that are worked through between two looks at all of them.
const BATCH: usize = 64;
/// The movable copies of a node, side by side.
pub struct Source {
    node: NodeIndex,
    copies: Vec<CopyIndex>,
    bytes: Vec<f64>,
    /// Their loads in the dimensions about whole nodes, one after the other.
    loads: Vec<f64>,
    width: usize,
}

impl Source {
    /// Of a node at this moment.
    pub fn of(search: &mut Search<'_>, node: NodeIndex) -> Source {
        let mut source = Source {
            node,
            copies: Vec::new(),
            bytes: Vec::new(),
            loads: Vec::new(),
            width: search.field.width(),
        };
        for copy in search.copies_on(node) {
            source.add(search, copy);
        }
        source
    }

    fn add(&mut self, search: &Search<'_>, copy: CopyIndex) {
        if search.is_free(copy) {
            self.copies.push(copy);
            self.bytes.push(search.bytes(copy));
            search.field.loads_of(copy, &mut self.loads);
        }
    }

    /// How much a copy relieves the node per byte, in steps of about a tenth.
    fn steepness(&self, search: &Search<'_>, at: usize) -> u64 {
        let steepness = search.field.steepness(self.copies[at], self.loads(at), self.node) / self.bytes[at];
        // The bits of numbers that are not negative have the numbers' order: the exponent and eight steps inside it.
        steepness.to_bits() >> (f64::MANTISSA_DIGITS - 1 - 3)
    }

    fn loads(&self, at: usize) -> &[f64] {
        &self.loads[at * self.width..(at + 1) * self.width]
    }
}

/// How far a node was relieved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    /// It is inside its band.
    Inside,
    /// It is better, and another may be worse now.
    Better,
    /// No move pays.
    Stuck,
}

/// Nodes that have too much.
pub struct Sources {
    heap: BinaryHeap<(u64, Reverse<NodeIndex>)>,
    is_known: Vec<bool>,
    /// All of them, in the order in which they became known.
    pub nodes: Vec<NodeIndex>,
    /// What each has to give, by node.
    held: Vec<Option<Box<Source>>>,
}

impl Sources {
    /// These nodes.
    pub fn new(search: &mut Search<'_>, nodes: &[NodeIndex]) -> Sources {
        let count = search.input.snapshot.nodes.len();
        let mut sources = Sources {
            heap: BinaryHeap::new(),
            is_known: vec![false; count],
            nodes: Vec::new(),
            held: std::iter::repeat_with(|| None).take(count).collect(),
        };
        let useful: Vec<NodeIndex> =
            nodes.iter().copied().filter(|node| search.rules.may_give(*node)).collect();
        search.list(&useful);
        for node in nodes {
            sources.add(search, *node);
        }
        sources
    }

    /// One more.
    pub fn add(&mut self, search: &Search<'_>, node: NodeIndex) {
        if !std::mem::replace(&mut self.is_known[node.at()], true) {
            self.nodes.push(node);
            self.push(search, node);
        }
    }

    /// Whether a node is among them.
    pub fn knows(&self, node: NodeIndex) -> bool {
        self.is_known[node.at()]
    }

    /// Something has come to a node: it may have too much now.
    pub fn notice(&mut self, search: &Search<'_>, to: NodeIndex) {
        if self.is_known[to.at()] {
            self.push(search, to);
        } else if search.field.potential_of(to) > 0.0 && search.is_above_enter(to) {
            self.add(search, to);
        }
    }

    /// All of them once more: something else than the descent has moved copies.
    pub fn begin_again(&mut self, search: &Search<'_>) {
        self.heap.clear();
        for node in 0..self.nodes.len() {
            self.push(search, self.nodes[node]);
        }
    }

    /// Something else than the descent has moved these copies.
    pub fn learn(&mut self, search: &Search<'_>, ways: &[Way]) {
        for way in ways {
            if let Some(source) = &mut self.held[way.to.at()] {
                source.add(search, way.copy);
            }
            self.notice(search, way.to);
        }
    }

    fn push(&mut self, search: &Search<'_>, node: NodeIndex) {
        let potential = search.field.potential_of(node);
        if potential > 0.0 && search.rules.may_give(node) {
            // The bits of numbers that are not negative have the numbers' order.
            self.heap.push((potential.to_bits(), Reverse(node)));
        }
    }
}

/// Takes load off the worst source until no source has a move that pays and burdens nobody. Ends early when so many
/// moves are made. Answers with the sources that are stuck above their band: others only fill up meanwhile, so that
/// what was stuck once stays so.
///
/// A destination may suffer so much of the source's relief: nothing as long as there are others, because what is put
/// there has to leave again.
pub fn descend(
    search: &mut Search<'_>,
    sources: &mut Sources,
    tolerance: f64,
    most_moves: usize,
) -> Vec<NodeIndex> {
    let mut stuck: Vec<NodeIndex> = Vec::new();
    let mut moves = 0;
    while let Some((known, Reverse(node))) = sources.heap.pop() {
        let potential = search.field.potential_of(node);
        if potential == 0.0 {
            continue;
        }
        if search.is_spent() {
            stuck.push(node);
            continue;
        }
        if potential.to_bits() != known {
            sources.push(search, node);
            continue;
        }
        let round = relieve(search, sources, node, tolerance, (&mut moves, most_moves));
        if moves >= most_moves {
            break;
        }
        match round {
            Round::Inside => {}
            Round::Better => sources.push(search, node),
            Round::Stuck => stuck.push(node),
        }
    }
    stuck.sort_unstable();
    stuck.dedup();
    stuck
}

/// One look at a source.
fn relieve(
    search: &mut Search<'_>,
    sources: &mut Sources,
    node: NodeIndex,
    tolerance: f64,
    (moves, most_moves): (&mut usize, usize),
) -> Round {
    let source = sources.held[node.at()].take();
    let source = source.unwrap_or_else(|| Box::new(Source::of(search, node)));
    let goal = search.field.potential_of(node) * DONE_AT;
    let mut is_passed = vec![false; source.copies.len()];
    let mut fits = true;
    let round = loop {
        // Where the best do not fit anywhere, the smallest may.
        let by = if fits { By::GainPerByte } else { By::Smallness };
        let batch = candidates(search, &source, &is_passed, by);
        if batch.is_empty() {
            break Round::Stuck;
        }
        let moves_before = *moves;
        let cut = batch[batch.len() - 1].steepness;
        let mut is_first = true;
        for Scored { at, .. } in batch {
            let at = at as usize;
            let (copy, loads) = (source.copies[at], source.loads(at));
            // One that left and came back is named twice.
            if search.field.node_of[copy.at()] != node {
                continue;
            }
            let relief = search.field.relief(copy, loads, node);
            let gain = relief - LEAST_GAIN;
            let is_worth_it = gain > search.fee(copy);
            let now = if is_worth_it { source.steepness(search, at) } else { 0 };
            if by == By::GainPerByte && now < cut && !is_first {
                // Others, outside this batch, may be better by now.
                break;
            }
            is_first = false;
            let worth = gain.min(relief * tolerance + search.fee(copy));
            let Some((to, _)) = search.best_destination(copy, loads, worth) else {
                is_passed[at] = true;
                continue;
            };
            make(search, sources, copy, to);
            *moves += 1;
            if *moves >= most_moves || search.field.potential_of(node) <= goal {
                break;
            }
        }
        let left = search.field.potential_of(node);
        if left == 0.0 {
            break Round::Inside;
        }
        if left <= goal || *moves >= most_moves {
            break Round::Better;
        }
        if search.is_spent() || (!fits && *moves == moves_before) {
            break Round::Stuck;
        }
        fits = *moves > moves_before;
    };
    sources.held[node.at()] = Some(source);
    round
}

/// Makes a move. A large segment can overload the node that takes it; what small ones can do about that belongs into
/// this plan, not into the next.
fn make(search: &mut Search<'_>, sources: &mut Sources, copy: CopyIndex, to: NodeIndex) {
    let from = search.field.node_of[copy.at()];
    search.choose(&[Way { copy, from, to }]);
    sources.learn(search, &[Way { copy, from, to }]);
}

/// By what candidates are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    GainPerByte,
    Smallness,
}

/// A copy that relieves its node and pays its price.
#[derive(Clone, Copy)]
struct Scored {
    steepness: u64,
    bytes: f64,
    at: u32,
}

/// The copies that relieve a source and pay their price, the best first. Of those that relieve it about as much per
/// byte the largest come first: few moves are quieter than many.
fn candidates(search: &mut Search<'_>, source: &Source, is_passed: &[bool], by: By) -> Vec<Scored> {
    let mut scored: Vec<Scored> = Vec::new();
    for (at, copy) in source.copies.iter().enumerate() {
        if is_passed.get(at) == Some(&true) || search.field.node_of[copy.at()] != source.node {
            continue;
        }
        let gain = search.field.relief(*copy, source.loads(at), source.node) - LEAST_GAIN;
        if gain > search.fee(*copy) {
            let steepness = source.steepness(search, at);
            #[allow(clippy::cast_possible_truncation)] // there are not as many copies
            scored.push(Scored { steepness, bytes: source.bytes[at], at: at as u32 });
        }
    }
    if !search.spend(source.copies.len()) {
        return Vec::new();
    }
    let order = |left: &Scored, right: &Scored| {
        let larger_first = right.bytes.total_cmp(&left.bytes);
        let first = match by {
            By::GainPerByte => right.steepness.cmp(&left.steepness).then(larger_first),
            By::Smallness => larger_first.reverse(),
        };
        first.then(left.at.cmp(&right.at))
    };
    if scored.len() > BATCH {
        scored.select_nth_unstable_by(BATCH, order);
        scored.truncate(BATCH);
    }
    scored.sort_unstable_by(order);
    scored
}
