//! Keeps a plan beside Milvus' own balancer: says of a move whether the balancer would plan anything once it has landed,
//! or while it is on its way. The same answer as [`super::plan_segments`] on a view made anew, whatever the order in which
//! the balancer looks at nodes and however few segments it takes at a time, but at the price of a few numbers.

mod foresight;
mod scored;

use std::collections::BTreeMap;

pub use scored::KeptReplica;
use scored::Scored;

use super::margins::{Margins, Scores};
use super::plan::is_exclusive;
use super::{Algorithm, ChannelView, NodeView, ScoreSettings, scores_of, segment_score};
use crate::model::{CopyIndex, Held, NodeIndex, ReplicaIndex, SegmentCopies};
use crate::reason::Reason;
use crate::units::{CollectionId, Rows, SegmentId};

/// How often growing rows are counted: not at all, as they are, and twice. They are flushed and begin anew all the time,
/// and what holds at all three holds while they do.
const GROWING: [u64; 3] = [1, 0, 2];

/// Scores of nodes that are worked out for one plan, at most: so many, and so many more for each copy. It bounds the time
/// that asking takes to about what planning takes without. Most questions are answered by margins, and a plan whose end is
/// cut off goes on in the next turn.
const MOST_WORK: u64 = 300_000;
const MOST_WORK_PER_COPY: u64 = 50;

/// Replicas that are asked about first. Few are the most easily disturbed ones of a node.
const MOST_REMEMBERED: usize = 32;

/// What a keeper starts from.
pub struct KeeperInput<'a> {
    /// The balancer's settings.
    pub settings: &'a ScoreSettings,
    /// Every replica, by its index.
    pub replicas: Vec<KeptReplica>,
    /// Number of nodes of the snapshot.
    pub nodes: usize,
    /// Growing rows of all collections on each node, by its index.
    pub growing: &'a [Rows],
    /// The copies of the snapshot.
    pub copies: &'a SegmentCopies,
    /// Where each of them is, moves in flight carried out.
    pub placement: &'a [NodeIndex],
    /// The channel of each segment that has a known one, by its position in its replica; by segment.
    pub shards: &'a [(SegmentId, u32)],
}

/// A segment: itself, its replica, rows and channel.
type Copy = (SegmentId, ReplicaIndex, Rows, Option<u32>);

/// What a question is about, as far as the answer depends on it: replica, channel, rows, source and destination.
type Question = (ReplicaIndex, Option<u32>, Rows, NodeIndex, NodeIndex);

/// What the balancer would make of the cluster after the moves applied so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Keeper {
    settings: ScoreSettings,
    /// How often growing rows are counted, in each of the cases.
    cases: Vec<u64>,
    replicas: Vec<Scored>,
    margins: Vec<Margins>,
    /// By node: the margins that it takes part in, with its position there.
    on_node: Vec<Vec<(usize, usize)>>,
    /// Rows of sealed segments of all collections, by node.
    sealed: Vec<u64>,
    /// Rows of growing segments of all collections, by node.
    growing: Vec<u64>,
    copies: Vec<Copy>,
    /// By copy: where it is after the moves applied so far.
    place: Vec<NodeIndex>,
    /// The segment on its way at the moment that is looked at: it counts, and the balancer leaves it alone.
    busy: Option<SegmentId>,
    /// The most that a move changes the scores of other replicas.
    largest_change: f64,
    memory: Memory,
}

/// What was found out since the last move. It can be found out again, so that it makes no keeper differ from another.
#[derive(Clone, Debug)]
struct Memory {
    answers: BTreeMap<Question, Result<(), Reason>>,
    bounds: BTreeMap<(NodeIndex, NodeIndex), Bound>,
    /// Replicas that were disturbed by the last questions, the last one first: most often it is one of them again.
    disturbed: Vec<ReplicaIndex>,
    work_left: u64,
}

impl PartialEq for Memory {
    fn eq(&self, _: &Memory) -> bool {
        true
    }
}

/// How large a change between two nodes all replicas bear, at least.
#[derive(Clone, Copy, Debug)]
struct Bound {
    least: f64,
    /// The replica that bears least.
    of: Option<ReplicaIndex>,
    /// What all others bear.
    of_others: f64,
}

