//! Milvus' own score of a replica, and what its balancer would do about it.
//!
//! Most clusters run with Milvus' balancer switched on. Whoever wants to live beside it must know what it would
//! undo, and the simulated Milvus must behave like it: both ask here, so that there is one model of it.
//!
//! The arithmetic is floating point in a fixed order, because Milvus' is: an exact sum would disagree with the
//! server where it matters, at the edges of its tolerances.

mod keeper;
mod margins;
mod plan;
mod settings;

pub use keeper::{Keeper, KeeperInput, KeptReplica};
pub use plan::{ChannelMove, ScoreMove, assign_segments, drain_segments, plan_channels, plan_segments};
pub use settings::{Algorithm, BenefitRule, ScoreSettings};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::units::{Bytes, NodeId, Rows, SegmentId};

/// One replica as the balancer looks at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaView {
    /// Its read-write nodes, by id. The balancer neither scores nor fills others.
    pub nodes: Vec<NodeView>,
    /// The sealed segments of the replica's collection on any node of the replica.
    pub segments: Vec<SegmentView>,
    /// Its channels and who leads them.
    pub channels: Vec<ChannelView>,
}

/// A read-write node of a replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeView {
    /// The node.
    pub node: NodeId,
    /// Its memory; quotas are weighted by it when every node of the replica has reported it.
    pub memory: Option<Bytes>,
    /// Rows of the replica's collection on it.
    pub collection: RowCounts,
    /// Rows of all collections on it, the replica's own included.
    pub all: RowCounts,
    /// Channels of other collections that it leads.
    pub foreign_channels: u32,
}

/// Rows on a node, by where the balancer hears of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows of sealed segments.
    pub sealed: Rows,
    /// Rows of growing segments, as the delegators report them.
    pub growing: Rows,
    /// Rows that queued tasks will bring (positive) or take (negative).
    pub queued: i64,
}

impl RowCounts {
    /// The sum as the balancer uses it.
    #[allow(clippy::cast_possible_wrap)] // a node of 2^63 rows does not exist
    fn total(self, settings: &ScoreSettings) -> i64 {
        let growing = if settings.counts_growing { self.growing.0 as i64 } else { 0 };
        // 2.2 and 2.3 look at what the nodes hold, not at what tasks will bring.
        let queued = if settings.algorithm == Algorithm::Pairwise { 0 } else { self.queued };
        self.sealed.0 as i64 + growing + queued
    }
}

/// A sealed segment on a node of the replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentView {
    /// The segment.
    pub segment: SegmentId,
    /// The node that holds it.
    pub node: NodeId,
    /// Its rows.
    pub rows: Rows,
    /// Position of its channel in [`ReplicaView::channels`]; `None` where it is not known.
    pub channel: Option<usize>,
    /// Whether the balancer would touch it: it is in the current target and on one node of the replica only.
    pub movable: bool,
}

/// A channel of the replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// Its delegator; `None` while there is none.
    pub leader: Option<NodeId>,
    /// The nodes that it owns in channel-exclusive mode; empty outside of it.
    pub exclusive_nodes: Vec<NodeId>,
}

/// What the balancer thinks of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeScore {
    /// The node.
    pub node: NodeId,
    /// Weighted rows on it, with the share set aside for its delegators.
    pub current: f64,
    /// What it should have; 0 before 2.4, where nodes are compared with each other instead.
    pub quota: f64,
}

impl NodeScore {
    /// How far above its quota the node is, as Milvus rounds it. The lowest gets the next segment.
    pub fn priority(&self) -> i64 {
        self.priority_after(0.0)
    }

    /// The priority with a score added.
    #[allow(clippy::cast_possible_truncation)] // Milvus truncates the same way
    fn priority_after(&self, change: f64) -> i64 {
        (self.current + change - self.quota).ceil() as i64
    }
}

/// The score that a segment of so many rows carries with it.
#[allow(clippy::cast_precision_loss)] // as Milvus does
pub fn segment_score(rows: Rows, settings: &ScoreSettings) -> f64 {
    match settings.algorithm {
        Algorithm::Pairwise => rows.0 as f64 + (rows.0 as f64 * settings.global_row_count_factor).trunc(),
        Algorithm::Score | Algorithm::ChannelLevel => {
            rows.0 as f64 * (1.0 + settings.global_row_count_factor)
        }
    }
}

/// The scores of all read-write nodes of a replica, in the order of [`ReplicaView::nodes`].
pub fn segment_scores(view: &ReplicaView, settings: &ScoreSettings) -> Vec<NodeScore> {
    scores_of(&view.nodes.iter().collect::<Vec<_>>(), &view.channels, settings)
}

/// The scores of some of the nodes, whose quotas are shares of what those nodes hold.
fn scores_of(nodes: &[&NodeView], channels: &[ChannelView], settings: &ScoreSettings) -> Vec<NodeScore> {
    let current: Vec<f64> = nodes.iter().map(|node| current_score(node, settings)).collect();
    if settings.algorithm == Algorithm::Pairwise {
        return nodes
            .iter()
            .zip(current)
            .map(|(node, current)| NodeScore { node: node.node, current, quota: 0.0 })
            .collect();
    }
    let mut delegators = BTreeMap::<NodeId, u32>::new();
    for leader in channels.iter().filter_map(|channel| channel.leader) {
        *delegators.entry(leader).or_default() += 1;
    }
    with_quotas(nodes, &current, settings)
        .into_iter()
        .map(|score| {
            let led = f64::from(delegators.get(&score.node).copied().unwrap_or(0));
            let set_aside = score.quota * settings.delegator_memory_overload_factor * led;
            NodeScore { current: score.current + set_aside, ..score }
        })
        .collect()
}

/// Spreads the sum of all scores: by memory when all nodes have reported it, evenly otherwise.
#[allow(clippy::cast_precision_loss)] // as Milvus does
fn with_quotas(nodes: &[&NodeView], current: &[f64], settings: &ScoreSettings) -> Vec<NodeScore> {
    let total: f64 = current.iter().sum();
    let memory = |node: &NodeView| node.memory.map_or(0.0, |memory| memory.0 as f64);
    let by_memory = settings.weighs_by_memory && nodes.iter().all(|node| memory(node) > 0.0);
    let all_memory: f64 = nodes.iter().map(|node| memory(node)).sum();
    nodes
        .iter()
        .zip(current)
        .map(|(node, current)| {
            let quota =
                if by_memory { memory(node) * (total / all_memory) } else { total / nodes.len() as f64 };
            NodeScore { node: node.node, current: *current, quota }
        })
        .collect()
}

/// Rows of the collection plus a part of all rows. Milvus rounds the part down.
#[allow(clippy::cast_precision_loss)] // as Milvus does
fn current_score(node: &NodeView, settings: &ScoreSettings) -> f64 {
    let global = node.all.total(settings) as f64 * settings.global_row_count_factor;
    node.collection.total(settings) as f64 + global.trunc()
}

#[cfg(test)]
mod tests;
