//! What is different in an observation from the one before, and the way back. Most of a cluster stays as it was
//! for most of the time; only times and figures change with every look.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::observe::management::ManagementReport;
use crate::observe::observation::{
    CollectionReport, Gap, HardwareReport, NodeReport, NodeRole, Observation, ReplicaReport,
    ResourceGroupReport, SegmentReport, ServerVersion,
};
use crate::observe::opinion::Hearing;
use crate::observe::prometheus::ServerReport;
use crate::observe::service::ServiceReport;
use crate::observe::signals::SignalReport;
use crate::units::{Bytes, CollectionId, NodeId, Rows, SegmentId};

/// The new value of something that changed. The tuple keeps "changed to nothing" apart from "did not change".
type Changed<T> = Option<(T,)>;

/// A struct of the new values of all fields that changed. Every field of the original must be named, so that one
/// that is added later cannot be forgotten here.
macro_rules! changes {
    ($(#[$documentation:meta])* $name:ident of $original:ident {
        $($field:ident: $type:ty,)*
    } apart from { $($apart:ident),* }) => {
        $(#[$documentation])*
        #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
        struct $name {
            $(#[serde(default, skip_serializing_if = "Option::is_none")]
            $field: Changed<$type>,)*
        }

        impl $name {
            fn between(before: &$original, now: &$original) -> $name {
                let $original { $($field,)* $($apart: _,)* } = now;
                $name { $($field: (before.$field != *$field).then(|| ($field.clone(),)),)* }
            }

            fn apply(self, onto: &mut $original) {
                $(if let Some((value,)) = self.$field {
                    onto.$field = value;
                })*
            }
        }
    };
}

changes! {
    /// What is new about a node.
    NodeChanges of NodeReport {
        id: NodeId,
        address: String,
        role: NodeRole,
        error: Option<String>,
        memory_capacity: Option<Bytes>,
        memory_used: Option<Bytes>,
        growing: Option<Bytes>,
        collections: Option<Vec<CollectionId>>,
        collection_rows: Option<BTreeMap<CollectionId, Rows>>,
        sealed_bytes: Option<BTreeMap<CollectionId, Bytes>>,
        hardware: HardwareReport,
        version: String,
    } apart from {}
}

changes! {
    /// What is new about a collection, apart from its segments.
    CollectionChanges of CollectionReport {
        database: String,
        name: String,
        id: CollectionId,
        load_percentage: u8,
        read_at: Timestamp,
        replicas: Option<Vec<ReplicaReport>>,
        estimated_row_bytes: Option<u64>,
    } apart from { segments }
}

changes! {
    /// What is new about the cluster as such.
    ClusterChanges of Observation {
        started_at: Timestamp,
        took: Duration,
        server: ServerVersion,
        resource_groups: Option<Vec<ResourceGroupReport>>,
        service: ServiceReport,
        management: Option<ManagementReport>,
        signals: SignalReport,
        complaints: Vec<String>,
        prometheus: ServerReport,
        opinions: Vec<Hearing>,
        gaps: Vec<Gap>,
    } apart from { nodes, collections }
}

/// What is different in an observation from the one before.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Difference {
    cluster: ClusterChanges,
    nodes: Vec<Entry<NodeReport, NodeChanges>>,
    collections: Vec<Entry<CollectionReport, CollectionDifference>>,
}

/// An entry of a list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry<Whole, Changes> {
    /// There was none of its id.
    New(Whole),
    /// The position of the entry that it was, each of which is used once, and what is new about it.
    Was(usize, Changes),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct CollectionDifference {
    #[serde(flatten)]
    changes: CollectionChanges,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    segments: Option<SegmentsDifference>,
}

/// How the segments of a collection changed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SegmentsDifference {
    /// They are these now.
    Whole(Option<Vec<SegmentReport>>),
    /// Both lists are in the order of their ids, and few entries differ.
    Edits {
        /// Gone.
        removed: Vec<SegmentId>,
        /// New or changed.
        put: Vec<SegmentReport>,
    },
}

/// A difference that does not belong to this observation.
#[derive(Debug, thiserror::Error)]
#[error("it refers to {what} {position}, which the observation before it has not")]
pub(super) struct Mismatch {
    pub(super) what: &'static str,
    pub(super) position: usize,
}

impl Difference {
    pub(super) fn between(before: &Observation, now: &Observation) -> Difference {
        Difference {
            cluster: ClusterChanges::between(before, now),
            nodes: list_difference(&before.nodes, &now.nodes, |node| node.id, NodeChanges::between),
            collections: list_difference(
                &before.collections,
                &now.collections,
                |collection| collection.id,
                CollectionDifference::between,
            ),
        }
    }

