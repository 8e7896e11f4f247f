//! The things a simulated cluster is made of.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::units::{CollectionId, NodeId, PartitionId, ReplicaId, SegmentId};

/// Time since the simulated world began.
pub type SimTime = Duration;

/// Buckets of a latency histogram but the last, which has no edge; Milvus has as many: 1 ms to 131 s.
pub const LATENCY_EDGES: usize = 18;

/// What a simulated node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimRole {
    /// Holds sealed segments.
    Query,
    /// Owns channels (2.6+).
    Streaming,
}

/// Whether a simulated node is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It is.
    Up,
    /// It was asked to stop and is being drained.
    Stopping,
    /// Its process is gone; its session lives on for a while.
    Crashed {
        /// Since when.
        at: SimTime,
    },
}

/// A simulated query or streaming node.
#[derive(Clone, Debug)]
pub struct SimNode {
    /// Session id.
    pub id: NodeId,
    /// `host:port` of its gRPC server.
    pub address: String,
    /// Its machine's name; survives restarts.
    pub hostname: String,
    /// Its resource group; `None` for streaming, stopping and suspended nodes.
    pub resource_group: Option<String>,
    /// What it is.
    pub role: SimRole,
    /// Whether it is alive.
    pub state: NodeState,
    /// Memory, in bytes.
    pub memory: u64,
    /// CPU cores; fractions for quotas.
    pub cores: f64,
    /// Disk, in bytes.
    pub disk: u64,
    /// Memory that the process needs without any data.
    pub base_memory: u64,
    /// How many times longer everything takes on it; 1 is healthy.
    pub slowness: f64,
    /// Until when it refuses to load segments.
    pub refuses_loads_until: SimTime,
    /// Until when it answers GetMetrics with an error.
    pub errors_until: SimTime,
    /// A streaming node that is to lead no channels (`streaming/nodes/status`).
    pub frozen: bool,
    /// Memory of sealed segments, those being loaded included.
    pub sealed_memory: u64,
    /// Disk of memory-mapped segments, those being loaded included.
    pub mapped_disk: u64,
    /// Memory of growing segments and delegators.
    pub led_memory: u64,
    /// When its process started.
    pub started_at: SimTime,
    /// CPU time used, in seconds.
    pub cpu_seconds: f64,
    /// CPU time wanted per second and core; above 1 it is overloaded.
    pub demand: f64,
}

impl SimNode {
    /// Memory in use.
    pub fn memory_used(&self) -> u64 {
        self.base_memory + self.sealed_memory + self.led_memory
    }

    /// Whether the coordinator would use it: a dead node is not known to be dead until its session ends.
    pub fn is_believed_up(&self) -> bool {
        self.state != NodeState::Stopping
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        !matches!(self.state, NodeState::Crashed { .. })
    }
}

/// How often a collection is searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Searches a second, averaged over a day.
    pub searches_per_second: f64,
    /// How far the day's peak lies above the average: 0.5 is half as much again.
    pub day_swing: f64,
    /// Hour of the day of the peak.
    pub peak_hour: f64,
    /// Times at which it is searched more often.
    pub hot_spells: Vec<HotSpell>,
}

/// A time at which a collection is searched more often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HotSpell {
    /// Its begin.
    pub from: SimTime,
    /// Its end.
    pub until: SimTime,
    /// How many times more often.
    pub factor: f64,
}

impl Demand {
    /// Searches a second at a time.
    pub fn at(&self, now: SimTime) -> f64 {
        let hours = now.as_secs_f64() / 3600.0;
        let angle = (hours - self.peak_hour) / 24.0 * std::f64::consts::TAU;
        let mut rate = self.searches_per_second * (1.0 + self.day_swing * angle.cos());
        for spell in &self.hot_spells {
            if (spell.from..spell.until).contains(&now) {
                rate *= spell.factor;
            }
        }
        rate.max(0.0)
    }
}

/// A simulated collection.
#[derive(Clone, Debug)]
pub struct SimCollection {
    /// Its id.
    pub id: CollectionId,
    /// Its database; empty where there are none.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its only partition.
    pub partition: PartitionId,
    /// Dimension of its vectors, which says what the schema says of a row's size.
    pub dimension: u32,
    /// Bytes of a row in memory, on average; indexes make it differ from what the schema says.
    pub row_bytes: u64,
    /// Its segments are mapped from disk rather than held in memory.
    pub mapped: bool,
    /// Whether it is loaded.
    pub loaded: bool,
    /// 0 … 100.
    pub load_percentage: u8,
    /// Names of its channels; one shard each.
    pub channels: Vec<String>,
    /// Its replicas.
    pub replicas: Vec<SimReplica>,
    /// Growing rows, for each shard.
    pub growing_rows: Vec<f64>,
    /// The growing segment of each shard, which keeps its id when it is sealed. Only its delegators hold it.
    pub growing_segments: Vec<SegmentId>,
    /// Rows that arrive in a second.
    pub ingest_rows_per_second: f64,
    /// Rows at which a growing segment is sealed.
    pub seal_rows: u64,
    /// How often it is searched.
    pub demand: Demand,
    /// Its segments, those leaving the target included.
    pub segments: BTreeSet<SegmentId>,
    /// How long a search takes now, in milliseconds.
    pub latency_ms: f64,
    /// Searches answered since the beginning.
    pub searches_done: f64,
    /// Sum of their durations, in milliseconds.
    pub search_ms: f64,
    /// Searches done by how long they took: up to 1 ms, 2 ms, 4 ms and so on.
    pub search_buckets: [f64; LATENCY_EDGES],
}

