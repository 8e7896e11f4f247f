//! What must be remembered from turn to turn so that the daemon is quiet: who left where, who else moves
//! segments, and how long a node has been over its band.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::held_plan::HeldPlan;
use super::nodes_seen::NodesSeen;
use super::out_of_band::OutOfBand;
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, SegmentId};

/// For how many turns in a row a node has been above a dimension's enter value, by (dimension, node).
pub type TurnsOver = BTreeMap<String, BTreeMap<NodeId, u32>>;

/// The memory of the pure half. All of it outlives the process by way of the journal, so times are wall times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Segments that left a node by our doing, oldest first.
    pub departures: Vec<Departure>,
    /// Moves of ours that came to nothing.
    pub setbacks: Vec<Setback>,
    /// Segments that somebody else moved, oldest first.
    pub foreign_moves: Vec<ForeignMove>,
    /// Counts of turns over the band. A count stays until the node is under the leave value.
    pub turns_over: TurnsOver,
    /// For how long some node was above its band within the last day.
    pub out_of_band: OutOfBand,
    /// Nodes that have been seen.
    pub nodes_seen: NodesSeen,
    /// The last plan that needed somebody's approval.
    pub held_plan: Option<HeldPlan>,
}

/// A segment that left a node because we moved it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// What left.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// The node it left.
    pub from: NodeId,
    /// Address of that node: its id dies with the process behind it.
    pub from_address: String,
    /// Where it went.
    pub to: NodeId,
    /// Its bytes.
    pub bytes: Bytes,
    /// When it was seen on its destination alone.
    pub at: Timestamp,
}

/// A move of ours that was refused, or whose segment was still on its source when its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setback {
    /// What was to move.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// Where it was to go.
    pub to: NodeId,
    /// Whose fault it seems to be.
    pub blame: Blame,
    /// When it was given up.
    pub at: Timestamp,
}

/// Whose fault it seems to be that a move came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// That of the destination: it has no room for the segment, is on its way out, or never took it.
    Destination,
    /// Nobody's in particular: the plan was outdated, the server busy, the call not allowed.
    Nobody,
}

/// A segment that went from one live node to another of its replica without an operation of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignMove {
    /// What moved.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// The replica.
    pub replica: ReplicaId,
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
    /// Its bytes.
    pub bytes: Bytes,
    /// When it was noticed.
    pub at: Timestamp,
}

/// A move that the daemon or a person made through this program: such moves are not foreign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownMove {
    /// What moved.
    pub segment: SegmentId,
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
}
