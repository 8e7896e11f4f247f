//! The descent: the worst node gives away what relieves it most per byte, until another is worse, and so on until
//! nothing that moves alone pays.
//!
//! The potential is convex, so what a copy is worth only falls while its node is relieved: a list that was sorted once
//! is good for many moves, as long as each is looked at again before it is made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::order::Way;
use super::search::{LEAST_GAIN, Search};
use super::source::{By, Source};
use crate::model::{CopyIndex, NodeIndex};

/// A node is left when this part of its potential is gone: by then another may be the worst. A sixteenth of the
/// potential is a quarter of the excess.
const DONE_AT: f64 = 0.0625;
/// What destinations may suffer of what their sources gain. At first nothing: a move that has to be answered by others costs
/// their bytes, too. Then this: where several dimensions disagree hardly anybody takes anything for nothing, and load has to
/// flow over several nodes. Measured: without the gentle beginning plans of large clusters move 6 % more bytes; with
/// less than this, exchanges must do the rest, and those are dear.
const TOLERANCE: f64 = 0.75;
/// That is tried again while what is left becomes less than this part of what it was: those that were stuck could
/// use what others have given away meanwhile.
const AGAIN: f64 = 0.7;
/// A node that was stuck is looked at again when its potential is so many times as large: what arrived meanwhile hardly
/// helps it, and looking is dear.
const WORSE: f64 = 1.1;
/// Copies that are offered to all nodes of a large set in one look at a source. Others are offered to the emptiest only.
const WIDELY: usize = 4;

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
    /// Whether nothing was taken off them yet.
    pub is_new: bool,
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
            is_new: true,
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
        } else if !search.field.is_inside(to) && search.is_above_enter(to) {
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
            if let Some(source) = &mut self.held[way.from.at()] {
                source.is_stale = true;
            }
            if let Some(source) = &mut self.held[way.to.at()] {
                source.add(search, way.copy);
            }
            self.notice(search, way.to);
        }
    }

    fn push(&mut self, search: &Search<'_>, node: NodeIndex) {
        let potential = search.field.potential_of(node);
        if !search.field.is_inside(node) && search.rules.may_give(node) {
            // The bits of numbers that are not negative have the numbers' order.
            self.heap.push((potential.to_bits(), Reverse(node)));
        }
    }
}

/// Takes load off the worst source until no source has a move that pays and does less harm than good, first those that do
/// none. Ends early when so many moves are made. Answers with the sources that are stuck above their band.
pub fn descend(search: &mut Search<'_>, sources: &mut Sources, most_moves: usize) -> Vec<NodeIndex> {
    let mut moves = 0;
    let mut left = f64::INFINITY;
    let mut tolerance = if sources.is_new { 0.0 } else { TOLERANCE };
    sources.is_new = false;
    loop {
        sources.begin_again(search);
        let stuck = pass(search, sources, tolerance, (&mut moves, most_moves));
        let potential: f64 = stuck.iter().map(|node| search.field.potential_of(*node)).sum();
        let is_over = stuck.is_empty() || moves >= most_moves || search.is_spent();
        if is_over || (tolerance > 0.0 && potential > left * AGAIN) {
            return stuck;
        }
        (tolerance, left) = (TOLERANCE, potential);
    }
}

/// The same with one tolerance. Who was stuck is not looked at again before it is worse.
fn pass(
    search: &mut Search<'_>,
    sources: &mut Sources,
    tolerance: f64,
    (moves, most_moves): (&mut usize, usize),
) -> Vec<NodeIndex> {
    let mut stuck: Vec<NodeIndex> = Vec::new();
    let mut stuck_at: Vec<f64> = vec![0.0; sources.is_known.len()];
    while let Some((known, Reverse(node))) = sources.heap.pop() {
        let potential = search.field.potential_of(node);
        if search.field.is_inside(node) {
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
        let round = relieve(search, sources, node, tolerance, (moves, most_moves));
        if *moves >= most_moves {
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
    tolerance: f64,
    (moves, most_moves): (&mut usize, usize),
) -> Round {
    let source = sources.held[node.at()].take();
    let mut source = source.unwrap_or_else(|| Box::new(Source::of(search, node)));
    let goal = search.field.potential_of(node) * DONE_AT;
    source.forget_gone(search);
    let mut is_passed = vec![false; source.copies.len()];
    let mut is_gone: Option<Vec<bool>> = None;
    let mut by = By::GainPerByte;
    let mut passed = 0;
    let round = loop {
        let batch = source.best(search, &is_passed, by);
        if batch.is_empty() {
            break Round::Stuck;
        }
        let (moves_before, slant) = (*moves, source.slant(search));
        for at in batch {
            if by == By::GainPerByte && source.has_turned(search, &slant) {
                break;
            }
            is_passed[at] = true;
            let (copy, loads) = (source.copies[at], source.loads(at));
            // It may have left by an exchange, and one that came back is named twice.
            if search.field.node_of[copy.at()] != node {
                continue;
            }
            let relief = search.field.relief(copy, loads, node);
            let worth = (relief - LEAST_GAIN).min(relief * tolerance + search.fee(copy) + LEAST_GAIN);
            let found = if passed < WIDELY {
                search.best_destination(copy, loads, worth)
            } else {
                search.near_destination(copy, loads, worth)
            };
            let Some(to) = found else {
                passed += 1;
                continue;
            };
            make(search, sources, copy, to);
            is_gone.get_or_insert_with(|| vec![false; is_passed.len()])[at] = true;
            *moves += 1;
            if *moves >= most_moves || search.field.potential_of(node) <= goal {
                break;
            }
        }
        let left = search.field.potential_of(node);
        if search.field.is_inside(node) {
            break Round::Inside;
        }
        if left <= goal || *moves >= most_moves {
            break Round::Better;
        }
        let is_stuck = *moves == moves_before;
        if search.is_spent() || (is_stuck && by == By::Smallness) {
            break Round::Stuck;
        }
        by = if is_stuck { By::Smallness } else { By::GainPerByte };
    };
    if let Some(is_gone) = is_gone {
        source.forget(&is_gone);
    }
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
