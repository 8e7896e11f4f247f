//! What the log has said about policies: drains, remarks on their options, and load that no move can change. It speaks
//! when something changes.

use crate::plan::{Drain, Finding};
use crate::reason::Reason;
use crate::turn::Decision;
use crate::units::NodeId;

/// What has been said already.
#[derive(Default)]
pub(super) struct ToldOfPolicies {
    remarks: Vec<String>,
    drains: Vec<String>,
    immovable: Vec<(String, NodeId)>,
}

impl ToldOfPolicies {
    /// Says what is new.
    pub fn tell(&mut self, decision: &Decision) {
        let remarks: Vec<String> = decision.remarks.iter().map(ToString::to_string).collect();
        for remark in remarks.iter().filter(|remark| !self.remarks.contains(remark)) {
            tracing::warn!("{remark}");
        }
        self.remarks = remarks;

        let drains: Vec<String> = decision.drains.iter().flat_map(Drain::lines).collect();
        for line in drains.iter().filter(|line| !self.drains.contains(line)) {
            tracing::info!("being emptied: {line}");
        }
        self.drains = drains;

        let mut standing_out = Vec::new();
        for finding in &decision.findings {
            let Some(reason @ Reason::OverloadImmovable { .. }) = finding.state.reason() else { continue };
            let name = (finding.dimension.clone(), finding.node);
            if !self.immovable.contains(&name) {
                let made_of = made_of(finding);
                tracing::warn!(dimension = finding.dimension, made_of, "node {}: {reason}", finding.node);
            }
            standing_out.push(name);
        }
        self.immovable = standing_out;
    }
}

fn made_of(finding: &Finding) -> String {
    let parts = finding.immovable_parts.iter();
    let parts: Vec<String> =
        parts.map(|part| format!("{} of {}", finding.unit.display(part.load), part.cause)).collect();
    parts.join(", ")
}
