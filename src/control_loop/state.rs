//! What the control loop shows of itself while it runs: the last turn, what is on its way, what has ended. Readers
//! look at it whenever they like and never hold up the loop.

use std::collections::VecDeque;
use std::sync::Arc;

use super::trail::Trail;
use crate::execute::executor::ExecutorStatus;
use crate::execute::operation::Operation;
use crate::execute::waves::JudgedWave;
use crate::reason::Reason;
use crate::turn::Decision;

/// Ended operations that are kept for readers: more than end between two looks of a reader that looks at all.
/// All of them are in the journal.
const ENDED_KEPT: usize = 1000;

/// What the control loop shows of itself.
#[derive(Clone, Debug, Default)]
pub struct LoopState {
    /// Turns that were taken, failed ones included.
    pub turns: u64,
    /// The last turn that could observe the cluster.
    pub last: Option<Arc<LastTurn>>,
    /// Why the last look at the cluster failed, with its causes; `None` when it succeeded.
    pub failure: Option<String>,
    /// Numbers of the executor.
    pub executor: ExecutorStatus,
    /// Operations whose end is not known, by number.
    pub open: Vec<Operation>,
    /// How many operations have ended since the start. A late landing counts twice.
    pub ended_count: u64,
    /// The newest of those, oldest first.
    pub ended: VecDeque<Arc<Operation>>,
    /// How many waves have been judged since the start.
    pub waves_judged: u64,
    /// The last of them.
    pub last_wave: Option<JudgedWave>,
    /// What the turns before came to.
    pub trail: Trail,
}

/// A turn and what held it back.
#[derive(Clone, Debug)]
pub struct LastTurn {
    /// What it came to.
    pub decision: Decision,
    /// The one reason that held us back, if any did.
    pub limited_by: Option<Reason>,
}

impl LoopState {
    /// Adds what has ended.
    pub(super) fn record_ends(&mut self, ended: &[Operation]) {
        for operation in ended {
            self.ended_count += 1;
            self.ended.push_back(Arc::new(operation.clone()));
            if self.ended.len() > ENDED_KEPT {
                self.ended.pop_front();
            }
        }
    }

    /// The operations that ended after the first `known` ones, as far as they are still kept, oldest first.
    pub fn ended_since(&self, known: u64) -> impl Iterator<Item = &Operation> {
        let new = usize::try_from(self.ended_count.saturating_sub(known)).unwrap_or(usize::MAX);
        self.ended.iter().skip(self.ended.len().saturating_sub(new)).map(Arc::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::operation::OperationId;
    use crate::execute::operation::tests::sent;
    use crate::plan::Move;
    use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

    fn ended(number: i64) -> Operation {
        let movement = Move {
            segment: SegmentId(number),
            collection: CollectionId(1),
            replica: ReplicaId(1),
            from: NodeId(1),
            to: NodeId(2),
            bytes: Bytes(1),
            rows: Rows(1),
        };
        Operation { id: OperationId(number), ..sent(movement) }
    }

    fn numbers(state: &LoopState, known: u64) -> Vec<i64> {
        state.ended_since(known).map(|operation| operation.id.0).collect()
    }

    #[test]
    fn a_reader_gets_each_end_once_and_the_newest_are_kept() {
        let mut state = LoopState::default();
        assert!(numbers(&state, 0).is_empty());
        let ends: Vec<Operation> = (1..=3).map(ended).collect();
        state.record_ends(&ends);
        assert_eq!(numbers(&state, 0), [1, 2, 3]);
        assert_eq!(numbers(&state, 2), [3]);
        assert!(numbers(&state, 3).is_empty());
        for _ in 0..ENDED_KEPT {
            state.record_ends(&ends[..1]);
        }
        assert_eq!(state.ended.len(), ENDED_KEPT);
        assert_eq!(numbers(&state, 0).len(), ENDED_KEPT, "older ones are gone");
    }
}
