//! The executor's waves, from the offer that they are planned on to the judgement of what they brought.

use std::sync::Arc;
use std::time::Duration;

use super::executor::Executor;
use super::waves::JudgedWave;
use crate::plan::Move;
use crate::plan::relief::LoadPicture;

impl Executor {
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
