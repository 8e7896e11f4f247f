//! What the balancer can be told (`queryCoord.*`), and what each version assumes when it is told nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::observe::observation::ServerVersion;

/// Which of Milvus' row-score balancers runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// 2.2 and 2.3: the fullest node gives to the emptiest, pair by pair.
    Pairwise,
    /// 2.4 to 2.6.19: nodes above their quota give to those furthest below theirs.
    Score,
    /// Default since 2.6.20: the same, inside each channel's own nodes where there are enough of them.
    ChannelLevel,
}

/// When a move is not worth it to the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenefitRule {
    /// 2.4 and 2.5: the tolerance is a share of the destination's priority, which is normally negative, so it
    /// never holds anything back (milvus-io/milvus#52092).
    TolerancePriority,
    /// 2.6 up to 2.6.22: the same, with the segment's score cut to a whole number.
    TolerancePriorityWhole,
    /// 3.0 (milvus-io/milvus#52093): the tolerance is a share of the destination's quota.
    ToleranceQuota,
}

/// Settings of the balancer, named after the keys below `queryCoord` in `milvus.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreSettings {
    /// `balancer`, as far as it scores rows.
    pub algorithm: Algorithm,
    /// Not a key: how the version judges a move.
    pub benefit: BenefitRule,
    /// `autoBalance`.
    pub auto_balance: bool,
    /// `autoBalanceChannel`.
    pub auto_balance_channel: bool,
    /// `globalRowCountFactor`: weight of the rows of all collections.
    pub global_row_count_factor: f64,
    /// `scoreUnbalanceTolerationFactor`.
    pub score_unbalance_toleration_factor: f64,
    /// `reverseUnBalanceTolerationFactor`.
    pub reverse_unbalance_toleration_factor: f64,
    /// `delegatorMemoryOverloadFactor`: share of the quota set aside for each delegator.
    pub delegator_memory_overload_factor: f64,
    /// `collectionChannelCountFactor`: weight of a channel of the collection itself.
    pub collection_channel_count_factor: f64,
    /// `channelExclusiveNodeFactor`: read-write nodes per channel from which channels own nodes.
    pub channel_exclusive_node_factor: u32,
    /// `balanceSegmentBatchSize` (before 2.5.14 `collectionBalanceSegmentBatchSize`).
    pub segment_batch_size: usize,
    /// `balanceChannelBatchSize` (before 2.5.14 `collectionBalanceChannelBatchSize`).
    pub channel_batch_size: usize,
    /// `autoBalanceInterval`: pause between rounds that make tasks.
    pub auto_balance_interval: Duration,
    /// `balanceCheckCollectionMaxCount`: collections looked at in a round; 1 before 2.5.
    pub collections_per_round: usize,
    /// Not a key: whether quotas follow memory (about 2.4.13 and later).
    pub weighs_by_memory: bool,
    /// Not a key: whether growing rows count (2.3.4 and later).
    pub counts_growing: bool,
}

impl ScoreSettings {
    /// The defaults of a version; `None` for one that is unknown, older than 2.2 or newer than 3.0.
    pub fn for_version(version: &ServerVersion) -> Option<ScoreSettings> {
        let number = version.number?;
        if !((2, 2, 0)..(3, 1, 0)).contains(&number) {
            return None;
        }
        Some(ScoreSettings {
            algorithm: match number {
                _ if number < (2, 4, 0) => Algorithm::Pairwise,
                _ if number < (2, 6, 20) => Algorithm::Score,
                _ => Algorithm::ChannelLevel,
            },
            benefit: match number {
                _ if number < (2, 6, 0) => BenefitRule::TolerancePriority,
                _ if number < (2, 6, 23) => BenefitRule::TolerancePriorityWhole,
                _ => BenefitRule::ToleranceQuota,
            },
            auto_balance: true,
            auto_balance_channel: number >= (2, 3, 0),
            global_row_count_factor: 0.1,
            score_unbalance_toleration_factor: 0.05,
            reverse_unbalance_toleration_factor: 1.3,
            delegator_memory_overload_factor: if number >= (2, 4, 6) { 0.1 } else { 0.0 },
            collection_channel_count_factor: 10.0,
            channel_exclusive_node_factor: if number >= (2, 6, 20) { 3 } else { 4 },
            // The pairwise balancer has no batch; it stops when nothing is worth moving.
            segment_batch_size: if number < (2, 4, 0) { usize::MAX } else { 5 },
            channel_batch_size: 1,
            auto_balance_interval: Duration::from_millis(3000),
            collections_per_round: if number >= (2, 5, 0) { 100 } else { 1 },
            weighs_by_memory: number >= (2, 4, 13),
            counts_growing: number >= (2, 3, 4),
        })
    }
}
