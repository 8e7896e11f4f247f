//! What if: changes to a situation, each of them a pure function, so that "what would another node bring" is answered by
//! the planner itself and not by a rule of thumb.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Situation;
use crate::model::signals::{Capacities, NodeSignals, Reading, SignalSource};
use crate::model::{
    ComponentIndex, Held, Member, Node, NodeIndex, Replica, SegmentCopies, Snapshot, Standing, Subject,
    link_components,
};
use crate::policy::Directive;
use crate::units::{Bytes, CollectionId, Millicores, NodeId, Ratio, ReplicaId};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more query node joins.
    AddNode {
        /// Its memory.
        memory: Bytes,
        /// Its cores, in thousandths.
        cpu: Option<u64>,
    },
    /// A query node is gone.
    RemoveNode(NodeId),
    /// A query node is to be emptied.
    Drain(NodeId),
    /// Every node above this pressure is relieved down to it, in every dimension.
    Threshold(Ratio),
}

/// Why a text is no change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It has another form.
    #[error(
        "{text:?} is no change: write add-node=MEMORY[:CORES], remove-node=ID, drain=ID or threshold=PRESSURE"
    )]
    Form {
        /// What was given.
        text: String,
    },
    /// The memory is none.
    #[error("{text:?} is no amount of memory: write a size above zero and up to 1 PiB, such as 64GiB")]
    Memory {
        /// What was given.
        text: String,
    },
    /// The cores are none.
    #[error("{text:?} is no number of cores: write a number above zero and up to 10000, such as 16 or 0.5")]
    Cores {
        /// What was given.
        text: String,
    },
    /// The node has no such id.
    #[error("{text:?} is no id of a node")]
    Node {
        /// What was given.
        text: String,
    },
    /// The pressure is none.
    #[error(
        "{text:?} is no threshold: write a pressure between 1 and 1000, such as 1.05 for 5 % above the fair share"
    )]
    Threshold {
        /// What was given.
        text: String,
    },
}

/// Why a change cannot be applied to this cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhatIfError {
    /// There is no such node.
    #[error("there is no node {node}: the nodes are {known}")]
    NoSuchNode {
        /// The id that was given.
        node: NodeId,
        /// Those that there are.
        known: String,
    },
    /// A replica would be left without a node.
    #[error(
        "node {node} cannot go: it is the last usable node of replica {replica} of collection {collection}"
    )]
    LastOfReplica {
        /// The node.
        node: NodeId,
        /// The replica.
        replica: ReplicaId,
        /// Its collection.
        collection: CollectionId,
    },
    /// A node that joins would serve nothing.
    #[error("a node that joins would serve nothing: no collection is loaded on a usable node")]
    NothingToServe,
}

/// The most memory of a node: what the model believes, too.
const MOST_MEMORY: u64 = 1 << 50;

/// The most cores of a node: more than any machine has.
const MOST_CORES: f64 = 10_000.0;

/// The highest threshold: nothing is that uneven.
const HIGHEST_THRESHOLD: Ratio = Ratio(1_000_000_000);

/// So many ids are listed where one is not found.
const KNOWN_SHOWN: usize = 20;

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Change, ChangeError> {
        let form = || ChangeError::Form { text: text.to_owned() };
        let (what, value) = text.trim().split_once('=').ok_or_else(form)?;
        let value = value.trim();
        let node = || value.parse().map_err(|_| ChangeError::Node { text: value.to_owned() });
        match what.trim() {
            "add-node" => add_node(value),
            "remove-node" => Ok(Change::RemoveNode(node()?)),
            "drain" => Ok(Change::Drain(node()?)),
            "threshold" => {
                let ratio = value.parse().ok().and_then(Ratio::from_decimal);
                let ratio = ratio.filter(|ratio| (Ratio::ONE..=HIGHEST_THRESHOLD).contains(ratio));
                ratio.map(Change::Threshold).ok_or_else(|| ChangeError::Threshold { text: value.to_owned() })
            }
            _ => Err(form()),
        }
    }
}

fn add_node(value: &str) -> Result<Change, ChangeError> {
    let (memory, cpu) = match value.split_once(':') {
        Some((memory, cpu)) => (memory, Some(cpu)),
        None => (value, None),
    };
    let size = memory.trim().parse::<bytesize::ByteSize>().ok().map(|size| size.0);
    let size = size.filter(|size| (1..=MOST_MEMORY).contains(size));
    let memory = size.map(Bytes).ok_or_else(|| ChangeError::Memory { text: memory.to_owned() })?;
    let cpu = cpu.map(|text| cores(text).ok_or_else(|| ChangeError::Cores { text: text.to_owned() }));
    Ok(Change::AddNode { memory, cpu: cpu.transpose()? })
}

/// Thousandths of a core.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // inside the limits, it fits
fn cores(text: &str) -> Option<u64> {
    let cores: f64 = text.trim().parse().ok()?;
    let fits = cores.is_finite() && cores > 0.0 && cores <= MOST_CORES;
    fits.then_some((cores * 1000.0).ceil() as u64)
}

