//! Every "no" of the project: one variant, one sentence, one counter label. Planner, gates and executor all
//! answer with these, so that log, API, page and command line never tell different stories.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Held, Signal, Standing};
use crate::units::{Bytes, CollectionId, NodeId, Ratio};

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Reason {
    // --- the whole cluster
    /// The mode is `advise`.
    AdviseOnly,
    /// The server is older than 2.3, or of unknown version.
    ServerTooOld,
    /// Nodes serve more than we were shown.
    VisibilityGap {
        /// The doubt, in words.
        detail: String,
    },
    /// The journal cannot record what we would do.
    JournalUnavailable {
        /// Why.
        detail: String,
    },
    /// The observation is too old to act on.
    Stale {
        /// Its age.
        age: Duration,
        /// The limit.
        limit: Duration,
    },
    /// The nodes could not be read.
    NodesUnread {
        /// Why.
        detail: String,
    },
    /// The daemon is stopping.
    Stopping,

    // --- a component, a collection, a node
    /// Somebody else moves segments here.
    ForeignMover {
        /// How many moves were seen.
        moves: usize,
        /// Within which time.
        within: Duration,
    },
    /// Nodes of different versions: an upgrade is under way.
    MixedVersions,
    /// The collection is loading or could not be read whole.
    CollectionUnready {
        /// Which.
        collection: CollectionId,
    },
    /// The node is no live read-write member of the replica.
    NodeUnfit {
        /// Which.
        node: NodeId,
        /// What it is instead.
        standing: Standing,
    },
    /// A move from or to the node has just landed, and its figures lag behind.
    Settling {
        /// Which.
        node: NodeId,
        /// For how much longer.
        remaining: Duration,
    },
    /// The node refused a segment, or never took it, a short while ago.
    NotTaken {
        /// Which.
        node: NodeId,
        /// For how much longer it is left alone.
        remaining: Duration,
    },
    /// Its memory capacity is unknown, so nobody can say what fits.
    CapacityUnknown {
        /// Which.
        node: NodeId,
    },
    /// The destination would come too close to its memory limit with all copies resident.
    NoHeadroom {
        /// The destination.
        node: NodeId,
        /// What would have to fit.
        needed: Bytes,
        /// What may still arrive there.
        room: Bytes,
    },
    /// A policy forbids the node as a destination.
    NeverDestination {
        /// Which.
        node: NodeId,
    },

    // --- a segment, a move
    /// The copy must stay where it is.
    Held {
        /// Why.
        held: Held,
    },
    /// A policy pins the segment.
    Pinned,
    /// The segment is on its way already.
    InFlight,
    /// The segment was moved a short while ago.
    CoolingDown {
        /// For how much longer.
        remaining: Duration,
    },
    /// The segment left this node a short while ago.
    ReturnTooSoon {
        /// The node.
        node: NodeId,
        /// For how much longer.
        remaining: Duration,
    },
    /// The same move came to nothing several times.
    FailedBefore {
        /// The destination.
        node: NodeId,
        /// How often.
        times: usize,
        /// For how much longer it is not tried.
        remaining: Duration,
    },
    /// No move lowers the pressure.
    NoImprovement,
    /// The best move would lower the potential by less than its price.
    NotWorthItsPrice,
    /// The node is overloaded, but not yet for long enough.
    NotLongEnough {
        /// Turns in a row so far.
        turns: u32,
        /// Turns required.
        required: u32,
    },
    /// The load is uneven, but the node is used too little for that to matter.
    DoesNotMatter {
        /// How much it is used.
        utilisation: Ratio,
        /// From where it matters.
        matters_above: Ratio,
    },
    /// Nothing on the node can move.
    NothingMovable,
    /// No other node of the replica can take it.
    NoDestination,
    /// The effort budget of the planner ran out.
    EffortSpent,
    /// An earlier step of the plan, on which this one builds, was refused.
    EarlierStepRefused,

    // --- limits of the executor
    /// Calls per minute.
    CallRate {
        /// The limit.
        per_minute: u32,
    },
    /// Calls whose moves have not settled.
    InFlightLimit {
        /// The limit.
        limit: u32,
    },
    /// The same, for one node.
    NodeInFlightLimit {
        /// Which.
        node: NodeId,
        /// The limit.
        limit: u32,
    },
    /// Bytes per day.
    DailyBytes {
        /// What may be moved in 24 hours.
        limit: Bytes,
    },
    /// The wave is full; the next one starts when this one has settled.
    WaveFull {
        /// Moves in this wave.
        size: u32,
    },
    /// The wave has ended; the next one starts when it has been seen what it brought.
    WaveUnjudged {
        /// Moves in this wave.
        moves: u32,
    },
    /// Those who use the cluster are worse off since we began to move.
    UsersSlowed {
        /// What shows it.
        signal: Signal,
        /// Its value now, in the signal's unit.
        now: u64,
        /// What is usual, or the most that there may be.
        usual: u64,
    },
    /// What users feel must be known, and is not.
    GuardBlind,
    /// Several waves in a row brought no relief.
    NoRelief {
        /// How many.
        waves: u32,
        /// For how much longer nothing is moved.
        remaining: Duration,
    },
}

