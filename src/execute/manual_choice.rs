//! What a manual operation moves, and where to: what the person left out is filled in safely, what was given is
//! held to the same rules. Milvus itself would send level-0 segments, and segments back to their own source.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::executor::AdmittedMove;
use super::operation::Operation;
use crate::model::{CollectionIndex, CopyIndex, Held, NodeIndex, Replica, ReplicaIndex, Snapshot, Standing};
use crate::plan::Move;
use crate::units::{Bytes, NodeId, SegmentId};

/// The database that Milvus means when none is named.
const DEFAULT_DATABASE: &str = "default";

/// What a person asked for, in Milvus' own parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualRequest {
    /// Database; empty means the default one.
    pub database: String,
    /// Name of the collection.
    pub collection: String,
    /// The node that gives.
    pub src_node: NodeId,
    /// The nodes that take; empty means every node that can.
    pub dst_nodes: Vec<NodeId>,
    /// What moves; empty means all that can.
    pub segments: Vec<SegmentId>,
    /// How long to wait in all; without it, for the server's answer and then as long as the segments settle.
    pub timeout: Option<Duration>,
}

/// What will be moved, and what will not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManualPlan {
    /// The moves, largest first.
    pub moves: Vec<AdmittedMove>,
    /// Segments on the source that nobody asked for by number and that must stay.
    pub staying: Vec<(SegmentId, Staying)>,
}

/// Why a segment stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staying {
    /// It must, whatever anybody wants.
    Held(Held),
    /// It is on its way already.
    InFlight,
    /// No other node of the replica has room for it below its memory line.
    NoRoom,
}

impl fmt::Display for Staying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Staying::Held(held) => held.fmt(f),
            Staying::NoRoom => f.write_str(
                "no other node of the replica has room for it below gate.destination_memory; name one with \
                 --dst-nodes if you know better",
            ),
            Staying::InFlight => f.write_str("it is on its way already, by the daemon or by another person"),
        }
    }
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such collection is loaded, as far as we can see.
    #[error(
        "no loaded collection {collection:?} in database {database:?}: check both names, that it is loaded, and \
         that this role may see it"
    )]
    NoCollection {
        /// The database.
        database: String,
        /// The name.
        collection: String,
    },
    /// The collection is still loading.
    #[error("collection {collection:?} is loaded to {percentage} % only: wait until it is loaded")]
    NotLoaded {
        /// The name.
        collection: String,
        /// Its load percentage.
        percentage: u8,
    },
    /// The source holds nothing of the collection.
    #[error("node {node} is in no replica of the collection; its nodes are {members}")]
    SourceOutside {
        /// The source.
        node: NodeId,
        /// The nodes of its replicas.
        members: String,
    },
    /// The source is no live read-write member.
    #[error("nothing can be moved off node {node}: it is {standing}")]
    SourceUnfit {
        /// The source.
        node: NodeId,
        /// What it is instead.
        standing: Standing,
    },
    /// Destinations that were given and cannot take anything.
    #[error("not every destination can take segments: {}", .problems.join("; "))]
    Destinations {
        /// One sentence for each.
        problems: Vec<String>,
    },
    /// No destination was given and there is none.
    #[error("no other live read-write node in the replica of node {source_node} can take segments")]
    NoDestination {
        /// The source.
        source_node: NodeId,
    },
    /// Segments that were given and cannot be moved.
    #[error("not every segment can be moved: {}", .problems.join("; "))]
    Segments {
        /// One sentence for each.
        problems: Vec<String>,
    },
    /// No segments were given and none can be moved.
    #[error("nothing on node {node} can be moved: {} segments of the collection are there{}", .staying.len(), first_reason(.staying))]
    NothingMovable {
        /// The source.
        node: NodeId,
        /// What is there.
        staying: Vec<(SegmentId, Staying)>,
    },
}

fn first_reason(staying: &[(SegmentId, Staying)]) -> String {
    staying.first().map(|(segment, why)| format!(" (segment {segment}: {why})")).unwrap_or_default()
}

