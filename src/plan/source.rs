//! What a node has to give: its movable copies, side by side, and in which order they are offered.

use super::field::{Cell, Field};
use super::search::{LEAST_GAIN, Search};
use crate::model::{CopyIndex, NodeIndex};

/// Copies that are worked through between two looks at all of them.
const BATCH: usize = 32;
/// So many looks at all of them a node with many may need.
const LOOKS: usize = 16;
/// What a record of a copy has before its loads: its bytes, and what it costs that it leaves.
const BEFORE_LOADS: usize = 2;
/// The order of copies holds while the excesses of their node keep their proportions as well as this.
const TURNED: f64 = 0.5;

/// The movable copies of a node, side by side.
pub struct Source {
    node: NodeIndex,
    /// Which.
    pub copies: Vec<CopyIndex>,
    /// What there is to know of each, one after the other: its bytes, what it costs that it leaves, and its loads in the
    /// dimensions about whole nodes. The columns of the snapshot are too far apart to be read once for every look.
    records: Vec<f64>,
    width: usize,
    /// Whether some of them may be somewhere else by now.
    pub is_stale: bool,
}

impl Source {
    /// Of a node at this moment.
    pub fn of(search: &mut Search<'_>, node: NodeIndex) -> Source {
        // Where one node was forgotten, others of its component will be: one pass over all copies is for all of them.
        if let Some(component) = search.input.snapshot.node(node).component {
            search.list(&search.input.snapshot.components[component.at()].nodes);
        }
        let copies = search.copies_on(node);
        let mut source = Source::empty(node, search.field.width(), copies.len());
        for copy in copies {
            source.add(search, copy);
        }
        source
    }

    fn empty(node: NodeIndex, width: usize, room: usize) -> Source {
        Source {
            node,
            copies: Vec::with_capacity(room),
            records: Vec::with_capacity(room * (BEFORE_LOADS + width)),
            width,
            is_stale: false,
        }
    }

    /// Of all nodes that are `wanted`, by node, in one pass over all copies: going from node to node would go through all
    /// of the memory as often.
    pub fn of_all(search: &Search<'_>, wanted: &[bool]) -> Vec<Option<Box<Source>>> {
        let width = search.field.width();
        if !wanted.contains(&true) {
            return wanted.iter().map(|_| None).collect();
        }
        let room = search.field.copies_by_node();
        let empty = |(at, wanted): (usize, &bool)| {
            wanted.then(|| Box::new(Source::empty(NodeIndex::from_position(at), width, room[at])))
        };
        let mut all: Vec<Option<Box<Source>>> = wanted.iter().enumerate().map(empty).collect();
        for (position, node) in search.field.node_of.iter().enumerate() {
            if let Some(source) = &mut all[node.at()] {
                source.add(search, CopyIndex::from_position(position));
            }
        }
        all
    }

    /// One more, that is on the node now.
    pub fn add(&mut self, search: &Search<'_>, copy: CopyIndex) {
        if search.is_free(copy) {
            self.copies.push(copy);
            self.records.push(search.bytes(copy));
            self.records.push(search.fee(copy));
            search.field.loads_of(copy, &mut self.records);
        }
    }

    /// Drops what is not there any more. What is known to be there is not asked about: where each of so many copies is lies
    /// far apart in memory.
    pub fn forget_gone(&mut self, search: &Search<'_>) {
        if std::mem::take(&mut self.is_stale) {
            let is_here = |copy: &CopyIndex| search.field.node_of[copy.at()] == self.node;
            let is_gone: Vec<bool> = self.copies.iter().map(|copy| !is_here(copy)).collect();
            self.forget(&is_gone);
        }
    }

    /// Drops what has gone, by place.
    pub fn forget(&mut self, is_gone: &[bool]) {
        let stride = BEFORE_LOADS + self.width;
        let mut kept = 0;
        for (at, is_gone) in is_gone.iter().enumerate() {
            if !is_gone {
                self.copies[kept] = self.copies[at];
                self.records.copy_within(at * stride..(at + 1) * stride, kept * stride);
                kept += 1;
            }
        }
        self.copies.truncate(kept);
        self.records.truncate(kept * stride);
    }

