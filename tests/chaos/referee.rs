//! What must never happen, whatever becomes of the daemon: looked for in what arrived at the simulated Milvus and in
//! the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::sim::World;
use milvus_rebalancer::sim::calls::{CallAnswer, CallRecord};
use milvus_rebalancer::sim::invariants::InvariantChecker;

use crate::journal::{Entry, Pages};
use crate::scene::{BYTES_PER_CALL, Limits, Scene};

/// The window of the calls-per-minute limit, less what a call may be under way longer than another: on a bad network
/// seconds.
const ALMOST_A_MINUTE: Duration = Duration::from_secs(57);

/// By how much the two readings of the time of a call may differ.
const SAME_TIME: SignedDuration = SignedDuration::from_secs(1);

/// Watches one daemon, all its lives long.
pub struct Referee {
    limits: Limits,
    /// What the daemon's calendar said when the world began.
    begun: Timestamp,
    checker: InvariantChecker,
    cluster_bytes: u64,
    calls: usize,
    /// The call that carried out each intent.
    claimed: BTreeMap<i64, usize>,
    /// When each move had ended for the first time.
    ended_at: BTreeMap<i64, Timestamp>,
}

impl Referee {
    /// For a daemon in this scene.
    pub fn new(scene: &Scene, world: &World) -> Referee {
        let copies = world.segments().values().map(|segment| segment.bytes * segment.copies.len() as u64);
        let age = SignedDuration::try_from(world.now()).unwrap_or_default();
        Referee {
            begun: Clock::system().read().wall.saturating_sub(age).unwrap_or_default(),
            limits: scene.limits.clone(),
            checker: InvariantChecker::new(scene.invariants()),
            cluster_bytes: copies.sum(),
            calls: 0,
            claimed: BTreeMap::new(),
            ended_at: BTreeMap::new(),
        }
    }

    /// Looks at all that is new. The pages were read after these calls had arrived.
    pub fn check(&mut self, world: &World, calls: usize, pages: &Pages) -> Vec<String> {
        let mut problems: Vec<String> =
            self.checker.check(world).iter().map(|violation| format!("forbidden: {violation}")).collect();
        for call in self.calls..calls {
            self.check_call(call, world, pages, &mut problems);
        }
        self.calls = calls;
        self.check_budgets(world, pages, &mut problems);
        self.check_open(pages, &mut problems);
        self.check_twice(pages, &mut problems);
        if pages.integrity != "ok" {
            problems.push(format!("the journal is damaged: {}", pages.integrity));
        }
        if pages.limited.contains_key("foreign_mover") {
            problems.push("a move of ours was taken for somebody else's".to_owned());
        }
        problems
    }

    /// When everything has come to rest: each intent has an end that there is.
    pub fn check_end(&self, pages: &Pages) -> Vec<String> {
        let forgotten = pages.entries.iter().filter(|entry| !entry.is_ended());
        forgotten.map(|entry| format!("an operation was forgotten: {entry:?}")).collect()
    }

    /// Calls whose intent was found.
    pub fn calls(&self) -> usize {
        self.claimed.len()
    }

    /// Intents that were written and never became a call, or none that arrived.
    pub fn unsent(&self, pages: &Pages) -> usize {
        let batches: BTreeSet<i64> = pages.entries.iter().map(|entry| entry.batch).collect();
        batches.len() - self.claimed.len()
    }

    fn check_call(&mut self, call: usize, world: &World, pages: &Pages, problems: &mut Vec<String>) {
        let record = &world.calls()[call];
        match self.intent_of(record, self.wall(record), pages) {
            Some(batch) => {
                self.claimed.insert(batch, call);
                let entries = pages.entries.iter().filter(|entry| entry.batch == batch);
                let bytes: u64 = entries.map(|entry| entry.bytes).sum();
                if record.segments.len() > 1 && bytes > BYTES_PER_CALL.0 {
                    problems.push(format!("call {call} carries {bytes} bytes; {BYTES_PER_CALL} are allowed"));
                }
            }
            None => problems.push(format!(
                "call {call} at {:?} has no intent of its own in the journal: {:?}",
                record.at, record.request
            )),
        }
        for segment in record.segments.iter().filter(|segment| segment.is_under_way) {
            let text = format!("call {call} at {:?} moves segment {}", record.at, segment.segment);
            problems.push(format!("{text} while it is being moved"));
        }
        if exceeds(record.calls_under_way + 1, self.limits.calls_in_flight) {
            let text = format!("call {call} at {:?} is one of {}", record.at, record.calls_under_way + 1);
            problems.push(format!("{text} in flight; {} are allowed", self.limits.calls_in_flight));
        }
        let moves = record.moves_under_way + record.segments.len();
        if exceeds(moves, self.limits.moves_in_flight) {
            let text = format!("call {call} at {:?} makes {moves} moves in flight", record.at);
            problems.push(format!("{text}; {} are allowed", self.limits.moves_in_flight));
        }
        let recent = world.calls()[..=call].iter().rev();
        let recent = recent.take_while(|other| other.at + ALMOST_A_MINUTE > record.at).count();
        if exceeds(recent, self.limits.calls_per_minute) {
            let text = format!("call {call} at {:?} is one of {recent} within a minute", record.at);
            problems.push(format!("{text}; {} are allowed", self.limits.calls_per_minute));
        }
    }

