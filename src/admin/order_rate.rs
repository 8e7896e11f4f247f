//! How many orders are taken. Each is written into the journal and brings about a turn, so a script that runs wild must
//! neither fill the one nor wear out the coordinator by the other.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Orders at once: more than anybody gives by hand, and enough for a script that drains a rack.
const AT_ONCE: u32 = 30;

/// After that, one in each of these.
const EVERY: Duration = Duration::from_secs(1);

/// Orders that may be given now, and since when that number holds.
#[derive(Debug)]
pub(super) struct OrderRate {
    left: Mutex<(u32, Instant)>,
}

impl Default for OrderRate {
    fn default() -> OrderRate {
        OrderRate { left: Mutex::new((AT_ONCE, Instant::now())) }
    }
}

impl OrderRate {
    /// Takes one, or says after how long there is one again.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, since) = *left;
        let passed = now.saturating_duration_since(since);
        let new = u32::try_from(passed.as_millis() / EVERY.as_millis()).unwrap_or(AT_ONCE);
        let number = number.saturating_add(new).min(AT_ONCE);
        // What of a second has passed counts for the next order.
        let since = if number == AT_ONCE { now } else { since + EVERY * new };
        let taken = number.checked_sub(1);
        *left = (taken.unwrap_or(0), since);
        taken.map(drop).ok_or_else(|| EVERY.saturating_sub(now.saturating_duration_since(since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_few_at_once_there_is_one_a_second() {
        let rate = OrderRate::default();
        let begin = Instant::now() + Duration::from_secs(60);
        assert!((0..AT_ONCE).all(|_| rate.take(begin).is_ok()));
        assert_eq!(rate.take(begin), Err(EVERY));
        let half = begin + EVERY / 2;
        assert_eq!(rate.take(half), Err(EVERY / 2), "who asks in vain loses nothing");
        assert_eq!(rate.take(begin + EVERY), Ok(()));
        assert!(rate.take(begin + EVERY).is_err());
        let later = begin + EVERY * 1_000;
        assert!(
            (0..AT_ONCE).all(|_| rate.take(later).is_ok()) && rate.take(later).is_err(),
            "no more are saved up"
        );
    }
}
