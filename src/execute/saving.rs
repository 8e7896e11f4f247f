//! What became of operations, on its way into the journal: a slow or failing disk holds up calls, never the looking.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::executor::Executor;
use super::follow::with_causes;
use super::operation::Operation;
use crate::journal::JournalError;

/// Pause after a failed write of the journal.
const JOURNAL_RETRY: Duration = Duration::from_secs(5);

/// Outcomes that are being written.
pub(super) struct PendingSave {
    operations: Vec<Operation>,
    written: JoinHandle<Result<(), JournalError>>,
}

impl Executor {
    /// Brings the journal up to date, unless that fails. Whoever cancels it finds the write that was begun at
    /// the next call, so that a slow disk and an impatient caller still get on.
    pub(super) async fn save(&mut self) {
        loop {
            if self.saving.is_none() && !self.begin_saving() {
                return;
            }
            let Some(saving) = &mut self.saving else { return };
            let written = self.journal.finished((&mut saving.written).await);
            let Some(PendingSave { operations, .. }) = self.saving.take() else { return };
            match written {
                Ok(()) => {
                    self.ledger.saved(&operations);
                    self.note_journal_works();
                }
                Err(error) => return self.note_journal_failure(error),
            }
        }
    }

    /// Whether there is something to write. After a failure even an empty write is made: it shows whether the
    /// journal works again.
    fn begin_saving(&mut self) -> bool {
        let operations = self.ledger.unsaved();
        if operations.is_empty() && self.journal_failure.is_none() {
            return false;
        }
        let written = self.journal.start_save(operations.clone());
        self.saving = Some(PendingSave { operations, written });
        true
    }

    pub(super) fn note_journal_works(&mut self) {
        self.journal_failure = None;
        self.journal_retry_at = None;
    }

    pub(super) fn note_journal_failure(&mut self, error: JournalError) {
        let detail = with_causes(&error);
        if self.journal_failure.as_ref().map(|known| with_causes(known)).as_ref() != Some(&detail) {
            tracing::error!(error = detail, "nothing is sent until the journal can be written again");
        }
        self.journal_failure = Some(error);
        self.journal_retry_at = Some(Instant::now() + JOURNAL_RETRY);
    }

    /// Why the journal cannot be written, for those who do not wait until it can.
    pub(super) fn take_journal_error(&mut self) -> Option<JournalError> {
        self.journal_failure.take()
    }

    pub(super) fn journal_may_be_tried(&self) -> bool {
        self.journal_retry_at.is_none_or(|at| at <= Instant::now())
    }
}
