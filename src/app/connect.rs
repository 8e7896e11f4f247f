//! From a connection's alias to a client and an observer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::AppError;
use crate::clock::Clock;
use crate::config::Config;
use crate::milvus::{ConnectionSettings, MilvusClient};
use crate::observe::prometheus::{Prometheus, PrometheusSettings};
use crate::observe::{
    ManagementSettings, MilvusObserver, NodeMetricsSettings, Observer, ProxyMetricsSettings,
};

/// One Milvus, reachable or not: nothing has been asked yet.
pub(super) struct Connected {
    pub(super) client: MilvusClient,
    pub(super) observer: Arc<dyn Observer>,
}

/// What is read beside gRPC.
pub(super) struct Pages {
    pub(super) node_metrics: NodeMetricsSettings,
    pub(super) proxy_metrics: ProxyMetricsSettings,
    pub(super) prometheus: PrometheusSettings,
    pub(super) management: ManagementSettings,
}

impl Pages {
    /// For a single look: what users feel is of use only beside what they felt before.
    pub(super) fn for_one_look(config: &Config) -> Pages {
        Pages {
            node_metrics: config.node_metrics.clone(),
            proxy_metrics: ProxyMetricsSettings::default(),
            prometheus: config.prometheus.clone(),
            management: config.management.clone(),
        }
    }
}

pub(super) fn connect(
    alias: &str,
    connections: &BTreeMap<String, ConnectionSettings>,
    pages: &Pages,
    clock: &Arc<Clock>,
) -> Result<Connected, AppError> {
    let settings =
        connections.get(alias).ok_or_else(|| AppError::NoConnection { alias: alias.to_owned() })?;
    let client = MilvusClient::new(alias, settings)
        .map_err(|source| AppError::Connection { alias: alias.to_owned(), source })?;
    let observer = MilvusObserver::new(client.clone(), clock.clone(), &pages.node_metrics)?;
    let observer = observer.with_proxy_metrics(&pages.proxy_metrics)?.with_management(&pages.management)?;
    let observer = Arc::new(observer.with_prometheus(Prometheus::new(&pages.prometheus)?));
    Ok(Connected { client, observer })
}
