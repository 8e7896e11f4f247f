//! The life of one move: an enum and one transition function.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sight::{Presence, Sight};
use super::steady::Steady;
use crate::milvus::Remedy;
use crate::plan::Move;
use crate::units::{Moment, NodeId};

/// Readings in a row that must say the same before anything but a landing is believed: right after a move
/// listings flicker, and the one failed task of a batch may answer for others that still run.
const READINGS_TO_BELIEVE: u32 = 2;

/// Over how long the readings must say that a segment is gone or elsewhere: while Milvus recovers from a lost
/// node, its segments vanish for one to three seconds and reappear on others (measured on 2.3.5).
const ABSENCE_TO_BELIEVE: Duration = Duration::from_secs(5);

/// A move that was at least proposed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Number in the journal; unique for the life of the journal.
    pub id: OperationId,
    /// The call that carries it.
    pub batch: BatchId,
    /// Who wanted it.
    pub origin: Origin,
    /// Its collection's database, for calls and messages.
    pub database: String,
    /// Its collection's name.
    pub collection_name: String,
    /// Address of the node that it leaves; ids die with their process.
    pub from_address: String,
    /// What moves where.
    pub movement: Move,
    /// Where it stands.
    pub state: OperationState,
    /// When its intent was written down. With what moves where, it tells the operation from every other in the journals of
    /// all instances; the numbers are one journal's own.
    pub intended_at: Timestamp,
    /// When the call went out.
    pub sent_at: Option<Timestamp>,
    /// When the state last changed.
    pub changed_at: Timestamp,
    /// The server's error, where it answered with one that says that nothing was started.
    pub refusal: Option<String>,
    /// What this process saw of it and when; not kept over a restart, which only makes it wait for one reading more.
    #[serde(skip)]
    pub evidence: Evidence,
}

/// What the last readings showed of an operation, by the process' own clock: the calendar may be set at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The nodes of its replica that held the segment in the last clear reading.
    pub seen_on: Vec<NodeId>,
    /// When the call went out, where it did.
    pub sent: Steady,
    /// When the state last changed.
    pub changed: Steady,
    /// What that reading meant.
    meaning: Option<Meaning>,
    /// When that reading began.
    read_at: Option<Steady>,
    /// For how many readings in a row it has meant the same.
    repeated: u32,
    /// When the first of those began.
    since: Option<Steady>,
}

/// How long an operation is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From the call on, while the segment is still on its source alone.
    pub on_source: Duration,
    /// For a segment that stays on both nodes: a move that is stuck half-way, which nobody finishes.
    pub on_both: Duration,
}

impl Patience {
    /// The same for both.
    pub fn of(settle_timeout: Duration) -> Patience {
        Patience { on_source: settle_timeout, on_both: settle_timeout }
    }
}

/// Number of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub i64);

/// Number of a batch, which is one `LoadBalance` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub i64);

/// Who wanted an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The daemon's plan.
    Daemon,
    /// A person, by `load-balance`.
    Manual,
}

impl Origin {
    /// The stable name: column value, metric label.
    pub fn code(self) -> &'static str {
        match self {
            Origin::Daemon => "daemon",
            Origin::Manual => "manual",
        }
    }
}

/// Where an operation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum OperationState {
    /// The planner wants it.
    Proposed,
    /// The gates and limits let it through; its intent is in the journal.
    Admitted,
    /// The call is out.
    Sent,
    /// The call was answered, or its answer was lost; the distribution will tell.
    Verifying,
    /// Seen on its destination and no longer on its source.
    Landed,
    /// The server refused it and the segment is on its source alone.
    Refused {
        /// What the server said.
        cause: String,
    },
    /// The segment is gone (compacted, released, dropped), or its node is: an ordinary end.
    Superseded {
        /// What happened to it.
        cause: String,
    },
    /// The settle time passed and the segment is still on its source alone.
    Expired,
    /// The segment is on neither its source nor its destination, but elsewhere: somebody else moved it. Or it stayed
    /// on both.
    Contradicted {
        /// Where it was seen.
        seen: String,
    },
}

/// Something that happens to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its intent is in the journal.
    Admit,
    /// The call goes out.
    Send,
    /// It will never be sent.
    Withdraw {
        /// Why.
        cause: String,
    },
    /// The server answered "success", which proves nothing.
    Answered,
    /// The call failed.
    Failed {
        /// What the error asks for, which says whether anything can have been started.
        remedy: Remedy,
        /// The error with its causes, in one line.
        cause: String,
    },
    /// The process that had sent it, or was about to, is gone.
    Recovered,
    /// A look at the distribution.
    Seen(Sight),
}

/// What a clear reading means for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    OnDestination,
    OnSource,
    OnBoth,
    Elsewhere,
    Missing,
}

