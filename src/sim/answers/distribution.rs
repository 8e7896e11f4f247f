//! Replicas, segments and resource groups.

use std::collections::BTreeMap;

use super::Unanswered;
use crate::milvus::wire::{common, milvus as rpc};
use crate::sim::calls::Refusal;
use crate::sim::cluster::{SimCollection, SimReplica};
use crate::sim::world::World;
use crate::units::CollectionId;

fn no_replica(id: CollectionId) -> Refusal {
    let text = format!("failed to get replicas by collection: replica not found[replica={id}]");
    Refusal::new(400, text)
}

impl World {
    /// `GetReplicas`.
    pub fn get_replicas(
        &mut self,
        request: &rpc::GetReplicasRequest,
    ) -> Result<rpc::GetReplicasResponse, Unanswered> {
        self.counts.replicas += 1;
        let found = match self.reach(true)? {
            Err(refusal) => Err(refusal),
            Ok(()) => Ok(CollectionId(request.collection_id)),
        };
        let replicas = found.and_then(|id| {
            match self.collections.get(&id) {
                Some(collection) => self.replicas_of(collection),
                // Until 2.3 an id that nothing has is one that is not loaded.
                None if self.profile.unloaded_replicas_fail => Err(no_replica(id)),
                None => Err(Refusal::new(100, format!("collection not found[collection={id}]"))),
            }
        });
        Ok(match replicas {
            Err(refusal) => rpc::GetReplicasResponse { status: self.failure(&refusal), ..Default::default() },
            Ok(replicas) => rpc::GetReplicasResponse { status: World::success(), replicas },
        })
    }

    fn replicas_of(&self, collection: &SimCollection) -> Result<Vec<rpc::ReplicaInfo>, Refusal> {
        if !collection.loaded {
            let fails = self.profile.unloaded_replicas_fail;
            return if fails { Err(no_replica(collection.id)) } else { Ok(Vec::new()) };
        }
        let mut replicas = Vec::new();
        for replica in &collection.replicas {
            let is_led = replica.leaders.iter().all(Option::is_some);
            if !is_led && self.profile.unloaded_replicas_fail {
                return Err(Refusal::new(901, "failed to get shard leader"));
            }
            replicas.push(rpc::ReplicaInfo {
                replica_id: replica.id.0,
                collection_id: collection.id.0,
                shard_replicas: if is_led { self.shards_of(collection, replica) } else { Vec::new() },
                node_ids: replica.all_nodes().iter().map(|node| node.0).collect(),
                resource_group_name: replica.resource_group.clone(),
                num_outbound_node: self.outbound_nodes(replica),
            });
        }
        Ok(replicas)
    }

    fn shards_of(&self, collection: &SimCollection, replica: &SimReplica) -> Vec<rpc::ShardReplica> {
        replica
            .leaders
            .iter()
            .zip(&collection.channels)
            .filter_map(|(leader, channel)| {
                let leader = (*leader)?;
                let address = self.nodes.get(&leader).map(|node| node.address.clone()).unwrap_or_default();
                Some(rpc::ShardReplica {
                    leader_id: leader.0,
                    leader_addr: address,
                    dm_channel_name: channel.clone(),
                })
            })
            .collect()
    }

    /// Read-only nodes that sit in another resource group, counted by group.
    fn outbound_nodes(&self, replica: &SimReplica) -> BTreeMap<String, i32> {
        let mut outbound = BTreeMap::new();
        for node in replica.read_only.iter().filter_map(|node| self.nodes.get(node)) {
            if let Some(group) =
                node.resource_group.as_ref().filter(|group| **group != replica.resource_group)
            {
                *outbound.entry(group.clone()).or_default() += 1;
            }
        }
        outbound
    }

    /// `GetQuerySegmentInfo`.
    pub fn get_query_segment_info(
        &mut self,
        request: &rpc::GetQuerySegmentInfoRequest,
    ) -> Result<rpc::GetQuerySegmentInfoResponse, Unanswered> {
        self.counts.segment_info += 1;
        let found = match self.reach(true)? {
            Err(refusal) => Err(refusal),
            Ok(()) => self.resolve(&request.db_name, &request.collection_name),
        };
        let id = match found {
            Err(refusal) => {
                return Ok(rpc::GetQuerySegmentInfoResponse {
                    status: self.failure(&refusal),
                    ..Default::default()
                });
            }
            Ok(id) => id,
        };
        let scanned = if self.profile.scans_everything {
            self.segments.len()
        } else {
            self.collections[&id].segments.len()
        };
        self.counts.segments_scanned += scanned as u64;
        let infos = if self.collections[&id].loaded { self.segment_infos(id) } else { Vec::new() };
        Ok(rpc::GetQuerySegmentInfoResponse { status: World::success(), infos })
    }

