//! Execute: every move is an operation with a life of its own. Calls are grouped and limited, always name their
//! segments and exactly one destination, and are believed only when a later look shows the result.

mod breaker;
pub mod executor;
mod follow;
mod in_flight;
mod judging;
mod landings;
mod leading;
mod ledger;
pub mod limits;
pub mod manual;
mod manual_choice;
pub mod operation;
mod queue;
mod reconfigure;
mod recovery;
mod revalidation;
mod saving;
mod sending;
pub mod shared_rereads;
pub mod sight;
mod spending;
pub mod steady;
mod usage;
pub mod waves;

pub use breaker::BreakerSettings;
pub use executor::{AdmittedMove, Executor, ExecutorStatus};
pub use queue::calls_needed;
pub use usage::LimitUse;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::milvus::MilvusError;
use crate::observe::SeamFuture;
use crate::units::{Bytes, NodeId, Ratio, SegmentId};

/// One `LoadBalance` call. The only way to build one is [`MoveCall::new`], which upholds what Milvus does not
/// check: never an empty list (2.2-2.5 would move everything, level-0 segments included) and never a source
/// that is its own destination (2.4+ would release the segment from its only node).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveCall {
    database: String,
    collection: String,
    from: NodeId,
    to: NodeId,
    segments: Vec<SegmentId>,
}

impl MoveCall {
    /// `None` when there are no segments or when source and destination are the same node.
    pub fn new(
        database: impl Into<String>,
        collection: impl Into<String>,
        from: NodeId,
        to: NodeId,
        segments: Vec<SegmentId>,
    ) -> Option<MoveCall> {
        if segments.is_empty() || from == to {
            return None;
        }
        Some(MoveCall { database: database.into(), collection: collection.into(), from, to, segments })
    }

    /// Database of the collection; empty before 2.3.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Name of the collection.
    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// The node that gives.
    pub fn from(&self) -> NodeId {
        self.from
    }

    /// The node that takes.
    pub fn to(&self) -> NodeId {
        self.to
    }

    /// What moves; never empty.
    pub fn segments(&self) -> &[SegmentId] {
        &self.segments
    }
}

/// The writing seam: the one call that changes a cluster. A dry run is a loop without a `Mover`.
pub trait Mover: Send + Sync {
    /// Sends the call and waits for its answer. `Ok` proves nothing about the segments.
    fn load_balance<'a>(&'a self, call: &'a MoveCall) -> SeamFuture<'a, Result<(), MilvusError>>;
}

/// Limits and waits of the executor. A limit of 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExecuteSettings {
    /// `LoadBalance` calls a minute; the server itself does not limit them.
    pub calls_per_minute: u32,
    /// Calls whose moves have not settled. A call counts once, however many segments it carries.
    pub calls_in_flight: u32,
    /// The same for any one node, as source or destination.
    pub calls_in_flight_per_node: u32,
    /// Moves (segments on their way) that have not settled.
    pub moves_in_flight: u32,
    /// The same from any one node.
    pub moves_in_flight_per_source: u32,
    /// The same to any one node.
    pub moves_in_flight_per_destination: u32,
    /// The same of any one collection.
    pub moves_in_flight_per_collection: u32,
    /// Segments in one call.
    pub segments_per_call: u32,
    /// Bytes in one call; one segment is always admitted, however large.
    #[serde(with = "crate::config::bytes")]
    pub bytes_per_call: Bytes,
    /// Bytes a second that calls may set in motion, on average: after a call of so many bytes, so much time passes
    /// before the next. One call may always be made at once, and one segment is always admitted.
    #[serde(with = "crate::config::bytes")]
    pub bytes_per_second: Bytes,
    /// Moves in any hour.
    pub moves_per_hour: u32,
    /// Moves in any 24 hours.
    pub moves_per_day: u32,
    /// Share of the cluster's segment bytes that may be moved in an hour; one segment is always admitted when
    /// nothing of it is spent.
    pub bytes_per_hour: Ratio,
    /// Share of the cluster's segment bytes that may be moved in 24 hours; one segment is always admitted when
    /// nothing of it is spent.
    pub bytes_per_day: Ratio,
    /// How long to wait for the answer to one call. Above the server's own limit of 120 s, after which it says
    /// "success" whatever happened.
    #[serde(with = "crate::config::duration")]
    pub call_timeout: Duration,
    /// Pause between looks at a collection whose moves have not settled.
    #[serde(with = "crate::config::duration")]
    pub verify_interval: Duration,
    /// How long after the answer a move is looked for before only the regular polls do.
    #[serde(with = "crate::config::duration")]
    pub verify_timeout: Duration,
    /// How long after the call a segment that is still only on its source is given up at the latest: sooner once it is
    /// known how long landings take here. So long, too, a segment may be on both nodes.
    #[serde(with = "crate::config::duration")]
    pub settle_timeout: Duration,
    /// How long a stopping daemon waits for running calls.
    #[serde(with = "crate::config::duration")]
    pub stop_timeout: Duration,
    /// Growing batches of moves.
    pub waves: WaveSettings,
    /// What stops everything when calls fail.
    pub breaker: BreakerSettings,
}

