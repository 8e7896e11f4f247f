//! How much is taken at once, and how much after that. Each order is written into the journal and brings about a turn, so a
//! script that runs wild must neither fill the one nor wear out the coordinator by the other; and what is read costs the
//! processor that the control loop needs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Orders at once: more than anybody gives by hand, and enough for a script that drains a rack.
const ORDERS_AT_ONCE: u32 = 30;

/// After that, one in each of these.
const ORDER_EVERY: Duration = Duration::from_secs(1);

/// Answers at once: the list of a million segments, page by page, and then some.
const READS_AT_ONCE: u32 = 2_000;

/// After that, one in each of these: more than a hundred open pages ask for.
const READ_EVERY: Duration = Duration::from_millis(10);

/// What may be had now, and since when that number holds.
#[derive(Debug)]
pub(super) struct Rate {
    at_once: u32,
    every: Duration,
    left: Mutex<(u32, Instant)>,
}

impl Rate {
    /// Of orders.
    pub(super) fn of_orders() -> Rate {
        Rate::new(ORDERS_AT_ONCE, ORDER_EVERY)
    }

    /// Of answers.
    pub(super) fn of_reads() -> Rate {
        Rate::new(READS_AT_ONCE, READ_EVERY)
    }

    fn new(at_once: u32, every: Duration) -> Rate {
        Rate { at_once, every, left: Mutex::new((at_once, Instant::now())) }
    }

    /// Takes one, or says after how long there is one again.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, since) = *left;
        let passed = now.saturating_duration_since(since);
        let new = u32::try_from(passed.as_millis() / self.every.as_millis()).unwrap_or(self.at_once);
        let number = number.saturating_add(new).min(self.at_once);
        // What has passed towards the next one counts for it.
        let since = if number == self.at_once { now } else { since + self.every * new };
        let taken = number.checked_sub(1);
        *left = (taken.unwrap_or(0), since);
        taken.map(drop).ok_or_else(|| self.every.saturating_sub(now.saturating_duration_since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_few_at_once_there_is_one_now_and_then() {
        for rate in [Rate::of_orders(), Rate::of_reads()] {
            let (at_once, every) = (rate.at_once, rate.every);
            let begin = Instant::now() + Duration::from_secs(60);
            assert!((0..at_once).all(|_| rate.take(begin).is_ok()));
            assert_eq!(rate.take(begin), Err(every));
            let half = begin + every / 2;
            assert_eq!(rate.take(half), Err(every / 2), "who asks in vain loses nothing");
            assert_eq!(rate.take(begin + every), Ok(()));
            assert!(rate.take(begin + every).is_err());
            let later = begin + every * 10_000;
            assert!(
                (0..at_once).all(|_| rate.take(later).is_ok()) && rate.take(later).is_err(),
                "no more are saved up"
            );
        }
    }
}
