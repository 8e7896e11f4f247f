//! What of a turn goes into the journal: what is new about it.

use crate::gate::Refusal;
use crate::journal::VerdictRecord;

/// What the journal knows already: it gets what changed.
#[derive(Default)]
pub(super) struct Written {
    verdicts: Option<Vec<VerdictRecord>>,
}

impl Written {
    /// The verdicts of this turn, unless they are about the same subjects, for the same reasons, as those that
    /// were last written down. The numbers in their sentences change with every turn.
    pub(super) fn new_verdicts(&mut self, refusals: &[Refusal]) -> Option<Vec<VerdictRecord>> {
        let record = |refusal: &Refusal| VerdictRecord {
            subject: refusal.subject.to_string(),
            reason: refusal.reason.code().to_owned(),
            sentence: refusal.reason.to_string(),
        };
        let now: Vec<VerdictRecord> = refusals.iter().map(record).collect();
        let is_known = self.verdicts.as_ref().is_some_and(|before| {
            let essence = |verdict: &VerdictRecord| (verdict.subject.clone(), verdict.reason.clone());
            before.iter().map(essence).eq(now.iter().map(essence))
        });
        if is_known {
            return None;
        }
        self.verdicts = Some(now.clone());
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Subject;
    use crate::reason::Reason;
    use crate::units::NodeId;

    fn stale(seconds: u64) -> Refusal {
        let reason = Reason::Stale { age: Duration::from_secs(seconds), limit: Duration::from_secs(90) };
        Refusal { subject: Subject::Cluster, reason }
    }

    #[test]
    fn verdicts_are_written_when_they_change_and_also_when_there_are_none_any_more() {
        let mut written = Written::default();
        let mut new = |refusals: &[Refusal]| written.new_verdicts(refusals).map(|verdicts| verdicts.len());
        assert_eq!(new(&[]), Some(0), "the first turn says that there are none");
        assert_eq!(new(&[]), None);
        assert_eq!(new(&[stale(100)]), Some(1));
        assert_eq!(new(&[stale(130)]), None, "only its figures changed");
        let node = Refusal { subject: Subject::Node(NodeId(7)), ..stale(130) };
        assert_eq!(new(std::slice::from_ref(&node)), Some(1), "another subject");
        assert_eq!(new(&[Refusal { reason: Reason::MixedVersions, ..node }]), Some(1), "another reason");
        assert_eq!(new(&[]), Some(0));
    }
}
