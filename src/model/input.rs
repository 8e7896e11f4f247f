//! Everything that policies, planner and gates may look at, in one struct: what is not in here cannot change a
//! plan.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::controls::Controls;
use super::history::History;
use super::own_balancer::OwnBalancer;
use super::snapshot::Snapshot;
use crate::gate::GateSettings;
use crate::plan::PlanSettings;
use crate::policy::Assessment;
use crate::units::{Bytes, CollectionId, Moment, NodeId, ReplicaId, Rows, SegmentId};

/// The input of one turn of the pure half. It is what snapshot files hold, so every field can be written and read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanningInput {
    /// The cluster; shared, because readers of the decision keep it after the turn.
    pub snapshot: Arc<Snapshot>,
    /// Moves that were sent and are not settled: their memory counts on both nodes, their pressure on the
    /// destination.
    #[serde(default)]
    pub in_flight: Vec<InFlight>,
    /// What happened before: departures, foreign moves, how long nodes have been over their band.
    #[serde(default)]
    #[schemars(with = "Options")]
    pub history: History,
    /// What policy plug-ins said in this turn, judged and translated.
    #[serde(default)]
    #[schemars(with = "Options")]
    pub opinions: Assessment,
    /// Milvus' own balancer, as far as it is known.
    #[serde(default)]
    #[schemars(with = "Options")]
    pub own_balancer: OwnBalancer,
    /// What people have ordered.
    #[serde(default)]
    #[schemars(with = "Options")]
    pub controls: Controls,
    /// Settings of the planner.
    #[serde(default)]
    #[schemars(with = "Options")]
    pub plan: PlanSettings,
    /// Settings of the gates.
    #[serde(default)]
    #[schemars(with = "Options")]
    pub gate: GateSettings,
    /// The time of this turn.
    pub now: Moment,
}

/// Stands in schemas for what has a description of its own: options of the configuration, and what is remembered.
#[derive(JsonSchema)]
#[schemars(transparent)]
pub struct Options(#[allow(dead_code)] std::collections::BTreeMap<String, serde_json::Value>); // only its schema is of use

/// A move that was sent and whose end has not been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InFlight {
    /// What moves.
    pub segment: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// The replica inside which it moves.
    pub replica: ReplicaId,
    /// Where it was.
    pub from: NodeId,
    /// Where it goes.
    pub to: NodeId,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its rows.
    pub rows: Rows,
}
