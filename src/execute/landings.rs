//! How long to wait for an outcome that nobody knows: learned from how long the landed moves of this cluster took.

use std::collections::VecDeque;
use std::time::Duration;

/// Landings that are remembered: enough for the slowest in a hundred to be several.
const KEPT: usize = 512;

/// With fewer than these nothing is concluded: a handful of small segments says little about a large one.
const ENOUGH: usize = 50;

/// The slowest in a hundred, so many times over, has not landed any more: it was lost.
const TIMES_THE_SLOWEST: u32 = 4;

/// After an answer that is as late as it may be, the result still has to be seen.
const MARGIN: Duration = Duration::from_secs(30);

/// Durations from the call to the landing, of the last moves that landed.
#[derive(Debug, Default)]
pub struct Landings {
    took: VecDeque<Duration>,
}

impl Landings {
    /// A move has landed after so long.
    pub fn record(&mut self, took: Duration) {
        self.took.push_back(took);
        if self.took.len() > KEPT {
            self.took.pop_front();
        }
    }

    /// How long a segment that is still only on its source is waited for: a multiple of what the slowest take, never
    /// while its call may still be answered, and never more than `longest`, which also holds as long as too few are
    /// known.
    pub fn patience(&self, call_timeout: Duration, longest: Duration) -> Duration {
        let Some(slowest) = self.slowest_in_a_hundred() else { return longest };
        let shortest = call_timeout.saturating_add(MARGIN);
        slowest.saturating_mul(TIMES_THE_SLOWEST).max(shortest).min(longest)
    }

    /// What 99 of 100 landings stay within.
    fn slowest_in_a_hundred(&self) -> Option<Duration> {
        if self.took.len() < ENOUGH {
            return None;
        }
        let mut sorted: Vec<Duration> = self.took.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_secs(150);
    const LONGEST: Duration = Duration::from_secs(600);

    fn after(landings: impl IntoIterator<Item = u64>) -> u64 {
        let mut known = Landings::default();
        landings.into_iter().for_each(|took| known.record(Duration::from_secs(took)));
        known.patience(CALL, LONGEST).as_secs()
    }

    #[test]
    fn it_is_the_longest_until_enough_is_known() {
        assert_eq!(after([]), 600);
        assert_eq!(after([2; 49]), 600);
        assert_eq!(after([2; 50]), 180, "never before the answer may be given up");
    }

    #[test]
    fn it_follows_the_slowest_in_a_hundred() {
        assert_eq!(after((0..98).map(|_| 2).chain([90, 60])), 4 * 60, "one odd one in a hundred apart");
        assert_eq!(after([200; 60]), 600, "never above the longest");
        assert_eq!(after([500; 60].into_iter().chain([50; KEPT])), 4 * 50, "what was long ago is forgotten");
        assert_eq!(after([u64::MAX; 60]), 600);
    }

    #[test]
    fn a_longest_below_the_shortest_holds() {
        let mut known = Landings::default();
        (0..60).for_each(|_| known.record(Duration::from_secs(1)));
        assert_eq!(known.patience(CALL, Duration::from_secs(60)).as_secs(), 60);
    }
}
