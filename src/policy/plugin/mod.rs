//! Policies that are other processes. Asking them is I/O and done in [`crate::plugin`]; here, in the pure half, a
//! recorded answer is judged against the cluster and becomes an [`Assessment`] as of any other policy. An answer that is
//! wrong anywhere is left out as a whole: half of a policy is another policy.

mod check;
mod settings;

use std::collections::BTreeMap;

pub use check::{LARGEST_LOAD, Objection, is_plain_name};
pub use settings::PluginSettings;

use super::Assessment;
use crate::model::{Doubt, DoubtKind, Snapshot, Subject};
use crate::observe::opinion::{Hearing, HearingOutcome, PluginFault};

/// What the plug-ins of a turn come to.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// All that was right, in the order of the plug-ins' names.
    pub assessment: Assessment,
    /// The plug-ins that are left out, and why.
    pub doubts: Vec<Doubt>,
}

/// Judges the recorded answers of all plug-ins that are configured and switched on.
pub fn hear(plugins: &BTreeMap<String, PluginSettings>, hearings: &[Hearing], snapshot: &Snapshot) -> Heard {
    let mut heard = Heard::default();
    for (name, settings) in plugins.iter().filter(|(_, settings)| settings.enabled) {
        match judge(name, settings, hearings, snapshot) {
            Ok(Assessment { dimensions, directives, remarks }) => {
                heard.assessment.remarks.extend(remarks);
                heard.assessment.dimensions.extend(dimensions);
                heard.assessment.directives.extend(directives);
            }
            Err(fault) => {
                let kind = DoubtKind::PluginLeftOut { plugin: name.clone(), fault };
                heard.doubts.push(Doubt { subject: Subject::Cluster, kind });
            }
        }
    }
    heard
}

fn judge(
    name: &str,
    settings: &PluginSettings,
    hearings: &[Hearing],
    snapshot: &Snapshot,
) -> Result<Assessment, PluginFault> {
    let hearing = hearings.iter().find(|hearing| hearing.plugin == name).ok_or(PluginFault::NotAsked)?;
    let opinion = match &hearing.outcome {
        HearingOutcome::Heard(opinion) => opinion,
        HearingOutcome::LeftOut(fault) => return Err(fault.clone()),
    };
    check::check(name, settings, opinion, snapshot)
        .map_err(|objection| PluginFault::Wrong { problem: objection.to_string() })
}
