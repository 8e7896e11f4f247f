//! What the journal keeps of requests that change something: who, from where, what; and of what was done, page by page.

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::{Journal, JournalError, read_time, time_text};

/// A request that changes something, written down before it is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// The name that was given, and the role.
    pub who: String,
    /// From where.
    pub origin: String,
    /// What, as one word.
    pub action: String,
    /// The rest of it, as JSON.
    pub detail: String,
}

impl Journal {
    /// Writes a request down. Whoever cannot do that does not carry it out.
    pub async fn record_audit(&self, record: AuditRecord) -> Result<(), JournalError> {
        self.run("record who asks for what", move |connection| {
            connection.execute(
                "INSERT INTO audit (at, who, origin, action, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![time_text(record.at), record.who, record.origin, record.action, record.detail],
            )?;
            Ok(())
        })
        .await
    }

    /// The requests with numbers under `before`, newest first, at most so many.
    pub async fn audit_before(
        &self,
        before: i64,
        limit: usize,
    ) -> Result<Vec<(i64, AuditRecord)>, JournalError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run("read who asked for what", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, at, who, origin, action, detail FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            statement.query_map([before, limit], read_audit)?.collect()
        })
        .await
    }
}

fn read_audit(row: &Row<'_>) -> rusqlite::Result<(i64, AuditRecord)> {
    let record = AuditRecord {
        at: read_time(1, row.get_ref(1)?.as_str()?)?,
        who: row.get(2)?,
        origin: row.get(3)?,
        action: row.get(4)?,
        detail: row.get(5)?,
    };
    Ok((row.get(0)?, record))
}
