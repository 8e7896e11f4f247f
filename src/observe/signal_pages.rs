//! Reads the signals out of the pages of query nodes and proxies. Names and labels are those of 2.3.5, where they were
//! measured, and of later versions' sources where those differ.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::metrics_text::{self, Sample};
use super::signals::{CollectionDemand, DemandCounters, NodeCounters, Oddity, SearchCounters};
use crate::units::{Bytes, CollectionId, Moment, NodeId};

/// CPU time of the process, in seconds: the real one, unlike `cpu_core_usage` of GetMetrics, which is the host's.
const CPU: &str = "process_cpu_seconds_total";
/// When the process started, in seconds of the epoch.
const STARTED: &str = "process_start_time_seconds";
/// Resident memory in bytes.
const RESIDENT: &str = "process_resident_memory_bytes";
/// Searches and queries by scope and status.
const REQUESTS: &str = "milvus_querynode_sq_req_count";
/// How long the answered ones took, in milliseconds.
const REQUEST_MILLIS: &str = "milvus_querynode_sq_req_latency_sum";
/// Bytes of segments by collection and state.
const ENTITY_SIZE: &str = "milvus_querynode_entity_size";
/// Use of the local disk, in MB.
const DISK_USED: &str = "milvus_querynode_disk_used_size";
/// Calls of the object storage by operation and status.
const STORAGE: &str = "internal_storage_op_count";
/// Vectors that a proxy was asked to search for, by collection.
const VECTORS: &str = "milvus_proxy_received_nq";
/// Latency of searches at the proxy, by collection.
const COLLECTION_LATENCY: &str = "milvus_proxy_collection_sq_latency";

/// Longest label that is taken. Milvus' names have up to 255 characters.
const LONGEST_LABEL: usize = 1024;

/// Milvus' `disk_used_size` counts MB of 2^20 bytes.
const MEGABYTE: f64 = 1_048_576.0;

/// A page, with what was odd about it so far.
struct Reader<'a> {
    page: &'a str,
    oddities: BTreeSet<Oddity>,
}

