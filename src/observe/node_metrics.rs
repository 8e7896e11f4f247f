//! The bytes that query nodes themselves report, from their own /metrics: `entity_size` per (node, collection),
//! which gRPC does not carry. On 2.3.5 it is rows times the bytes of a row by schema, texts at their declared
//! maximal length, whatever the index: right in proportion, not to the byte.
//!
//! A node refreshes the figure when somebody asks `GetMetrics`, so it is read right after that.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};

use super::NodeMetricsSettings;
use super::metrics_text::{self, Sample};
use super::proxy_metrics::read_waiting;
use super::signal_pages;
use super::signals::NodeCounters;
use crate::clock::Clock;
use crate::units::{Bytes, CollectionId, NodeId};

/// Bytes of segments per (node, collection, state); 2.3 and later.
const ENTITY_SIZE: &str = "milvus_querynode_entity_size";

/// With what every page of a Milvus process has lines that start.
const OF_MILVUS: &str = "milvus_";

/// What is wrong with a page, or with its address.
#[derive(Debug, thiserror::Error)]
pub enum NodeMetricsError {
    /// Not an address.
    #[error("{key}: {url:?} is not an address such as http://{{host}}:9091/metrics")]
    Url {
        /// The setting.
        key: String,
        /// As configured, or with the node's address in it.
        url: String,
    },
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be made: are the system's certificate authorities installed?")]
    Client(#[source] reqwest::Error),
    /// The page was not had.
    #[error("cannot read {url}: is it a metrics port of Milvus, and open to us?")]
    Unreachable {
        /// The page.
        url: Url,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// Something else than a page.
    #[error("{url} answers with {status}: is it a metrics page of Milvus?")]
    Status {
        /// The page.
        url: Url,
        /// The answer.
        status: StatusCode,
    },
    /// Too much of a page.
    #[error("{url} is larger than {limit}: raise max_body, if it is a metrics page of Milvus")]
    TooLarge {
        /// The page.
        url: Url,
        /// Our limit.
        limit: Bytes,
    },
    /// A page, but not Milvus'.
    #[error("{url} holds no metrics of Milvus: is it a metrics page of Milvus?")]
    NotMilvus {
        /// The page.
        url: Url,
    },
    /// Milvus' page, but another node's.
    #[error("{url} is the page of node {found}, not of node {wanted}: correct url or targets")]
    OtherNode {
        /// The page.
        url: Url,
        /// Whose it should be.
        wanted: NodeId,
        /// Whose it says it is.
        found: String,
    },
}

impl NodeMetricsSettings {
    /// The template; an empty one is none.
    fn template(&self) -> Option<&str> {
        self.url.as_deref().filter(|template| !template.is_empty())
    }

    /// The page of the node at this address; `None` when it is not to be asked.
    fn page_of(&self, address: &str) -> Option<Result<Url, NodeMetricsError>> {
        if let Some(url) = self.targets.get(address) {
            return Some(target(address, url));
        }
        self.template().map(|template| fill_in(template, address))
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFigures {
    /// Bytes of sealed segments, by collection.
    pub sealed_bytes: BTreeMap<CollectionId, Bytes>,
    /// Read tasks that wait, where the page tells.
    pub waiting: Option<u64>,
    /// What it counts.
    pub counters: NodeCounters,
}

/// Reads pages.
pub struct NodeMetrics {
    http: reqwest::Client,
    settings: NodeMetricsSettings,
}

impl NodeMetrics {
    /// A reader; `None` when the settings name no page.
    pub fn new(settings: &NodeMetricsSettings) -> Result<Option<NodeMetrics>, NodeMetricsError> {
        if settings.template().is_none() && settings.targets.is_empty() {
            return Ok(None);
        }
        let http = http_client(settings.timeout)?;
        Ok(Some(NodeMetrics { http, settings: settings.clone() }))
    }

    /// How many pages to read at a time.
    pub fn concurrency(&self) -> usize {
        // None at a time would be never.
        (self.settings.concurrency as usize).max(1)
    }

    /// What one node says of itself; `None` when the settings name no page for it.
    pub async fn figures(
        &self,
        node: NodeId,
        address: &str,
        clock: &Clock,
    ) -> Option<Result<NodeFigures, NodeMetricsError>> {
        let url = match self.settings.page_of(address)? {
            Ok(url) => url,
            Err(problem) => return Some(Err(problem)),
        };
        Some(match fetch(&self.http, &url, self.settings.max_body).await {
            Ok(page) => {
                let read_at = clock.read();
                read_page(&url, &page, node).map(|sealed_bytes| NodeFigures {
                    sealed_bytes,
                    waiting: read_waiting(&page),
                    counters: signal_pages::read_node(&page, node, url.as_str(), read_at),
                })
            }
            Err(error) => Err(error),
        })
    }
}

/// A client for pages of processes that stand beside Milvus.
pub(super) fn http_client(timeout: Duration) -> Result<reqwest::Client, NodeMetricsError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Whoever was faster has installed one, which is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
    }
    let builder = || {
        reqwest::Client::builder()
            // Whatever a page redirects to, it is not the metrics page that was meant.
            .redirect(Policy::none())
            // The nodes stand in the same network as Milvus, whatever HTTP_PROXY says about the rest.
            .no_proxy()
            .timeout(timeout)
    };
    // Small images have no certificates of authorities; plain http needs none, and https will then say so itself.
    let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
    client.map_err(NodeMetricsError::Client)
}

/// Reads a page of at most so many bytes.
pub(super) async fn fetch(
    http: &reqwest::Client,
    url: &Url,
    max_body: Bytes,
) -> Result<String, NodeMetricsError> {
    // The address stands in our own message.
    let unreachable = |error: reqwest::Error| NodeMetricsError::Unreachable {
        url: url.clone(),
        source: error.without_url(),
    };
    let mut response = http.get(url.clone()).send().await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(NodeMetricsError::Status { url: url.clone(), status: response.status() });
    }
    let limit = usize::try_from(max_body.0).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(NodeMetricsError::TooLarge { url: url.clone(), limit: max_body });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The sealed bytes of a node in its page.
fn read_page(url: &Url, page: &str, node: NodeId) -> Result<BTreeMap<CollectionId, Bytes>, NodeMetricsError> {
    if !page.lines().any(|line| line.starts_with(OF_MILVUS)) {
        return Err(NodeMetricsError::NotMilvus { url: url.clone() });
    }
    let samples = metrics_text::samples(page, ENTITY_SIZE);
    let own = node.to_string();
    let is_own = |sample: &&Sample| sample.label("node_id") == Some(own.as_str());
    if let Some(sample) = samples.first()
        && !samples.iter().any(|sample| is_own(&sample))
    {
        let found = sample.label("node_id").unwrap_or("no id").to_owned();
        return Err(NodeMetricsError::OtherNode { url: url.clone(), wanted: node, found });
    }
    let mut sealed: BTreeMap<CollectionId, Bytes> = BTreeMap::new();
    for sample in samples.iter().filter(is_own) {
        if sample.label("segment_state") != Some("Sealed") {
            continue;
        }
        let collection = sample.label("collection_id").and_then(|id| id.parse().ok());
        if let (Some(collection), Some(bytes)) = (collection, whole_bytes(sample.value)) {
            let sum = sealed.entry(collection).or_default();
            *sum = sum.saturating_add(bytes);
        }
    }
    Ok(sealed)
}

/// A gauge as an amount; nothing when it is negative, infinite or not a number.
fn whole_bytes(value: f64) -> Option<Bytes> {
    let fits = value.is_finite() && (0.0..1.8e19).contains(&value);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fits.then_some(Bytes(value as u64))
}

fn target(address: &str, url: &str) -> Result<Url, NodeMetricsError> {
    parse_page_address(url)
        .ok_or_else(|| NodeMetricsError::Url { key: format!("targets.{address:?}"), url: url.to_owned() })
}

fn fill_in(template: &str, address: &str) -> Result<Url, NodeMetricsError> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let url = template.replace("{host}", host).replace("{port}", port);
    parse_page_address(&url).ok_or(NodeMetricsError::Url { key: "url".to_owned(), url })
}

/// An address of a page: HTTP or HTTPS, with a host and no placeholder left in it.
pub(super) fn parse_page_address(url: &str) -> Option<Url> {
    let parsed = Url::parse(url).ok()?;
    let usable = matches!(parsed.scheme(), "http" | "https") && !url.contains(['{', '}']);
    usable.then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("http://node:9091/metrics").unwrap()
    }

