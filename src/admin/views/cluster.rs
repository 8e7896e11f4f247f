//! Nodes, collections and segments as the API shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReasonView;
use crate::model::{CollectionIndex, CopyIndex, Node, Snapshot};
use crate::plan::{Finding, FindingState};
use crate::policy::{Capacity, Dimension, LoadUnit, Scope};
use crate::turn::Decision;
use crate::units::Ratio;

/// A query node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its session id; another one after a restart.
    pub id: String,
    /// `host:port`; empty when unknown.
    pub address: String,
    /// Host or pod name, where the server tells it.
    pub hostname: Option<String>,
    /// What it may do, in words.
    pub standing: String,
    /// Whether it may give and take segments at all.
    pub usable: bool,
    /// Whether it is ordered to be emptied.
    pub drained: bool,
    /// Its build version; empty when unknown.
    pub version: String,
    /// Bytes of memory that it has.
    pub memory_capacity: Option<u64>,
    /// Bytes of memory in use.
    pub memory_used: Option<u64>,
    /// Copies of sealed segments on it.
    pub segments: u64,
    /// Its load in each dimension.
    pub pressures: Vec<PressureView>,
}

/// A node's load in a dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PressureView {
    /// The dimension.
    pub dimension: String,
    /// Load in the dimension's unit, moves on their way carried out.
    pub load: u64,
    /// The same as people write it.
    pub load_text: String,
    /// Its fair share.
    pub fair: u64,
    /// Load / fair share.
    pub pressure: f64,
    /// Load / capacity, where there is a physical capacity.
    pub utilisation: Option<f64>,
    /// How much of the load moves cannot change, as a share of the load.
    pub immovable: f64,
    /// For how many turns in a row it has been over its band.
    pub turns_over: u32,
    /// `even`, `tolerated` or `overloaded`.
    pub state: String,
    /// Why it is tolerated.
    pub reason: Option<ReasonView>,
}

impl PressureView {
    fn of(finding: &Finding, unit: LoadUnit) -> PressureView {
        let (state, reason) = match &finding.state {
            FindingState::Even => ("even", None),
            FindingState::Tolerated(reason) => ("tolerated", Some(ReasonView::from(reason))),
            FindingState::Overloaded => ("overloaded", None),
        };
        PressureView {
            dimension: finding.dimension.clone(),
            load: finding.load.0,
            load_text: unit.display(finding.load),
            fair: finding.fair.0,
            pressure: finding.pressure.decimal(),
            utilisation: finding.utilisation.map(Ratio::decimal),
            immovable: Ratio::of(finding.immovable.0, finding.load.0).decimal().min(1.0),
            turns_over: finding.turns_over,
            state: state.to_owned(),
            reason,
        }
    }
}

impl NodeView {
    /// All nodes by id. Goes over all copies once.
    pub fn all(decision: &Decision) -> Vec<NodeView> {
        let snapshot = &decision.snapshot;
        let mut segments = vec![0_u64; snapshot.nodes.len()];
        for node in &snapshot.copies.node {
            segments[node.at()] += 1;
        }
        let mut nodes: Vec<NodeView> = snapshot
            .nodes
            .iter()
            .zip(segments)
            .map(|(node, segments)| NodeView::of(node, segments, decision))
            .collect();
        for finding in &decision.findings {
            let dimensions = &decision.assessment.dimensions;
            let dimension = dimensions.iter().find(|dimension| dimension.name == finding.dimension);
            let unit = dimension.map_or(LoadUnit::Points, |dimension| dimension.unit);
            if let Some(node) = snapshot.node_index(finding.node) {
                nodes[node.at()].pressures.push(PressureView::of(finding, unit));
            }
        }
        nodes
    }

    fn of(node: &Node, segments: u64, decision: &Decision) -> NodeView {
        NodeView {
            id: node.id.to_string(),
            address: node.address.clone(),
            hostname: node.hostname.clone(),
            standing: node.standing.to_string(),
            usable: node.standing.is_usable(),
            drained: decision.restrictions.evacuated.contains(&node.id),
            version: node.version.clone(),
            memory_capacity: node.memory_capacity.map(|bytes| bytes.0),
            memory_used: node.memory_used.map(|bytes| bytes.0),
            segments,
            pressures: Vec::new(),
        }
    }

