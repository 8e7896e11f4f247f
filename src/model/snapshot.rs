//! The cluster as the pure half sees it: columns of numbers with dense indices, ids translated at the border.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::doubt::Doubt;
use super::points::PointLoads;
use super::signals::Signals;
use crate::observe::observation::ServerVersion;
use crate::units::{Bytes, CollectionId, NodeId, ReplicaId, Rows, SegmentId};

/// Declares a dense index into one of the snapshot's tables.
macro_rules! dense_index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// For indexing a slice.
            pub fn at(self) -> usize {
                self.0 as usize
            }

            /// The index of a position. Tables of more than 2^32 rows do not fit the memory this daemon may use.
            #[allow(clippy::cast_possible_truncation)]
            pub fn from_position(position: usize) -> Self {
                debug_assert!(u32::try_from(position).is_ok());
                $name(position as u32)
            }
        }
    };
}

dense_index! {
    /// Position of a node in [`Snapshot::nodes`].
    NodeIndex
}
dense_index! {
    /// Position of a collection in [`Snapshot::collections`].
    CollectionIndex
}
dense_index! {
    /// Position of a replica in [`Snapshot::replicas`].
    ReplicaIndex
}
dense_index! {
    /// Position of a component in [`Snapshot::components`].
    ComponentIndex
}
dense_index! {
    /// Position of a copy in [`Snapshot::copies`].
    CopyIndex
}

/// One state of the cluster, ready to be planned on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// When the observation behind it began.
    pub taken_at: Timestamp,
    /// Which Milvus it is.
    pub server: ServerVersion,
    /// Query nodes, by id.
    pub nodes: Vec<Node>,
    /// Loaded collections, by id.
    pub collections: Vec<Collection>,
    /// Replicas, by id.
    pub replicas: Vec<Replica>,
    /// Sealed segments, one row for each replica that holds them, by (segment, replica). Shared with the snapshot
    /// before for as long as none of them changes.
    pub copies: Arc<SegmentCopies>,
    /// Sets of nodes linked by common replicas; each is planned by itself.
    pub components: Vec<Component>,
    /// What is uncertain, and about what.
    pub doubts: Vec<Doubt>,
    /// Loads that a Prometheus server tells on scales of its own, by query.
    #[serde(default)]
    #[schemars(with = "super::input::Options")]
    pub points: BTreeMap<String, PointLoads>,
    /// What nodes and proxies count: CPU, searches, disk, and what of it is each segment's.
    #[serde(default)]
    #[schemars(with = "super::input::Options")]
    pub signals: Signals,
}

/// A query node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Session id.
    pub id: NodeId,
    /// `host:port`; empty when unknown.
    pub address: String,
    /// Host or pod name where the server tells it (2.4+).
    pub hostname: Option<String>,
    /// Whether it may give and take segments at all; a replica may still restrict it ([`Member::standing`]).
    pub standing: Standing,
    /// Memory it believes to have.
    pub memory_capacity: Option<Bytes>,
    /// Memory in use.
    pub memory_used: Option<Bytes>,
    /// Bytes of growing segments.
    pub growing: Option<Bytes>,
    /// Memory in use that the listed segments do not explain, the lowest of the last while.
    pub unexplained_memory: Option<Bytes>,
    /// Bytes of its sealed segments as the node itself reports them, where it was asked.
    pub reported_sealed: Option<Bytes>,
    /// Its build version; empty when unknown.
    pub version: String,
    /// The component it belongs to; `None` for a node without replicas.
    pub component: Option<ComponentIndex>,
}

/// Whether a node can be a source or a destination, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// A live read-write member.
    ReadWrite,
    /// In the replica but not in its resource group: read-only, stopping or suspended.
    ReadOnly,
    /// In a replica, but `GetMetrics` does not list it: just died, or too slow to answer.
    Absent,
    /// Answers `GetMetrics` with an error.
    Erroring,
    /// A streaming node.
    Streaming,
    /// Nothing says what it is.
    Unknown,
}

impl Standing {
    /// Whether the node may give and take segments.
    pub fn is_usable(self) -> bool {
        self == Standing::ReadWrite
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::ReadWrite => "read-write",
            Standing::ReadOnly => "read-only, stopping or suspended",
            Standing::Absent => "missing from GetMetrics",
            Standing::Erroring => "answering GetMetrics with an error",
            Standing::Streaming => "a streaming node",
            Standing::Unknown => "of unknown state",
        })
    }
}

