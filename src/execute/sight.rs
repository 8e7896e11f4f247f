//! What one reading of a collection says about one move. Readings that say nothing clear say so: absence counts
//! only where the collection was read whole.

use super::steady::Steady;
use crate::observe::observation::{CollectionReport, GapSubject, Observation, ReplicaReport, SegmentReport};
use crate::plan::Move;
use crate::units::{Moment, NodeId};

/// One look at a moving segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// When the reading began.
    pub read_at: Steady,
    /// Where the segment was.
    pub presence: Presence,
    /// The nodes of its replica that held it.
    pub nodes: Vec<NodeId>,
}

/// Where a reading found the segment in its replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The reading does not tell.
    Unclear,
    /// It is no longer there, although its collection was read whole.
    Missing {
        /// What is gone: the segment, its replica, its collection.
        cause: String,
    },
    /// It is on at least one node of its replica.
    Listed {
        /// On the node that gives.
        on_source: bool,
        /// On the node that takes.
        on_destination: bool,
        /// Other nodes of its replica that hold it.
        elsewhere: Vec<NodeId>,
        /// The node that gives is no member of the replica any more.
        source_left: bool,
        /// The node that takes is no member of the replica any more.
        destination_left: bool,
    },
}

impl Sight {
    /// What a reading of its collection says about a move.
    pub fn in_report(movement: &Move, report: &CollectionReport, now: Moment) -> Sight {
        let segment = report.segments.iter().flatten().find(|segment| segment.id == movement.segment);
        let (presence, nodes) = look(movement, report, segment);
        Sight { read_at: Steady::of_wall(report.read_at, now), presence, nodes }
    }

    /// What a full poll says about a move of a collection in this database.
    pub fn in_observation(movement: &Move, database: &str, observation: &Observation, now: Moment) -> Sight {
        let found = observation.collections.iter().find(|report| report.id == movement.collection);
        if let Some(report) = found {
            return Sight::in_report(movement, report, now);
        }
        let may_be_hidden = observation.gaps.iter().any(|gap| match &gap.subject {
            GapSubject::Databases => true,
            GapSubject::Collections { database: unread } => unread == database,
            _ => false,
        });
        let presence = if may_be_hidden {
            Presence::Unclear
        } else {
            Presence::Missing { cause: "its collection is not loaded any more".to_owned() }
        };
        let read_at = Steady::of_wall(observation.started_at, now);
        Sight { read_at, presence, nodes: Vec::new() }
    }
}

/// What a reading says about a move whose segment it lists so, or not at all.
pub fn look(
    movement: &Move,
    report: &CollectionReport,
    segment: Option<&SegmentReport>,
) -> (Presence, Vec<NodeId>) {
    let (Some(replicas), Some(_)) = (&report.replicas, &report.segments) else {
        return (Presence::Unclear, Vec::new());
    };
    // While a collection loads, its replicas and segments come one by one.
    let is_whole = report.load_percentage >= 100;
    let Some(replica) = replicas.iter().find(|replica| replica.id == movement.replica) else {
        return (missing(is_whole && !replicas.is_empty(), "its replica is gone"), Vec::new());
    };
    let Some(segment) = segment else {
        return (missing(is_whole, "the segment is not listed any more"), Vec::new());
    };
    let nodes: Vec<NodeId> =
        segment.nodes.iter().copied().filter(|node| belongs(*node, movement, replica, replicas)).collect();
    if nodes.is_empty() {
        // It is listed, but on other replicas' nodes only: this replica is being repaired.
        return (Presence::Unclear, nodes);
    }
    let elsewhere: Vec<NodeId> =
        nodes.iter().copied().filter(|node| *node != movement.from && *node != movement.to).collect();
    let presence = Presence::Listed {
        on_source: nodes.contains(&movement.from),
        on_destination: nodes.contains(&movement.to),
        elsewhere,
        source_left: !replica.nodes.contains(&movement.from),
        destination_left: !replica.nodes.contains(&movement.to),
    };
    (presence, nodes)
}

fn missing(is_whole: bool, cause: &str) -> Presence {
    if is_whole { Presence::Missing { cause: cause.to_owned() } } else { Presence::Unclear }
}

/// Whether a node that holds the segment does so for this replica. The source and the destination do even
/// after they left it; a node that belongs to no replica may be a leftover of any.
fn belongs(node: NodeId, movement: &Move, own: &ReplicaReport, all: &[ReplicaReport]) -> bool {
    if own.nodes.contains(&node) {
        return true;
    }
    let is_in_another = all.iter().any(|replica| replica.nodes.contains(&node));
    !is_in_another && (node == movement.from || node == movement.to)
}