    /// Whether it is in this state in any dimension.
    pub fn is_in_state(&self, state: &str) -> bool {
        self.pressures.iter().any(|pressure| pressure.state == state)
    }
}

/// A loaded collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CollectionView {
    /// Its id.
    pub id: String,
    /// Its database; empty before Milvus 2.3.
    pub database: String,
    /// Its name.
    pub name: String,
    /// How much of it is loaded, in per cent.
    pub load_percentage: u8,
    /// Where the bytes of its segments come from, in words.
    pub bytes_source: String,
    /// Its replicas.
    pub replicas: u64,
}

impl CollectionView {
    /// All collections by id.
    pub fn all(snapshot: &Snapshot) -> Vec<CollectionView> {
        let mut replicas = vec![0_u64; snapshot.collections.len()];
        for replica in &snapshot.replicas {
            replicas[replica.collection.at()] += 1;
        }
        let view = |(collection, replicas): (&crate::model::Collection, u64)| CollectionView {
            id: collection.id.to_string(),
            database: collection.database.clone(),
            name: collection.name.clone(),
            load_percentage: collection.load_percentage,
            bytes_source: collection.bytes_source.to_string(),
            replicas,
        };
        snapshot.collections.iter().zip(replicas).map(view).collect()
    }
}

/// A copy of a sealed segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SegmentView {
    /// The segment.
    pub id: String,
    /// The replica that this copy belongs to.
    pub replica: String,
    /// Its collection.
    pub collection: String,
    /// The node that holds it.
    pub node: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Why it must stay whatever anybody wants.
    pub held: Option<String>,
}

impl SegmentView {
    /// Of a row of the snapshot.
    pub fn of(snapshot: &Snapshot, copy: CopyIndex) -> SegmentView {
        let copies = &snapshot.copies;
        let replica = copies.replica[copy.at()];
        SegmentView {
            id: copies.segment[copy.at()].to_string(),
            replica: snapshot.replica(replica).id.to_string(),
            collection: snapshot.collection_of(replica).id.to_string(),
            node: snapshot.node(copies.node[copy.at()]).id.to_string(),
            rows: copies.rows[copy.at()].0,
            bytes: copies.bytes[copy.at()].0,
            held: copies.held[copy.at()].map(|held| held.to_string()),
        }
    }
}

/// A kind of load that is kept even, with the settings in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DimensionView {
    /// Its name.
    pub name: String,
    /// What its loads count: `bytes`, `rows`, `millicores`, `segments` or `points`.
    pub unit: String,
    /// The collection over whose nodes it is even; `None` for all load of a node.
    pub collection: Option<String>,
    /// Whether there is a physical capacity, and so a utilisation.
    pub has_capacity: bool,
    /// Pressure above which a node is overloaded.
    pub enter: f64,
    /// Pressure down to which it is relieved.
    pub leave: f64,
    /// Turns in a row that it takes.
    pub turns: u32,
    /// Utilisation under which unevenness is nobody's problem.
    pub matters_above: f64,
    /// Weight beside other dimensions.
    pub weight: f64,
    /// How far its loads can be trusted, from 0 to 1.
    pub confidence: f64,
}

impl DimensionView {
    /// Of what a policy said.
    pub fn of(dimension: &Dimension, snapshot: &Snapshot) -> DimensionView {
        let collection = |index: CollectionIndex| snapshot.collections[index.at()].id.to_string();
        let settings = &dimension.settings;
        DimensionView {
            name: dimension.name.clone(),
            unit: match dimension.unit {
                LoadUnit::Bytes => "bytes",
                LoadUnit::Rows => "rows",
                LoadUnit::Millicores => "millicores",
                LoadUnit::Segments => "segments",
                LoadUnit::Points => "points",
            }
            .to_owned(),
            collection: match dimension.scope {
                Scope::Node => None,
                Scope::NodeInGroup(index) => Some(collection(index)),
            },
            has_capacity: matches!(dimension.capacity, Capacity::Physical(_)),
            enter: settings.enter.decimal(),
            leave: settings.leave.decimal(),
            turns: settings.turns,
            matters_above: settings.matters_above.decimal(),
            weight: settings.weight.decimal(),
            confidence: dimension.confidence.decimal(),
        }
    }
}
