//! Folds one observation into the running state and a [`Snapshot`]: ids become indices, reports become standings,
//! contradictions become doubts, and moves that nobody of us made are noticed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::components::link_components;
use super::copies::{CopiesMemory, Tables, collect_copies};
use super::digest::SnapshotDigest;
use super::doubt::{Doubt, DoubtKind, Subject};
use super::exact_bytes::ExactBytes;
use super::foreign::{MovingFrom, find_foreign_moves};
use super::history::{Departure, History, KnownMove};
use super::listing::{Listing, Listings, read_listings};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::points::read_points;
use super::server_figures::{match_report, measured_capacities, measured_loads};
use super::signals::{SignalInput, SignalState, fold_signals};
use super::snapshot::{
    BytesSource, Collection, CollectionIndex, Member, Node, NodeIndex, Replica, SegmentCopies, Snapshot,
};
use super::standing::{Standings, judge_nodes};
use super::unexplained::{FIGURES_LAG, UnexplainedMemory};
use super::visibility::find_hidden;
use crate::observe::observation::{CollectionReport, NodeReport, Observation};
use crate::units::{Bytes, CollectionId, NodeId};

/// What the model remembers between observations.
#[derive(Clone, Debug, Default)]
pub struct ModelState {
    /// Foreign moves and how long nodes have been over their band.
    pub history: History,
    /// The last snapshot, against which moves are noticed.
    pub previous: Option<Snapshot>,
    /// The last bytes per row that nodes reported for a collection: kept for the turns in which they don't.
    pub reported_row_bytes: BTreeMap<CollectionId, RowBytes>,
    /// Where segments come from that two nodes hold at the moment.
    pub moving_from: MovingFrom,
    /// Memory that segments do not explain, by node.
    pub unexplained: BTreeMap<NodeId, UnexplainedMemory>,
    /// Rates, what searches cost, and the settings of both.
    pub signals: SignalState,
    /// The lists of segments of the last snapshot, by which it is seen that they have not changed.
    pub listings: Listings,
    /// What the rows of the last snapshot follow from, so that those stay which still do.
    pub copies: CopiesMemory,
}

impl ModelState {
    /// The name of the last snapshot, which is that of [`Snapshot::digest`] without going through all its rows.
    pub fn digest(&self) -> Option<SnapshotDigest> {
        self.previous.as_ref().map(|snapshot| self.digest_of(snapshot))
    }

    /// The same for the last snapshot with more doubts than the observation itself leaves.
    pub fn digest_of(&self, snapshot: &Snapshot) -> SnapshotDigest {
        snapshot.digest_with(self.copies.sum())
    }
}

/// Bytes per row as a fraction, so that nothing is lost by rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowBytes {
    /// So many bytes …
    pub bytes: u64,
    /// … for so many rows; never 0.
    pub rows: u64,
}

impl RowBytes {
    /// Bytes of a segment with this many rows.
    pub fn of_rows(self, rows: u64) -> Bytes {
        let bytes = u128::from(rows) * u128::from(self.bytes) / u128::from(self.rows.max(1));
        Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)).min(LARGEST_SEGMENT)
    }
}

/// Assumed for a row when neither nodes nor schema tell: a 256-dimensional vector of 32-bit floats.
const GUESSED_ROW_BYTES: u64 = 1024;

/// The most memory that a node is believed to have: 1 PiB. Larger figures are nonsense, and sums of nonsense
/// overflow.
pub(super) const LARGEST_NODE: Bytes = Bytes(1 << 50);

/// The most bytes that a segment is believed to have: 8 TiB, so that a million of them can be added up.
pub(super) const LARGEST_SEGMENT: Bytes = Bytes(1 << 43);

