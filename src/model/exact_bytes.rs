//! Bytes of single segments, where the nodes list them: nothing else in Milvus tells them.

use super::fold::LARGEST_SEGMENT;
use crate::observe::observation::{CollectionReport, Observation};
use crate::units::{Bytes, SegmentId};

/// Bytes of sealed segments in memory, by segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactBytes(Vec<(SegmentId, Bytes)>);

impl ExactBytes {
    /// What the nodes list; of copies that differ the largest, because that much must fit.
    pub fn of_observation(observation: &Observation) -> ExactBytes {
        let listed = observation.management.iter().flat_map(|report| report.segments.iter().flatten());
        let sealed = listed.filter(|detail| !detail.is_growing && detail.bytes.0 > 0);
        let mut bytes: Vec<(SegmentId, Bytes)> =
            sealed.map(|detail| (detail.segment, detail.bytes.min(LARGEST_SEGMENT))).collect();
        bytes.sort_unstable_by_key(|(segment, bytes)| (*segment, std::cmp::Reverse(*bytes)));
        bytes.dedup_by_key(|(segment, _)| *segment);
        ExactBytes(bytes)
    }

    /// The bytes of a segment, where they are known.
    pub fn of(&self, segment: SegmentId) -> Option<Bytes> {
        self.0.binary_search_by_key(&segment, |(known, _)| *known).ok().map(|at| self.0[at].1)
    }

    /// Whether those of all segments of a collection are known that have any rows.
    pub fn cover(&self, collection: &CollectionReport) -> bool {
        let mut with_rows =
            collection.segments.iter().flatten().filter(|segment| segment.rows.0 > 0).peekable();
        !self.0.is_empty()
            && with_rows.peek().is_some()
            && with_rows.all(|segment| self.of(segment.id).is_some())
    }
}
