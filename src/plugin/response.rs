//! From what a plug-in sent to what is recorded: columns must have one length, enumerations known values, ratios must be
//! numbers.

use std::collections::BTreeMap;
use std::fmt;

use super::wire;
use super::wire::directive::Kind;
use crate::observe::opinion::{Opinion, OpinionDimension, SuggestedSettings};
use crate::policy::{Directive, LoadUnit};
use crate::units::{CollectionId, Load, NodeId, Ratio, SegmentId};

/// Longer texts than this help nobody and fill the log.
const LONGEST_TEXT: usize = 100;

/// What is wrong with the form of an answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum ResponseError {
    #[error("dimension {name:?} is described twice")]
    DescribedTwice { name: String },
    #[error("dimension {name:?} has a unit of number {unit}, which this daemon does not know")]
    UnknownUnit { name: String, unit: i32 },
    #[error("dimension {name:?} is not described")]
    NotDescribed { name: String },
    #[error("the columns of {columns} of dimension {name:?} have different lengths: {lengths:?}")]
    Lengths { name: String, columns: &'static str, lengths: Vec<usize> },
    #[error("{setting} of dimension {name:?} is {value}, which is no ratio")]
    NoRatio { name: String, setting: &'static str, value: f64 },
    #[error("directive {position} is of a kind that this daemon does not know")]
    UnknownDirective { position: usize },
}

/// What a plug-in says it is. Compared from turn to turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) version: String,
    dimensions: BTreeMap<String, (LoadUnit, bool)>,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let described = self.dimensions.iter().map(|(name, (unit, physical))| {
            format!("{name} in {unit:?}{}", if *physical { " of a capacity" } else { "" })
        });
        let dimensions: Vec<String> = described.collect();
        let dimensions =
            if dimensions.is_empty() { "no dimension".to_owned() } else { dimensions.join(", ") };
        write!(f, "{:?} with {}", self.version, shortened(&dimensions))
    }
}

/// A text from outside, short and without control characters.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_TEXT).collect()
}

pub(super) fn description(answer: wire::DescribeResponse) -> Result<Description, ResponseError> {
    let mut dimensions = BTreeMap::new();
    for dimension in answer.dimensions {
        let name = shortened(&dimension.name);
        let Ok(unit) = wire::LoadUnit::try_from(dimension.unit) else {
            return Err(ResponseError::UnknownUnit { name, unit: dimension.unit });
        };
        if dimensions.insert(name.clone(), (load_unit(unit), dimension.has_physical_capacity)).is_some() {
            return Err(ResponseError::DescribedTwice { name });
        }
    }
    Ok(Description { version: shortened(&answer.version), dimensions })
}

fn load_unit(unit: wire::LoadUnit) -> LoadUnit {
    match unit {
        wire::LoadUnit::Points => LoadUnit::Points,
        wire::LoadUnit::Bytes => LoadUnit::Bytes,
        wire::LoadUnit::Rows => LoadUnit::Rows,
        wire::LoadUnit::Millicores => LoadUnit::Millicores,
        wire::LoadUnit::Segments => LoadUnit::Segments,
    }
}

pub(super) fn opinion(
    description: &Description,
    answer: wire::AssessResponse,
) -> Result<Opinion, ResponseError> {
    let dimensions: Result<Vec<OpinionDimension>, ResponseError> =
        answer.dimensions.into_iter().map(|given| dimension(description, given)).collect();
    let directives = answer.directives.into_iter().enumerate().map(|(position, directive)| {
        let kind = directive.kind.ok_or(ResponseError::UnknownDirective { position })?;
        Ok(translate_directive(kind))
    });
    let directives: Result<Vec<Directive>, ResponseError> = directives.collect();
    Ok(Opinion { version: description.version.clone(), dimensions: dimensions?, directives: directives? })
}