impl Reason {
    /// Whether waiting alone makes it go away: then what it holds back is only late.
    pub fn passes_by_itself(&self) -> bool {
        !matches!(
            self,
            Reason::NoImprovement
                | Reason::NotWorthItsPrice
                | Reason::NothingMovable
                | Reason::NoDestination
                | Reason::NoHeadroom { .. }
                | Reason::Held { .. }
                | Reason::Pinned
                | Reason::NeverDestination { .. }
        )
    }

    /// The stable name: metric label and JSON `reason`.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::AdviseOnly => "advise_only",
            Reason::ServerTooOld => "server_too_old",
            Reason::VisibilityGap { .. } => "visibility_gap",
            Reason::JournalUnavailable { .. } => "journal_unavailable",
            Reason::Stale { .. } => "stale",
            Reason::NodesUnread { .. } => "nodes_unread",
            Reason::Stopping => "stopping",
            Reason::ForeignMover { .. } => "foreign_mover",
            Reason::MixedVersions => "mixed_versions",
            Reason::CollectionUnready { .. } => "collection_unready",
            Reason::NodeUnfit { .. } => "node_unfit",
            Reason::Settling { .. } => "settling",
            Reason::NotTaken { .. } => "not_taken",
            Reason::CapacityUnknown { .. } => "capacity_unknown",
            Reason::NoHeadroom { .. } => "no_headroom",
            Reason::NeverDestination { .. } => "never_destination",
            Reason::Held { .. } => "held",
            Reason::Pinned => "pinned",
            Reason::InFlight => "in_flight",
            Reason::CoolingDown { .. } => "cooling_down",
            Reason::ReturnTooSoon { .. } => "return_too_soon",
            Reason::FailedBefore { .. } => "failed_before",
            Reason::NoImprovement => "no_improvement",
            Reason::NotWorthItsPrice => "not_worth_its_price",
            Reason::NotLongEnough { .. } => "not_long_enough",
            Reason::DoesNotMatter { .. } => "does_not_matter",
            Reason::NothingMovable => "nothing_movable",
            Reason::NoDestination => "no_destination",
            Reason::EffortSpent => "effort_spent",
            Reason::EarlierStepRefused => "earlier_step_refused",
            Reason::CallRate { .. } => "call_rate",
            Reason::InFlightLimit { .. } => "in_flight_limit",
            Reason::NodeInFlightLimit { .. } => "node_in_flight_limit",
            Reason::DailyBytes { .. } => "daily_bytes",
            Reason::WaveFull { .. } => "wave_full",
            Reason::WaveUnjudged { .. } => "wave_unjudged",
            Reason::NoRelief { .. } => "no_relief",
            Reason::UsersSlowed { .. } => "users_slowed",
            Reason::GuardBlind => "guard_blind",
        }
    }
}

