//! The `drain` policy: nodes that are to be emptied of every sealed segment that can move, before somebody takes them
//! away. It only says which; what is left on them, and why, is found out by [`crate::plan::drain`].

use serde::{Deserialize, Serialize};

use super::pattern::Patterns;
use super::{Assessment, Directive, Policy, Remark};
use crate::model::PlanningInput;

/// Options of the `drain` policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainSettings {
    /// Which nodes: by id, host name, address or host, with `*` and `?`.
    pub nodes: Patterns,
}

/// Has nodes emptied.
pub struct DrainPolicy {
    settings: DrainSettings,
}

impl DrainPolicy {
    /// With these settings.
    pub fn new(settings: DrainSettings) -> DrainPolicy {
        DrainPolicy { settings }
    }
}

impl Policy for DrainPolicy {
    fn name(&self) -> &str {
        "drain"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        let nodes = &input.snapshot.nodes;
        let mut answer = Assessment::default();
        for node in nodes {
            if self.settings.nodes.any(|pattern| pattern.matches_node(node)) {
                answer.directives.push(Directive::Evacuate { node: node.id });
            }
        }
        for pattern in &self.settings.nodes.0 {
            if !nodes.iter().any(|node| pattern.matches_node(node)) {
                answer.remarks.push(Remark::no_match("policies.drain.nodes", pattern));
            }
        }
        answer
    }
}
