//! From a connection's alias to a client and an observer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::AppError;
use crate::clock::Clock;
use crate::milvus::{ConnectionSettings, MilvusClient};
use crate::observe::prometheus::{Prometheus, PrometheusSettings};
use crate::observe::{MilvusObserver, NodeMetricsSettings, Observer, ProxyMetricsSettings};

/// One Milvus, reachable or not: nothing has been asked yet.
pub(super) struct Connected {
    pub(super) client: MilvusClient,
    pub(super) observer: Arc<dyn Observer>,
}

pub(super) fn connect(
    alias: &str,
    connections: &BTreeMap<String, ConnectionSettings>,
    node_metrics: &NodeMetricsSettings,
    proxy_metrics: &ProxyMetricsSettings,
    prometheus: &PrometheusSettings,
    clock: &Arc<Clock>,
) -> Result<Connected, AppError> {
    let settings =
        connections.get(alias).ok_or_else(|| AppError::NoConnection { alias: alias.to_owned() })?;
    let client = MilvusClient::new(alias, settings)
        .map_err(|source| AppError::Connection { alias: alias.to_owned(), source })?;
    let observer = MilvusObserver::new(client.clone(), clock.clone(), node_metrics)?;
    let observer = observer.with_proxy_metrics(proxy_metrics)?;
    let observer = Arc::new(observer.with_prometheus(Prometheus::new(prometheus)?));
    Ok(Connected { client, observer })
}
