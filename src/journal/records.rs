//! What the journal keeps of starts, turns, plans and verdicts: for people who ask later why something was or was not
//! done.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Journal, JournalError, as_integer, time_text};
use crate::units::Bytes;

/// Number of a turn in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TurnId(pub i64);

/// A start of the daemon.
#[derive(Clone, Debug)]
pub struct DaemonStart {
    /// When.
    pub started_at: Timestamp,
    /// Version of this program.
    pub version: String,
    /// `advise` or `act`.
    pub mode: String,
}

/// One turn of the control loop.
#[derive(Clone, Debug)]
pub struct TurnRecord {
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it went, as one word.
    pub result: String,
    /// The error or the reason, as a sentence; empty when there is none.
    pub detail: String,
    /// Code of the reason that held us back.
    pub limited_by: Option<String>,
    /// Query nodes seen.
    pub nodes: usize,
    /// Loaded collections seen.
    pub collections: usize,
    /// Segment copies seen.
    pub copies: usize,
    /// Overloaded nodes found.
    pub overloaded: usize,
    /// Moves in the plan.
    pub moves_planned: usize,
    /// Moves that the gates let through.
    pub moves_admitted: usize,
}

/// The plan of a turn.
#[derive(Clone, Debug)]
pub struct PlanRecord {
    /// Digest of the plan, which an approval names, where there is one.
    pub digest: Option<String>,
    /// Digest of the snapshot that was planned on, where there is one.
    pub snapshot_digest: Option<String>,
    /// Moves in the plan.
    pub moves: usize,
    /// Bytes that it moves.
    pub bytes: Bytes,
    /// The steps in order, as JSON.
    pub steps: String,
    /// How good the plan is and why it is not better, as JSON.
    pub proof: String,
}

/// Something that was refused in a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRecord {
    /// What is refused: the cluster, a node, a segment …
    pub subject: String,
    /// Code of the reason.
    pub reason: String,
    /// The same in words.
    pub sentence: String,
}

impl Journal {
    /// Makes sure that this journal is about the Milvus at this address; an empty one becomes so.
    pub async fn belongs_to(&self, endpoint: &str) -> Result<(), JournalError> {
        let asked = endpoint.to_owned();
        let recorded: String = self
            .run("read whose journal it is", move |connection| {
                connection
                    .execute("INSERT OR IGNORE INTO cluster (id, endpoint) VALUES (1, ?1)", [&asked])?;
                connection.query_row("SELECT endpoint FROM cluster WHERE id = 1", [], |row| row.get(0))
            })
            .await?;
        if recorded == endpoint {
            return Ok(());
        }
        Err(JournalError::OtherCluster { path: self.path().to_owned(), recorded, asked: endpoint.to_owned() })
    }

    /// Records a start of the daemon.
    pub async fn record_start(&self, start: DaemonStart) -> Result<(), JournalError> {
        self.run("record the start", move |connection| {
            connection.execute(
                "INSERT INTO daemon_starts (started_at, version, mode, pid) VALUES (?1, ?2, ?3, ?4)",
                params![time_text(start.started_at), start.version, start.mode, std::process::id()],
            )?;
            Ok(())
        })
        .await
    }

    /// Records a turn, its plan if it made one that is worth keeping, and its verdicts if they are not those of
    /// the turn before (`Some` of nothing when there are none any more).
    pub async fn record_turn(
        &self,
        turn: TurnRecord,
        plan: Option<PlanRecord>,
        verdicts: Option<Vec<VerdictRecord>>,
    ) -> Result<TurnId, JournalError> {
        self.run("record the turn", move |connection| {
            let transaction = connection.transaction()?;
            let id = insert_turn(&transaction, &turn)?;
            if let Some(plan) = &plan {
                insert_plan(&transaction, id, plan)?;
            }
            insert_verdicts(&transaction, id, verdicts.as_deref())?;
            transaction.commit()?;
            Ok(TurnId(id))
        })
        .await
    }
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

fn insert_turn(connection: &Connection, turn: &TurnRecord) -> rusqlite::Result<i64> {
    let took = i64::try_from(turn.took.as_millis()).unwrap_or(i64::MAX);
    connection.execute(
        "INSERT INTO turns (started_at, took_ms, result, detail, limited_by, nodes, collections, copies,
                            overloaded, moves_planned, moves_admitted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            time_text(turn.started_at),
            took,
            turn.result,
            turn.detail,
            turn.limited_by,
            count(turn.nodes),
            count(turn.collections),
            count(turn.copies),
            count(turn.overloaded),
            count(turn.moves_planned),
            count(turn.moves_admitted)
        ],
    )?;
    Ok(connection.last_insert_rowid())
}

fn insert_plan(connection: &Connection, turn: i64, plan: &PlanRecord) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO plans (turn, digest, snapshot_digest, moves, bytes, steps, proof)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            turn,
            plan.digest,
            plan.snapshot_digest,
            count(plan.moves),
            as_integer(plan.bytes.0),
            plan.steps,
            plan.proof
        ],
    )?;
    Ok(())
}

/// Writes the verdicts, or refers to the turn whose verdicts still hold.
fn insert_verdicts(
    connection: &Connection,
    turn: i64,
    verdicts: Option<&[VerdictRecord]>,
) -> rusqlite::Result<()> {
    let Some(verdicts) = verdicts else {
        connection.execute(
            "UPDATE turns
             SET verdicts_of = (SELECT verdicts_of FROM turns WHERE id < ?1 ORDER BY id DESC LIMIT 1)
             WHERE id = ?1",
            [turn],
        )?;
        return Ok(());
    };
    connection.execute("UPDATE turns SET verdicts_of = id WHERE id = ?1", [turn])?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO verdicts (turn, position, subject, reason, sentence) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (position, verdict) in verdicts.iter().enumerate() {
        statement.execute(params![
            turn,
            count(position),
            verdict.subject,
            verdict.reason,
            verdict.sentence
        ])?;
    }
    Ok(())
}