    fn segment_infos(&self, id: CollectionId) -> Vec<rpc::QuerySegmentInfo> {
        let partition = self.collections[&id].partition;
        let mut infos = Vec::new();
        for segment in self.listed_segments(id) {
            if segment.level0 && !self.profile.lists_level0 {
                continue;
            }
            let mut nodes: Vec<i64> = segment
                .copies
                .iter()
                .filter(|copy| copy.state.is_listed() && self.nodes.contains_key(&copy.node))
                .map(|copy| copy.node.0)
                .collect();
            if nodes.is_empty() {
                continue;
            }
            // The order is unspecified: nobody may rely on it.
            if segment.id.0 % 2 == 0 {
                nodes.reverse();
            }
            let level = match (self.profile.lists_levels, segment.level0) {
                (false, _) => common::SegmentLevel::Legacy,
                (true, true) => common::SegmentLevel::L0,
                (true, false) => common::SegmentLevel::L1,
            };
            infos.push(rpc::QuerySegmentInfo {
                segment_id: segment.id.0,
                collection_id: id.0,
                partition_id: partition.0,
                num_rows: i64::try_from(segment.rows).unwrap_or(i64::MAX),
                state: common::SegmentState::Sealed.into(),
                node_ids: nodes,
                level: level.into(),
            });
        }
        if self.settings.lists_growing {
            self.add_growing(id, &mut infos);
        }
        infos
    }

    fn add_growing(&self, id: CollectionId, infos: &mut Vec<rpc::QuerySegmentInfo>) {
        let collection = &self.collections[&id];
        for (shard, segment, rows) in collection.growing() {
            let leaders =
                collection.replicas.iter().filter_map(|replica| replica.leaders.get(shard).copied());
            infos.push(rpc::QuerySegmentInfo {
                segment_id: segment.0,
                collection_id: id.0,
                partition_id: collection.partition.0,
                num_rows: i64::try_from(rows).unwrap_or(i64::MAX),
                state: common::SegmentState::Growing.into(),
                node_ids: leaders.flatten().map(|leader| leader.0).collect(),
                level: common::SegmentLevel::L1.into(),
            });
        }
    }

    /// `ListResourceGroups`.
    pub fn list_resource_groups(&mut self) -> Result<rpc::ListResourceGroupsResponse, Unanswered> {
        self.counts.definitions += 1;
        Ok(match self.reach(true)? {
            Err(refusal) => {
                rpc::ListResourceGroupsResponse { status: self.failure(&refusal), ..Default::default() }
            }
            Ok(()) => rpc::ListResourceGroupsResponse {
                status: World::success(),
                resource_groups: self.resource_groups.iter().cloned().collect(),
            },
        })
    }

    /// `DescribeResourceGroup`.
    pub fn describe_resource_group(
        &mut self,
        request: &rpc::DescribeResourceGroupRequest,
    ) -> Result<rpc::DescribeResourceGroupResponse, Unanswered> {
        self.counts.definitions += 1;
        let name = request.resource_group.clone();
        let refusal = match self.reach(true)? {
            Err(refusal) => Some(refusal),
            Ok(()) if !self.resource_groups.contains(&name) => {
                Some(Refusal::new(300, format!("resource group not found[rg={name}]")))
            }
            Ok(()) => None,
        };
        if let Some(refusal) = refusal {
            return Ok(rpc::DescribeResourceGroupResponse {
                status: self.failure(&refusal),
                ..Default::default()
            });
        }
        let members: Vec<common::NodeInfo> = self
            .nodes
            .values()
            .filter(|node| node.resource_group.as_deref() == Some(&name))
            .map(|node| common::NodeInfo {
                node_id: node.id.0,
                address: node.address.clone(),
                hostname: node.hostname.clone(),
            })
            .collect();
        let count = i32::try_from(members.len()).unwrap_or(i32::MAX);
        Ok(rpc::DescribeResourceGroupResponse {
            status: World::success(),
            resource_group: Some(rpc::ResourceGroup {
                name,
                // The default group takes whoever comes.
                capacity: if self.profile.lists_group_nodes { count } else { 1_000_000 },
                num_available_node: count,
                nodes: if self.profile.lists_group_nodes { members } else { Vec::new() },
            }),
        })
    }
}
