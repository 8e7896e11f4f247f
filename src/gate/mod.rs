//! Gate: may we? `restrict` says before planning what must not be proposed; `check` looks at the finished plan
//! with its own eyes and may only cut its tail or stop it. Every refusal has a scope and a reason.

pub mod approval;
mod beside;
mod blast_radius;
mod check;
mod cool_down;
mod foreign;
mod freshness;
mod headroom;
mod limits;
pub mod minimum_gain;
mod orders;
mod returning;
mod setback;
mod settings;
mod settling;
mod standing;
mod visibility;
mod warm_up;
pub mod windows;

pub use blast_radius::BlastRadius;
pub use check::check;
pub use limits::LoadLimit;
pub use returning::Returning;
pub use settings::{ApprovalRule, BlastRadiusSettings, ForeignSettings, GateSettings, WarmUpSettings};
pub use warm_up::WarmingUp;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::milvus_score::Keeper;
use crate::model::{ComponentIndex, CopyIndex, PlanningInput, ReplicaIndex, Snapshot, Subject};
use crate::policy::Directive;
use crate::reason::Reason;
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, SegmentId};

/// What must not be proposed, with the reasons. Made by `restrict`, kept by the planner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restrictions {
    /// Stops everything.
    pub cluster: Option<Reason>,
    /// Stops everything but what leaves a node in an emergency.
    pub closed: Option<Reason>,
    /// Nodes in an emergency; named only while everything else is stopped.
    pub emergencies: BTreeSet<NodeId>,
    /// Components in which nothing moves, named by their first node.
    pub components: BTreeMap<NodeId, Reason>,
    /// Collections of which nothing moves.
    pub collections: BTreeMap<CollectionId, Reason>,
    /// Nodes that nothing may leave.
    pub sources: BTreeMap<NodeId, Reason>,
    /// Nodes that nothing may enter.
    pub destinations: BTreeMap<NodeId, Reason>,
    /// Segments that must stay. By (segment, replica): another replica's copy is another matter.
    #[serde(skip)]
    pub segments: BTreeMap<(SegmentId, ReplicaIndex), Reason>,
    /// Segments that must not go to these nodes.
    #[serde(skip)]
    pub returns: BTreeMap<(SegmentId, NodeId), Reason>,
    /// Bytes that may still arrive at a node, everything in flight already counted. A node that is missing
    /// here takes nothing.
    pub room: BTreeMap<NodeId, Bytes>,
    /// New nodes, and what they may still take for being new.
    pub warming_up: BTreeMap<NodeId, WarmingUp>,
    /// Bytes of a collection that must not go from one node (the second) to another (the third).
    #[serde(skip)]
    pub returning: BTreeMap<(CollectionId, NodeId, NodeId), Returning>,
    /// Asked before each move, last of all because it is the dearest question; only in mode `within`.
    #[serde(skip)]
    pub keeper: Option<Arc<Keeper>>,
    /// What has been moved lately, against what may be.
    #[serde(skip)]
    pub blast_radius: BlastRadius,
    /// Segments that policies pin, in every replica.
    #[serde(skip)]
    pub pinned: BTreeSet<SegmentId>,
    /// Replicas of which nothing moves.
    pub replicas: BTreeMap<ReplicaId, Reason>,
    /// Loads to which destinations may be filled, for policies that set a limit.
    #[serde(skip)]
    pub limits: Vec<LoadLimit>,
    /// Nodes that must be emptied of everything that can move.
    ///
    /// Demanded of the planner: everything on them that nothing holds is moved, whatever the pressure of the node, without
    /// its having to pay, and before what only levels; the largest first, each to where it does least harm.
    pub evacuated: BTreeSet<NodeId>,
    /// Segments that should leave a node, by node, each with its priority; an empty list nominates the node itself.
    ///
    /// Demanded of the planner: segments that are named go first of all, the highest priority first, without having to
    /// pay. A node that is nominated without segments is relieved at once as if it had been overloaded for long enough,
    /// by moves that pay.
    #[serde(skip)]
    pub nominated: BTreeMap<NodeId, Vec<Nomination>>,
    /// Sets of segments of which no two should be on one node.
    ///
    /// Demanded of the planner: no move puts two of a set onto one node of a replica, and where two are on one, all but one
    /// of them go elsewhere, after what is nominated, without having to pay.
    #[serde(skip)]
    pub apart: Vec<BTreeSet<SegmentId>>,
    /// All segments named above, for quick answers about the many that are not.
    #[serde(skip)]
    pub named_segments: BTreeSet<SegmentId>,
}

