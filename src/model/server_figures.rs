//! Which figure of a Prometheus server belongs to which node and collection. Its labels come from service discovery, not
//! from Milvus, so that they are matched in several ways, and what fits nothing, or more than one thing, is a doubt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::doubt::{Doubt, DoubtKind, Subject};
use super::signals::{CapacityFigures, ServerFigure, ServerLoads, SignalSource};
use super::snapshot::{Collection, CollectionIndex, Node, NodeIndex};
use crate::observe::prometheus::{ServerReading, ServerReport, ServerSample, ServerSignal};
use crate::units::{Bytes, Millicores, NodeId};

/// What is wrong with how an answer fits the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "flaw")]
pub enum AnswerFlaw {
    /// It names other things.
    NothingFits {
        /// The first value of the label.
        label: String,
    },
    /// A label that several nodes or collections could be meant by.
    Ambiguous {
        /// Its value.
        label: String,
    },
    /// A collection that is not there.
    UnknownCollection {
        /// The value of the label.
        label: String,
    },
    /// Two series for one thing.
    Twice {
        /// The label of the second.
        label: String,
    },
    /// No series for the node that the doubt is about.
    LacksNode,
}

impl fmt::Display for AnswerFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerFlaw::NothingFits { label } => {
                write!(f, "its labels name none of the nodes, {label:?} for example: is node_label right?")
            }
            AnswerFlaw::Ambiguous { label } => write!(f, "{label:?} may be one or another; it is not used"),
            AnswerFlaw::UnknownCollection { label } => {
                write!(f, "{label:?} is no loaded collection; it is not used")
            }
            AnswerFlaw::Twice { label } => {
                write!(f, "there are two series for {label:?}; neither is used: aggregate in the query")
            }
            AnswerFlaw::LacksNode => f.write_str("it has nothing about this node"),
        }
    }
}

/// One answer, by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerFigures {
    /// Of whole nodes; `None` where there is none.
    pub(super) nodes: Vec<Option<u64>>,
    /// Of what a node holds of a collection.
    pub(super) pairs: BTreeMap<(NodeIndex, CollectionIndex), u64>,
    /// Nodes of which there is any figure.
    pub(super) is_known: Vec<bool>,
}

/// All answers, by query, with what they are.
pub(super) fn match_report(
    report: &ServerReport,
    nodes: &[Node],
    collections: &[Collection],
    doubts: &mut Vec<Doubt>,
) -> BTreeMap<String, (ServerSignal, ServerFigures)> {
    if report.readings.is_empty() {
        return BTreeMap::new();
    }
    let names = Names::of(nodes, collections);
    let readings = report.readings.iter();
    readings
        .map(|(query, reading)| {
            let (figures, flaws) = names.place(reading, nodes);
            for (subject, flaw) in flaws {
                doubts.push(Doubt { subject, kind: DoubtKind::QueryAnswer { query: query.clone(), flaw } });
            }
            (query.clone(), (reading.signal, figures))
        })
        .collect()
}

/// What the answers say that nodes have, with the queries that say it.
pub(super) fn measured_capacities(
    figures: &BTreeMap<String, (ServerSignal, ServerFigures)>,
    nodes: &[Node],
) -> BTreeMap<NodeId, (CapacityFigures, SignalSource)> {
    let mut measured: BTreeMap<NodeId, (CapacityFigures, Vec<&str>)> = BTreeMap::new();
    for (query, (signal, figures)) in figures {
        for (node, value) in nodes.iter().zip(&figures.nodes) {
            let Some(value) = *value else { continue };
            let (capacity, queries) = measured.entry(node.id).or_default();
            match signal {
                ServerSignal::CpuCapacity => capacity.cpu = Some(Millicores(value)),
                ServerSignal::MemoryCapacity => capacity.memory = Some(Bytes(value)),
                ServerSignal::DiskCapacity => capacity.disk = Some(Bytes(value)),
                _ => continue,
            }
            queries.push(query);
        }
    }
    let named = measured.into_iter().map(|(node, (capacity, queries))| {
        (node, (capacity, SignalSource::Prometheus { query: queries.join(", ") }))
    });
    named.collect()
}

/// What the answers say that nodes use. Of several queries for one thing the first by name counts.
pub(super) fn measured_loads(
    report: &ServerReport,
    figures: &BTreeMap<String, (ServerSignal, ServerFigures)>,
    nodes: &[Node],
    collections: &[Collection],
) -> ServerLoads {
    let mut loads = ServerLoads::default();
    for (query, (signal, figures)) in figures {
        let window = report.readings.get(query).map(|reading| reading.window).unwrap_or_default();
        let of_nodes =
            || nodes.iter().zip(&figures.nodes).filter_map(|(node, value)| Some((node.id, (*value)?)));
        match signal {
            ServerSignal::CpuUsed => {
                for (node, value) in of_nodes() {
                    let figure = ServerFigure { value: Millicores(value), query: query.clone(), window };
                    loads.cpu.entry(node).or_insert(figure);
                }
            }
            ServerSignal::DiskUsed => {
                for (node, value) in of_nodes() {
                    let figure = ServerFigure { value: Bytes(value), query: query.clone(), window };
                    loads.disk.entry(node).or_insert(figure);
                }
            }
            ServerSignal::SearchLoad => add_searches(&mut loads, query, window, figures, nodes, collections),
            _ => {}
        }
    }
    loads
}

