//! The life of one move: an enum and one transition function.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::Move;

/// A move that was at least proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Number in the journal; unique for the life of the journal.
    pub id: OperationId,
    /// The call that carries it.
    pub batch: BatchId,
    /// Who wanted it.
    pub origin: Origin,
    /// Its collection's database, for calls and messages.
    pub database: String,
    /// Its collection's name.
    pub collection_name: String,
    /// Address of the node that it leaves; ids die with their process.
    pub from_address: String,
    /// What moves where.
    pub movement: Move,
    /// Where it stands.
    pub state: OperationState,
    /// When the call went out.
    pub sent_at: Option<Timestamp>,
    /// When the state last changed.
    pub changed_at: Timestamp,
}

/// Number of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub i64);

/// Number of a batch, which is one `LoadBalance` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub i64);

/// Who wanted an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The daemon's plan.
    Daemon,
    /// A person, by `load-balance`.
    Manual,
}

/// Where an operation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum OperationState {
    /// The planner wants it.
    Proposed,
    /// The gates and limits let it through; its intent is in the journal.
    Admitted,
    /// The call is out.
    Sent,
    /// The call was answered, or its answer was lost; the distribution will tell.
    Verifying,
    /// Seen on its destination and no longer on its source.
    Landed,
    /// The server refused it and the segment is on its source alone.
    Refused {
        /// What the server said.
        cause: String,
    },
    /// The segment is gone (compacted, released, dropped), or its node is: an ordinary end.
    Superseded {
        /// What happened to it.
        cause: String,
    },
    /// The settle time passed and the segment is still on its source alone.
    Expired,
    /// The segment is on neither its source nor its destination, but elsewhere: somebody else moved it.
    Contradicted {
        /// Where it was seen.
        seen: String,
    },
}

impl OperationState {
    /// Whether nothing more can happen to it.
    pub fn is_ended(&self) -> bool {
        !matches!(
            self,
            OperationState::Proposed
                | OperationState::Admitted
                | OperationState::Sent
                | OperationState::Verifying
        )
    }

    /// The stable name: column value, metric label.
    pub fn code(&self) -> &'static str {
        match self {
            OperationState::Proposed => "proposed",
            OperationState::Admitted => "admitted",
            OperationState::Sent => "sent",
            OperationState::Verifying => "verifying",
            OperationState::Landed => "landed",
            OperationState::Refused { .. } => "refused",
            OperationState::Superseded { .. } => "superseded",
            OperationState::Expired => "expired",
            OperationState::Contradicted { .. } => "contradicted",
        }
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperationState::Refused { cause } => write!(f, "refused: {cause}"),
            OperationState::Superseded { cause } => write!(f, "superseded: {cause}"),
            OperationState::Contradicted { seen } => write!(f, "contradicted: it is on {seen}"),
            other => f.write_str(other.code()),
        }
    }
}