/// A duration as people say it: "12m 30s".
fn spoken(duration: &Duration) -> String {
    let rounded = Duration::from_secs(duration.as_secs().max(u64::from(!duration.is_zero())));
    jiff::SignedDuration::try_from(rounded)
        .map(|span| format!("{span:#}"))
        .unwrap_or_else(|_| "ever".to_owned())
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::AdviseOnly => {
                f.write_str("the mode is advise: plans are made and explained, never carried out")
            }
            Reason::ServerTooOld => {
                f.write_str("this Milvus is older than 2.3 or of unknown version; it is never acted on")
            }
            Reason::VisibilityGap { detail } => write!(f, "nodes serve more than we can see: {detail}"),
            Reason::JournalUnavailable { detail } => {
                write!(f, "the journal cannot record what would be done: {detail}")
            }
            Reason::Stale { age, limit } => {
                write!(f, "what was seen is {} old, the limit is {}", spoken(age), spoken(limit))
            }
            Reason::NodesUnread { detail } => write!(f, "the nodes could not be read: {detail}"),
            Reason::Stopping => f.write_str("the daemon is stopping"),
            Reason::ForeignMover { moves, within } => write!(
                f,
                "somebody else moved {moves} segments here within {} (is Milvus' own balancer on?)",
                spoken(within)
            ),
            Reason::MixedVersions => f.write_str("its nodes run different versions: an upgrade is under way"),
            Reason::CollectionUnready { collection } => {
                write!(f, "collection {collection} is not fully loaded or could not be read whole")
            }
            Reason::NodeUnfit { node, standing } => write!(f, "node {node} is {standing}"),
            Reason::Settling { node, remaining } => {
                write!(
                    f,
                    "a move from or to node {node} has just landed; its figures settle for another {}",
                    spoken(remaining)
                )
            }
            Reason::NotTaken { node, remaining } => {
                write!(
                    f,
                    "node {node} did not take a segment a short while ago and is left alone for another {}",
                    spoken(remaining)
                )
            }
            Reason::CapacityUnknown { node } => write!(f, "the memory capacity of node {node} is not known"),
            Reason::NoHeadroom { node, needed, room } => {
                write!(
                    f,
                    "node {node} has room for {room} more below its limit, and {needed} would have to fit"
                )
            }
            Reason::NeverDestination { node } => write!(f, "a policy forbids node {node} as a destination"),
            Reason::Held { held } => held.fmt(f),
            Reason::Pinned => f.write_str("a policy pins the segment"),
            Reason::InFlight => f.write_str("the segment is on its way already"),
            Reason::CoolingDown { remaining } => {
                write!(
                    f,
                    "the segment was moved a short while ago and stays for another {}",
                    spoken(remaining)
                )
            }
            Reason::ReturnTooSoon { node, remaining } => {
                write!(
                    f,
                    "the segment left node {node} a short while ago and may return in {}",
                    spoken(remaining)
                )
            }
            Reason::FailedBefore { node, times, remaining } => {
                write!(
                    f,
                    "the segment could not be moved to node {node} {times} times; it is not tried for another {}",
                    spoken(remaining)
                )
            }
            Reason::NoImprovement => {
                f.write_str("no move lowers the pressure: the segments are too large for a better split")
            }
            Reason::NotWorthItsPrice => f.write_str("the best move would gain less than it costs"),
            Reason::NotLongEnough { turns, required } => {
                write!(f, "overloaded for {turns} of the {required} turns in a row that are required")
            }
            Reason::DoesNotMatter { utilisation, matters_above } => write!(
                f,
                "only {} used, and unevenness matters from {} on",
                utilisation.percent(),
                matters_above.percent()
            ),
            Reason::NothingMovable => f.write_str("nothing on the node can be moved"),
            Reason::NoDestination => f.write_str("no other node of the replica can take it"),
            Reason::EffortSpent => f.write_str("the effort budget of the planner ran out"),
            Reason::EarlierStepRefused => f.write_str("an earlier step of the plan was refused"),
            Reason::CallRate { per_minute } => write!(f, "at most {per_minute} calls a minute"),
            Reason::InFlightLimit { limit } => write!(f, "{limit} calls are in flight, which is the limit"),
            Reason::NodeInFlightLimit { node, limit } => {
                write!(f, "node {node} takes part in {limit} calls in flight, which is the limit for a node")
            }
            Reason::DailyBytes { limit } => write!(f, "{limit} may be moved in 24 hours, and that is spent"),
            Reason::WaveFull { size } => write!(f, "the wave of {size} moves is full and must settle first"),
            Reason::WaveUnjudged { moves } => {
                write!(f, "the wave of {moves} moves has ended; what it brought must be seen first")
            }
            Reason::UsersSlowed { signal, now, usual } => write!(
                f,
                "{signal} is {}, where {} is {}: no more is moved until that is over",
                signal.shown(*now),
                signal.shown(*usual),
                if *signal == Signal::DestinationMemory { "the most" } else { "usual" }
            ),
            Reason::GuardBlind => f.write_str(
                "guard.required is set, and how long searches take is not known: is [proxy_metrics] right, and does \
                 anybody search?",
            ),
            Reason::NoRelief { waves, remaining } => write!(
                f,
                "{waves} waves of moves in a row brought no relief; nothing is moved for another {}",
                spoken(remaining)
            ),
        }
    }
}
