//! How much at once, how much a minute, how much a day: pure counters that are told the time. A limit of 0 is
//! no limit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::WaveSettings;
use super::operation::{BatchId, Operation, OperationId, OperationState};
use crate::reason::Reason;
use crate::units::{Bytes, NodeId};

/// The window of the calls-per-minute limit.
const MINUTE: Duration = Duration::from_secs(60);

/// A call this much later than a minute is surely outside the other's window, on coarse clocks too.
const TICK: Duration = Duration::from_millis(1);

/// The window of the daily budget.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Calls of the last minute. No window of 60 s ever holds more than the limit.
#[derive(Debug)]
pub struct CallRate {
    per_minute: u32,
    sent: VecDeque<Instant>,
}

impl CallRate {
    /// No calls yet.
    pub fn new(per_minute: u32) -> CallRate {
        CallRate { per_minute, sent: VecDeque::new() }
    }

    /// A call goes out.
    pub fn record(&mut self, now: Instant) {
        if self.per_minute == 0 {
            return;
        }
        self.sent.push_back(now);
        while self.sent.len() > self.per_minute as usize {
            self.sent.pop_front();
        }
    }

    /// A call that went out this long ago, in this process or in the one before it.
    pub fn record_earlier(&mut self, now: Instant, ago: Duration) {
        if ago <= MINUTE {
            self.record(now.checked_sub(ago).unwrap_or(now));
        }
    }

    /// When the next call may go out, if not now.
    pub fn free_at(&self, now: Instant) -> Option<Instant> {
        if self.per_minute == 0 || self.sent.len() < self.per_minute as usize {
            return None;
        }
        let free_at = *self.sent.front()? + MINUTE + TICK;
        (free_at > now).then_some(free_at)
    }

    /// Why no call may go out now.
    pub fn refusal(&self, now: Instant) -> Option<Reason> {
        self.free_at(now).map(|_| Reason::CallRate { per_minute: self.per_minute })
    }
}

/// Bytes moved in the last 24 hours.
#[derive(Debug, Default)]
pub struct DailyBudget {
    spent: VecDeque<(Timestamp, OperationId, Bytes)>,
}

impl DailyBudget {
    /// This operation was sent at that time. Later ones come later.
    pub fn record(&mut self, sent_at: Timestamp, operation: OperationId, bytes: Bytes) {
        self.spent.push_back((sent_at, operation, bytes));
    }

    /// The operation moved nothing after all.
    pub fn give_back(&mut self, operation: OperationId) {
        self.spent.retain(|(_, other, _)| *other != operation);
    }

    /// Forgets what is older than a day.
    pub fn forget_before(&mut self, now: Timestamp) {
        while self.spent.front().is_some_and(|(sent_at, _, _)| now.duration_since(*sent_at) >= DAY) {
            self.spent.pop_front();
        }
    }

    /// Bytes of the last 24 hours.
    pub fn spent(&self, now: Timestamp) -> Bytes {
        self.spent
            .iter()
            .filter(|(sent_at, _, _)| now.duration_since(*sent_at) < DAY)
            .map(|(_, _, bytes)| *bytes)
            .sum()
    }

    /// How long until something of it comes free; `None` when nothing is spent.
    pub fn frees_in(&self, now: Timestamp) -> Option<Duration> {
        let oldest = self.spent.iter().find(|(sent_at, _, _)| now.duration_since(*sent_at) < DAY)?;
        Some((DAY - now.duration_since(oldest.0)).unsigned_abs())
    }

    /// What is left of a limit. [`Bytes`] of the largest amount where there is no limit or nothing is spent
    /// yet and not even one segment of `first` bytes would fit: one is always admitted then.
    pub fn room(&self, limit: Bytes, first: Bytes, now: Timestamp) -> Bytes {
        if limit == Bytes::ZERO {
            return Bytes(u64::MAX);
        }
        let spent = self.spent(now);
        if spent == Bytes::ZERO && first > limit { first } else { limit.saturating_sub(spent) }
    }
}

/// Calls whose moves have not settled, in total and by node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallsInFlight {
    batches: BTreeSet<BatchId>,
    by_node: BTreeMap<NodeId, BTreeSet<BatchId>>,
}

