//! The part of a turn in which it is recorded: what the pure half takes is kept with what it makes of it, so that both can
//! be compared when it thinks the same turn through again.

use std::sync::Arc;

use jiff::Timestamp;

use super::ControlLoop;
use crate::journal::{Outcome, Pen, RecordedSettings, RecordedTurn};
use crate::model::Checkpoint;
use crate::observe::observation::Observation;
use crate::turn::{Decision, OwnMoves};

/// A turn that is being recorded.
pub(super) struct Recording {
    pen: Pen,
    number: u64,
    own: OwnMoves,
    settings: RecordedSettings,
    memory: Option<Box<Checkpoint>>,
}

impl ControlLoop {
    /// Keeps what the turn that comes now will take; nothing where it is not recorded.
    pub(super) fn begin_recording(
        &self,
        began: Timestamp,
        own: &OwnMoves,
        thought: &mut u64,
    ) -> Option<Recording> {
        *thought += 1;
        let pen = self.journal.begin_recording(began)?;
        let memory = pen.needs_memory().then(|| Box::new(self.thinking.checkpoint()));
        let settings = RecordedSettings {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            mode: self.mode,
            thinking: self.thinking.settings(),
            execute: self.executor.settings().clone(),
        };
        Some(Recording { pen, number: *thought, own: own.clone(), settings, memory })
    }
}

impl Recording {
    /// Hands all of it to whoever writes it down.
    pub(super) fn end(self, observation: Arc<Observation>, decision: &Decision) {
        let Recording { pen, number, own, settings, memory } = self;
        let (now, controls) = (decision.input.now, decision.input.controls.clone());
        let outcome = Outcome::of(decision);
        pen.record(observation, Some(RecordedTurn { number, now, own, controls, settings, memory, outcome }));
    }
}
