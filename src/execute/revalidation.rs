//! The last look before a call: what was planned from one observation is held against whatever has been seen since,
//! and what does not hold any more is dropped.

use std::collections::{BTreeMap, BTreeSet};

use super::executor::Executor;
use super::queue::{CopyKey, Queue, copy_key};
use super::sight::{Presence, look};
use crate::model::{Held, Standing};
use crate::observe::observation::{CollectionReport, SegmentLevel, SegmentReport};
use crate::plan::Move;
use crate::reason::Reason;
use crate::units::{Rows, SegmentId};

impl Executor {
    /// Moves that will not be sent, each for its own reason, and with them what was planned on top of them.
    pub(super) fn give_up(&mut self, gone: &BTreeMap<CopyKey, Reason>) {
        if gone.is_empty() {
            return;
        }
        let waiting: Vec<Move> = self.queue.waiting().map(|waiting| waiting.movement.clone()).collect();
        for movement in waiting {
            if let Some(reason) = gone.get(&copy_key(&movement)) {
                self.note_dropped(movement, reason.clone());
            }
        }
        let gone: BTreeSet<CopyKey> = gone.keys().copied().collect();
        for movement in self.queue.give_up(&gone) {
            self.note_dropped(movement, Reason::EarlierStepRefused);
        }
    }

    pub(super) fn note_dropped(&mut self, movement: Move, reason: Reason) {
        tracing::info!(
            segment = movement.segment.0,
            from = movement.from.0,
            to = movement.to.0,
            reason = reason.code(),
            "not sent: {reason}"
        );
        *self.dropped.entry(reason.code()).or_default() += 1;
        self.happened.dropped.push((movement, reason));
    }
}

/// The waiting moves of a collection that this look at it speaks against, each with the reason.
pub fn outdated(queue: &Queue, report: &CollectionReport) -> BTreeMap<CopyKey, Reason> {
    let waiting: Vec<&Move> = queue
        .waiting()
        .map(|waiting| &waiting.movement)
        .filter(|movement| movement.collection == report.id)
        .collect();
    let wanted: BTreeSet<SegmentId> = waiting.iter().map(|movement| movement.segment).collect();
    let listed: BTreeMap<SegmentId, &SegmentReport> = report
        .segments
        .iter()
        .flatten()
        .filter(|segment| wanted.contains(&segment.id))
        .map(|segment| (segment.id, segment))
        .collect();
    let against = |movement: &&Move| {
        let reason = refusal(movement, report, listed.get(&movement.segment).copied())?;
        Some((copy_key(movement), reason))
    };
    waiting.iter().filter_map(against).collect()
}

/// Why a move must not be sent, by a look at its collection.
fn refusal(movement: &Move, report: &CollectionReport, segment: Option<&SegmentReport>) -> Option<Reason> {
    if report.load_percentage < 100 {
        return Some(Reason::CollectionUnready { collection: report.id });
    }
    if let Some(segment) = segment {
        if segment.level == SegmentLevel::L0 {
            return Some(Reason::Held { held: Held::Level0 });
        }
        if segment.rows == Rows(0) {
            return Some(Reason::Held { held: Held::NoRows });
        }
    }
    let absent = |node| Some(Reason::NodeUnfit { node, standing: Standing::Absent });
    match look(movement, report, segment).0 {
        Presence::Unclear => Some(Reason::CollectionUnready { collection: report.id }),
        Presence::Missing { .. } => Some(Reason::SegmentGone),
        Presence::Listed { source_left: true, .. } => absent(movement.from),
        Presence::Listed { destination_left: true, .. } => absent(movement.to),
        Presence::Listed { on_source: false, .. } => Some(Reason::NotOnSource { node: movement.from }),
        Presence::Listed { on_destination, elsewhere, .. } => {
            (on_destination || !elsewhere.is_empty()).then_some(Reason::Held { held: Held::OnTwoNodes })
        }
    }
}
