//! Acting as one of several daemons: only while this one leads, with every intent in the record that the instances share
//! before its call, and with the moves of the leader before taken over as if they were our own.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::executor::Executor;
use super::landings::Landings;
use super::limits::CallRate;
use super::operation::{Operation, OperationId};
use super::spending::{ByteRate, DAY, Spending};
use super::steady::Steady;
use super::waves::Waves;
use crate::journal::JournalError;
use crate::lease::{Election, Leadership, LeaseError, SharedOrders, SharedRecord, SpentHour};
use crate::reason::Reason;
use crate::telemetry::Chain;
use crate::units::Bytes;

/// For how long ended moves stay in the shared record: a follower looks at a quarter of the leader's pace, and must still
/// find there whatever moved between two of its looks.
const ENDED_SHARED: Duration = Duration::from_secs(60 * 60);

/// Seconds of an hour, by which spending is summed up.
const HOUR_SECONDS: i64 = 60 * 60;

/// The number of what others spent: no operation of this journal has it.
const OF_OTHERS: OperationId = OperationId(0);

/// What an executor knows of its leadership.
pub(super) struct Lead {
    election: Arc<dyn Election>,
    state: watch::Receiver<Leadership>,
    /// The leadership for which everything has been taken over.
    taken_over: Option<i64>,
    /// When the figures of nodes have settled since then.
    settled_at: Instant,
    /// Why taking over failed, if it did.
    failure: Option<String>,
    published: Option<SharedRecord>,
    /// What people told this instance.
    orders: SharedOrders,
    /// The orders of the leader that were taken over last.
    mirrored: SharedOrders,
}

