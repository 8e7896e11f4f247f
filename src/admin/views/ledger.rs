//! What was done, as the API shows it: operations, waves, turns, requests, and what the moves of a day came to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cli::net_zero_view;
use crate::execute::operation::Operation;
use crate::journal::{AuditRecord, PastTurn, WaveRecord};
use crate::model::NetZero;

/// A move that was sent, or is about to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OperationView {
    /// Its number.
    pub id: String,
    /// The call that carries it.
    pub batch: String,
    /// `daemon`, or `manual` for a person.
    pub origin: String,
    /// What moves.
    pub segment: String,
    /// Its collection.
    pub collection: String,
    /// The collection's database; empty before Milvus 2.3.
    pub database: String,
    /// The collection's name.
    pub collection_name: String,
    /// The replica inside which it moves.
    pub replica: String,
    /// Where it was.
    pub from: String,
    /// Where it goes.
    pub to: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// `admitted`, `sent`, `verifying`, `landed`, `refused`, `superseded`, `expired` or `contradicted`.
    pub state: String,
    /// Why it ended so; empty when the state says it all.
    pub detail: String,
    /// Whether its end is known.
    pub ended: bool,
    /// When the call went out.
    pub sent_at: Option<Timestamp>,
    /// When the state last changed.
    pub changed_at: Timestamp,
}

impl From<&Operation> for OperationView {
    fn from(operation: &Operation) -> OperationView {
        let movement = &operation.movement;
        OperationView {
            id: operation.id.0.to_string(),
            batch: operation.batch.0.to_string(),
            origin: operation.origin.code().to_owned(),
            segment: movement.segment.to_string(),
            collection: movement.collection.to_string(),
            database: operation.database.clone(),
            collection_name: operation.collection_name.clone(),
            replica: movement.replica.to_string(),
            from: movement.from.to_string(),
            to: movement.to.to_string(),
            bytes: movement.bytes.0,
            rows: movement.rows.0,
            state: operation.state.code().to_owned(),
            detail: operation.state.detail().to_owned(),
            ended: operation.state.is_ended(),
            sent_at: operation.sent_at,
            changed_at: operation.changed_at,
        }
    }
}

/// Moves that were let out together, and what they brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaveView {
    /// Its number; `None` for one that is not in the journal.
    pub id: Option<String>,
    /// When its first move was let out.
    pub started_at: Timestamp,
    /// When it was judged.
    pub ended_at: Option<Timestamp>,
    /// Moves that it was allowed.
    pub size: u64,
    /// Moves that were sent.
    pub sent: u64,
    /// Of these, how many landed.
    pub landed: u64,
    /// Of these, how many ended in another way.
    pub failed: u64,
    /// Bytes that landed.
    pub bytes: u64,
    /// The drop of squared pressure above the band that was predicted.
    pub predicted_relief: Option<f64>,
    /// The drop that was seen; negative when things became worse.
    pub realised_relief: Option<f64>,
    /// How it ended, as one word.
    pub outcome: String,
    /// The same as a sentence; empty when the word says it all.
    pub detail: String,
}

impl From<WaveRecord> for WaveView {
    fn from(wave: WaveRecord) -> WaveView {
        WaveView {
            id: wave.id.map(|id| id.0.to_string()),
            started_at: wave.started_at,
            ended_at: wave.ended_at,
            size: wave.size,
            sent: wave.sent,
            landed: wave.landed,
            failed: wave.failed,
            bytes: wave.bytes.0,
            predicted_relief: wave.predicted_relief,
            realised_relief: wave.realised_relief,
            outcome: wave.outcome,
            detail: wave.detail,
        }
    }
}

/// A turn of the control loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TurnView {
    /// Its number.
    pub id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Milliseconds that it took.
    pub took_ms: i64,
    /// `quiet`, `planned` or `failed`.
    pub result: String,
    /// The error or the reason, as a sentence; empty when there is none.
    pub detail: String,
    /// Code of the reason that held us back.
    pub limited_by: Option<String>,
    /// Query nodes seen.
    pub nodes: i64,
    /// Segment copies seen.
    pub copies: i64,
    /// Overloaded nodes found.
    pub overloaded: i64,
    /// Moves in the plan.
    pub moves_planned: i64,
    /// Steps that the gates let through.
    pub moves_admitted: i64,
}

impl From<PastTurn> for TurnView {
    fn from(turn: PastTurn) -> TurnView {
        TurnView {
            id: turn.id.to_string(),
            started_at: turn.started_at,
            took_ms: turn.took_ms,
            result: turn.result,
            detail: turn.detail,
            limited_by: turn.limited_by,
            nodes: turn.nodes,
            copies: turn.copies,
            overloaded: turn.overloaded,
            moves_planned: turn.moves_planned,
            moves_admitted: turn.moves_admitted,
        }
    }
}

/// A request that changes something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// Its number.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// The name that was given, and the role.
    pub who: String,
    /// From where.
    pub origin: String,
    /// What, as one word.
    pub action: String,
    /// The rest of it.
    pub detail: serde_json::Value,
}

impl From<(i64, AuditRecord)> for AuditView {
    fn from((id, record): (i64, AuditRecord)) -> AuditView {
        AuditView {
            id: id.to_string(),
            at: record.at,
            who: record.who,
            origin: record.origin,
            action: record.action,
            detail: serde_json::from_str(&record.detail).unwrap_or(serde_json::Value::Null),
        }
    }
}

/// What the moves of the last 24 hours came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetZeroView {
    /// In words, a line for everybody who moved something.
    pub lines: Vec<String>,
    /// Moves and bytes of the daemon, of people and of others, how much of them came back, and the time out of band.
    #[schema(value_type = Object)]
    pub figures: serde_json::Value,
}

impl From<&NetZero> for NetZeroView {
    fn from(net_zero: &NetZero) -> NetZeroView {
        NetZeroView {
            lines: net_zero_view::lines(net_zero),
            figures: serde_json::to_value(net_zero).unwrap_or_default(),
        }
    }
}