/// One step of the model: the state after this observation, and the cluster as it shows it.
///
/// `known` are the moves that this program made, also by hand, in the last turns: they are not foreign.
pub fn fold(state: ModelState, observation: &Observation, known: &[KnownMove]) -> (ModelState, Snapshot) {
    let ModelState {
        mut history,
        previous,
        mut reported_row_bytes,
        mut moving_from,
        mut unexplained,
        signals: mut signal_state,
        mut listings,
        copies: mut copies_memory,
    } = state;
    let mut doubts = doubts_of_reading(observation);

    let mut collection_reports: Vec<&CollectionReport> = observation.collections.iter().collect();
    collection_reports.sort_by_key(|report| report.id);
    collection_reports.dedup_by_key(|report| report.id);

    let standings = judge_nodes(observation, &collection_reports, &mut doubts);
    let mut nodes = build_nodes(observation, &standings);
    let node_index = |id: NodeId| {
        nodes.binary_search_by_key(&id, |node: &Node| node.id).ok().map(NodeIndex::from_position)
    };

    let mut replicas = build_replicas(&collection_reports, &standings, node_index);
    let components = link_components(&mut nodes, &mut replicas);

    let exact = ExactBytes::of_observation(observation);
    let listings_now = read_listings(&mut listings, &collection_reports, &exact);
    let row_bytes = bytes_per_row(observation, &collection_reports, &listings_now, &mut reported_row_bytes);
    let collections = build_collections(&collection_reports, &row_bytes, &exact, &mut doubts);
    let tables = Tables {
        collections: &collection_reports,
        listings: &listings_now,
        nodes: &nodes,
        replicas: &replicas,
        row_bytes: &row_bytes,
        exact: &exact,
    };
    let (copies, made_anew) = collect_copies(&mut copies_memory, previous.as_ref(), &tables, &mut doubts);
    let landed = landed_unseen(&history.departures, observation.started_at);
    explain_memory(&mut nodes, &copies, observation.started_at, &landed, &mut unexplained);
    find_hidden(observation, &collections, &mut doubts);
    let figures = match_report(&observation.prometheus, &nodes, &collections, &mut doubts);
    let points = read_points(&figures, &copies, &replicas);
    let departures = &history.departures;
    let signal_input = SignalInput {
        observation,
        nodes: &nodes,
        collections: &collections,
        replicas: &replicas,
        copies: &copies,
        measured: measured_capacities(&figures, &nodes),
        server: measured_loads(&observation.prometheus, &figures, &nodes, &collections),
        departures,
    };
    let signals = fold_signals(&mut signal_state, &signal_input, &mut doubts);
    for (node, signals) in nodes.iter_mut().zip(&signals.nodes) {
        // The configuration may know that there is less than the node believes.
        let resolved = signals.capacity.memory.as_ref().map(|memory| memory.value);
        node.memory_capacity = node.memory_capacity.min(resolved.or(node.memory_capacity));
    }
    doubts.sort();
    doubts.dedup();

    let snapshot = Snapshot {
        taken_at: observation.started_at,
        server: observation.server.clone(),
        nodes,
        collections,
        replicas,
        copies,
        components,
        doubts,
        points,
        signals,
    };
    if let Some(previous) = &previous {
        history.foreign_moves.extend(find_foreign_moves(
            previous,
            &snapshot,
            &made_anew,
            known,
            &mut moving_from,
        ));
    }
    (
        ModelState {
            history,
            previous: Some(snapshot.clone()),
            reported_row_bytes,
            moving_from,
            unexplained,
            signals: signal_state,
            listings,
            copies: copies_memory,
        },
        snapshot,
    )
}

/// What could not be read, as doubts about exactly that.
fn doubts_of_reading(observation: &Observation) -> Vec<Doubt> {
    use crate::observe::observation::GapSubject;
    let mut doubts = Vec::new();
    if observation.server.is_too_old_to_act_on() {
        doubts.push(Doubt { subject: Subject::Cluster, kind: DoubtKind::ServerTooOld });
    }
    if !observation.complaints.is_empty() {
        let kind = DoubtKind::Unhealthy { complaints: observation.complaints.clone() };
        doubts.push(Doubt { subject: Subject::Cluster, kind });
    }
    for gap in &observation.gaps {
        let subject = match &gap.subject {
            GapSubject::Replicas { collection }
            | GapSubject::Segments { collection }
            | GapSubject::Schema { collection } => Subject::Collection(*collection),
            GapSubject::NodeMetrics { address } => observation
                .nodes
                .iter()
                .find(|node| node.address == *address)
                .map_or(Subject::Cluster, |node| Subject::Node(node.id)),
            _ => Subject::Cluster,
        };
        doubts.push(Doubt {
            subject,
            kind: DoubtKind::Unread { gap: gap.subject.clone(), cause: gap.cause.clone() },
        });
    }
    doubts
}

