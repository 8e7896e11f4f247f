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
const BATCH: usize = 32;
/// What destinations may suffer of what their sources gain. Where several dimensions disagree, hardly anybody takes
/// anything for nothing, and load has to flow over several nodes; a destination that suffers nothing is preferred in any
/// case. Measured: with less, plans move more bytes and take longer, because exchanges must do the rest.
const TOLERANCE: f64 = 0.75;
/// A node that was stuck is looked at again when its potential is so many times as large: what arrived meanwhile hardly
/// helps it, and looking is dear.
const WORSE: f64 = 1.1;
/// So many looks at all of them a node with many may need.
const LOOKS: usize = 16;
/// Copies that are offered to all nodes of a large set in one look at a source. Others are offered to the emptiest only.
const WIDELY: usize = 4;
/// The movable copies of a node, side by side.
pub struct Source {
    node: NodeIndex,
    copies: Vec<CopyIndex>,
    bytes: Vec<f64>,
    /// What it costs that they leave, kept beside them: the columns of the snapshot are too far apart to be read once for
    /// every look.
    fees: Vec<f64>,
    /// Their loads in the dimensions about whole nodes, one after the other.
    loads: Vec<f64>,
    width: usize,
}

impl Source {
    /// Of a node at this moment.
    pub fn of(search: &mut Search<'_>, node: NodeIndex) -> Source {
        let mut source = Source::empty(node, search.field.width());
        for copy in search.copies_on(node) {
            source.add(search, copy);
        }
        source
    }

    fn empty(node: NodeIndex, width: usize) -> Source {
        let (copies, bytes, fees, loads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Source { node, copies, bytes, fees, loads, width }
    }

    /// Of all nodes that are `wanted`, by node, in one pass over all copies: going from node to node would go through all
    /// of the memory as often.
    fn of_all(search: &Search<'_>, wanted: &[bool]) -> Vec<Option<Box<Source>>> {
        let width = search.field.width();
        let empty = |(at, wanted): (usize, &bool)| {
            wanted.then(|| Box::new(Source::empty(NodeIndex::from_position(at), width)))
        };
        let mut all: Vec<Option<Box<Source>>> = wanted.iter().enumerate().map(empty).collect();
        for (position, node) in search.field.node_of.iter().enumerate() {
            if let Some(source) = &mut all[node.at()] {
                source.add(search, CopyIndex::from_position(position));
            }
        }
        all
    }

    fn add(&mut self, search: &Search<'_>, copy: CopyIndex) {
        if search.is_free(copy) {
            self.copies.push(copy);
            self.bytes.push(search.bytes(copy));
            self.fees.push(search.fee(copy));
            search.field.loads_of(copy, &mut self.loads);
        }
    }

    /// Drops what is not there any more.
    fn forget_gone(&mut self, search: &Search<'_>) {
        let mut kept = 0;
        for at in 0..self.copies.len() {
            if search.field.node_of[self.copies[at].at()] == self.node {
                self.copies[kept] = self.copies[at];
                self.bytes[kept] = self.bytes[at];
                self.fees[kept] = self.fees[at];
                self.loads.copy_within(at * self.width..(at + 1) * self.width, kept * self.width);
                kept += 1;
            }
        }
        self.copies.truncate(kept);
        self.bytes.truncate(kept);
        self.fees.truncate(kept);
        self.loads.truncate(kept * self.width);
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
        let mut is_useful = vec![false; count];
        for node in nodes.iter().filter(|node| search.rules.may_give(**node)) {
            is_useful[node.at()] = true;
        }
        sources.held = Source::of_all(search, &is_useful);
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

/// Takes load off the worst source until no source has a move that pays and does less harm than good. Ends early when so
/// many moves are made. Answers with the sources that are stuck above their band.
pub fn descend(search: &mut Search<'_>, sources: &mut Sources, most_moves: usize) -> Vec<NodeIndex> {
    let mut stuck: Vec<NodeIndex> = Vec::new();
    let mut moves = 0;
    let mut stuck_at: Vec<f64> = vec![0.0; sources.is_known.len()];
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
        if potential < stuck_at[node.at()] * WORSE {
            continue;
        }
        let round = relieve(search, sources, node, (&mut moves, most_moves));
        if moves >= most_moves {
            break;
        }
        match round {
            Round::Inside => {}
            Round::Better => sources.push(search, node),
            Round::Stuck => {
                stuck.push(node);
                stuck_at[node.at()] = search.field.potential_of(node);
            }
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
    (moves, most_moves): (&mut usize, usize),
) -> Round {
    let source = sources.held[node.at()].take();
    let mut source = source.unwrap_or_else(|| Box::new(Source::of(search, node)));
    let goal = search.field.potential_of(node) * DONE_AT;
    source.forget_gone(search);
    let mut is_passed = vec![false; source.copies.len()];
    let mut fits = true;
    let mut passed = 0;
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
            // It may have left by an exchange, and one that came back is named twice.
            if search.field.node_of[copy.at()] != node {
                is_passed[at] = true;
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
            let worth = gain.min(relief * TOLERANCE + search.fee(copy));
            let found = if passed < WIDELY {
                search.best_destination(copy, loads, worth)
            } else {
                search.near_destination(copy, loads, worth)
            };
            let Some(to) = found else {
                passed += 1;
                is_passed[at] = true;
                continue;
            };
            make(search, sources, copy, to);
            is_passed[at] = true;
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
        if is_passed.get(at) == Some(&true) {
            continue;
        }
        let gain = search.field.relief(*copy, source.loads(at), source.node) - LEAST_GAIN;
        if gain > source.fees[at] {
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
    let batch = BATCH.max(source.copies.len() / LOOKS);
    if scored.len() > batch {
        scored.select_nth_unstable_by(batch, order);
        scored.truncate(batch);
    }
    scored.sort_unstable_by(order);
    scored
}