impl Restrictions {
    /// All restrictions that have a subject, as refusals: what a person wants to read when nothing moves.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut add =
            |subject: Subject, reason: &Reason| refusals.push(Refusal { subject, reason: reason.clone() });
        if let Some(reason) = self.stop() {
            add(Subject::Cluster, reason);
        }
        self.components.iter().for_each(|(node, reason)| add(Subject::Component(*node), reason));
        self.collections
            .iter()
            .for_each(|(collection, reason)| add(Subject::Collection(*collection), reason));
        self.replicas.iter().for_each(|(replica, reason)| add(Subject::Replica(*replica), reason));
        self.sources.iter().for_each(|(node, reason)| add(Subject::Node(*node), reason));
        for (node, reason) in &self.destinations {
            if !self.sources.contains_key(node) {
                add(Subject::Node(*node), reason);
            }
        }
        for (node, new) in &self.warming_up {
            if !self.destinations.contains_key(node) {
                add(Subject::Node(*node), &new.reason);
            }
        }
        refusals
    }

    /// What stops the whole cluster, if anything does, emergencies aside.
    pub fn stop(&self) -> Option<&Reason> {
        self.cluster.as_ref().or(self.closed.as_ref())
    }

    /// Why nothing may leave a node as far as the whole cluster is concerned. Where there is no emergency, what is
    /// stopped for the time being is planned all the same, for people to see, and stopped by `check`.
    pub fn leaving(&self, node: NodeId) -> Option<&Reason> {
        let only_emergencies = !self.emergencies.is_empty() && !self.emergencies.contains(&node);
        self.cluster.as_ref().or_else(|| self.closed.as_ref().filter(|_| only_emergencies))
    }

    /// Why a copy must stay, as far as policies and gates say so by its segment, its collection or its replica: for
    /// everybody who proposes moves, and for whoever checks them.
    pub fn copy_refusal(&self, snapshot: &Snapshot, copy: CopyIndex) -> Option<Reason> {
        let copies = &snapshot.copies;
        let (segment, replica) = (copies.segment[copy.at()], copies.replica[copy.at()]);
        if let Some(reason) = self.collections.get(&snapshot.collection_of(replica).id) {
            return Some(reason.clone());
        }
        if let Some(reason) = self.replicas.get(&snapshot.replica(replica).id) {
            return Some(reason.clone());
        }
        if !self.named_segments.contains(&segment) {
            return None;
        }
        if self.pinned.contains(&segment) {
            return Some(Reason::Pinned);
        }
        self.segments.get(&(segment, replica)).cloned()
    }

    /// Whether a policy, and not only the time, keeps a copy where it is.
    pub fn is_pinned(&self, snapshot: &Snapshot, copy: CopyIndex) -> bool {
        let copies = &snapshot.copies;
        let replica = copies.replica[copy.at()];
        let is_by_policy = |reason: Option<&Reason>| {
            matches!(
                reason,
                Some(
                    Reason::CollectionPinned { .. }
                        | Reason::ReplicaPinned { .. }
                        | Reason::NeverSource { .. }
                        | Reason::Excluded { .. }
                )
            )
        };
        self.pinned.contains(&copies.segment[copy.at()])
            || is_by_policy(self.collections.get(&snapshot.collection_of(replica).id))
            || is_by_policy(self.replicas.get(&snapshot.replica(replica).id))
            || is_by_policy(self.sources.get(&snapshot.node(copies.node[copy.at()]).id))
    }

    /// Bytes that may still arrive at a node, for whatever reason no more.
    pub fn room_of(&self, node: NodeId) -> Bytes {
        let room = self.room.get(&node).copied().unwrap_or(Bytes::ZERO);
        self.warming_up.get(&node).map_or(room, |new| new.room.min(room))
    }

    /// The same for all nodes that may take anything.
    pub fn rooms(&self) -> BTreeMap<NodeId, Bytes> {
        self.room.keys().map(|node| (*node, self.room_of(*node))).collect()
    }

    /// Why so many bytes do not fit into the `left` bytes of room that a node still has.
    pub fn no_room(&self, node: NodeId, needed: Bytes, left: Bytes) -> Reason {
        let memory = self.room.get(&node).copied().unwrap_or(Bytes::ZERO);
        match self.warming_up.get(&node) {
            Some(new) if new.room < memory => new.reason.clone(),
            _ => Reason::NoHeadroom { node, needed, room: left },
        }
    }

    /// Why bytes of a collection may not go from one node to another: they came from there, or enough was moved lately.
    pub fn not_that_way(
        &self,
        collection: CollectionId,
        (from, to): (NodeId, NodeId),
        bytes: Bytes,
    ) -> Option<Reason> {
        let returning =
            self.returning.get(&(collection, from, to)).filter(|returning| returning.holds(bytes));
        returning
            .map(|returning| returning.reason.clone())
            .or_else(|| self.blast_radius.node_refusal(to, bytes))
    }

    /// Whether [`Restrictions::not_that_way`] may refuse anything: the planner asks that for every candidate.
    pub fn ways_are_limited(&self) -> bool {
        !self.returning.is_empty() || !self.blast_radius.is_untouched()
    }
}

