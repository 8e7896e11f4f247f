//! The upkeep of the journal: what is older than the configured age leaves it, except what still matters, and damage
//! is found before it is stumbled upon.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::open::find_damage_in;
use super::{Journal, JournalError, time_text};

/// What goes when it is older than the time `?1`, in an order that leaves no row without the one it refers to.
const OUTDATED: [&str; 11] = [
    // The verdicts of a turn can hold long after it.
    "DELETE FROM turns
     WHERE started_at < ?1
       AND id NOT IN (SELECT verdicts_of FROM turns WHERE started_at >= ?1 AND verdicts_of IS NOT NULL)",
    "DELETE FROM daemon_starts WHERE started_at < ?1",
    "DELETE FROM operations WHERE changed_at < ?1 AND state NOT IN ('admitted', 'sent', 'verifying')",
    "DELETE FROM batches WHERE created_at < ?1 AND id NOT IN (SELECT batch FROM operations)",
    "DELETE FROM foreign_moves WHERE noticed_at < ?1",
    "DELETE FROM approvals WHERE approved_at < ?1",
    // A pause that nobody took back and that has no end, or whose end is recent, still holds.
    "DELETE FROM pauses WHERE coalesce(ended_at, until) < ?1",
    // A drain that nobody took back still holds.
    "DELETE FROM drains WHERE ended_at < ?1",
    "DELETE FROM audit WHERE at < ?1",
    // The last wave tells how large the next one may be, however long ago it was.
    "DELETE FROM waves WHERE started_at < ?1 AND id < (SELECT max(id) FROM waves)",
    // The newest is the one in force.
    "DELETE FROM configurations
     WHERE started_at < ?1
       AND id < (SELECT max(id) FROM configurations)
       AND id NOT IN (SELECT configuration FROM waves WHERE configuration IS NOT NULL)",
];

impl Journal {
    /// Reads the whole file again and says whether it is damaged; if so, nothing is read from it or written to it
    /// any more. Writers do not wait for it.
    pub async fn check(&self) -> Result<(), JournalError> {
        let path = self.path().to_owned();
        let trust = Arc::clone(&self.trust);
        let checked = tokio::task::spawn_blocking(move || {
            trust.check(&path)?;
            match find_damage_in(&path) {
                Ok(None) => Ok(()),
                Ok(Some(detail)) => Err(trust.lose(&path, detail)),
                Err(error) => Err(trust.judge("check tables", &path, error)),
            }
        });
        self.finished(checked.await)
    }

    /// Forgets what is older than the configured age, except what still matters: open operations, the pause
    /// that holds, the last wave, the configuration in force. Returns how many rows went.
    pub async fn prune(&self, now: Timestamp) -> Result<usize, JournalError> {
        let age = SignedDuration::try_from(self.keep).unwrap_or(SignedDuration::MAX);
        let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
        self.run("forget old rows", move |connection| prune_before(connection, &time_text(oldest))).await
    }
}

fn prune_before(connection: &mut Connection, oldest: &str) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let mut gone = 0;
    for statement in OUTDATED {
        gone += transaction.execute(statement, [oldest])?;
    }
    transaction.commit()?;
    Ok(gone)
}
