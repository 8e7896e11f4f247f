//! The executor: takes the moves that the gates let through, sends them within the limits, and follows each
//! until the distribution shows what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::operation::Operation;
use super::{ExecuteSettings, Mover};
use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::model::{Departure, InFlight, KnownMove};
use crate::observe::Observer;
use crate::observe::observation::Observation;
use crate::plan::Move;
use crate::reason::Reason;
use crate::units::Bytes;

/// A move that the gates let through, with what a call and a message need besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedMove {
    /// The move.
    pub movement: Move,
    /// Its collection's database.
    pub database: String,
    /// Its collection's name.
    pub collection_name: String,
    /// Address of the node that it leaves.
    pub from_address: String,
}

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
    /// Operations that ended since the start, by the code of their end.
    pub ended: BTreeMap<&'static str, u64>,
    /// Bytes of the last 24 hours that count against the daily budget.
    pub bytes_spent: Bytes,
    /// Moves in a full wave now; `None` when waves are off.
    pub wave_size: Option<u32>,
    /// Why the journal cannot be written, if so.
    pub journal_failure: Option<String>,
}

/// Sends moves and follows them. Owned by the control loop, whose task is the only writer of operations.
pub struct Executor {
    journal: Journal,
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
        let _ = (settings, mover, observer, clock);
        Executor { journal }
    }

    /// At start: takes over what the journal says is open, and restores budgets and departures. The next
    /// observation must be settled before anything is planned.
    pub async fn recover(&mut self) -> Result<(), JournalError> {
        self.journal.open_operations().await.map(drop)
    }

    /// Takes over what `load-balance` wrote to the journal meanwhile. Called each turn, before `settle`.
    pub async fn refresh_from_journal(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// Applies a full poll to all open operations.
    pub async fn settle(&mut self, observation: &Observation) {
        let _ = observation;
    }

    /// Replaces all moves that wait to be sent. They are sent from [`Executor::next_event`], in plan order and
    /// within the limits; an empty list takes back what was not sent.
    pub fn offer(&mut self, moves: Vec<AdmittedMove>, cluster_bytes: Bytes) {
        let _ = (moves, cluster_bytes);
    }

    /// Sends what may be sent and waits until something changed: an answer, a look at a collection, a limit
    /// that let go. Safe to cancel at any point.
    pub async fn next_event(&mut self) {
        std::future::pending().await
    }

    /// Moves whose end is not known.
    pub fn in_flight(&self) -> Vec<InFlight> {
        Vec::new()
    }

    /// Moves of ours that are open or ended lately, so that they are not taken for somebody else's.
    pub fn known_moves(&self) -> Vec<KnownMove> {
        Vec::new()
    }

    /// All departures that are remembered, oldest first.
    pub fn departures(&self) -> Vec<Departure> {
        Vec::new()
    }

    /// All operations whose end is not known, by number.
    pub fn open_operations(&self) -> impl Iterator<Item = &Operation> {
        std::iter::empty()
    }

    /// What holds back the first of the waiting moves.
    pub fn limited_by(&self) -> Option<Reason> {
        None
    }

    /// Numbers for metrics.
    pub fn status(&self) -> ExecutorStatus {
        ExecutorStatus::default()
    }

    /// Sends nothing more and waits for the answers of running calls, up to `stop_timeout`. What is open then
    /// stays so in the journal.
    pub async fn stop(&mut self) {}
}
