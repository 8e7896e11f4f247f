//! Who sees half of the cluster must not balance it: one hidden collection stops everything, as does a server
//! whose answers cannot be trusted.

use super::Restrictions;
use crate::model::{DoubtKind, PlanningInput};
use crate::observe::observation::GapSubject;
use crate::reason::Reason;

/// Stops the cluster on a visibility gap, freezes collections that could not be read whole.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    for doubt in &input.snapshot.doubts {
        let stop = match &doubt.kind {
            DoubtKind::ServerTooOld => Reason::ServerTooOld,
            DoubtKind::HiddenCollection { .. } => Reason::VisibilityGap { detail: doubt.to_string() },
            DoubtKind::Unread { gap: GapSubject::Collections { .. } | GapSubject::Databases, .. } => {
                Reason::VisibilityGap { detail: doubt.kind.to_string() }
            }
            DoubtKind::Unread {
                gap: GapSubject::Replicas { collection } | GapSubject::Segments { collection },
                ..
            } => {
                let reason = Reason::CollectionUnready { collection: *collection };
                restrictions.collections.entry(*collection).or_insert(reason);
                continue;
            }
            _ => continue,
        };
        // The version outranks the rest: it is the one thing that waiting does not mend.
        if restrictions.cluster.is_none() || stop == Reason::ServerTooOld {
            restrictions.cluster = Some(stop);
        }
    }
}
