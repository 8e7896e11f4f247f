//! What the HTTP pages of a simulated Milvus say, read without a network: as [`super::server`] serves it and the real
//! reader reads it.

use std::collections::BTreeMap;

use super::cluster::{NodeState, SimNode};
use super::profile::Line;
use super::tasks::TaskSource;
use super::world::World;
use crate::observe::management::{
    ManagementReport, NodeState as ListedState, ReplicaDetail, SegmentDetail, TaskReport,
};
use crate::units::{Bytes, NodeId, Rows};

impl World {
    /// Everything that this version serves; `None` before 2.4.
    pub(super) fn observed_management(&self) -> Option<ManagementReport> {
        let profile = self.profile();
        if !profile.has_management {
            return None;
        }
        let mut report = ManagementReport {
            read_at: self.wall(),
            source: "simulated".to_owned(),
            is_suspended: Some(self.own_balancer_is_suspended()),
            settings: None,
            segments: None,
            replicas: None,
            nodes: Some(self.nodes().values().map(|node| (node.id, self.listed_state(node))).collect()),
            tasks: None,
        };
        if profile.has_web_ui {
            let bare = |name: &str| name.trim_start_matches("queryCoord.").to_ascii_lowercase();
            report.settings = Some(self.configs().map(|(name, value)| (bare(name), value)).collect());
            report.segments = Some(self.listed_details());
            report.replicas = Some(self.replica_details());
            report.tasks = Some(self.pending_tasks().map(task_report).collect());
        }
        Some(report)
    }

    fn listed_state(&self, node: &SimNode) -> ListedState {
        match node.state {
            NodeState::Stopping => ListedState::Stopping,
            _ if self.profile().line >= Line::V2_6 && node.resource_group.is_none() => ListedState::Suspended,
            _ => ListedState::Active,
        }
    }

    fn listed_details(&self) -> Vec<SegmentDetail> {
        let runs = |node: NodeId| self.nodes().get(&node).is_some_and(SimNode::is_running);
        let mut list = Vec::new();
        for collection in self.collections().values() {
            let channel = |shard: usize| collection.channels.get(shard).cloned().unwrap_or_default();
            for segment in collection.segments.iter().filter_map(|id| self.segments().get(id)) {
                let held = segment.copies.iter().filter(|copy| copy.state.is_resident() && runs(copy.node));
                list.extend(held.map(|copy| SegmentDetail {
                    segment: segment.id,
                    collection: collection.id,
                    node: copy.node,
                    channel: channel(segment.shard),
                    rows: Rows(segment.rows),
                    bytes: Bytes(segment.bytes),
                    is_growing: false,
                }));
            }
            for (shard, id, rows) in collection.growing().filter(|_| collection.loaded) {
                let leaders = collection.replicas.iter().filter_map(|replica| *replica.leaders.get(shard)?);
                list.extend(leaders.filter(|leader| runs(*leader)).map(|leader| SegmentDetail {
                    segment: id,
                    collection: collection.id,
                    node: leader,
                    channel: channel(shard),
                    rows: Rows(rows),
                    bytes: Bytes(rows * collection.row_bytes),
                    is_growing: true,
                }));
            }
        }
        list
    }

    fn replica_details(&self) -> Vec<ReplicaDetail> {
        let loaded = self.collections().values().filter(|collection| collection.loaded);
        let details = loaded.flat_map(|collection| {
            collection.replicas.iter().map(|replica| {
                let exclusive = collection.channels.iter().zip(&replica.exclusive);
                let own = |(name, nodes): (&String, &std::collections::BTreeSet<NodeId>)| {
                    (name.clone(), nodes.iter().copied().collect())
                };
                ReplicaDetail {
                    replica: replica.id,
                    read_only: replica.read_only.iter().copied().collect(),
                    exclusive: exclusive.map(own).collect::<BTreeMap<_, _>>(),
                }
            })
        });
        details.collect()
    }
}

fn task_report(task: &super::tasks::Task) -> TaskReport {
    TaskReport {
        collection: Some(task.collection),
        kind: if task.from.is_some() { "Move" } else { "Grow" }.to_owned(),
        status: if task.started { "started" } else { "created" }.to_owned(),
        reason: match task.source {
            TaskSource::Manual => "manual balance",
            TaskSource::Balancer => "segment unbalanced",
            TaskSource::Checker => "lacks of segment",
        }
        .to_owned(),
    }
}
