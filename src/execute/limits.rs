//! How much at once, how much a minute, how much a day: pure counters that are told the time. A limit of 0 is
//! no limit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::operation::{BatchId, Operation, OperationId};
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
}