/// A loaded collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collection {
    /// Its id.
    pub id: CollectionId,
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Load percentage; below 100 nothing of it moves.
    pub load_percentage: u8,
    /// When its replicas and segments were read.
    pub read_at: Timestamp,
    /// Where the bytes of its segments come from.
    pub bytes_source: BytesSource,
}

impl Collection {
    /// `database.name`, or the name alone where there are no databases.
    pub fn full_name(&self) -> String {
        if self.database.is_empty() { self.name.clone() } else { format!("{}.{}", self.database, self.name) }
    }
}

/// Where a segment's bytes come from. Milvus' gRPC tells none (`mem_size` is always 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BytesSource {
    /// The nodes list the bytes of each segment.
    Exact,
    /// Bytes that nodes report per collection, divided by rows.
    Reported,
    /// Estimated from schema and indexes.
    Schema,
    /// Neither could be read: counted as 1 KiB a row.
    Guessed,
}

impl fmt::Display for BytesSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BytesSource::Exact => "listed by the nodes for each segment",
            BytesSource::Reported => "reported by the nodes",
            BytesSource::Schema => "estimated from the schema",
            BytesSource::Guessed => "guessed: neither the nodes nor the schema could be read",
        })
    }
}

/// One copy of a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replica {
    /// Its id.
    pub id: ReplicaId,
    /// What it is a copy of.
    pub collection: CollectionIndex,
    /// Its resource group.
    pub resource_group: String,
    /// Its nodes, by index.
    pub members: Vec<Member>,
    /// The component that its nodes belong to; `None` for a replica without nodes.
    pub component: Option<ComponentIndex>,
}

/// A node as a member of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// The node.
    pub node: NodeIndex,
    /// Its standing in this replica: a node may be read-write in one and read-only in another.
    pub standing: Standing,
}

/// Nodes that are linked by common replicas, and those replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// Its nodes, by index.
    pub nodes: Vec<NodeIndex>,
    /// Its replicas, by index.
    pub replicas: Vec<ReplicaIndex>,
}

/// Why a copy must stay where it is, whatever anybody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// Deletes only: must sit with the delegator.
    Level0,
    /// Listed with 0 rows: a delete-only segment on servers that show no level, or not in the target.
    NoRows,
    /// Two nodes of its replica hold it: it is moving, or a leftover copy awaits cleaning.
    OnTwoNodes,
    /// Its node is no live read-write member of the replica.
    NodeUnfit,
    /// Its collection is not fully loaded, or could not be read whole.
    CollectionUnready,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Held::Level0 => "it is a level-0 segment, which must stay with its delegator",
            Held::NoRows => "it is listed with 0 rows",
            Held::OnTwoNodes => "two nodes of its replica hold it at the moment",
            Held::NodeUnfit => "its node is no live read-write member of the replica",
            Held::CollectionUnready => "its collection is not fully loaded or could not be read whole",
        })
    }
}

/// All sealed segments as columns; row `i` of every column is the same copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SegmentCopies {
    /// The segment.
    #[serde(deserialize_with = "column")]
    pub segment: Vec<SegmentId>,
    /// The replica that this copy belongs to.
    #[serde(deserialize_with = "column")]
    pub replica: Vec<ReplicaIndex>,
    /// The node that holds it.
    #[serde(deserialize_with = "column")]
    pub node: Vec<NodeIndex>,
    /// Its rows.
    #[serde(deserialize_with = "column")]
    pub rows: Vec<Rows>,
    /// Its bytes in memory.
    #[serde(deserialize_with = "column")]
    pub bytes: Vec<Bytes>,
    /// Why it must stay, if it must.
    #[serde(deserialize_with = "column")]
    pub held: Vec<Option<Held>>,
}

/// The most rows that are read from a file: eight times a million segments.
const MOST_COPIES: usize = 1 << 23;

/// Reads a column without believing that it ever ends.
fn column<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Column<T>(std::marker::PhantomData<T>);

    impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Column<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a column of at most {MOST_COPIES} rows")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut rows: A) -> Result<Vec<T>, A::Error> {
            let mut column = Vec::new();
            while let Some(row) = rows.next_element()? {
                if column.len() == MOST_COPIES {
                    return Err(serde::de::Error::invalid_length(MOST_COPIES + 1, &self));
                }
                column.push(row);
            }
            column.shrink_to_fit();
            Ok(column)
        }
    }

    deserializer.deserialize_seq(Column(std::marker::PhantomData))
}

