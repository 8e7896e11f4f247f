//! The executor: takes the moves that the gates let through, sends them within the limits, and follows each
//! until the distribution shows what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::breaker::Breaker;
use super::follow::{News, with_causes};
use super::in_flight::UnderWay;
use super::landings::Landings;
use super::leading::Lead;
use super::ledger::{Change, Ledger};
use super::limits::CallRate;
use super::operation::{BatchId, Event, Operation, OperationId, OperationState, Origin, Patience};
use super::queue::{Queue, Route};
use super::revalidation;
use super::saving::PendingSave;
use super::sending::PendingIntent;
use super::shared_rereads::SharedRereads;
use super::sight::Sight;
use super::spending::{ByteRate, Spending};
use super::steady::Steady;
use super::usage::LimitUse;
use super::waves::Waves;
use super::{ExecuteSettings, Mover};
use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::kill_switch::KillSwitch;
use crate::milvus::Remedy;
use crate::model::{Departure, EndedMove, InFlight, KnownMove, Setback};
use crate::observe::Observer;
use crate::observe::observation::{CollectionReport, Observation};
use crate::plan::Move;
use crate::reason::Reason;
use crate::units::{Bytes, Moment, NodeId};

pub use super::queue::AdmittedMove;

/// News that may wait for the control loop; tasks wait when it is full, which costs nothing but their time.
const NEWS_CAPACITY: usize = 64;

/// What the executor tells metrics and people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutorStatus {
    /// Admitted moves that wait for a limit.
    pub queued: usize,
    /// Operations whose end is not known.
    pub open_operations: usize,
    /// Calls whose moves have not all ended.
    pub calls_in_flight: usize,
    /// Calls sent since the start.
    pub calls_sent: u64,
    /// Operations that ended since the start, by the code of their end. A late landing counts as both.
    pub ended: BTreeMap<&'static str, u64>,
    /// Bytes of the last 24 hours that count against the daily budget.
    pub bytes_spent: Bytes,
    /// Moves in a full wave now; `None` when waves are off.
    pub wave_size: Option<u32>,
    /// State of the circuit breaker: closed, open, testing.
    pub breaker: &'static str,
    /// All limits and how much of each is used.
    pub limits: Vec<LimitUse>,
    /// How long an outcome that nobody knows is waited for at present.
    pub settle_patience: Duration,
    /// Moves that were let through and dropped before their call, since the start, by the code of the reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Waves in a row without relief, when nothing is moved because of them.
    pub stopped_after_waves: Option<u32>,
    /// Why the journal cannot be written, if so.
    pub journal_failure: Option<String>,
}

/// A call that was sent and whose task still runs.
#[derive(Debug)]
pub(super) struct RunningCall {
    pub(super) route: Route,
    pub(super) task: Id,
    pub(super) is_answered: bool,
    pub(super) settled: CancellationToken,
}

/// What happened since somebody last asked; counted once, by the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Happenings {
    /// Operations that ended.
    pub ended: Vec<Operation>,
    /// Calls that were answered or given up: `None` for success, else what to do about the failure.
    pub answers: Vec<Option<Remedy>>,
    /// Moves that were let through and dropped before their call.
    pub dropped: Vec<(Move, Reason)>,
}

/// Sends moves and follows them. Owned by the control loop, whose task is the only writer of operations.
pub struct Executor {
    pub(super) settings: ExecuteSettings,
    pub(super) origin: Origin,
    pub(super) mover: Option<Arc<dyn Mover>>,
    pub(super) rereads: SharedRereads,
    pub(super) journal: Journal,
    pub(super) clock: Arc<Clock>,
    pub(super) ledger: Ledger,
    pub(super) queue: Queue,
    /// From when on the waiting moves are too old to be sent.
    pub(super) lapses_at: Option<Instant>,
    pub(super) cluster_bytes: Bytes,
    /// Bytes that may still arrive at each node, what was sent since it was worked out taken off; without it, nobody
    /// knows.
    pub(super) room: Option<BTreeMap<NodeId, Bytes>>,
    pub(super) rate: CallRate,
    pub(super) byte_rate: ByteRate,
    pub(super) spending: Spending,
    pub(super) landings: Landings,
    pub(super) breaker: Breaker,
    pub(super) waves: Waves,
    /// Why no call goes out until somebody says otherwise.
    pub(super) hold: Option<Reason>,
    pub(super) calls: BTreeMap<BatchId, RunningCall>,
    pub(super) calls_sent: u64,
    pub(super) tasks: JoinSet<()>,
    pub(super) news_sender: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    pub(super) pending: Option<PendingIntent>,
    pub(super) saving: Option<PendingSave>,
    pub(super) journal_failure: Option<JournalError>,
    pub(super) journal_retry_at: Option<Instant>,
    pub(super) is_stopping: bool,
    /// Whether each move waits for all before it.
    pub(super) is_in_order: bool,
    pub(super) kill_switch: KillSwitch,
    /// The election that must be won to act; `None` where there is one instance only.
    pub(super) lead: Option<Lead>,
    pub(super) happened: Happenings,
    pub(super) dropped: BTreeMap<&'static str, u64>,
}

