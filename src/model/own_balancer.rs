//! Milvus' own balancer as far as it is known: whether it runs, what it is told, and what it looks at. What could be read
//! stands before what our configuration says, and that before what the version assumes.

mod keys;

pub use keys::{BalancerSettings, KnownSetting, Origin};

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::milvus_score::{
    Algorithm, ChannelView, Keeper, KeeperInput, KeptReplica, NodeView, RowCounts, ScoreSettings,
};
use super::snapshot::{NodeIndex, ReplicaIndex, Snapshot, Standing};
use crate::observe::management::ReplicaDetail;
use crate::observe::observation::{Observation, ReplicaReport};
use crate::reason::Reason;
use crate::units::{CollectionId, NodeId, ReplicaId, Rows, SegmentId};

/// Whether the balancer runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalancerState {
    /// It runs, or must be taken to.
    #[default]
    On,
    /// It is suspended, which a restart of the coordinator forgets.
    Suspended,
    /// `queryCoord.autoBalance` is false.
    Off,
}

impl fmt::Display for BalancerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BalancerState::On => "on, as far as is known",
            BalancerState::Suspended => "suspended, which a restart of the coordinator forgets",
            BalancerState::Off => "off",
        })
    }
}

/// Milvus' own balancer. What it looks at is kept by id, so that it holds for a snapshot that was changed to ask "what if", too.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnBalancer {
    /// Whether what it would undo must not be done (mode `within`).
    pub is_binding: bool,
    /// Whether it runs.
    pub state: BalancerState,
    /// What it is told; `None` when it cannot be modelled.
    pub settings: Option<ScoreSettings>,
    /// Every setting that matters, and where it comes from.
    pub known: Vec<KnownSetting>,
    /// Why it cannot be modelled.
    pub unknown: Option<Reason>,
    /// Its own moves that have not ended, where its tasks could be read.
    pub pending: Option<usize>,
    /// Where what was read came from; `None` when nothing was.
    pub source: Option<String>,
    /// The channels of each replica, by name, and who leads them.
    channels: Vec<ReplicaChannels>,
    /// Growing rows as the nodes list them; `None` when nobody does, and they follow from growing bytes.
    growing: Option<Vec<GrowingOn>>,
    /// The channel of each segment that has a known one, by its position among those of its collection; by segment.
    shards: Vec<(SegmentId, u32)>,
}

/// The channels of a replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaChannels {
    collection: CollectionId,
    replica: ReplicaId,
    channels: Vec<ChannelView>,
}

/// Growing rows of a collection on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrowingOn {
    node: NodeId,
    collection: CollectionId,
    rows: Rows,
}

impl OwnBalancer {
    /// As this observation shows it.
    pub fn of(
        observation: &Observation,
        snapshot: &Snapshot,
        configured: &BalancerSettings,
        is_binding: bool,
    ) -> OwnBalancer {
        let management = observation.management.as_ref();
        let read = management.and_then(|report| report.settings.as_ref());
        let (settings, known, unknown) = keys::resolve(&snapshot.server, read, configured);
        let is_off = settings.as_ref().is_some_and(|settings| !settings.auto_balance);
        let is_suspended = management.and_then(|report| report.is_suspended) == Some(true);
        let state = match (is_off, is_suspended) {
            (true, _) => BalancerState::Off,
            (false, true) => BalancerState::Suspended,
            (false, false) => BalancerState::On,
        };
        let tasks = management.and_then(|report| report.tasks.as_ref());
        let mut balancer = OwnBalancer {
            is_binding,
            state,
            settings,
            known,
            unknown,
            pending: tasks.map(|tasks| tasks.iter().filter(|task| task.is_balancing()).count()),
            source: management.map(|report| report.source.clone()),
            ..OwnBalancer::default()
        };
        // Where it binds nobody, nobody asks what it looks at.
        if is_binding && balancer.settings.is_some() {
            balancer.look(observation);
        }
        balancer
    }

    /// Says of moves whether it would undo them; `None` when that binds nobody, or nobody can say it.
    pub fn keeper(&self, snapshot: &Snapshot, placement: &[NodeIndex]) -> Option<Keeper> {
        let settings = self.settings.as_ref().filter(|_| self.is_binding)?;
        let growing = GrowingRows::of(self.growing.as_deref(), snapshot);
        let by_node: Vec<Rows> = snapshot.nodes.iter().map(|node| growing.on(node.id)).collect();
        let channels: BTreeMap<(CollectionId, ReplicaId), &[ChannelView]> =
            self.channels.iter().map(|of| ((of.collection, of.replica), of.channels.as_slice())).collect();
        let kept = |position| {
            let index = ReplicaIndex::from_position(position);
            let key = (snapshot.collection_of(index).id, snapshot.replica(index).id);
            let channels = channels.get(&key).map(|channels| channels.to_vec()).unwrap_or_default();
            kept_replica(snapshot, index, channels, &growing, settings)
        };
        Some(Keeper::new(KeeperInput {
            settings,
            replicas: (0..snapshot.replicas.len()).map(kept).collect(),
            nodes: snapshot.nodes.len(),
            growing: &by_node,
            copies: &snapshot.copies,
            placement,
            shards: &self.shards,
        }))
    }

