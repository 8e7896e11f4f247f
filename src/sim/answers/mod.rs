//! What a client is told: the truth of the world with all that Milvus loses on the way, in Milvus' own messages.
//! The gRPC server sends them; the direct seams read them as the real client would.

mod collections;
mod distribution;
mod system_info;

pub use system_info::CachedMetrics;

use super::calls::{CallAnswer, Refusal};
use super::world::World;
use crate::milvus::wire::common;
use crate::units::CollectionId;

/// A call that did not get as far as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody there.
    Unavailable,
    /// This version has no such call.
    Unimplemented,
}

/// How often the coordinator was asked, and what that costs a real one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// `LoadBalance`.
    pub load_balance: u64,
    /// `GetQuerySegmentInfo`.
    pub segment_info: u64,
    /// Segments that a real coordinator would have looked at for them.
    pub segments_scanned: u64,
    /// `GetReplicas`.
    pub replicas: u64,
    /// `GetMetrics`, those answered from the proxy's cache included.
    pub metrics: u64,
    /// `GetMetrics` that went on to every node.
    pub metrics_misses: u64,
    /// Calls that go through the proxy's queue for definitions: lists and descriptions.
    pub definitions: u64,
    /// `DescribeCollection` and `DescribeIndex`.
    pub schemas: u64,
}

impl World {
    /// Success.
    pub(super) fn success() -> Option<common::Status> {
        Some(common::Status::default())
    }

    /// A failure as this version writes it.
    pub(super) fn failure(&self, refusal: &Refusal) -> Option<common::Status> {
        Some(self.status_of(refusal))
    }

    /// 2.2 has no codes; later versions send both the new and the old one.
    fn status_of(&self, refusal: &Refusal) -> common::Status {
        use common::ErrorCode;
        let old = match refusal.code {
            100 => ErrorCode::CollectionNotExists,
            600 => ErrorCode::SegmentNotFound,
            1 => ErrorCode::NotReadyServe,
            1100..=1199 => ErrorCode::IllegalArgument,
            400 => ErrorCode::MetaFailed,
            401 | 503 | 905 => ErrorCode::NoReplicaAvailable,
            _ => ErrorCode::UnexpectedError,
        };
        if !self.profile.has_codes {
            return common::Status {
                error_code: ErrorCode::UnexpectedError.into(),
                reason: refusal.reason.clone(),
                ..common::Status::default()
            };
        }
        common::Status {
            error_code: old.into(),
            reason: refusal.reason.clone(),
            code: refusal.code,
            retriable: matches!(refusal.code, 1 | 2 | 4 | 8 | 12 | 106)
                || (refusal.code == 103 && self.profile.unloaded_retry.is_zero()),
        }
    }

    /// The answer to a `LoadBalance` call.
    pub fn balance_status(&self, answer: &CallAnswer) -> common::Status {
        match answer {
            CallAnswer::Success => common::Status::default(),
            CallAnswer::Refused(refusal) => self.status_of(refusal),
        }
    }

    /// The refusal for a database that does not exist. Databases are those that collections are in.
    fn missing_database(&self, database: &str) -> Option<Refusal> {
        let exists = !self.profile.has_databases
            || database == super::DEFAULT_DATABASE
            || self.collections.values().any(|collection| collection.database == database);
        (!exists).then(|| Refusal::new(800, format!("database not found[database={database}]")))
    }

    /// A collection by its name. Without databases, any name of a database is ignored.
    pub(super) fn resolve(&self, database: &str, name: &str) -> Result<CollectionId, Refusal> {
        let database = if database.is_empty() { super::DEFAULT_DATABASE } else { database };
        if self.profile.knows_unknown_databases
            && let Some(refusal) = self.missing_database(database)
        {
            return Err(refusal);
        }
        let in_database = |own: &str| !self.profile.has_databases || own == database;
        self.collections
            .values()
            .find(|collection| in_database(&collection.database) && collection.name == name)
            .map(|collection| collection.id)
            .ok_or_else(|| {
                Refusal::new(100, format!("collection not found[database={database}][collection={name}]"))
            })
    }

    /// What stands before every read: nobody there, a coordinator that restarts, or a read that fails by chance.
    pub(super) fn reach(&mut self, needs_coordinator: bool) -> Result<Result<(), Refusal>, Unanswered> {
        if self.proxy_is_away() {
            return Err(Unanswered::Unavailable);
        }
        if needs_coordinator && let Some(refusal) = self.coordinator_refuses() {
            return Ok(Err(refusal));
        }
        if self.read_fails() {
            return Ok(Err(Refusal::new(65535, "context deadline exceeded")));
        }
        Ok(Ok(()))
    }
}
