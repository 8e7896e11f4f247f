//! What must outlive the process and is not history: small JSON documents by name, each replaced as a whole.

use rusqlite::{OptionalExtension, params};

use super::{Journal, JournalError};

impl Journal {
    /// Keeps a document under a name, in place of the one before.
    pub async fn save_state(&self, name: &'static str, json: String) -> Result<(), JournalError> {
        self.run("save state", move |connection| {
            connection.execute(
                "INSERT INTO state (name, json) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET json = excluded.json",
                params![name, json],
            )?;
            Ok(())
        })
        .await
    }

    /// The document under that name, if there is one.
    pub async fn load_state(&self, name: &'static str) -> Result<Option<String>, JournalError> {
        self.run("load state", move |connection| {
            connection
                .query_row("SELECT json FROM state WHERE name = ?1", [name], |row| row.get(0))
                .optional()
        })
        .await
    }
}