    /// Notes what it looks at and what no snapshot holds.
    fn look(&mut self, observation: &Observation) {
        let management = observation.management.as_ref();
        let details: BTreeMap<ReplicaId, &ReplicaDetail> = management
            .and_then(|report| report.replicas.as_ref())
            .into_iter()
            .flatten()
            .map(|detail| (detail.replica, detail))
            .collect();
        let mut positions: BTreeMap<(CollectionId, String), u32> = BTreeMap::new();
        for collection in &observation.collections {
            for report in collection.replicas.iter().flatten() {
                let channels = channels_of(report, details.get(&report.id).copied());
                for (position, channel) in (0_u32..).zip(&channels) {
                    positions.insert((collection.id, channel.name.clone()), position);
                }
                self.channels.push(ReplicaChannels {
                    collection: collection.id,
                    replica: report.id,
                    channels,
                });
            }
        }
        let Some(segments) = management.and_then(|report| report.segments.as_ref()) else { return };
        let mut growing: BTreeMap<(NodeId, CollectionId), u64> = BTreeMap::new();
        for detail in segments {
            if detail.is_growing {
                let rows = growing.entry((detail.node, detail.collection)).or_default();
                *rows = rows.saturating_add(detail.rows.0);
            } else if let Some(position) = positions.get(&(detail.collection, detail.channel.clone())) {
                self.shards.push((detail.segment, *position));
            }
        }
        let listed = |((node, collection), rows)| GrowingOn { node, collection, rows: Rows(rows) };
        self.growing = Some(growing.into_iter().map(listed).collect());
        self.shards.sort_unstable();
        self.shards.dedup_by_key(|(segment, _)| *segment);
    }
}

fn channels_of(report: &ReplicaReport, detail: Option<&ReplicaDetail>) -> Vec<ChannelView> {
    let mut channels: Vec<ChannelView> = report
        .shards
        .iter()
        .map(|shard| ChannelView {
            name: shard.channel.clone(),
            leader: Some(shard.leader),
            exclusive_nodes: detail
                .and_then(|detail| detail.exclusive.get(&shard.channel))
                .cloned()
                .unwrap_or_default(),
        })
        .collect();
    channels.sort_by(|a, b| a.name.cmp(&b.name));
    channels.dedup_by(|a, b| a.name == b.name);
    channels
}

fn kept_replica(
    snapshot: &Snapshot,
    index: ReplicaIndex,
    channels: Vec<ChannelView>,
    growing: &GrowingRows,
    settings: &ScoreSettings,
) -> KeptReplica {
    let replica = snapshot.replica(index);
    let collection = snapshot.collection_of(index);
    let usable = replica.members.iter().filter(|member| member.standing.is_usable());
    let nodes: Vec<(NodeIndex, NodeView)> = usable
        .map(|member| {
            let node = snapshot.node(member.node);
            let leads = channels.iter().any(|channel| channel.leader == Some(node.id));
            let growing = growing.of_collection(node.id, collection.id, leads);
            let view = NodeView {
                node: node.id,
                memory: node.memory_capacity,
                collection: RowCounts { growing, ..RowCounts::default() },
                ..NodeView::default()
            };
            (member.node, view)
        })
        .collect();
    let doubtful = replica
        .members
        .iter()
        .find(|member| matches!(member.standing, Standing::Absent | Standing::Erroring | Standing::Unknown));
    let unknown = match doubtful {
        Some(member) => {
            let node = snapshot.node(member.node).id;
            Some(Reason::NodeUnfit { node, standing: member.standing })
        }
        None if owns_unseen_nodes(&channels, nodes.len(), settings) => {
            Some(Reason::ShardUnknown { collection: collection.id })
        }
        None => None,
    };
    KeptReplica { collection: collection.id, nodes, channels, unknown }
}

/// Whether channels of this replica own nodes, and it could not be read which. A single channel owns them all.
fn owns_unseen_nodes(channels: &[ChannelView], nodes: usize, settings: &ScoreSettings) -> bool {
    let enough = channels.len().saturating_mul(settings.channel_exclusive_node_factor as usize);
    settings.algorithm == Algorithm::ChannelLevel
        && channels.len() != 1
        && nodes >= enough
        && channels.iter().any(|channel| channel.exclusive_nodes.is_empty())
}

/// Growing rows on nodes: as the nodes list them, or from the bytes that they report.
struct GrowingRows {
    listed: Option<BTreeMap<(NodeId, CollectionId), u64>>,
    by_node: BTreeMap<NodeId, u64>,
}

impl GrowingRows {
    fn of(listed: Option<&[GrowingOn]>, snapshot: &Snapshot) -> GrowingRows {
        if let Some(listed) = listed {
            let mut by_node: BTreeMap<NodeId, u64> = BTreeMap::new();
            for one in listed {
                let rows = by_node.entry(one.node).or_default();
                *rows = rows.saturating_add(one.rows.0);
            }
            let listed = listed.iter().map(|one| ((one.node, one.collection), one.rows.0)).collect();
            return GrowingRows { listed: Some(listed), by_node };
        }
        // What a row takes differs from collection to collection: the smallest makes the most rows of the bytes.
        let copies = &snapshot.copies;
        let row_bytes = copies
            .indices()
            .filter(|copy| copies.rows[copy.at()].0 > 0)
            .map(|copy| copies.bytes[copy.at()].0 / copies.rows[copy.at()].0)
            .min()
            .unwrap_or(1)
            .max(1);
        let rows = |node: &super::snapshot::Node| Some((node.id, node.growing?.0 / row_bytes));
        GrowingRows { listed: None, by_node: snapshot.nodes.iter().filter_map(rows).collect() }
    }

    /// Of all collections.
    fn on(&self, node: NodeId) -> Rows {
        Rows(self.by_node.get(&node).copied().unwrap_or(0))
    }

    /// Of one collection. Where nobody lists them, all that grows on a node may belong to any collection that it leads.
    fn of_collection(&self, node: NodeId, collection: CollectionId, leads: bool) -> Rows {
        match &self.listed {
            Some(listed) => Rows(listed.get(&(node, collection)).copied().unwrap_or(0)),
            None if leads => self.on(node),
            None => Rows(0),
        }
    }
}