    fn sample(node: i64, collection: &str, state: &str, value: &str) -> String {
        format!(
            "{ENTITY_SIZE}{{collection_id=\"{collection}\",node_id=\"{node}\",segment_state=\"{state}\"}} {value}\n"
        )
    }

    #[test]
    fn sealed_bytes_of_the_own_node_are_read() {
        let page = [
            sample(3, "449", "Sealed", "1.5e+06"),
            sample(3, "449", "Growing", "77"),
            sample(3, "450", "Sealed", "NaN"),
            sample(3, "451", "Sealed", "-1"),
            sample(3, "seven", "Sealed", "1"),
            sample(4, "452", "Sealed", "9"),
        ]
        .concat();
        let read = read_page(&url(), &page, NodeId(3)).unwrap();
        assert_eq!(read, BTreeMap::from([(CollectionId(449), Bytes(1_500_000))]));
    }

    #[test]
    fn pages_of_others_are_refused() {
        let other = read_page(&url(), &sample(4, "1", "Sealed", "1"), NodeId(3)).unwrap_err();
        assert!(other.to_string().contains("page of node 4, not of node 3"), "{other}");
        let html = read_page(&url(), "<html>milvus_</html>", NodeId(3)).unwrap_err();
        assert!(matches!(html, NodeMetricsError::NotMilvus { .. }), "{html}");
        let idle = read_page(&url(), "milvus_build_info{version=\"2.3.5\"} 1\n", NodeId(3)).unwrap();
        assert!(idle.is_empty());
    }

