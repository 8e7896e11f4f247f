//! The journal read page by page, newest first: for people who look back.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::operations::select;
use super::waves::{WAVE_COLUMNS, read_wave};
use super::{Journal, JournalError, WaveRecord, read_time};
use crate::execute::operation::Operation;

/// A turn as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastTurn {
    /// Its number.
    pub id: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: i64,
    /// How it went, as one word.
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
    /// Moves that the gates let through.
    pub moves_admitted: i64,
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Journal {
    /// The turns with numbers under `before`, newest first, at most so many.
    pub async fn turns_before(&self, before: i64, limit: usize) -> Result<Vec<PastTurn>, JournalError> {
        self.run("read the last turns", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, started_at, took_ms, result, detail, limited_by, nodes, copies, overloaded,
                        moves_planned, moves_admitted
                 FROM turns WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            statement.query_map(params![before, rows(limit)], read_turn)?.collect()
        })
        .await
    }

    /// The waves with numbers under `before`, newest first, at most so many.
    pub async fn waves_before(&self, before: i64, limit: usize) -> Result<Vec<WaveRecord>, JournalError> {
        self.run("read the last waves", move |connection| {
            let query = format!("SELECT {WAVE_COLUMNS} FROM waves WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
            let mut statement = connection.prepare_cached(&query)?;
            statement.query_map(params![before, rows(limit)], read_wave)?.collect()
        })
        .await
    }

    /// The operations with numbers under `before`, newest first, at most so many; of one segment only, if one is
    /// given.
    pub async fn operations_before(
        &self,
        before: i64,
        segment: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Operation>, JournalError> {
        self.run("read the last operations", move |connection| {
            let condition = "operations.id IN (SELECT id FROM operations
                                               WHERE id < ?1 AND (?2 IS NULL OR segment_id = ?2)
                                               ORDER BY id DESC LIMIT ?3)";
            let mut operations = select(connection, condition, params![before, segment, rows(limit)])?;
            operations.reverse();
            Ok(operations)
        })
        .await
    }
}

fn read_turn(row: &Row<'_>) -> rusqlite::Result<PastTurn> {
    Ok(PastTurn {
        id: row.get(0)?,
        started_at: read_time(1, row.get_ref(1)?.as_str()?)?,
        took_ms: row.get(2)?,
        result: row.get(3)?,
        detail: row.get(4)?,
        limited_by: row.get(5)?,
        nodes: row.get(6)?,
        copies: row.get(7)?,
        overloaded: row.get(8)?,
        moves_planned: row.get(9)?,
        moves_admitted: row.get(10)?,
    })
}
