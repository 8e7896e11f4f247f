//! The `nominate` policy: a person names overloaded nodes, or the very segments that should leave them. Plug-ins say the
//! same with the same directive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, Patterns};
use super::{Assessment, Directive, Policy, Remark};
use crate::model::{NodeIndex, PlanningInput, Snapshot};
use crate::units::{NodeId, SegmentId};

/// Nominations by a name that somebody chose, so that each can be set by environment variables.
pub type NominateSettings = BTreeMap<String, NomineeSettings>;

/// One nomination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NomineeSettings {
    /// The nodes that segments should leave: by id, host name, address or host.
    pub nodes: Patterns,
    /// Which segments, by id, wherever on these nodes they are; none for whatever relieves the nodes best.
    #[serde(with = "crate::config::list")]
    pub segments: Vec<SegmentId>,
    /// Higher goes first.
    pub priority: u32,
}

/// Names sources and segments.
pub struct NominatePolicy {
    settings: NominateSettings,
}

impl NominatePolicy {
    /// With these settings.
    pub fn new(settings: NominateSettings) -> NominatePolicy {
        NominatePolicy { settings }
    }
}

impl Policy for NominatePolicy {
    fn name(&self) -> &str {
        "nominate"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let snapshot = &input.snapshot;
        let mut answer = Assessment::default();
        for (name, nominee) in &self.settings {
            for pattern in &nominee.nodes.0 {
                if !snapshot.nodes.iter().any(|node| pattern.matches_node(node)) {
                    answer
                        .remarks
                        .push(Remark::no_match(&format!("policies.nominate.{name}.nodes"), pattern));
                }
            }
            for (position, node) in snapshot.nodes.iter().enumerate() {
                if !nominee.nodes.any(|pattern: &Pattern| pattern.matches_node(node)) {
                    continue;
                }
                let index = NodeIndex::from_position(position);
                answer.directives.extend(nomination(snapshot, nominee, index, node.id));
            }
        }
        answer
    }
}

/// What one nomination says of one node; nothing when none of the segments is there (any more).
fn nomination(
    snapshot: &Snapshot,
    nominee: &NomineeSettings,
    index: NodeIndex,
    source: NodeId,
) -> Option<Directive> {
    let copies = &snapshot.copies;
    let is_there = |segment: &SegmentId| {
        let first = copies.segment.partition_point(|other| other < segment);
        let rows = (first..copies.len()).take_while(|row| copies.segment[*row] == *segment);
        rows.into_iter().any(|row| copies.node[row] == index)
    };
    let segments: Vec<SegmentId> = nominee.segments.iter().copied().filter(is_there).collect();
    if segments.is_empty() && !nominee.segments.is_empty() {
        return None;
    }
    Some(Directive::Nominate { source, segments, priority: nominee.priority })
}
