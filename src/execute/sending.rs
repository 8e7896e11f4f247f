//! The sending half of the executor: which of the waiting moves may go now, their intent on disk first.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::MoveCall;
use super::executor::{Executor, RunningCall};
use super::follow::Follower;
use super::limits::CallsInFlight;
use super::operation::{Event, Operation};
use super::queue::{CallCaps, Group, Route};
use crate::journal::{Intent, JournalError};
use crate::plan::Move;
use crate::reason::Reason;
use crate::units::{Bytes, SegmentId};

/// The shortest wait for the daily budget, so that a clock that stands still does not make us spin.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// A call whose intent is being written.
#[derive(Debug)]
pub(super) struct PendingIntent {
    call: MoveCall,
    moves: Vec<Move>,
    written: JoinHandle<Result<Vec<Operation>, JournalError>>,
}

impl Executor {
    /// Sends the next call if one may go. Its intent is durable before it goes; whoever cancels this in between
    /// finds it again at the next call.
    pub(super) async fn send_next(&mut self) -> bool {
        if self.pending.is_none() {
            self.begin_intent();
        }
        self.finish_pending().await
    }

    fn begin_intent(&mut self) {
        if self.lapses_at.is_some_and(|at| at <= Instant::now()) {
            self.queue.clear();
            self.lapses_at = None;
        }
        let Ok((group, count)) = self.next_batch() else { return };
        let moves: Vec<Move> = group.moves.iter().take(count).cloned().collect();
        let segments: Vec<SegmentId> = moves.iter().map(|movement| movement.segment).collect();
        let Route { from, to, .. } = group.route;
        let Some(call) =
            MoveCall::new(group.database.as_str(), group.collection_name.as_str(), from, to, segments)
        else {
            return;
        };
        let intent = Intent {
            origin: self.origin,
            at: self.now(),
            database: group.database.clone(),
            collection_name: group.collection_name.clone(),
            from_address: group.from_address.clone(),
            moves: moves.clone(),
        };
        self.pending = Some(PendingIntent { call, moves, written: self.journal.start_intent(intent) });
    }

    /// Waits for the intent that is being written, if there is one, and sends its call. Whether it was sent.
    pub(super) async fn finish_pending(&mut self) -> bool {
        let Some(pending) = &mut self.pending else { return false };
        let written = self.journal.finished((&mut pending.written).await);
        let Some(PendingIntent { call, moves, .. }) = self.pending.take() else { return false };
        let operations = match written {
            Ok(operations) => operations,
            Err(error) => {
                self.note_journal_failure(error);
                return false;
            }
        };
        self.note_journal_works();
        // While it was written, a new plan may have taken these moves back.
        let is_wanted = !self.is_stopping && self.queue.contains_all(&moves);
        self.queue.remove(&moves);
        if is_wanted {
            self.send(call, operations);
        } else {
            self.withdraw(operations);
        }
        is_wanted
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

    fn send(&mut self, call: MoveCall, operations: Vec<Operation>) {
        let (Some(mover), Some(first)) = (self.mover.clone(), operations.first()) else { return };
        let (batch, route) = (first.batch, Route::of(&first.movement));
        let now = self.now();
        tracing::info!(
            batch = batch.0,
            collection = call.collection(),
            from = call.from().0,
            to = call.to().0,
            segments = call.segments().len(),
            "sending LoadBalance"
        );
        for operation in operations {
            let (id, movement) = (operation.id, operation.movement.clone());
            self.ledger.insert(operation, now);
            self.apply(id, &Event::Send, now);
            self.budget.record(now, id, movement.bytes);
            self.waves.record_sent(id, &movement, now);
        }
        self.rate.record(Instant::now());
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
        let in_flight = CallsInFlight::of(self.ledger.open());
        let blocks_all = self
            .hold
            .clone()
            .or_else(|| self.rate.refusal(Instant::now()))
            .or_else(|| in_flight.refusal(self.settings.calls_in_flight))
            .or_else(|| self.waves.refusal(self.now()));
        if blocks_all.is_some() {
            return Err(blocks_all);
        }
        let mut first_refusal = None;
        for group in self.queue.groups() {
            match self.route_refusal(&group.route, &in_flight) {
                Some(refusal) => {
                    first_refusal.get_or_insert(refusal);
                }
                None => return self.fitting(group),
            }
        }
        Err(first_refusal)
    }

    /// Why no call may go this way now. Two unanswered calls on one route would only wait for each other.
    fn route_refusal(&self, route: &Route, in_flight: &CallsInFlight) -> Option<Reason> {
        let limit = self.settings.calls_in_flight_per_node;
        in_flight.node_refusal([route.from, route.to], limit).or_else(|| {
            let is_busy = self.calls.values().any(|call| !call.is_answered && call.route == *route);
            is_busy.then_some(Reason::NodeInFlightLimit { node: route.from, limit: 1 })
        })
    }

    fn fitting<'a>(&self, group: &'a Group) -> Result<(&'a Group, usize), Option<Reason>> {
        let limit = self.daily_limit();
        let first = group.moves.first().map_or(Bytes::ZERO, |movement| movement.bytes);
        let segments = match self.settings.segments_per_call {
            0 => u32::MAX,
            limit => limit,
        };
        let caps = CallCaps {
            segments: segments.min(self.waves.room().unwrap_or(u32::MAX)) as usize,
            bytes: match self.settings.bytes_per_call {
                Bytes::ZERO => Bytes(u64::MAX),
                limit => limit,
            },
            day: self.budget.room(limit, first, self.now()),
        };
        match group.fitting(caps) {
            0 => Err(Some(Reason::DailyBytes { limit })),
            count => Ok((group, count)),
        }
    }

    /// Bytes that may be moved in 24 hours; zero is no limit.
    fn daily_limit(&self) -> Bytes {
        let share = self.settings.bytes_per_day;
        if share.0 == 0 {
            return Bytes::ZERO;
        }
        // A share of a tiny cluster that rounds down to nothing is a limit still.
        Bytes(share.share_of(self.cluster_bytes.0).max(1))
    }

    /// What holds back the first of the waiting moves.
    pub(super) fn head_refusal(&self) -> Option<Reason> {
        self.next_batch().err().flatten()
    }

    /// When a limit lets go by the passing of time alone.
    pub(super) fn sending_due(&self) -> Option<Instant> {
        let now = Instant::now();
        match self.head_refusal()? {
            Reason::CallRate { .. } => self.rate.free_at(now),
            Reason::DailyBytes { .. } => {
                self.budget.frees_in(self.now()).map(|wait| now + wait.max(SHORTEST_WAIT))
            }
            _ => None,
        }
    }
}