impl Operation {
    /// The one transition function: what the operation becomes by this event, or `None` when the event changes
    /// nothing. Events that do not fit the state (an answer for what has ended, a late reading) change nothing.
    pub fn advance(&self, event: &Event, now: Moment, patience: Patience) -> Option<Operation> {
        use OperationState as State;
        match (&self.state, event) {
            (State::Proposed, Event::Admit) => Some(self.become_state(State::Admitted, now)),
            (State::Admitted, Event::Send) => {
                let mut sent = self.become_state(State::Sent, now);
                sent.sent_at = Some(now.wall);
                sent.evidence.sent = Steady::of(now);
                Some(sent)
            }
            (State::Proposed | State::Admitted, Event::Withdraw { cause }) => {
                Some(self.become_state(State::Superseded { cause: cause.clone() }, now))
            }
            (State::Sent, Event::Answered) => Some(self.become_state(State::Verifying, now)),
            (State::Sent, Event::Failed { remedy, cause }) => {
                let mut failed = self.become_state(State::Verifying, now);
                failed.refusal = proves_nothing_started(*remedy).then(|| cause.clone());
                Some(failed)
            }
            (State::Admitted | State::Sent, Event::Recovered) => {
                // Whether an admitted move was sent cannot be told any more; as sent it is looked for.
                let mut recovered = self.become_state(State::Verifying, now);
                recovered.sent_at = self.sent_at.or(Some(self.changed_at));
                Some(recovered)
            }
            (State::Sent | State::Verifying, Event::Seen(sight)) => self.see(sight, now, patience),
            (_, Event::Seen(sight)) if self.may_land_late() => self.see(sight, now, patience),
            _ => None,
        }
    }

    /// Whether it ended without having landed, and a landing would still be its own.
    pub fn may_land_late(&self) -> bool {
        match self.state {
            OperationState::Expired | OperationState::Refused { .. } => true,
            OperationState::Contradicted { .. } => {
                let on = |node| self.evidence.seen_on.contains(&node);
                on(self.movement.from) && on(self.movement.to)
            }
            _ => false,
        }
    }

    /// Sets its times on this process' clock, after it was read from where only the calendar's times are kept.
    pub fn place_in_time(&mut self, now: Moment) {
        self.evidence.changed = Steady::of_wall(self.changed_at, now);
        self.evidence.sent = Steady::of_wall(self.sent_at.unwrap_or(self.changed_at), now);
    }

    fn become_state(&self, state: OperationState, now: Moment) -> Operation {
        let Evidence { seen_on, sent, .. } = self.evidence.clone();
        let changed = Steady::of(now);
        Operation {
            state,
            changed_at: now.wall,
            evidence: Evidence { seen_on, sent, changed, ..Evidence::default() },
            ..self.clone()
        }
    }

    fn see(&self, sight: &Sight, now: Moment, patience: Patience) -> Option<Operation> {
        // A reading that began before the last change shows the world before it, and one that several
        // waiters share counts once.
        let already_seen = self.evidence.read_at.is_some_and(|last| sight.read_at <= last);
        if sight.read_at < self.evidence.changed || already_seen {
            return None;
        }
        let meaning = meaning_of(&sight.presence)?;
        let looked = Operation { evidence: self.evidence.and(meaning, sight), ..self.clone() };
        let end = looked.end_by(meaning, &sight.presence, now, patience);
        match end {
            Some(state) => Some(looked.become_state(state, now)),
            None if self.state.is_ended() => None,
            None => Some(looked),
        }
    }

    /// The end that this reading proves, with those before it.
    fn end_by(
        &self,
        meaning: Meaning,
        presence: &Presence,
        now: Moment,
        patience: Patience,
    ) -> Option<OperationState> {
        if meaning == Meaning::OnDestination {
            return Some(OperationState::Landed);
        }
        if self.state.is_ended() {
            return None;
        }
        let overdue = self.evidence.sent.age(Steady::of(now)) >= patience.on_source;
        // While the call may still be answered, only a landing is news.
        if self.state == OperationState::Sent && !overdue {
            return None;
        }
        let believed = self.evidence.repeated >= READINGS_TO_BELIEVE;
        let lasting = believed && self.evidence.lasted() >= ABSENCE_TO_BELIEVE;
        match (meaning, presence) {
            (Meaning::OnSource, Presence::Listed { destination_left: true, .. }) if believed => {
                let cause = format!("node {} left the replica before the segment came", self.movement.to);
                Some(OperationState::Superseded { cause })
            }
            (Meaning::OnSource, _) if believed && self.refusal.is_some() => {
                Some(OperationState::Refused { cause: self.refusal.clone().unwrap_or_default() })
            }
            (Meaning::OnSource, _) if overdue => Some(OperationState::Expired),
            (Meaning::OnBoth, _) if believed && self.evidence.lasted() >= patience.on_both => {
                Some(OperationState::Contradicted { seen: listed(&self.evidence.seen_on) })
            }
            (Meaning::Elsewhere, Presence::Listed { elsewhere, source_left, destination_left, .. })
                if lasting =>
            {
                Some(self.found_elsewhere(elsewhere, *source_left, *destination_left))
            }
            (Meaning::Missing, Presence::Missing { cause }) if lasting => {
                Some(OperationState::Superseded { cause: cause.clone() })
            }
            _ => None,
        }
    }