fn build_nodes(observation: &Observation, standings: &Standings) -> Vec<Node> {
    let reports: BTreeMap<NodeId, &NodeReport> = observation
        .nodes
        .iter()
        .rev()
        .filter(|node| node.error.is_none())
        .map(|node| (node.id, node))
        .collect();
    let mut hostnames: BTreeMap<NodeId, &str> = BTreeMap::new();
    for group in observation.resource_groups.iter().flatten() {
        for member in group.nodes.iter().flatten() {
            hostnames.insert(member.id, &member.hostname);
        }
    }
    standings
        .nodes
        .iter()
        .map(|(id, standing)| {
            let report = reports.get(id);
            Node {
                id: *id,
                address: report.map(|report| report.address.clone()).unwrap_or_default(),
                hostname: hostnames.get(id).map(|name| (*name).to_owned()),
                standing: *standing,
                // Milvus reports what it could not measure as 0.
                memory_capacity: believable(report.and_then(|report| report.memory_capacity))
                    .filter(|bytes| bytes.0 > 0),
                memory_used: believable(report.and_then(|report| report.memory_used)),
                growing: believable(report.and_then(|report| report.growing)),
                unexplained_memory: None,
                reported_sealed: report.and_then(|report| {
                    let sealed = report.sealed_bytes.as_ref()?;
                    believable(Some(sealed.values().copied().sum()))
                }),
                version: report.map(|report| report.version.clone()).unwrap_or_default(),
                component: None,
            }
        })
        .collect()
}

/// Works out what of each node's memory its segments do not explain.
fn explain_memory(
    nodes: &mut [Node],
    copies: &SegmentCopies,
    at: Timestamp,
    landed: &BTreeMap<NodeId, Bytes>,
    remembered: &mut BTreeMap<NodeId, UnexplainedMemory>,
) {
    let mut explained = vec![Bytes::ZERO; nodes.len()];
    for copy in copies.indices() {
        let node = copies.node[copy.at()].at();
        explained[node] = explained[node].saturating_add(copies.bytes[copy.at()]);
    }
    for (position, node) in nodes.iter_mut().enumerate() {
        if let Some(used) = node.memory_used {
            // A segment that has just landed is listed here, while the memory may still be that of before.
            let used = used.saturating_add(landed.get(&node.id).copied().unwrap_or(Bytes::ZERO));
            let reading = used.saturating_sub(explained[position]);
            let memory = remembered.entry(node.id).or_insert(UnexplainedMemory::new(reading, at));
            memory.record(reading, at);
        }
        node.unexplained_memory = remembered.get(&node.id).map(UnexplainedMemory::lowest);
    }
    remembered.retain(|id, _| nodes.binary_search_by_key(id, |node| node.id).is_ok());
}

/// Bytes that we moved to each node so lately that its own figures may be older.
fn landed_unseen(departures: &[Departure], at: Timestamp) -> BTreeMap<NodeId, Bytes> {
    let mut landed: BTreeMap<NodeId, Bytes> = BTreeMap::new();
    for departure in departures.iter().filter(|departure| at.duration_since(departure.at) < FIGURES_LAG) {
        let bytes = landed.entry(departure.to).or_default();
        *bytes = bytes.saturating_add(departure.bytes);
    }
    landed
}

fn believable(reported: Option<Bytes>) -> Option<Bytes> {
    reported.map(|bytes| bytes.min(LARGEST_NODE))
}

