//! The guard: holds further moves when those who use the cluster are worse off since we began to move, and lets
//! them go on when that is over. Pure: counters and the time come in, a verdict comes out.
//!
//! What is usual is learnt while nothing moves, so that a slow afternoon is nobody's fault; it is compared with
//! while something moves and at the looks after that. Milvus' latency buckets are powers of two, so there is no
//! 99th percentile to be had: the guard takes the mean, and the share of searches above one edge.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observe::service::{LatencyCounters, ProxyCounters, ServiceReport};
use crate::reason::Reason;
use crate::units::{Moment, Ratio};

/// How much one quiet look counts against all before it: one in so many. Half of what is usual was learnt in the
/// last six looks.
const MEMORY: i64 = 8;

/// Quiet looks before the usual is known.
const LOOKS_TO_LEARN: u32 = 3;

/// How many deviations are no accident.
const DEVIATIONS: i64 = 4;

/// Figures are kept in so many parts, so that small steps are not lost by rounding.
const PARTS: i64 = 256;

/// Options of the guard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardSettings {
    /// Whether anything is ever held.
    pub enabled: bool,
    /// Whether nothing moves before it is known what is usual, and while nothing can be read.
    pub required: bool,
    /// How many times the usual is too much.
    pub factor: Ratio,
    /// For how many looks in a row it must be too much, and then usual again.
    pub looks: u32,
    /// The least rise of the mean search latency that anybody feels.
    #[serde(with = "crate::config::duration")]
    pub latency_rise: Duration,
    /// Searches that take longer are slow; the next edge of Milvus' buckets counts.
    #[serde(with = "crate::config::duration")]
    pub slow_search: Duration,
    /// The least rise of the share of slow searches that matters.
    pub slow_rise: Ratio,
    /// The least rise of the share of failed searches that matters.
    pub failed_rise: Ratio,
    /// The least rise of the number of waiting read tasks that matters.
    pub waiting_rise: u32,
    /// Share of its memory that a node may use while segments come to it.
    pub destination_memory: Ratio,
    /// So few searches between two looks say nothing.
    pub fewest_searches: u32,
    /// After this long it is not our doing: what is usual is learnt anew.
    #[serde(with = "crate::config::duration")]
    pub longest_hold: Duration,
}

impl Default for GuardSettings {
    fn default() -> Self {
        GuardSettings {
            enabled: true,
            // Most clusters do not publish to us; they are no worse off than before.
            required: false,
            // Caches and compactions make a third more on any day.
            factor: Ratio(1_500_000),
            // One look can be a burst of somebody's searches.
            looks: 2,
            latency_rise: Duration::from_millis(10),
            slow_search: Duration::from_millis(256),
            slow_rise: Ratio(50_000),
            failed_rise: Ratio(10_000),
            waiting_rise: 50,
            // Milvus refuses loads at 0.9, and plans stop at 0.8.
            destination_memory: Ratio(900_000),
            fewest_searches: 20,
            longest_hold: Duration::from_secs(30 * 60),
        }
    }
}

/// Something that users feel, or soon would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Share of searches that failed, in millionths.
    FailedSearches,
    /// Mean latency of searches, in microseconds.
    SearchLatency,
    /// Share of searches slower than a bucket's edge, in millionths.
    SlowSearches,
    /// Read tasks that wait on all query nodes.
    WaitingTasks,
    /// Memory in use on the fullest node to which segments move, in millionths; its limit is configured.
    DestinationMemory,
}

impl Signal {
    /// Every signal, the gravest first.
    pub const ALL: [Signal; 5] = [
        Signal::FailedSearches,
        Signal::SearchLatency,
        Signal::SlowSearches,
        Signal::WaitingTasks,
        Signal::DestinationMemory,
    ];

