//! What was sent over time: moves and bytes of the last hour and day, and a bucket of bytes that fills by the
//! second. All of it by the process' own clock, so that a stepped calendar neither frees nor freezes anything.

use std::collections::VecDeque;
use std::time::Duration;

use super::operation::OperationId;
use super::steady::Steady;
use crate::units::Bytes;

/// The shorter window.
pub const HOUR: Duration = Duration::from_secs(60 * 60);

/// The longer one.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Billionths of a byte in a byte: what flows into the bucket in a nanosecond at one byte a second.
const BILLION: i128 = 1_000_000_000;

/// Moves of one sliding window.
#[derive(Debug)]
pub struct SlidingWindow {
    length: Duration,
    sent: VecDeque<(Steady, OperationId, Bytes)>,
    bytes: u128,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Moves.
    pub moves: u64,
    /// Their bytes.
    pub bytes: Bytes,
}

impl SlidingWindow {
    /// An empty one.
    pub fn new(length: Duration) -> SlidingWindow {
        SlidingWindow { length, sent: VecDeque::new(), bytes: 0 }
    }

    /// This operation was sent then. Later ones come later.
    pub fn record(&mut self, sent_at: Steady, operation: OperationId, bytes: Bytes) {
        self.bytes += u128::from(bytes.0);
        self.sent.push_back((sent_at, operation, bytes));
    }

    /// The operation moved nothing after all.
    pub fn give_back(&mut self, operation: OperationId) {
        self.sent.retain(|(_, other, _)| *other != operation);
        self.bytes = self.sent.iter().map(|(_, _, bytes)| u128::from(bytes.0)).sum();
    }

    /// What was sent when, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = (Steady, Bytes)> {
        self.sent.iter().map(|(sent_at, _, bytes)| (*sent_at, *bytes))
    }

    /// Brings what was recorded late to its place.
    fn sort(&mut self) {
        self.sent.make_contiguous().sort_by_key(|(sent_at, operation, _)| (*sent_at, *operation));
    }

    /// Forgets what has left the window.
    pub fn forget(&mut self, now: Steady) {
        let gone = self.outside(now).count();
        for (_, _, bytes) in self.sent.drain(..gone) {
            self.bytes -= u128::from(bytes.0);
        }
    }

    /// What has left it and is not forgotten yet.
    fn outside(&self, now: Steady) -> impl Iterator<Item = &(Steady, OperationId, Bytes)> {
        self.sent.iter().take_while(move |(sent_at, _, _)| sent_at.age(now) >= self.length)
    }

    /// What it holds now.
    pub fn spent(&self, now: Steady) -> Spent {
        let (mut moves, mut bytes) = (self.sent.len() as u64, self.bytes);
        for (_, _, gone) in self.outside(now) {
            moves -= 1;
            bytes -= u128::from(gone.0);
        }
        Spent { moves, bytes: Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)) }
    }

    /// How long until something of it comes free; `None` when it is empty.
    pub fn frees_in(&self, now: Steady) -> Option<Duration> {
        let (oldest, _, _) = self.sent.get(self.outside(now).count())?;
        Some(self.length.saturating_sub(oldest.age(now)))
    }

    /// Moves that it still takes; no limit is more than anybody has.
    pub fn moves_left(&self, limit: u32, now: Steady) -> u32 {
        if limit == 0 {
            return u32::MAX;
        }
        limit.saturating_sub(u32::try_from(self.spent(now).moves).unwrap_or(u32::MAX))
    }

    /// Bytes that it still takes. Where nothing is spent yet and not even one segment of `first` bytes would fit,
    /// that one does: a limit slows down, it never forbids.
    pub fn bytes_left(&self, limit: Bytes, first: Bytes, now: Steady) -> Bytes {
        if limit == Bytes::ZERO {
            return Bytes(u64::MAX);
        }
        let spent = self.spent(now);
        if spent.moves == 0 && first > limit { first } else { limit.saturating_sub(spent.bytes) }
    }
}

/// The last hour and the last day.
#[derive(Debug)]
pub struct Spending {
    /// The last hour.
    pub hour: SlidingWindow,
    /// The last 24 hours.
    pub day: SlidingWindow,
}

impl Default for Spending {
    fn default() -> Self {
        Spending { hour: SlidingWindow::new(HOUR), day: SlidingWindow::new(DAY) }
    }
}

impl Spending {
    /// This operation was sent then.
    pub fn record(&mut self, sent_at: Steady, operation: OperationId, bytes: Bytes) {
        self.hour.record(sent_at, operation, bytes);
        self.day.record(sent_at, operation, bytes);
    }

    /// The operation moved nothing after all.
    pub fn give_back(&mut self, operation: OperationId) {
        self.hour.give_back(operation);
        self.day.give_back(operation);
    }