impl Keeper {
    /// Before any move of ours.
    pub fn new(input: KeeperInput<'_>) -> Keeper {
        let KeeperInput { settings, replicas, nodes, growing, copies, placement, shards } = input;
        let grows = growing.iter().any(|rows| rows.0 > 0);
        let largest = copies.rows.iter().copied().max().unwrap_or(Rows(0));
        let mut keeper = Keeper {
            settings: settings.clone(),
            cases: if grows { GROWING.to_vec() } else { vec![1] },
            margins: Vec::new(),
            on_node: vec![Vec::new(); nodes],
            sealed: vec![0; nodes],
            growing: growing.iter().map(|rows| rows.0).collect(),
            copies: Vec::with_capacity(copies.len()),
            replicas: replicas.into_iter().map(Scored::of).collect(),
            busy: None,
            place: placement.to_vec(),
            largest_change: 0.0,
            memory: Memory {
                answers: BTreeMap::new(),
                bounds: BTreeMap::new(),
                disturbed: Vec::new(),
                work_left: MOST_WORK,
            },
        };
        keeper.largest_change = keeper.change_by(largest);
        for copy in copies.indices() {
            let (segment, replica) = (copies.segment[copy.at()], copies.replica[copy.at()]);
            let rows = copies.rows[copy.at()];
            let known = shards.binary_search_by_key(&segment, |(known, _)| *known);
            let channel = known.ok().map(|at| shards[at].1);
            keeper.copies.push((segment, replica, rows, channel));
            let node = placement[copy.at()];
            keeper.sealed[node.at()] = keeper.sealed[node.at()].saturating_add(rows.0);
            let scored = &mut keeper.replicas[replica.at()];
            if matches!(copies.held[copy.at()], Some(Held::Level0 | Held::NoRows)) {
                scored.count(node, rows);
            } else {
                scored.put(node, (rows, segment, channel));
            }
        }
        for scored in &mut keeper.replicas {
            scored.segments.iter_mut().for_each(|segments| segments.sort_unstable());
        }
        for position in 0..keeper.replicas.len() {
            keeper.begin(ReplicaIndex::from_position(position));
        }
        keeper.memory.work_left = MOST_WORK + MOST_WORK_PER_COPY * copies.len() as u64;
        keeper
    }

    /// Looks at a replica for the first time.
    fn begin(&mut self, replica: ReplicaIndex) {
        let restless = (0..self.cases.len()).map(|case| self.would_plan_with(replica, case)).collect();
        let scored = &mut self.replicas[replica.at()];
        scored.is_restless = restless;
        let first = self.margins.len();
        if scored.segments.iter().any(|segments| !segments.is_empty()) {
            let channels: Vec<Option<u32>> = if is_owned(&self.settings, &scored.replica.channels) {
                (0_u32..).zip(&scored.replica.channels).map(|(channel, _)| Some(channel)).collect()
            } else {
                vec![None]
            };
            for case in 0..self.cases.len() {
                for channel in &channels {
                    let mut margins = Margins::new(replica, *channel, case);
                    margins.counts = !scored.is_restless[case] && scored.replica.unknown.is_none();
                    self.margins.push(margins);
                }
            }
        }
        scored.margins = first..self.margins.len();
        for at in first..self.margins.len() {
            self.renew(at);
            for (position, node) in self.margins[at].nodes().enumerate() {
                self.on_node[node.at()].push((at, position));
            }
        }
    }

    /// Whether the balancer would leave everything where it is once a copy has gone to a node on top of the moves applied,
    /// and while it is on its way; staying where it is is always allowed.
    pub fn allows(&mut self, copy: CopyIndex, to: NodeIndex) -> Result<(), Reason> {
        let from = self.place[copy.at()];
        if from == to {
            return Ok(());
        }
        let (_, replica, rows, channel) = self.copies[copy.at()];
        let question = (replica, channel, rows, from, to);
        if let Some(answer) = self.memory.answers.get(&question) {
            return answer.clone();
        }
        let answer = self.find_out(copy, from, to);
        self.memory.answers.insert(question, answer.clone());
        answer
    }

    fn find_out(&mut self, copy: CopyIndex, from: NodeIndex, to: NodeIndex) -> Result<(), Reason> {
        let (_, replica, rows, channel) = self.copies[copy.at()];
        let scored = &self.replicas[replica.at()];
        if let Some(reason) = &scored.replica.unknown {
            return Err(reason.clone());
        }
        let collection = scored.replica.collection;
        let undone = Reason::WouldBeUndone { collection };
        let mut group = None;
        if is_owned(&self.settings, &scored.replica.channels) {
            let Some(channel) = channel else { return Err(Reason::ShardUnknown { collection }) };
            if !scored.owns(channel, to) {
                return Err(undone);
            }
            group = Some(channel);
        }
        let score = segment_score(rows, &self.settings);
        let own = &self.margins[scored.margins.clone()];
        let is_sure = |margins: &Margins| {
            margins.channel == group && margins.is_sure_to_stir(&self.settings, from, to, score)
        };
        if own.iter().any(is_sure) {
            return Err(undone);
        }
        if self.memory.work_left == 0 {
            return Err(Reason::EffortSpent);
        }
        let others = self.in_doubt(replica, rows, from, to);
        self.shift(copy, from, to);
        let answer =
            self.judge(replica, &others).and_then(|()| self.judge_on_the_way(copy, (from, to), &others));
        self.shift(copy, to, from);
        answer
    }