    /// The stable name: metric label.
    pub fn code(self) -> &'static str {
        match self {
            Signal::FailedSearches => "failed_searches",
            Signal::SearchLatency => "search_latency",
            Signal::SlowSearches => "slow_searches",
            Signal::WaitingTasks => "waiting_tasks",
            Signal::DestinationMemory => "destination_memory",
        }
    }

    /// A value as metrics take it: seconds, shares, numbers.
    #[allow(clippy::cast_precision_loss)] // shown, never calculated with
    pub fn base_unit(self, value: u64) -> f64 {
        match self {
            Signal::WaitingTasks => value as f64,
            _ => value as f64 / 1e6,
        }
    }

    /// A value as people read it.
    #[allow(clippy::cast_precision_loss)] // shown, never calculated with
    pub fn shown(self, value: u64) -> String {
        match self {
            Signal::SearchLatency => format!("{:.1} ms", value as f64 / 1000.0),
            Signal::WaitingTasks => value.to_string(),
            _ => format!("{:.1} %", value as f64 / 10_000.0),
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::FailedSearches => "the share of failed searches",
            Signal::SearchLatency => "the mean latency of searches",
            Signal::SlowSearches => "the share of slow searches",
            Signal::WaitingTasks => "the number of waiting searches",
            Signal::DestinationMemory => "the memory in use of a node to which segments move",
        })
    }
}

/// What a look at the cluster tells the guard.
#[derive(Clone, Copy, Debug)]
pub struct GuardInput<'a> {
    /// The counters.
    pub service: &'a ServiceReport,
    /// Whether moves of ours were under way at this look or since the last one.
    pub is_moving: bool,
    /// Memory in use on the fullest node to which segments move.
    pub fullest_destination: Option<Ratio>,
    /// The time.
    pub now: Moment,
}

/// A signal at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which.
    pub signal: Signal,
    /// Its value; `None` where it cannot be told.
    pub now: Option<u64>,
    /// What is usual; `None` until that is known.
    pub usual: Option<u64>,
}

/// What the guard says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardView {
    /// Every signal.
    pub readings: Vec<Reading>,
    /// Why nothing more may be sent; `None` when it may.
    pub hold: Option<Reason>,
}

/// The guard's memory.
#[derive(Clone, Debug)]
pub struct Guard {
    settings: GuardSettings,
    previous: ServiceReport,
    usual: BTreeMap<Signal, Usual>,
    was_moving: bool,
    /// Looks in a row at which something was too much.
    too_much: u32,
    held: Option<Held>,
}

/// A hold.
#[derive(Clone, Debug)]
struct Held {
    since: Duration,
    /// Looks in a row at which all was usual.
    calm: u32,
    why: Reason,
}

/// What is usual of a signal, in [`PARTS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usual {
    mean: i64,
    deviation: i64,
    looks: u32,
}

impl Usual {
    fn learn(&mut self, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX / PARTS).min(i64::MAX / PARTS) * PARTS;
        if self.looks == 0 {
            self.mean = value;
        } else {
            let off = value - self.mean;
            self.mean += off / MEMORY;
            self.deviation += (off.abs() - self.deviation) / MEMORY;
        }
        self.looks = self.looks.saturating_add(1);
    }

    fn mean(&self) -> Option<u64> {
        (self.looks >= LOOKS_TO_LEARN).then(|| u64::try_from(self.mean / PARTS).unwrap_or(0))
    }

    /// Whether a value is so many times the usual, beyond what it deviates anyway, and more than anybody ignores.
    fn is_exceeded_by(&self, value: u64, factor: Ratio, least_rise: u64) -> bool {
        let Some(mean) = self.mean() else { return false };
        let usual_rise = u64::try_from(self.deviation.saturating_mul(DEVIATIONS) / PARTS).unwrap_or(0);
        let limits =
            [factor.share_of(mean), mean.saturating_add(usual_rise), mean.saturating_add(least_rise)];
        limits.into_iter().all(|limit| value > limit)
    }
}

impl Guard {
    /// The settings in force.
    pub fn settings(&self) -> &GuardSettings {
        &self.settings
    }

