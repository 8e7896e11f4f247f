//! What users feel, from the proxies' own /metrics: how long searches take, and how many fail. Names as of 2.3.5,
//! where they were measured; they are the same up to 2.6.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::metrics_text::{self, Sample};
use super::node_metrics::{NodeMetricsError, fetch, http_client, parse_page_address};
use super::service::{LatencyCounters, ProxyCounters};
use super::signal_pages;
use super::signals::DemandCounters;
use crate::clock::Clock;
use crate::units::Bytes;

/// Latency of searches and queries at the proxy, in milliseconds.
const SEARCH_LATENCY: &str = "milvus_proxy_sq_latency";

/// Requests by function and status.
const REQUESTS: &str = "milvus_proxy_req_count";

/// Read tasks of a query node that wait: ready ones, and (before 2.6) those not looked at yet.
const WAITING: [&str; 2] =
    ["milvus_querynode_read_task_ready_len", "milvus_querynode_read_task_unsolved_len"];

/// How the proxies' own metrics are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyMetricsSettings {
    /// Addresses of the proxies' pages, one each. None: nobody is asked.
    pub targets: Vec<String>,
    /// How long to wait for one page.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
    /// The largest answer that is accepted.
    #[serde(with = "crate::config::bytes")]
    pub max_body: Bytes,
}

impl Default for ProxyMetricsSettings {
    fn default() -> Self {
        ProxyMetricsSettings {
            targets: Vec::new(),
            // As for nodes: a page is a few milliseconds' work.
            timeout: Duration::from_secs(2),
            // Thousands of collections make a few MiB.
            max_body: Bytes(16 << 20),
        }
    }
}

/// What a proxy's page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPage {
    /// What users feel.
    pub counters: ProxyCounters,
    /// What they ask for.
    pub demand: DemandCounters,
}

/// Reads the proxies' pages.
pub struct ProxyMetrics {
    http: reqwest::Client,
    max_body: Bytes,
    targets: Vec<(String, Url)>,
}

impl ProxyMetrics {
    /// A reader; `None` when there is nobody to ask.
    pub fn new(settings: &ProxyMetricsSettings) -> Result<Option<ProxyMetrics>, NodeMetricsError> {
        if settings.targets.is_empty() {
            return Ok(None);
        }
        let mut targets = Vec::new();
        for target in &settings.targets {
            let url = parse_page_address(target)
                .ok_or_else(|| NodeMetricsError::Url { key: "targets".to_owned(), url: target.clone() })?;
            targets.push((target.clone(), url));
        }
        let http = http_client(settings.timeout)?;
        Ok(Some(ProxyMetrics { http, max_body: settings.max_body, targets }))
    }

    /// Reads all pages at once: by target, its counters or why there are none.
    pub async fn read(&self, clock: &Clock) -> BTreeMap<String, Result<ProxyPage, NodeMetricsError>> {
        let pages = self.targets.iter().map(|(target, url)| async move {
            let page = fetch(&self.http, url, self.max_body).await;
            let read = page.and_then(|page| {
                let read_at = clock.read();
                let not_milvus = || NodeMetricsError::NotMilvus { url: url.clone() };
                let counters = read_proxy(&page).ok_or_else(not_milvus)?;
                Ok(ProxyPage { counters, demand: signal_pages::read_demand(&page, read_at) })
            });
            (target.clone(), read)
        });
        futures::future::join_all(pages).await.into_iter().collect()
    }
}

/// The counters in a proxy's page; `None` when it is no page of a proxy. One that was never searched has counted
/// nothing, and says so.
pub(crate) fn read_proxy(page: &str) -> Option<ProxyCounters> {
    if !page.lines().any(|line| line.starts_with("milvus_proxy_")) {
        return None;
    }
    let of_requests = |status: &str| {
        let requests = metrics_text::samples(page, REQUESTS);
        let wanted = requests.iter().filter(|sample| {
            sample.label("function_name") == Some("Search") && sample.label("status") == Some(status)
        });
        wanted.filter_map(|sample| whole(sample.value)).fold(0, u64::saturating_add)
    };
    Some(ProxyCounters {
        searches: read_latency(page, SEARCH_LATENCY),
        asked: of_requests("total"),
        failed: of_requests("fail"),
    })
}