impl CallsInFlight {
    /// Counts the calls behind open operations: each once, however many segments it carries.
    pub fn of<'a>(open: impl Iterator<Item = &'a Operation>) -> CallsInFlight {
        let mut calls = CallsInFlight::default();
        for operation in open {
            calls.batches.insert(operation.batch);
            for node in [operation.movement.from, operation.movement.to] {
                calls.by_node.entry(node).or_default().insert(operation.batch);
            }
        }
        calls
    }

    /// How many.
    pub fn total(&self) -> usize {
        self.batches.len()
    }

    /// Why no call at all may be added.
    pub fn refusal(&self, limit: u32) -> Option<Reason> {
        (limit != 0 && self.batches.len() >= limit as usize).then_some(Reason::InFlightLimit { limit })
    }

    /// Why no call between these nodes may be added.
    pub fn node_refusal(&self, nodes: [NodeId; 2], limit: u32) -> Option<Reason> {
        let calls_of = |node: &NodeId| self.by_node.get(node).map_or(0, BTreeSet::len);
        let full = nodes.into_iter().find(|node| limit != 0 && calls_of(node) >= limit as usize)?;
        Some(Reason::NodeInFlightLimit { node: full, limit })
    }
}

/// Waves: the first is small, a good one doubles the next, a bad one halves it. A wave is over when all that
/// was sent in it has ended.
#[derive(Debug)]
pub struct Waves {
    settings: WaveSettings,
    size: u32,
    open: BTreeSet<OperationId>,
    sent: u32,
    landed: u32,
    failed: u32,
}

impl Waves {
    /// Before the first wave.
    pub fn new(settings: WaveSettings) -> Waves {
        let size = settings.first.clamp(1, largest(&settings));
        Waves { settings, size, open: BTreeSet::new(), sent: 0, landed: 0, failed: 0 }
    }

    /// Moves in a full wave now; `None` when waves are off.
    pub fn size(&self) -> Option<u32> {
        self.settings.enabled.then_some(self.size)
    }

    /// How many moves the wave still takes; `None` when waves are off.
    pub fn room(&self) -> Option<u32> {
        self.settings.enabled.then(|| self.size.saturating_sub(self.sent))
    }

    /// Why nothing more may be sent now.
    pub fn refusal(&self) -> Option<Reason> {
        (self.room() == Some(0)).then_some(Reason::WaveFull { size: self.size })
    }

    /// A move goes out.
    pub fn record_sent(&mut self, operation: OperationId) {
        if self.open.insert(operation) {
            self.sent = self.sent.saturating_add(1);
        }
    }

    /// A move ended so. Moves of other waves and of other origins change nothing.
    pub fn record_end(&mut self, operation: OperationId, end: &OperationState) {
        if !end.is_ended() || !self.open.remove(&operation) {
            return;
        }
        match end {
            OperationState::Landed => self.landed = self.landed.saturating_add(1),
            OperationState::Refused { .. }
            | OperationState::Expired
            | OperationState::Contradicted { .. } => {
                self.failed = self.failed.saturating_add(1);
            }
            // Its segment or its node went away: nobody's fault and no proof of anything.
            _ => {}
        }
        if self.open.is_empty() {
            self.next();
        }
    }

    fn next(&mut self) {
        if self.failed > 0 {
            self.size = (self.size / 2).max(1);
        } else if self.landed > 0 {
            self.size = self.size.saturating_mul(2).min(largest(&self.settings));
        }
        (self.sent, self.landed, self.failed) = (0, 0, 0);
    }
}

