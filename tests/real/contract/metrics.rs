//! The pages and the cache that load is judged by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{BOOKS, NODES, ROW_BYTES, ROWS, Subject, request};
use super::expect_once;

/// Label names, in order.
type Labels = &'static [&'static str];

const OF_NODES: [(&str, Labels); 8] = [
    ("process_cpu_seconds_total", &[]),
    ("process_resident_memory_bytes", &[]),
    ("milvus_querynode_entity_size", &["collection_id", "node_id", "segment_state"]),
    (
        "milvus_querynode_entity_num",
        &["collection_id", "indexed_field_count", "node_id", "partition_id", "segment_state"],
    ),
    (
        "milvus_querynode_segment_num",
        &["collection_id", "indexed_field_count", "node_id", "partition_id", "segment_state"],
    ),
    ("milvus_querynode_sq_req_count", &["node_id", "query_type", "scope", "status"]),
    ("milvus_querynode_sq_req_latency_sum", &["node_id", "query_type", "scope"]),
    ("milvus_querynode_sq_req_latency_count", &["node_id", "query_type", "scope"]),
];

const OF_THE_PROXY: [(&str, Labels); 4] = [
    ("milvus_proxy_req_count", &["function_name", "node_id", "status"]),
    ("milvus_proxy_received_nq", &["collection_name", "node_id", "query_type"]),
    ("milvus_proxy_collection_sq_latency_sum", &["collection_name", "node_id", "query_type"]),
    ("milvus_proxy_collection_sq_latency_count", &["collection_name", "node_id", "query_type"]),
];

/// One line of a page.
struct Sample {
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The samples of one metric. No label of Milvus' has a comma or a quote in it.
fn samples(page: &str, metric: &str) -> Vec<Sample> {
    let mut samples = Vec::new();
    for line in page.lines().filter_map(|line| line.strip_prefix(metric)) {
        let (labels, value) = match line.strip_prefix('{') {
            Some(inside) => inside.split_once('}').unwrap(),
            None if line.starts_with(' ') => ("", line),
            // The name goes on: another metric.
            None => continue,
        };
        let pairs = labels.split(',').filter_map(|label| label.split_once('='));
        samples.push(Sample {
            labels: pairs
                .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
                .collect(),
            value: value.trim().parse().unwrap(),
        });
    }
    samples
}

fn labels(sample: &Sample) -> Vec<&str> {
    sample.labels.keys().map(String::as_str).collect()
}

fn expect(page: &str, metrics: &[(&str, Labels)], of: &str) {
    for (metric, expected) in metrics {
        let found = samples(page, metric);
        assert!(!found.is_empty(), "{of}: no {metric}");
        for sample in found {
            assert_eq!(labels(&sample), *expected, "{of}: {metric}");
        }
    }
}

/// Searches for a while, so that there is something to count.
fn search(s: &mut Subject) {
    s.cluster.start_searches();
    s.pause(Duration::from_secs(3));
    s.cluster.stop_searches();
}

pub fn pages(s: &mut Subject) {
    search(s);
    for node in s.cluster.nodes() {
        expect(&s.page(&s.cluster.node_page(node)), &OF_NODES, &format!("node {node}"));
    }
    expect(&s.page(&s.cluster.proxy_page()), &OF_THE_PROXY, "the proxy");
}

/// The sum of the samples with these labels.
fn sum(page: &str, metric: &str, wanted: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        wanted.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
    };
    samples(page, metric).iter().filter(fits).map(|sample| sample.value).sum()
}

pub fn values(s: &mut Subject) {
    let books = s.id("books").to_string();
    let sealed = [("collection_id", books.as_str()), ("segment_state", "Sealed")];
    let searched = |scope| [("scope", scope), ("query_type", "search"), ("status", "success")];
    let leaders: BTreeSet<i64> =
        s.replicas("books")[0].shard_replicas.iter().map(|shard| shard.leader_id).collect();
    let read = |s: &Subject| -> BTreeMap<i64, String> {
        s.cluster.nodes().into_iter().map(|node| (node, s.page(&s.cluster.node_page(node)))).collect()
    };
    let before = read(s);
    search(s);
    for (node, page) in read(s) {
        let held = s.held("books", node).len();
        let segments = sum(&page, "milvus_querynode_segment_num", &sealed);
        let rows = sum(&page, "milvus_querynode_entity_num", &sealed);
        assert_eq!((segments as usize, rows as i64), (held, held as i64 * ROWS), "node {node}");
        let bytes = sum(&page, "milvus_querynode_entity_size", &sealed);
        let inserted = (held as u64 * ROWS as u64 * ROW_BYTES) as f64;
        println!("    node {node}: {held} segments, {bytes} bytes, {inserted} inserted");
        assert!(bytes >= inserted / 3.0 && bytes <= inserted * 3.0, "node {node}");
        let growth = |metric: &str, wanted: &[(&str, &str)]| {
            sum(&page, metric, wanted) - sum(&before[&node], metric, wanted)
        };
        assert!(growth("milvus_querynode_sq_req_count", &searched("FromLeader")) > 0.0, "node {node}");
        let led = growth("milvus_querynode_sq_req_count", &searched("OnLeader"));
        assert_eq!(led > 0.0, leaders.contains(&node), "node {node}: {led}");
        assert!(growth("process_cpu_seconds_total", &[]) > 0.0, "node {node}");
    }
    assert_eq!(BOOKS % NODES, 0);
}

/// After so long without a reader the cache ends.
const CACHE: Duration = Duration::from_secs(5);

/// The cache ends five seconds after the last reader, not after the answer was made.
pub fn cache(s: &mut Subject) {
    let ask = |s: &Subject| s.ask(s.client.system_info()).unwrap();
    let [from, to] = [0, 1].map(|position| s.cluster.nodes()[position]);
    let segment = s.places("books").into_keys().next().unwrap();
    expect_once("it is read before it ends", || {
        s.gather(&[segment], from);
        s.pause(Duration::from_secs(6));
        let mut read_at = Instant::now();
        let first = ask(s);
        assert_eq!(s.balance(request("books", from, &[to], &[segment])).status.code, 0);
        // Three reads are further from the first answer than the cache lives without them.
        for _ in 0..3 {
            s.pause(Duration::from_secs(3));
            let asked_at = Instant::now();
            let is_same = ask(s) == first;
            if s.since(read_at) >= CACHE {
                println!("    asked too late, after {:.1?}", s.since(read_at));
                return false;
            }
            assert!(is_same, "a cache that is read lives on");
            read_at = asked_at;
        }
        s.pause(Duration::from_secs(6));
        assert!(ask(s) != first, "a cache that nobody reads ends");
        true
    });
}