    /// Brings what was recorded late to its place.
    pub fn sort(&mut self) {
        self.hour.sort();
        self.day.sort();
    }

    /// Forgets what is over.
    pub fn forget(&mut self, now: Steady) {
        self.hour.forget(now);
        self.day.forget(now);
    }
}

/// A bucket of bytes, full at first, that a call empties and time fills: over any time no more goes out than what
/// flowed in and one bucketful, a single larger segment apart, for which everybody waits afterwards.
#[derive(Debug)]
pub struct ByteRate {
    per_second: Bytes,
    burst: Bytes,
    /// Billionths of a byte; below zero after a segment that is larger than the bucket.
    level: i128,
    at: Steady,
}

impl ByteRate {
    /// A full bucket that holds one call; where a call has no limit, what flows in within a minute.
    pub fn new(per_second: Bytes, bytes_per_call: Bytes) -> ByteRate {
        let burst = match bytes_per_call {
            Bytes::ZERO => Bytes(per_second.0.saturating_mul(60)),
            one_call => one_call,
        };
        ByteRate { per_second, burst, level: i128::from(burst.0) * BILLION, at: Steady::default() }
    }

    /// The same bucket with another size and flow: what is out of it stays out.
    pub fn reconfigured(&self, per_second: Bytes, bytes_per_call: Bytes, now: Steady) -> ByteRate {
        let mut other = ByteRate::new(per_second, bytes_per_call);
        // A bucket into which nothing flows was no limit, and what is out of it means nothing.
        if self.per_second != Bytes::ZERO {
            let missing = i128::from(self.burst.0) * BILLION - self.level_at(now);
            other.level = other.level.saturating_sub(missing);
        }
        other.at = self.at.max(now);
        other
    }

    /// The most that one call may take, its first segment apart.
    pub fn largest_call(&self) -> Bytes {
        if self.per_second == Bytes::ZERO { Bytes(u64::MAX) } else { self.burst }
    }

    fn level_at(&self, now: Steady) -> i128 {
        let nanoseconds = i128::try_from(self.at.age(now).as_nanos()).unwrap_or(i128::MAX);
        let filled = i128::from(self.per_second.0).saturating_mul(nanoseconds);
        self.level.saturating_add(filled).min(i128::from(self.burst.0) * BILLION)
    }

    /// A call goes out, or went out then. Later ones come later.
    pub fn record(&mut self, at: Steady, bytes: Bytes) {
        self.level = self.level_at(at).saturating_sub(i128::from(bytes.0) * BILLION);
        self.at = self.at.max(at);
    }

