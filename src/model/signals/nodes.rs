//! What is remembered of one query node's counters: their rates, and the state of things they hold for.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::rates::{CounterRate, Recorded};
use crate::model::doubt::DoubtKind;
use crate::observe::signals::NodeCounters;
use crate::units::{Bytes, CollectionId, Millicores, Moment, Rate, Ratio};

/// Start times that differ by less are the same one: it is worked out from the time of boot, which wanders with the
/// clock.
const SAME_START: SignedDuration = SignedDuration::from_secs(5);

/// Clocks that pass by amounts that differ by less agree: they are not read in one instant.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);

/// So many times its cores a node may seem to use: GOMAXPROCS does not bind the search engine's own threads. Beyond that
/// a counter or a clock is wrong.
const CPU_LEEWAY: u64 = 8;

/// A node whose work changed by more than this share between two looks begins a new stretch; less is growth and
/// compaction, which are always going on.
const SAME_WORK: Ratio = Ratio(50_000);

/// Rows of each collection on a node.
pub(super) type Holdings = BTreeMap<CollectionId, u64>;

/// The rates of one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct NodeRates {
    process: Option<Timestamp>,
    read_at: Option<Moment>,
    /// What the node held at the last look: rates of other holdings say nothing about these.
    holdings: Holdings,
    /// What searches on it should have cost then, by collection.
    pub(super) work: BTreeMap<CollectionId, u64>,
    cpu: CounterRate,
    worker: CounterRate,
    delegator: CounterRate,
    failures: CounterRate,
    by_collection: BTreeMap<CollectionId, CounterRate>,
    disk_used: Option<Bytes>,
    /// Whether the last CPU rate was not believed.
    pub(super) is_doubted: bool,
    /// Whether a page that was read had no CPU time on it.
    pub(super) lacks_cpu: bool,
}

impl NodeRates {
    /// Of a node whose page is not believed.
    pub(super) fn doubted() -> NodeRates {
        NodeRates { is_doubted: true, ..NodeRates::default() }
    }

    /// One more page, read while the node held this. After a move of ours a new stretch begins in any case.
    pub(super) fn record(
        &mut self,
        page: &NodeCounters,
        holdings: &Holdings,
        was_moved: bool,
        smoothing: Duration,
        cores: Option<Millicores>,
    ) -> Vec<DoubtKind> {
        let mut doubts = Vec::new();
        if let Some(before) = self.read_at {
            if page.read_at == before {
                return doubts;
            }
            if page.read_at.monotonic <= before.monotonic {
                // Another process of ours read that one: its clock began elsewhere.
                *self = NodeRates::default();
            } else {
                doubts.extend(clocks_disagree(before, page.read_at));
            }
        }
        let is_other_process = match (self.process, page.started_at) {
            (Some(before), Some(now)) => now.duration_since(before).abs() > SAME_START,
            _ => false,
        };
        if is_other_process || was_moved || self.has_changed(holdings) {
            *self = NodeRates::default();
        }
        self.process = page.started_at.or(self.process);
        self.holdings.clone_from(holdings);
        self.read_at = Some(page.read_at);
        self.disk_used = page.disk_used;
        self.lacks_cpu = page.cpu_micros.is_none();
        self.is_doubted = false;
        if self.count(page, smoothing) {
            doubts.push(DoubtKind::CounterWentBack { page: page.source.clone() });
            self.is_doubted = true;
        }
        if let (Some(cpu), Some(cores)) = (self.cpu(), cores)
            && cpu.0 > cores.0.saturating_mul(CPU_LEEWAY)
        {
            doubts.push(DoubtKind::ImplausibleCpu { cpu, cores });
            self.cpu = CounterRate::default();
            self.is_doubted = true;
        }
        doubts
    }