    /// Goes on with other settings and with what it knows to be usual, but for another edge of slow searches.
    pub fn reconfigure(&mut self, settings: GuardSettings) {
        if settings.slow_search != self.settings.slow_search {
            self.usual.remove(&Signal::SlowSearches);
        }
        self.settings = settings;
    }

    /// One that knows nothing yet.
    pub fn new(settings: GuardSettings) -> Guard {
        Guard {
            settings,
            previous: ServiceReport::default(),
            usual: BTreeMap::new(),
            was_moving: false,
            too_much: 0,
            held: None,
        }
    }

    /// Takes one look.
    pub fn look(&mut self, input: GuardInput<'_>) -> GuardView {
        let values = self.values(&input);
        let readings = self.readings(&values);
        self.previous = input.service.clone();
        let is_watched = input.is_moving || self.was_moving || self.too_much > 0;
        self.was_moving = input.is_moving;
        let view = |hold| GuardView { readings, hold };
        if !self.settings.enabled {
            return view(None);
        }
        match (self.held.take(), self.worst(&values)) {
            (Some(held), worst) => self.held = self.still_held(held, worst, input.now.monotonic),
            (None, Some(why)) if is_watched => {
                self.too_much += 1;
                if self.too_much >= self.settings.looks.max(1) {
                    self.held = Some(Held { since: input.now.monotonic, calm: 0, why });
                }
            }
            (None, _) => {
                self.too_much = 0;
                if !is_watched {
                    self.learn(&values);
                }
            }
        }
        let hold = self.held.as_ref().map(|held| held.why.clone());
        view(hold.or_else(|| self.blindness(&values)))
    }

    /// The hold after one more look; `None` when it is over.
    fn still_held(&mut self, mut held: Held, worst: Option<Reason>, now: Duration) -> Option<Held> {
        match worst {
            Some(why) => (held.why, held.calm) = (why, 0),
            None => held.calm += 1,
        }
        let is_calm = held.calm >= self.settings.looks.max(1);
        let is_too_long = now.saturating_sub(held.since) >= self.settings.longest_hold;
        if is_too_long && !is_calm {
            self.usual.clear();
        }
        if !is_calm && !is_too_long {
            return Some(held);
        }
        self.too_much = 0;
        None
    }

    fn learn(&mut self, values: &BTreeMap<Signal, u64>) {
        for (signal, value) in values.iter().filter(|(signal, _)| **signal != Signal::DestinationMemory) {
            self.usual.entry(*signal).or_default().learn(*value);
        }
    }

    /// Why nothing may move before the guard sees: it must see and does not, or it soon will. What is usual can be
    /// learnt only while nothing moves, so a first wave that did not wait for it would leave it blind to the end.
    fn blindness(&self, values: &BTreeMap<Signal, u64>) -> Option<Reason> {
        let knows_usual = self.usual(Signal::SearchLatency).is_some();
        match (values.contains_key(&Signal::SearchLatency), knows_usual) {
            (true, true) => None,
            _ if self.settings.required => Some(Reason::GuardBlind),
            (true, false) => Some(Reason::GuardLearning),
            (false, _) => None,
        }
    }

    fn usual(&self, signal: Signal) -> Option<u64> {
        match signal {
            Signal::DestinationMemory => Some(self.settings.destination_memory.0),
            _ => self.usual.get(&signal)?.mean(),
        }
    }

    fn readings(&self, values: &BTreeMap<Signal, u64>) -> Vec<Reading> {
        let reading =
            |signal| Reading { signal, now: values.get(&signal).copied(), usual: self.usual(signal) };
        Signal::ALL.into_iter().map(reading).collect()
    }

