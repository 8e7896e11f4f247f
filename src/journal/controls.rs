//! What people tell the daemon through the journal: pauses and approvals. Other processes write them while it
//! runs; it reads them every turn.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::{Journal, JournalError, read_time, time_text};
pub use crate::model::{Drain, Pause};
use crate::units::NodeId;

/// Approvals that are read: more than a person gives within the hour after which they lapse.
const APPROVALS_READ: i64 = 100;

/// A plan that a person approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Digest of the plan.
    pub plan_digest: String,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// What people have told the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// The pause that nobody has taken back. It may have ended by itself: see [`Pause::holds_at`].
    pub pause: Option<Pause>,
    /// The last approvals, newest first. Which of them still count is for the reader to say.
    pub approvals: Vec<Approval>,
    /// Nodes that are to be emptied, by id.
    pub drains: Vec<Drain>,
}

impl Journal {
    /// Pauses. A pause that was not taken back is replaced.
    pub async fn pause(&self, pause: Pause) -> Result<(), JournalError> {
        self.run("record the pause", move |connection| {
            let transaction = connection.transaction()?;
            end_pauses(&transaction, pause.from, &pause.by)?;
            transaction.execute(
                "INSERT INTO pauses (started_at, until, reason, started_by) VALUES (?1, ?2, ?3, ?4)",
                params![time_text(pause.from), pause.until.map(time_text), pause.reason, pause.by],
            )?;
            transaction.commit()
        })
        .await
    }

    /// Takes the pause back and returns it; `None` when there was none.
    pub async fn resume(&self, at: Timestamp, by: String) -> Result<Option<Pause>, JournalError> {
        self.run("record the end of the pause", move |connection| {
            let transaction = connection.transaction()?;
            let ended = open_pause(&transaction)?;
            end_pauses(&transaction, at, &by)?;
            transaction.commit()?;
            Ok(ended)
        })
        .await
    }

    /// Orders a node to be emptied. An order for the same node that was not taken back is replaced.
    pub async fn drain(&self, drain: Drain) -> Result<(), JournalError> {
        self.run("record the drain", move |connection| {
            let transaction = connection.transaction()?;
            end_drain(&transaction, drain.node, drain.from, &drain.by)?;
            transaction.execute(
                "INSERT INTO drains (node, address, started_at, reason, started_by) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![drain.node.0, drain.address, time_text(drain.from), drain.reason, drain.by],
            )?;
            transaction.commit()
        })
        .await
    }

    /// Takes the order to empty a node back and returns it; `None` when there was none.
    pub async fn undrain(
        &self,
        node: NodeId,
        at: Timestamp,
        by: String,
    ) -> Result<Option<Drain>, JournalError> {
        self.run("record the end of the drain", move |connection| {
            let transaction = connection.transaction()?;
            let ended = open_drains(&transaction)?.into_iter().find(|drain| drain.node == node);
            end_drain(&transaction, node, at, &by)?;
            transaction.commit()?;
            Ok(ended)
        })
        .await
    }

    /// Approves the plan with this digest.
    pub async fn approve(&self, plan_digest: String, at: Timestamp, by: String) -> Result<(), JournalError> {
        self.run("record the approval", move |connection| {
            connection.execute(
                "INSERT INTO approvals (plan_digest, approved_at, approved_by) VALUES (?1, ?2, ?3)",
                params![plan_digest, time_text(at), by],
            )?;
            Ok(())
        })
        .await
    }

    /// What people have told the daemon, as it stands now.
    pub async fn controls(&self) -> Result<Controls, JournalError> {
        self.run("read pauses, drains and approvals", |connection| {
            // Both as of the same moment, without holding up whoever writes.
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            let controls = Controls {
                pause: open_pause(&transaction)?,
                approvals: last_approvals(&transaction)?,
                drains: open_drains(&transaction)?,
            };
            transaction.commit()?;
            Ok(controls)
        })
        .await
    }
}

fn open_pause(connection: &Connection) -> rusqlite::Result<Option<Pause>> {
    connection
        .query_row(
            "SELECT started_at, until, reason, started_by FROM pauses
             WHERE ended_at IS NULL ORDER BY id DESC LIMIT 1",
            [],
            read_pause,
        )
        .optional()
}

fn end_pauses(connection: &Connection, at: Timestamp, by: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE pauses SET ended_at = ?1, ended_by = ?2 WHERE ended_at IS NULL",
        params![time_text(at), by],
    )?;
    Ok(())
}

fn open_drains(connection: &Connection) -> rusqlite::Result<Vec<Drain>> {
    let mut statement = connection.prepare_cached(
        "SELECT node, address, started_at, reason, started_by FROM drains WHERE ended_at IS NULL ORDER BY node",
    )?;
    statement.query_map([], read_drain)?.collect()
}

fn end_drain(connection: &Connection, node: NodeId, at: Timestamp, by: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE drains SET ended_at = ?2, ended_by = ?3 WHERE node = ?1 AND ended_at IS NULL",
        params![node.0, time_text(at), by],
    )?;
    Ok(())
}

fn read_drain(row: &Row<'_>) -> rusqlite::Result<Drain> {
    Ok(Drain {
        node: NodeId(row.get(0)?),
        address: row.get(1)?,
        from: read_time(2, row.get_ref(2)?.as_str()?)?,
        reason: row.get(3)?,
        by: row.get(4)?,
    })
}

fn last_approvals(connection: &Connection) -> rusqlite::Result<Vec<Approval>> {
    let mut statement = connection.prepare_cached(
        "SELECT plan_digest, approved_at, approved_by FROM approvals ORDER BY id DESC LIMIT ?1",
    )?;
    statement.query_map([APPROVALS_READ], read_approval)?.collect()
}

fn read_pause(row: &Row<'_>) -> rusqlite::Result<Pause> {
    let until: Option<String> = row.get(1)?;
    Ok(Pause {
        from: read_time(0, row.get_ref(0)?.as_str()?)?,
        until: until.map(|text| read_time(1, &text)).transpose()?,
        reason: row.get(2)?,
        by: row.get(3)?,
    })
}

fn read_approval(row: &Row<'_>) -> rusqlite::Result<Approval> {
    Ok(Approval { plan_digest: row.get(0)?, at: read_time(1, row.get_ref(1)?.as_str()?)?, by: row.get(2)? })
}