    fn found_elsewhere(&self, nodes: &[NodeId], source_left: bool, destination_left: bool) -> OperationState {
        let seen = listed(nodes);
        if !source_left && !destination_left {
            return OperationState::Contradicted { seen };
        }
        let gone = if destination_left { self.movement.to } else { self.movement.from };
        OperationState::Superseded {
            cause: format!("node {gone} left the replica; the segment is on {seen}"),
        }
    }
}

impl Evidence {
    fn and(&self, meaning: Meaning, sight: &Sight) -> Evidence {
        let goes_on = self.meaning == Some(meaning);
        Evidence {
            seen_on: sight.nodes.clone(),
            sent: self.sent,
            changed: self.changed,
            meaning: Some(meaning),
            read_at: Some(sight.read_at),
            repeated: if goes_on { self.repeated.saturating_add(1) } else { 1 },
            since: if goes_on { self.since } else { Some(sight.read_at) },
        }
    }

    fn lasted(&self) -> Duration {
        match (self.since, self.read_at) {
            (Some(since), Some(read_at)) => since.age(read_at),
            _ => Duration::ZERO,
        }
    }
}

fn listed(nodes: &[NodeId]) -> String {
    let list: Vec<String> = nodes.iter().map(|node| format!("node {node}")).collect();
    list.join(" and ")
}

/// Whether an error with this remedy is a refusal: the server looked at the call and started nothing. All other
/// errors leave it open.
fn proves_nothing_started(remedy: Remedy) -> bool {
    match remedy {
        // "Later" is said by a server that did not begin, or by a connection that never came about.
        Remedy::Replan | Remedy::SkipCollection | Remedy::OurBug | Remedy::FixAccess | Remedy::RetryLater => {
            true
        }
        Remedy::OutcomeUnknown => false,
    }
}

fn meaning_of(presence: &Presence) -> Option<Meaning> {
    match presence {
        Presence::Unclear => None,
        Presence::Missing { .. } => Some(Meaning::Missing),
        Presence::Listed { on_source: true, on_destination: false, elsewhere, .. }
            if elsewhere.is_empty() =>
        {
            Some(Meaning::OnSource)
        }
        Presence::Listed { on_source: false, on_destination: true, elsewhere, .. }
            if elsewhere.is_empty() =>
        {
            Some(Meaning::OnDestination)
        }
        Presence::Listed { on_source: false, on_destination: false, .. } => Some(Meaning::Elsewhere),
        Presence::Listed { .. } => Some(Meaning::OnBoth),
    }
}

impl OperationState {
    /// Whether nothing more can happen to it, a late landing apart.
    pub fn is_ended(&self) -> bool {
        !matches!(
            self,
            OperationState::Proposed
                | OperationState::Admitted
                | OperationState::Sent
                | OperationState::Verifying
        )
    }

    /// The codes of ends, for metrics that should exist before they count.
    pub const END_CODES: [&str; 5] = ["landed", "refused", "superseded", "expired", "contradicted"];

    /// The stable name: column value, metric label.
    pub fn code(&self) -> &'static str {
        match self {
            OperationState::Proposed => "proposed",
            OperationState::Admitted => "admitted",
            OperationState::Sent => "sent",
            OperationState::Verifying => "verifying",
            OperationState::Landed => "landed",
            OperationState::Refused { .. } => "refused",
            OperationState::Superseded { .. } => "superseded",
            OperationState::Expired => "expired",
            OperationState::Contradicted { .. } => "contradicted",
        }
    }

    /// The part of it that its code does not say; empty where the code says it all.
    pub fn detail(&self) -> &str {
        match self {
            OperationState::Refused { cause } | OperationState::Superseded { cause } => cause,
            OperationState::Contradicted { seen } => seen,
            _ => "",
        }
    }

    /// The state with this code and detail; `None` for a code that nobody knows.
    pub fn from_code(code: &str, detail: &str) -> Option<OperationState> {
        Some(match code {
            "proposed" => OperationState::Proposed,
            "admitted" => OperationState::Admitted,
            "sent" => OperationState::Sent,
            "verifying" => OperationState::Verifying,
            "landed" => OperationState::Landed,
            "refused" => OperationState::Refused { cause: detail.to_owned() },
            "superseded" => OperationState::Superseded { cause: detail.to_owned() },
            "expired" => OperationState::Expired,
            "contradicted" => OperationState::Contradicted { seen: detail.to_owned() },
            _ => return None,
        })
    }
}

impl fmt::Display for OperationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OperationState::Refused { cause } => write!(f, "refused: {cause}"),
            OperationState::Superseded { cause } => write!(f, "superseded: {cause}"),
            OperationState::Contradicted { seen } => write!(f, "contradicted: it is on {seen}"),
            other => f.write_str(other.code()),
        }
    }
}

#[cfg(test)]
#[path = "operation_tests.rs"]
pub(crate) mod tests;
