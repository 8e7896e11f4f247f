//! What can go wrong with a call to Milvus, sorted by what to do about it rather than by where it came from.

use std::time::Duration;

/// What to do after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The server is starting, overloaded or away: ask again later, with back-off.
    RetryLater,
    /// The plan was made from a state that is gone: observe and plan again.
    Replan,
    /// This collection cannot be worked on this turn (loading, released, dropped).
    SkipCollection,
    /// Credentials or rights are missing: a person must act.
    FixAccess,
    /// We sent something that the server calls invalid.
    OurBug,
    /// The call may or may not have had its effect: only looking tells.
    OutcomeUnknown,
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum MilvusError {
    /// Placeholder of the skeleton; the client replaces this list.
    #[error("{call} at {endpoint} did not answer within {after:?}")]
    Deadline {
        /// The RPC's name.
        call: &'static str,
        /// The configured address.
        endpoint: String,
        /// The limit that passed.
        after: Duration,
    },
}

impl MilvusError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            MilvusError::Deadline { .. } => Remedy::OutcomeUnknown,
        }
    }
}