    /// The replicas, other than its own, that a move might disturb, as far as their margins tell.
    fn in_doubt(
        &mut self,
        own: ReplicaIndex,
        rows: Rows,
        from: NodeIndex,
        to: NodeIndex,
    ) -> Vec<ReplicaIndex> {
        let change = self.change_by(rows);
        let bound = match self.memory.bounds.get(&(from, to)) {
            Some(bound) => *bound,
            None => {
                let bound = self.bound(from, to);
                self.memory.bounds.insert((from, to), bound);
                bound
            }
        };
        let least = if bound.of == Some(own) { bound.of_others } else { bound.least };
        let mut doubtful = Vec::new();
        if least >= change {
            return doubtful;
        }
        self.for_all_between(from, to, |margins, bears| {
            if margins.replica != own && bears < change {
                doubtful.push(margins.replica);
            }
        });
        doubtful.sort_unstable();
        doubtful.dedup();
        let disturbed = &self.memory.disturbed;
        let rank = |replica: &ReplicaIndex| {
            disturbed.iter().position(|other| other == replica).unwrap_or(MOST_REMEMBERED)
        };
        doubtful.sort_by_key(rank);
        doubtful
    }

    fn bound(&self, from: NodeIndex, to: NodeIndex) -> Bound {
        let mut bound = Bound { least: f64::INFINITY, of: None, of_others: f64::INFINITY };
        self.for_all_between(from, to, |margins, bears| {
            let is_same = bound.of == Some(margins.replica);
            if bears < bound.least {
                if !is_same {
                    bound.of_others = bound.least;
                }
                (bound.least, bound.of) = (bears, Some(margins.replica));
            } else if !is_same {
                bound.of_others = bound.of_others.min(bears);
            }
        });
        bound
    }

    /// Shows all margins that one of two nodes takes part in, with how much they bear.
    fn for_all_between(&self, from: NodeIndex, to: NodeIndex, mut show: impl FnMut(&Margins, f64)) {
        let (mut of_from, mut of_to) = (self.on_node[from.at()].iter(), self.on_node[to.at()].iter());
        let (mut one, mut other) = (of_from.next(), of_to.next());
        loop {
            let at = match (one, other) {
                (Some((first, _)), Some((second, _))) => *first.min(second),
                (Some((at, _)), None) | (None, Some((at, _))) => *at,
                (None, None) => return,
            };
            let here = |side: Option<&(usize, usize)>| {
                side.filter(|(of, _)| *of == at).map(|(_, position)| *position)
            };
            let (source, destination) = (here(one), here(other));
            let margins = &self.margins[at];
            if margins.counts {
                show(margins, margins.bears(&self.settings, source, destination));
            }
            if source.is_some() {
                one = of_from.next();
            }
            if destination.is_some() {
                other = of_to.next();
            }
        }
    }

    /// Looks at the replica in which a move was carried out, and at others that it might disturb.
    fn judge(&mut self, own: ReplicaIndex, others: &[ReplicaIndex]) -> Result<(), Reason> {
        if (0..self.cases.len()).any(|case| self.would_plan_with(own, case)) {
            return Err(Reason::WouldBeUndone { collection: self.collection(own) });
        }
        for replica in others {
            for case in 0..self.cases.len() {
                let was_restless = self.replicas[replica.at()].is_restless[case];
                if !was_restless && self.would_plan_with(*replica, case) {
                    self.remember_disturbed(*replica);
                    return Err(Reason::WouldBeUndone { collection: self.collection(*replica) });
                }
            }
        }
        Ok(())
    }

    fn remember_disturbed(&mut self, replica: ReplicaIndex) {
        let disturbed = &mut self.memory.disturbed;
        disturbed.retain(|other| *other != replica);
        disturbed.insert(0, replica);
        disturbed.truncate(MOST_REMEMBERED);
    }

    /// The same for what shows while the move is on its way: both nodes hold the segment, and a balancer that also
    /// counts what its tasks will bring counts it twice on the destination (2.4 to the middle of 2026).
    fn judge_on_the_way(
        &mut self,
        copy: CopyIndex,
        (from, to): (NodeIndex, NodeIndex),
        others: &[ReplicaIndex],
    ) -> Result<(), Reason> {
        let (segment, replica, ..) = self.copies[copy.at()];
        self.busy = Some(segment);
        let mut answer = Ok(());
        let counts_tasks = self.settings.algorithm != Algorithm::Pairwise;
        for node in [from, to] {
            if answer.is_ok() && (node == from || counts_tasks) {
                self.weigh(copy, node, u64::saturating_add);
                answer = self.judge(replica, others);
                self.weigh(copy, node, u64::saturating_sub);
            }
        }
        self.busy = None;
        answer
    }

