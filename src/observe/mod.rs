//! Observe: many calls become one [`Observation`]. The only reading seam of the project is [`Observer`].

mod distribution;
mod gaps;
mod health;
pub mod management;
mod metrics_text;
mod milvus_observer;
mod node_metrics;
pub mod observation;
pub mod opinion;
pub mod prometheus;
pub(crate) mod proxy_metrics;
pub(crate) mod row_estimates;
pub(crate) mod row_size;
pub mod service;
mod settings;
pub(crate) mod signal_pages;
pub mod signals;
pub(crate) mod system_info;
pub(crate) mod translate;

use std::future::Future;
use std::pin::Pin;

use crate::units::CollectionId;
pub use management::{ManagementError, ManagementSettings};
pub use milvus_observer::MilvusObserver;
pub(crate) use milvus_observer::SYSTEM_INFO_PAUSE;
pub use node_metrics::NodeMetricsError;
use observation::{CollectionReport, Observation};
pub use prometheus::{PrometheusError, PrometheusSettings};
pub use proxy_metrics::ProxyMetricsSettings;
pub use settings::NodeMetricsSettings;

/// A future that a seam returns; boxed so that the seams can be trait objects.
pub type SeamFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why nothing at all could be observed. Partial failures are [`observation::Gap`]s inside the observation.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// Milvus could not be asked: what, where and what to do are in the source.
    #[error("cannot observe Milvus at {endpoint}")]
    Unreachable {
        /// The configured address.
        endpoint: String,
        /// What went wrong.
        #[source]
        source: crate::milvus::MilvusError,
    },
    /// The whole of it took too long.
    #[error(
        "looking at the cluster was given up after {}: is Milvus overloaded, or is poll.timeout too short for its size?",
        crate::config::duration::display(*after)
    )]
    TooLong {
        /// The limit.
        after: std::time::Duration,
    },
    /// The collection to read again was dropped, released, or made anew under the same name.
    #[error("collection {collection:?} of database {database:?} is not loaded any more")]
    CollectionGone {
        /// Its database.
        database: String,
        /// Its name.
        collection: String,
    },
}

/// The reading seam: everything the project learns about a cluster comes through here.
pub trait Observer: Send + Sync {
    /// Reads the whole cluster once.
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>>;

    /// Reads replicas and segments of one collection again, to see what became of a move.
    fn reread<'a>(
        &'a self,
        database: &'a str,
        collection: &'a str,
        id: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>>;
}
