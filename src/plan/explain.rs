//! Why a segment or a node is treated as it is, and why a move is not made: the planner's own rules and prices, asked
//! about one thing. There is no second opinion; what is said here is what the plan was made by.

use super::fair_share::Placement;
use super::finding::{DimensionView, Finding, FindingState};
use super::rules::Candidate;
use super::search::Search;
use super::{LeftAlone, Plan};
use crate::gate::Restrictions;
use crate::model::{CopyIndex, NodeIndex, PlanningInput, ReplicaIndex};
use crate::policy::Assessment;
use crate::reason::Reason;
use crate::units::{Bytes, CollectionId, Load, NodeId, Ratio, ReplicaId, Rows, SegmentId};

/// A turn that is asked about.
#[derive(Clone, Copy)]
pub struct Explainer<'a> {
    /// What was planned on.
    pub input: &'a PlanningInput,
    /// What the policies said.
    pub assessment: &'a Assessment,
    /// What follows for each node.
    pub findings: &'a [Finding],
    /// What must not be done.
    pub restrictions: &'a Restrictions,
    /// What came of it.
    pub plan: &'a Plan,
}

/// A copy of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyExplanation {
    /// The segment.
    pub segment: SegmentId,
    /// The replica that the copy belongs to.
    pub replica: ReplicaId,
    /// Its collection.
    pub collection: CollectionId,
    /// The node that holds it.
    pub node: NodeId,
    /// Its rows.
    pub rows: Rows,
    /// Its bytes.
    pub bytes: Bytes,
    /// Where the plan moves it: the position of the step, and the destination.
    pub planned: Option<(usize, NodeId)>,
    /// Why it must stay, if it must.
    pub blocked: Option<Reason>,
    /// Why nothing leaves its node, if so.
    pub source_blocked: Option<Reason>,
    /// Whether its node is to be relieved of anything.
    pub source_is_overloaded: bool,
    /// The destination that would gain most, whether or not that is worth it; `None` when all are refused.
    pub best: Option<Weighed>,
    /// Destinations that are refused, by node.
    pub refused: Vec<(NodeId, Reason)>,
}

/// What a move would bring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighed {
    /// Where to.
    pub to: NodeId,
    /// By how much it would lower the potential, which is squared pressure above the band; 0 when it would raise it.
    pub gain: Ratio,
    /// What it costs, in the same measure.
    pub price: Ratio,
}

impl Weighed {
    /// Whether the move is worth its price.
    pub fn pays(&self) -> bool {
        self.gain > self.price
    }
}

/// Why a copy does not go to a node.
#[derive(Clone, Debug, PartialEq)]
pub enum MoveAnswer {
    /// It goes there, with this step of the plan.
    Planned(usize),
    /// It is there.
    AlreadyThere,
    /// The node is not in the replica: Milvus moves segments inside a replica only.
    OutsideReplica,
    /// Something speaks against it.
    Refused(Reason),
    /// Its node is not to be relieved of anything, so nothing is moved off it.
    SourceIsEven(Weighed),
    /// It does not gain more than it costs.
    NotWorthIt(Weighed),
    /// It would be worth it, and the plan does something better.
    BetterKnown(Weighed),
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeExplanation {
    /// Which.
    pub node: NodeId,
    /// Its loads, dimension by dimension.
    pub findings: Vec<Finding>,
    /// Load that no move can change and that is not of segments, by dimension.
    pub base_loads: Vec<(String, Load)>,
    /// Copies that must stay, by why: how many, and their bytes.
    pub held: Vec<(Reason, usize, Bytes)>,
    /// Copies that could move.
    pub movable: (usize, Bytes),
    /// Why nothing leaves it, if so.
    pub source_blocked: Option<Reason>,
    /// Why nothing enters it, if so.
    pub destination_blocked: Option<Reason>,
    /// Bytes that may still arrive.
    pub room: Bytes,
    /// Moves of the plan that leave it.
    pub leaving: usize,
    /// Moves of the plan that enter it.
    pub entering: usize,
    /// Where the plan leaves it above its band, with the reason.
    pub left_alone: Vec<LeftAlone>,
}

impl Explainer<'_> {
    /// About every copy of a segment; nothing when there is none.
    pub fn segment(&self, segment: SegmentId) -> Vec<CopyExplanation> {
        self.with_search(|search| {
            self.copies_of(segment).into_iter().map(|copy| self.copy(search, copy)).collect()
        })
    }

