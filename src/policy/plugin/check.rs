//! Does an answer fit the cluster it was asked about? Every id must be known, every name described once, every number
//! believable; then loads by ids become columns by index.

use std::collections::{BTreeMap, BTreeSet};

use super::PluginSettings;
use crate::model::{CollectionIndex, NodeIndex, Snapshot, spread};
use crate::observe::opinion::{Opinion, OpinionDimension, SuggestedSettings};
use crate::policy::{Assessment, Capacity, Dimension, DimensionSettings, Directive, Scope, memory_weights};
use crate::units::{CollectionId, Load, NodeId, Ratio, SegmentId};

/// The most load that a node is believed to have: 2^50, a petabyte in bytes. Sums over a thousand such nodes still fit
/// 64 bits.
pub const LARGEST_LOAD: Load = Load(1 << 50);

/// Each dimension costs the planner as much as a built-in one; nobody has this many ideas of load.
const MOST_DIMENSIONS: usize = 8;

/// A weight above this is a way to switch the other policies off.
const LARGEST_WEIGHT: Ratio = Ratio(100_000_000);

/// Names are labels of metrics and stand in tables.
const LONGEST_NAME: usize = 40;

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// More dimensions than anybody needs.
    #[error("it has {found} dimensions; at most {MOST_DIMENSIONS} are heard")]
    TooManyDimensions {
        /// How many.
        found: usize,
    },
    /// Two dimensions of one name.
    #[error("dimension {name:?} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name that is none.
    #[error(
        "{name:?} is no name of a dimension: up to {LONGEST_NAME} lower-case letters, digits and underscores"
    )]
    BadName {
        /// The name, shortened.
        name: String,
    },
    /// A node that is not there.
    #[error("{place} names node {node}, which it was not shown")]
    UnknownNode {
        /// Where.
        place: String,
        /// The node.
        node: NodeId,
    },
    /// A collection that is not there.
    #[error("{place} names collection {collection}, which it was not shown")]
    UnknownCollection {
        /// Where.
        place: String,
        /// The collection.
        collection: CollectionId,
    },
    /// A segment that is not there.
    #[error("{place} names segment {segment}, which is not loaded")]
    UnknownSegment {
        /// Where.
        place: String,
        /// The segment.
        segment: SegmentId,
    },
    /// Load of something that is elsewhere.
    #[error("{place} gives node {node} load of {what}, of which it holds nothing")]
    NotThere {
        /// Where.
        place: String,
        /// The node.
        node: NodeId,
        /// What it does not hold.
        what: String,
    },
    /// The same entry twice: which one is meant?
    #[error("{place} has two entries for {what}")]
    DoubleEntry {
        /// Where.
        place: String,
        /// The entry.
        what: String,
    },
    /// More load than there can be.
    #[error("{place} gives node {node} a load of more than {}", LARGEST_LOAD.0)]
    TooMuch {
        /// Where.
        place: String,
        /// The node.
        node: NodeId,
    },
    /// Capacities are for all usable nodes or for none.
    #[error("{place} gives node {node} no capacity, and others one")]
    NoCapacity {
        /// Where.
        place: String,
        /// The node.
        node: NodeId,
    },
    /// There is a utilisation only where there are capacities.
    #[error("{place} is described with a physical capacity and has none")]
    NoPhysicalCapacity {
        /// Where.
        place: String,
    },
    /// Its settings, or those that the operator's settings leave of them, contradict each other.
    #[error("{place}: {setting} cannot be {value} here: {rule}")]
    BadSetting {
        /// Where.
        place: String,
        /// Which.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        rule: &'static str,
    },
    /// Trust is a share.
    #[error("{place} has a confidence of {confidence}, which is more than 1")]
    Overconfident {
        /// Where.
        place: String,
        /// The confidence.
        confidence: Ratio,
    },
}

/// Whether a text may be the name of a plug-in or of one of its dimensions.
pub fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(plain)
}

/// Judges an answer and translates it.
pub(super) fn check(
    plugin: &str,
    settings: &PluginSettings,
    opinion: &Opinion,
    snapshot: &Snapshot,
) -> Result<Assessment, Objection> {
    let found = opinion.dimensions.len();
    if found > MOST_DIMENSIONS {
        return Err(Objection::TooManyDimensions { found });
    }
    let mut names = BTreeSet::new();
    let mut assessment = Assessment::default();
    for dimension in &opinion.dimensions {
        if !is_plain_name(&dimension.name) {
            let name = dimension.name.chars().take(LONGEST_NAME).collect();
            return Err(Objection::BadName { name });
        }
        if !names.insert(&dimension.name) {
            return Err(Objection::Twice { name: dimension.name.clone() });
        }
        let place = format!("dimension {}", dimension.name);
        let translator = Translator { place, snapshot };
        assessment.dimensions.push(translator.dimension(plugin, settings, dimension)?);
    }
    for directive in &opinion.directives {
        check_directive(directive, snapshot)?;
    }
    if settings.directives {
        assessment.directives.clone_from(&opinion.directives);
    }
    Ok(assessment)
}

