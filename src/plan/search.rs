//! The search for moves: takes load off the worst node, the most relief per byte first, until no move pays. It never
//! looks at all segments, only at those of nodes that have too much, and at each of those as seldom as it can.

use super::fair_share::Placement;
use super::field::Field;
use super::finding::DimensionView;
use super::order::Way;
use super::rules::{Candidate, Rules};
use super::unit::common_divisor;
use super::windows::Windows;
use crate::gate::Restrictions;
use crate::model::{CopyIndex, NodeIndex, PlanningInput};
use crate::reason::Reason;

/// A step must gain more than this: a square of the millionths in which pressure is told. It also ends all searches,
/// whatever the last digit of a sum was.
pub const LEAST_GAIN: f64 = 1e-12;

/// The state of a search.
pub struct Search<'a> {
    /// Everything that is known.
    pub input: &'a PlanningInput,
    /// Loads and places as they are after the moves chosen so far.
    pub field: Field<'a>,
    /// What must not be.
    pub rules: Rules<'a>,
    /// Where each copy counts at the beginning.
    pub origin: &'a [NodeIndex],
    /// Moves that were made, in all.
    pub changes: u64,
    /// Copies that were moved at any time; they may be where they were again.
    pub moved: Vec<CopyIndex>,
    /// By copy: whether it is among those.
    was_moved: Vec<bool>,
    /// Copies on a node, for nodes that anybody asked about; may name copies that have left since.
    on_node: Vec<Option<Vec<CopyIndex>>>,
    /// Whether such a list names just what is there, by node.
    is_tidy: Vec<bool>,
    /// The emptiest members of large sets.
    pub windows: Windows,
    /// Whether what was chosen is carried out as it was chosen: in another order, or without a part of it, it might not be
    /// allowed.
    is_kept: bool,
    /// The moves in the order in which they were chosen, those of a swap or a chain together.
    pub chosen: Vec<Vec<Way>>,
    /// What bytes are counted in here.
    byte_unit: u64,
    price_per_byte: f64,
    price_per_move: f64,
    effort_left: u64,
}

