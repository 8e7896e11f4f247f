//! What policy plug-ins answered in a turn, as it is recorded: a replay reads it here and asks nobody. Numbers and ids
//! are as the plug-in gave them; whether they fit the cluster is judged in [`crate::policy::plugin`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::policy::{Directive, LoadUnit};
use crate::units::{Bytes, CollectionId, Load, NodeId, Ratio, SegmentId};

/// One plug-in in one turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hearing {
    /// Its name in the configuration.
    pub plugin: String,
    /// What it said.
    pub outcome: HearingOutcome,
}

/// What came of asking a plug-in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HearingOutcome {
    /// It answered, in the form that the service demands.
    Heard(Opinion),
    /// It did not, so the turn goes on without it.
    LeftOut(PluginFault),
}

/// The answer of a plug-in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opinion {
    /// What it says it is.
    pub version: String,
    /// Its dimensions.
    pub dimensions: Vec<OpinionDimension>,
    /// Its directives.
    pub directives: Vec<Directive>,
}

/// A dimension as a plug-in gives it: by ids, not by indices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpinionDimension {
    /// Its name among those of the plug-in.
    pub name: String,
    /// What its loads count.
    pub unit: LoadUnit,
    /// Whether the capacities are amounts in that unit, or only weights.
    pub has_physical_capacity: bool,
    /// The collection that is to be even, if it is one alone.
    pub only_collection: Option<CollectionId>,
    /// Load of what a node holds of a collection.
    pub collection_loads: Vec<(NodeId, CollectionId, Load)>,
    /// Load of single segments.
    pub segment_loads: Vec<(NodeId, SegmentId, Load)>,
    /// Load that moves cannot change.
    pub base_loads: Vec<(NodeId, Load)>,
    /// What nodes can carry.
    pub capacities: Vec<(NodeId, Load)>,
    /// How far the loads can be trusted.
    pub confidence: Ratio,
    /// The settings that it suggests.
    pub suggested: SuggestedSettings,
}

/// Settings of a dimension, each of which may be missing: the plug-in's suggestion, or the operator's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SuggestedSettings {
    /// Pressure above which a node is overloaded.
    pub enter: Option<Ratio>,
    /// Pressure down to which it is relieved.
    pub leave: Option<Ratio>,
    /// For how many turns in a row a node must be overloaded.
    pub turns: Option<u32>,
    /// Utilisation below which unevenness is nobody's problem.
    pub matters_above: Option<Ratio>,
    /// Weight beside other dimensions.
    pub weight: Option<Ratio>,
    /// Utilisation to which a destination may be filled.
    pub limit: Option<Ratio>,
}

/// Why a plug-in is left out of a turn. The texts do not change while the fault stays the same, so that the log tells it
/// once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fault")]
pub enum PluginFault {
    /// The recorded turn knows nothing of it: it was configured later, or whoever looked asks no plug-ins.
    NotAsked,
    /// No answer within its deadline.
    Late {
        /// The deadline.
        after: Duration,
    },
    /// Nobody is there.
    Unreachable {
        /// Why.
        cause: String,
    },
    /// It ended a call with an error, or in the middle.
    CallFailed {
        /// What gRPC says.
        cause: String,
    },
    /// Its answer is larger than allowed.
    TooLarge {
        /// The limit.
        limit: Bytes,
    },
    /// It describes itself otherwise than the last time.
    Changed {
        /// What it said before.
        before: String,
        /// What it says now.
        now: String,
    },
    /// Its answer cannot be right.
    Wrong {
        /// What is wrong with it.
        problem: String,
    },
}

impl PluginFault {
    /// The stable name, for metrics.
    pub fn code(&self) -> &'static str {
        match self {
            PluginFault::NotAsked => "not_asked",
            PluginFault::Late { .. } => "late",
            PluginFault::Unreachable { .. } => "unreachable",
            PluginFault::CallFailed { .. } => "call_failed",
            PluginFault::TooLarge { .. } => "too_large",
            PluginFault::Changed { .. } => "changed",
            PluginFault::Wrong { .. } => "wrong",
        }
    }
}

impl fmt::Display for PluginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PluginFault::NotAsked => f.write_str("it was not asked"),
            PluginFault::Late { after } => {
                let after = crate::config::duration::display(*after);
                write!(f, "it did not answer within {after}")
            }
            PluginFault::Unreachable { cause } => write!(f, "it cannot be reached: {cause}"),
            PluginFault::CallFailed { cause } => write!(f, "its call failed: {cause}"),
            PluginFault::TooLarge { limit } => write!(f, "its answer is larger than {limit}"),
            PluginFault::Changed { before, now } => {
                write!(f, "it described itself as {before} and now as {now}; it is heard again if that stays")
            }
            PluginFault::Wrong { problem } => write!(f, "its answer is wrong: {problem}"),
        }
    }
}
