//! Which nodes have been seen before: a node that is new gets load slowly, one that only restarted does not begin
//! anew. Node ids die with their process, so nodes are remembered by address and hostname.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::snapshot::{Node, Snapshot};

/// For how long a node that is gone is remembered: longer than any maintenance, short enough that a cluster which
/// replaces its nodes every day does not fill the memory.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How exactly it is remembered when a node was seen last.
const SEEN_AGAIN: SignedDuration = SignedDuration::from_hours(24);

/// The nodes that have been seen, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesSeen(BTreeMap<String, SeenNode>);

/// A node that has been seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SeenNode {
    /// Its hostname, where the server told it.
    hostname: Option<String>,
    /// When it was seen for the first time; `None` for those that were there when the memory began.
    new_since: Option<Timestamp>,
    /// When it was seen last.
    last_seen: Timestamp,
}

impl NodesSeen {
    /// Notes the nodes of a look at the cluster. With an empty memory nobody can say who is new, so nobody is.
    pub fn note(&mut self, snapshot: &Snapshot) {
        let at = snapshot.taken_at;
        let is_first = self.0.is_empty();
        for node in snapshot.nodes.iter().filter(|node| !node.address.is_empty()) {
            if let Some(seen) = self.0.get_mut(&node.address).filter(|seen| seen.is(node)) {
                // Coarse, so that this memory is not written anew with every look.
                if at.duration_since(seen.last_seen) >= SEEN_AGAIN {
                    seen.last_seen = at;
                }
                if node.hostname.is_some() {
                    seen.hostname.clone_from(&node.hostname);
                }
                continue;
            }
            let new_since = (!is_first).then_some(at);
            let seen = SeenNode { hostname: node.hostname.clone(), new_since, last_seen: at };
            self.0.insert(node.address.clone(), seen);
        }
        self.0.retain(|_, seen| at.duration_since(seen.last_seen) < KEPT);
    }

    /// Since when a node has been known, if it is one that joined while somebody was watching.
    pub fn new_since(&self, node: &Node) -> Option<Timestamp> {
        self.0.get(&node.address).filter(|seen| seen.is(node))?.new_since
    }
}

impl SeenNode {
    /// Whether this is that node. A hostname that one of the two lacks (before 2.4) says nothing.
    fn is(&self, node: &Node) -> bool {
        match (&self.hostname, &node.hostname) {
            (Some(known), Some(now)) => known == now,
            _ => true,
        }
    }
}
