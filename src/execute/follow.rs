//! One call from its sending to the last look at its collection, as a task of its own: a slow call holds up
//! nobody else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::operation::{BatchId, Event};
use super::shared_rereads::SharedRereads;
use super::{ExecuteSettings, MoveCall, Mover};
use crate::milvus::Remedy;
use crate::observe::observation::CollectionReport;
use crate::units::CollectionId;

/// The shortest pause between two looks, whatever is configured: a loop without pause would starve the server.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// News from a task.
#[derive(Debug)]
pub enum News {
    /// The call was answered or given up.
    Answered {
        /// Which call.
        batch: BatchId,
        /// What that means for its operations.
        event: Event,
    },
    /// A collection was read again.
    Read(Arc<CollectionReport>),
}

/// One call and what is needed to follow it.
pub struct Follower {
    /// Its number.
    pub batch: BatchId,
    /// The call.
    pub call: MoveCall,
    /// The collection that it is about.
    pub collection: CollectionId,
    /// Where it is sent.
    pub mover: Arc<dyn Mover>,
    /// Where it is looked for.
    pub rereads: SharedRereads,
    /// Where the news go.
    pub news: mpsc::Sender<News>,
    /// Cancelled when all its operations have ended.
    pub settled: CancellationToken,
}

impl Follower {
    /// Sends the call, then looks until it has settled or `verify_timeout` has passed.
    pub async fn run(self, settings: ExecuteSettings) {
        let event = self.answer(settings.call_timeout).await;
        if self.news.send(News::Answered { batch: self.batch, event }).await.is_err() {
            return;
        }
        let deadline = Instant::now() + settings.verify_timeout;
        let settled = self.settled.clone();
        tokio::select! {
            () = settled.cancelled() => {}
            () = self.look_until(deadline, settings.verify_interval.max(SHORTEST_PAUSE)) => {}
        }
    }

    async fn answer(&self, call_timeout: Duration) -> Event {
        match timeout(call_timeout, self.mover.load_balance(&self.call)).await {
            Ok(Ok(())) => Event::Answered,
            Ok(Err(error)) => {
                let remedy = error.remedy_for_batch(self.call.segments().len());
                Event::Failed { remedy, cause: with_causes(&error) }
            }
            Err(_) => Event::Failed {
                remedy: Remedy::OutcomeUnknown,
                cause: format!("the call was not answered within {call_timeout:?}"),
            },
        }
    }

    async fn look_until(&self, deadline: Instant, pause: Duration) {
        while Instant::now() < deadline {
            sleep(pause).await;
            let read = self.rereads.reread(self.call.database(), self.call.collection(), self.collection);
            match timeout_at(deadline.max(Instant::now() + pause), read).await {
                Ok(Ok(report)) => {
                    if self.news.send(News::Read(report)).await.is_err() {
                        return;
                    }
                }
                Ok(Err(error)) => tracing::debug!(
                    collection = self.call.collection(),
                    error = with_causes(&error),
                    "cannot look for moved segments now"
                ),
                Err(_) => return,
            }
        }
    }
}

/// An error and its causes in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}
