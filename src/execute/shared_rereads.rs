//! Reads of one collection, shared by everyone who waits for news of it. A request is answered by a read that
//! began after it, so nobody is told of the world before his own move.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::observe::observation::CollectionReport;
use crate::observe::{ObserveError, Observer};
use crate::units::CollectionId;

/// What a shared read answers with.
pub type SharedReport = Result<Arc<CollectionReport>, RereadError>;

/// Why a shared read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RereadError {
    /// The read failed.
    #[error("collection {collection} cannot be read again")]
    Failed {
        /// The collection.
        collection: CollectionId,
        /// Why.
        #[source]
        source: Arc<ObserveError>,
    },
    /// The reader ended without an answer.
    #[error("the read of collection {collection} was given up")]
    GivenUp {
        /// The collection.
        collection: CollectionId,
    },
}

/// Shares reads among waiters. Clones share, too.
#[derive(Clone)]
pub struct SharedRereads {
    observer: Arc<dyn Observer>,
    /// Waiters by collection; an entry exists while a reader runs for it.
    waiting: Arc<Mutex<BTreeMap<CollectionId, Vec<oneshot::Sender<SharedReport>>>>>,
}

impl SharedRereads {
    /// Reads through this observer.
    pub fn new(observer: Arc<dyn Observer>) -> SharedRereads {
        SharedRereads { observer, waiting: Arc::default() }
    }

    /// Reads a collection again, by a read that begins after this call and that others may share. The read goes
    /// on for the others when this waiter goes away.
    pub async fn reread(&self, database: &str, name: &str, id: CollectionId) -> SharedReport {
        let (sender, receiver) = oneshot::channel();
        let reader_runs = {
            let mut waiting = self.lock();
            let runs = waiting.contains_key(&id);
            waiting.entry(id).or_default().push(sender);
            runs
        };
        if !reader_runs {
            let reader = Reader { shared: self.clone(), id, is_done: false };
            let (database, name) = (database.to_owned(), name.to_owned());
            tokio::spawn(async move { reader.read_while_asked(&database, &name).await });
        }
        receiver.await.unwrap_or(Err(RereadError::GivenUp { collection: id }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CollectionId, Vec<oneshot::Sender<SharedReport>>>> {
        // No panic can happen while it is held that would leave the map half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads one collection for as long as somebody waits.
struct Reader {
    shared: SharedRereads,
    id: CollectionId,
    /// It took its entry away itself; one that is there now belongs to its successor.
    is_done: bool,
}

impl Reader {
    async fn read_while_asked(mut self, database: &str, name: &str) {
        while let Some(waiters) = self.take_waiters() {
            let answer = match self.shared.observer.reread(database, name, self.id).await {
                Ok(report) => Ok(Arc::new(report)),
                Err(error) => Err(RereadError::Failed { collection: self.id, source: Arc::new(error) }),
            };
            for waiter in waiters {
                // One that does not wait any more needs no answer.
                waiter.send(answer.clone()).ok();
            }
        }
    }

    /// Those that wait now; the entry goes when nobody does.
    fn take_waiters(&mut self) -> Option<Vec<oneshot::Sender<SharedReport>>> {
        let mut waiting = self.shared.lock();
        let mut waiters = std::mem::take(waiting.get_mut(&self.id)?);
        waiters.retain(|waiter| !waiter.is_closed());
        if waiters.is_empty() {
            waiting.remove(&self.id);
            drop(waiting);
            self.is_done = true;
            return None;
        }
        Some(waiters)
    }
}

impl Drop for Reader {
    /// A reader that panicked or was stopped leaves nobody waiting for it.
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.lock().remove(&self.id);
        }
    }
}