/// A latency histogram of searches. Without a usable sum and count it is empty: half of a histogram is none.
fn read_latency(page: &str, name: &str) -> LatencyCounters {
    let is_search = |sample: &&Sample| sample.label("query_type") == Some("search");
    let sum_of = |suffix: &str| {
        let samples = metrics_text::samples(page, &format!("{name}{suffix}"));
        let values: Vec<f64> = samples.iter().filter(is_search).map(|sample| sample.value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>())
    };
    let (count, sum) = (sum_of("_count").and_then(whole), sum_of("_sum").and_then(micros));
    let (Some(count), Some(sum_micros)) = (count, sum) else { return LatencyCounters::default() };
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    for sample in metrics_text::samples(page, &format!("{name}_bucket")).iter().filter(is_search) {
        let edge = sample.label("le").and_then(|edge| edge.parse().ok()).and_then(micros);
        if let (Some(edge), Some(below)) = (edge, whole(sample.value)) {
            let sum = buckets.entry(edge).or_default();
            *sum = sum.saturating_add(below);
        }
    }
    LatencyCounters { count, sum_micros, buckets: buckets.into_iter().collect() }
}

/// Read tasks that wait on a node, by its page; `None` when it does not tell.
pub(super) fn read_waiting(page: &str) -> Option<u64> {
    let lengths = WAITING.iter().flat_map(|name| metrics_text::samples(page, name));
    let lengths: Vec<u64> = lengths.filter_map(|sample| whole(sample.value)).collect();
    (!lengths.is_empty()).then(|| lengths.into_iter().fold(0, u64::saturating_add))
}

/// A count; nothing when it is negative, infinite or not a number.
fn whole(value: f64) -> Option<u64> {
    let fits = value.is_finite() && (0.0..1.8e19).contains(&value);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fits.then_some(value as u64)
}

/// Milliseconds as whole microseconds.
fn micros(milliseconds: f64) -> Option<u64> {
    whole(milliseconds * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/milvus-2.3.5");
        std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
    }

    #[test]
    fn the_pages_of_a_real_2_3_5_are_read() {
        let proxy = read_proxy(&fixture("standalone-metrics.txt")).unwrap();
        assert_eq!((proxy.asked, proxy.failed, proxy.searches.count), (1585, 0, 1583));
        assert_eq!(proxy.searches.buckets.len(), 18, "1 ms to 131 s; infinity is the count");
        assert_eq!(proxy.searches.buckets[..3], [(1_000, 5), (2_000, 109), (4_000, 797)]);
        let mean = proxy.searches.sum_micros / proxy.searches.count;
        assert!((2_000..10_000).contains(&mean), "{mean} µs");
        assert_eq!(read_proxy(&fixture("querynode-metrics.txt")), None, "no proxy");
        assert_eq!(read_waiting(&fixture("querynode-metrics.txt")), Some(0));
    }

    #[test]
    fn nonsense_is_no_figure() {
        let page = |count: &str, sum: &str| {
            format!(
                "{SEARCH_LATENCY}_bucket{{query_type=\"search\",le=\"1\"}} 3\n\
                 {SEARCH_LATENCY}_bucket{{query_type=\"search\",le=\"huge\"}} 4\n\
                 {SEARCH_LATENCY}_bucket{{query_type=\"search\",le=\"2\"}} NaN\n\
                 {SEARCH_LATENCY}_bucket{{query_type=\"query\",le=\"4\"}} 9\n\
                 {SEARCH_LATENCY}_sum{{query_type=\"search\"}} {sum}\n\
                 {SEARCH_LATENCY}_count{{query_type=\"search\"}} {count}\n\
                 {REQUESTS}{{function_name=\"Search\",status=\"fail\"}} -1\n"
            )
        };
        let read = read_proxy(&page("5", "7.5")).unwrap();
        let searches = LatencyCounters { count: 5, sum_micros: 7_500, buckets: vec![(1_000, 3)] };
        assert_eq!(read, ProxyCounters { searches, asked: 0, failed: 0 });
        for (count, sum) in [("NaN", "1"), ("5", "+Inf"), ("-1", "1"), ("5", "-3")] {
            let read = read_proxy(&page(count, sum)).unwrap();
            assert_eq!(read.searches, LatencyCounters::default(), "{count} {sum}");
        }
        assert_eq!(read_proxy("<html>milvus_proxy_</html>"), None);
        assert_eq!(read_waiting("milvus_querynode_read_task_ready_len{} NaN\n"), None);
    }

    #[test]
    fn a_proxy_that_was_never_searched_has_counted_nothing() {
        assert_eq!(read_proxy("milvus_proxy_cache_hit_count{} 1\n"), Some(ProxyCounters::default()));
    }

    #[test]
    fn targets_must_be_addresses() {
        let settings = |targets: &[&str]| ProxyMetricsSettings {
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
            ..ProxyMetricsSettings::default()
        };
        assert!(ProxyMetrics::new(&settings(&[])).unwrap().is_none());
        assert!(ProxyMetrics::new(&settings(&["http://proxy:9091/metrics"])).unwrap().is_some());
        assert!(ProxyMetrics::new(&settings(&["proxy:9091"])).is_err());
    }
}
