//! The plan that waits for a person, or that a person has agreed to: what the approval gate remembers from turn to turn.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::controls::Approval;
use crate::plan::PlanDigest;
use crate::units::{NodeId, ReplicaId, SegmentId};

/// A plan that needs approval, or has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPlan {
    /// Its name.
    pub digest: PlanDigest,
    /// An earlier approval is not for this plan: another one has come between. `None` when nothing was planned before.
    pub since: Option<Timestamp>,
    /// What it moves.
    pub moves: BTreeSet<MoveKey>,
    /// The approval, once it is there.
    pub approval: Option<Approval>,
}

/// A move as an approval knows it: what, from where to where. Estimates of its size may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MoveKey {
    /// What moves.
    pub segment: SegmentId,
    /// The replica inside which it moves.
    pub replica: ReplicaId,
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
}