fn dimension(description: &Description, given: wire::Dimension) -> Result<OpinionDimension, ResponseError> {
    let name = shortened(&given.name);
    let Some((unit, has_physical_capacity)) = description.dimensions.get(&name) else {
        return Err(ResponseError::NotDescribed { name });
    };
    let collection_loads = given.collection_loads.unwrap_or_default();
    let segment_loads = given.segment_loads.unwrap_or_default();
    let same = |columns, lengths: &[usize]| {
        let lengths = lengths.to_vec();
        let equal = lengths.iter().all(|length| *length == lengths[0]);
        equal.then_some(()).ok_or(ResponseError::Lengths { name: name.clone(), columns, lengths })
    };
    let wire::NodeCollectionLoads { node_ids, collection_ids, loads } = &collection_loads;
    same("collection_loads", &[node_ids.len(), collection_ids.len(), loads.len()])?;
    let wire::SegmentLoads { node_ids, segment_ids, loads } = &segment_loads;
    same("segment_loads", &[node_ids.len(), segment_ids.len(), loads.len()])?;
    let (base_loads, capacities) =
        (given.base_loads.unwrap_or_default(), given.capacities.unwrap_or_default());
    for (columns, wire::NodeLoads { node_ids, loads }) in
        [("base_loads", &base_loads), ("capacities", &capacities)]
    {
        same(columns, &[node_ids.len(), loads.len()])?;
    }
    let confidence = match given.confidence {
        None => Ratio::ONE,
        Some(value) => ratio(&name, "confidence", value)?,
    };
    Ok(OpinionDimension {
        unit: *unit,
        has_physical_capacity: *has_physical_capacity,
        only_collection: given.only_collection_id.map(CollectionId),
        collection_loads: triples(
            collection_loads.node_ids,
            collection_loads.collection_ids.into_iter().map(CollectionId),
            collection_loads.loads,
        ),
        segment_loads: triples(
            segment_loads.node_ids,
            segment_loads.segment_ids.into_iter().map(SegmentId),
            segment_loads.loads,
        ),
        base_loads: pairs(base_loads),
        capacities: pairs(capacities),
        confidence,
        suggested: suggested(&name, given.settings.unwrap_or_default())?,
        name,
    })
}

fn triples<Id>(nodes: Vec<i64>, ids: impl Iterator<Item = Id>, loads: Vec<u64>) -> Vec<(NodeId, Id, Load)> {
    let rows = nodes.into_iter().zip(ids).zip(loads);
    rows.map(|((node, id), load)| (NodeId(node), id, Load(load))).collect()
}

fn pairs(given: wire::NodeLoads) -> Vec<(NodeId, Load)> {
    let rows = given.node_ids.into_iter().zip(given.loads);
    rows.map(|(node, load)| (NodeId(node), Load(load))).collect()
}

fn suggested(name: &str, given: wire::DimensionSettings) -> Result<SuggestedSettings, ResponseError> {
    let ratio = |setting, value: Option<f64>| value.map(|value| ratio(name, setting, value)).transpose();
    Ok(SuggestedSettings {
        enter: ratio("enter", given.enter)?,
        leave: ratio("leave", given.leave)?,
        turns: given.turns,
        matters_above: ratio("matters_above", given.matters_above)?,
        weight: ratio("weight", given.weight)?,
        limit: ratio("limit", given.limit)?,
    })
}

fn ratio(name: &str, setting: &'static str, value: f64) -> Result<Ratio, ResponseError> {
    let wrong = || ResponseError::NoRatio { name: name.to_owned(), setting, value };
    Ratio::from_decimal(value).ok_or_else(wrong)
}

fn translate_directive(kind: Kind) -> Directive {
    let segments = |ids: Vec<i64>| ids.into_iter().map(SegmentId).collect();
    match kind {
        Kind::NeverDestination(given) => Directive::NeverDestination { node: NodeId(given.node_id) },
        Kind::NeverSource(given) => Directive::NeverSource { node: NodeId(given.node_id) },
        Kind::PinCollection(given) => {
            Directive::PinCollection { collection: CollectionId(given.collection_id) }
        }
        Kind::Pin(given) => Directive::Pin { segment: SegmentId(given.segment_id) },
        Kind::Evacuate(given) => Directive::Evacuate { node: NodeId(given.node_id) },
        Kind::Nominate(given) => Directive::Nominate {
            source: NodeId(given.source_node_id),
            segments: segments(given.segment_ids),
            priority: given.priority,
        },
        Kind::KeepApart(given) => {
            Directive::KeepApart { label: shortened(&given.label), segments: segments(given.segment_ids) }
        }
    }
}