impl Executor {
    /// An executor without a `mover` never sends anything.
    pub fn new(
        settings: ExecuteSettings,
        mover: Option<Arc<dyn Mover>>,
        observer: Arc<dyn Observer>,
        journal: Journal,
        clock: Arc<Clock>,
    ) -> Executor {
        let (news_sender, news) = mpsc::channel(NEWS_CAPACITY);
        Executor {
            ledger: Ledger::default(),
            rate: CallRate::new(settings.calls_per_minute),
            byte_rate: ByteRate::new(settings.bytes_per_second, settings.bytes_per_call),
            spending: Spending::default(),
            landings: Landings::default(),
            breaker: Breaker::new(settings.breaker.clone()),
            waves: Waves::new(settings.waves.clone()),
            hold: None,
            settings,
            origin: Origin::Daemon,
            mover,
            rereads: SharedRereads::new(observer),
            journal,
            clock,
            queue: Queue::default(),
            lapses_at: None,
            cluster_bytes: Bytes::ZERO,
            room: None,
            calls: BTreeMap::new(),
            calls_sent: 0,
            tasks: JoinSet::new(),
            news_sender,
            news,
            pending: None,
            saving: None,
            journal_failure: None,
            journal_retry_at: None,
            is_stopping: false,
            is_in_order: false,
            kill_switch: KillSwitch::default(),
            lead: None,
            happened: Happenings::default(),
            dropped: BTreeMap::new(),
        }
    }

    /// Looks at this switch right before each call.
    pub fn obey(&mut self, kill_switch: KillSwitch) {
        self.kill_switch = kill_switch;
    }

    /// The switch that it obeys.
    pub fn kill_switch(&self) -> &KillSwitch {
        &self.kill_switch
    }

    /// Whether anything waits to be sent.
    pub fn has_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Applies a full poll to all open operations, and to those that may land late.
    pub async fn settle(&mut self, observation: &Observation) {
        let now = self.now();
        for id in self.ledger.watched() {
            let Some(operation) = self.ledger.get(id) else { continue };
            let sight = Sight::in_observation(&operation.movement, &operation.database, observation, now);
            self.apply(id, &Event::Seen(sight), now);
        }
        self.release_overdue(now);
        self.drop_settled_calls();
        self.ledger.forget(now);
        self.spending.forget(Steady::of(now));
        self.save().await;
    }

    /// Replaces all moves that wait to be sent. They are sent from [`Executor::next_event`], in plan order and
    /// within the limits; an empty list takes back what was not sent.
    pub fn offer(&mut self, moves: Vec<AdmittedMove>, cluster_bytes: Bytes) {
        self.cluster_bytes = cluster_bytes;
        if self.mover.is_none() || self.is_stopping {
            self.queue.clear();
            return;
        }
        self.queue = Queue::of(moves, self.ledger.open(), self.is_in_order);
    }

    /// Bytes that may still arrive at each node, everything that is on its way already counted: what the moves that
    /// are offered with it share. A node that is missing takes nothing.
    pub fn note_room(&mut self, room: BTreeMap<NodeId, Bytes>) {
        self.room = Some(room);
    }

    /// Forgets the waiting moves at this time, if nothing newer has been offered: segment ids and nodes change, and
    /// a limit can hold a move back until its plan is old news.
    pub fn let_offer_lapse(&mut self, at: Instant) {
        self.lapses_at = Some(at);
    }

