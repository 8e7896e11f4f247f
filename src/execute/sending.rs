//! The sending half of the executor: which of the waiting moves may go now, their intent on disk first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::MoveCall;
use super::executor::{Executor, RunningCall};
use super::follow::Follower;
use super::in_flight::UnderWay;
use super::operation::{Event, Operation, Origin};
use super::queue::{CallCaps, CopyKey, Group, Order, Route, Waiting, copy_key};
use super::spending::SlidingWindow;
use super::steady::Steady;
use crate::journal::{Intent, JournalError};
use crate::lease::LeaseError;
use crate::plan::Move;
use crate::reason::Reason;
use crate::telemetry::Chain;
use crate::units::{Bytes, NodeId, Ratio};

/// The shortest wait for a budget, so that what comes free in a moment does not make us spin.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// A call whose intent is being written.
#[derive(Debug)]
pub(super) struct PendingIntent {
    moves: Vec<Move>,
    stage: Stage,
}

/// Where an intent is being written.
#[derive(Debug)]
enum Stage {
    /// Into our journal.
    Journal(JoinHandle<Result<Vec<Operation>, JournalError>>),
    /// And then, in the same transaction that proves that we lead, where a successor finds it.
    SharedRecord { operations: Vec<Operation>, term: i64, written: JoinHandle<Result<(), LeaseError>> },
}

impl Executor {
    /// Sends the next call if one may go. Its intent is durable before it goes; whoever cancels this in between
    /// finds it again at the next call. Whether anything waits no longer.
    pub(super) async fn send_next(&mut self) -> bool {
        let waiting = self.queue.len();
        if self.pending.is_none() {
            self.begin_intent();
        }
        self.finish_pending().await || self.queue.len() < waiting
    }

    fn begin_intent(&mut self) {
        if self.lapses_at.is_some_and(|at| at <= Instant::now()) {
            self.queue.clear();
            self.lapses_at = None;
        }
        self.drop_what_has_no_room();
        let Ok((group, count)) = self.next_batch() else { return };
        if let Some(reason) = self.kill_switch.refusal() {
            tracing::warn!("nothing is sent: {reason}");
            let waiting = self.queue.waiting().map(|waiting| (copy_key(&waiting.movement), reason.clone()));
            let waiting: BTreeMap<CopyKey, Reason> = waiting.collect();
            self.give_up(&waiting);
            return;
        }
        let moves: Vec<Move> =
            group.moves.iter().take(count).map(|waiting| waiting.movement.clone()).collect();
        let intent = Intent {
            origin: self.origin,
            at: self.now().wall,
            database: group.database.clone(),
            collection_name: group.collection_name.clone(),
            from_address: group.from_address.clone(),
            moves: moves.clone(),
            locked_since: self.locked_since(),
        };
        let stage = Stage::Journal(self.journal.start_intent(intent));
        self.pending = Some(PendingIntent { moves, stage });
    }

    /// Since when an open operation of another process is taken to be followed by somebody. The daemon follows all of
    /// them to their end; a person cannot wait for what a daemon that is gone has left behind.
    fn locked_since(&self) -> Timestamp {
        match self.origin {
            Origin::Daemon => Timestamp::MIN,
            Origin::Manual => {
                let patience = SignedDuration::try_from(self.settings.settle_timeout);
                self.now().wall.checked_sub(patience.unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MIN)
            }
        }
    }

    /// Waits for the intent that is being written, if there is one, and sends its call. Whether it was sent.
    pub(super) async fn finish_pending(&mut self) -> bool {
        let Some((moves, operations)) = self.finish_writing().await else { return false };
        // While it was written, a new plan may have taken these moves back, or somebody thrown the switch.
        let has_lapsed = self.lapses_at.is_some_and(|at| at <= Instant::now());
        let leads_no_more = self.leadership_refusal().is_some();
        let is_stopped =
            self.is_stopping || has_lapsed || leads_no_more || self.kill_switch.thrown().is_some();
        let is_wanted = !is_stopped && self.queue.contains_all(&moves);
        if !is_wanted {
            self.queue.remove(&moves.iter().map(copy_key).collect());
            self.withdraw(operations);
            return false;
        }
        // A turn in between may have found that nothing, or less, is to be sent now: the moves wait on.
        let room = self.waves.room().unwrap_or(u32::MAX).min(self.breaker.room());
        if self.blocks_all().is_some() || operations.len() > room as usize {
            self.withdraw(operations);
            self.save().await;
            return false;
        }
        let ours: BTreeSet<CopyKey> =
            operations.iter().map(|operation| copy_key(&operation.movement)).collect();
        let elsewhere = moves.iter().map(copy_key).filter(|copy| !ours.contains(copy));
        self.give_up(&elsewhere.map(|copy| (copy, Reason::InFlight)).collect());
        self.send(operations);
        true
    }

