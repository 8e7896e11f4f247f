//! What of the model's memory outlives the process, so that a restart neither alarms nor calms anybody: the daemon
//! goes on counting where the one before it was killed.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::fold::{LARGEST_NODE, ModelState};
use super::history::{ForeignMove, TurnsOver};
use super::out_of_band::OutOfBand;
use super::unexplained::UnexplainedMemory;
use crate::units::NodeId;

/// Counts of turns in a row hold over a restart of up to this long: an upgrade or a rescheduled pod. After a longer
/// absence nobody knows whether the turns in between would have been such.
const COUNTS_HOLD: Duration = Duration::from_secs(10 * 60);

/// Counts of turns, and when they were made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCounts {
    /// When the last turn ended that is counted.
    pub at: Timestamp,
    /// The counts.
    pub turns_over: TurnsOver,
}

/// What is handed from one process to the next. Foreign moves are handed over one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// For how many turns nodes have been over their band.
    pub counts: Option<KeptCounts>,
    /// For how long some node was above its band within the last day.
    pub out_of_band: OutOfBand,
    /// Memory that segments do not explain, by node.
    pub unexplained: BTreeMap<NodeId, UnexplainedMemory>,
}

impl ModelState {
    /// What the next process should know.
    pub fn remembered(&self, at: Timestamp) -> Remembered {
        Remembered {
            counts: Some(KeptCounts { at, turns_over: self.history.turns_over.clone() }),
            out_of_band: self.history.out_of_band.clone(),
            unexplained: self.unexplained.clone(),
        }
    }

    /// Takes over what the process before knew, as far as it still holds and can be believed.
    pub fn recall(&mut self, remembered: Remembered, foreign_moves: Vec<ForeignMove>, now: Timestamp) {
        let Remembered { counts, out_of_band, mut unexplained } = remembered;
        unexplained.retain(|_, memory| memory.is_recent(now) && memory.lowest() <= LARGEST_NODE);
        let hold = |kept: &KeptCounts| now.duration_since(kept.at).unsigned_abs() <= COUNTS_HOLD;
        self.history.turns_over = counts.filter(hold).map(|kept| kept.turns_over).unwrap_or_default();
        self.history.out_of_band = out_of_band;
        self.history.foreign_moves = foreign_moves;
        self.unexplained = unexplained;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bytes;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + minute * 60).unwrap()
    }

    /// A state with one count and one baseline, made at minute 0.
    fn state() -> ModelState {
        let mut state = ModelState::default();
        let counts = BTreeMap::from([(NodeId(7), 2)]);
        state.history.turns_over.insert("memory".to_owned(), counts);
        state.unexplained.insert(NodeId(7), UnexplainedMemory::new(Bytes(100), at(0)));
        state
    }

    fn recalled(at_minute: i64) -> ModelState {
        let mut next = ModelState::default();
        next.recall(state().remembered(at(0)), Vec::new(), at(at_minute));
        next
    }

    #[test]
    fn a_short_absence_changes_nothing() {
        let next = recalled(5);
        assert_eq!(next.history.turns_over["memory"][&NodeId(7)], 2);
        assert_eq!(next.unexplained, state().unexplained);
    }

    #[test]
    fn what_is_too_old_is_begun_anew() {
        assert!(recalled(11).history.turns_over.is_empty());
        assert_eq!(recalled(29).unexplained.len(), 1);
        assert!(recalled(31).unexplained.is_empty());
        assert!(recalled(-60).history.turns_over.is_empty(), "a clock that was set back far");
    }

    #[test]
    fn absurd_baselines_are_not_believed() {
        let mut absurd = state();
        absurd.unexplained.insert(NodeId(8), UnexplainedMemory::new(Bytes(u64::MAX), at(0)));
        let mut next = ModelState::default();
        next.recall(absurd.remembered(at(0)), Vec::new(), at(1));
        assert_eq!(next.unexplained.keys().collect::<Vec<_>>(), [&NodeId(7)]);
    }
}