    /// How long a call of so many bytes has to wait, if at all.
    pub fn wait(&self, bytes: Bytes, now: Steady) -> Option<Duration> {
        if self.per_second == Bytes::ZERO {
            return None;
        }
        let needed = i128::from(bytes.min(self.burst).0) * BILLION;
        let lacking = needed.saturating_sub(self.level_at(now));
        if lacking <= 0 {
            return None;
        }
        let rate = i128::from(self.per_second.0);
        let nanoseconds = lacking / rate + i128::from(lacking % rate != 0);
        Some(Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)))
    }

    /// Bytes that are out of the bucket: what the status shows as used.
    pub fn used(&self, now: Steady) -> Bytes {
        let missing = i128::from(self.burst.0) * BILLION - self.level_at(now);
        Bytes(u64::try_from(missing / BILLION).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Moment;

    fn at(seconds: u64) -> Steady {
        Steady::of(Moment { wall: jiff::Timestamp::UNIX_EPOCH, monotonic: Duration::from_secs(seconds) })
    }

    #[test]
    fn a_window_slides_and_admits_one_segment_when_nothing_is_spent() {
        let mut day = SlidingWindow::new(DAY);
        let limit = Bytes(100);
        assert_eq!(day.bytes_left(limit, Bytes(500), at(0)), Bytes(500), "one segment, however large");
        assert_eq!(day.bytes_left(limit, Bytes(40), at(0)), Bytes(100));
        day.record(at(0), OperationId(1), Bytes(60));
        day.record(at(3_600), OperationId(2), Bytes(30));
        assert_eq!(day.bytes_left(limit, Bytes(500), at(3_600)), Bytes(10));
        assert_eq!(day.moves_left(3, at(3_600)), 1);
        assert_eq!(day.frees_in(at(3_600)), Some(Duration::from_secs(23 * 3_600)));
        assert_eq!(day.bytes_left(limit, Bytes(5), at(86_399)), Bytes(10));
        assert_eq!(day.bytes_left(limit, Bytes(5), at(86_400)), Bytes(70));
        day.forget(at(86_400));
        assert_eq!(day.spent(at(86_400)), Spent { moves: 1, bytes: Bytes(30) });
        day.give_back(OperationId(2));
        assert_eq!(day.spent(at(86_400)), Spent::default());
        assert_eq!(day.bytes_left(Bytes::ZERO, Bytes(5), at(0)), Bytes(u64::MAX), "0 is no limit");
        assert_eq!(day.moves_left(0, at(0)), u32::MAX);
    }

    #[test]
    fn a_large_segment_empties_the_bucket_for_long() {
        let mut rate = ByteRate::new(Bytes(10), Bytes(100));
        assert_eq!(rate.wait(Bytes(5_000), at(0)), None, "one segment, however large");
        rate.record(at(0), Bytes(5_000));
        assert_eq!(rate.used(at(0)), Bytes(5_000));
        assert_eq!(rate.wait(Bytes(1), at(0)), Some(Duration::from_millis(490_100)));
        assert_eq!(rate.wait(Bytes(100), at(499)), Some(Duration::from_secs(1)));
        assert_eq!(rate.wait(Bytes(100), at(500)), None);
        assert_eq!(ByteRate::new(Bytes::ZERO, Bytes(1)).wait(Bytes(u64::MAX), at(0)), None, "0 is no limit");
        let extreme = ByteRate::new(Bytes(u64::MAX), Bytes(u64::MAX));
        assert_eq!(extreme.wait(Bytes(u64::MAX), at(u64::from(u32::MAX))), None);
    }

    #[test]
    fn a_new_rate_forgets_nothing_that_is_out_of_the_bucket() {
        let mut rate = ByteRate::new(Bytes(10), Bytes(100));
        rate.record(at(0), Bytes(100));
        let slower = rate.reconfigured(Bytes(5), Bytes(50), at(4));
        assert_eq!(slower.used(at(4)), Bytes(60));
        assert_eq!(slower.wait(Bytes(50), at(4)), Some(Duration::from_secs(12)));
        let mut unlimited = ByteRate::new(Bytes::ZERO, Bytes(100));
        unlimited.record(at(0), Bytes(1_000_000));
        assert_eq!(unlimited.reconfigured(Bytes(10), Bytes(100), at(1)).wait(Bytes(100), at(1)), None);
    }

    proptest! {
        /// Whatever is asked for, and whenever: no window of any length gets more than the rate and one bucket.
        #[test]
        fn no_window_exceeds_the_rate_and_one_bucket(
            per_second in 1..50_u64,
            burst in 1..500_u64,
            asked in proptest::collection::vec((0..400_u64, 1..400_u64), 1..60),
        ) {
            let mut rate = ByteRate::new(Bytes(per_second), Bytes(burst));
            let mut sent: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (pause, bytes) in asked {
                now += pause / 10;
                let bytes = bytes.min(burst);
                if let Some(wait) = rate.wait(Bytes(bytes), at(now)) {
                    now += wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                }
                prop_assert_eq!(rate.wait(Bytes(bytes), at(now)), None, "what it says is enough");
                rate.record(at(now), Bytes(bytes));
                sent.push((now, bytes));
            }
            for (first, (from, _)) in sent.iter().enumerate() {
                let mut total = 0;
                for (until, bytes) in &sent[first..] {
                    total += bytes;
                    prop_assert!(total <= burst + per_second * (until - from), "{:?}", sent);
                }
            }
        }

        /// No window of an hour takes more moves or bytes than the limit, and the limit is used up.
        #[test]
        fn no_hour_exceeds_its_limits(
            moves in 1..6_u32,
            limit in 50..300_u64,
            asked in proptest::collection::vec((0..900_u64, 1..50_u64), 1..80),
        ) {
            let mut window = SlidingWindow::new(HOUR);
            let mut sent: Vec<(u64, u64)> = Vec::new();
            let mut now = 0;
            for (id, (pause, bytes)) in (0_i64..).zip(asked) {
                now += pause;
                let fits = |window: &SlidingWindow, now| {
                    window.moves_left(moves, at(now)) > 0
                        && window.bytes_left(Bytes(limit), Bytes(bytes), at(now)) >= Bytes(bytes)
                };
                while !fits(&window, now) {
                    now += window.frees_in(at(now)).unwrap().as_secs();
                }
                window.forget(at(now));
                window.record(at(now), OperationId(id), Bytes(bytes));
                sent.push((now, bytes));
            }
            for (first, (from, _)) in sent.iter().enumerate() {
                let within: Vec<u64> =
                    sent[first..].iter().take_while(|(at, _)| at - from < 3_600).map(|(_, bytes)| *bytes).collect();
                prop_assert!(within.len() <= moves as usize && within.iter().sum::<u64>() <= limit, "{:?}", sent);
            }
        }
    }
}