/// What must not be proposed this turn: every gate by itself, one function each.
pub fn restrict(input: &PlanningInput, directives: &[Directive]) -> Restrictions {
    let mut restrictions = Restrictions::default();
    freshness::restrict(input, &mut restrictions);
    visibility::restrict(input, &mut restrictions);
    standing::restrict(input, &mut restrictions);
    foreign::restrict(input, &mut restrictions);
    windows::restrict(input, &mut restrictions);
    cool_down::restrict(input, &mut restrictions);
    returning::restrict(input, &mut restrictions);
    setback::restrict(input, &mut restrictions);
    settling::restrict(input, &mut restrictions);
    headroom::restrict(input, &mut restrictions);
    warm_up::restrict(input, &mut restrictions);
    restrictions.blast_radius = BlastRadius::of(input);
    beside::restrict(input, &mut restrictions);
    follow(directives, &mut restrictions);
    restrictions
}

/// What policies demand. Where a gate has a reason of its own already, that one stays.
fn follow(directives: &[Directive], restrictions: &mut Restrictions) {
    for directive in directives {
        match directive {
            Directive::NeverDestination { node } => {
                restrictions.destinations.entry(*node).or_insert(Reason::NeverDestination { node: *node });
            }
            Directive::NeverSource { node } => {
                restrictions.sources.entry(*node).or_insert(Reason::NeverSource { node: *node });
            }
            Directive::Exclude { node } => {
                let reason = Reason::Excluded { node: *node };
                restrictions.sources.entry(*node).or_insert(reason.clone());
                restrictions.destinations.entry(*node).or_insert(reason);
            }
            Directive::Pin { segment } => {
                restrictions.pinned.insert(*segment);
                restrictions.named_segments.insert(*segment);
            }
            Directive::PinCollection { collection } => {
                let reason = Reason::CollectionPinned { collection: *collection };
                restrictions.collections.entry(*collection).or_insert(reason);
            }
            Directive::PinReplica { replica } => {
                let reason = Reason::ReplicaPinned { replica: *replica };
                restrictions.replicas.entry(*replica).or_insert(reason);
            }
            Directive::Evacuate { node } => {
                restrictions.evacuated.insert(*node);
                restrictions.destinations.entry(*node).or_insert(Reason::Draining { node: *node });
            }
            Directive::Nominate { source, segments, priority } => {
                let nomination = Nomination { priority: *priority, segments: segments.clone() };
                restrictions.nominated.entry(*source).or_default().push(nomination);
            }
            Directive::KeepApart { label: _, segments } => {
                restrictions.apart.push(segments.iter().copied().collect());
            }
        }
    }
}

/// Segments that a policy wants away from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nomination {
    /// Higher goes first.
    pub priority: u32,
    /// Which; empty for whatever relieves the node best.
    pub segments: Vec<SegmentId>,
}

/// Time between two readings of the wall clock; zero when it was set back in between, so that nothing that must be
/// waited for is over too soon.
fn elapsed(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

/// A component by the name under which it is spoken of: its first node.
pub fn component_name(snapshot: &Snapshot, component: ComponentIndex) -> Option<NodeId> {
    let first = snapshot.components.get(component.at())?.nodes.first()?;
    Some(snapshot.node(*first).id)
}

/// A refusal: about what, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Refusal {
    /// What is refused.
    pub subject: Subject,
    /// Why.
    pub reason: Reason,
}

/// What may be done of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Positions of the plan's steps that may be taken, in order.
    pub admitted: Vec<usize>,
    /// What may not, and why.
    pub refusals: Vec<Refusal>,
}

impl Verdict {
    /// The order of a person that stops everything, whether or not there is anything to be stopped.
    pub fn order(&self) -> Option<&Reason> {
        let reasons = self.refusals.iter().map(|refusal| &refusal.reason);
        reasons.into_iter().find(|reason| matches!(reason, Reason::KillSwitch { .. } | Reason::Paused { .. }))
    }
}
