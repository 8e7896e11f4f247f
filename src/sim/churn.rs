//! What changes without anybody's doing: rows arrive, segments are sealed, compacted and replaced; collections
//! are loaded and released.

use super::cluster::{SimSegment, SimTime, TargetState};
use super::tasks::{Task, TaskSource};
use super::world::World;
use crate::units::{CollectionId, NodeId, SegmentId};

/// How far the bytes of a row scatter from segment to segment (deviation of the logarithm): text fields and
/// sparse vectors differ by batch.
const BYTES_SPREAD: f64 = 0.35;
/// Segments that one compaction makes one of.
const COMPACTED_AT_ONCE: usize = 4;

impl World {
    /// A new segment. It is loaded once the next target has it.
    pub(super) fn new_segment(
        &mut self,
        id: SegmentId,
        collection: CollectionId,
        shard: usize,
        rows: u64,
    ) -> Option<SegmentId> {
        let factor = self.size_chance.factor(BYTES_SPREAD);
        let row_bytes = self.collections.get(&collection)?.row_bytes;
        let segment = SimSegment {
            id,
            collection,
            shard,
            rows,
            bytes: scaled(rows.saturating_mul(row_bytes), factor),
            level0: false,
            target: TargetState::New,
            copies: Vec::new(),
        };
        self.segments.insert(id, segment);
        self.collections.get_mut(&collection)?.segments.insert(id);
        self.target_pending.insert(collection);
        Some(id)
    }

    /// Rows arrive and growing segments that are full are sealed.
    pub(super) fn ingest(&mut self) {
        let seconds = self.settings.traffic_tick.as_secs_f64();
        let mut sealed = Vec::new();
        let mut anything = false;
        for collection in self.collections.values_mut() {
            if !collection.loaded || collection.ingest_rows_per_second <= 0.0 {
                continue;
            }
            anything = true;
            let shards = collection.growing_rows.len();
            let arrived = collection.ingest_rows_per_second * seconds / shards.max(1) as f64;
            for (shard, growing) in collection.growing_rows.iter_mut().enumerate() {
                *growing += arrived;
                if *growing >= collection.seal_rows as f64 {
                    *growing -= collection.seal_rows as f64;
                    sealed.push((collection.id, shard, collection.seal_rows));
                }
            }
        }
        for (collection, shard, rows) in sealed {
            let next = SegmentId(self.take_id());
            let growing = self.collections.get_mut(&collection);
            let growing = growing.and_then(|collection| collection.growing_segments.get_mut(shard));
            let Some(full) = growing.map(|growing| std::mem::replace(growing, next)) else { continue };
            if let Some(segment) = self.new_segment(full, collection, shard, rows) {
                self.note(format_args!("sealed {segment} of {collection}"));
            }
        }
        if anything {
            self.measure_led_memory();
        }
    }

    /// From now on nothing is ingested or compacted: a world that has come to rest.
    pub fn end_churn(&mut self) {
        self.settings.compaction = None;
        for collection in self.collections.values_mut() {
            collection.ingest_rows_per_second = 0.0;
        }
    }

    /// Delegators hold the growing segments of their shard, and something for themselves.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // rows are not negative
    pub(super) fn measure_led_memory(&mut self) {
        self.changes += 1;
        /// What a delegator takes without data: bloom filters, delete buffers, queues.
        const DELEGATOR_BYTES: u64 = 24 << 20;
        for node in self.nodes.values_mut() {
            node.led_memory = 0;
        }
        for collection in self.collections.values().filter(|collection| collection.loaded) {
            for replica in &collection.replicas {
                for (leader, rows) in replica.leaders.iter().zip(&collection.growing_rows) {
                    let Some(node) = leader.and_then(|leader| self.nodes.get_mut(&leader)) else { continue };
                    node.led_memory += DELEGATOR_BYTES + *rows as u64 * collection.row_bytes;
                }
            }
        }
    }

    /// Merges a few small segments of one shard into one with a new id. Both are loaded until the next refresh
    /// of the target.
    pub(super) fn compact_one(&mut self) {
        let ids: Vec<CollectionId> = self.collections.keys().copied().collect();
        let Some(collection) = self.compaction_chance.pick(&ids).copied() else { return };
        let Some(compacted) = self.collections.get(&collection).filter(|chosen| chosen.loaded) else {
            return;
        };
        let largest = compacted.seal_rows;
        let shard = match compacted.channels.len() as u64 {
            0 => return,
            shards => self.compaction_chance.below(shards) as usize,
        };
        let small: Vec<SegmentId> = self
            .listed_segments(collection)
            .filter(|segment| segment.target == TargetState::Current && segment.shard == shard)
            .filter(|segment| !segment.level0 && segment.rows > 0 && segment.rows * 2 <= largest.max(2))
            .map(|segment| segment.id)
            .take(COMPACTED_AT_ONCE)
            .collect();
        if small.len() < 2 {
            return;
        }
        let rows = small.iter().filter_map(|id| self.segments.get(id)).map(|segment| segment.rows).sum();
        let merged = SegmentId(self.take_id());
        let Some(merged) = self.new_segment(merged, collection, shard, rows) else { return };
        for id in &small {
            if let Some(segment) = self.segments.get_mut(id) {
                segment.target = TargetState::Replaced;
            }
        }
        self.note(format_args!("compact {} segments of {collection} into {merged}", small.len()));
    }