fn build_replicas(
    collections: &[&CollectionReport],
    standings: &Standings,
    node_index: impl Fn(NodeId) -> Option<NodeIndex>,
) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for (position, collection) in collections.iter().enumerate() {
        for report in collection.replicas.iter().flatten() {
            let mut members: Vec<Member> = report
                .nodes
                .iter()
                .filter_map(|id| {
                    Some(Member { node: node_index(*id)?, standing: standings.in_replica(*id, report) })
                })
                .collect();
            members.sort_by_key(|member| member.node);
            members.dedup_by_key(|member| member.node);
            replicas.push(Replica {
                id: report.id,
                collection: CollectionIndex::from_position(position),
                resource_group: report.resource_group.clone(),
                members,
                component: None,
            });
        }
    }
    replicas.sort_by_key(|replica| (replica.id, replica.collection));
    replicas
}

/// Bytes per row and where they come from, by position in the list of collections.
fn bytes_per_row(
    observation: &Observation,
    collections: &[&CollectionReport],
    listings: &[Arc<Listing>],
    remembered: &mut BTreeMap<CollectionId, RowBytes>,
) -> Vec<(RowBytes, BytesSource)> {
    let mut reported: BTreeMap<CollectionId, BTreeMap<NodeId, u64>> = BTreeMap::new();
    for node in observation.nodes.iter().filter(|node| node.error.is_none()) {
        for (collection, bytes) in node.sealed_bytes.iter().flatten() {
            reported.entry(*collection).or_default().insert(node.id, bytes.0);
        }
    }
    let mut answer = Vec::with_capacity(collections.len());
    for (collection, listing) in collections.iter().zip(listings) {
        let bytes_by_node = reported.get(&collection.id);
        if let Some(fresh) = bytes_by_node.and_then(|bytes| divide_by_listed_rows(listing, bytes)) {
            remembered.insert(collection.id, fresh);
        }
        let schema = collection.estimated_row_bytes.filter(|bytes| *bytes > 0);
        answer.push(match (remembered.get(&collection.id), schema) {
            (Some(row_bytes), _) => (*row_bytes, BytesSource::Reported),
            (None, Some(bytes)) => (RowBytes { bytes, rows: 1 }, BytesSource::Schema),
            (None, None) => (RowBytes { bytes: GUESSED_ROW_BYTES, rows: 1 }, BytesSource::Guessed),
        });
    }
    remembered.retain(|id, _| collections.binary_search_by_key(id, |report| report.id).is_ok());
    answer
}

/// Bytes that nodes report, divided by the rows listed on those same nodes. Over all nodes together and not node
/// by node, because a move shows in the list and in the bytes at different moments.
fn divide_by_listed_rows(listing: &Listing, bytes_by_node: &BTreeMap<NodeId, u64>) -> Option<RowBytes> {
    let mut total = RowBytes { bytes: 0, rows: 0 };
    for (node, bytes) in bytes_by_node {
        let rows = listing.rows_by_node.get(node).copied().unwrap_or(0);
        if rows > 0 && *bytes > 0 {
            total.bytes = total.bytes.saturating_add(*bytes);
            total.rows = total.rows.saturating_add(rows);
        }
    }
    (total.rows > 0).then_some(total)
}

fn build_collections(
    reports: &[&CollectionReport],
    row_bytes: &[(RowBytes, BytesSource)],
    exact: &ExactBytes,
    doubts: &mut Vec<Doubt>,
) -> Vec<Collection> {
    let mut collections = Vec::with_capacity(reports.len());
    for (report, (_, bytes_source)) in reports.iter().zip(row_bytes) {
        if report.load_percentage < 100 {
            doubts.push(Doubt {
                subject: Subject::Collection(report.id),
                kind: DoubtKind::NotFullyLoaded { percentage: report.load_percentage },
            });
        }
        collections.push(Collection {
            id: report.id,
            database: report.database.clone(),
            name: report.name.clone(),
            load_percentage: report.load_percentage,
            read_at: report.read_at,
            bytes_source: if exact.cover(report) { BytesSource::Exact } else { *bytes_source },
        });
    }
    collections
}
