//! What the model remembers between two turns, as one value that can be written down: whoever goes on from it folds the
//! next observation exactly as the process did that wrote it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::SnapshotError;
use super::fold::{ModelState, RowBytes};
use super::history::History;
use super::signals::{CapacitySettings, SignalSettings, SignalState, Signals};
use super::snapshot::Snapshot;
use super::unexplained::UnexplainedMemory;
use crate::units::{CollectionId, NodeId, ReplicaId, SegmentId};

/// The model's memory. What only saves work is not in it, and neither are settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    history: History,
    /// The last look, by the process' monotonic time, and whether somebody was above the band then.
    last_look: Option<(Duration, bool)>,
    /// The last snapshot as far as moves are noticed by it.
    previous: Option<Snapshot>,
    reported_row_bytes: BTreeMap<CollectionId, RowBytes>,
    /// A list, because JSON has no keys of two parts.
    moving_from: Vec<(SegmentId, ReplicaId, NodeId)>,
    unexplained: BTreeMap<NodeId, UnexplainedMemory>,
    signals: SignalState,
}

impl Checkpoint {
    /// Whether the snapshot in it makes sense; in what comes from a file it may not.
    pub fn check(&self) -> Result<(), SnapshotError> {
        self.previous.as_ref().map_or(Ok(()), Snapshot::check)
    }
}

impl ModelState {
    /// All that the next turn builds on.
    pub fn checkpoint(&self) -> Checkpoint {
        let from = self.moving_from.iter().map(|((segment, replica), node)| (*segment, *replica, *node));
        let mut history = self.history.clone();
        history.out_of_band.resume(None);
        let mut signals = self.signals.clone();
        signals.settings = SignalSettings::default();
        signals.capacity = CapacitySettings::default();
        Checkpoint {
            history,
            last_look: self.history.out_of_band.last_look(),
            previous: self.previous.as_ref().map(|snapshot| Snapshot {
                // Nobody looks at these again, and they are the larger half.
                signals: Signals::default(),
                points: BTreeMap::new(),
                doubts: Vec::new(),
                ..snapshot.clone()
            }),
            reported_row_bytes: self.reported_row_bytes.clone(),
            moving_from: from.collect(),
            unexplained: self.unexplained.clone(),
            signals,
        }
    }

    /// Goes on from there, with the settings that it has.
    pub fn resume(&mut self, checkpoint: Checkpoint) {
        let Checkpoint {
            mut history,
            last_look,
            previous,
            reported_row_bytes,
            moving_from,
            unexplained,
            mut signals,
        } = checkpoint;
        history.out_of_band.resume(last_look);
        signals.settings = self.signals.settings.clone();
        signals.capacity = self.signals.capacity.clone();
        let from = moving_from.into_iter().map(|(segment, replica, node)| ((segment, replica), node));
        *self = ModelState {
            history,
            previous,
            reported_row_bytes,
            moving_from: from.collect(),
            unexplained,
            signals,
            // Without these, all rows are made anew, which comes to the same.
            ..ModelState::default()
        };
    }
}
