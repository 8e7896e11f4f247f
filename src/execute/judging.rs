//! The executor's waves, from the offer that they are planned on to the judgement of what they brought.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::executor::Executor;
use super::ledger::ENDED_KEPT;
use super::operation::{BatchId, Operation, OperationId};
use super::steady::Steady;
use super::waves::{JudgedWave, PastWave, WaveVerdict};
use crate::journal::{JournalError, WaveRecord};
use crate::plan::Move;
use crate::plan::relief::LoadPicture;
use crate::reason::Reason;
use crate::units::Moment;

/// Past waves that are looked at after a restart: the size follows from the last, the rests from those in a row
/// without relief, of which a day has no more.
const PAST_WAVES: usize = 100;

impl Executor {
    /// After a restart: goes on with what the waves under this configuration have taught.
    pub(super) async fn resume_waves(
        &mut self,
        remembered: &[Operation],
        now: Moment,
    ) -> Result<(), JournalError> {
        let past = self.journal.waves_of_this_configuration(PAST_WAVES).await?;
        self.waves.resume(past.iter().filter_map(past_wave), now);
        let judged_at = past.iter().filter_map(|wave| wave.ended_at).max();
        self.resume_interrupted(remembered, judged_at, now);
        Ok(())
    }

    /// What was sent since the last judgement still counts as a wave, or each restart would send another one. The
    /// loads that it was planned on are gone, so that it proves nothing, or that something failed.
    fn resume_interrupted(&mut self, remembered: &[Operation], judged_at: Option<Timestamp>, now: Moment) {
        let own = remembered.iter().filter(|operation| operation.origin == self.origin);
        for operation in own {
            let is_open = !operation.state.is_ended();
            // Whether an admitted move was sent cannot be told; what ended without a time was taken back.
            let Some(sent_at) = operation.sent_at.or(is_open.then_some(operation.changed_at)) else {
                continue;
            };
            let is_unjudged = match judged_at {
                Some(judged_at) => sent_at >= judged_at,
                None => Steady::of_wall(sent_at, now).age(Steady::of(now)) < ENDED_KEPT,
            };
            if is_unjudged {
                let sent = Moment { wall: sent_at, ..now };
                self.waves.record_sent(operation.id, &operation.movement, sent);
                self.waves.record_end(operation.id, &operation.state, now);
            }
        }
    }

    /// The moves of the wave that is under way: the next picture must show their loads.
    pub fn wave_moves(&self) -> Vec<Move> {
        self.waves.moves()
    }

    /// Judges the wave of which all has ended, if there is one and the picture is new enough: it must have been
    /// begun this long after the last of its moves ended. From now on moves are planned on this picture.
    pub fn judge_wave(&mut self, seen: Arc<LoadPicture>, settle: Duration) -> Option<JudgedWave> {
        let now = self.now();
        let judged = self.waves.judge(&seen, settle, now);
        self.waves.plan_on(seen);
        if let Some(wave) = &judged {
            self.tell_wave(wave, now);
        }
        judged
    }

    /// Nothing waits for ever for an operation that nobody can see, because its collection cannot be read or is
    /// loading: it stays open and counts against the limits, but the wave and the breaker take it as no proof of
    /// anything. Each is told once.
    pub(super) fn release_overdue(&mut self, now: Moment) {
        let steady = Steady::of(now);
        let patience = self.settings.settle_timeout;
        let overdue = |sent: Steady| sent.age(steady) > patience;
        let unseen: Vec<(OperationId, BatchId)> = self
            .ledger
            .open()
            .filter(|operation| overdue(operation.evidence.sent))
            .map(|operation| (operation.id, operation.batch))
            .collect();
        for (id, batch) in unseen {
            let wave = self.waves.give_up(id, now);
            let canary = self.breaker.give_up(batch, steady);
            if wave || canary {
                tracing::warn!(
                    operation = id.0,
                    wave,
                    canary,
                    "nobody can see what became of this move; it stays open, but nothing else waits for it"
                );
            }
        }
    }

    /// No further call goes out for this reason, until it is taken back; running ones end as they do.
    pub fn hold(&mut self, reason: Option<Reason>) {
        self.hold = reason;
    }

    fn tell_wave(&self, wave: &JudgedWave, now: Moment) {
        let JudgedWave { sent, landed, failed, relief, verdict, .. } = wave;
        tracing::info!(
            verdict = verdict.code(),
            sent,
            landed,
            failed,
            predicted = relief.predicted.decimal(),
            realised = relief.realised.decimal(),
            next = self.waves.size(),
            "wave over: {relief}"
        );
        let Some(waves) = self.waves.stopped_after(now) else { return };
        tracing::error!(
            waves,
            "nothing is moved for now: the last {waves} waves moved segments and relieved nobody. Compare the nodes' \
             own figures with the pressures shown here, see that nobody else moves segments, and correct \
             policies or capacities; a change of configuration or a longer rest starts again with one move"
        );
    }
}

/// What of a record matters for the next wave; `None` for one that has no verdict.
fn past_wave(record: &WaveRecord) -> Option<PastWave> {
    Some(PastWave {
        size: u32::try_from(record.size).unwrap_or(u32::MAX),
        sent: u32::try_from(record.sent).unwrap_or(u32::MAX),
        verdict: WaveVerdict::of_code(&record.outcome)?,
        judged_at: record.ended_at?,
    })
}

impl JudgedWave {
    /// For the journal.
    pub fn record(&self) -> WaveRecord {
        WaveRecord {
            id: None,
            started_at: self.began_at,
            ended_at: Some(self.judged_at),
            size: self.size.into(),
            sent: self.sent.into(),
            landed: self.landed.into(),
            failed: self.failed.into(),
            bytes: self.bytes,
            predicted_relief: Some(self.relief.predicted.decimal()),
            realised_relief: Some(self.relief.realised.decimal()),
            outcome: self.verdict.code().to_owned(),
            detail: self.relief.to_string(),
        }
    }
}