    /// What the daemon's calendar said when a call arrived.
    fn wall(&self, record: &CallRecord) -> Timestamp {
        let since = SignedDuration::try_from(record.at).unwrap_or(SignedDuration::MAX);
        self.begun.saturating_add(since).unwrap_or(Timestamp::MAX)
    }

    /// The intent that this call carries out: the last one before it that no other call has carried out.
    fn intent_of(&self, record: &CallRecord, at: Timestamp, pages: &Pages) -> Option<i64> {
        let request = &record.request;
        let mut batches: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        for entry in pages.entries.iter().filter(|entry| {
            entry.collection == request.collection
                && entry.from == request.from.0
                && request.to.iter().map(|node| node.0).eq([entry.to])
                && entry.created_at.duration_since(at) < SAME_TIME
                && !self.claimed.contains_key(&entry.batch)
        }) {
            batches.entry(entry.batch).or_default().insert(entry.segment);
        }
        let wanted: BTreeSet<i64> = request.segments.iter().map(|segment| segment.0).collect();
        batches.into_iter().rev().find_map(|(batch, segments)| (segments == wanted).then_some(batch))
    }

    /// Moves and bytes of all calls that arrived and were not refused: none of these runs lasts an hour.
    fn check_budgets(&self, world: &World, pages: &Pages, problems: &mut Vec<String>) {
        let counts = |entry: &&Entry| {
            let call = self.claimed.get(&entry.batch).map(|call| &world.calls()[*call]);
            call.is_some_and(|call| !matches!(call.answered, Some((_, CallAnswer::Refused(_)))))
        };
        let moved: Vec<u64> = pages.entries.iter().filter(counts).map(|entry| entry.bytes).collect();
        if exceeds(moved.len(), self.limits.moves_per_hour) {
            let (moves, limit) = (moved.len(), self.limits.moves_per_hour);
            problems.push(format!("{moves} segments were moved within an hour, {limit} are allowed"));
        }
        let bytes: u64 = moved.iter().sum();
        for (share, window) in [(self.limits.bytes_per_hour, "an hour"), (self.limits.bytes_per_day, "a day")]
        {
            let limit = share.share_of(self.cluster_bytes);
            if limit > 0 && bytes > limit {
                problems.push(format!("{bytes} bytes were moved within {window}, {limit} are allowed"));
            }
        }
    }

    /// What is open now, by the journal.
    fn check_open(&self, pages: &Pages, problems: &mut Vec<String>) {
        let mut batches = BTreeSet::new();
        let mut copies: BTreeMap<(i64, i64), i64> = BTreeMap::new();
        for entry in pages.entries.iter().filter(|entry| entry.is_open()) {
            batches.insert(entry.batch);
            if let Some(other) = copies.insert((entry.segment, entry.replica), entry.id) {
                problems.push(format!("operations {other} and {} move the same copy", entry.id));
            }
        }
        if exceeds(batches.len(), self.limits.calls_in_flight) {
            let (count, limit) = (batches.len(), self.limits.calls_in_flight);
            problems.push(format!("{count} calls are open in the journal; {limit} are allowed"));
        }
    }

    /// No move of a copy begins before the one before it has ended.
    fn check_twice(&mut self, pages: &Pages, problems: &mut Vec<String>) {
        let mut last: BTreeMap<(i64, i64), &Entry> = BTreeMap::new();
        for entry in &pages.entries {
            if !entry.is_open() {
                self.ended_at.entry(entry.id).or_insert(entry.changed_at);
            }
            let Some(before) = last.insert((entry.segment, entry.replica), entry) else { continue };
            let ended_at = self.ended_at.get(&before.id);
            if ended_at.is_none_or(|ended_at| *ended_at > entry.created_at) {
                let text = format!("operation {} began before {} had ended", entry.id, before.id);
                problems.push(format!("{text}: {before:?}, {entry:?}"));
            }
        }
    }
}

fn exceeds(count: usize, limit: u32) -> bool {
    limit != 0 && count > usize::try_from(limit).unwrap_or(usize::MAX)
}
