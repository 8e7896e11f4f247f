//! The small interface behind which leader election is done.

use std::mem::{Discriminant, discriminant};

use tokio::sync::watch;
use tokio::time::Instant;

use super::record::{RecordError, SharedRecord};
use crate::observe::SeamFuture;
use crate::reason::Reason;

/// What this instance knows about who may act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Nothing is known yet, or no longer.
    Unknown {
        /// Why, in one line.
        cause: String,
    },
    /// Another one leads.
    Following {
        /// Its name; `None` while there is none.
        leader: Option<String>,
    },
    /// This one leads.
    Leading {
        /// What tells this leadership from every other: the revision that made it.
        term: i64,
        /// Until when that is certain whatever happens elsewhere: counted from the *sending* of the last request that
        /// prolonged it.
        until: Instant,
    },
}

impl Leadership {
    /// Whether this instance leads for sure at this time.
    pub fn leads_at(&self, now: Instant) -> bool {
        matches!(self, Leadership::Leading { until, .. } if now < *until)
    }

    /// Why this instance may not act at this time, if so.
    pub fn refusal(&self, now: Instant) -> Option<Reason> {
        match self {
            Leadership::Unknown { cause } => Some(Reason::LeaderUnknown { detail: cause.clone() }),
            Leadership::Following { leader } => Some(Reason::NotLeader { leader: leader.clone() }),
            Leadership::Leading { until, .. } if *until <= now => {
                Some(Reason::LeaderUnknown { detail: "the lease was not prolonged in time".to_owned() })
            }
            Leadership::Leading { .. } => None,
        }
    }
}

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else leads, or nobody.
    #[error("this instance does not lead any more")]
    NotLeader,
    /// The engine did not answer, or not in time.
    #[error("{operation}: the lease's engine did not do it")]
    Engine {
        /// What was asked.
        operation: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The shared record cannot be used.
    #[error("the record that instances share cannot be used")]
    Record(#[from] RecordError),
}

/// An engine that lets one of several instances lead, and keeps a small record for its successor.
pub trait Election: Send + Sync {
    /// Who leads, kept up to date by [`Election::run`].
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// Writes the record down if this instance still leads: one transaction.
    fn write<'a>(&'a self, record: &'a SharedRecord) -> SeamFuture<'a, Result<(), LeaseError>>;

    /// The record that the last leader left; `None` where there never was one.
    fn read(&self) -> SeamFuture<'_, Result<Option<SharedRecord>, LeaseError>>;

    /// Stands for election, leads and stands again, until the future is dropped.
    fn run(&self) -> SeamFuture<'_, ()>;

    /// Hands over at once.
    fn resign(&self) -> SeamFuture<'_, ()>;
}

/// Tells when something else is known of who leads.
pub struct LeaderNews {
    state: Option<watch::Receiver<Leadership>>,
    known: Option<Discriminant<Leadership>>,
}

impl LeaderNews {
    /// Of this election; there never is any without one.
    pub fn of(election: Option<&dyn Election>) -> LeaderNews {
        LeaderNews { state: election.map(Election::leadership), known: None }
    }

    /// Waits until it is another kind of leadership than at the last time this returned. A lease that is prolonged is no
    /// news. Safe to cancel: what changes meanwhile is told next time.
    pub async fn changed(&mut self) {
        let Some(state) = &mut self.state else { return std::future::pending().await };
        let known = self.known;
        let news = state.wait_for(|state| Some(discriminant(state)) != known).await;
        match news.map(|state| discriminant(&*state)) {
            Ok(kind) => self.known = Some(kind),
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_lead_is_told_who_does() {
        let now = Instant::now();
        let following = Leadership::Following { leader: Some("rebalancer-2".to_owned()) };
        let reason = following.refusal(now).unwrap();
        assert_eq!(reason, Reason::NotLeader { leader: Some("rebalancer-2".to_owned()) });
        assert!(reason.to_string().contains("rebalancer-2"), "{reason}");
        let unknown = Leadership::Unknown { cause: "etcd does not answer".to_owned() };
        assert!(matches!(unknown.refusal(now), Some(Reason::LeaderUnknown { .. })));
        let leading = Leadership::Leading { term: 1, until: now + Duration::from_secs(1) };
        assert_eq!(leading.refusal(now), None);
        let late = leading.refusal(now + Duration::from_secs(1));
        assert!(matches!(late, Some(Reason::LeaderUnknown { .. })), "a lease that ran out is none");
    }
}
