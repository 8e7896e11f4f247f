//! From counters to rates: one reading says nothing, two say how fast, and several say it smoothly. What makes a stretch
//! of time useless (a restart, a fall, a gap, a clock) is told apart, because a wrong rate moves segments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{Moment, Rate};

/// A stretch longer than this says nothing about now.
pub(super) const LONGEST_STRETCH: Duration = Duration::from_secs(10 * 60);

/// Readings closer together than this are noise divided by almost nothing: a busy node counts CPU in steps of 10 ms.
pub(super) const SHORTEST_STRETCH: Duration = Duration::from_secs(1);

/// What became of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It is the first of its stretch: there is nothing to compare it with.
    First,
    /// It gave a rate.
    Measured,
    /// It is too close to the one before, and waits for the next.
    TooSoon,
    /// The counter fell though its process is the same.
    WentBack,
}

/// A counter, and how fast it rises.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CounterRate {
    last: Option<(u64, Moment)>,
    smooth: Option<u64>,
}

impl CounterRate {
    /// One more reading of the same process. Times must rise; whoever calls sees to that.
    pub(super) fn record(&mut self, value: u64, at: Moment, smoothing: Duration) -> Recorded {
        let Some((before, since)) = self.last else {
            self.last = Some((value, at));
            return Recorded::First;
        };
        let stretch = at.monotonic.saturating_sub(since.monotonic);
        if value < before {
            self.begin(value, at);
            return Recorded::WentBack;
        }
        if stretch > LONGEST_STRETCH {
            self.begin(value, at);
            return Recorded::First;
        }
        if stretch < SHORTEST_STRETCH {
            return Recorded::TooSoon;
        }
        let reading = per_second(value - before, stretch);
        self.smooth = Some(match self.smooth {
            None => reading,
            Some(smooth) => smoothed(smooth, reading, stretch, smoothing),
        });
        self.last = Some((value, at));
        Recorded::Measured
    }

    /// What was before does not count any more; a new stretch begins here.
    pub(super) fn begin(&mut self, value: u64, at: Moment) {
        *self = CounterRate { last: Some((value, at)), smooth: None };
    }

    /// Whether it was read within this time.
    pub(super) fn is_within(&self, stretch: Duration, now: Moment) -> bool {
        self.last.is_some_and(|(_, at)| now.monotonic.saturating_sub(at.monotonic) <= stretch)
    }

    /// How fast it rises, in thousandths of its unit a second; `None` before there are two readings.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.smooth.map(Rate)
    }
}

/// So many within this time, in thousandths a second.
fn per_second(increase: u64, stretch: Duration) -> u64 {
    let rate = u128::from(increase) * 1_000 * 1_000_000_000 / stretch.as_nanos().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// An exponential mean whose weight follows time, so that it is the same for slow and for fast polls.
pub(super) fn smoothed(before: u64, reading: u64, stretch: Duration, smoothing: Duration) -> u64 {
    let (stretch, smoothing) = (stretch.as_millis(), smoothing.as_millis());
    let whole = (stretch + smoothing).max(1);
    let sum = u128::from(before) * smoothing + u128::from(reading) * stretch;
    u64::try_from(sum / whole).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOOTHING: Duration = Duration::from_secs(15);

    fn at(second: u64) -> Moment {
        let wall = jiff::Timestamp::from_second(1_790_000_000).unwrap();
        Moment { wall, monotonic: Duration::from_secs(second) }
    }

    fn record(rate: &mut CounterRate, value: u64, second: u64) -> (Recorded, Option<u64>) {
        (rate.record(value, at(second), SMOOTHING), rate.rate().map(|rate| rate.0))
    }

    #[test]
    fn two_readings_make_a_rate_and_further_ones_smooth_it() {
        let mut rate = CounterRate::default();
        assert_eq!(record(&mut rate, 100, 0), (Recorded::First, None));
        assert_eq!(record(&mut rate, 150, 5), (Recorded::Measured, Some(10_000)));
        assert_eq!(record(&mut rate, 350, 10), (Recorded::Measured, Some(17_500)), "40/s counts a quarter");
        assert_eq!(
            record(&mut rate, 350, 40),
            (Recorded::Measured, Some(5_833)),
            "a long stretch counts more"
        );
    }

    #[test]
    fn a_fall_a_gap_and_a_moment_are_no_rates() {
        let mut rate = CounterRate::default();
        record(&mut rate, 100, 0);
        record(&mut rate, 150, 5);
        assert_eq!(record(&mut rate, 20, 10), (Recorded::WentBack, None));
        assert_eq!(record(&mut rate, 70, 15), (Recorded::Measured, Some(10_000)), "it begins anew at once");
        assert_eq!(record(&mut rate, 75, 15), (Recorded::TooSoon, Some(10_000)));
        assert_eq!(record(&mut rate, 10_000, 16 + 600), (Recorded::First, None));
    }

    #[test]
    fn absurd_counters_do_not_overflow() {
        let mut rate = CounterRate::default();
        record(&mut rate, 0, 0);
        assert_eq!(record(&mut rate, u64::MAX, 1), (Recorded::Measured, Some(u64::MAX)));
        assert_eq!(record(&mut rate, u64::MAX, 2).1, Some(u64::MAX / 16 * 15 + 14));
    }
}
