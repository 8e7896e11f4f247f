//! Memory of a node that its sealed segments do not explain: the process, growing data, the delegator. Segment
//! moves cannot change it, so it is the base load of the `memory` policy.
//!
//! What is in use less what is listed would be that, were it not for two delays: GetMetrics is cached for 5 s, and
//! an allocator gives memory back late or never. Right after a move the source would look as if its base load had
//! grown by what just left it, and would be drained of the rest too. So the base load is the *lowest* difference
//! of the last while: it falls at once and rises late.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// Length of one of the two windows over which the lowest value holds, in seconds: longer than allocators and
/// caches take to forget what was moved (Go returns memory after about 5 minutes).
const WINDOW_SECONDS: i64 = 15 * 60;

/// How much older than the list of segments a node's memory figure may be: GetMetrics is cached for 5 s, and a node
/// that has just loaded answers late.
pub const FIGURES_LAG: SignedDuration = SignedDuration::from_secs(15);

/// The lowest unexplained memory of one node in this window and in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnexplainedMemory {
    window_started: Timestamp,
    current: Bytes,
    previous: Option<Bytes>,
}

impl UnexplainedMemory {
    /// The first reading of a node.
    pub fn new(reading: Bytes, at: Timestamp) -> UnexplainedMemory {
        UnexplainedMemory { window_started: at, current: reading, previous: None }
    }

    /// One more reading. A clock that was set back starts a window.
    pub fn record(&mut self, reading: Bytes, at: Timestamp) {
        let passed = at.duration_since(self.window_started).as_secs();
        if (0..WINDOW_SECONDS).contains(&passed) {
            self.current = self.current.min(reading);
            return;
        }
        *self = UnexplainedMemory { window_started: at, current: reading, previous: Some(self.current) };
    }

    /// Whether it says anything about the two windows before now.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.window_started).as_secs();
        age.unsigned_abs() <= 2 * WINDOW_SECONDS.unsigned_abs()
    }

    /// The lowest of both windows.
    pub fn lowest(&self) -> Bytes {
        self.previous.map_or(self.current, |previous| previous.min(self.current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    #[test]
    fn it_falls_at_once_and_rises_late() {
        let mut memory = UnexplainedMemory::new(Bytes(100), at(0));
        memory.record(Bytes(900), at(1));
        assert_eq!(memory.lowest(), Bytes(100), "what a move just left behind is not believed");
        memory.record(Bytes(40), at(2));
        assert_eq!(memory.lowest(), Bytes(40));
        memory.record(Bytes(900), at(16));
        assert_eq!(memory.lowest(), Bytes(40), "the last window still holds");
        memory.record(Bytes(900), at(32));
        assert_eq!(memory.lowest(), Bytes(900), "by now it is true");
    }

    #[test]
    fn a_clock_set_back_forgets_nothing_at_once() {
        let mut memory = UnexplainedMemory::new(Bytes(100), at(60));
        memory.record(Bytes(900), at(0));
        assert_eq!(memory.lowest(), Bytes(100));
    }
}