impl Change {
    /// As it is read back.
    pub fn written(&self) -> String {
        match self {
            Change::AddNode { memory, cpu: None } => format!("add-node={}", memory.0),
            Change::AddNode { memory, cpu: Some(cpu) } => {
                format!("add-node={}:{}.{:03}", memory.0, cpu / 1000, cpu % 1000)
            }
            Change::RemoveNode(node) => format!("remove-node={node}"),
            Change::Drain(node) => format!("drain={node}"),
            Change::Threshold(ratio) => {
                format!("threshold={}.{:06}", ratio.0 / 1_000_000, ratio.0 % 1_000_000)
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::AddNode { memory, cpu: None } => write!(f, "one more node with {memory}"),
            Change::AddNode { memory, cpu: Some(cpu) } => {
                write!(f, "one more node with {memory} and {}.{:03} cores", cpu / 1000, cpu % 1000)
            }
            Change::RemoveNode(node) => write!(f, "without node {node}"),
            Change::Drain(node) => write!(f, "node {node} drained"),
            Change::Threshold(ratio) => write!(f, "threshold {:.3}", ratio.decimal()),
        }
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Situation {
    /// This situation with changes, one after the other.
    pub fn with(&self, changes: &[Change]) -> Result<Situation, WhatIfError> {
        let mut changed = self.clone();
        for change in changes {
            match change {
                Change::AddNode { memory, cpu } => {
                    join(Arc::make_mut(&mut changed.input.snapshot), *memory, *cpu)?;
                }
                Change::RemoveNode(id) => {
                    let node = find(&changed.input.snapshot, *id)?;
                    leave(Arc::make_mut(&mut changed.input.snapshot), node)?;
                    let touches = |from: NodeId, to: NodeId| from == *id || to == *id;
                    changed.input.in_flight.retain(|flight| !touches(flight.from, flight.to));
                }
                Change::Drain(id) => {
                    find(&changed.input.snapshot, *id)?;
                    changed.directives.push(Directive::Evacuate { node: *id });
                }
                Change::Threshold(ratio) => changed.policies.for_each_dimension(|dimension| {
                    dimension.enter = *ratio;
                    dimension.leave = *ratio;
                }),
            }
        }
        Ok(changed)
    }
}

fn find(snapshot: &Snapshot, id: NodeId) -> Result<NodeIndex, WhatIfError> {
    snapshot.node_index(id).ok_or_else(|| {
        let shown: Vec<String> =
            snapshot.nodes.iter().take(KNOWN_SHOWN).map(|node| node.id.to_string()).collect();
        let more = if snapshot.nodes.len() > KNOWN_SHOWN { " …" } else { "" };
        WhatIfError::NoSuchNode { node: id, known: format!("{}{more}", shown.join(", ")) }
    })
}

/// A node joins the resource group that has the most usable members, and there, of each collection, the replica with the
/// fewest usable nodes: that is where Milvus puts it. It uses as much memory without segments as the leanest of the
/// others, and counts as warmed up.
fn join(snapshot: &mut Snapshot, memory: Bytes, cpu: Option<u64>) -> Result<(), WhatIfError> {
    let mut members: BTreeMap<&str, usize> = BTreeMap::new();
    for replica in &snapshot.replicas {
        *members.entry(&replica.resource_group).or_default() += usable_members(replica);
    }
    let largest = members.iter().filter(|(_, count)| **count > 0).max_by_key(|(_, count)| **count);
    let group = largest.map(|(name, _)| (*name).to_owned()).ok_or(WhatIfError::NothingToServe)?;

    let index = NodeIndex::from_position(snapshot.nodes.len());
    let peer = snapshot.nodes.iter().filter(|node| node.standing.is_usable());
    let unexplained = peer.clone().filter_map(|node| node.unexplained_memory).min();
    let version = peer.clone().map(|node| node.version.clone()).next().unwrap_or_default();
    let id = snapshot.nodes.last().map_or(1, |node| node.id.0.saturating_add(1));
    if snapshot.signals.nodes.len() == snapshot.nodes.len() {
        let cores = cpu.map(|cpu| Reading {
            value: Millicores(cpu),
            age: Duration::ZERO,
            source: SignalSource::Estimated,
            trust: Ratio::ONE,
        });
        let capacity = Capacities { cpu: cores, ..Capacities::default() };
        snapshot.signals.nodes.push(NodeSignals { capacity, ..NodeSignals::default() });
    }
    snapshot.nodes.push(new_node(NodeId(id), memory, unexplained, version));

    let mut takers: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (position, replica) in snapshot.replicas.iter().enumerate() {
        if replica.resource_group == group {
            let candidate = (usable_members(replica), position);
            let taker = takers.entry(replica.collection.at()).or_insert(candidate);
            *taker = candidate.min(*taker);
        }
    }
    for (_, position) in takers.into_values() {
        // Its index is the highest, so the members stay in order.
        snapshot.replicas[position].members.push(Member { node: index, standing: Standing::ReadWrite });
    }
    relink(snapshot);
    Ok(())
}

fn new_node(id: NodeId, memory: Bytes, unexplained: Option<Bytes>, version: String) -> Node {
    Node {
        id,
        address: format!("what-if-{id}:0"),
        hostname: None,
        standing: Standing::ReadWrite,
        memory_capacity: Some(memory),
        memory_used: Some(unexplained.unwrap_or_default()),
        growing: None,
        unexplained_memory: unexplained,
        reported_sealed: None,
        version,
        component: None::<ComponentIndex>,
    }
}

fn usable_members(replica: &Replica) -> usize {
    replica.members.iter().filter(|member| member.standing.is_usable()).count()
}

/// A node is gone, and what it held was loaded by the other members of its replicas: the largest first, each by the one
/// whose memory is the least used.
fn leave(snapshot: &mut Snapshot, gone: NodeIndex) -> Result<(), WhatIfError> {
    let mut copies = SegmentCopies::clone(&snapshot.copies);
    let mut load = snapshot.bytes_by_node();
    for (node, bytes) in snapshot.nodes.iter().zip(&mut load) {
        *bytes = bytes.saturating_add(node.unexplained_memory.unwrap_or_default());
    }
    let mut orphans: Vec<usize> = (0..copies.len()).filter(|at| copies.node[*at] == gone).collect();
    orphans.sort_by_key(|at| (std::cmp::Reverse(copies.bytes[*at]), *at));
    for at in orphans {
        let replica = snapshot.replica(copies.replica[at]);
        let taker = emptiest_member(snapshot, replica, gone, &load).ok_or_else(|| {
            let collection = snapshot.collections[replica.collection.at()].id;
            WhatIfError::LastOfReplica { node: snapshot.node(gone).id, replica: replica.id, collection }
        })?;
        copies.node[at] = taker;
        if copies.held[at] == Some(Held::NodeUnfit) {
            copies.held[at] = None;
        }
        load[taker.at()] = load[taker.at()].saturating_add(copies.bytes[at]);
        let node = &mut snapshot.nodes[taker.at()];
        node.memory_used = node.memory_used.map(|used| used.saturating_add(copies.bytes[at]));
    }

    let shift = |index: &mut NodeIndex| index.0 -= u32::from(*index > gone);
    copies.node.iter_mut().for_each(shift);
    snapshot.copies = Arc::new(copies);
    for replica in &mut snapshot.replicas {
        replica.members.retain(|member| member.node != gone);
        replica.members.iter_mut().for_each(|member| shift(&mut member.node));
    }
    if snapshot.signals.nodes.len() == snapshot.nodes.len() {
        snapshot.signals.nodes.remove(gone.at());
    }
    let id = snapshot.nodes.remove(gone.at()).id;
    snapshot.doubts.retain(|doubt| doubt.subject != Subject::Node(id));
    relink(snapshot);
    Ok(())
}

fn emptiest_member(
    snapshot: &Snapshot,
    replica: &Replica,
    gone: NodeIndex,
    load: &[Bytes],
) -> Option<NodeIndex> {
    let others = replica.members.iter().filter(|member| member.standing.is_usable() && member.node != gone);
    others.map(|member| member.node).min_by_key(|node| {
        let capacity = snapshot.node(*node).memory_capacity.unwrap_or_default();
        (Ratio::of(load[node.at()].0, capacity.0), *node)
    })
}

/// Nodes and replicas have changed, so components have.
fn relink(snapshot: &mut Snapshot) {
    snapshot.nodes.iter_mut().for_each(|node| node.component = None);
    snapshot.components = link_components(&mut snapshot.nodes, &mut snapshot.replicas);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Change>();
        assert_eq!(read("add-node=64GiB"), Ok(Change::AddNode { memory: Bytes(64 << 30), cpu: None }));
        let with_cores = Change::AddNode { memory: Bytes(64 << 30), cpu: Some(15_500) };
        assert_eq!(read("add-node=64 GiB:15.5"), Ok(with_cores));
        assert_eq!(read("remove-node=7"), Ok(Change::RemoveNode(NodeId(7))));
        assert_eq!(read(" drain = 7 "), Ok(Change::Drain(NodeId(7))));
        assert_eq!(read("threshold=1.03"), Ok(Change::Threshold(Ratio(1_030_000))));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in
            ["add-node=64GiB", "add-node=64GiB:15.5", "remove-node=7", "drain=7", "threshold=1.030001"]
        {
            let change: Change = text.parse().unwrap();
            assert_eq!(change.written().parse(), Ok(change), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("", "add-node=MEMORY"),
            ("add-node", "add-node=MEMORY"),
            ("grow=7", "\"grow=7\""),
            ("add-node=", "memory"),
            ("add-node=0", "memory"),
            ("add-node=-1GiB", "memory"),
            ("add-node=2EiB", "memory"),
            ("add-node=64GiB:", "cores"),
            ("add-node=64GiB:NaN", "cores"),
            ("add-node=64GiB:0", "cores"),
            ("add-node=64GiB:1e9", "cores"),
            ("remove-node=seven", "\"seven\""),
            ("drain=99999999999999999999", "id of a node"),
            ("threshold=0.9", "threshold"),
            ("threshold=inf", "threshold"),
            ("threshold=NaN", "threshold"),
        ] {
            let error = text.parse::<Change>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
