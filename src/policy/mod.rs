//! Policies: what load is, and what must be. A policy never moves anything by itself; the planner does, for all
//! policies together, so that no goal undoes another.

pub mod disk;
pub mod drain;
pub mod memory;
pub mod nominate;
pub mod pattern;
pub mod pin;
mod remark;
pub mod rows;
pub mod search;
pub mod segments;
pub mod spread;

pub use remark::Remark;

use serde::{Deserialize, Serialize};

use crate::model::{CollectionIndex, PlanningInput, Snapshot};
use crate::units::{CollectionId, Load, NodeId, Ratio, ReplicaId, SegmentId};
use drain::DrainSettings;
use nominate::NominateSettings;
use pin::PinSettings;
use spread::SpreadSettings;

/// One opinion on load. Pure: the same input gives the same assessment.
pub trait Policy: Send + Sync {
    /// Its name in configuration, metrics and reasons.
    fn name(&self) -> &str;

    /// What it sees in the input.
    fn assess(&self, input: &PlanningInput) -> Assessment;
}

/// What a policy says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Kinds of load to be kept even.
    pub dimensions: Vec<Dimension>,
    /// Things that must or must not be.
    pub directives: Vec<Directive>,
    /// What people should know about what they configured.
    #[serde(default)]
    pub remarks: Vec<Remark>,
}

/// One kind of load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimension {
    /// Its name, which is the policy's unless a policy has several.
    pub name: String,
    /// What its loads count.
    pub unit: LoadUnit,
    /// Over what it is to be even.
    pub scope: Scope,
    /// Load of each copy, by [`crate::model::CopyIndex`].
    pub copy_load: Vec<Load>,
    /// Load of each node that moves cannot change, by [`crate::model::NodeIndex`].
    pub base_load: Vec<Load>,
    /// What the base load is made of, as far as that is known; the rest of it is unexplained.
    #[serde(default)]
    pub base_parts: Vec<BasePart>,
    /// Load of all copies on each node as its own figures have it, by [`crate::model::NodeIndex`]; `None` where
    /// nothing is reported. Empty when nobody reports this load. It is not planned on: it shows whether load follows
    /// the segments.
    pub measured_load: Vec<Option<Load>>,
    /// What each node can carry.
    pub capacity: Capacity,
    /// The settings that apply.
    pub settings: DimensionSettings,
    /// How far the loads can be trusted; lower makes moves dearer.
    pub confidence: Ratio,
}

/// A part of the base load of every node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BasePart {
    /// What it is.
    pub cause: BaseCause,
    /// How much of it, by [`crate::model::NodeIndex`].
    pub load: Vec<Load>,
}

/// What load that moves cannot change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseCause {
    /// Growing segments, which live with the delegator of their channel.
    GrowingData,
    /// The work and the memory of being a channel's delegator.
    Delegator,
    /// Nobody knows.
    Unexplained,
}

/// What the loads of a dimension count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadUnit {
    /// Bytes.
    Bytes,
    /// Rows.
    Rows,
    /// Thousandths of a CPU core.
    Millicores,
    /// Segments.
    Segments,
    /// Points of a scale that only the policy knows, a plug-in's for example.
    Points,
}

impl LoadUnit {
    /// A load as people write it.
    pub fn display(self, load: Load) -> String {
        match self {
            LoadUnit::Bytes => crate::units::Bytes(load.0).to_string(),
            LoadUnit::Rows => format!("{} rows", load.0),
            LoadUnit::Millicores => format!("{}.{:02} cores", load.0 / 1_000, load.0 % 1_000 / 10),
            LoadUnit::Segments => format!("{} segments", load.0),
            LoadUnit::Points => format!("{} points", load.0),
        }
    }
}

/// Over what a dimension is to be even.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All load of a node.
    Node,
    /// One collection's load per node.
    NodeInGroup(CollectionIndex),
}

/// What each node can carry, by [`crate::model::NodeIndex`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capacity {
    /// In the dimension's own unit: there is such a thing as utilisation.
    Physical(Vec<Load>),
    /// Only relative weights for the fair share: no utilisation, and `matters_above` does not apply.
    Weights(Vec<Load>),
}

impl Capacity {
    /// The amounts, whatever they mean.
    pub fn amounts(&self) -> &[Load] {
        match self {
            Capacity::Physical(amounts) | Capacity::Weights(amounts) => amounts,
        }
    }
}

