//! What an operator can do over HTTP: resume nodes, freeze them, transfer segments and channels. The traps are
//! Milvus' own.

use super::calls::Refusal;
use super::cluster::{CopyState, NodeState, SimRole};
use super::tasks::{Task, TaskSource};
use super::world::{Event, World};
use crate::units::{CollectionId, NodeId, SegmentId};

/// A transfer of segments as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Where they are.
    pub from: NodeId,
    /// Where they go; the other read-write nodes of the replica in turn when it is left out.
    pub to: Option<NodeId>,
    /// Which; all when it is left out.
    pub segment: Option<SegmentId>,
    /// Leave the copy on the source. The server's default is to do so.
    pub copy: bool,
}

impl World {
    /// Puts a suspended node back into the group of the replicas that it is a read-only member of.
    pub fn resume(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(&id) else { return };
        if node.state != NodeState::Up || node.resource_group.is_some() || node.role == SimRole::Streaming {
            return;
        }
        let mut group = None;
        let mut touched = Vec::new();
        for collection in self.collections.values_mut() {
            for replica in &mut collection.replicas {
                if replica.read_only.remove(&id) {
                    replica.read_write.insert(id);
                    group = Some(replica.resource_group.clone());
                    touched.push(collection.id);
                }
            }
        }
        let group = group.unwrap_or_else(|| super::DEFAULT_RESOURCE_GROUP.to_owned());
        if let Some(node) = self.nodes.get_mut(&id) {
            node.resource_group = Some(group);
        }
        self.note(format_args!("node {id} resumed"));
        for collection in touched {
            self.redraw_exclusive_sets(collection);
            self.after(std::time::Duration::from_secs(1), Event::ElectLeaders(collection));
        }
    }

    /// Has a streaming node lead no channels, or lets it again (`streaming/nodes/status`, 2.6+).
    pub fn freeze(&mut self, id: NodeId, frozen: bool) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.role == SimRole::Streaming) else {
            return;
        };
        node.frozen = frozen;
        self.note(format_args!("node {id} {}", if frozen { "frozen" } else { "unfrozen" }));
        let collections: Vec<CollectionId> = self.collections.keys().copied().collect();
        for collection in collections {
            self.after(std::time::Duration::from_secs(1), Event::ElectLeaders(collection));
        }
    }

    /// Whether an operator has suspended a node, as the coordinator sees it: a node without a resource group, which
    /// every streaming node is. `None` for a node that it does not know.
    pub fn is_suspended(&self, id: NodeId) -> Option<bool> {
        let node = self.nodes.get(&id)?;
        Some(node.resource_group.is_none() && node.state != NodeState::Stopping)
    }

    /// `transfer/segment`: queues the moves and answers at once. It goes through every replica on the source; for
    /// a single segment the first replica that does not hold it ends the call with an error, whatever the others
    /// hold.
    pub fn transfer_segments(&mut self, transfer: &Transfer) -> Result<(), Refusal> {
        for node in std::iter::once(transfer.from).chain(transfer.to) {
            let known = self.nodes.get(&node);
            let known = known.ok_or_else(|| Refusal::new(901, format!("node not found[node={node}]")))?;
            let is_streaming = known.role == SimRole::Streaming && self.profile.names_streaming_nodes;
            if node != transfer.from && (known.state == NodeState::Stopping || is_streaming) {
                return Err(Refusal::new(self.profile.stopping_code, "the target node is invalid"));
            }
        }
        let replicas: Vec<(CollectionId, usize)> = self
            .collections
            .keys()
            .filter_map(|id| Some((*id, self.replica_with(*id, transfer.from)?)))
            .collect();
        for (collection, replica) in replicas {
            let held: Vec<SegmentId> = self
                .listed_segments(collection)
                .filter(|segment| {
                    segment.copies.iter().any(|copy| {
                        copy.replica == replica
                            && copy.node == transfer.from
                            && copy.state == CopyState::Serving
                    })
                })
                .map(|segment| segment.id)
                .collect();
            let chosen = match transfer.segment {
                None => held,
                Some(segment) if held.contains(&segment) => vec![segment],
                Some(segment) => {
                    return Err(Refusal::new(600, format!("segment not found[segment={segment}]")));
                }
            };
            self.queue_transfers(collection, replica, &chosen, transfer);
        }
        Ok(())
    }

    fn queue_transfers(
        &mut self,
        collection: CollectionId,
        replica: usize,
        segments: &[SegmentId],
        transfer: &Transfer,
    ) {
        let members = &self.collections[&collection].replicas[replica].read_write;
        let others: Vec<NodeId> = members.iter().copied().filter(|node| *node != transfer.from).collect();
        for (turn, segment) in segments.iter().enumerate() {
            let in_turn = others.get(turn % others.len().max(1)).copied();
            let Some(to) = transfer.to.or(in_turn).filter(|to| *to != transfer.from) else { continue };
            let task = Task {
                source: TaskSource::Manual,
                call: None,
                segment: *segment,
                collection,
                replica,
                from: (!transfer.copy).then_some(transfer.from),
                to,
                started: false,
                releasing: false,
            };
            if let Err(refusal) = self.add_task(task) {
                self.note(format_args!("transfer of {segment} passed over: {}", refusal.reason));
            }
        }
    }

    /// `transfer/channel`: makes another node the delegator of a channel, or of all that the source leads. Without a
    /// destination the other nodes of the replica take them in turn.
    pub fn transfer_channels(
        &mut self,
        from: NodeId,
        to: Option<NodeId>,
        channel: Option<&str>,
    ) -> Result<(), Refusal> {
        if let Some(missing) = std::iter::once(from).chain(to).find(|node| !self.nodes.contains_key(node)) {
            return Err(Refusal::new(901, format!("node not found[node={missing}]")));
        }
        let mut moved = Vec::new();
        for collection in self.collections.values() {
            for (replica, members) in collection.replicas.iter().enumerate() {
                for (shard, leader) in members.leaders.iter().enumerate() {
                    let is_wanted = channel
                        .is_none_or(|name| collection.channels.get(shard).is_some_and(|own| own == name));
                    if *leader != Some(from) || !is_wanted {
                        continue;
                    }
                    let homes = match members.streaming.contains(&from) {
                        true => &members.streaming,
                        false => &members.read_write,
                    };
                    let mut others = homes.iter().copied().filter(|node| *node != from).cycle();
                    let to = to.filter(|to| members.has(*to)).or_else(|| match to {
                        None => others.nth(shard),
                        Some(_) => None,
                    });
                    moved.extend(to.map(|to| (collection.id, replica, shard, to)));
                }
            }
        }
        if moved.is_empty() {
            return Err(Refusal::new(500, format!("channel not found[channel={}]", channel.unwrap_or(""))));
        }
        for (collection, replica, shard, to) in moved {
            self.note(format_args!("channel {shard} of {collection} to {to}"));
            self.change_leader(collection, replica, shard, to);
        }
        Ok(())
    }
}