/// A simulated replica.
#[derive(Clone, Debug)]
pub struct SimReplica {
    /// Its id.
    pub id: ReplicaId,
    /// Its resource group.
    pub resource_group: String,
    /// Its read-write nodes.
    pub read_write: BTreeSet<NodeId>,
    /// Its read-only nodes: being drained.
    pub read_only: BTreeSet<NodeId>,
    /// Its streaming nodes (2.6+).
    pub streaming: BTreeSet<NodeId>,
    /// Who leads each shard; `None` between a death and the next election.
    pub leaders: Vec<Option<NodeId>>,
    /// The nodes that each channel owns in channel-exclusive mode; empty outside of it.
    pub exclusive: Vec<BTreeSet<NodeId>>,
}

impl SimCollection {
    /// Whether it can be searched: loaded, and every shard has a leader in every replica.
    pub fn is_available(&self) -> bool {
        let is_led = |replica: &SimReplica| replica.leaders.iter().all(Option::is_some);
        self.loaded && self.load_percentage == 100 && self.replicas.iter().all(is_led)
    }

    /// Each shard's growing segment with its rows, where there are any.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rows are not negative
    pub fn growing(&self) -> impl Iterator<Item = (usize, SegmentId, u64)> {
        let shards = self.growing_segments.iter().zip(&self.growing_rows).enumerate();
        shards.map(|(shard, (id, rows))| (shard, *id, *rows as u64)).filter(|(.., rows)| *rows > 0)
    }
}

impl SimReplica {
    /// Whether a node belongs to it in any way.
    pub fn has(&self, node: NodeId) -> bool {
        self.read_write.contains(&node) || self.read_only.contains(&node) || self.streaming.contains(&node)
    }

    /// All its nodes, as `GetReplicas` lists them.
    pub fn all_nodes(&self) -> Vec<NodeId> {
        self.read_only.iter().chain(&self.read_write).chain(&self.streaming).copied().collect()
    }
}

/// Where a segment stands with the coordinator, which knows two targets: the current one, and the next one, a
/// snapshot that takes its place when all of it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Sealed since the last snapshot: in no target.
    New,
    /// In the next target only: being loaded, not listed.
    Next,
    /// In the current target: listed.
    Current,
    /// In both targets, though compaction has replaced it since.
    Replaced,
    /// In the current target only: leaves it with the next refresh.
    Outgoing,
    /// In no target any more; its copies go.
    Gone,
}

impl TargetState {
    /// Whether it is in the next target; where none is being loaded, that is the current one again.
    pub fn is_next(self) -> bool {
        matches!(self, TargetState::Next | TargetState::Current | TargetState::Replaced)
    }

    /// Whether it is in the current target.
    pub fn is_current(self) -> bool {
        matches!(self, TargetState::Current | TargetState::Replaced | TargetState::Outgoing)
    }
}

/// A simulated sealed or level-0 segment.
#[derive(Clone, Debug)]
pub struct SimSegment {
    /// Its id.
    pub id: SegmentId,
    /// Its collection.
    pub collection: CollectionId,
    /// Position of its channel.
    pub shard: usize,
    /// Its rows; 0 for one that only deletes.
    pub rows: u64,
    /// Its bytes, in memory or on disk.
    pub bytes: u64,
    /// Whether it is a level-0 segment.
    pub level0: bool,
    /// Where it stands.
    pub target: TargetState,
    /// Where it is.
    pub copies: Vec<SimCopy>,
}

/// One copy of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimCopy {
    /// Position of the replica in its collection.
    pub replica: usize,
    /// The node.
    pub node: NodeId,
    /// What it is doing.
    pub state: CopyState,
}

/// What a copy is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// Takes memory, is not listed.
    Loading,
    /// Takes memory, is listed, answers searches.
    Serving,
    /// Released, but the coordinator has not noticed: listed, takes nothing.
    Leaving,
}

impl CopyState {
    /// Whether it takes memory or disk.
    pub fn is_resident(self) -> bool {
        self != CopyState::Leaving
    }

    /// Whether the coordinator believes it to be there.
    pub fn is_listed(self) -> bool {
        self != CopyState::Loading
    }
}

/// What one collection amounts to on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Copies that answer searches.
    pub segments: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// CPU time that one search costs on them, in microseconds.
    pub search_micros: u64,
    /// Requests that delegators have sent to this node for this collection (`scope="FromLeader"`).
    pub requests: f64,
    /// Sum of the durations of those requests, in milliseconds.
    pub request_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_follows_the_day_and_its_hot_spells() {
        let mut demand =
            Demand { searches_per_second: 100.0, day_swing: 0.5, peak_hour: 14.0, hot_spells: vec![] };
        let hour = |hours: u64| Duration::from_secs(hours * 3600);
        assert!((demand.at(hour(14)) - 150.0).abs() < 1e-6);
        assert!((demand.at(hour(2)) - 50.0).abs() < 1e-6);
        assert!((demand.at(hour(38)) - 150.0).abs() < 1e-6, "the next day's peak");
        demand.hot_spells.push(HotSpell { from: hour(13), until: hour(15), factor: 4.0 });
        assert!((demand.at(hour(14)) - 600.0).abs() < 1e-6);
        assert!((demand.at(hour(15)) - 100.0 * (1.0 + 0.5 * (15.0_f64).to_radians().cos())).abs() < 1e-6);
    }
}
