//! What of a turn goes into the journal: what is new about it.

use crate::journal::VerdictRecord;
use crate::turn::Decision;

/// What the journal knows already: it gets what changed.
#[derive(Default)]
pub(super) struct Written {
    verdicts: Option<Vec<VerdictRecord>>,
}

impl Written {
    /// The verdicts of this turn, unless they are about the same subjects, for the same reasons, as those that
    /// were last written down. The numbers in their sentences change with every turn.
    pub(super) fn new_verdicts(&mut self, decision: &Decision) -> Option<Vec<VerdictRecord>> {
        let record = |refusal: &crate::gate::Refusal| VerdictRecord {
            subject: refusal.subject.to_string(),
            reason: refusal.reason.code().to_owned(),
            sentence: refusal.reason.to_string(),
        };
        let now: Vec<VerdictRecord> = decision.verdict.refusals.iter().map(record).collect();
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