/// The largest wave there may be; 0 is no limit.
fn largest(settings: &WaveSettings) -> u32 {
    if settings.largest == 0 { u32::MAX } else { settings.largest }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_of_a_minute_holds_more_calls_than_the_limit() {
        let start = Instant::now();
        let mut rate = CallRate::new(3);
        let mut sent = Vec::new();
        for millisecond in 0..300_000 {
            let now = start + Duration::from_millis(millisecond);
            if rate.free_at(now).is_none() {
                rate.record(now);
                sent.push(now);
            }
        }
        assert_eq!(sent.len(), 15, "the limit is used up, too");
        for window in sent.windows(4) {
            assert!(window[3] - window[0] > MINUTE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_before_a_restart_count() {
        let now = Instant::now() + Duration::from_secs(100);
        let mut rate = CallRate::new(1);
        rate.record_earlier(now, Duration::from_secs(61));
        assert_eq!(rate.refusal(now), None);
        rate.record_earlier(now, Duration::from_secs(20));
        assert_eq!(rate.refusal(now), Some(Reason::CallRate { per_minute: 1 }));
        assert_eq!(rate.free_at(now), Some(now + Duration::from_secs(40) + TICK));
    }

    #[tokio::test(start_paused = true)]
    async fn zero_calls_a_minute_is_no_limit() {
        let mut rate = CallRate::new(0);
        for _ in 0..1000 {
            rate.record(Instant::now());
        }
        assert_eq!(rate.refusal(Instant::now()), None);
    }

    #[test]
    fn the_daily_budget_slides_and_admits_one_segment_when_nothing_is_spent() {
        let mut budget = DailyBudget::default();
        let limit = Bytes(100);
        assert_eq!(budget.room(limit, Bytes(500), at(0)), Bytes(500), "one segment, however large");
        assert_eq!(budget.room(limit, Bytes(40), at(0)), Bytes(100));
        budget.record(at(0), OperationId(1), Bytes(60));
        budget.record(at(3_600), OperationId(2), Bytes(30));
        assert_eq!(budget.room(limit, Bytes(500), at(3_600)), Bytes(10));
        assert_eq!(budget.frees_in(at(3_600)), Some(Duration::from_secs(23 * 3_600)));
        assert_eq!(budget.room(limit, Bytes(5), at(86_399)), Bytes(10));
        assert_eq!(budget.room(limit, Bytes(5), at(86_400)), Bytes(70));
        budget.give_back(OperationId(2));
        assert_eq!(budget.spent(at(86_400)), Bytes::ZERO);
        assert_eq!(budget.room(Bytes::ZERO, Bytes(5), at(0)), Bytes(u64::MAX), "0 is no limit");
    }

    fn ended(waves: &mut Waves, ids: std::ops::Range<i64>, end: &OperationState) {
        for id in ids.clone() {
            waves.record_sent(OperationId(id));
        }
        for id in ids {
            waves.record_end(OperationId(id), end);
        }
    }

    #[test]
    fn a_wave_doubles_when_all_landed_and_halves_when_one_failed() {
        let mut waves = Waves::new(WaveSettings { enabled: true, first: 1, largest: 5 });
        ended(&mut waves, 0..1, &OperationState::Landed);
        assert_eq!(waves.size(), Some(2));
        ended(&mut waves, 1..3, &OperationState::Landed);
        assert_eq!(waves.size(), Some(4));
        ended(&mut waves, 3..7, &OperationState::Landed);
        assert_eq!(waves.size(), Some(5), "never above the largest");
        waves.record_sent(OperationId(8));
        waves.record_sent(OperationId(9));
        waves.record_end(OperationId(8), &OperationState::Expired);
        assert_eq!(waves.size(), Some(5), "not over while one is open");
        waves.record_end(OperationId(9), &OperationState::Landed);
        assert_eq!(waves.size(), Some(2));
        for id in 10..14 {
            ended(&mut waves, id..id + 1, &OperationState::Refused { cause: String::new() });
        }
        assert_eq!(waves.size(), Some(1), "at least one");
        ended(&mut waves, 20..21, &OperationState::Superseded { cause: String::new() });
        assert_eq!(waves.size(), Some(1), "what became pointless proves nothing");
    }

    #[test]
    fn a_full_wave_refuses_until_it_has_settled() {
        let mut waves = Waves::new(WaveSettings { enabled: true, first: 2, largest: 0 });
        waves.record_sent(OperationId(1));
        assert_eq!(waves.room(), Some(1));
        waves.record_sent(OperationId(2));
        assert_eq!(waves.refusal(), Some(Reason::WaveFull { size: 2 }));
        waves.record_end(OperationId(1), &OperationState::Landed);
        assert_eq!(waves.refusal(), Some(Reason::WaveFull { size: 2 }));
        waves.record_end(OperationId(7), &OperationState::Expired);
        waves.record_end(OperationId(2), &OperationState::Landed);
        assert_eq!((waves.refusal(), waves.size()), (None, Some(4)));
    }

    #[test]
    fn waves_that_are_off_never_refuse() {
        let mut waves = Waves::new(WaveSettings { enabled: false, first: 1, largest: 1 });
        waves.record_sent(OperationId(1));
        assert_eq!((waves.refusal(), waves.size(), waves.room()), (None, None, None));
    }

    #[test]
    fn nonsense_wave_sizes_become_the_nearest_sense() {
        assert_eq!(Waves::new(WaveSettings { enabled: true, first: 0, largest: 8 }).size(), Some(1));
        assert_eq!(Waves::new(WaveSettings { enabled: true, first: 9, largest: 8 }).size(), Some(8));
    }
}
