//! How often each collection is searched: the sum of what all proxies count. Query nodes before 2.4 count searches, but
//! not of which collection.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::rates::{CounterRate, LONGEST_STRETCH, Recorded};
use crate::model::doubt::{Doubt, DoubtKind, Subject};
use crate::model::snapshot::Collection;
use crate::observe::signals::{CollectionDemand, DemandCounters};
use crate::units::{Moment, Rate};

/// As for nodes: the start time wanders with the clock.
const SAME_START: SignedDuration = SignedDuration::from_secs(5);

/// A collection as a proxy names it.
type Name = (Option<String>, String);

/// What is remembered of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ProxyRates {
    process: Option<Timestamp>,
    read_at: Option<Moment>,
    /// Whether the last page was whole: one that was cut off hides collections that have long been searched.
    was_whole: bool,
    #[serde(with = "pairs")]
    searches: BTreeMap<Name, CounterRate>,
}

/// A map as a list of pairs, because JSON has no keys of two parts.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{CounterRate, Name};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Name, CounterRate>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Name, CounterRate>, D::Error> {
        Ok(Vec::<(Name, CounterRate)>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What is remembered of all proxies, by the address of their page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Demand {
    proxies: BTreeMap<String, ProxyRates>,
}

/// Searches by collection, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DemandNow {
    /// By position of the collection.
    pub(super) rates: Vec<Option<Rate>>,
    /// The age of the oldest figure in it; `None` when no proxy gave a rate.
    pub(super) age: Option<Duration>,
}

impl Demand {
    /// Takes this turn's pages.
    pub(super) fn record(
        &mut self,
        pages: &BTreeMap<String, DemandCounters>,
        smoothing: Duration,
        doubts: &mut Vec<Doubt>,
    ) {
        for (target, page) in pages {
            let proxy = self.proxies.entry(target.clone()).or_default();
            if proxy.record(page, smoothing) {
                let kind = DoubtKind::CounterWentBack { page: target.clone() };
                doubts.push(Doubt { subject: Subject::Cluster, kind });
            }
            for oddity in &page.oddities {
                let kind = DoubtKind::OddFigure { page: target.clone(), oddity: oddity.clone() };
                doubts.push(Doubt { subject: Subject::Cluster, kind });
            }
        }
    }

    /// The demand of each collection as of now. A proxy that was not read lately says nothing.
    pub(super) fn now(
        &mut self,
        collections: &[Collection],
        now: Timestamp,
        keep: Duration,
        doubts: &mut Vec<Doubt>,
    ) -> DemandNow {
        let mut oldest = None;
        let mut by_name: BTreeMap<Name, u64> = BTreeMap::new();
        self.proxies.retain(|_, proxy| proxy.age(now).is_some_and(|age| age <= keep));
        for proxy in self.proxies.values() {
            for (name, rate) in &proxy.searches {
                let Some(rate) = rate.rate() else { continue };
                oldest = oldest.max(proxy.age(now));
                let sum = by_name.entry(name.clone()).or_default();
                *sum = sum.saturating_add(rate.0);
            }
        }
        let mut rates = vec![None; collections.len()];
        if oldest.is_some() {
            // Proxies list what was ever searched: what they do not list is not searched.
            rates = vec![Some(Rate::ZERO); collections.len()];
        }
        for ((database, name), rate) in by_name {
            let is_meant = |collection: &Collection| {
                collection.name == name && database.as_ref().is_none_or(|own| *own == collection.database)
            };
            let meant: Vec<usize> = (0..collections.len()).filter(|at| is_meant(&collections[*at])).collect();
            if meant.len() > 1 {
                let kind = DoubtKind::AmbiguousDemand { name: name.clone() };
                doubts.push(Doubt { subject: Subject::Cluster, kind });
            }
            let share = rate / u64::try_from(meant.len().max(1)).unwrap_or(1);
            for at in meant {
                let sum = rates[at].get_or_insert(Rate::ZERO);
                sum.0 = sum.0.saturating_add(share);
            }
        }
        DemandNow { rates, age: oldest }
    }
}

impl ProxyRates {
    /// Takes a page; whether a counter fell.
    fn record(&mut self, page: &DemandCounters, smoothing: Duration) -> bool {
        if self.read_at == Some(page.read_at) {
            return false;
        }
        let went_back = self.read_at.is_some_and(|before| page.read_at.monotonic <= before.monotonic);
        let is_other = match (self.process, page.started_at) {
            (Some(before), Some(now)) => now.duration_since(before).abs() > SAME_START,
            _ => false,
        };
        if went_back || is_other {
            *self = ProxyRates::default();
        }
        let (is_first, was_whole) = (self.read_at.is_none(), self.was_whole);
        self.was_whole = page.oddities.is_empty();
        self.process = page.started_at.or(self.process);
        let since = self.read_at.replace(page.read_at);
        let mut fell = false;
        let names: BTreeMap<Name, u64> = page.collections.iter().map(name_and_count).collect();
        // One that a page leaves out may be on the next one again.
        let is_recent = |rate: &CounterRate| rate.is_within(LONGEST_STRETCH, page.read_at);
        self.searches.retain(|name, rate| names.contains_key(name) || is_recent(rate));
        for (name, count) in names {
            let rate = self.searches.entry(name).or_insert_with(|| {
                let mut rate = CounterRate::default();
                if let Some(since) = since.filter(|_| !is_first && was_whole) {
                    // It was not listed a moment ago: nobody had searched it.
                    rate.begin(0, since);
                }
                rate
            });
            fell |= rate.record(count, page.read_at, smoothing) == Recorded::WentBack;
        }
        fell
    }

    fn age(&self, now: Timestamp) -> Option<Duration> {
        let since = now.duration_since(self.read_at?.wall);
        Some(Duration::try_from(since).unwrap_or(Duration::ZERO))
    }
}

/// The count of vectors that were searched for, because a search for a hundred of them is a hundred searches; of searches
/// where vectors are not counted. They are counted as they come, so that there are never fewer of them than of searches.
fn name_and_count(demand: &CollectionDemand) -> (Name, u64) {
    let count = if demand.vectors > 0 { demand.vectors } else { demand.searches };
    ((demand.database.clone(), demand.name.clone()), count)
}
