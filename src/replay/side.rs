//! One side of a replay: the pure half under one configuration, turn by turn, and the figures that come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::figures::{Sample, SideFigures, pressures};
use crate::execute::calls_needed;
use crate::journal::{RecordedSettings, RecordedTurn};
use crate::model::{Actor, Checkpoint, EndedMove, NetZeroShare};
use crate::observe::observation::Observation;
use crate::plan::{FindingState, Move};
use crate::turn::{Decision, Thinking};
use crate::units::{Bytes, Moment};

/// So much time between two turns is believed to have been like the first of them, as in the net-zero ledger.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// One side.
#[derive(Default)]
pub(super) struct Side {
    thinking: Option<(Thinking, RecordedSettings)>,
    figures: SideFigures,
    /// Moves that the gates let through in the last turn: one that stands on is not asked for again.
    standing: BTreeSet<Move>,
    /// All moves that were asked for, in the order of time.
    asked: Vec<EndedMove>,
    /// The last turn, and whether somebody was above the band.
    last: Option<(Moment, Option<bool>)>,
}

impl Side {
    /// Takes a turn by these options.
    pub(super) fn turn(
        &mut self,
        settings: &RecordedSettings,
        memory: Option<&Checkpoint>,
        observation: &Observation,
        turn: &RecordedTurn,
    ) -> Decision {
        let thinking = self.thinking(settings, memory);
        thinking.obey(turn.controls.clone());
        let decision = thinking.turn(observation, turn.own.clone(), turn.now);
        self.note(settings, turn, &decision);
        decision
    }

    fn thinking(&mut self, settings: &RecordedSettings, memory: Option<&Checkpoint>) -> &mut Thinking {
        let begin = || (Thinking::with_settings(&settings.thinking), settings.clone());
        let (thinking, known) = self.thinking.get_or_insert_with(begin);
        if known != settings {
            let memory = thinking.checkpoint();
            *thinking = Thinking::with_settings(&settings.thinking);
            thinking.resume(memory);
            *known = settings.clone();
        }
        if let Some(memory) = memory {
            thinking.resume(memory.clone());
        }
        thinking
    }

    fn note(&mut self, settings: &RecordedSettings, turn: &RecordedTurn, decision: &Decision) {
        let steps =
            decision.verdict.admitted.iter().filter_map(|position| decision.plan.steps.get(*position));
        let admitted: Vec<&Move> = steps.flat_map(|step| &step.moves).collect();
        let new: Vec<Move> =
            admitted.iter().filter(|movement| !self.standing.contains(movement)).copied().cloned().collect();
        self.standing = admitted.into_iter().cloned().collect();

        let figures = &mut self.figures;
        figures.turns += 1;
        figures.turns_with_plan += usize::from(!decision.plan.steps.is_empty());
        figures.calls += calls_needed(&settings.execute, &new);
        let mut bytes = Bytes::ZERO;
        for movement in &new {
            bytes = bytes.saturating_add(movement.bytes);
            self.asked.push(EndedMove {
                at: turn.now.wall,
                segment: movement.segment,
                replica: movement.replica,
                collection: movement.collection,
                from: movement.from,
                to: movement.to,
                bytes: movement.bytes,
                actor: Actor::Daemon,
            });
        }
        let mut reasons: BTreeMap<&'static str, usize> = BTreeMap::new();
        for refusal in &decision.verdict.refusals {
            *reasons.entry(refusal.reason.code()).or_default() += 1;
        }
        for (code, times) in reasons {
            let refused = figures.refused.entry(code).or_default();
            refused.turns += 1;
            refused.times += times;
        }
        let is_out = decision.input.history.out_of_band.is_out();
        note_time(figures, self.last.replace((turn.now, is_out)), turn.now);
        let overloaded: BTreeSet<_> = decision
            .findings
            .iter()
            .filter(|finding| finding.state == FindingState::Overloaded)
            .map(|finding| finding.node)
            .collect();
        figures.series.push(Sample {
            at: turn.now.wall,
            pressures: pressures(decision),
            overloaded: overloaded.len(),
            is_out_of_band: is_out,
            planned: decision.plan.moves().count(),
            asked: new.len(),
            asked_bytes: bytes,
        });
    }

    pub(super) fn finish(self) -> SideFigures {
        let Side { mut figures, asked, .. } = self;
        figures.asked = NetZeroShare::of(asked.iter());
        figures.summarise();
        figures
    }
}

/// The time since the last turn, which was like that one.
fn note_time(figures: &mut SideFigures, last: Option<(Moment, Option<bool>)>, now: Moment) {
    let Some((since, Some(was_out))) = last else { return };
    let passed = match now.monotonic.checked_sub(since.monotonic) {
        Some(passed) => passed.min(LONGEST_PAUSE),
        // Another process, whose clock began anew; what was between them is not known.
        None => return,
    };
    figures.observed += passed;
    if was_out {
        figures.out_of_band += passed;
    }
}
