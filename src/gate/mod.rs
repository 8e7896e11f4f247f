//! Gate: may we? `restrict` says before planning what must not be proposed; `check` looks at the finished plan
//! with its own eyes and may only cut its tail or stop it. Every refusal has a scope and a reason.

mod check;
mod cool_down;
mod foreign;
mod freshness;
mod headroom;
mod setback;
mod settling;
mod standing;
mod visibility;

pub use check::check;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use serde::{Deserialize, Serialize};

use crate::model::{ComponentIndex, PlanningInput, ReplicaIndex, Snapshot, Subject};
use crate::policy::Directive;
use crate::reason::Reason;
use crate::units::{Bytes, CollectionId, NodeId, Ratio, SegmentId};

/// Settings of the gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// How old what was seen of a collection may be.
    #[serde(with = "crate::config::duration")]
    pub max_age: Duration,
    /// How long nodes rest after a move between them has landed: memory figures lag behind by seconds. Zero
    /// switches it off.
    #[serde(with = "crate::config::duration")]
    pub settle_time: Duration,
    /// Share of a destination's memory that may be used with all copies resident.
    pub destination_memory: Ratio,
    /// How long a moved segment stays, and how long it may not return to the node that it left; doubles with
    /// every further move of the same segment. Zero switches it off.
    #[serde(with = "crate::config::duration")]
    pub cool_down: Duration,
    /// How long a node that did not take a segment is left alone as a destination. Zero switches it off.
    #[serde(with = "crate::config::duration")]
    pub setback_rest: Duration,
    /// The longest that doubling may make it.
    #[serde(with = "crate::config::duration")]
    pub cool_down_limit: Duration,
    /// What counts as somebody else at work.
    pub foreign: ForeignSettings,
}

impl Default for GateSettings {
    fn default() -> Self {
        GateSettings {
            // Segment ids of a busy cluster change every ten seconds or so; a minute-old plan is partly stale.
            max_age: Duration::from_secs(60),
            // GetMetrics is cached for 5 s, and allocators give back what was released within about that again.
            settle_time: Duration::from_secs(15),
            // Milvus' own guard refuses loads at 90 %; searches and growing data need the difference.
            destination_memory: Ratio(800_000),
            // A node's caches and its users need that long to show what a move did.
            cool_down: Duration::from_secs(30 * 60),
            // Longer than the 30 s for which Milvus itself avoids a full node.
            setback_rest: Duration::from_secs(5 * 60),
            cool_down_limit: Duration::from_secs(24 * 60 * 60),
            foreign: ForeignSettings::default(),
        }
    }
}

/// When another balancer is taken to be at work on a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForeignSettings {
    /// So many moves that are not ours …
    pub moves: u32,
    /// … within this time stop us …
    #[serde(with = "crate::config::duration")]
    pub within: Duration,
    /// … until none has been seen for this long.
    #[serde(with = "crate::config::duration")]
    pub quiet: Duration,
}

impl Default for ForeignSettings {
    fn default() -> Self {
        ForeignSettings {
            // One or two can be an operator's hand; Milvus' balancer moves five at a time.
            moves: 3,
            within: Duration::from_secs(10 * 60),
            quiet: Duration::from_secs(30 * 60),
        }
    }
}

/// What must not be proposed, with the reasons. Made by `restrict`, kept by the planner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Restrictions {
    /// Stops everything.
    pub cluster: Option<Reason>,
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
    /// Segments that policies pin, in every replica.
    #[serde(skip)]
    pub pinned: BTreeSet<SegmentId>,
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
        if let Some(reason) = &self.cluster {
            add(Subject::Cluster, reason);
        }
        self.components.iter().for_each(|(node, reason)| add(Subject::Component(*node), reason));
        self.collections
            .iter()
            .for_each(|(collection, reason)| add(Subject::Collection(*collection), reason));
        self.sources.iter().for_each(|(node, reason)| add(Subject::Node(*node), reason));
        for (node, reason) in &self.destinations {
            if !self.sources.contains_key(node) {
                add(Subject::Node(*node), reason);
            }
        }
        refusals
    }
}

/// What must not be proposed this turn: every gate by itself, one function each.
pub fn restrict(input: &PlanningInput, directives: &[Directive]) -> Restrictions {
    let mut restrictions = Restrictions::default();
    freshness::restrict(input, &mut restrictions);
    visibility::restrict(input, &mut restrictions);
    standing::restrict(input, &mut restrictions);
    foreign::restrict(input, &mut restrictions);
    cool_down::restrict(input, &mut restrictions);
    setback::restrict(input, &mut restrictions);
    settling::restrict(input, &mut restrictions);
    headroom::restrict(input, &mut restrictions);
    follow(directives, &mut restrictions);
    restrictions
}

/// What policies demand.
fn follow(directives: &[Directive], restrictions: &mut Restrictions) {
    for directive in directives {
        match directive {
            Directive::NeverDestination { node } => {
                restrictions.destinations.entry(*node).or_insert(Reason::NeverDestination { node: *node });
            }
            Directive::Pin { segment } => {
                restrictions.pinned.insert(*segment);
                restrictions.named_segments.insert(*segment);
            }
        }
    }
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