    /// Sends what may be sent and waits until something changed: an answer, a look at a collection, a limit
    /// that let go. Safe to cancel at any point.
    pub async fn next_event(&mut self) {
        loop {
            if self.journal_may_be_tried() {
                self.save().await;
                if self.send_next().await {
                    return;
                }
            }
            let due = self.next_due();
            tokio::select! {
                // In this order, so that a simulated run can be repeated.
                biased;
                Some(news) = self.news.recv() => self.take_news(news),
                Some(joined) = self.tasks.join_next_with_id() => self.take_ended_task(joined),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => continue,
            }
            if self.journal_may_be_tried() {
                self.save().await;
            }
            return;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.journal_retry_at.or_else(|| self.sending_due())
    }

    pub(super) fn take_news(&mut self, news: News) {
        let now = self.now();
        match news {
            News::Answered { batch, event } => self.take_answer(batch, &event, now),
            News::Read(report) => self.take_report(&report, now),
        }
    }

    fn take_answer(&mut self, batch: BatchId, event: &Event, now: Moment) {
        if let Some(call) = self.calls.get_mut(&batch) {
            call.is_answered = true;
        }
        if let Event::Failed { remedy, cause } = event {
            tracing::warn!(batch = batch.0, ?remedy, cause, "LoadBalance failed; looking what became of it");
            match remedy {
                Remedy::OutcomeUnknown => self.breaker.unanswered(batch, Steady::of(now)),
                Remedy::FixAccess => self.breaker.hopeless(Steady::of(now)),
                // Whether it was refused is seen by what becomes of it.
                Remedy::RetryLater | Remedy::Replan | Remedy::SkipCollection | Remedy::OurBug => {}
            }
        }
        self.happened.answers.push(match event {
            Event::Failed { remedy, .. } => Some(*remedy),
            _ => None,
        });
        for id in self.ledger.of_batch(batch) {
            self.apply(id, event, now);
        }
        self.drop_settled_calls();
    }

    fn take_report(&mut self, report: &CollectionReport, now: Moment) {
        for id in self.ledger.watched() {
            let Some(operation) = self.ledger.get(id) else { continue };
            if operation.movement.collection == report.id {
                let sight = Sight::in_report(&operation.movement, report, now);
                self.apply(id, &Event::Seen(sight), now);
            }
        }
        self.drop_settled_calls();
        self.give_up(&revalidation::outdated(&self.queue, report));
    }

    /// A task that broke off before its call was answered took the answer with it.
    fn take_ended_task(&mut self, joined: Result<(Id, ()), JoinError>) {
        let task = match &joined {
            Ok((task, ())) => *task,
            Err(error) => error.id(),
        };
        let Some((batch, call)) = self.calls.iter().find(|(_, call)| call.task == task) else { return };
        let (batch, is_answered) = (*batch, call.is_answered);
        if is_answered {
            self.calls.remove(&batch);
        } else if joined.is_err() {
            let cause = "the task that waited for the answer broke off".to_owned();
            self.take_answer(batch, &Event::Failed { remedy: Remedy::OutcomeUnknown, cause }, self.now());
            self.calls.remove(&batch);
        }
        // Otherwise its answer waits among the news.
    }

    /// Tells the tasks whose moves have all ended that they can stop looking.
    fn drop_settled_calls(&mut self) {
        let ledger = &self.ledger;
        self.calls.retain(|batch, call| {
            let is_settled = !ledger.open().any(|operation| operation.batch == *batch);
            if is_settled {
                call.settled.cancel();
            }
            !(is_settled && call.is_answered)
        });
    }

    pub(super) fn apply(&mut self, id: OperationId, event: &Event, now: Moment) {
        if let Some(change) = self.ledger.apply(id, event, now, self.patience())
            && change.operation.state.is_ended()
        {
            self.book_end(&change, now);
        }
    }

    /// How long operations are waited for at present.
    fn patience(&self) -> Patience {
        let longest = self.settings.settle_timeout;
        Patience { on_source: self.landings.patience(self.settings.call_timeout, longest), on_both: longest }
    }

    fn book_end(&mut self, change: &Change, now: Moment) {
        let Operation { id, movement, state, origin, evidence, .. } = &change.operation;
        let has_landed = *state == OperationState::Landed;
        tracing::info!(
            operation = id.0,
            segment = movement.segment.0,
            from = movement.from.0,
            to = movement.to.0,
            origin = origin.code(),
            was = change.before.code(),
            "move {state}"
        );
        self.waves.record_end(*id, state, now);
        self.happened.ended.push(change.operation.clone());
        if has_landed {
            self.landings.record(evidence.sent.age(evidence.changed));
        }
        for dropped in self.queue.ended(*id, has_landed) {
            self.note_dropped(dropped, Reason::EarlierStepRefused);
        }
        if *origin != self.origin {
            return;
        }
        self.breaker.ended(change.operation.batch, state, Steady::of(now));
        if matches!(state, OperationState::Refused { .. }) {
            self.spending.give_back(*id);
        }
        if matches!(change.before, OperationState::Refused { .. }) {
            // It moved after all.
            self.spending.record(Steady::of(now), *id, movement.bytes);
        }
    }

    /// Whether nothing more can happen: nothing waits, and nobody looks for what is open.
    pub(super) fn is_done(&self) -> bool {
        let nobody_looks = self.tasks.is_empty() && self.news.is_empty();
        let is_settled = self.calls.is_empty() && self.ledger.open().next().is_none();
        self.queue.is_empty() && self.pending.is_none() && (nobody_looks || is_settled)
    }

    /// What holds back the first of the waiting moves.
    pub fn limited_by(&self) -> Option<Reason> {
        if self.mover.is_none() {
            return Some(Reason::AdviseOnly);
        }
        if self.is_stopping {
            return Some(Reason::Stopping);
        }
        if let Some(reason) = self.kill_switch.refusal() {
            return Some(reason);
        }
        if let Some(reason) = self.leadership_refusal() {
            return Some(reason);
        }
        if let Some(error) = &self.journal_failure {
            return Some(Reason::JournalUnavailable { detail: with_causes(error) });
        }
        self.head_refusal()
    }

    /// Moves whose end is not known.
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.ledger.in_flight()
    }