/// One row of [`SegmentCopies`]. A new column is a field here and there, and a line in each of the three functions that
/// the compiler then points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRow {
    /// The segment.
    pub segment: SegmentId,
    /// The replica that this copy belongs to.
    pub replica: ReplicaIndex,
    /// The node that holds it.
    pub node: NodeIndex,
    /// Its rows.
    pub rows: Rows,
    /// Its bytes in memory.
    pub bytes: Bytes,
    /// Why it must stay, if it must.
    pub held: Option<Held>,
}

impl CopyRow {
    /// What the rows are ordered by.
    pub fn key(&self) -> (SegmentId, ReplicaIndex) {
        (self.segment, self.replica)
    }
}

impl SegmentCopies {
    /// None, with room for so many.
    pub fn with_capacity(rows: usize) -> SegmentCopies {
        SegmentCopies {
            segment: Vec::with_capacity(rows),
            replica: Vec::with_capacity(rows),
            node: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows),
            bytes: Vec::with_capacity(rows),
            held: Vec::with_capacity(rows),
        }
    }

    /// Appends a row; it is the caller's to keep them in order.
    pub fn push(&mut self, row: CopyRow) {
        let CopyRow { segment, replica, node, rows, bytes, held } = row;
        self.segment.push(segment);
        self.replica.push(replica);
        self.node.push(node);
        self.rows.push(rows);
        self.bytes.push(bytes);
        self.held.push(held);
    }

    /// One row.
    pub fn row(&self, copy: CopyIndex) -> CopyRow {
        let at = copy.at();
        CopyRow {
            segment: self.segment[at],
            replica: self.replica[at],
            node: self.node[at],
            rows: self.rows[at],
            bytes: self.bytes[at],
            held: self.held[at],
        }
    }

    /// Number of copies.
    pub fn len(&self) -> usize {
        self.segment.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.segment.is_empty()
    }

    /// All rows in order.
    pub fn indices(&self) -> impl Iterator<Item = CopyIndex> + use<> {
        (0..self.segment.len()).map(CopyIndex::from_position)
    }
}

impl Snapshot {
    /// How many nodes could hold sealed segments: streaming nodes are listed, too, and never do.
    pub fn query_nodes(&self) -> usize {
        self.nodes.iter().filter(|node| node.standing != Standing::Streaming).count()
    }

    /// A node by its id.
    pub fn node_index(&self, id: NodeId) -> Option<NodeIndex> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok().map(NodeIndex::from_position)
    }

    /// A collection by its id.
    pub fn collection_index(&self, id: CollectionId) -> Option<CollectionIndex> {
        self.collections
            .binary_search_by_key(&id, |collection| collection.id)
            .ok()
            .map(CollectionIndex::from_position)
    }

    /// A replica by its id.
    pub fn replica_index(&self, id: ReplicaId) -> Option<ReplicaIndex> {
        self.replicas.binary_search_by_key(&id, |replica| replica.id).ok().map(ReplicaIndex::from_position)
    }

    /// The node behind an index.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.at()]
    }

    /// The replica behind an index.
    pub fn replica(&self, index: ReplicaIndex) -> &Replica {
        &self.replicas[index.at()]
    }

    /// The collection that a replica is a copy of.
    pub fn collection_of(&self, replica: ReplicaIndex) -> &Collection {
        &self.collections[self.replica(replica).collection.at()]
    }

    /// Bytes of the listed segments on each node, by node.
    pub fn bytes_by_node(&self) -> Vec<Bytes> {
        let mut bytes = vec![Bytes::ZERO; self.nodes.len()];
        for copy in self.copies.indices() {
            let on_node = &mut bytes[self.copies.node[copy.at()].at()];
            *on_node = on_node.saturating_add(self.copies.bytes[copy.at()]);
        }
        bytes
    }

    /// The copy of a segment in a replica.
    pub fn copy_index(&self, segment: SegmentId, replica: ReplicaIndex) -> Option<CopyIndex> {
        let first = self.copies.segment.partition_point(|other| *other < segment);
        (first..self.copies.len())
            .take_while(|at| self.copies.segment[*at] == segment)
            .find(|at| self.copies.replica[*at] == replica)
            .map(CopyIndex::from_position)
    }
}
