//! What the journal keeps of configurations: after a change the first wave has to be a small one, and people ask
//! later under which options something was done.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Journal, JournalError, time_text};

/// What is different from the start before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigurationChange {
    /// There was none: a new installation, or a journal that began anew.
    FirstStart,
    /// Another version of this program.
    Version {
        /// The one before.
        from: String,
    },
    /// The same version with other options.
    Options,
}

/// How this start compares with the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartComparison {
    /// What changed since the start before, if anything did.
    pub change: Option<ConfigurationChange>,
    /// Whether a wave has landed moves under this very configuration and version and no change came after it.
    /// Until then the next wave has to be a canary, however often the daemon is restarted before it.
    pub is_proven: bool,
}

impl Journal {
    /// Records the configuration of a start and says what is new about it. `text` are the options in force as
    /// TOML without secrets, `digest` names that text, `version` is that of this program.
    pub async fn record_configuration(
        &self,
        text: String,
        digest: String,
        version: String,
        at: Timestamp,
    ) -> Result<StartComparison, JournalError> {
        self.run("record the configuration", move |connection| {
            let transaction = connection.transaction()?;
            let change = compare(&transaction, &digest, &version)?;
            if change.is_some() {
                transaction.execute(
                    "INSERT INTO configurations (started_at, version, digest, text) VALUES (?1, ?2, ?3, ?4)",
                    params![time_text(at), version, digest, text],
                )?;
            }
            let is_proven = is_proven(&transaction)?;
            transaction.commit()?;
            Ok(StartComparison { change, is_proven })
        })
        .await
    }
}

fn compare(
    connection: &Connection,
    digest: &str,
    version: &str,
) -> rusqlite::Result<Option<ConfigurationChange>> {
    let last = connection
        .query_row("SELECT version, digest FROM configurations ORDER BY id DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    Ok(match last {
        None => Some(ConfigurationChange::FirstStart),
        Some((from, _)) if from != version => Some(ConfigurationChange::Version { from }),
        Some((_, before)) if before != digest => Some(ConfigurationChange::Options),
        Some(_) => None,
    })
}

fn is_proven(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM waves
                        WHERE configuration = (SELECT max(id) FROM configurations)
                          AND ended_at IS NOT NULL AND landed > 0)",
        [],
        |row| row.get(0),
    )
}
