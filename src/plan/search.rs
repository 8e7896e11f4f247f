//! The planner's picture of the cluster while it searches: loads as they would be after the moves chosen so far,
//! and the evaluation of one source's candidates.

use super::Move;
use super::destinations::Destinations;
use super::fair_share::Placement;
use super::finding::DimensionView;
use crate::gate::Restrictions;
use crate::model::milvus_score::Keeper;
use crate::model::{CopyIndex, NodeIndex, PlanningInput, Snapshot};
use crate::reason::Reason;
use crate::units::{Bytes, Load, NodeId, Ratio, SegmentId};

/// Potential: squared millionths of pressure, so 10⁻¹² each; weights multiply it.
type Potential = u128;

/// A copy that could go to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What goes.
    pub copy: CopyIndex,
    /// From where.
    pub from: NodeIndex,
    /// To where.
    pub to: NodeIndex,
}

/// What a look at one source gave.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The best move, which is worth its price.
    Found(Candidate),
    /// Nothing to be done, the main reason, and the move that came closest.
    Stuck {
        /// Why.
        reason: Reason,
        /// The closest.
        best: Option<Candidate>,
    },
}

/// The state of a search.
pub struct Search<'a> {
    input: &'a PlanningInput,
    views: &'a [DimensionView<'a>],
    restrictions: &'a Restrictions,
    pinned: Vec<bool>,
    /// What a dimension's potential counts, by dimension.
    weights: Vec<u64>,
    loads: Vec<Vec<Load>>,
    destinations: Destinations,
    room: Vec<Bytes>,
    copies_on: Vec<Vec<CopyIndex>>,
    /// Where each copy is after the moves chosen so far, by copy.
    node_of: Vec<NodeIndex>,
    /// What has arrived at each node by these moves, by limit and node.
    arrived: Vec<Vec<Load>>,
    in_flight: Vec<bool>,
    keeper: Option<Keeper>,
    fair_bytes: u64,
    effort_left: u64,
}

