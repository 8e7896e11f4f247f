//! Keeps the estimated row size of each collection, since schemas and indexes hardly ever change and asking for
//! them costs two calls a collection.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::signals::IndexKind;
use crate::units::CollectionId;

/// After how long an estimate is made again. A loaded collection can gain fields and indexes, but not often.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// After how long one that could not be made, or only in part, is tried again.
const LIFETIME_OF_FAILURE: Duration = Duration::from_secs(60);

/// How many old estimates are made again in one poll, so that a thousand that grow old together do not make a
/// slow poll.
const RENEWED_PER_POLL: usize = 16;

/// What is known about the rows of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowEstimate {
    /// Estimated bytes of a row; `None` when the schema could not be read.
    pub bytes: Option<u64>,
    /// How its vectors are searched; `None` when the indexes could not be read.
    pub index: Option<IndexKind>,
    /// What could not be read of schema or indexes.
    pub gap: Option<String>,
}

/// Estimates by collection.
#[derive(Default)]
pub struct RowEstimates {
    entries: Mutex<BTreeMap<CollectionId, (RowEstimate, Instant)>>,
}

impl RowEstimates {
    /// Of the collections that exist, those whose estimate is missing or old enough to be made again. What is
    /// known about any other is forgotten.
    pub fn due(&self, existing: &[CollectionId]) -> Vec<CollectionId> {
        let now = Instant::now();
        let mut entries = self.entries();
        let mut kept = BTreeMap::new();
        let mut due = Vec::new();
        let mut old = Vec::new();
        for collection in existing {
            let Some((estimate, made_at)) = entries.remove(collection) else {
                due.push(*collection);
                continue;
            };
            let lifetime = if estimate.gap.is_some() { LIFETIME_OF_FAILURE } else { LIFETIME };
            if now.duration_since(made_at) >= lifetime {
                old.push((made_at, *collection));
            }
            kept.insert(*collection, (estimate, made_at));
        }
        *entries = kept;
        old.sort_unstable();
        due.extend(old.into_iter().take(RENEWED_PER_POLL).map(|(_, collection)| collection));
        due
    }

    /// Keeps an estimate.
    pub fn put(&self, collection: CollectionId, estimate: RowEstimate) {
        self.entries().insert(collection, (estimate, Instant::now()));
    }

    /// What is known.
    pub fn get(&self, collection: CollectionId) -> Option<RowEstimate> {
        self.entries().get(&collection).map(|(estimate, _)| estimate.clone())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<CollectionId, (RowEstimate, Instant)>> {
        // Nothing here panics half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(bytes: u64) -> RowEstimate {
        RowEstimate { bytes: Some(bytes), index: None, gap: None }
    }

    fn ids(range: std::ops::Range<i64>) -> Vec<CollectionId> {
        range.map(CollectionId).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn estimates_are_made_once_and_forgotten_with_their_collection() {
        let estimates = RowEstimates::default();
        assert_eq!(estimates.due(&ids(0..2)), ids(0..2));
        estimates.put(CollectionId(0), estimate(5));
        estimates.put(CollectionId(1), estimate(6));
        assert_eq!(estimates.due(&ids(0..2)), []);
        assert_eq!(estimates.due(&ids(1..2)), []);
        assert_eq!(estimates.get(CollectionId(0)), None, "dropped");
        assert_eq!(estimates.get(CollectionId(1)), Some(estimate(6)));
    }

    #[tokio::test(start_paused = true)]
    async fn old_estimates_are_renewed_a_few_at_a_time() {
        let estimates = RowEstimates::default();
        let all = ids(0..100);
        for collection in &all {
            estimates.put(*collection, estimate(1));
        }
        tokio::time::advance(LIFETIME).await;
        let due = estimates.due(&all);
        assert_eq!(due.len(), RENEWED_PER_POLL);
        for collection in due {
            estimates.put(collection, estimate(2));
        }
        assert_eq!(estimates.due(&all)[0], CollectionId(16), "the next ones");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_soon_but_not_at_once() {
        let estimates = RowEstimates::default();
        let failed = RowEstimate { bytes: None, index: None, gap: Some("denied".to_owned()) };
        estimates.put(CollectionId(0), failed);
        assert_eq!(estimates.due(&ids(0..1)), []);
        tokio::time::advance(LIFETIME_OF_FAILURE).await;
        assert_eq!(estimates.due(&ids(0..1)), ids(0..1));
    }
}