    /// Makes the observation after it out of the one before it.
    pub(super) fn apply(self, onto: &mut Observation) -> Result<(), Mismatch> {
        let Difference { cluster, nodes, collections } = self;
        onto.nodes = list_after("node", std::mem::take(&mut onto.nodes), nodes, NodeChanges::apply)?;
        let before = std::mem::take(&mut onto.collections);
        onto.collections = list_after("collection", before, collections, CollectionDifference::apply)?;
        cluster.apply(onto);
        Ok(())
    }
}

fn list_difference<Whole: Clone, Id: Ord, Changes>(
    before: &[Whole],
    now: &[Whole],
    id: impl Fn(&Whole) -> Id,
    between: impl Fn(&Whole, &Whole) -> Changes,
) -> Vec<Entry<Whole, Changes>> {
    let mut positions: BTreeMap<Id, usize> =
        before.iter().enumerate().map(|(position, entry)| (id(entry), position)).collect();
    let entry = |entry: &Whole| match positions.remove(&id(entry)) {
        Some(position) => Entry::Was(position, between(&before[position], entry)),
        None => Entry::New(entry.clone()),
    };
    now.iter().map(entry).collect()
}

fn list_after<Whole, Changes>(
    what: &'static str,
    before: Vec<Whole>,
    entries: Vec<Entry<Whole, Changes>>,
    apply: impl Fn(Changes, &mut Whole),
) -> Result<Vec<Whole>, Mismatch> {
    let mut before: Vec<Option<Whole>> = before.into_iter().map(Some).collect();
    let mut now = Vec::with_capacity(entries.len());
    for entry in entries {
        now.push(match entry {
            Entry::New(whole) => whole,
            Entry::Was(position, changes) => {
                let known = before.get_mut(position).and_then(Option::take);
                let mut whole = known.ok_or(Mismatch { what, position })?;
                apply(changes, &mut whole);
                whole
            }
        });
    }
    Ok(now)
}

impl CollectionDifference {
    fn between(before: &CollectionReport, now: &CollectionReport) -> CollectionDifference {
        CollectionDifference {
            changes: CollectionChanges::between(before, now),
            segments: SegmentsDifference::between(before.segments.as_deref(), now.segments.as_deref()),
        }
    }

    fn apply(self, onto: &mut CollectionReport) {
        self.changes.apply(onto);
        match self.segments {
            None => {}
            Some(SegmentsDifference::Whole(segments)) => onto.segments = segments,
            Some(SegmentsDifference::Edits { removed, put }) => {
                let before = onto.segments.take().unwrap_or_default();
                onto.segments = Some(edited(before, &removed, put));
            }
        }
    }
}

impl SegmentsDifference {
    fn between(
        before: Option<&[SegmentReport]>,
        now: Option<&[SegmentReport]>,
    ) -> Option<SegmentsDifference> {
        if before == now {
            return None;
        }
        let whole = || Some(SegmentsDifference::Whole(now.map(<[SegmentReport]>::to_vec)));
        let (Some(before), Some(now)) = (before, now) else { return whole() };
        if !is_ordered(before) || !is_ordered(now) {
            return whole();
        }
        Some(edits(before, now))
    }
}

fn is_ordered(segments: &[SegmentReport]) -> bool {
    segments.windows(2).all(|pair| pair[0].id < pair[1].id)
}

/// Walks both ordered lists at once.
fn edits(before: &[SegmentReport], now: &[SegmentReport]) -> SegmentsDifference {
    let mut removed = Vec::new();
    let mut put = Vec::new();
    let mut old = before.iter().peekable();
    for segment in now {
        while let Some(gone) = old.next_if(|old| old.id < segment.id) {
            removed.push(gone.id);
        }
        if old.next_if(|old| old.id == segment.id) != Some(segment) {
            put.push(segment.clone());
        }
    }
    removed.extend(old.map(|gone| gone.id));
    SegmentsDifference::Edits { removed, put }
}

fn edited(before: Vec<SegmentReport>, removed: &[SegmentId], put: Vec<SegmentReport>) -> Vec<SegmentReport> {
    let mut segments: BTreeMap<SegmentId, SegmentReport> =
        before.into_iter().map(|segment| (segment.id, segment)).collect();
    for gone in removed {
        segments.remove(gone);
    }
    segments.extend(put.into_iter().map(|segment| (segment.id, segment)));
    segments.into_values().collect()
}
