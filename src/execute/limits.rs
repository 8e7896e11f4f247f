//! How many calls a minute, and waves: pure counters that are told the time. A limit of 0 is no limit.

use std::collections::VecDeque;
use std::time::Duration;

use super::steady::Steady;
use crate::reason::Reason;

/// The window of the calls-per-minute limit.
const MINUTE: Duration = Duration::from_secs(60);

/// A call this much later than a minute is surely outside the other's window, on coarse clocks too.
const TICK: Duration = Duration::from_millis(1);

/// Calls of the last minute. No window of 60 s ever holds more than the limit.
#[derive(Debug)]
pub struct CallRate {
    per_minute: u32,
    sent: VecDeque<Steady>,
}

impl CallRate {
    /// No calls yet.
    pub fn new(per_minute: u32) -> CallRate {
        CallRate { per_minute, sent: VecDeque::new() }
    }

    /// The same calls under another limit. Of more calls than the old limit was nobody told.
    pub fn reconfigure(&mut self, per_minute: u32) {
        self.per_minute = per_minute;
        while self.sent.len() > per_minute as usize {
            self.sent.pop_front();
        }
    }

    /// A call goes out, or went out then. Later ones come later.
    pub fn record(&mut self, at: Steady) {
        if self.per_minute == 0 {
            return;
        }
        self.sent.push_back(at);
        while self.sent.len() > self.per_minute as usize {
            self.sent.pop_front();
        }
    }

    /// How long the next call has to wait, if at all.
    pub fn wait(&self, now: Steady) -> Option<Duration> {
        if self.per_minute == 0 || self.sent.len() < self.per_minute as usize {
            return None;
        }
        (MINUTE + TICK).checked_sub(self.sent.front()?.age(now)).filter(|wait| !wait.is_zero())
    }

    /// Why no call may go out now.
    pub fn refusal(&self, now: Steady) -> Option<Reason> {
        self.wait(now).map(|_| Reason::CallRate { per_minute: self.per_minute })
    }

    /// Calls of the last minute, as far as the limit needs them.
    pub fn used(&self, now: Steady) -> usize {
        self.sent.iter().filter(|at| at.age(now) < MINUTE + TICK).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Moment;

    fn at(milliseconds: u64) -> Steady {
        let monotonic = Duration::from_millis(milliseconds);
        Steady::of(Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic })
    }

    #[test]
    fn no_window_of_a_minute_holds_more_calls_than_the_limit() {
        let mut rate = CallRate::new(3);
        let mut sent: Vec<u64> = Vec::new();
        for millisecond in 0..300_000 {
            if rate.wait(at(millisecond)).is_none() {
                rate.record(at(millisecond));
                sent.push(millisecond);
            }
        }
        assert_eq!(sent.len(), 15, "the limit is used up, too");
        for window in sent.windows(4) {
            assert!(window[3] - window[0] > 60_000);
        }
    }

    #[test]
    fn calls_before_a_restart_count() {
        let now = at(0);
        let mut rate = CallRate::new(1);
        rate.record(now.earlier(Duration::from_secs(61)));
        assert_eq!((rate.refusal(now), rate.used(now)), (None, 0));
        rate.record(now.earlier(Duration::from_secs(20)));
        assert_eq!(rate.refusal(now), Some(Reason::CallRate { per_minute: 1 }));
        assert_eq!((rate.wait(now), rate.used(now)), (Some(Duration::from_secs(40) + TICK), 1));
    }

    #[test]
    fn another_limit_counts_the_calls_of_the_last_minute() {
        let mut rate = CallRate::new(4);
        (0..4).for_each(|second| rate.record(at(second * 1_000)));
        rate.reconfigure(6);
        assert_eq!((rate.used(at(3_000)), rate.refusal(at(3_000))), (4, None));
        rate.reconfigure(2);
        assert_eq!(rate.wait(at(3_000)), Some(Duration::from_secs(59) + TICK));
        rate.reconfigure(0);
        assert_eq!(rate.refusal(at(3_000)), None);
    }

    #[test]
    fn zero_calls_a_minute_is_no_limit() {
        let mut rate = CallRate::new(0);
        for _ in 0..1000 {
            rate.record(at(0));
        }
        assert_eq!(rate.refusal(at(0)), None);
    }
}