impl Default for ExecuteSettings {
    fn default() -> Self {
        ExecuteSettings {
            calls_per_minute: 6,
            calls_in_flight: 2,
            calls_in_flight_per_node: 1,
            // Two calls, each as large as the limits of its nodes let it be.
            moves_in_flight: 32,
            // Three batches of Milvus' own balancer, which moves five at a time: a node that loads more at once has
            // no processors left for its searches.
            moves_in_flight_per_source: 16,
            moves_in_flight_per_destination: 16,
            // Searches of a collection wait for each of its segments that changes hands.
            moves_in_flight_per_collection: 16,
            // A batch costs the server what one segment costs; measured on 2.3.5.
            segments_per_call: 64,
            bytes_per_call: Bytes(4 << 30),
            // A fifth of a network of 10 Gbit/s, which the searches use, too.
            bytes_per_second: Bytes(256 << 20),
            // Every move costs its searches something, however small it is: a cluster that wants more of them in a
            // day than a tired operator would allow has another problem.
            moves_per_hour: 240,
            moves_per_day: 1_000,
            // Half a day's share, so that one bad hour cannot spend the day.
            bytes_per_hour: Ratio(25_000),
            bytes_per_day: Ratio(50_000),
            call_timeout: Duration::from_secs(150),
            verify_interval: Duration::from_secs(1),
            verify_timeout: Duration::from_secs(60),
            settle_timeout: Duration::from_secs(10 * 60),
            stop_timeout: Duration::from_secs(30),
            waves: WaveSettings::default(),
            breaker: BreakerSettings::default(),
        }
    }
}

/// Waves: start small, grow while it goes well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WaveSettings {
    /// Off: everything that is admitted may be sent, within the limits.
    pub enabled: bool,
    /// Moves in the first wave after a start.
    pub first: u32,
    /// Moves in the largest wave.
    pub largest: u32,
    /// Share of the predicted relief from which a wave went as predicted.
    pub as_predicted: Ratio,
    /// Share of the predicted relief below which a wave brought none.
    pub no_relief: Ratio,
    /// So many waves in a row without relief stop all moving; 0 never stops.
    pub without_relief: u32,
    /// How long the first such stop lasts; doubles with every further one.
    #[serde(with = "crate::config::duration")]
    pub rest: Duration,
    /// The longest that doubling may make it.
    #[serde(with = "crate::config::duration")]
    pub rest_limit: Duration,
}

impl Default for WaveSettings {
    fn default() -> Self {
        WaveSettings {
            enabled: true,
            // One canary; 64 is one full call.
            first: 1,
            largest: 64,
            // Bytes are estimates, and others load and flush meanwhile: half of it is no accident.
            as_predicted: Ratio(500_000),
            // What noise alone brings.
            no_relief: Ratio(100_000),
            // One can be bad luck and two a coincidence.
            without_relief: 3,
            // Somebody should have looked by then, and a night of it is a handful of moves.
            rest: Duration::from_secs(30 * 60),
            rest_limit: Duration::from_secs(24 * 60 * 60),
        }
    }
}