/// Something that must or must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Directive {
    /// The node must not receive anything.
    NeverDestination {
        /// The node.
        node: NodeId,
    },
    /// Nothing may leave the node.
    NeverSource {
        /// The node.
        node: NodeId,
    },
    /// The node has no part in anything: nothing leaves it, nothing enters it, and its load is nobody's share.
    Exclude {
        /// The node.
        node: NodeId,
    },
    /// The segment must stay where it is.
    Pin {
        /// The segment.
        segment: SegmentId,
    },
    /// All segments of the collection must stay where they are.
    PinCollection {
        /// The collection.
        collection: CollectionId,
    },
    /// All segments of the replica must stay where they are.
    PinReplica {
        /// The replica.
        replica: ReplicaId,
    },
    /// Everything that can move must leave the node, whatever its pressure, and nothing may enter it. The others share its
    /// movable load, so that they are not called overloaded for having taken it.
    Evacuate {
        /// The node.
        node: NodeId,
    },
    /// These segments should leave this node, wherever else there is room, the highest priority first.
    Nominate {
        /// Where they are.
        source: NodeId,
        /// Which; empty for whatever relieves the source best.
        segments: Vec<SegmentId>,
        /// Higher goes first.
        priority: u32,
    },
    /// No two of these segments on one node of a replica, as far as that can be.
    KeepApart {
        /// What people call them.
        label: String,
        /// Which.
        segments: Vec<SegmentId>,
    },
}

/// Options of a policy with one dimension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DimensionSettings {
    /// Whether the policy is in force.
    pub enabled: bool,
    /// Pressure (load / fair share) above which a node is overloaded.
    pub enter: Ratio,
    /// Pressure down to which an overloaded node is relieved.
    pub leave: Ratio,
    /// For how many turns in a row a node must be overloaded before anything moves.
    pub turns: u32,
    /// Utilisation below which unevenness is nobody's problem. Ignored where there is no physical capacity.
    pub matters_above: Ratio,
    /// Weight beside other dimensions.
    pub weight: Ratio,
    /// Utilisation to which a destination may be filled at most; none but the headroom of memory when missing. Ignored
    /// where there is no physical capacity.
    pub limit: Option<Ratio>,
    /// Whether load that moves cannot change counts.
    pub base_load: bool,
}

impl Default for DimensionSettings {
    fn default() -> Self {
        DimensionSettings {
            enabled: true,
            // 20 % over the fair share is what an operator sees on a graph; less is noise on most clusters.
            enter: Ratio(1_200_000),
            // The last few per cent of balance triple the bytes to be moved.
            leave: Ratio(1_050_000),
            // A load, a flush or a compaction distorts one or two polls.
            turns: 3,
            // Below that a node has room for everything the cluster will bring.
            matters_above: Ratio(300_000),
            weight: Ratio::ONE,
            limit: None,
            base_load: true,
        }
    }
}

/// The policies that a configuration asks for, in the order in which they are listed here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicySettings {
    /// Bytes in memory.
    pub memory: DimensionSettings,
    /// Rows, as Milvus itself balances them.
    pub rows: RowsSettings,
    /// CPU that searches use.
    pub search: SearchSettings,
    /// Bytes on local disks.
    pub disk: DiskSettings,
    /// Number of segments.
    pub segments: SegmentsSettings,
    /// Collections over many nodes.
    pub spread: SpreadSettings,
    /// Nodes to be emptied.
    pub drain: DrainSettings,
    /// What stays where it is.
    pub pin: PinSettings,
    /// What is left out of everything.
    pub exclude: PinSettings,
    /// What should leave some nodes.
    pub nominate: NominateSettings,
}

impl PolicySettings {
    /// The settings of every policy that has a dimension, by the policy's name.
    pub fn dimensions(&self) -> Vec<(&'static str, &DimensionSettings)> {
        let PolicySettings {
            memory,
            rows,
            search,
            disk,
            segments,
            spread,
            drain: _,
            pin: _,
            exclude: _,
            nominate: _,
        } = self;
        vec![
            ("memory", memory),
            ("rows", &rows.0),
            ("search", &search.0),
            ("disk", &disk.0),
            ("segments", &segments.0),
            ("spread", &spread.dimension),
        ]
    }

    /// Applies a change to the settings of every policy that has a dimension.
    pub fn for_each_dimension(&mut self, mut change: impl FnMut(&mut DimensionSettings)) {
        let PolicySettings {
            memory,
            rows,
            search,
            disk,
            segments,
            spread,
            drain: _,
            pin: _,
            exclude: _,
            nominate: _,
        } = self;
        change(memory);
        change(&mut rows.0);
        change(&mut search.0);
        change(&mut disk.0);
        change(&mut segments.0);
        change(&mut spread.dimension);
    }

