//! Moves what a person asks for, for the command line and for the API alike: one code path, with the limits and the
//! journal of every other move.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::Instant;

use super::AppError;
use super::connect::Connected;
use crate::clock::Clock;
use crate::config::Config;
use crate::execute::manual::{self, ManualOutcome, ManualRequest, ManualTools, Staying};
use crate::execute::operation::Operation;
use crate::journal::Journal;
use crate::kill_switch::KillSwitch;
use crate::lease::Leadership;
use crate::milvus::{MilvusClient, MilvusMover};
use crate::observe::Observer;
use crate::turn::{OwnMoves, Thinking};
use crate::units::SegmentId;

/// What moving by hand takes; put together once.
pub struct ByHand {
    client: MilvusClient,
    observer: Arc<dyn Observer>,
    clock: Arc<Clock>,
    /// The options in force, which a reload replaces.
    in_force: watch::Receiver<Arc<Config>>,
    /// Who leads, where one of several instances does.
    leadership: Option<watch::Receiver<Leadership>>,
    /// One at a time: each looks at the whole cluster first.
    turn: Arc<Mutex<()>>,
}

/// The turn of somebody who may move by hand now.
pub struct Turn {
    by_hand: Arc<ByHand>,
    _turn: OwnedMutexGuard<()>,
}

impl ByHand {
    /// On this Milvus, with these options.
    pub(super) fn new(
        connected: &Connected,
        in_force: watch::Receiver<Arc<Config>>,
        leadership: Option<watch::Receiver<Leadership>>,
        clock: Arc<Clock>,
    ) -> ByHand {
        ByHand {
            client: connected.client.clone(),
            observer: Arc::clone(&connected.observer),
            clock,
            in_force,
            leadership,
            turn: Arc::default(),
        }
    }

    /// Where one of several instances leads, only that one moves anything, by hand neither: the others would not know of
    /// its moves.
    fn check_leadership(&self) -> Result<(), AppError> {
        let refusal = self.leadership.as_ref().and_then(|known| known.borrow().refusal(Instant::now()));
        refusal.map_or(Ok(()), |reason| Err(AppError::Stopped { reason }))
    }

    /// Takes the turn; `None` while somebody else has it.
    pub fn begin(self: Arc<Self>) -> Option<Turn> {
        let turn = Arc::clone(&self.turn).try_lock_owned().ok()?;
        Some(Turn { by_hand: self, _turn: turn })
    }
}

impl Turn {
    /// Looks at the cluster, moves what was asked for and returns where each segment went, as seen, and which stayed.
    pub async fn load_balance(
        self,
        mut request: ManualRequest,
        journal: Journal,
    ) -> Result<(Vec<ManualOutcome>, Vec<(SegmentId, Staying)>), AppError> {
        let ByHand { client, observer, clock, in_force, leadership: _, turn: _ } = &*self.by_hand;
        let config = Arc::clone(&in_force.borrow());
        let Config { signals, capacity, policies, plan, gate, execute, .. } = &*config;
        self.by_hand.check_leadership()?;
        let kill_switch = KillSwitch::at(gate.kill_switch.clone());
        if let Some(reason) = kill_switch.refusal() {
            return Err(AppError::Stopped { reason });
        }
        if request.database.is_empty() {
            let connection = config.connections.get(&config.connection);
            request.database =
                connection.and_then(|connection| connection.database.clone()).unwrap_or_default();
        }
        let observation = observer.observe().await?;
        if observation.server.is_too_old_to_act_on() {
            return Err(AppError::TooOld { version: observation.server.to_string() });
        }
        let mut thinking = Thinking::for_one_look(policies, plan.clone(), gate.clone())
            .with_signals(signals.clone(), capacity.clone());
        let decision = thinking.turn(&observation, OwnMoves::default(), clock.read());
        let room = |node| decision.restrictions.room.get(&node).copied().unwrap_or_default();
        // What was left open by a process that is gone, and that nobody settles, does not lock its segment for good.
        let settle_timeout = execute.settle_timeout;
        let is_recent = |operation: &Operation| {
            observation.started_at.duration_since(operation.changed_at).unsigned_abs() <= settle_timeout
        };
        let open: Vec<Operation> = journal.open_operations().await?.into_iter().filter(is_recent).collect();
        let chosen = manual::choose_moves(&request, &decision.snapshot, room, open.iter())?;
        let staying = chosen.staying.clone();
        // Looking took a while.
        self.by_hand.check_leadership()?;
        let mover = Arc::new(MilvusMover::new(client.clone(), None));
        let observer = Arc::clone(observer);
        let tools = ManualTools { mover, observer, journal, clock: Arc::clone(clock), kill_switch };
        let outcomes = manual::execute(chosen, request.timeout, execute, tools).await?;
        Ok((outcomes, staying))
    }
}