impl<'a> Search<'a> {
    /// The cluster as it will be when what is in flight has landed.
    pub fn new(
        input: &'a PlanningInput,
        views: &'a [DimensionView<'a>],
        placement: &'a Placement,
        restrictions: &'a Restrictions,
    ) -> Search<'a> {
        let snapshot = &input.snapshot;
        let field = Field::new(snapshot, views, placement);
        let rules = Rules::new(input, restrictions, &field.node_of, &placement.in_flight);
        // In units, for the same reason as loads: a plan must not depend on what bytes are counted in.
        let byte_unit = common_divisor(snapshot.copies.bytes.iter().map(|bytes| bytes.0));
        let all_bytes: u128 = snapshot.copies.bytes.iter().map(|bytes| u128::from(bytes.0 / byte_unit)).sum();
        #[allow(clippy::cast_precision_loss)]
        let fair_bytes = (all_bytes as f64 / snapshot.nodes.len().max(1) as f64).max(1.0);
        Search {
            input,
            windows: Windows::new(field.sets.len(), field.width()),
            field,
            rules,
            origin: &placement.node,
            changes: 0,
            byte_unit,
            moved: Vec::new(),
            was_moved: vec![false; snapshot.copies.len()],
            on_node: vec![None; snapshot.nodes.len()],
            is_tidy: vec![true; snapshot.nodes.len()],
            is_kept: restrictions.keeper.is_some(),
            chosen: Vec::new(),
            price_per_byte: input.plan.price_per_fair_share.decimal() / fair_bytes,
            price_per_move: input.plan.price_per_move.decimal(),
            effort_left: input.plan.effort,
        }
    }

    /// Candidates evaluated so far.
    pub fn effort_used(&self) -> u64 {
        self.input.plan.effort - self.effort_left
    }

    /// Whether the budget of candidates is used up.
    pub fn is_spent(&self) -> bool {
        self.effort_left == 0
    }

    /// Counts candidates; false when there is no budget left for any.
    pub fn spend(&mut self, candidates: usize) -> bool {
        let could = self.effort_left > 0;
        self.effort_left = self.effort_left.saturating_sub(candidates as u64);
        could
    }

    /// The bytes of a copy, and at least one: what has none costs something all the same.
    pub fn bytes(&self, copy: CopyIndex) -> f64 {
        decimal((self.input.snapshot.copies.bytes[copy.at()].0 / self.byte_unit).max(1))
    }

    /// What moving a copy costs in potential.
    pub fn price(&self, copy: CopyIndex) -> f64 {
        let bytes = self.input.snapshot.copies.bytes[copy.at()].0 / self.byte_unit;
        self.price_per_byte * decimal(bytes) + self.price_per_move
    }

    /// What a copy's leaving the node where it is now costs: nothing if it is on a journey already.
    pub fn fee(&self, copy: CopyIndex) -> f64 {
        if self.origin[copy.at()] == self.field.node_of[copy.at()] { self.price(copy) } else { 0.0 }
    }

    /// What a copy's going to a node costs: nothing more if it is on a journey already, and less than nothing if it
    /// comes home.
    pub fn cost(&self, copy: CopyIndex, to: NodeIndex) -> f64 {
        let (home, here) = (self.origin[copy.at()], self.field.node_of[copy.at()]);
        match (here == home, to == home) {
            (true, false) => self.price(copy),
            (false, true) => -self.price(copy),
            _ => 0.0,
        }
    }

    /// The set of nodes between which a copy may move.
    pub fn set_of(&self, copy: CopyIndex) -> usize {
        self.field.sets.set_of(self.input.snapshot.copies.replica[copy.at()])
    }

    /// The copy's going to a node, seen from where it is at the beginning.
    pub fn candidate(&self, copy: CopyIndex, to: NodeIndex) -> Candidate {
        Candidate { copy, from: self.origin[copy.at()], to }
    }

    /// Whether a copy may go to a node; it may always go home.
    pub fn may_enter(&self, copy: CopyIndex, to: NodeIndex) -> bool {
        if to == self.origin[copy.at()] {
            return self.rules.may_return(copy, to);
        }
        self.rules.may_enter(&self.candidate(copy, to))
    }

    /// Whether copies may go where they are to go together: those for the same node fit into it as one.
    pub fn may_enter_together(&self, ways: &[Way]) -> bool {
        let arrives = |way: &Way| way.to != self.origin[way.copy.at()];
        let fits = |way: &Way| {
            let same = ways.iter().filter(|other| other.to == way.to && arrives(other));
            let bytes = same.map(|other| self.input.snapshot.copies.bytes[other.copy.at()]).sum();
            !arrives(way) || self.rules.has_room(way.to, bytes)
        };
        ways.iter().all(|way| self.may_enter(way.copy, way.to)) && (ways.len() == 1 || ways.iter().all(fits))
    }

    /// Forgets which nodes were the emptiest.
    pub fn look_afresh(&mut self) {
        self.windows = Windows::new(self.field.sets.len(), self.field.width());
    }

    /// Whether what was chosen is carried out as it was chosen.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Whether a copy may move, as things are after the moves chosen so far.
    pub fn is_free(&self, copy: CopyIndex) -> bool {
        let has_moved = self.is_kept() && self.origin[copy.at()] != self.field.node_of[copy.at()];
        !has_moved && self.rules.is_free(copy)
    }

    /// Chooses a move, or several that belong together.
    pub fn choose(&mut self, ways: &[Way]) {
        for way in ways {
            self.put(way.copy, way.to);
        }
        if self.is_kept() {
            self.chosen.push(ways.to_vec());
        }
    }

    /// Puts a copy on a node.
    pub fn put(&mut self, copy: CopyIndex, to: NodeIndex) {
        let from = self.field.node_of[copy.at()];
        self.rules.count(copy, from, false);
        self.rules.count(copy, to, true);
        self.field.shift(copy, to);
        self.changes += 1;
        self.is_tidy[from.at()] = false;
        self.is_tidy[to.at()] = false;
        self.windows.used(self.set_of(copy));
        if let Some(copies) = &mut self.on_node[to.at()] {
            copies.push(copy);
        }
        if !std::mem::replace(&mut self.was_moved[copy.at()], true) {
            self.moved.push(copy);
        }
    }

    /// Puts a copy on a node to see what that would change; it must be put back before anything else is asked.
    pub fn put_for_now(&mut self, copy: CopyIndex, to: NodeIndex) {
        let from = self.field.node_of[copy.at()];
        self.rules.count(copy, from, false);
        self.rules.count(copy, to, true);
        self.field.shift(copy, to);
    }

    /// Takes a copy off its node to see what would be best for it; it must be set down before anything else is asked.
    pub fn lift(&mut self, copy: CopyIndex) {
        self.rules.count(copy, self.field.node_of[copy.at()], false);
        self.field.lift(copy);
    }

    /// Puts a copy down that was lifted.
    pub fn set_down(&mut self, copy: CopyIndex, on: NodeIndex) {
        self.rules.count(copy, on, true);
        self.field.set_down(copy, on);
    }

    /// Copies that are not where they were at the beginning, in the order in which they first left.
    pub fn away(&self) -> Vec<CopyIndex> {
        let is_away = |copy: &&CopyIndex| self.field.node_of[copy.at()] != self.origin[copy.at()];
        self.moved.iter().filter(is_away).copied().collect()
    }

    /// Learns which copies are on these nodes; one pass over all of them, for as many nodes as may be needed.
    pub fn list(&mut self, nodes: &[NodeIndex]) {
        if nodes.iter().all(|node| self.on_node[node.at()].is_some()) {
            return;
        }
        let copies = self.field.copies_by_node();
        let mut is_new = vec![false; self.on_node.len()];
        for node in nodes {
            if self.on_node[node.at()].is_none() {
                is_new[node.at()] = true;
                self.on_node[node.at()] = Some(Vec::with_capacity(copies[node.at()]));
            }
        }
        for (position, node) in self.field.node_of.iter().enumerate() {
            if is_new[node.at()]
                && let Some(copies) = &mut self.on_node[node.at()]
            {
                copies.push(CopyIndex::from_position(position));
            }
        }
    }

    /// The copies on a node, by index.
    pub fn copies_on(&mut self, node: NodeIndex) -> Vec<CopyIndex> {
        self.list(&[node]);
        let here = |copy: &CopyIndex| self.field.node_of[copy.at()] == node;
        let Some(copies) = &mut self.on_node[node.at()] else { return Vec::new() };
        if !std::mem::replace(&mut self.is_tidy[node.at()], true) {
            copies.retain(here);
            // A copy that left and came back is named twice.
            copies.sort_unstable();
            copies.dedup();
        }
        copies.clone()
    }

    /// The node of a copy's set that would bear it best: the least potential added, and of those that add none the
    /// one that it would fill least. Nothing when none takes it for less than `worth`.
    pub fn best_destination(&mut self, copy: CopyIndex, loads: &[f64], worth: f64) -> Option<NodeIndex> {
        self.near_destination(copy, loads, worth).or_else(|| {
            let is_large = self.field.sets.members(self.set_of(copy)).len() > Windows::SIZE;
            if is_large { self.best_of(copy, loads, worth, None) } else { None }
        })
    }

    /// The same, of large sets only among the emptiest.
    pub fn near_destination(&mut self, copy: CopyIndex, loads: &[f64], worth: f64) -> Option<NodeIndex> {
        let set = self.set_of(copy);
        if self.field.sets.members(set).len() <= Windows::SIZE {
            return self.best_of(copy, loads, worth, None);
        }
        let view = self.field.heaviest(loads, self.field.node_of[copy.at()]);
        self.windows.refresh(set, view, &self.field, &self.rules);
        self.best_of(copy, loads, worth, Some(view))
    }

    /// The same, among the emptiest of a large set in a dimension or among all.
    fn best_of(
        &mut self,
        copy: CopyIndex,
        loads: &[f64],
        worth: f64,
        near: Option<usize>,
    ) -> Option<NodeIndex> {
        let set = self.set_of(copy);
        let nodes: &[NodeIndex] = match near {
            Some(view) => self.windows.of(set, view),
            None => self.field.sets.members(set),
        };
        let (here, home, price) = (self.field.node_of[copy.at()], self.origin[copy.at()], self.price(copy));
        let mut best: Option<(f64, f64, NodeIndex)> = None;
        for node in nodes {
            if *node == here {
                continue;
            }
            // The same as `cost`, which is too dear to be asked a million times.
            let cost = if here == home {
                price
            } else if *node == home {
                -price
            } else {
                0.0
            };
            let burden = self.field.burden(copy, loads, *node) + cost;
            if burden >= worth || best.is_some_and(|(least, ..)| burden > least) {
                continue;
            }
            if !self.may_enter(copy, *node) {
                continue;
            }
            let filling = self.field.filling(copy, loads, *node);
            let is_better = best.is_none_or(|(least, filled, _)| burden < least || filling < filled);
            if is_better {
                best = Some((burden, filling, *node));
            }
        }
        let looked_at = nodes.len();
        if !self.spend(looked_at) {
            return None;
        }
        best.map(|(.., node)| node)
    }

    /// Where a copy that must go does least harm; it need not pay. Or why it cannot go.
    pub fn best_place(&mut self, copy: CopyIndex) -> Result<NodeIndex, Reason> {
        let here = self.field.node_of[copy.at()];
        if let Some(reason) = self.rules.blocked_source(here).or_else(|| self.rules.blocked_copy(copy)) {
            return Err(reason);
        }
        let mut loads = Vec::new();
        self.field.loads_of(copy, &mut loads);
        if self.is_spent() {
            return Err(Reason::EffortSpent);
        }
        if let Some(to) = self.best_destination(copy, &loads, f64::INFINITY) {
            return Ok(to);
        }
        let members = self.field.sets.members(self.set_of(copy)).iter();
        let others = members.filter(|node| **node != here);
        let mut reasons =
            others.filter_map(|node| self.rules.blocked_destination(&self.candidate(copy, *node)));
        Err(reasons.next().unwrap_or(Reason::NoDestination))
    }

    /// Why a copy must not go to a node, whoever says so.
    pub fn why_not(&self, copy: CopyIndex, to: NodeIndex) -> Option<Reason> {
        self.rules.blocked_destination(&self.candidate(copy, to))
    }

    /// Whether a node counts as overloaded in any dimension after the moves chosen so far.
    pub fn is_above_enter(&self, node: NodeIndex) -> bool {
        self.field.views.iter().enumerate().any(|(at, view)| {
            let load = self.field.unscaled(at, self.field.cell(at, node).load);
            let pressure = view.loads.pressure_with(node, load);
            pressure.is_some_and(|pressure| pressure > view.dimension.settings.enter)
                && view.too_little_to_matter(node, load).is_none()
        })
    }
}

/// As a number to calculate with; what is lost of more than 2⁵³ bytes nobody misses.
#[allow(clippy::cast_precision_loss)]
pub fn decimal(amount: u64) -> f64 {
    amount as f64
}