fn check_directive(directive: &Directive, snapshot: &Snapshot) -> Result<(), Objection> {
    let none = [];
    let (kind, node, segments): (&str, Option<NodeId>, &[SegmentId]) = match directive {
        Directive::NeverDestination { node } => ("never_destination", Some(*node), &none),
        Directive::NeverSource { node } => ("never_source", Some(*node), &none),
        Directive::Exclude { node } => ("exclude", Some(*node), &none),
        Directive::Evacuate { node } => ("evacuate", Some(*node), &none),
        Directive::Pin { segment } => ("pin", None, std::slice::from_ref(segment)),
        Directive::Nominate { source, segments, priority: _ } => ("nominate", Some(*source), segments),
        Directive::KeepApart { label: _, segments } => ("keep_apart", None, segments),
        Directive::PinCollection { collection } => {
            let place = "a directive pin_collection".to_owned();
            let known = snapshot.collection_index(*collection).map(|_| ());
            return known.ok_or(Objection::UnknownCollection { place, collection: *collection });
        }
        // No plug-in is shown replicas, so that none can name one.
        Directive::PinReplica { .. } => return Ok(()),
    };
    let place = || format!("a directive {kind}");
    if let Some(node) = node
        && snapshot.node_index(node).is_none()
    {
        return Err(Objection::UnknownNode { place: place(), node });
    }
    let is_loaded = |segment: &SegmentId| snapshot.copies.segment.binary_search(segment).is_ok();
    match segments.iter().find(|segment| !is_loaded(segment)) {
        Some(segment) => Err(Objection::UnknownSegment { place: place(), segment: *segment }),
        None => Ok(()),
    }
}

/// Turns one dimension's ids into indices.
struct Translator<'a> {
    place: String,
    snapshot: &'a Snapshot,
}

