//! What can be configured about the gates, with the defaults and why they are so.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::windows::Window;
use crate::units::{Bytes, Ratio};

/// Settings of the gates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GateSettings {
    /// How old what was seen of a collection may be.
    #[serde(with = "crate::config::duration")]
    pub max_age: Duration,
    /// For how long the figures of nodes lag behind after a move between them has landed. Zero switches it off.
    #[serde(with = "crate::config::duration")]
    pub settle_time: Duration,
    /// Share of a destination's memory that may be used with all copies resident.
    pub destination_memory: Ratio,
    /// How long a moved segment stays, and how long it may not return to the node that it left; doubles with
    /// every further move of the same segment. Zero switches it off.
    #[serde(with = "crate::config::duration")]
    pub cool_down: Duration,
    /// How long a node that did not take a segment is left alone as a destination. Zero switches it off.
    #[serde(with = "crate::config::duration")]
    pub setback_rest: Duration,
    /// The longest that doubling may make it.
    #[serde(with = "crate::config::duration")]
    pub cool_down_limit: Duration,
    /// Landed moves that, taken together, are above this share of their node's load freeze the node for `settle_time`;
    /// smaller ones are reckoned with instead. 0 freezes it after every move.
    pub settle_above: Ratio,
    /// What the moves of a plan must take off pressures above the band at least, all nodes of a component together.
    pub minimum_gain: Ratio,
    /// Whether every plan needs somebody's approval.
    pub approval: ApprovalRule,
    /// While this file exists, nothing is sent.
    pub kill_switch: Option<PathBuf>,
    /// When something may be moved; always, where there are none.
    pub windows: Vec<Window>,
    /// Share of a node's memory in use from which on windows do not hold what leaves it.
    pub emergency_memory: Ratio,
    /// How new nodes get their load.
    pub warm_up: WarmUpSettings,
    /// How much may be moved of one collection, and from and to one node.
    pub blast_radius: BlastRadiusSettings,
    /// What counts as somebody else at work.
    pub foreign: ForeignSettings,
}

/// Whether every plan needs somebody's approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRule {
    /// No.
    #[default]
    Off,
    /// Nothing of a plan is done before it was approved by its digest.
    Required,
}

impl Default for GateSettings {
    fn default() -> Self {
        GateSettings {
            // Segment ids of a busy cluster change every ten seconds or so; a minute-old plan is partly stale.
            max_age: Duration::from_secs(60),
            // GetMetrics is cached for 5 s, and allocators give back what was released within about that again.
            settle_time: Duration::from_secs(15),
            // Milvus' own guard refuses loads at 90 %; searches and growing data need the difference.
            destination_memory: Ratio(800_000),
            // A node's caches and its users need that long to show what a move did.
            cool_down: Duration::from_secs(30 * 60),
            // Longer than the 30 s for which Milvus itself avoids a full node.
            setback_rest: Duration::from_secs(5 * 60),
            cool_down_limit: Duration::from_secs(24 * 60 * 60),
            // A segment of this share changes a node's pressure by as much as the last step of a plan should.
            settle_above: Ratio(50_000),
            // One per cent of one fair share: less than the figures waver by themselves.
            minimum_gain: Ratio(10_000),
            approval: ApprovalRule::Off,
            kill_switch: None,
            windows: Vec::new(),
            // Here Milvus begins to refuse loads, and the kernel is next.
            emergency_memory: Ratio(900_000),
            warm_up: WarmUpSettings::default(),
            blast_radius: BlastRadiusSettings::default(),
            foreign: ForeignSettings::default(),
        }
    }
}

/// How new nodes get their load: a growing share of what is fair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WarmUpSettings {
    /// For how long a node is new. Zero switches it off.
    #[serde(with = "crate::config::duration")]
    pub time: Duration,
    /// The share of its fair share that it may have at once.
    pub first_share: Ratio,
}

impl Default for WarmUpSettings {
    fn default() -> Self {
        WarmUpSettings {
            // A node that is going to fail on load fails in its first minutes; searches warm its caches meanwhile.
            time: Duration::from_secs(30 * 60),
            // Enough to see it work, little enough to lose.
            first_share: Ratio(100_000),
        }
    }
}

/// How much may be moved within a while. A limit of 0 is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlastRadiusSettings {
    /// In which time.
    #[serde(with = "crate::config::duration")]
    pub within: Duration,
    /// Share of a collection's segments that may be moved; one is always allowed when none has been.
    pub collection_segments: Ratio,
    /// Share of a collection's bytes, likewise.
    pub collection_bytes: Ratio,
    /// Bytes that may leave and enter one node; one segment is always allowed when none has been moved.
    #[serde(with = "crate::config::bytes")]
    pub node_bytes: Bytes,
}

impl Default for BlastRadiusSettings {
    fn default() -> Self {
        BlastRadiusSettings {
            within: Duration::from_secs(60 * 60),
            // Whatever goes wrong with one collection, half of it was not touched.
            collection_segments: Ratio(500_000),
            collection_bytes: Ratio(500_000),
            // What a node loads in ten minutes from an object store that is not fast.
            node_bytes: Bytes(64 << 30),
        }
    }
}

/// When another balancer is taken to be at work on a component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForeignSettings {
    /// So many moves that are not ours …
    pub moves: u32,
    /// … within this time stop us …
    #[serde(with = "crate::config::duration")]
    pub within: Duration,
    /// … until none has been seen for this long.
    #[serde(with = "crate::config::duration")]
    pub quiet: Duration,
}

impl Default for ForeignSettings {
    fn default() -> Self {
        ForeignSettings {
            // One or two can be an operator's hand; Milvus' balancer moves five at a time.
            moves: 3,
            within: Duration::from_secs(10 * 60),
            quiet: Duration::from_secs(30 * 60),
        }
    }
}