impl<'a> Search<'a> {
    /// The cluster as it will be when what is in flight has landed.
    pub fn new(
        input: &'a PlanningInput,
        views: &'a [DimensionView<'a>],
        placement: &Placement,
        restrictions: &'a Restrictions,
    ) -> Search<'a> {
        let snapshot = &input.snapshot;
        let room = snapshot.nodes.iter().map(|node| restrictions.room_of(node.id)).collect();
        let all_bytes: Bytes = snapshot.copies.bytes.iter().copied().sum();
        let weight =
            |view: &DimensionView<'_>| view.dimension.settings.weight.share_of(view.dimension.confidence.0);
        let nodes = (0..snapshot.nodes.len()).map(NodeIndex::from_position);
        let pressure = |node| views.iter().filter_map(|view| view.loads.pressure(node)).max();
        let pressures = nodes.map(|node| pressure(node).unwrap_or(Ratio::ZERO)).collect();
        Search {
            input,
            views,
            restrictions,
            pinned: pinned_copies(snapshot, restrictions),
            weights: views.iter().map(weight).collect(),
            loads: views.iter().map(|view| view.loads.load.clone()).collect(),
            destinations: Destinations::new(&snapshot.replicas, pressures),
            room,
            copies_on: placement.copies_by_node(snapshot.nodes.len()),
            node_of: placement.node.clone(),
            arrived: vec![vec![Load::ZERO; snapshot.nodes.len()]; restrictions.limits.len()],
            in_flight: placement.in_flight.clone(),
            keeper: restrictions.keeper.clone(),
            fair_bytes: (all_bytes.0 / snapshot.nodes.len().max(1) as u64).max(1),
            effort_left: input.plan.effort,
        }
    }

    /// Candidates evaluated so far.
    pub fn effort_used(&self) -> u64 {
        self.input.plan.effort - self.effort_left
    }

    /// What a node adds to the potential.
    pub fn potential_of(&self, node: NodeIndex) -> Potential {
        (0..self.views.len()).map(|at| self.potential_with(at, node, self.loads[at][node.at()])).sum()
    }

    fn potential_with(&self, at: usize, node: NodeIndex, load: Load) -> Potential {
        let excess = u128::from(self.views[at].excess_with(node, load));
        if excess == 0 {
            return 0;
        }
        let weight = u128::from(self.weights[at]);
        excess.saturating_mul(excess).saturating_mul(weight) / u128::from(Ratio::ONE.0)
    }

    /// The best move off a node.
    pub fn best_move(&mut self, from: NodeIndex) -> Outcome {
        if let Some(reason) = self.blocked_source(from) {
            return Outcome::Stuck { reason, best: None };
        }
        let mut best: Option<(i128, Candidate)> = None;
        let mut closest: Option<(i128, Candidate)> = None;
        let mut refused: Option<(Reason, Candidate)> = None;
        let mut blocked: Option<Reason> = None;
        let source_before = self.potential_of(from);
        let mut destinations = Vec::new();
        for position in 0..self.copies_on[from.at()].len() {
            let copy = self.copies_on[from.at()][position];
            if let Some(reason) = self.blocked_copy(copy) {
                blocked = Some(reason);
                continue;
            }
            let replica = self.input.snapshot.copies.replica[copy.at()];
            let after = |to| self.highest_pressure_after(&Candidate { copy, from, to });
            self.destinations.of(replica, from, after, &mut destinations);
            let (relief, price) = (self.relief(copy, from, source_before), self.price(copy));
            for to in destinations.iter().copied() {
                if self.effort_left == 0 {
                    return match best {
                        Some((_, candidate)) => Outcome::Found(candidate),
                        None => Outcome::Stuck { reason: Reason::EffortSpent, best: None },
                    };
                }
                self.effort_left -= 1;
                let candidate = Candidate { copy, from, to };
                if let Some(reason) = self.blocked_destination(&candidate) {
                    refused.get_or_insert((reason, candidate));
                    continue;
                }
                let gain = self.gain(&candidate, relief);
                let net = gain - price;
                let would_win = net > 0 && best.is_none_or(|known| self.is_better(net, &candidate, known));
                // The dearest question is asked last, about few.
                if would_win && let Some(reason) = self.would_be_undone(&candidate) {
                    refused.get_or_insert((reason, candidate));
                    continue;
                }
                if would_win {
                    best = Some((net, candidate));
                }
                if closest.is_none_or(|known| gain > known.0) {
                    closest = Some((gain, candidate));
                }
            }
        }
        match (best, closest, refused) {
            (Some((_, candidate)), _, _) => Outcome::Found(candidate),
            (None, Some((gain, candidate)), _) => {
                let reason = if gain > 0 { Reason::NotWorthItsPrice } else { Reason::NoImprovement };
                Outcome::Stuck { reason, best: Some(candidate) }
            }
            (None, None, Some((reason, candidate))) => Outcome::Stuck { reason, best: Some(candidate) },
            (None, None, None) => {
                Outcome::Stuck { reason: blocked.unwrap_or(Reason::NothingMovable), best: None }
            }
        }
    }

    /// More net gain; then fewer bytes; then the emptier destination; then the smaller ids.
    fn is_better(&self, net: i128, candidate: &Candidate, known: (i128, Candidate)) -> bool {
        if net != known.0 {
            return net > known.0;
        }
        let rank = |candidate: &Candidate| {
            let bytes = self.input.snapshot.copies.bytes[candidate.copy.at()];
            (bytes, self.highest_pressure_after(candidate), candidate.copy, candidate.to)
        };
        rank(candidate) < rank(&known.1)
    }

    fn highest_pressure_after(&self, candidate: &Candidate) -> Ratio {
        let after = |at: usize| {
            let load = self.loads[at][candidate.to.at()].saturating_add(self.load_of(at, candidate.copy));
            self.views[at].loads.pressure_with(candidate.to, load)
        };
        (0..self.views.len()).filter_map(after).max().unwrap_or(Ratio::ZERO)
    }

    fn highest_pressure(&self, node: NodeIndex) -> Ratio {
        (0..self.views.len()).map(|at| self.pressure(at, node)).max().unwrap_or(Ratio::ZERO)
    }

    fn load_of(&self, at: usize, copy: CopyIndex) -> Load {
        self.views[at].dimension.copy_load[copy.at()]
    }

    /// The source's potential with the copy and without it.
    fn relief(&self, copy: CopyIndex, from: NodeIndex, before: Potential) -> (Potential, Potential) {
        let mut after: Potential = 0;
        for at in 0..self.views.len() {
            let load = self.loads[at][from.at()].saturating_sub(self.load_of(at, copy));
            after = after.saturating_add(self.potential_with(at, from, load));
        }
        (before, after)
    }

    /// By how much the move lowers the potential, of which the source's is known; negative when it raises it.
    fn gain(&self, candidate: &Candidate, (mut before, mut after): (Potential, Potential)) -> i128 {
        let to = candidate.to;
        for at in 0..self.views.len() {
            let load = self.loads[at][to.at()];
            before = before.saturating_add(self.potential_with(at, to, load));
            let load = load.saturating_add(self.load_of(at, candidate.copy));
            after = after.saturating_add(self.potential_with(at, to, load));
        }
        let limit = |potential: Potential| i128::try_from(potential).unwrap_or(i128::MAX);
        limit(before) - limit(after)
    }

    /// What moving a copy costs, in potential (10⁻¹²): by its share of a node's bytes, and something for any move.
    fn price(&self, copy: CopyIndex) -> i128 {
        let share = Ratio::of(self.input.snapshot.copies.bytes[copy.at()].0, self.fair_bytes);
        let by_bytes = i128::from(self.input.plan.price_per_fair_share.0) * i128::from(share.0);
        by_bytes + i128::from(self.input.plan.price_per_move.0) * i128::from(Ratio::ONE.0)
    }

    fn blocked_source(&self, from: NodeIndex) -> Option<Reason> {
        let node = self.input.snapshot.node(from);
        if let Some(reason) = self.restrictions.leaving(node.id) {
            return Some(reason.clone());
        }
        if let Some(component) = node.component {
            let name = self.input.snapshot.components[component.at()].nodes.first();
            let frozen = name.and_then(|first| self.restrictions.components.get(&self.node_id(*first)));
            if let Some(reason) = frozen {
                return Some(reason.clone());
            }
        }
        self.restrictions.sources.get(&node.id).cloned()
    }

    fn blocked_copy(&self, copy: CopyIndex) -> Option<Reason> {
        let copies = &self.input.snapshot.copies;
        if self.in_flight[copy.at()] {
            return Some(Reason::InFlight);
        }
        if let Some(held) = copies.held[copy.at()] {
            return Some(Reason::Held { held });
        }
        if self.pinned[copy.at()] {
            return self.restrictions.copy_refusal(&self.input.snapshot, copy);
        }
        let radius = &self.restrictions.blast_radius;
        if radius.is_untouched() {
            return None;
        }
        let collection = self.input.snapshot.collection_of(copies.replica[copy.at()]).id;
        let (bytes, from) = (copies.bytes[copy.at()], self.node_id(copies.node[copy.at()]));
        radius.collection_refusal(collection, bytes).or_else(|| radius.node_refusal(from, bytes))
    }

    /// The node of this replica on which a segment is that must be kept apart from the copy, if `to` is one.
    fn kept_apart(&self, copy: CopyIndex, to: NodeIndex) -> Option<Reason> {
        let snapshot = &self.input.snapshot;
        let (segment, replica) = (snapshot.copies.segment[copy.at()], snapshot.copies.replica[copy.at()]);
        let sets = self.restrictions.apart.iter().filter(|set| set.contains(&segment));
        let mut others = sets.flatten().filter(|other| **other != segment);
        let is_there = |other: &SegmentId| {
            snapshot.copy_index(*other, replica).is_some_and(|other| self.node_of[other.at()] == to)
        };
        others.any(is_there).then(|| Reason::KeptApart { node: self.node_id(to) })
    }

    /// Whether a copy shares its node with one that it must be kept apart from.
    pub fn is_too_close(&self, copy: CopyIndex) -> bool {
        self.kept_apart(copy, self.node_of[copy.at()]).is_some()
    }

    /// Where a copy that must go does least harm: the least potential, then the least pressure, then the smaller id. It
    /// need not pay.
    pub fn best_place(&mut self, copy: CopyIndex) -> Outcome {
        let from = self.node_of[copy.at()];
        if let Some(reason) = self.blocked_source(from).or_else(|| self.blocked_copy(copy)) {
            return Outcome::Stuck { reason, best: None };
        }
        let mut destinations = Vec::new();
        let replica = self.input.snapshot.copies.replica[copy.at()];
        let after = |to| self.highest_pressure_after(&Candidate { copy, from, to });
        self.destinations.of(replica, from, after, &mut destinations);
        let mut best: Option<((i128, Ratio), Candidate)> = None;
        let mut refused: Option<(Reason, Candidate)> = None;
        for to in destinations {
            if self.effort_left == 0 {
                return Outcome::Stuck { reason: Reason::EffortSpent, best: None };
            }
            self.effort_left -= 1;
            let candidate = Candidate { copy, from, to };
            if let Some(reason) = self.blocked_destination(&candidate) {
                refused.get_or_insert((reason, candidate));
                continue;
            }
            let harm = (-self.gain(&candidate, (0, 0)), self.highest_pressure_after(&candidate));
            if best.as_ref().is_none_or(|(known, _)| harm < *known) {
                best = Some((harm, candidate));
            }
        }
        match (best, refused) {
            (Some((_, candidate)), _) => Outcome::Found(candidate),
            (None, Some((reason, candidate))) => Outcome::Stuck { reason, best: Some(candidate) },
            (None, None) => Outcome::Stuck { reason: Reason::NoDestination, best: None },
        }
    }

    /// The copies on a node after the moves chosen so far, those left out that have come to it by them.
    pub fn copies_on(&self, node: NodeIndex) -> &[CopyIndex] {
        &self.copies_on[node.at()]
    }

    fn blocked_destination(&self, candidate: &Candidate) -> Option<Reason> {
        let node = self.node_id(candidate.to);
        if let Some(reason) = self.restrictions.destinations.get(&node) {
            return Some(reason.clone());
        }
        let copies = &self.input.snapshot.copies;
        let (segment, needed) = (copies.segment[candidate.copy.at()], copies.bytes[candidate.copy.at()]);
        if let Some(reason) = self.restrictions.returns.get(&(segment, node)) {
            return Some(reason.clone());
        }
        for (limit, arrived) in self.restrictions.limits.iter().zip(&self.arrived) {
            let arrived = arrived[candidate.to.at()];
            let refusal = limit.refusal(&self.input.snapshot, candidate.copy, candidate.to, arrived);
            if refusal.is_some() {
                return refusal;
            }
        }
        if let Some(reason) = self.kept_apart(candidate.copy, candidate.to) {
            return Some(reason);
        }
        if self.restrictions.ways_are_limited() {
            let way = (self.node_id(candidate.from), node);
            let collection = self.input.snapshot.collection_of(copies.replica[candidate.copy.at()]).id;
            if let Some(reason) = self.restrictions.not_that_way(collection, way, needed) {
                return Some(reason);
            }
        }
        let room = self.room[candidate.to.at()];
        (needed > room).then(|| self.restrictions.no_room(node, needed, room))
    }

    /// Why Milvus' own balancer would undo the move, in mode `within`.
    fn would_be_undone(&mut self, candidate: &Candidate) -> Option<Reason> {
        let Candidate { copy, from, to } = *candidate;
        self.keeper.as_mut()?.allows(copy, from, to).err()
    }

    /// Carries a move out. The source's room does not grow: it holds the segment until the destination has it.
    pub fn apply(&mut self, candidate: &Candidate) {
        for at in 0..self.views.len() {
            let load = self.load_of(at, candidate.copy);
            let (from, to) = (candidate.from.at(), candidate.to.at());
            self.loads[at][from] = self.loads[at][from].saturating_sub(load);
            self.loads[at][to] = self.loads[at][to].saturating_add(load);
        }
        for node in [candidate.from, candidate.to] {
            self.destinations.update(node, self.highest_pressure(node));
        }
        let bytes = self.input.snapshot.copies.bytes[candidate.copy.at()];
        self.room[candidate.to.at()] = self.room[candidate.to.at()].saturating_sub(bytes);
        if let Some(keeper) = &mut self.keeper {
            keeper.apply(candidate.copy, candidate.from, candidate.to);
        }
        for (limit, arrived) in self.restrictions.limits.iter().zip(&mut self.arrived) {
            let arrived = &mut arrived[candidate.to.at()];
            *arrived = arrived.saturating_add(limit.load_of(candidate.copy));
        }
        self.node_of[candidate.copy.at()] = candidate.to;
        self.copies_on[candidate.from.at()].retain(|copy| *copy != candidate.copy);
        // It is not put on its destination's list: a plan moves a segment once.
    }

    /// Takes moves back that were carried out, all of those off and to these nodes: what is not done must not show.
    pub fn take_back(&mut self, candidates: &[Candidate]) {
        for candidate in candidates.iter().rev() {
            if let Some(keeper) = &mut self.keeper {
                keeper.apply(candidate.copy, candidate.to, candidate.from);
            }
            let (from, to) = (candidate.from.at(), candidate.to.at());
            self.node_of[candidate.copy.at()] = candidate.from;
            for at in 0..self.views.len() {
                let load = self.load_of(at, candidate.copy);
                self.loads[at][to] = self.loads[at][to].saturating_sub(load);
                self.loads[at][from] = self.loads[at][from].saturating_add(load);
            }
            for node in [candidate.from, candidate.to] {
                self.destinations.update(node, self.highest_pressure(node));
            }
        }
    }

    /// How far a node is above its leave values, in all dimensions together.
    pub fn excess_of(&self, node: NodeIndex) -> u64 {
        let excess =
            |(at, view): (usize, &DimensionView<'_>)| view.excess_with(node, self.loads[at][node.at()]);
        self.views.iter().enumerate().map(excess).fold(0, u64::saturating_add)
    }

    /// The move in ids.
    pub fn describe(&self, candidate: &Candidate) -> Move {
        let snapshot = &self.input.snapshot;
        let replica = snapshot.copies.replica[candidate.copy.at()];
        Move {
            segment: snapshot.copies.segment[candidate.copy.at()],
            collection: snapshot.collection_of(replica).id,
            replica: snapshot.replica(replica).id,
            from: self.node_id(candidate.from),
            to: self.node_id(candidate.to),
            bytes: snapshot.copies.bytes[candidate.copy.at()],
            rows: snapshot.copies.rows[candidate.copy.at()],
        }
    }

    /// The id behind an index.
    pub fn node_id(&self, node: NodeIndex) -> NodeId {
        self.input.snapshot.node(node).id
    }

    /// A node's pressure in a dimension after the moves chosen so far; 0 for nodes that take no part.
    pub fn pressure(&self, at: usize, node: NodeIndex) -> Ratio {
        let view = self.views.get(at);
        let pressure = view.and_then(|view| view.loads.pressure_with(node, self.loads[at][node.at()]));
        pressure.unwrap_or(Ratio::ZERO)
    }

    /// The name of a dimension; none where nobody wants anything even and all is done by order.
    pub fn dimension_name(&self, at: usize) -> String {
        self.views.get(at).map(|view| view.dimension.name.clone()).unwrap_or_default()
    }

    /// The dimension in which the move takes most off its source.
    pub fn relieved_dimension(&self, candidate: &Candidate) -> usize {
        let relief = |at: usize| {
            let (node, load) = (candidate.from, self.loads[at][candidate.from.at()]);
            let after = load.saturating_sub(self.load_of(at, candidate.copy));
            self.potential_with(at, node, load)
                - self.potential_with(at, node, after).min(self.potential_with(at, node, load))
        };
        (0..self.views.len()).max_by_key(|at| (relief(*at), std::cmp::Reverse(*at))).unwrap_or(0)
    }

    /// Whether a node counts as overloaded in any dimension after the moves chosen so far.
    pub fn is_above_enter(&self, node: NodeIndex) -> bool {
        self.views.iter().enumerate().any(|(at, view)| {
            let load = self.loads[at][node.at()];
            let pressure = view.loads.pressure_with(node, load).unwrap_or(Ratio::ZERO);
            pressure > view.dimension.settings.enter && view.too_little_to_matter(node, load).is_none()
        })
    }

    /// The dimension that makes most of a node's potential, and its pressure there; `None` inside all bands.
    pub fn worst_dimension(&self, node: NodeIndex) -> Option<(String, Ratio)> {
        let potential = |at: usize| self.potential_with(at, node, self.loads[at][node.at()]);
        let at = (0..self.views.len()).max_by_key(|at| (potential(*at), std::cmp::Reverse(*at)))?;
        (potential(at) > 0).then(|| (self.dimension_name(at), self.pressure(at, node)))
    }
}

/// Which copies policies or gates hold where they are, by copy.
fn pinned_copies(snapshot: &Snapshot, restrictions: &Restrictions) -> Vec<bool> {
    let is_held = |copy: CopyIndex| restrictions.copy_refusal(snapshot, copy).is_some();
    snapshot.copies.indices().map(is_held).collect()
}