    /// Moves whose intent a successor must find from now on, and whose call is not on its way yet.
    pub(super) fn about_to_be_sent(&self) -> &[Operation] {
        match &self.pending {
            Some(PendingIntent { stage: Stage::SharedRecord { operations, .. }, .. }) => operations,
            _ => &[],
        }
    }

    /// Waits until the intent is written everywhere; `None` when there is none, or when it could not be written.
    async fn finish_writing(&mut self) -> Option<(Vec<Move>, Vec<Operation>)> {
        if let Stage::Journal(written) = &mut self.pending.as_mut()?.stage {
            let written = self.journal.finished(written.await);
            let PendingIntent { moves, .. } = self.pending.take()?;
            let operations = match written {
                Ok(operations) => operations,
                Err(error) => {
                    self.note_journal_failure(error);
                    return None;
                }
            };
            self.note_journal_works();
            match self.begin_fencing(&operations) {
                Some((term, written)) => {
                    let stage = Stage::SharedRecord { operations, term, written };
                    self.pending = Some(PendingIntent { moves, stage });
                }
                None => return Some((moves, operations)),
            }
        }
        let Stage::SharedRecord { written, .. } = &mut self.pending.as_mut()?.stage else { return None };
        let written = written.await;
        let PendingIntent { moves, stage: Stage::SharedRecord { operations, term, .. } } =
            self.pending.take()?
        else {
            return None;
        };
        let problem = match written {
            Ok(Ok(())) if self.term() == Some(term) => return Some((moves, operations)),
            Ok(Ok(())) => "another one led meanwhile".to_owned(),
            Ok(Err(error)) => Chain(&error).to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            error = problem,
            "nothing is sent: the election does not confirm that this instance leads"
        );
        self.withdraw(operations);
        self.save().await;
        None
    }

    fn withdraw(&mut self, operations: Vec<Operation>) {
        let now = self.now();
        let cause = "it was taken back before it was sent".to_owned();
        for operation in operations {
            let id = operation.id;
            self.ledger.insert(operation, now);
            self.apply(id, &Event::Withdraw { cause: cause.clone() }, now);
        }
    }

    /// Sends what has its intent in the journal.
    fn send(&mut self, operations: Vec<Operation>) {
        let (Some(mover), Some(first)) = (self.mover.clone(), operations.first()) else { return };
        let (batch, route) = (first.batch, Route::of(&first.movement));
        let segments = operations.iter().map(|operation| operation.movement.segment).collect();
        let (database, collection) = (first.database.as_str(), first.collection_name.as_str());
        let Some(call) = MoveCall::new(database, collection, route.from, route.to, segments) else {
            return;
        };
        let now = self.now();
        tracing::info!(
            batch = batch.0,
            collection = call.collection(),
            from = call.from().0,
            to = call.to().0,
            segments = call.segments().len(),
            "sending LoadBalance"
        );
        let mut total = Bytes::ZERO;
        for operation in operations {
            let (id, movement) = (operation.id, operation.movement.clone());
            self.queue.sent(&movement, id);
            self.ledger.insert(operation, now);
            self.apply(id, &Event::Send, now);
            self.spending.record(Steady::of(now), id, movement.bytes);
            self.waves.record_sent(id, &movement, now);
            total = total.saturating_add(movement.bytes);
        }
        if let Some(room) = self.room.as_mut().and_then(|room| room.get_mut(&route.to)) {
            *room = room.saturating_sub(total);
        }
        self.breaker.sent(batch);
        self.rate.record(Steady::of(now));
        self.byte_rate.record(Steady::of(now), total);
        self.calls_sent += 1;
        let settled = CancellationToken::new();
        let follower = Follower {
            batch,
            call,
            collection: route.collection,
            mover,
            rereads: self.rereads.clone(),
            news: self.news_sender.clone(),
            settled: settled.clone(),
        };
        let task = self.tasks.spawn(follower.run(self.settings.clone())).id();
        self.calls.insert(batch, RunningCall { route, task, is_answered: false, settled });
    }

