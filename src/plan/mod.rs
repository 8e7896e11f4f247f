//! Plan: one planner for all policies together. It answers with ordered steps of which every prefix is worth
//! having, and with a proof of how good they are.

mod apart;
mod compound;
mod descent;
mod digest;
pub mod drain;
mod exact;
pub mod explain;
pub mod fair_share;
mod field;
pub mod finding;
pub mod floor;
pub mod immovable;
mod left_alone;
mod levelling;
mod member_sets;
mod order;
mod orders;
pub mod planner;
mod proof;
mod prune;
pub mod relief;
mod rules;
mod search;
mod share;
mod source;
mod unit;
mod windows;

pub use digest::{DigestError, PlanDigest};
pub use drain::Drain;
pub use fair_share::Placement;
pub use finding::{DimensionView, Finding, FindingState, find_overloads, is_out_of_band, settle_history};
pub use immovable::{ImmovableCause, ImmovablePart};
pub use orders::UnmetOrder;
pub use planner::{plan, plan_next};

use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::units::{Bytes, CollectionId, NodeId, Ratio, ReplicaId, Rows, SegmentId};

/// Settings of the planner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSettings {
    /// Price of moving a whole fair share of bytes, in potential (squared excess pressure).
    pub price_per_fair_share: Ratio,
    /// Price of any move, in potential.
    pub price_per_move: Ratio,
    /// How many candidate moves may be evaluated in one turn.
    pub effort: u64,
}

impl Default for PlanSettings {
    fn default() -> Self {
        PlanSettings {
            // A move pays while the source is more than half of this above the leave value: 1 % of pressure.
            price_per_fair_share: Ratio(20_000),
            // Enough to refuse moves that gain nothing.
            price_per_move: Ratio(1),
            // About a second on one core.
            effort: 20_000_000,
        }
    }
}

/// One segment's way from one node to another, inside one replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Move {
    /// What moves.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// The replica inside which it moves.
    pub replica: ReplicaId,
    /// Where it is.
    pub from: NodeId,
    /// Where it is to be.
    pub to: NodeId,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: Rows,
}

/// Moves that belong together: all of them or none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// One move, or the two of a swap, or those of a chain.
    pub moves: Vec<Move>,
    /// The dimension whose pressure it relieves.
    pub dimension: String,
    /// Pressure of the source in that dimension before the step.
    pub source_before: Ratio,
    /// The same after it.
    pub source_after: Ratio,
    /// Pressure of the destination before.
    pub destination_before: Ratio,
    /// The same after it.
    pub destination_after: Ratio,
}

/// What to do, in order, and how good that is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Steps in the order in which they are to be taken.
    pub steps: Vec<Step>,
    /// How good the plan is, and why it is not better.
    pub proof: Proof,
}

impl Plan {
    /// All moves in order.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.steps.iter().flat_map(|step| &step.moves)
    }
}

/// How good a plan is, and why it is not better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// One entry for each dimension of each component.
    pub dimensions: Vec<DimensionProof>,
    /// Bytes that the plan moves.
    pub bytes_moved: Bytes,
    /// Bytes that any plan must move that leaves the nodes of this one no more loaded than this one does.
    #[serde(default)]
    pub bytes_floor: Bytes,
    /// Candidate moves that were evaluated.
    pub effort_used: u64,
    /// Overloaded nodes that stay above their leave value, with the reason.
    pub left_alone: Vec<LeftAlone>,
    /// Segments that were ordered to leave their node and are not planned to, with the reason.
    #[serde(default)]
    pub unmet_orders: Vec<UnmetOrder>,
}

/// The worst pressure of a component in a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DimensionProof {
    /// The dimension.
    pub dimension: String,
    /// The component, named by its first node.
    pub component: NodeId,
    /// Worst pressure now.
    pub before: Ratio,
    /// Worst pressure after the plan.
    pub after: Ratio,
    /// Below this the worst pressure cannot get, whatever is moved.
    pub floor: Ratio,
    /// What makes that floor.
    pub floor_cause: FloorCause,
    /// Why the worst pressure stays above the leave value; nothing when it does not, or when nobody counts as overloaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<WhyNotBetter>,
}

/// Why a dimension is not more even after a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WhyNotBetter {
    /// It is as even as it can be: the cause of the floor says what that is made of.
    Floor,
    /// Every move of what is on the worst node would do as much harm elsewhere; this segment came closest.
    Granularity {
        /// Which.
        segment: SegmentId,
    },
    /// Nobody has room for it.
    Capacity {
        /// In whose words.
        reason: Reason,
    },
    /// Something forbids it.
    Directive {
        /// What.
        reason: Reason,
    },
    /// It would gain less than it costs, in squared excess pressure.
    Price {
        /// What the best move would gain.
        gain: Ratio,
        /// What it costs.
        price: Ratio,
        /// What is short.
        short: Ratio,
    },
    /// The budget of candidates was used up.
    Budget,
}

/// What keeps a component from being more even.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum FloorCause {
    /// Nothing: the average itself.
    Average,
    /// One segment is larger than a fair share.
    LargestSegment {
        /// Which.
        segment: SegmentId,
    },
    /// More large segments than nodes to put them on.
    Pigeonhole {
        /// So many segments …
        segments: usize,
        /// … on so many nodes.
        nodes: usize,
    },
    /// The load of a node that moves cannot change.
    BaseLoad {
        /// Which.
        node: NodeId,
    },
}

impl std::fmt::Display for FloorCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FloorCause::Average => f.write_str("an even spread"),
            FloorCause::LargestSegment { segment } => write!(f, "segment {segment} alone is that large"),
            FloorCause::Pigeonhole { segments, nodes } => {
                write!(f, "{segments} large segments must share {nodes} nodes")
            }
            FloorCause::BaseLoad { node } => {
                write!(f, "node {node} carries that much that moves cannot change")
            }
        }
    }
}

/// An overloaded node that the plan does not bring under its leave value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// The node.
    pub node: NodeId,
    /// The dimension.
    pub dimension: String,
    /// Its pressure after the plan.
    pub pressure: Ratio,
    /// The move that came closest, if any could be thought of.
    pub best_candidate: Option<Move>,
    /// Why it is not made.
    pub reason: Reason,
    /// What that move would gain, as a drop of squared pressure.
    #[serde(default)]
    pub gain: Ratio,
    /// What it would have to gain at least to be worth its bytes.
    #[serde(default)]
    pub price: Ratio,
}
