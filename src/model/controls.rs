//! What people order beside the configuration: pauses, approvals, and the kill switch. It is read anew every turn,
//! because an order that waits for a restart is none.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::PlanDigest;
use crate::units::NodeId;

/// What people have ordered, as it was found at the beginning of a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// The pause that was ordered last, also when its time is over; `None` when none was or when it was ended.
    pub pause: Option<Pause>,
    /// Plans that were approved, in any order.
    pub approvals: Vec<Approval>,
    /// Nodes that were ordered to be emptied, by node.
    #[serde(default)]
    pub drains: Vec<Drain>,
    /// What the kill switch says, when it does not let us go on.
    pub kill_switch: Option<Thrown>,
}

/// Nothing is to be moved for a while.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub from: Timestamp,
    /// Until when; `None` until somebody ends it.
    pub until: Option<Timestamp>,
    /// Why, in the words of who ordered it; empty when they gave none.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

impl Pause {
    /// Whether it is in force. One that begins later by this clock counts: the clock was set back since.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A node is to be emptied of everything that can move, until somebody takes that back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drain {
    /// Which. An id is that of a session: a node that comes back after its restart is another one, and not drained.
    pub node: NodeId,
    /// Its `host:port` when that was ordered, for people; empty when it was not known.
    pub address: String,
    /// Since when.
    pub from: Timestamp,
    /// Why, in the words of who ordered it; empty when they gave none.
    pub reason: String,
    /// Who ordered it.
    pub by: String,
}

/// A plan that somebody has looked at and agreed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Approval {
    /// Which plan.
    pub digest: PlanDigest,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

/// A kill switch that stops us.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Thrown {
    /// The file.
    pub path: String,
    /// Why it cannot be seen whether the file exists; `None` when it does.
    pub unreadable: Option<String>,
}
