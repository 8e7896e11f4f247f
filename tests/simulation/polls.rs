//! An observer that remembers what it showed to the daemon, and what was true at that moment: the daemon is judged
//! by what it could have known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::observe::observation::{CollectionReport, Observation};
use milvus_rebalancer::observe::{ObserveError, Observer, SeamFuture};
use milvus_rebalancer::sim::cluster::NodeState;
use milvus_rebalancer::sim::{SharedWorld, SimObserver};
use milvus_rebalancer::units::{CollectionId, NodeId};

/// Polls that are remembered: a call belongs to the last one before it.
const POLLS_KEPT: usize = 16;

/// One poll that succeeded.
pub struct Poll {
    /// When the daemon had it.
    pub returned_at: Timestamp,
    /// What it showed.
    pub shown: Observation,
    /// What was true when it began.
    pub truth: Truth,
}

/// What was true.
#[derive(Default)]
pub struct Truth {
    /// Read-write members of any replica of a collection.
    pub read_write: BTreeSet<(CollectionId, NodeId)>,
    /// Nodes whose process had died, and since when.
    pub dead: BTreeMap<NodeId, Duration>,
    /// Nodes that were being stopped.
    pub stopping: BTreeSet<NodeId>,
}

/// The last polls, oldest first.
#[derive(Clone, Default)]
pub struct Polls(Arc<Mutex<VecDeque<Arc<Poll>>>>);

impl Polls {
    fn push(&self, poll: Poll) {
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.len() == POLLS_KEPT {
            polls.pop_front();
        }
        polls.push_back(Arc::new(poll));
    }

    /// The last poll that the daemon had at that time.
    pub fn before(&self, at: Timestamp) -> Option<Arc<Poll>> {
        let polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        polls.iter().rev().find(|poll| poll.returned_at <= at).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Poll>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The observer.
pub struct RecordingObserver {
    world: SharedWorld,
    inner: SimObserver,
    polls: Polls,
}

impl RecordingObserver {
    /// Of this world.
    pub fn new(world: SharedWorld, reads_metrics: bool, polls: Polls) -> RecordingObserver {
        RecordingObserver { inner: SimObserver::new(world.clone(), reads_metrics), world, polls }
    }

    async fn poll(&self) -> Result<Observation, ObserveError> {
        let truth = self.truth();
        let shown = self.inner.observe().await?;
        let returned_at = self.world.lock().wall();
        self.polls.push(Poll { returned_at, shown: shown.clone(), truth });
        Ok(shown)
    }

    /// What is true now.
    fn truth(&self) -> Truth {
        let world = self.world.lock();
        let mut truth = Truth::default();
        for collection in world.collections().values() {
            for replica in &collection.replicas {
                truth.read_write.extend(replica.read_write.iter().map(|node| (collection.id, *node)));
            }
        }
        for node in world.nodes().values() {
            match node.state {
                NodeState::Crashed { at } => {
                    truth.dead.insert(node.id, world.now().saturating_sub(at));
                }
                NodeState::Stopping => {
                    truth.stopping.insert(node.id);
                }
                NodeState::Up => {}
            }
        }
        truth
    }
}

impl Observer for RecordingObserver {
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>> {
        Box::pin(self.poll())
    }

    fn reread<'a>(
        &'a self,
        database: &'a str,
        collection: &'a str,
        id: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>> {
        self.inner.reread(database, collection, id)
    }
}