impl Translator<'_> {
    fn dimension(
        &self,
        plugin: &str,
        settings: &PluginSettings,
        dimension: &OpinionDimension,
    ) -> Result<Dimension, Objection> {
        let scope = match dimension.only_collection {
            None => Scope::Node,
            Some(collection) => Scope::NodeInGroup(self.collection(collection)?),
        };
        if dimension.confidence > Ratio::ONE {
            let confidence = dimension.confidence;
            return Err(Objection::Overconfident { place: self.place.clone(), confidence });
        }
        let mut copy_load = self.spread(&dimension.collection_loads)?;
        self.add_segments(&dimension.segment_loads, &mut copy_load)?;
        let base_load: Vec<Load> =
            self.by_node(&dimension.base_loads)?.into_iter().map(Option::unwrap_or_default).collect();
        self.check_totals(&copy_load, &base_load)?;
        Ok(Dimension {
            name: format!("{plugin}.{}", dimension.name),
            unit: dimension.unit,
            scope,
            copy_load,
            base_load,
            base_parts: Vec::new(),
            measured_load: Vec::new(),
            capacity: self.capacity(dimension)?,
            settings: self.settings(&settings.overrides(), &dimension.suggested)?,
            confidence: dimension.confidence,
        })
    }

    fn node(&self, node: NodeId) -> Result<NodeIndex, Objection> {
        let unknown = || Objection::UnknownNode { place: self.place.clone(), node };
        self.snapshot.node_index(node).ok_or_else(unknown)
    }

    fn collection(&self, collection: CollectionId) -> Result<CollectionIndex, Objection> {
        let unknown = || Objection::UnknownCollection { place: self.place.clone(), collection };
        self.snapshot.collection_index(collection).ok_or_else(unknown)
    }

    /// Loads of (node, collection), over the copies that are there by their rows, so that not a unit is lost.
    fn spread(&self, loads: &[(NodeId, CollectionId, Load)]) -> Result<Vec<Load>, Objection> {
        let mut wholes: BTreeMap<(NodeIndex, CollectionIndex), Load> = BTreeMap::new();
        for (node, collection, load) in loads {
            let key = (self.node(*node)?, self.collection(*collection)?);
            if wholes.insert(key, *load).is_some() {
                let what = format!("node {node} and collection {collection}");
                return Err(Objection::DoubleEntry { place: self.place.clone(), what });
            }
        }
        let copies = &self.snapshot.copies;
        let key_of = |at: usize| (copies.node[at], self.snapshot.replica(copies.replica[at]).collection);
        let (copy_load, homeless) = spread::by_rows(copies, wholes, key_of);
        if let Some(((node, collection), _)) = homeless.first() {
            let what = format!("collection {}", self.snapshot.collections[collection.at()].id);
            let node = self.snapshot.node(*node).id;
            return Err(Objection::NotThere { place: self.place.clone(), node, what });
        }
        Ok(copy_load)
    }

    fn add_segments(
        &self,
        loads: &[(NodeId, SegmentId, Load)],
        copy_load: &mut [Load],
    ) -> Result<(), Objection> {
        let copies = &self.snapshot.copies;
        let mut seen = BTreeSet::new();
        for (node, segment, load) in loads {
            let index = self.node(*node)?;
            if !seen.insert((*node, *segment)) {
                let what = format!("node {node} and segment {segment}");
                return Err(Objection::DoubleEntry { place: self.place.clone(), what });
            }
            let first = copies.segment.partition_point(|other| other < segment);
            let here = (first..copies.len()).take_while(|at| copies.segment[*at] == *segment);
            let Some(at) = here.into_iter().find(|at| copies.node[*at] == index) else {
                let what = format!("segment {segment}");
                return Err(Objection::NotThere { place: self.place.clone(), node: *node, what });
            };
            copy_load[at] = copy_load[at].saturating_add(*load);
        }
        Ok(())
    }

    /// Loads of nodes by index; `None` where nothing is given.
    fn by_node(&self, loads: &[(NodeId, Load)]) -> Result<Vec<Option<Load>>, Objection> {
        let mut by_node = vec![None; self.snapshot.nodes.len()];
        for (node, load) in loads {
            let index = self.node(*node)?;
            if *load > LARGEST_LOAD {
                return Err(Objection::TooMuch { place: self.place.clone(), node: *node });
            }
            if by_node[index.at()].replace(*load).is_some() {
                let what = format!("node {node}");
                return Err(Objection::DoubleEntry { place: self.place.clone(), what });
            }
        }
        Ok(by_node)
    }

    fn capacity(&self, dimension: &OpinionDimension) -> Result<Capacity, Objection> {
        let place = || self.place.clone();
        if dimension.capacities.is_empty() {
            return if dimension.has_physical_capacity {
                Err(Objection::NoPhysicalCapacity { place: place() })
            } else {
                Ok(Capacity::Weights(memory_weights(self.snapshot)))
            };
        }
        let amounts = self.by_node(&dimension.capacities)?;
        for (node, amount) in self.snapshot.nodes.iter().zip(&amounts) {
            // A usable node that can carry nothing is what directives are for.
            if node.standing.is_usable() && amount.is_none_or(|amount| amount == Load::ZERO) {
                return Err(Objection::NoCapacity { place: place(), node: node.id });
            }
        }
        let amounts = amounts.into_iter().map(Option::unwrap_or_default).collect();
        Ok(if dimension.has_physical_capacity {
            Capacity::Physical(amounts)
        } else {
            Capacity::Weights(amounts)
        })
    }

    fn check_totals(&self, copy_load: &[Load], base_load: &[Load]) -> Result<(), Objection> {
        let mut totals = base_load.to_vec();
        for (node, load) in self.snapshot.copies.node.iter().zip(copy_load) {
            totals[node.at()] = totals[node.at()].saturating_add(*load);
        }
        match totals.iter().position(|total| *total > LARGEST_LOAD) {
            None => Ok(()),
            Some(at) => {
                Err(Objection::TooMuch { place: self.place.clone(), node: self.snapshot.nodes[at].id })
            }
        }
    }

    /// The operator's settings before the plug-in's before the usual ones.
    fn settings(
        &self,
        operator: &SuggestedSettings,
        plugin: &SuggestedSettings,
    ) -> Result<DimensionSettings, Objection> {
        let usual = DimensionSettings::default();
        let settings = DimensionSettings {
            enter: operator.enter.or(plugin.enter).unwrap_or(usual.enter),
            leave: operator.leave.or(plugin.leave).unwrap_or(usual.leave),
            turns: operator.turns.or(plugin.turns).unwrap_or(usual.turns),
            matters_above: operator.matters_above.or(plugin.matters_above).unwrap_or(usual.matters_above),
            weight: operator.weight.or(plugin.weight).unwrap_or(usual.weight),
            limit: operator.limit.or(plugin.limit),
            ..usual
        };
        let DimensionSettings { enter, leave, turns, matters_above, weight, limit, .. } = &settings;
        let limit_fits = limit.is_none_or(|limit| limit > Ratio::ZERO && limit <= Ratio::ONE);
        let rules = [
            (*enter > Ratio::ONE, "enter", enter.to_string(), "it must be above 1"),
            (
                *leave >= Ratio::ONE && leave < enter,
                "leave",
                leave.to_string(),
                "it must be at least 1 and below enter",
            ),
            (*turns > 0, "turns", turns.to_string(), "it must be at least 1"),
            (*matters_above <= Ratio::ONE, "matters_above", matters_above.to_string(), "it is a share"),
            (
                *weight > Ratio::ZERO && *weight <= LARGEST_WEIGHT,
                "weight",
                weight.to_string(),
                "it must be above 0 and at most 100",
            ),
            (limit_fits, "limit", limit.unwrap_or_default().to_string(), "it is a share above 0"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(settings),
            Some((_, setting, value, rule)) => {
                Err(Objection::BadSetting { place: self.place.clone(), setting, value, rule })
            }
        }
    }
}