    /// The gravest of the signals that are too much.
    fn worst(&self, values: &BTreeMap<Signal, u64>) -> Option<Reason> {
        let is_too_much = |signal: Signal, value: u64| {
            let settings = &self.settings;
            let least_rise = match signal {
                Signal::DestinationMemory => return value > settings.destination_memory.0,
                Signal::FailedSearches => settings.failed_rise.0,
                Signal::SlowSearches => settings.slow_rise.0,
                Signal::WaitingTasks => settings.waiting_rise.into(),
                Signal::SearchLatency => micros(settings.latency_rise),
            };
            let usual = self.usual.get(&signal);
            usual.is_some_and(|usual| usual.is_exceeded_by(value, settings.factor, least_rise))
        };
        let signal = Signal::ALL
            .into_iter()
            .find(|signal| values.get(signal).is_some_and(|value| is_too_much(*signal, *value)))?;
        Some(Reason::UsersSlowed {
            signal,
            now: values.get(&signal).copied().unwrap_or_default(),
            usual: self.usual(signal).unwrap_or_default(),
        })
    }

    /// What can be told of each signal between the last look and this one.
    fn values(&self, input: &GuardInput<'_>) -> BTreeMap<Signal, u64> {
        let mut values = BTreeMap::new();
        let since = Since::between(&self.previous, input.service, micros(self.settings.slow_search));
        let enough = u64::from(self.settings.fewest_searches.max(1));
        if since.searches >= enough {
            values.insert(Signal::SearchLatency, since.micros / since.searches);
        }
        if since.bucketed >= enough {
            values.insert(Signal::SlowSearches, Ratio::of(since.slow, since.bucketed).0);
        }
        if since.asked >= enough {
            values.insert(Signal::FailedSearches, Ratio::of(since.failed, since.asked).0);
        }
        if !input.service.waiting.is_empty() {
            let waiting = input.service.waiting.values().fold(0, |sum: u64, more| sum.saturating_add(*more));
            values.insert(Signal::WaitingTasks, waiting);
        }
        if let Some(share) = input.fullest_destination.filter(|_| input.is_moving) {
            values.insert(Signal::DestinationMemory, share.0);
        }
        values
    }
}

/// What was counted between two looks, over the proxies that were read at both and not restarted in between.
#[derive(Default)]
struct Since {
    searches: u64,
    micros: u64,
    /// Searches of the proxies that have a bucket for them.
    bucketed: u64,
    slow: u64,
    asked: u64,
    failed: u64,
}

impl Since {
    fn between(before: &ServiceReport, now: &ServiceReport, slow_edge: u64) -> Since {
        let mut since = Since::default();
        for (target, now) in &now.proxies {
            if let Some(before) = before.proxies.get(target) {
                since.add_latency(&before.searches, &now.searches, slow_edge);
                since.add_requests(before, now);
            }
        }
        since
    }

    fn add_latency(&mut self, before: &LatencyCounters, now: &LatencyCounters, slow_edge: u64) {
        // Counters that fall, or appear, are those of another process.
        let (Some(searches), Some(micros)) =
            (now.count.checked_sub(before.count), now.sum_micros.checked_sub(before.sum_micros))
        else {
            return;
        };
        if before.count == 0 {
            return;
        }
        self.searches = self.searches.saturating_add(searches);
        self.micros = self.micros.saturating_add(micros);
        let fast_by = |counters: &LatencyCounters| {
            counters.buckets.iter().find(|(edge, _)| *edge >= slow_edge).copied()
        };
        let (Some((edge, was_fast)), Some((same_edge, fast))) = (fast_by(before), fast_by(now)) else {
            return;
        };
        let Some(fast) = fast.checked_sub(was_fast).filter(|fast| edge == same_edge && *fast <= searches)
        else {
            return;
        };
        self.bucketed = self.bucketed.saturating_add(searches);
        self.slow = self.slow.saturating_add(searches - fast);
    }

    fn add_requests(&mut self, before: &ProxyCounters, now: &ProxyCounters) {
        let asked = now.asked.checked_sub(before.asked);
        if let (Some(asked), Some(failed)) = (asked, now.failed.checked_sub(before.failed)) {
            self.asked = self.asked.saturating_add(asked);
            self.failed = self.failed.saturating_add(failed);
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
