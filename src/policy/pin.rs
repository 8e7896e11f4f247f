//! The policies `pin` and `exclude`. What is pinned stays where it is, and its load counts. What is excluded is none of
//! our business: an excluded node neither gives nor takes, and has no part in anybody's fair share.

use serde::{Deserialize, Serialize};

use super::pattern::{Pattern, Patterns};
use super::{Assessment, Directive, Policy, Remark};
use crate::model::{Node, PlanningInput};

/// Options of `pin` and of `exclude`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PinSettings {
    /// Collections, by name, `database.name` or id.
    pub collections: Patterns,
    /// Resource groups, by name: the replicas in them.
    pub resource_groups: Patterns,
    /// Nodes, by id, host name, address or host.
    pub nodes: Patterns,
}

impl PinSettings {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        let PinSettings { collections, resource_groups, nodes } = self;
        collections.is_empty() && resource_groups.is_empty() && nodes.is_empty()
    }

    /// What the two policies have in common: whatever these match stays where it is.
    fn assess(&self, policy: &str, input: &PlanningInput, on_node: fn(&Node) -> Directive) -> Assessment {
        let snapshot = &input.snapshot;
        let mut answer = Assessment::default();
        for collection in &snapshot.collections {
            if self.collections.any(|pattern| pattern.matches_collection(collection)) {
                answer.directives.push(Directive::PinCollection { collection: collection.id });
            }
        }
        for replica in &snapshot.replicas {
            if self.resource_groups.any(|pattern| pattern.matches(&replica.resource_group)) {
                answer.directives.push(Directive::PinReplica { replica: replica.id });
            }
        }
        let matching = |node: &&Node| self.nodes.any(|pattern| pattern.matches_node(node));
        answer.directives.extend(snapshot.nodes.iter().filter(matching).map(on_node));

        let mut remark = |option: &str, patterns: &Patterns, exists: &dyn Fn(&Pattern) -> bool| {
            for pattern in patterns.0.iter().filter(|pattern| !exists(pattern)) {
                answer.remarks.push(Remark::no_match(&format!("policies.{policy}.{option}"), pattern));
            }
        };
        remark("collections", &self.collections, &|pattern| {
            snapshot.collections.iter().any(|collection| pattern.matches_collection(collection))
        });
        remark("resource_groups", &self.resource_groups, &|pattern| {
            snapshot.replicas.iter().any(|replica| pattern.matches(&replica.resource_group))
        });
        remark("nodes", &self.nodes, &|pattern| snapshot.nodes.iter().any(|node| pattern.matches_node(node)));
        answer
    }
}

/// Keeps things where they are; pinned nodes may still take more.
pub struct PinPolicy {
    settings: PinSettings,
}

impl PinPolicy {
    /// With these settings.
    pub fn new(settings: PinSettings) -> PinPolicy {
        PinPolicy { settings }
    }
}

impl Policy for PinPolicy {
    fn name(&self) -> &str {
        "pin"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        self.settings.assess(self.name(), input, |node| Directive::NeverSource { node: node.id })
    }
}

/// Keeps our hands off things.
pub struct ExcludePolicy {
    settings: PinSettings,
}

impl ExcludePolicy {
    /// With these settings.
    pub fn new(settings: PinSettings) -> ExcludePolicy {
        ExcludePolicy { settings }
    }
}

impl Policy for ExcludePolicy {
    fn name(&self) -> &str {
        "exclude"
    }

    fn assess(&self, input: &PlanningInput) -> Assessment {
        self.settings.assess(self.name(), input, |node| Directive::Exclude { node: node.id })
    }
}