impl<'a> Reader<'a> {
    fn new(page: &'a str) -> Reader<'a> {
        let cut_off = !page.is_empty() && !page.ends_with('\n');
        let oddities = cut_off.then_some(Oddity::CutOff).into_iter().collect();
        Reader { page, oddities }
    }

    /// The usable samples of a metric that satisfy a condition, as whole numbers of a unit so many times smaller.
    fn amounts(&mut self, metric: &str, scale: f64, wanted: impl Fn(&Sample) -> bool) -> Vec<(Sample, u64)> {
        let mut amounts = Vec::new();
        for sample in metrics_text::samples(self.page, metric) {
            if sample.labels.iter().any(|(_, value)| value.len() > LONGEST_LABEL) {
                self.oddities.insert(Oddity::HugeLabel(metric.to_owned()));
            } else if wanted(&sample) {
                match whole(sample.value * scale) {
                    Some(amount) => amounts.push((sample, amount)),
                    None => drop(self.oddities.insert(Oddity::NoAmount(metric.to_owned()))),
                }
            }
        }
        amounts
    }

    /// The sum of these samples; `None` when there is none.
    fn sum(&mut self, metric: &str, scale: f64, wanted: impl Fn(&Sample) -> bool) -> Option<u64> {
        let amounts = self.amounts(metric, scale, wanted);
        (!amounts.is_empty())
            .then(|| amounts.into_iter().map(|(_, amount)| amount).fold(0, u64::saturating_add))
    }

    fn started_at(&mut self) -> Option<Timestamp> {
        let millis = self.sum(STARTED, 1000.0, |_| true)?;
        Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
    }

    fn searches(&mut self, node: &str, scope: &str) -> Option<SearchCounters> {
        let wanted = |sample: &Sample| {
            is(sample, "node_id", node) && is(sample, "scope", scope) && is(sample, "query_type", "search")
        };
        let counts = self.amounts(REQUESTS, 1.0, |sample| wanted(sample) && is(sample, "status", "total"));
        if counts.is_empty() {
            return None;
        }
        let mut searches = SearchCounters {
            micros: self.sum(REQUEST_MILLIS, 1000.0, wanted).unwrap_or(0),
            ..SearchCounters::default()
        };
        for (sample, count) in counts {
            searches.count = searches.count.saturating_add(count);
            if let Some(collection) = collection_of(&sample) {
                let sum = searches.by_collection.entry(collection).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        Some(searches)
    }

    fn oddities(self) -> Vec<Oddity> {
        self.oddities.into_iter().collect()
    }
}

/// The signals in the page of this node. Whether it is this node's page has been checked before.
pub(crate) fn read_node(page: &str, node: NodeId, source: &str, read_at: Moment) -> NodeCounters {
    let mut reader = Reader::new(page);
    let own = node.to_string();
    let is_own = |sample: &Sample| is(sample, "node_id", &own);
    NodeCounters {
        read_at,
        source: source.to_owned(),
        started_at: reader.started_at(),
        cpu_micros: reader.sum(CPU, 1e6, |_| true),
        as_worker: reader.searches(&own, "FromLeader"),
        as_delegator: reader.searches(&own, "OnLeader"),
        growing: reader
            .sum(ENTITY_SIZE, 1.0, |sample| is_own(sample) && is(sample, "segment_state", "Growing"))
            .map(Bytes),
        resident_memory: reader.sum(RESIDENT, 1.0, |_| true).map(Bytes),
        disk_used: reader.sum(DISK_USED, MEGABYTE, is_own).map(Bytes),
        load_failures: reader.sum(STORAGE, 1.0, |sample| {
            is(sample, "persistent_data_op_type", "get") && is(sample, "status", "fail")
        }),
        oddities: reader.oddities(),
    }
}

/// The demand that a proxy's page shows.
pub(crate) fn read_demand(page: &str, read_at: Moment) -> DemandCounters {
    let mut reader = Reader::new(page);
    let started_at = reader.started_at();
    let mut collections: BTreeMap<(Option<String>, String), CollectionDemand> = BTreeMap::new();
    let is_search = |sample: &Sample| is(sample, "query_type", "search");
    let searches = reader.amounts(&format!("{COLLECTION_LATENCY}_count"), 1.0, is_search);
    let micros = reader.amounts(&format!("{COLLECTION_LATENCY}_sum"), 1000.0, is_search);
    let vectors = reader.amounts(VECTORS, 1.0, is_search);
    let mut add = |samples: Vec<(Sample, u64)>, field: fn(&mut CollectionDemand) -> &mut u64| {
        for (sample, amount) in samples {
            let Some(name) = sample.label("collection_name") else { continue };
            // 2.4 labels one of the two metrics with the database only in some of its releases.
            let database = sample.label("db_name").filter(|name| !name.is_empty()).map(str::to_owned);
            let demand = collections.entry((database.clone(), name.to_owned())).or_insert_with(|| {
                CollectionDemand { database, name: name.to_owned(), searches: 0, vectors: 0, micros: 0 }
            });
            let sum = field(demand);
            *sum = sum.saturating_add(amount);
        }
    };
    add(searches, |demand| &mut demand.searches);
    add(micros, |demand| &mut demand.micros);
    add(vectors, |demand| &mut demand.vectors);
    DemandCounters {
        read_at,
        started_at,
        collections: collections.into_values().collect(),
        oddities: reader.oddities(),
    }
}

fn is(sample: &Sample, label: &str, value: &str) -> bool {
    sample.label(label) == Some(value)
}

fn collection_of(sample: &Sample) -> Option<CollectionId> {
    sample.label("collection_id")?.parse().ok()
}

/// A whole number; nothing when it is negative, infinite or not a number.
fn whole(value: f64) -> Option<u64> {
    let fits = value.is_finite() && (0.0..1.8e19).contains(&value);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fits.then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Moment {
        Moment { wall: Timestamp::UNIX_EPOCH, monotonic: std::time::Duration::from_secs(7) }
    }

    fn fixture(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/milvus-2.3.5");
        std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
    }

    fn node(page: &str) -> NodeCounters {
        read_node(page, NodeId(2), "http://node/metrics", now())
    }

    #[test]
    fn the_page_of_a_real_query_node_is_read() {
        let read = node(&fixture("querynode-metrics.txt"));
        assert_eq!(read.cpu_micros, Some(2_460_000));
        assert_eq!(read.started_at.map(Timestamp::as_millisecond), Some(1_795_341_129_360));
        let worker = SearchCounters { count: 1005, micros: 1_264_000, by_collection: BTreeMap::new() };
        let delegator = SearchCounters { count: 1012, micros: 3_804_000, by_collection: BTreeMap::new() };
        assert_eq!((read.as_worker, read.as_delegator), (Some(worker), Some(delegator)));
        assert_eq!(read.growing, Some(Bytes(64_896)));
        assert_eq!(read.resident_memory, Some(Bytes(201_461_760)));
        assert_eq!(read.disk_used, Some(Bytes(3_937_614)));
        assert_eq!(read.load_failures, None, "no read has failed yet, and then 2.3.5 prints no such line");
        assert_eq!(read.oddities, []);
    }

    #[test]
    fn the_page_of_a_real_proxy_is_read() {
        let read = read_demand(&fixture("standalone-metrics.txt"), now());
        let of = |name: &str, searches, vectors, micros| CollectionDemand {
            database: None,
            name: name.to_owned(),
            searches,
            vectors,
            micros,
        };
        assert_eq!(read.collections, [of("growing", 792, 793, 3_355_000), of("loaded", 791, 792, 4_735_000)]);
        assert_eq!(read.oddities, []);
    }

    #[test]
    fn later_versions_tell_collections_apart() {
        let line = |collection: &str, count: &str| {
            format!(
                "{REQUESTS}{{collection_id=\"{collection}\",node_id=\"2\",query_type=\"search\",scope=\"FromLeader\",\
                 status=\"total\"}} {count}\n"
            )
        };
        let read = node(&[line("449", "5"), line("450", "7"), line("x", "1")].concat()).as_worker.unwrap();
        assert_eq!(read.count, 13);
        assert_eq!(read.by_collection, BTreeMap::from([(CollectionId(449), 5), (CollectionId(450), 7)]));
        let page = "milvus_proxy_received_nq{collection_name=\"a\",db_name=\"d\",query_type=\"search\"} 3\n";
        let read = read_demand(page, now()).collections;
        assert_eq!((read[0].database.as_deref(), read[0].vectors), (Some("d"), 3));
    }

    #[test]
    fn nonsense_is_named_and_the_rest_is_read() {
        for value in ["NaN", "-1", "+Inf", "-Inf", "1e300"] {
            let read = node(&format!("{CPU} {value}\n{RESIDENT} 5\n"));
            assert_eq!((read.cpu_micros, read.resident_memory), (None, Some(Bytes(5))), "{value}");
            assert_eq!(read.oddities, [Oddity::NoAmount(CPU.to_owned())], "{value}");
        }
        let huge = "x".repeat(LONGEST_LABEL + 1);
        let page = format!(
            "{VECTORS}{{collection_name=\"{huge}\",query_type=\"search\"}} 1\n\
             {VECTORS}{{collection_name=\"a\",query_type=\"search\"}} 2\n"
        );
        let read = read_demand(&page, now());
        assert_eq!(read.collections.len(), 1);
        assert_eq!(read.oddities, [Oddity::HugeLabel(VECTORS.to_owned())]);
    }

    #[test]
    fn a_page_that_was_cut_off_says_so() {
        let read = node(&format!("{RESIDENT} 5\n{CPU} 12"));
        assert_eq!((read.resident_memory, read.cpu_micros), (Some(Bytes(5)), None));
        assert_eq!(read.oddities, [Oddity::CutOff]);
    }

    #[test]
    fn a_foreign_page_has_no_signals() {
        for page in ["", "<html>\n", "node_cpu_seconds_total{cpu=\"0\"} 5\n"] {
            let read = node(page);
            assert_eq!((read.cpu_micros, read.as_worker, read.disk_used), (None, None, None), "{page}");
        }
    }
}
