//! The executor's waves, from the offer that they are planned on to the judgement of what they brought.

use std::sync::Arc;
use std::time::Duration;

use super::executor::Executor;
use super::waves::{JudgedWave, PastWave, WaveVerdict};
use crate::journal::{JournalError, WaveRecord};
use crate::plan::Move;
use crate::plan::relief::LoadPicture;
use crate::reason::Reason;

/// Past waves that are looked at after a restart: the size follows from the last, the rests from those in a row
/// without relief, of which a day has no more.
const PAST_WAVES: usize = 100;

impl Executor {
    /// After a restart: goes on with what the waves under this configuration have taught. A wave that the restart
    /// interrupted is not judged.
    pub(super) async fn resume_waves(&mut self) -> Result<(), JournalError> {
        let past = self.journal.waves_of_this_configuration(PAST_WAVES).await?;
        self.waves.resume(past.iter().filter_map(past_wave));
        Ok(())
    }

    /// The moves of the wave that is under way: the next picture must show their loads.
    pub fn wave_moves(&self) -> Vec<Move> {
        self.waves.moves()
    }

    /// Judges the wave of which all has ended, if there is one and the picture is new enough: it must have been
    /// begun this long after the last of its moves ended. From now on moves are planned on this picture.
    pub fn judge_wave(&mut self, seen: Arc<LoadPicture>, settle: Duration) -> Option<JudgedWave> {
        let now = self.now();
        let judged = self.waves.judge(&seen, settle, now.wall);
        self.waves.plan_on(seen);
        if let Some(wave) = &judged {
            self.tell_wave(wave);
        }
        judged
    }

    /// No further call goes out for this reason, until it is taken back; running ones end as they do.
    pub fn hold(&mut self, reason: Option<Reason>) {
        self.hold = reason;
    }

    fn tell_wave(&self, wave: &JudgedWave) {
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
        let Some(waves) = self.waves.stopped_after(wave.judged_at) else { return };
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