    #[test]
    fn the_template_is_filled_in_and_targets_win() {
        let settings = NodeMetricsSettings {
            url: Some("http://{host}:9091/metrics?of={port}".to_owned()),
            targets: BTreeMap::from([("10.0.0.1:1".to_owned(), "https://elsewhere/m".to_owned())]),
            ..NodeMetricsSettings::default()
        };
        let page_of = |address| settings.page_of(address).unwrap().map(|url| url.to_string()).ok();
        assert_eq!(page_of("10.0.0.2:21123").unwrap(), "http://10.0.0.2:9091/metrics?of=21123");
        assert_eq!(page_of("[fd00::1]:5").unwrap(), "http://[fd00::1]:9091/metrics?of=5");
        assert_eq!(page_of("10.0.0.1:1").unwrap(), "https://elsewhere/m");
        assert_eq!(page_of(""), None, "no host, no page");
    }

    #[test]
    fn without_pages_there_is_nothing_to_read() {
        assert!(NodeMetrics::new(&NodeMetricsSettings::default()).unwrap().is_none());
        let empty = NodeMetricsSettings { url: Some(String::new()), ..NodeMetricsSettings::default() };
        assert!(NodeMetrics::new(&empty).unwrap().is_none());
    }

    #[test]
    fn a_page_without_an_address_is_an_error() {
        let settings = |url: &str| NodeMetricsSettings {
            url: Some(url.to_owned()),
            targets: BTreeMap::from([("a:1".to_owned(), "ftp://a/".to_owned())]),
            ..NodeMetricsSettings::default()
        };
        for (url, address, named) in
            [("http://{hots}/", "b:1", "hots"), ("metrics", "b:1", "metrics"), ("http://x/", "a:1", "a:1")]
        {
            let problem = settings(url).page_of(address).unwrap().unwrap_err().to_string();
            assert!(problem.contains(named), "{problem}");
        }
    }

    #[test]
    fn the_pages_of_a_real_2_3_5_are_read() {
        let page = |name: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/milvus-2.3.5");
            std::fs::read_to_string(format!("{folder}/{name}")).unwrap()
        };
        for (name, node) in [("standalone-metrics.txt", 1), ("querynode-metrics.txt", 2)] {
            let sealed = read_page(&url(), &page(name), NodeId(node)).unwrap();
            assert!(!sealed.is_empty(), "{name}");
            assert!(sealed.values().all(|bytes| *bytes > Bytes(10_000)), "{name}: {sealed:?}");
            let other = read_page(&url(), &page(name), NodeId(3)).unwrap_err();
            assert!(matches!(other, NodeMetricsError::OtherNode { .. }), "{name}: {other}");
        }
    }
}