    /// Adds the rows of a copy to what a node carries, or takes them off, without the copy itself.
    fn weigh(&mut self, copy: CopyIndex, node: NodeIndex, change: fn(u64, u64) -> u64) {
        let (_, replica, rows, _) = self.copies[copy.at()];
        self.sealed[node.at()] = change(self.sealed[node.at()], rows.0);
        let scored = &mut self.replicas[replica.at()];
        if let Some(position) = scored.position_of(node) {
            let sealed = &mut scored.replica.nodes[position].1.collection.sealed;
            *sealed = Rows(change(sealed.0, rows.0));
        }
    }

    /// Carries a move out, for good.
    pub fn apply(&mut self, copy: CopyIndex, to: NodeIndex) {
        let from = self.place[copy.at()];
        if from == to {
            return;
        }
        let (_, own, rows, _) = self.copies[copy.at()];
        self.shift(copy, from, to);
        self.memory.answers.clear();
        self.memory.bounds.clear();
        #[allow(clippy::cast_precision_loss)] // rows of one segment are far below 2^53
        let change = rows.0 as f64 * self.settings.global_row_count_factor;
        let mut touched = Vec::new();
        for (node, change) in [(from, -change), (to, change)] {
            for (at, position) in &self.on_node[node.at()] {
                self.margins[*at].shift(*position, change);
                touched.push(*at);
            }
        }
        touched.sort_unstable();
        let mut rest = touched.as_slice();
        while let Some(at) = rest.first().copied() {
            let has_both = rest.get(1) == Some(&at);
            rest = &rest[if has_both { 2 } else { 1 }..];
            let margins = &mut self.margins[at];
            // With one of the nodes only, the sum of all scores has changed, and all quotas with it.
            if !has_both || margins.replica == own || margins.has_drifted() {
                self.renew(at);
            } else {
                margins.settle(&self.settings, self.largest_change);
            }
        }
    }

    /// Works margins out anew.
    fn renew(&mut self, at: usize) {
        let margins = &self.margins[at];
        let (channel, case) = (margins.channel, margins.case);
        let scored = &self.replicas[margins.replica.at()];
        let nodes = self.nodes_of(scored, self.cases[case], channel);
        let views: Vec<&NodeView> = nodes.iter().map(|(_, node)| node).collect();
        let scores = scores_of(&views, &scored.replica.channels, &self.settings);
        let facts = |(position, view): &(usize, NodeView)| {
            let own = |resident: &&scored::Resident| channel.is_none() || resident.2 == channel;
            let smallest = scored.segments[*position].iter().find(own);
            let smallest = smallest.map_or(f64::INFINITY, |(rows, ..)| segment_score(*rows, &self.settings));
            let leads = |channel: &&ChannelView| channel.leader == Some(view.node);
            let led = scored.replica.channels.iter().filter(leads).count();
            (scored.replica.nodes[*position].0, smallest, u32::try_from(led).unwrap_or(u32::MAX))
        };
        let nodes: Vec<(NodeIndex, f64, u32)> = nodes.iter().map(facts).collect();
        self.margins[at].renew(&Scores {
            settings: &self.settings,
            scores: &scores,
            nodes: &nodes,
            largest_change: self.largest_change,
        });
    }

    /// By how much so many rows change the score of a node in other replicas than their own, at most: Milvus rounds.
    #[allow(clippy::cast_precision_loss)] // rows of one segment are far below 2^53
    fn change_by(&self, rows: Rows) -> f64 {
        rows.0 as f64 * self.settings.global_row_count_factor.abs() + 1.0
    }

    fn collection(&self, replica: ReplicaIndex) -> CollectionId {
        self.replicas[replica.at()].replica.collection
    }

    fn shift(&mut self, copy: CopyIndex, from: NodeIndex, to: NodeIndex) {
        let (segment, replica, rows, channel) = self.copies[copy.at()];
        self.place[copy.at()] = to;
        self.sealed[from.at()] = self.sealed[from.at()].saturating_sub(rows.0);
        self.sealed[to.at()] = self.sealed[to.at()].saturating_add(rows.0);
        let scored = &mut self.replicas[replica.at()];
        scored.take(from, (rows, segment, channel));
        scored.insert(to, (rows, segment, channel));
    }
}

/// Whether channels own nodes, and the balancer heeds it.
fn is_owned(settings: &ScoreSettings, channels: &[ChannelView]) -> bool {
    settings.algorithm == Algorithm::ChannelLevel && is_exclusive(channels)
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
