//! The model's memory in the journal: read at the start, and written each turn as far as it has changed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::journal::{Journal, JournalError};
use crate::model::ForeignMove;
use crate::model::restart::Remembered;
use crate::telemetry::Chain;
use crate::turn::FOREIGN_MEMORY;

/// Form of the documents below. A document of another form is not read: it may mean something else.
const VERSION: u32 = 1;

/// Names of the documents in the journal.
const TURNS_OVER: &str = "turns_over";
const OUT_OF_BAND: &str = "out_of_band";
const UNEXPLAINED_MEMORY: &str = "unexplained_memory";

/// A document with the form that it has.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    value: T,
}

/// What the process before remembered, and the foreign moves that it noticed. Documents that cannot be understood
/// are passed over with a warning: what they say is then learnt anew.
pub(super) async fn read(
    journal: &Journal,
    now: Timestamp,
) -> Result<(Remembered, Vec<ForeignMove>), JournalError> {
    let remembered = Remembered {
        counts: document(journal, TURNS_OVER).await?,
        out_of_band: document(journal, OUT_OF_BAND).await?.unwrap_or_default(),
        unexplained: document(journal, UNEXPLAINED_MEMORY).await?.unwrap_or_default(),
    };
    let age = SignedDuration::try_from(FOREIGN_MEMORY).unwrap_or(SignedDuration::MAX);
    let foreign = journal.foreign_moves_since(now.checked_sub(age).unwrap_or(Timestamp::MIN)).await?;
    Ok((remembered, foreign))
}

async fn document<T: DeserializeOwned>(
    journal: &Journal,
    name: &'static str,
) -> Result<Option<T>, JournalError> {
    let Some(text) = journal.load_state(name).await? else { return Ok(None) };
    match serde_json::from_str::<Versioned<T>>(&text) {
        Ok(Versioned { version: VERSION, value }) => Ok(Some(value)),
        Ok(Versioned { version, .. }) => {
            tracing::warn!(name, version, "what the journal remembers is of another version; it begins anew");
            Ok(None)
        }
        Err(error) => {
            tracing::warn!(
                name,
                error = %Chain(&error),
                "what the journal remembers cannot be understood; it begins anew"
            );
            Ok(None)
        }
    }
}

/// What is still to be written, and what need not be written again.
#[derive(Default)]
pub(super) struct Unwritten {
    foreign: Vec<ForeignMove>,
    known: BTreeMap<&'static str, String>,
}

impl Unwritten {
    /// Writes what has changed. What cannot be written now is tried again with the next turn.
    pub(super) async fn write(
        &mut self,
        journal: &Journal,
        remembered: Remembered,
        foreign: Vec<ForeignMove>,
    ) -> Result<(), JournalError> {
        self.foreign.extend(foreign);
        if !self.foreign.is_empty() {
            journal.record_foreign_moves(self.foreign.clone()).await?;
            self.foreign.clear();
        }
        let Remembered { counts, out_of_band, unexplained } = remembered;
        // Nothing is counted for most of the time; that is said once and not each turn.
        let counts = counts.filter(|kept| kept.turns_over.values().any(|nodes| !nodes.is_empty()));
        for (name, text) in [
            (TURNS_OVER, written(counts)),
            (OUT_OF_BAND, written(out_of_band)),
            (UNEXPLAINED_MEMORY, written(unexplained)),
        ] {
            if self.known.get(name) != Some(&text) {
                journal.save_state(name, text.clone()).await?;
                self.known.insert(name, text);
            }
        }
        Ok(())
    }
}

/// The document. What these types hold can always be written as JSON; an empty text would be passed over by the
/// reader.
fn written(value: impl Serialize) -> String {
    serde_json::to_string(&Versioned { version: VERSION, value }).unwrap_or_default()
}