    /// What a copy weighs in the dimensions about whole nodes.
    pub fn loads(&self, at: usize) -> &[f64] {
        let stride = BEFORE_LOADS + self.width;
        &self.records[at * stride + BEFORE_LOADS..(at + 1) * stride]
    }

    /// The copies that relieve the node and pay their price, the best first, by place. Of those that relieve it about as
    /// much per byte the largest come first: few moves are quieter than many.
    pub fn best(&self, search: &mut Search<'_>, is_passed: &[bool], by: By) -> Vec<usize> {
        if !search.spend(self.copies.len()) {
            return Vec::new();
        }
        let leaving = Leaving::of(&search.field, self.node);
        let mut scored: Vec<Key> = Vec::new();
        let records = self.records.chunks_exact(BEFORE_LOADS + self.width);
        for (at, (copy, record)) in self.copies.iter().zip(records).enumerate() {
            if is_passed[at] {
                continue;
            }
            let (bytes, fee) = (record[0], record[1]);
            let (relief, steepness) = leaving.by(*copy, &record[BEFORE_LOADS..]);
            if relief - LEAST_GAIN > fee {
                scored.push(key(by, steepness / bytes, bytes, at));
            }
        }
        let batch = BATCH.max(self.copies.len() / LOOKS);
        if scored.len() > batch {
            scored.select_nth_unstable(batch);
            scored.truncate(batch);
        }
        scored.sort_unstable();
        scored.into_iter().map(place).collect()
    }

    /// The excesses of the node, for [`Source::has_turned`].
    pub fn slant(&self, search: &Search<'_>) -> Vec<f64> {
        search.field.row(self.node).iter().map(|cell| cell.excess(cell.load)).collect()
    }

    /// Whether the node has too much of other things than it had then, so that others of its copies may be the best.
    pub fn has_turned(&self, search: &Search<'_>, then: &[f64]) -> bool {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for (cell, then) in search.field.row(self.node).iter().zip(then) {
            if *then > 0.0 {
                let left = cell.excess(cell.load) / then;
                (least, most) = (least.min(left), most.max(left));
            }
        }
        least < most * TURNED
    }
}

/// The cells of a node, prepared for many questions about what leaves it.
struct Leaving<'a> {
    field: &'a Field<'a>,
    node: NodeIndex,
    cells: Vec<(Cell, f64)>,
}

impl<'a> Leaving<'a> {
    fn of(field: &'a Field<'a>, node: NodeIndex) -> Leaving<'a> {
        let cells = field.row(node).iter().map(|cell| (*cell, cell.potential(cell.load))).collect();
        Leaving { field, node, cells }
    }

    /// What a copy relieves the node by, and how steeply.
    #[inline]
    fn by(&self, copy: CopyIndex, loads: &[f64]) -> (f64, f64) {
        if self.field.has_scoped() {
            let field = self.field;
            return (field.relief(copy, loads, self.node), field.steepness(copy, loads, self.node));
        }
        let (mut relief, mut steepness) = (0.0, 0.0);
        for ((cell, potential), load) in self.cells.iter().zip(loads) {
            relief += potential - cell.potential(cell.load - load);
            steepness += cell.steepness(*load);
        }
        (relief, steepness)
    }
}

/// By what copies are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// What they gain per byte.
    GainPerByte,
    /// The smallest: where the best do not fit anywhere, they may.
    Smallness,
}

/// Sorts copies, the best first: by steepness in steps of about a tenth, by bytes, and by place.
type Key = (u64, u64, usize);

fn key(by: By, steepness: f64, bytes: f64, at: usize) -> Key {
    // The bits of numbers that are not negative have the numbers' order: the exponent and eight steps inside it.
    let steep = steepness.to_bits() >> (f64::MANTISSA_DIGITS - 1 - 3);
    match by {
        By::GainPerByte => (!steep, !bytes.to_bits(), at),
        By::Smallness => (0, bytes.to_bits(), at),
    }
}

fn place((.., at): Key) -> usize {
    at
}
