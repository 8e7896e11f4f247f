//! The executor's memory over restarts and beside other processes: what the journal knows of moves that this
//! process did not make, or does not remember making.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::executor::Executor;
use super::ledger::{DEPARTURES_KEPT, ENDED_KEPT};
use super::operation::{BatchId, Event, Operation, OperationId, OperationState, Origin};
use super::steady::Steady;
use crate::journal::JournalError;
use crate::units::{Bytes, Moment};

impl Executor {
    /// At start: takes over what the journal says is open, and restores limits and departures. The next
    /// observation must be settled before anything is planned.
    pub async fn recover(&mut self) -> Result<(), JournalError> {
        let now = self.now();
        let remembered = self.journal.operations_since(earlier(now.wall, DEPARTURES_KEPT)).await?;
        self.restore_limits(&remembered, now);
        self.resume_waves(&remembered, now).await?;
        for operation in remembered {
            let (id, origin) = (operation.id, operation.origin);
            self.ledger.insert(operation, now);
            if origin == self.origin {
                self.apply(id, &Event::Recovered, now);
            }
        }
        self.take_over_orphans(now);
        self.save().await;
        Ok(())
    }

    fn restore_limits(&mut self, remembered: &[Operation], now: Moment) {
        let own = remembered.iter().filter(|operation| operation.origin == self.origin);
        let mut calls: Vec<(BatchId, Steady, Bytes)> = Vec::new();
        for (sent, operation) in sending_times(own.collect(), now) {
            let bytes = operation.movement.bytes;
            match calls.last_mut() {
                Some((batch, _, total)) if *batch == operation.batch => *total = total.saturating_add(bytes),
                _ => calls.push((operation.batch, sent, bytes)),
            }
            if !matches!(operation.state, OperationState::Refused { .. }) {
                self.spending.record(sent, operation.id, bytes);
            }
        }
        for (_, sent, bytes) in &calls {
            self.rate.record(*sent);
            self.byte_rate.record(*sent, *bytes);
        }
        self.restore_breaker(&calls, remembered, now);
        self.spending.forget(Steady::of(now));
        for operation in remembered.iter().filter(|operation| operation.state == OperationState::Landed) {
            if let Some(sent_at) = operation.sent_at {
                // A calendar that was set back in between says nothing.
                let took = Duration::try_from(operation.changed_at.duration_since(sent_at));
                took.into_iter().for_each(|took| self.landings.record(took));
            }
        }
    }

    /// Lets the breaker live through it again: calls and ends in the order of time.
    fn restore_breaker(&mut self, calls: &[(BatchId, Steady, Bytes)], remembered: &[Operation], now: Moment) {
        let sendings = calls.iter().map(|(batch, sent, _)| (*sent, *batch, None));
        let own = remembered.iter().filter(|operation| operation.origin == self.origin);
        let ends = own.filter(|operation| operation.state.is_ended()).map(|operation| {
            (Steady::of_wall(operation.changed_at, now), operation.batch, Some(&operation.state))
        });
        let mut events: Vec<_> = sendings.chain(ends).collect();
        // A call before its own ends, should they bear the same time.
        events.sort_by_key(|(at, batch, end)| (*at, *batch, end.is_some()));
        for (at, batch, end) in events {
            match end {
                None => self.breaker.sent(batch),
                Some(end) => self.breaker.ended(batch, end, at),
            }
        }
    }

    /// Takes over what `load-balance` wrote to the journal meanwhile. Called each turn, before `settle`.
    pub async fn refresh_from_journal(&mut self) -> Result<(), JournalError> {
        if self.origin == Origin::Manual {
            return Ok(());
        }
        let now = self.now();
        let manual = self.journal.manual_operations_since(earlier(now.wall, ENDED_KEPT)).await?;
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
    fn take_over_orphans(&mut self, now: Moment) {
        let patience = self.settings.settle_timeout;
        let orphans: Vec<OperationId> = self
            .ledger
            .open()
            .filter(|operation| {
                operation.origin != self.origin && operation.evidence.changed.age(Steady::of(now)) > patience
            })
            .map(|operation| operation.id)
            .collect();
        for id in orphans {
            self.apply(id, &Event::Recovered, now);
        }
    }
}

/// When each of these went out, on the process' clock, oldest first. Numbers tell their order for sure, and the times
/// between one and the next add up to their age: where the calendar was set back in between, or since, that counts as
/// no time at all, so that nothing seems older than it is.
fn sending_times(mut sent: Vec<&Operation>, now: Moment) -> Vec<(Steady, &Operation)> {
    sent.sort_by_key(|operation| operation.id);
    let mut times = Vec::with_capacity(sent.len());
    let (mut next, mut age) = (now.wall, Duration::ZERO);
    for operation in sent.into_iter().rev() {
        let at = operation.sent_at.unwrap_or(operation.changed_at);
        age = age.saturating_add(Duration::try_from(next.duration_since(at)).unwrap_or(Duration::ZERO));
        next = at;
        times.push((Steady::of(now).earlier(age), operation));
    }
    times.reverse();
    times
}

fn earlier(now: Timestamp, age: Duration) -> Timestamp {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}
