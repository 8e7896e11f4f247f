//! What the journal keeps of starts, turns and plans: for people who ask later why something was or was not
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
    /// Digest of the snapshot that was planned on, where there is one.
    pub digest: Option<String>,
    /// Moves in the plan.
    pub moves: usize,
    /// Bytes that it moves.
    pub bytes: Bytes,
    /// How good the plan is, as JSON.
    pub proof: String,
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

    /// Records a turn and its plan, if it made one that is worth keeping.
    pub async fn record_turn(
        &self,
        turn: TurnRecord,
        plan: Option<PlanRecord>,
    ) -> Result<TurnId, JournalError> {
        self.run("record the turn", move |connection| {
            let transaction = connection.transaction()?;
            let id = insert_turn(&transaction, &turn)?;
            if let Some(plan) = plan {
                transaction.execute(
                    "INSERT INTO plans (turn, digest, moves, bytes, proof) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![id, plan.digest, count(plan.moves), as_integer(plan.bytes.0), plan.proof],
                )?;
            }
            transaction.commit()?;
            Ok(TurnId(id))
        })
        .await
    }

    /// Forgets what is older than the configured age, open operations excepted. Returns how many rows went.
    pub async fn prune(&self, now: Timestamp) -> Result<usize, JournalError> {
        let age = jiff::SignedDuration::try_from(self.keep).unwrap_or(jiff::SignedDuration::MAX);
        let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        self.run("forget old rows", move |connection| prune_before(connection, &time_text(oldest))).await
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

fn prune_before(connection: &mut Connection, oldest: &str) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let mut gone = transaction.execute("DELETE FROM turns WHERE started_at < ?1", [oldest])?;
    gone += transaction.execute("DELETE FROM daemon_starts WHERE started_at < ?1", [oldest])?;
    gone += transaction.execute(
        "DELETE FROM operations
         WHERE changed_at < ?1 AND state NOT IN ('admitted', 'sent', 'verifying')",
        [oldest],
    )?;
    gone += transaction.execute(
        "DELETE FROM batches
         WHERE created_at < ?1 AND id NOT IN (SELECT batch FROM operations)",
        [oldest],
    )?;
    transaction.commit()?;
    Ok(gone)
}