/// Chooses the moves. `room` is what may still arrive at a node, held to where no destination was asked for by
/// number; `busy` are operations of anybody that are still open.
pub fn choose_moves<'a>(
    request: &ManualRequest,
    snapshot: &Snapshot,
    room: impl Fn(NodeId) -> Bytes,
    busy: impl Iterator<Item = &'a Operation>,
) -> Result<ManualPlan, RequestError> {
    let collection = find_collection(request, snapshot)?;
    let (source, replica) = find_source(request, snapshot, collection)?;
    let destinations = find_destinations(request, snapshot, replica, source)?;
    let replica_id = snapshot.replica(replica).id;
    let busy: BTreeSet<SegmentId> = busy
        .filter(|operation| operation.movement.replica == replica_id)
        .map(|operation| operation.movement.segment)
        .collect();
    let (copies, mut staying) = if request.segments.is_empty() {
        all_movable(snapshot, replica, source, &busy)?
    } else {
        (given_segments(request, snapshot, replica, source, &busy)?, Vec::new())
    };
    // Who names a destination may have freed it for this; Milvus' own guard still stands behind.
    let free = |node: NodeIndex| {
        if request.dst_nodes.is_empty() { room(snapshot.node(node).id) } else { Bytes(u64::MAX) }
    };
    let destinations: Vec<(NodeIndex, Bytes)> =
        destinations.into_iter().map(|node| (node, free(node))).collect();
    let moves = spread(snapshot, replica, source, &destinations, copies, &mut staying);
    Ok(ManualPlan { moves, staying })
}

fn find_collection(request: &ManualRequest, snapshot: &Snapshot) -> Result<CollectionIndex, RequestError> {
    let named = |database: &str| if database.is_empty() { DEFAULT_DATABASE } else { database }.to_owned();
    let wanted = named(&request.database);
    let found = snapshot
        .collections
        .iter()
        .position(|one| one.name == request.collection && named(&one.database) == wanted);
    let Some(position) = found else {
        return Err(RequestError::NoCollection { database: wanted, collection: request.collection.clone() });
    };
    let percentage = snapshot.collections[position].load_percentage;
    if percentage < 100 {
        return Err(RequestError::NotLoaded { collection: request.collection.clone(), percentage });
    }
    Ok(CollectionIndex::from_position(position))
}

fn find_source(
    request: &ManualRequest,
    snapshot: &Snapshot,
    collection: CollectionIndex,
) -> Result<(NodeIndex, ReplicaIndex), RequestError> {
    let node = request.src_node;
    let replicas = || snapshot.replicas.iter().enumerate().filter(|(_, one)| one.collection == collection);
    let source = snapshot.node_index(node);
    for (position, replica) in replicas() {
        let Some(member) = replica.members.iter().find(|member| Some(member.node) == source) else {
            continue;
        };
        if !member.standing.is_usable() {
            return Err(RequestError::SourceUnfit { node, standing: member.standing });
        }
        return Ok((member.node, ReplicaIndex::from_position(position)));
    }
    let members: BTreeSet<NodeId> = replicas()
        .flat_map(|(_, replica)| &replica.members)
        .map(|member| snapshot.node(member.node).id)
        .collect();
    let members = members.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ");
    Err(RequestError::SourceOutside { node, members })
}

