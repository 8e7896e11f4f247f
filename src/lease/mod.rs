//! Lease: which of several daemons may act. Leader election is left to an engine that does
//! nothing else (etcd, or the API server of Kubernetes);
//! behind [`Election`] the rest of the program knows only whether this instance leads, until when, and how to have its
//! intent written down by the engine in the same transaction that proves its leadership.
//!
//! Milvus itself cannot fence: a process that is stopped between that transaction and its call may still send that one
//! call after another instance has taken over. Everything here makes it at most one, and makes the successor know of it.

mod announcement;
mod election;
pub mod etcd;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod record;
mod settings;

pub use election::{Election, LeaderNews, Leadership, LeaseError};
pub use record::{LARGEST_RECORD, RecordError, SharedOrders, SharedRecord, SpentHour};
pub use settings::{EtcdSettings, KubernetesSettings, LeaseEngine, LeaseSettings};