    /// The first group that may go now, and how many of its moves; else what holds back the first of all.
    fn next_batch(&self) -> Result<(&Group, usize), Option<Reason>> {
        if self.queue.is_empty() || self.mover.is_none() || self.is_stopping {
            return Err(None);
        }
        let blocks_all = self.blocks_all();
        if blocks_all.is_some() {
            return Err(blocks_all);
        }
        let under_way = UnderWay::of(self.ledger.open());
        let order = self.queue.order();
        let mut first_refusal = None;
        let mut day_is_spent = None;
        for group in self.queue.groups() {
            // What is ordered need not wait for tomorrow behind what is not.
            if day_is_spent.is_some() && !self.is_drained(group) {
                continue;
            }
            match self.way_is_free(group, &under_way, &order) {
                Ok(count) => match self.within_budgets(group, count) {
                    Ok(count) => return Ok((group, count)),
                    Err(spent @ (Reason::DailyMoves { .. } | Reason::DailyBytes { .. })) => {
                        day_is_spent.get_or_insert(spent);
                    }
                    Err(refusal) => return Err(Some(refusal)),
                },
                Err(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
            }
        }
        Err(day_is_spent.or(first_refusal))
    }

    /// Why no call at all may go out now.
    fn blocks_all(&self) -> Option<Reason> {
        let now = Steady::of(self.now());
        self.leadership_refusal()
            .or_else(|| self.hold.clone())
            .or_else(|| self.breaker.refusal(now))
            .or_else(|| self.rate.refusal(now))
            .or_else(|| UnderWay::of(self.ledger.open()).refusal(&self.settings))
            .or_else(|| self.waves.refusal(self.now()))
    }

    /// How many moves of a group may go its way now, or why none: what is about this way alone. Two unanswered calls
    /// on one route would only wait for each other.
    fn way_is_free(&self, group: &Group, under_way: &UnderWay, order: &Order) -> Result<usize, Reason> {
        let room = under_way.room(&self.settings, &group.route)?;
        if self.calls.values().any(|call| !call.is_answered && call.route == group.route) {
            return Err(Reason::NodeInFlightLimit { node: group.route.from, limit: 1 });
        }
        match group.moves.iter().take_while(|waiting| order.allows(waiting)).count() {
            0 => Err(Reason::EarlierStepOpen),
            count => Ok(count.min(room as usize)),
        }
    }

    /// Nodes that somebody ordered to be emptied: what leaves them waits for no daily budget, though it is counted in it.
    pub fn note_drains(&mut self, nodes: BTreeSet<NodeId>) {
        self.waves.note_drains(nodes);
    }

    /// Whether a group leaves a node that somebody ordered to be emptied.
    fn is_drained(&self, group: &Group) -> bool {
        self.waves.is_drained(group.route.from)
    }

    /// How many of a group's first moves the budgets let go now, or why none: what is about everybody.
    fn within_budgets(&self, group: &Group, count: usize) -> Result<usize, Reason> {
        let now = Steady::of(self.now());
        let settings = &self.settings;
        let mut segments = self.waves.room().unwrap_or(u32::MAX).min(self.breaker.room());
        if settings.segments_per_call != 0 {
            segments = segments.min(settings.segments_per_call);
        }
        // The first is that of the day.
        let not_asked = usize::from(self.is_drained(group));
        for (window, limit, reason) in self.move_budgets().into_iter().skip(not_asked) {
            match window.moves_left(limit, now) {
                0 => return Err(reason),
                left => segments = segments.min(left),
            }
        }
        let first = group.moves.first().map_or(Bytes::ZERO, |waiting| waiting.movement.bytes);
        let mut budget = Bytes(u64::MAX);
        for (window, limit, reason) in self.byte_budgets().into_iter().skip(not_asked) {
            let left = window.bytes_left(limit, first, now);
            if left < first {
                return Err(reason);
            }
            budget = budget.min(left);
        }
        let bytes = match settings.bytes_per_call {
            Bytes::ZERO => self.byte_rate.largest_call(),
            limit => limit.min(self.byte_rate.largest_call()),
        };
        let count = group.fitting(CallCaps { segments: count.min(segments as usize), bytes, budget });
        match self.byte_rate.wait(bytes_of(group, count), now) {
            Some(_) => Err(Reason::ByteRate { per_second: settings.bytes_per_second }),
            None => Ok(count),
        }
    }

    /// The longer window first: where both are spent, that one tells how long it takes.
    fn move_budgets(&self) -> [(&SlidingWindow, u32, Reason); 2] {
        let (hour, day) = (self.settings.moves_per_hour, self.settings.moves_per_day);
        [
            (&self.spending.day, day, Reason::DailyMoves { limit: day }),
            (&self.spending.hour, hour, Reason::HourlyMoves { limit: hour }),
        ]
    }

    fn byte_budgets(&self) -> [(&SlidingWindow, Bytes, Reason); 2] {
        let hour = self.share_of_cluster(self.settings.bytes_per_hour);
        let day = self.share_of_cluster(self.settings.bytes_per_day);
        [
            (&self.spending.day, day, Reason::DailyBytes { limit: day }),
            (&self.spending.hour, hour, Reason::HourlyBytes { limit: hour }),
        ]
    }

    /// A share of all segment bytes; zero is no limit.
    pub(super) fn share_of_cluster(&self, share: Ratio) -> Bytes {
        if share == Ratio::ZERO {
            return Bytes::ZERO;
        }
        // A share of a tiny cluster that rounds down to nothing is a limit still.
        Bytes(share.share_of(self.cluster_bytes.0).max(1))
    }

    /// Gives up waiting moves for which their destination has no room any more, that of the earlier ones kept free:
    /// a later step must not take the place of one that it was planned after.
    fn drop_what_has_no_room(&mut self) {
        let Some(room) = &self.room else { return };
        let mut taken: BTreeMap<NodeId, Bytes> = BTreeMap::new();
        let mut waiting: Vec<&Waiting> = self.queue.waiting().collect();
        waiting.sort_by_key(|waiting| waiting.position);
        let mut gone = BTreeMap::new();
        for Waiting { movement, .. } in waiting {
            let taken = taken.entry(movement.to).or_default();
            let left = room.get(&movement.to).copied().unwrap_or_default().saturating_sub(*taken);
            if movement.bytes > left {
                let reason = Reason::NoHeadroom { node: movement.to, needed: movement.bytes, room: left };
                gone.insert(copy_key(movement), reason);
            } else {
                *taken = taken.saturating_add(movement.bytes);
            }
        }
        self.give_up(&gone);
    }

    /// What holds back the first of the waiting moves.
    pub(super) fn head_refusal(&self) -> Option<Reason> {
        self.next_batch().err().flatten()
    }

    /// When a limit lets go by the passing of time alone.
    pub(super) fn sending_due(&self) -> Option<Instant> {
        let now = Steady::of(self.now());
        let wait = match self.head_refusal()? {
            Reason::BreakerOpen { .. } => self.breaker.remaining(now)?,
            Reason::CallRate { .. } => self.rate.wait(now)?,
            Reason::ByteRate { .. } => SHORTEST_WAIT,
            Reason::HourlyMoves { .. } | Reason::HourlyBytes { .. } => {
                self.spending.hour.frees_in(now)?.max(SHORTEST_WAIT)
            }
            Reason::DailyMoves { .. } | Reason::DailyBytes { .. } => {
                self.spending.day.frees_in(now)?.max(SHORTEST_WAIT)
            }
            _ => return None,
        };
        Some(Instant::now() + wait)
    }
}

fn bytes_of(group: &Group, count: usize) -> Bytes {
    group.moves.iter().take(count).map(|waiting| waiting.movement.bytes).sum()
}