    /// The next target becomes the current one where all of it is loaded, and a new snapshot the next.
    pub(super) fn refresh_targets(&mut self) {
        let pending = std::mem::take(&mut self.target_pending);
        for collection in pending {
            let is_loaded = self.collections.get(&collection).is_some_and(|collection| collection.loaded);
            if is_loaded {
                self.refresh_target(collection);
                self.mark_dirty(collection);
            }
        }
    }

    fn refresh_target(&mut self, collection: CollectionId) {
        let Some(refreshed) = self.collections.get(&collection) else { return };
        let replicas = refreshed.replicas.len();
        let ids: Vec<SegmentId> = refreshed.segments.iter().copied().collect();
        let is_ready = ids.iter().filter_map(|id| self.segments.get(id)).all(|segment| {
            segment.target != TargetState::Next
                || (0..replicas).all(|replica| {
                    segment.copies.iter().any(|copy| copy.replica == replica && copy.state.is_listed())
                })
        });
        let mut is_settled = true;
        for id in ids {
            let Some(segment) = self.segments.get_mut(&id) else { continue };
            segment.target = match segment.target {
                TargetState::Next if is_ready => TargetState::Current,
                TargetState::Outgoing if is_ready => TargetState::Gone,
                // A snapshot that is not loaded yet is not replaced by another.
                TargetState::New if is_ready => TargetState::Next,
                TargetState::Replaced if is_ready => TargetState::Outgoing,
                same => same,
            };
            is_settled &= matches!(segment.target, TargetState::Current | TargetState::Gone);
            self.forget_if_gone(id);
        }
        if !is_settled {
            self.target_pending.insert(collection);
        }
    }

    /// Forgets a segment that is in no target and on no node.
    pub(super) fn forget_if_gone(&mut self, id: SegmentId) {
        let Some(segment) = self.segments.get(&id) else { return };
        if segment.target != TargetState::Gone || !segment.copies.is_empty() {
            return;
        }
        let collection = segment.collection;
        self.segments.remove(&id);
        if let Some(collection) = self.collections.get_mut(&collection) {
            collection.segments.remove(&id);
        }
    }

    /// Releases a collection: nothing of it is loaded any more.
    pub fn release_collection(&mut self, id: CollectionId) {
        let Some(collection) = self.collections.get_mut(&id) else { return };
        collection.loaded = false;
        collection.load_percentage = 0;
        let segments: Vec<SegmentId> = collection.segments.iter().copied().collect();
        self.note(format_args!("release collection {id}"));
        for segment in segments {
            let copies =
                self.segments.get(&segment).map(|segment| segment.copies.clone()).unwrap_or_default();
            for copy in copies {
                self.remove_copy(segment, copy.replica, copy.node);
            }
        }
        let orphans: Vec<_> =
            self.tasks.all.iter().filter(|(_, task)| task.collection == id).map(|(task, _)| *task).collect();
        for task in orphans {
            self.finish_task(task, Err(super::calls::Refusal::new(101, "collection not loaded")));
        }
        self.measure_led_memory();
    }

    /// Loads a released collection again; it takes as long as its segments do.
    pub fn load_collection(&mut self, id: CollectionId) {
        let Some(collection) = self.collections.get_mut(&id) else { return };
        if collection.loaded {
            return;
        }
        collection.loaded = true;
        collection.load_percentage = 0;
        self.note(format_args!("load collection {id}"));
        self.elect_leaders(id);
        self.mark_dirty(id);
    }

    /// Share of the target that is there, while a collection is loading. Once at 100 it stays.
    pub(super) fn update_load_percentage(&mut self, id: CollectionId) {
        let Some(collection) = self.collections.get(&id) else { return };
        if !collection.loaded || collection.load_percentage >= 100 {
            return;
        }
        let replicas = collection.replicas.len();
        let (mut wanted, mut there) = (0_u64, 0_u64);
        for segment in self.listed_segments(id) {
            for replica in 0..replicas {
                wanted += 1;
                there += u64::from(
                    segment.copies.iter().any(|copy| copy.replica == replica && copy.state.is_listed()),
                );
            }
        }
        let percentage = (there * 100).checked_div(wanted).unwrap_or(100);
        if let Some(collection) = self.collections.get_mut(&id) {
            collection.load_percentage = u8::try_from(percentage.min(100)).unwrap_or(100);
        }
    }

    /// Moves a segment behind everybody's back, as an operator or another program would.
    pub fn move_by_someone_else(&mut self, segment: SegmentId, from: NodeId, to: NodeId) -> bool {
        let Some(collection) = self.segments.get(&segment).map(|segment| segment.collection) else {
            return false;
        };
        let Some(replica) = self.replica_with(collection, from) else { return false };
        let task = Task {
            source: TaskSource::Balancer,
            call: None,
            segment,
            collection,
            replica,
            from: Some(from),
            to,
            started: false,
            releasing: false,
        };
        from != to && self.add_task(task).is_ok()
    }

    /// Has a collection searched more often for a while.
    pub fn heat(&mut self, id: CollectionId, from: SimTime, until: SimTime, factor: f64) {
        if let Some(collection) = self.collections.get_mut(&id) {
            collection.demand.hot_spells.push(super::cluster::HotSpell { from, until, factor });
        }
    }
}

/// An amount times a factor, rounded; never negative.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn scaled(amount: u64, factor: f64) -> u64 {
    (amount as f64 * factor.max(0.0)).round() as u64
}