    /// The same for a look at a single moment: every node counts as overloaded from the first turn on, because there
    /// will be no second one.
    pub fn for_one_look(&self) -> PolicySettings {
        let mut hurried = self.clone();
        hurried.for_each_dimension(|settings| settings.turns = 1);
        hurried
    }
}

/// Options of the `rows` policy: those of any dimension, but off unless asked for, because Milvus does it itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowsSettings(pub DimensionSettings);

impl Default for RowsSettings {
    fn default() -> Self {
        RowsSettings(DimensionSettings { enabled: false, ..DimensionSettings::default() })
    }
}

/// Options of the `search` policy: those of any dimension, but off unless asked for, because it needs the nodes' own
/// metrics, and with a wider band, because CPU comes and goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchSettings(pub DimensionSettings);

impl Default for SearchSettings {
    fn default() -> Self {
        SearchSettings(DimensionSettings {
            enabled: false,
            // A fifth more or less from minute to minute is usual.
            enter: Ratio(1_500_000),
            leave: Ratio(1_200_000),
            // Searches do not wait while half of the cores are free.
            matters_above: Ratio(500_000),
            ..DimensionSettings::default()
        })
    }
}

/// Options of the `disk` policy: those of any dimension, but off unless asked for, because few clusters keep segments on
/// disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskSettings(pub DimensionSettings);

impl Default for DiskSettings {
    fn default() -> Self {
        DiskSettings(DimensionSettings { enabled: false, ..DimensionSettings::default() })
    }
}

/// Options of the `segments` policy: those of any dimension, but off unless asked for, because a handful of segments is
/// never even.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentsSettings(pub DimensionSettings);

impl Default for SegmentsSettings {
    fn default() -> Self {
        SegmentsSettings(DimensionSettings { enabled: false, ..DimensionSettings::default() })
    }
}

/// The registry: builds every policy that is switched on or has something to say. A new policy is a file, a field in
/// [`PolicySettings`] and a line here.
pub fn registry(settings: &PolicySettings) -> Vec<Box<dyn Policy>> {
    let PolicySettings { memory, rows, search, disk, segments, spread, drain, pin, exclude, nominate } =
        settings;
    let mut policies: Vec<Box<dyn Policy>> = Vec::new();
    if memory.enabled {
        policies.push(Box::new(memory::MemoryPolicy::new(memory.clone())));
    }
    if rows.0.enabled {
        policies.push(Box::new(rows::RowsPolicy::new(rows.0.clone())));
    }
    if search.0.enabled {
        policies.push(Box::new(search::SearchPolicy::new(search.0.clone())));
    }
    if disk.0.enabled {
        policies.push(Box::new(disk::DiskPolicy::new(disk.0.clone())));
    }
    if segments.0.enabled {
        policies.push(Box::new(segments::SegmentsPolicy::new(segments.0.clone())));
    }
    if spread.dimension.enabled && !spread.collections.is_empty() {
        policies.push(Box::new(spread::SpreadPolicy::new(spread.clone())));
    }
    if !drain.nodes.is_empty() {
        policies.push(Box::new(drain::DrainPolicy::new(drain.clone())));
    }
    if !pin.is_empty() {
        policies.push(Box::new(pin::PinPolicy::new(pin.clone())));
    }
    if !exclude.is_empty() {
        policies.push(Box::new(pin::ExcludePolicy::new(exclude.clone())));
    }
    if !nominate.is_empty() {
        policies.push(Box::new(nominate::NominatePolicy::new(nominate.clone())));
    }
    policies
}

/// Asks every policy and joins the answers.
pub fn assess_all(policies: &[Box<dyn Policy>], input: &PlanningInput) -> Assessment {
    let mut all = Assessment::default();
    for policy in policies {
        let Assessment { dimensions, directives, remarks } = policy.assess(input);
        all.dimensions.extend(dimensions);
        all.directives.extend(directives);
        all.remarks.extend(remarks);
    }
    all
}

/// Weights for dimensions without a capacity of their own: memory when every usable node tells its own; otherwise all
/// weigh the same, as Milvus does it too.
fn memory_weights(snapshot: &Snapshot) -> Vec<Load> {
    let usable = || snapshot.nodes.iter().filter(|node| node.standing.is_usable());
    if usable().any(|node| node.memory_capacity.is_none()) {
        return vec![Load(1); snapshot.nodes.len()];
    }
    snapshot.nodes.iter().map(|node| Load(node.memory_capacity.unwrap_or_default().0)).collect()
}
