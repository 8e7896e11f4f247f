//! A replica with its segments, as Milvus' balancer takes them.

use std::ops::Range;

use crate::model::NodeIndex;
use crate::model::milvus_score::plan::is_exclusive;
use crate::model::milvus_score::{ChannelView, NodeView};
use crate::reason::Reason;
use crate::units::{CollectionId, Rows, SegmentId};

/// A replica as the balancer scores it, without its segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeptReplica {
    /// Its collection.
    pub collection: CollectionId,
    /// Its read-write nodes; rows of sealed segments are added up by the keeper.
    pub nodes: Vec<(NodeIndex, NodeView)>,
    /// Its channels.
    pub channels: Vec<ChannelView>,
    /// Why nobody can say what the balancer makes of it, if so.
    pub unknown: Option<Reason>,
}

/// A segment on a node, in the order in which the balancer takes them.
pub(super) type Resident = (Rows, SegmentId, Option<u32>);

/// A replica with its segments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scored {
    pub(super) replica: KeptReplica,
    /// By position of the node: its sealed segments, smallest first.
    pub(super) segments: Vec<Vec<Resident>>,
    /// Segments outside of their channel's own nodes, or of unknown channel; counted in channel-exclusive mode only.
    pub(super) outbound: usize,
    /// In which of the cases it planned something before any move of ours.
    pub(super) is_restless: Vec<bool>,
    /// Where its margins are among all.
    pub(super) margins: Range<usize>,
}

impl Scored {
    /// Without segments yet.
    pub(super) fn of(replica: KeptReplica) -> Scored {
        let segments = vec![Vec::new(); replica.nodes.len()];
        Scored { replica, segments, outbound: 0, is_restless: Vec::new(), margins: 0..0 }
    }

    pub(super) fn position_of(&self, node: NodeIndex) -> Option<usize> {
        self.replica.nodes.iter().position(|(member, _)| *member == node)
    }

    /// Whether a node is one of a channel's own.
    pub(super) fn owns(&self, channel: u32, node: NodeIndex) -> bool {
        let id = self.replica.nodes.iter().find(|(member, _)| *member == node).map(|(_, view)| view.node);
        let channel = self.replica.channels.get(channel as usize);
        id.zip(channel).is_some_and(|(id, channel)| channel.exclusive_nodes.contains(&id))
    }

    pub(super) fn is_outbound(&self, node: NodeIndex, resident: Resident) -> bool {
        is_exclusive(&self.replica.channels) && resident.2.is_none_or(|channel| !self.owns(channel, node))
    }

    /// Adds a segment without keeping the order.
    pub(super) fn put(&mut self, node: NodeIndex, resident: Resident) {
        let Some(position) = self.position_of(node) else { return };
        self.outbound += usize::from(self.is_outbound(node, resident));
        self.segments[position].push(resident);
        self.count(node, resident.0);
    }

    /// Adds the rows of a segment that the balancer never takes: deletes only stay with their delegator. Were it taken
    /// for movable, its replica would seem about to be balanced for ever, and would not be asked about.
    pub(super) fn count(&mut self, node: NodeIndex, added: Rows) {
        let Some(position) = self.position_of(node) else { return };
        let rows = &mut self.replica.nodes[position].1.collection.sealed;
        *rows = Rows(rows.0.saturating_add(added.0));
    }

    pub(super) fn insert(&mut self, node: NodeIndex, resident: Resident) {
        let Some(position) = self.position_of(node) else { return };
        self.put(node, resident);
        let segments = &mut self.segments[position];
        segments.pop();
        let at = segments.partition_point(|other| *other < resident);
        segments.insert(at, resident);
    }

    pub(super) fn take(&mut self, node: NodeIndex, resident: Resident) {
        let Some(position) = self.position_of(node) else { return };
        let Ok(at) = self.segments[position].binary_search(&resident) else { return };
        self.segments[position].remove(at);
        self.outbound -= usize::from(self.is_outbound(node, resident));
        let rows = &mut self.replica.nodes[position].1.collection.sealed;
        *rows = Rows(rows.0.saturating_sub(resident.0.0));
    }
}