fn add_searches(
    loads: &mut ServerLoads,
    query: &str,
    window: Duration,
    figures: &ServerFigures,
    nodes: &[Node],
    collections: &[Collection],
) {
    for ((node, collection), value) in &figures.pairs {
        let id = nodes[node.at()].id;
        let figure = loads.search.entry(id).or_insert_with(|| ServerFigure {
            value: BTreeMap::new(),
            query: query.to_owned(),
            window,
        });
        if figure.query == query {
            figure.value.insert(collections[collection.at()].id, Millicores(*value));
        }
    }
}

/// By what names nodes and collections are known; `None` for a name of several.
struct Names {
    nodes: BTreeMap<String, Option<NodeIndex>>,
    collections: BTreeMap<String, Option<CollectionIndex>>,
}

fn add<Index: Copy + PartialEq>(names: &mut BTreeMap<String, Option<Index>>, name: &str, index: Index) {
    if name.is_empty() {
        return;
    }
    let known = names.entry(name.to_owned()).or_insert(Some(index));
    if *known != Some(index) {
        *known = None;
    }
}

/// `host:port` without its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

impl Names {
    fn of(nodes: &[Node], collections: &[Collection]) -> Names {
        let mut names = Names { nodes: BTreeMap::new(), collections: BTreeMap::new() };
        for (position, node) in nodes.iter().enumerate() {
            let index = NodeIndex::from_position(position);
            let id = node.id.to_string();
            let hostname = node.hostname.as_deref().unwrap_or_default();
            for name in [&node.address, host(&node.address), hostname, &id] {
                add(&mut names.nodes, name, index);
            }
        }
        for (position, collection) in collections.iter().enumerate() {
            let index = CollectionIndex::from_position(position);
            let (id, full_name) = (collection.id.to_string(), collection.full_name());
            for name in [&collection.name, &full_name, &id] {
                add(&mut names.collections, name, index);
            }
        }
        names
    }

    /// By the whole label, else by the host in it: what is scraped has another port.
    fn node(&self, label: &str) -> Option<Option<NodeIndex>> {
        self.nodes.get(label).or_else(|| self.nodes.get(host(label))).copied()
    }

    fn place(&self, reading: &ServerReading, nodes: &[Node]) -> (ServerFigures, Vec<(Subject, AnswerFlaw)>) {
        let mut placing = Placing {
            figures: ServerFigures {
                nodes: vec![None; nodes.len()],
                pairs: BTreeMap::new(),
                is_known: vec![false; nodes.len()],
            },
            doubled: BTreeSet::new(),
            flaws: BTreeMap::new(),
        };
        for sample in &reading.samples {
            self.place_sample(sample, &mut placing);
        }
        let Placing { mut figures, doubled, flaws } = placing;
        for (node, collection) in doubled {
            match collection {
                None => figures.nodes[node.at()] = None,
                Some(collection) => drop(figures.pairs.remove(&(node, collection))),
            }
        }
        let mut flaws: Vec<(Subject, AnswerFlaw)> =
            flaws.into_values().map(|flaw| (Subject::Cluster, flaw)).collect();
        if !figures.is_known.contains(&true) {
            if flaws.is_empty() {
                let label = reading.samples.first().map(|sample| sample.node.clone()).unwrap_or_default();
                flaws.push((Subject::Cluster, AnswerFlaw::NothingFits { label }));
            }
            return (figures, flaws);
        }
        let lacking = nodes
            .iter()
            .zip(&figures.is_known)
            .filter(|(node, is_known)| !**is_known && node.standing.is_usable());
        flaws.extend(lacking.map(|(node, _)| (Subject::Node(node.id), AnswerFlaw::LacksNode)));
        (figures, flaws)
    }

    fn place_sample(&self, sample: &ServerSample, placing: &mut Placing) {
        let node = match self.node(&sample.node) {
            // Whoever is no query node of ours is nobody's business.
            None => return,
            Some(None) => {
                return placing.flaw("ambiguous", AnswerFlaw::Ambiguous { label: sample.node.clone() });
            }
            Some(Some(node)) => node,
        };
        let Some(label) = &sample.collection else {
            placing.figures.is_known[node.at()] = true;
            if placing.figures.nodes[node.at()].replace(sample.value).is_some() {
                placing.twice(node, None, &sample.node);
            }
            return;
        };
        match self.collections.get(label) {
            None => placing.flaw("unknown", AnswerFlaw::UnknownCollection { label: label.clone() }),
            Some(None) => placing.flaw("ambiguous", AnswerFlaw::Ambiguous { label: label.clone() }),
            Some(Some(collection)) => {
                placing.figures.is_known[node.at()] = true;
                if placing.figures.pairs.insert((node, *collection), sample.value).is_some() {
                    placing.twice(node, Some(*collection), &format!("{} {label}", sample.node));
                }
            }
        }
    }
}

/// Figures on their way to their places.
struct Placing {
    figures: ServerFigures,
    doubled: BTreeSet<(NodeIndex, Option<CollectionIndex>)>,
    /// One of each kind is enough to know where to look.
    flaws: BTreeMap<&'static str, AnswerFlaw>,
}

impl Placing {
    fn flaw(&mut self, kind: &'static str, flaw: AnswerFlaw) {
        self.flaws.entry(kind).or_insert(flaw);
    }

    fn twice(&mut self, node: NodeIndex, collection: Option<CollectionIndex>, label: &str) {
        self.doubled.insert((node, collection));
        self.flaw("twice", AnswerFlaw::Twice { label: label.to_owned() });
    }
}
