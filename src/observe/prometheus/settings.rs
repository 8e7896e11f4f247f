//! `[prometheus]`: which server is asked, how, and which of its answers is which signal. Without `url` nobody is asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ServerSignal;
use crate::units::Bytes;

/// How a Prometheus server is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusSettings {
    /// Where it is, such as `http://prometheus:9090`; a path before `/api/v1` may follow.
    pub url: Option<String>,
    /// User name for basic authentication.
    pub user: Option<String>,
    /// A file that holds the password and nothing else; read anew for every look, so that it may change.
    pub password_file: Option<PathBuf>,
    /// A file that holds a bearer token and nothing else, instead of user and password; read anew, too.
    pub token_file: Option<PathBuf>,
    /// How long to wait for the answer to one query.
    #[serde(with = "crate::config::duration")]
    pub timeout: Duration,
    /// Queries that are asked at the same time.
    pub concurrency: u32,
    /// The largest answer that is accepted.
    #[serde(with = "crate::config::bytes")]
    pub max_body: Bytes,
    /// The most series that an answer may hold.
    pub max_series: u32,
    /// How old a value may be.
    #[serde(with = "crate::config::duration")]
    pub max_age: Duration,
    /// The queries by their names.
    pub queries: BTreeMap<String, QuerySettings>,
}

impl Default for PrometheusSettings {
    fn default() -> Self {
        PrometheusSettings {
            url: None,
            user: None,
            password_file: None,
            token_file: None,
            // Prometheus itself gives queries two minutes; one that takes seconds is too dear to be asked this often.
            timeout: Duration::from_secs(5),
            // A monitoring system serves people, too.
            concurrency: 4,
            // A thousand nodes with a hundred collections each.
            max_body: Bytes(32 << 20),
            max_series: 100_000,
            // Four scrapes at the usual 15 s, of which some may fail.
            max_age: Duration::from_secs(60),
            queries: BTreeMap::new(),
        }
    }
}

/// One query, and what its answer is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuerySettings {
    /// PromQL that answers with an instant vector: one series for each node, or for each node and collection.
    pub query: String,
    /// What the values are.
    pub signal: ServerSignal,
    /// So far back the query looks, as its `rate(…[5m])` has it: for so long after a move of ours its values say nothing
    /// of the CPU of the two nodes.
    #[serde(with = "crate::config::duration")]
    pub window: Duration,
    /// The label that names the node: its `host:port` or host, the name of its host or pod, or its id.
    pub node_label: String,
    /// The label that names the collection, by its id or its name, for signals that are told by collection.
    pub collection_label: String,
}

impl Default for QuerySettings {
    fn default() -> Self {
        QuerySettings {
            query: String::new(),
            signal: ServerSignal::Points,
            // What most dashboards and rules use; a shorter one is taken for a longer one without harm.
            window: Duration::from_secs(5 * 60),
            // Where Prometheus puts the address that it scraped.
            node_label: "instance".to_owned(),
            // As in Milvus' own metrics.
            collection_label: "collection_id".to_owned(),
        }
    }
}
