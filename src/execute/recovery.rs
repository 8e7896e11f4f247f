//! The executor's memory over restarts and beside other processes: what the journal knows of moves that this
//! process did not make, or does not remember making.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::executor::Executor;
use super::ledger::{DEPARTURES_KEPT, ENDED_KEPT};
use super::operation::{Event, Operation, OperationId, OperationState, Origin};
use crate::journal::JournalError;

impl Executor {
    /// At start: takes over what the journal says is open, and restores limits and departures. The next
    /// observation must be settled before anything is planned.
    pub async fn recover(&mut self) -> Result<(), JournalError> {
        let now = self.now();
        let remembered = self.journal.operations_since(earlier(now, DEPARTURES_KEPT)).await?;
        self.restore_limits(&remembered, now);
        for operation in remembered {
            let (id, origin) = (operation.id, operation.origin);
            self.ledger.insert(operation, now);
            if origin == self.origin {
                self.apply(id, &Event::Recovered, now);
            }
        }
        self.take_over_orphans(now);
        self.resume_waves().await?;
        self.save().await;
        Ok(())
    }

    fn restore_limits(&mut self, remembered: &[Operation], now: Timestamp) {
        let mut sent: Vec<(Timestamp, &Operation)> = remembered
            .iter()
            .filter(|operation| operation.origin == self.origin)
            .map(|operation| (operation.sent_at.unwrap_or(operation.changed_at), operation))
            .collect();
        sent.sort_by_key(|(at, operation)| (*at, operation.id));
        let mut last_batch = None;
        for (at, operation) in sent {
            if last_batch != Some(operation.batch) {
                last_batch = Some(operation.batch);
                // A clock that was set back must not make an old call look as if it were still to come.
                let ago = Duration::try_from(now.duration_since(at)).unwrap_or(Duration::ZERO);
                self.rate.record_earlier(Instant::now(), ago);
            }
            if !matches!(operation.state, OperationState::Refused { .. }) {
                self.budget.record(at, operation.id, operation.movement.bytes);
            }
        }
        self.budget.forget_before(now);
    }

    /// Takes over what `load-balance` wrote to the journal meanwhile. Called each turn, before `settle`.
    pub async fn refresh_from_journal(&mut self) -> Result<(), JournalError> {
        if self.origin == Origin::Manual {
            return Ok(());
        }
        let now = self.now();
        let manual = self.journal.manual_operations_since(earlier(now, ENDED_KEPT)).await?;
        for row in manual {
            match self.ledger.get(row.id) {
                Some(known) if known.state == row.state => {}
                // We saw its end first; the other process does not know yet.
                Some(known) if known.state.is_ended() && !row.state.is_ended() => {
                    self.ledger.save_again(row.id);
                }
                _ => self.ledger.insert(row, now),
            }
        }
        self.take_over_orphans(now);
        self.save().await;
        Ok(())
    }

    /// Manual operations whose process would have been done long ago, and is not, are looked after by us.
    fn take_over_orphans(&mut self, now: Timestamp) {
        let patience = as_signed(self.settings.settle_timeout);
        let orphans: Vec<OperationId> = self
            .ledger
            .open()
            .filter(|operation| {
                operation.origin != self.origin && now.duration_since(operation.changed_at) > patience
            })
            .map(|operation| operation.id)
            .collect();
        for id in orphans {
            self.apply(id, &Event::Recovered, now);
        }
    }
}

fn earlier(now: Timestamp, age: SignedDuration) -> Timestamp {
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

fn as_signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