    /// Takes the counters of a page; whether one fell, after which none of the stretch counts.
    fn count(&mut self, page: &NodeCounters, smoothing: Duration) -> bool {
        let at = page.read_at;
        let mut fell = false;
        let mut take = |rate: &mut CounterRate, value: Option<u64>| match value {
            Some(value) => fell |= rate.record(value, at, smoothing) == Recorded::WentBack,
            None => *rate = CounterRate::default(),
        };
        take(&mut self.cpu, page.cpu_micros);
        take(&mut self.worker, page.as_worker.as_ref().map(|searches| searches.count));
        take(&mut self.delegator, page.as_delegator.as_ref().map(|searches| searches.count));
        take(&mut self.failures, page.load_failures);
        let counts = page.as_worker.as_ref().map(|searches| &searches.by_collection);
        self.by_collection.retain(|id, _| counts.is_some_and(|counts| counts.contains_key(id)));
        for (collection, count) in counts.into_iter().flatten() {
            take(self.by_collection.entry(*collection).or_default(), Some(*count));
        }
        if fell {
            let (process, read_at, disk_used) = (self.process, self.read_at, self.disk_used);
            let holdings = std::mem::take(&mut self.holdings);
            *self = NodeRates { process, read_at, holdings, disk_used, ..NodeRates::default() };
        }
        fell
    }

    /// No page was read, while the node held this.
    pub(super) fn miss(&mut self, holdings: &Holdings, was_moved: bool) {
        if was_moved || self.has_changed(holdings) {
            *self = NodeRates::default();
        }
        self.holdings.clone_from(holdings);
    }

    /// Whether what the node held at the last look is so different that its rates say nothing about now.
    fn has_changed(&self, now: &Holdings) -> bool {
        let (mut rows, mut rows_changed) = (0_u128, 0_u128);
        let (mut work, mut work_changed) = (0_u128, 0_u128);
        for collection in self.holdings.keys().chain(now.keys().filter(|id| !self.holdings.contains_key(id)))
        {
            let [before, after] =
                [&self.holdings, now].map(|held| u128::from(held.get(collection).copied().unwrap_or(0)));
            let (most, change) = (before.max(after), before.abs_diff(after));
            rows += most;
            rows_changed += change;
            let cost = u128::from(self.work.get(collection).copied().unwrap_or(0));
            work += cost;
            work_changed += cost.saturating_mul(change) / most.max(1);
        }
        let exceeds = |part: u128, whole: u128| {
            part.saturating_mul(u128::from(Ratio::ONE.0)) > whole.saturating_mul(u128::from(SAME_WORK.0))
        };
        exceeds(rows_changed, rows) || exceeds(work_changed, work)
    }

    /// How old its figures are; `None` before there are any.
    pub(super) fn age(&self, now: Timestamp) -> Option<Duration> {
        // A page is read after the look has begun.
        let since = now.duration_since(self.read_at?.wall);
        Some(Duration::try_from(since).unwrap_or(Duration::ZERO))
    }

    /// CPU in use, in billionths of a core.
    pub(super) fn nanocores(&self) -> Option<u64> {
        // Thousandths of microseconds a second.
        self.cpu.rate().map(|rate| rate.0)
    }

    fn cpu(&self) -> Option<Millicores> {
        self.nanocores().map(|nanocores| Millicores(nanocores / 1_000_000))
    }

    /// Searches as a worker.
    pub(super) fn searches(&self) -> Option<Rate> {
        self.worker.rate()
    }

    /// Searches as a delegator.
    pub(super) fn delegated(&self) -> Option<Rate> {
        self.delegator.rate()
    }

    /// Searches as a worker for one collection, where the node tells them apart.
    pub(super) fn searches_of(&self, collection: CollectionId) -> Option<Rate> {
        self.by_collection.get(&collection).and_then(CounterRate::rate)
    }

    /// Whether it counts searches by collection (2.4+), and has done so long enough.
    pub(super) fn tells_collections_apart(&self) -> bool {
        self.by_collection.values().any(|rate| rate.rate().is_some())
    }

    /// Failed reads from the object storage.
    pub(super) fn failures(&self) -> Option<Rate> {
        self.failures.rate()
    }

    /// Bytes on its disk.
    pub(super) fn disk_used(&self) -> Option<Bytes> {
        self.disk_used
    }
}

/// Whether somebody has set the wall clock between two readings.
fn clocks_disagree(before: Moment, now: Moment) -> Option<DoubtKind> {
    let monotonic = SignedDuration::try_from(now.monotonic.saturating_sub(before.monotonic)).ok()?;
    let wall = now.wall.duration_since(before.wall);
    let difference = wall.checked_sub(monotonic)?.unsigned_abs();
    (difference > CLOCKS_AGREE).then_some(DoubtKind::ClocksDisagree { seconds: difference.as_secs() })
}