    /// Moves of ours that are open or ended lately, so that they are not taken for somebody else's.
    pub fn known_moves(&self) -> Vec<KnownMove> {
        self.ledger.known_moves()
    }

    /// All moves of the last day that landed.
    pub fn landed_moves(&self) -> Vec<EndedMove> {
        self.ledger.landed_moves(self.now())
    }

    /// All departures that are remembered, oldest first.
    pub fn departures(&self) -> Vec<Departure> {
        self.ledger.departures(self.now())
    }

    /// All moves that came to nothing and are remembered.
    pub fn setbacks(&self) -> Vec<Setback> {
        self.ledger.setbacks(self.now())
    }

    /// All operations whose end is not known, by number.
    pub fn open_operations(&self) -> impl Iterator<Item = &Operation> {
        self.ledger.open()
    }

    /// The operation that carries out this move, open or ended a short while ago.
    pub fn operation_of(&self, movement: &Move) -> Option<&Operation> {
        self.ledger.newest_of(movement)
    }

    /// What happened since the last time this was asked.
    pub fn take_happenings(&mut self) -> Happenings {
        std::mem::take(&mut self.happened)
    }

    /// Numbers for metrics.
    pub fn status(&self) -> ExecutorStatus {
        ExecutorStatus {
            queued: self.queue.len(),
            open_operations: self.ledger.open().count(),
            calls_in_flight: UnderWay::of(self.ledger.open()).calls(),
            calls_sent: self.calls_sent,
            ended: self.ledger.ended().clone(),
            bytes_spent: self.spending.day.spent(Steady::of(self.now())).bytes,
            wave_size: self.waves.size(),
            breaker: self.breaker.code(),
            limits: self.limit_uses(),
            settle_patience: self.patience().on_source,
            dropped: self.dropped.clone(),
            stopped_after_waves: self.waves.stopped_after(self.now()),
            journal_failure: self.journal_failure.as_ref().map(|error| with_causes(error)),
        }
    }

    /// Sends nothing more and waits for the answers of running calls, up to `stop_timeout`. What is open then
    /// stays so in the journal.
    pub async fn stop(&mut self) {
        self.is_stopping = true;
        self.queue.clear();
        let deadline = Instant::now() + self.settings.stop_timeout;
        // An intent that is being written becomes one that will not be sent.
        let stopped = timeout_at(deadline, async {
            self.finish_pending().await;
            while self.calls.values().any(|call| !call.is_answered) {
                self.next_event().await;
            }
        });
        if stopped.await.is_err() {
            let open = self.ledger.open().count();
            tracing::warn!(open, "stopping with calls unanswered; the journal keeps them as open");
        }
        self.save().await;
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.read()
    }
}
