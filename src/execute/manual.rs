//! The manual operation: sends what a person asked for through the same executor, under its own limits, and
//! tells where each segment went, as seen.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::executor::{AdmittedMove, Executor};
use super::operation::{OperationState, Origin};
use super::{ExecuteSettings, Mover};
use crate::clock::Clock;
use crate::journal::{Journal, JournalError};
use crate::kill_switch::KillSwitch;
use crate::observe::Observer;
use crate::units::{Bytes, NodeId, Ratio};

pub use super::manual_choice::{ManualPlan, ManualRequest, RequestError, Staying, choose_moves};

/// Where a segment went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManualOutcome {
    /// The move that was wanted.
    pub wanted: AdmittedMove,
    /// The nodes of its replica that held the segment when it was last seen; empty when it was not.
    pub seen_on: Vec<NodeId>,
    /// What became of the move.
    pub end: ManualEnd,
}

/// What became of a manual move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManualEnd {
    /// Seen on its destination alone.
    Moved,
    /// It did not move, and will not.
    NotMoved {
        /// Why, in words.
        why: String,
    },
    /// It has not ended. The journal keeps it as open, and a running daemon follows it.
    Open {
        /// Why we do not know, in words.
        why: String,
    },
}

impl ManualOutcome {
    /// One line for people.
    pub fn sentence(&self) -> String {
        let movement = &self.wanted.movement;
        let seen = match self.seen_on.as_slice() {
            [] => String::new(),
            nodes => {
                let list: Vec<String> = nodes.iter().map(NodeId::to_string).collect();
                format!("; last seen on node {}", list.join(" and "))
            }
        };
        match &self.end {
            ManualEnd::Moved => {
                format!(
                    "segment {}: moved from node {} to node {}",
                    movement.segment, movement.from, movement.to
                )
            }
            ManualEnd::NotMoved { why } => format!("segment {}: not moved: {why}{seen}", movement.segment),
            ManualEnd::Open { why } => format!("segment {}: not moved yet: {why}{seen}", movement.segment),
        }
    }
}

/// What a manual run works with.
pub struct ManualTools {
    /// Sends the calls.
    pub mover: Arc<dyn Mover>,
    /// Looks what became of them.
    pub observer: Arc<dyn Observer>,
    /// Where they are written down before.
    pub journal: Journal,
    /// The time.
    pub clock: Arc<Clock>,
    /// Holds for people, too, before each call.
    pub kill_switch: KillSwitch,
}

/// Carries out a manual plan: at most one unanswered call for each source and destination, capped like the
/// daemon's, outside its rates and budgets. Returns when every move has ended, or has been looked for as long as
/// `settle_timeout`, or when the request's timeout has passed. One outcome for each move, in their order.
pub async fn execute(
    plan: ManualPlan,
    timeout: Option<Duration>,
    settings: &ExecuteSettings,
    tools: ManualTools,
) -> Result<Vec<ManualOutcome>, JournalError> {
    let ManualTools { mover, observer, journal, clock, kill_switch } = tools;
    let mut executor = Executor::new(manual_settings(settings), Some(mover), observer, journal, clock);
    executor.origin = Origin::Manual;
    executor.obey(kill_switch);
    executor.offer(plan.moves.clone(), Bytes::ZERO);
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    while !executor.is_done() {
        tokio::select! {
            () = executor.next_event() => {}
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => break,
        }
        if let Some(error) = executor.take_journal_error() {
            // Without a journal nothing more is sent; what is out already is told by the next look.
            return Err(error);
        }
    }
    executor.save().await;
    Ok(plan.moves.into_iter().map(|wanted| outcome(wanted, &executor)).collect())
}

/// Who gives no timeout waits for the server's answer, however late; this is a bound on hangs, not on patience.
const LONGEST_ANSWER: Duration = Duration::from_secs(24 * 60 * 60);

/// Nothing waits for a rate, a budget or a wave: a person asked. There are no polls, so its own looks go on for
/// as long as a move may settle.
fn manual_settings(settings: &ExecuteSettings) -> ExecuteSettings {
    let mut manual = settings.clone();
    manual.call_timeout = LONGEST_ANSWER;
    manual.calls_per_minute = 0;
    manual.calls_in_flight = 0;
    manual.calls_in_flight_per_node = 1;
    manual.moves_in_flight = 0;
    manual.moves_in_flight_per_source = 0;
    manual.moves_in_flight_per_destination = 0;
    manual.moves_in_flight_per_collection = 0;
    manual.bytes_per_second = Bytes::ZERO;
    manual.moves_per_hour = 0;
    manual.moves_per_day = 0;
    manual.bytes_per_hour = Ratio::ZERO;
    manual.bytes_per_day = Ratio::ZERO;
    manual.waves.enabled = false;
    manual.breaker.failures = 0;
    manual.verify_timeout =
        settings.settle_timeout.saturating_add(settings.verify_interval.saturating_mul(3));
    manual
}

fn outcome(wanted: AdmittedMove, executor: &Executor) -> ManualOutcome {
    let dropped = executor.happened.dropped.iter().find(|(movement, _)| *movement == wanted.movement);
    if let Some((_, reason)) = dropped {
        let end = ManualEnd::NotMoved { why: reason.to_string() };
        return ManualOutcome { wanted, seen_on: Vec::new(), end };
    }
    let Some(operation) = executor.operation_of(&wanted.movement) else {
        let why = "the time was up before its call was sent".to_owned();
        return ManualOutcome { wanted, seen_on: Vec::new(), end: ManualEnd::NotMoved { why } };
    };
    let end = match &operation.state {
        OperationState::Landed => ManualEnd::Moved,
        OperationState::Expired => ManualEnd::NotMoved { why: "it is still on its source alone".to_owned() },
        state if state.is_ended() => ManualEnd::NotMoved { why: state.to_string() },
        OperationState::Verifying => {
            ManualEnd::Open { why: "the call ended, but the segment has not settled".to_owned() }
        }
        _ => ManualEnd::Open { why: "the call has not been answered".to_owned() },
    };
    ManualOutcome { wanted, seen_on: operation.evidence.seen_on.clone(), end }
}