    /// Why a segment does not go to a node: an answer for each copy, with the copy's node.
    pub fn why_not(&self, segment: SegmentId, to: NodeId) -> Vec<(CopyExplanation, MoveAnswer)> {
        self.with_search(|search| {
            let copies = self.copies_of(segment).into_iter();
            copies.map(|copy| (self.copy(search, copy), self.answer(search, copy, to))).collect()
        })
    }

    /// About a node; `None` when there is none.
    pub fn node(&self, node: NodeId) -> Option<NodeExplanation> {
        let index = self.input.snapshot.node_index(node)?;
        Some(self.with_search(|search| self.about(search, node, index)))
    }

    /// The search as it began: with the moves in flight carried out, and none of the plan.
    fn with_search<T>(&self, ask: impl FnOnce(&Search<'_>) -> T) -> T {
        let placement = Placement::projected(&self.input.snapshot, &self.input.in_flight);
        let views = DimensionView::all(&self.input.snapshot, self.assessment, &placement);
        ask(&Search::new(self.input, &views, &placement, self.restrictions))
    }

    fn copies_of(&self, segment: SegmentId) -> Vec<CopyIndex> {
        let all = &self.input.snapshot.copies.segment;
        let first = all.partition_point(|known| *known < segment);
        let end = all.partition_point(|known| *known <= segment);
        (first..end).map(CopyIndex::from_position).collect()
    }

    fn copy(&self, search: &Search<'_>, copy: CopyIndex) -> CopyExplanation {
        let snapshot = &self.input.snapshot;
        let copies = &snapshot.copies;
        let (segment, replica) = (copies.segment[copy.at()], copies.replica[copy.at()]);
        let from = origin(search, copy);
        let mut best: Option<(f64, NodeIndex)> = None;
        let mut refused = Vec::new();
        for to in self.others(replica, from) {
            match blocked_destination(search, &Candidate { copy, from, to }) {
                Some(reason) => refused.push((snapshot.node(to).id, reason)),
                None => {
                    let gain = gain(search, copy, to);
                    if best.is_none_or(|(most, _)| gain > most) {
                        best = Some((gain, to));
                    }
                }
            }
        }
        CopyExplanation {
            segment,
            replica: snapshot.replica(replica).id,
            collection: snapshot.collection_of(replica).id,
            node: snapshot.node(from).id,
            rows: copies.rows[copy.at()],
            bytes: copies.bytes[copy.at()],
            planned: self.planned(segment, snapshot.replica(replica).id),
            blocked: blocked_copy(search, copy),
            source_blocked: blocked_source(search, from),
            source_is_overloaded: self.is_relieved(from),
            best: best.map(|(_, to)| self.weigh(search, copy, to)),
            refused,
        }
    }

    /// The usable nodes of a replica but one.
    fn others(&self, replica: ReplicaIndex, from: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        let members = self.input.snapshot.replica(replica).members.iter();
        let usable = members.filter(|member| member.standing.is_usable()).map(|member| member.node);
        usable.filter(move |node| *node != from).collect::<Vec<_>>().into_iter()
    }

    fn planned(&self, segment: SegmentId, replica: ReplicaId) -> Option<(usize, NodeId)> {
        self.plan.steps.iter().enumerate().find_map(|(position, step)| {
            let found =
                step.moves.iter().find(|movement| movement.segment == segment && movement.replica == replica);
            found.map(|movement| (position, movement.to))
        })
    }

    /// Whether the planner takes load off a node: it is overloaded, or somebody ordered it to be emptied.
    fn is_relieved(&self, node: NodeIndex) -> bool {
        let id = self.input.snapshot.node(node).id;
        let is_overloaded =
            |finding: &Finding| finding.node == id && finding.state == FindingState::Overloaded;
        self.findings.iter().any(is_overloaded)
            || self.restrictions.evacuated.contains(&id)
            || self.restrictions.nominated.contains_key(&id)
    }

    fn weigh(&self, search: &Search<'_>, copy: CopyIndex, to: NodeIndex) -> Weighed {
        let ratio = |amount: f64| Ratio::from_decimal(amount.max(0.0)).unwrap_or(Ratio::MAX);
        Weighed {
            to: self.input.snapshot.node(to).id,
            gain: ratio(gain(search, copy, to)),
            price: ratio(price(search, copy)),
        }
    }

    /// What speaks against a move, in the order in which the planner asks.
    fn answer(&self, search: &Search<'_>, copy: CopyIndex, to: NodeId) -> MoveAnswer {
        let snapshot = &self.input.snapshot;
        let copies = &snapshot.copies;
        let (from, replica) = (origin(search, copy), copies.replica[copy.at()]);
        let planned = self.planned(copies.segment[copy.at()], snapshot.replica(replica).id);
        if let Some((step, _)) = planned.filter(|(_, destination)| *destination == to) {
            return MoveAnswer::Planned(step);
        }
        if snapshot.node(from).id == to {
            return MoveAnswer::AlreadyThere;
        }
        let members = &snapshot.replica(replica).members;
        let member = members.iter().find(|member| snapshot.node(member.node).id == to);
        let Some(member) = member else { return MoveAnswer::OutsideReplica };
        let refusal = blocked_source(search, from).or_else(|| blocked_copy(search, copy));
        if let Some(reason) = refusal {
            return MoveAnswer::Refused(reason);
        }
        if !member.standing.is_usable() {
            return MoveAnswer::Refused(Reason::NodeUnfit { node: to, standing: member.standing });
        }
        let candidate = Candidate { copy, from, to: member.node };
        if let Some(reason) = blocked_destination(search, &candidate) {
            return MoveAnswer::Refused(reason);
        }
        let weighed = self.weigh(search, copy, member.node);
        if !self.is_relieved(from) {
            MoveAnswer::SourceIsEven(weighed)
        } else if weighed.pays() {
            MoveAnswer::BetterKnown(weighed)
        } else {
            MoveAnswer::NotWorthIt(weighed)
        }
    }

    fn about(&self, search: &Search<'_>, node: NodeId, index: NodeIndex) -> NodeExplanation {
        let copies = &self.input.snapshot.copies;
        let mut held: Vec<(Reason, usize, Bytes)> = Vec::new();
        let mut movable = (0, Bytes::ZERO);
        for copy in copies.indices().filter(|copy| origin(search, *copy) == index) {
            let bytes = copies.bytes[copy.at()];
            match blocked_copy(search, copy) {
                None => movable = (movable.0 + 1, movable.1.saturating_add(bytes)),
                Some(reason) => match held.iter_mut().find(|(known, _, _)| known.code() == reason.code()) {
                    Some((_, count, sum)) => (*count, *sum) = (*count + 1, sum.saturating_add(bytes)),
                    None => held.push((reason, 1, bytes)),
                },
            }
        }
        let dimensions = self.assessment.dimensions.iter();
        let base = dimensions.filter_map(|dimension| {
            let load = dimension.base_load.get(index.at()).copied()?;
            (load > Load::ZERO).then(|| (dimension.name.clone(), load))
        });
        NodeExplanation {
            node,
            findings: self.findings.iter().filter(|finding| finding.node == node).cloned().collect(),
            base_loads: base.collect(),
            held,
            movable,
            source_blocked: blocked_source(search, index),
            destination_blocked: self.restrictions.destinations.get(&node).cloned(),
            room: self.restrictions.room_of(node),
            leaving: self.plan.moves().filter(|movement| movement.from == node).count(),
            entering: self.plan.moves().filter(|movement| movement.to == node).count(),
            left_alone: self.plan.proof.left_alone.iter().filter(|left| left.node == node).cloned().collect(),
        }
    }
}

fn blocked_source(search: &Search<'_>, from: NodeIndex) -> Option<Reason> {
    search.rules.blocked_source(from)
}

fn blocked_copy(search: &Search<'_>, copy: CopyIndex) -> Option<Reason> {
    search.rules.blocked_copy(copy)
}

fn blocked_destination(search: &Search<'_>, candidate: &Candidate) -> Option<Reason> {
    search.rules.blocked_destination(candidate)
}

/// Where a copy counts before the plan.
fn origin(search: &Search<'_>, copy: CopyIndex) -> NodeIndex {
    search.origin[copy.at()]
}

fn price(search: &Search<'_>, copy: CopyIndex) -> f64 {
    search.price(copy)
}

/// By how much the potential falls when a copy goes to a node; negative when it rises.
fn gain(search: &Search<'_>, copy: CopyIndex, to: NodeIndex) -> f64 {
    let mut loads = Vec::new();
    search.field.loads_of(copy, &mut loads);
    search.field.relief(copy, &loads, origin(search, copy)) - search.field.burden(copy, &loads, to)
}