fn find_destinations(
    request: &ManualRequest,
    snapshot: &Snapshot,
    replica: ReplicaIndex,
    source: NodeIndex,
) -> Result<Vec<NodeIndex>, RequestError> {
    let replica = snapshot.replica(replica);
    if request.dst_nodes.is_empty() {
        let usable = replica.members.iter().filter(|member| member.standing.is_usable());
        let others: Vec<NodeIndex> =
            usable.map(|member| member.node).filter(|node| *node != source).collect();
        if others.is_empty() {
            return Err(RequestError::NoDestination { source_node: request.src_node });
        }
        return Ok(others);
    }
    let given: BTreeSet<NodeId> = request.dst_nodes.iter().copied().collect();
    let mut destinations = Vec::new();
    let mut problems = Vec::new();
    for node in given {
        match destination(node, request.src_node, snapshot, replica) {
            Ok(index) => destinations.push(index),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(destinations) } else { Err(RequestError::Destinations { problems }) }
}

fn destination(
    node: NodeId,
    source: NodeId,
    snapshot: &Snapshot,
    replica: &Replica,
) -> Result<NodeIndex, String> {
    if node == source {
        return Err(format!("node {node} is the source"));
    }
    let index = snapshot.node_index(node);
    match replica.members.iter().find(|member| Some(member.node) == index) {
        None => Err(format!("node {node} is not in replica {} of node {source}", replica.id)),
        Some(member) if !member.standing.is_usable() => Err(format!("node {node} is {}", member.standing)),
        Some(member) => Ok(member.node),
    }
}

type Choice = (Vec<CopyIndex>, Vec<(SegmentId, Staying)>);

fn all_movable(
    snapshot: &Snapshot,
    replica: ReplicaIndex,
    source: NodeIndex,
    busy: &BTreeSet<SegmentId>,
) -> Result<Choice, RequestError> {
    let copies = &snapshot.copies;
    let mut movable = Vec::new();
    let mut staying = Vec::new();
    for copy in copies.indices() {
        let at = copy.at();
        if copies.replica[at] != replica || copies.node[at] != source {
            continue;
        }
        match why_staying(snapshot, copy, busy) {
            None => movable.push(copy),
            Some(why) => staying.push((copies.segment[at], why)),
        }
    }
    if movable.is_empty() {
        return Err(RequestError::NothingMovable { node: snapshot.node(source).id, staying });
    }
    Ok((movable, staying))
}

fn given_segments(
    request: &ManualRequest,
    snapshot: &Snapshot,
    replica: ReplicaIndex,
    source: NodeIndex,
    busy: &BTreeSet<SegmentId>,
) -> Result<Vec<CopyIndex>, RequestError> {
    let given: BTreeSet<SegmentId> = request.segments.iter().copied().collect();
    let mut movable = Vec::new();
    let mut problems = Vec::new();
    for segment in given {
        let Some(copy) = snapshot.copy_index(segment, replica) else {
            problems.push(format!("segment {segment} is not in the replica of node {}", request.src_node));
            continue;
        };
        let holder = snapshot.copies.node[copy.at()];
        match why_staying(snapshot, copy, busy) {
            Some(why) => problems.push(format!("segment {segment}: {why}")),
            None if holder != source => {
                problems.push(format!("segment {segment} is on node {}", snapshot.node(holder).id));
            }
            None => movable.push(copy),
        }
    }
    if problems.is_empty() { Ok(movable) } else { Err(RequestError::Segments { problems }) }
}

fn why_staying(snapshot: &Snapshot, copy: CopyIndex, busy: &BTreeSet<SegmentId>) -> Option<Staying> {
    if busy.contains(&snapshot.copies.segment[copy.at()]) {
        return Some(Staying::InFlight);
    }
    snapshot.copies.held[copy.at()].map(Staying::Held)
}

/// Gives the largest first, each to the destination that has the fewest rows by then.
fn spread(
    snapshot: &Snapshot,
    replica: ReplicaIndex,
    source: NodeIndex,
    destinations: &[(NodeIndex, Bytes)],
    mut copies: Vec<CopyIndex>,
    staying: &mut Vec<(SegmentId, Staying)>,
) -> Vec<AdmittedMove> {
    let columns = &snapshot.copies;
    let mut taken: BTreeMap<NodeIndex, (u64, Bytes)> =
        destinations.iter().map(|(node, room)| (*node, (0, *room))).collect();
    for copy in columns.indices() {
        if let Some((rows, _)) = taken.get_mut(&columns.node[copy.at()]) {
            *rows = rows.saturating_add(columns.rows[copy.at()].0);
        }
    }
    copies.sort_by_key(|copy| (std::cmp::Reverse(columns.rows[copy.at()]), columns.segment[copy.at()]));
    let collection = snapshot.collection_of(replica);
    let mut moves = Vec::with_capacity(copies.len());
    for copy in copies {
        let bytes = columns.bytes[copy.at()];
        let fitting = taken.iter_mut().filter(|(_, (_, room))| *room >= bytes);
        let Some((least, (rows, room))) = fitting.min_by_key(|(node, (rows, _))| (*rows, **node)) else {
            staying.push((columns.segment[copy.at()], Staying::NoRoom));
            continue;
        };
        *rows = rows.saturating_add(columns.rows[copy.at()].0);
        *room = room.saturating_sub(bytes);
        moves.push(AdmittedMove {
            movement: Move {
                segment: columns.segment[copy.at()],
                collection: collection.id,
                replica: snapshot.replica(replica).id,
                from: snapshot.node(source).id,
                to: snapshot.node(*least).id,
                bytes: columns.bytes[copy.at()],
                rows: columns.rows[copy.at()],
            },
            database: collection.database.clone(),
            collection_name: collection.name.clone(),
            from_address: snapshot.node(source).address.clone(),
        });
    }
    moves
}

#[cfg(test)]
#[path = "manual_choice_tests.rs"]
mod tests;