/// Why nothing could be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    /// The shared record could not be read.
    #[error("what the leader before left could not be read")]
    Record(#[from] LeaseError),
    /// The journal could not be used.
    #[error("what the leader before left could not be written down")]
    Journal(#[from] JournalError),
}

impl Executor {
    /// Acts only while this election is won.
    pub fn lead_by(&mut self, election: Arc<dyn Election>) {
        let state = election.leadership();
        self.lead = Some(Lead {
            election,
            state,
            taken_over: None,
            settled_at: Instant::now(),
            failure: None,
            published: None,
            orders: SharedOrders::default(),
            mirrored: SharedOrders::default(),
        });
    }

    /// Whether another instance, or nobody, leads.
    pub fn is_follower(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| !lead.state.borrow().leads_at(Instant::now()))
    }

    /// Why this instance may not act now, as far as the election goes.
    pub fn leadership_refusal(&self) -> Option<Reason> {
        let lead = self.lead.as_ref()?;
        let now = Instant::now();
        let state = lead.state.borrow();
        if let Some(reason) = state.refusal(now) {
            return Some(reason);
        }
        if !matches!(&*state, Leadership::Leading { term, .. } if lead.taken_over == Some(*term)) {
            let detail = lead.failure.clone();
            let detail = detail.unwrap_or_else(|| "the moves of the one before are being read".to_owned());
            return Some(Reason::LeaderUnknown { detail });
        }
        (now < lead.settled_at).then(|| Reason::TakingOver { remaining: lead.settled_at - now })
    }

    /// Brings this instance's picture of the others up to date, once a turn and before anything is settled: a follower
    /// learns what the leader moves, so that it does not take it for somebody else's, and a new leader takes over.
    /// `settle_time` is how long the figures of nodes lag behind a move.
    pub async fn keep_up(&mut self, settle_time: Duration) {
        let Some(lead) = &self.lead else { return };
        let leads = match *lead.state.borrow() {
            Leadership::Leading { term, .. } => Some(term),
            _ => None,
        };
        if leads.is_some() && leads == lead.taken_over {
            return;
        }
        let adopted = self.adopt().await;
        let Some(lead) = &mut self.lead else { return };
        match (adopted, leads) {
            (Ok(()), Some(term)) => {
                tracing::info!(
                    term,
                    ?settle_time,
                    "took over what the leader before left; waiting for figures to settle"
                );
                lead.taken_over = Some(term);
                lead.failure = None;
                // Nobody was before us when there is nothing to take over, but figures are cheap to wait for.
                lead.settled_at = Instant::now() + settle_time;
            }
            (Ok(()), None) => lead.failure = None,
            (Err(error), _) => {
                let cause = Chain(&error).to_string();
                if lead.failure.as_ref() != Some(&cause) {
                    tracing::error!(
                        error = cause,
                        "the record that instances share is not known; nothing is moved"
                    );
                }
                lead.failure = Some(cause);
            }
        }
    }

    async fn adopt(&mut self) -> Result<(), TakeOverError> {
        let Some(lead) = &self.lead else { return Ok(()) };
        let record = lead.election.read().await?.unwrap_or_default();
        let SharedRecord { open, ended, spent, orders, .. } = record;
        self.mirror(orders).await?;
        let operations = open.into_iter().chain(ended).collect();
        self.journal.adopt(operations).await?;
        // Budgets, rests and what is open follow from the journal, as after a restart.
        self.spending = Spending::default();
        self.landings = Landings::default();
        self.breaker = Breaker::new(self.settings.breaker.clone());
        self.waves = Waves::new(self.settings.waves.clone());
        self.rate = CallRate::new(self.settings.calls_per_minute);
        self.byte_rate = ByteRate::new(self.settings.bytes_per_second, self.settings.bytes_per_call);
        self.recover().await?;
        self.count_as_spent(&spent);
        Ok(())
    }

    /// Makes the leader's orders our own, and ends those here that are ended there. One that was given here stays.
    async fn mirror(&mut self, theirs: SharedOrders) -> Result<(), JournalError> {
        let own = self.journal.controls().await?;
        let now = self.now().wall;
        let Some(lead) = &mut self.lead else { return Ok(()) };
        let before = std::mem::replace(&mut lead.mirrored, theirs.clone());
        match (theirs.pause, own.pause) {
            (Some(theirs), own) if own.as_ref() != Some(&theirs) => self.journal.pause(theirs).await?,
            (None, Some(own)) if before.pause.as_ref() == Some(&own) => {
                self.journal.resume(now, own.by).await?;
            }
            _ => {}
        }
        for drain in theirs.drains.iter().filter(|drain| !own.drains.contains(drain)) {
            self.journal.drain(drain.clone()).await?;
        }
        for drain in own.drains {
            if before.drains.contains(&drain) && !theirs.drains.iter().any(|other| other.node == drain.node) {
                self.journal.undrain(drain.node, now, drain.by).await?;
            }
        }
        Ok(())
    }

    /// What was spent beyond what this instance knows of was spent all the same.
    fn count_as_spent(&mut self, hours: &[SpentHour]) {
        let now = self.now();
        let own = self.spent_hours();
        for hour in hours {
            let known = own.iter().find(|own| hour_of(own.until) == hour_of(hour.until));
            let (moves, bytes) = known.map_or((0, Bytes::ZERO), |known| (known.moves, known.bytes));
            let missing = hour.bytes.saturating_sub(bytes);
            let at = Steady::of_wall(hour.until, now);
            for number in 0..hour.moves.saturating_sub(moves) {
                let bytes = if number == 0 { missing } else { Bytes::ZERO };
                self.spending.record(at, OF_OTHERS, bytes);
            }
        }
        self.spending.sort();
    }

    /// What was sent in the last day, hour by hour.
    fn spent_hours(&self) -> Vec<SpentHour> {
        let now = self.now();
        let mut hours: Vec<SpentHour> = Vec::new();
        for (at, bytes) in self.spending.day.entries() {
            let at = at.wall(now);
            match hours.last_mut() {
                Some(last) if hour_of(last.until) == hour_of(at) => {
                    last.moves += 1;
                    last.bytes = last.bytes.saturating_add(bytes);
                    last.until = last.until.max(at);
                }
                _ => hours.push(SpentHour { until: at, moves: 1, bytes }),
            }
        }
        hours
    }

    /// What a successor must know, `new` moves that are about to be sent included.
    fn shared_record(&self, new: &[Operation]) -> SharedRecord {
        let mut open: Vec<Operation> = self.ledger.open().cloned().collect();
        open.extend(new.iter().cloned());
        let mut ended: Vec<Operation> = self
            .ledger
            .known()
            .filter(|one| one.state.is_ended() && one.sent_at.is_some())
            .filter(|one| one.evidence.changed.age(Steady::of(self.now())) < ENDED_SHARED)
            .cloned()
            .collect();
        ended.sort_by_key(|one| std::cmp::Reverse(one.changed_at));
        let mut spent = self.spent_hours();
        let now = self.now().wall;
        if !new.is_empty() {
            let bytes = new.iter().map(|one| one.movement.bytes).sum();
            spent.push(SpentHour { until: now, moves: new.len() as u64, bytes });
        }
        spent.retain(|hour| now.duration_since(hour.until).unsigned_abs() < DAY);
        let orders = self.lead.as_ref().map(|lead| lead.orders.clone()).unwrap_or_default();
        SharedRecord::new(open, ended, spent).with_orders(orders)
    }

    /// The leadership for which everything has been taken over.
    pub(super) fn term(&self) -> Option<i64> {
        self.lead.as_ref()?.taken_over
    }

    /// Begins to write the intent of these moves where the successor finds it, and for which leadership; nothing without
    /// an election.
    pub(super) fn begin_fencing(
        &mut self,
        new: &[Operation],
    ) -> Option<(i64, JoinHandle<Result<(), LeaseError>>)> {
        let record = self.shared_record(new);
        let lead = self.lead.as_mut()?;
        // What is published is now this one, or will be.
        lead.published = None;
        let election = Arc::clone(&lead.election);
        // Without a leadership the election refuses it.
        let term = lead.taken_over.unwrap_or_default();
        Some((term, tokio::spawn(async move { election.write(&record).await })))
    }

    /// Writes down for the successor what has become of the moves, and what people ordered, when that has changed.
    pub async fn share(&mut self, orders: SharedOrders) {
        if let Some(lead) = &mut self.lead {
            lead.orders = orders;
        }
        if self.lead.is_none() || self.leadership_refusal().is_some() {
            return;
        }
        // A record without what is about to be sent would undo its intent.
        let record = self.shared_record(self.about_to_be_sent());
        let Some(lead) = &mut self.lead else { return };
        if lead.published.as_ref() == Some(&record) {
            return;
        }
        match lead.election.write(&record).await {
            Ok(()) => lead.published = Some(record),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "a successor would not know what has become of the last moves");
            }
        }
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(HOUR_SECONDS)
}
