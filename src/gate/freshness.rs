//! Nothing is decided on old news: segment ids change with every compaction, nodes come and go.

use super::Restrictions;
use crate::model::{DoubtKind, PlanningInput};
use crate::observe::observation::GapSubject;
use crate::reason::Reason;

/// Freezes collections whose reading is too old, and everything when the nodes themselves could not be read.
pub fn restrict(input: &PlanningInput, restrictions: &mut Restrictions) {
    let limit = input.gate.max_age;
    for collection in &input.snapshot.collections {
        // A reading from the future means that the clock was set back: its age is unknown, which is too old.
        let age = input.now.wall.duration_since(collection.read_at).unsigned_abs();
        if age > limit {
            restrictions.collections.entry(collection.id).or_insert(Reason::Stale { age, limit });
        }
    }
    for doubt in &input.snapshot.doubts {
        if let DoubtKind::Unread { gap: GapSubject::SystemInfo, cause } = &doubt.kind {
            restrictions.cluster.get_or_insert(Reason::NodesUnread { detail: cause.clone() });
        }
    }
}
