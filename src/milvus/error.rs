//! What can go wrong with a call to Milvus, sorted by what to do about it rather than by where it came from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::refusal::Refusal;
use crate::units::Bytes;

/// What to do after a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The server is starting, overloaded or away: ask again later, with back-off.
    RetryLater,
    /// The plan was made from a state that is gone: observe and plan again.
    Replan,
    /// This collection cannot be worked on this turn (loading, released, dropped).
    SkipCollection,
    /// Credentials, rights or the address are wrong: a person must act.
    FixAccess,
    /// We sent something that the server calls invalid, or one of us does not understand the other.
    OurBug,
    /// The call may or may not have had its effect: only looking tells.
    OutcomeUnknown,
}

/// A call that the project makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are Milvus' own
pub enum Call {
    ListDatabases,
    ShowCollections,
    DescribeCollection,
    DescribeIndex,
    GetLoadState,
    GetReplicas,
    GetQuerySegmentInfo,
    GetMetrics,
    ListResourceGroups,
    DescribeResourceGroup,
    GetVersion,
    CheckHealth,
    LoadBalance,
}

impl Call {
    /// Whether there are versions of Milvus that do not have it.
    fn came_later(self) -> bool {
        matches!(self, Call::ListDatabases | Call::ListResourceGroups | Call::DescribeResourceGroup)
    }

    /// Whether it changes the cluster: then a lost answer does not mean that nothing happened.
    pub fn writes(self) -> bool {
        self == Call::LoadBalance
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Whom a call was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The connection's name in the configuration.
    pub connection: String,
    /// The configured address, without credentials.
    pub endpoint: String,
}

/// A failed call: which, to whom, and what went wrong. It is a value, so that several who wait for one call can
/// all have it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} at {}: {}", target.endpoint, self.explain())]
pub struct MilvusError {
    /// The call.
    pub call: Call,
    /// Whom it was for.
    pub target: Arc<Target>,
    /// What went wrong.
    pub failure: Failure,
}

/// What went wrong with a call. Texts are those of the server or the transport, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection; the call was never sent.
    Unreachable {
        /// Why.
        cause: String,
    },
    /// TLS could not be agreed on; the call was never sent.
    Tls {
        /// Why.
        cause: String,
    },
    /// Something answers there that does not speak Milvus' protocol.
    NotMilvus {
        /// How it showed.
        cause: String,
    },
    /// No answer in time.
    Deadline {
        /// The limit that passed.
        after: Duration,
    },
    /// The call was sent, and the connection broke before the answer.
    Lost {
        /// How.
        cause: String,
    },
    /// User and password, or the token, are wrong.
    Unauthenticated {
        /// The server's text.
        reason: String,
    },
    /// The user may not do this.
    PermissionDenied {
        /// The server's text.
        reason: String,
    },
    /// The server does not have this call.
    MissingCall,
    /// The answer is larger than we read, or than the server sends.
    TooLarge {
        /// Our own limit.
        limit: Bytes,
        /// Whose limit it was, and what the answer's size is.
        reason: String,
    },
    /// The answer cannot be understood.
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// Milvus said no.
    Refused(Refusal),
    /// Any other gRPC status.
    Rpc {
        /// Its name.
        code: &'static str,
        /// Its text.
        reason: String,
    },
}

impl MilvusError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        let unanswered = if self.call.writes() { Remedy::OutcomeUnknown } else { Remedy::RetryLater };
        match &self.failure {
            Failure::Unreachable { .. } => Remedy::RetryLater,
            // Something in between may have passed the call on before it answered in its own way.
            Failure::NotMilvus { .. } if self.call.writes() => Remedy::OutcomeUnknown,
            Failure::Tls { .. }
            | Failure::NotMilvus { .. }
            | Failure::Unauthenticated { .. }
            | Failure::PermissionDenied { .. }
            | Failure::MissingCall => Remedy::FixAccess,
            Failure::Deadline { .. } | Failure::Lost { .. } | Failure::Rpc { .. } => unanswered,
            Failure::TooLarge { .. } | Failure::Malformed { .. } if self.call.writes() => {
                Remedy::OutcomeUnknown
            }
            Failure::TooLarge { .. } => Remedy::FixAccess,
            Failure::Malformed { .. } => Remedy::OurBug,
            Failure::Refused(refusal) => refusal.remedy(self.call),
        }
    }

    /// Whether the server is older than the call, so that its caller can do without.
    pub fn is_missing_call(&self) -> bool {
        self.failure == Failure::MissingCall
    }

    /// What to do about a failed `LoadBalance` of so many segments. The first task that fails ends the call, and
    /// the tasks of its other segments run on: of several, nobody can say which one it was.
    pub fn remedy_for_batch(&self, segments: usize) -> Remedy {
        match &self.failure {
            Failure::Refused(refusal) if segments > 1 && refusal.came_after_the_start() => {
                Remedy::OutcomeUnknown
            }
            _ => self.remedy(),
        }
    }

    /// Whether the node that a move was for has no memory or disk for it: leave it alone for a while. Other
    /// segments of the same call may still arrive.
    pub fn destination_is_full(&self) -> bool {
        matches!(&self.failure, Failure::Refused(refusal) if refusal.destination_is_full())
    }

    /// Whether the collection (or its database) is dropped or released.
    pub fn collection_is_gone(&self) -> bool {
        matches!(&self.failure, Failure::Refused(refusal) if refusal.collection_is_gone())
    }

    /// What went wrong and what to do next, in one line.
    fn explain(&self) -> String {
        let connection = &self.target.connection;
        match &self.failure {
            Failure::Unreachable { cause } => {
                format!("cannot connect ({cause}): is Milvus running, and is the address right?")
            }
            Failure::Tls { cause } if cause.contains("certificate") => format!(
                "the server's certificate is not accepted ({cause}): check tls.ca_file and tls.server_name of \
                 connection {connection:?}"
            ),
            Failure::Tls { cause } => format!(
                "TLS cannot be agreed on ({cause}): does the server speak TLS at this port? If not, write http://"
            ),
            Failure::NotMilvus { cause } => format!(
                "what answers there does not speak Milvus' protocol ({cause}): is it Milvus' gRPC port \
                 (19530)? If the server speaks TLS, write https://"
            ),
            Failure::Deadline { after } if self.call.writes() => {
                format!("not answered within {after:?}: {}", advice(Remedy::OutcomeUnknown))
            }
            Failure::Deadline { after } => format!(
                "not answered within {after:?}: is Milvus overloaded, or does something in between swallow the \
                 connection?"
            ),
            Failure::Lost { cause } => format!(
                "the connection broke before the answer ({cause}): did Milvus restart? If it speaks TLS, \
                 write https://; if it is not Milvus' proxy at all, look for its port (19530)"
            ),
            Failure::Unauthenticated { reason } => format!(
                "not logged in ({reason}): check user and password, or token, of connection {connection:?}"
            ),
            Failure::PermissionDenied { reason } => format!(
                "not allowed ({reason}): grant the user of connection {connection:?} the privilege {}",
                self.call
            ),
            Failure::MissingCall if self.call.came_later() => {
                "this Milvus is too old to have the call".into()
            }
            Failure::MissingCall => {
                "what answers there does not have the call: is it the port of Milvus' proxy (19530)?".into()
            }
            Failure::TooLarge { limit, reason } => format!(
                "the answer is too large ({reason}): raise max_response of connection {connection:?} (now \
                 {limit}) or Milvus' proxy.grpc.serverMaxSendSize"
            ),
            Failure::Malformed { problem } => format!(
                "the answer cannot be understood ({problem}): is this a version of Milvus that is supported?"
            ),
            Failure::Refused(refusal) if refusal.destination_is_full() => {
                format!("{refusal}: the destination has no room for it and is left alone for a while")
            }
            Failure::Refused(refusal) => format!("{refusal}: {}", advice(self.remedy())),
            Failure::Rpc { code, reason } => {
                format!("gRPC {code} ({reason}): {}", advice(self.remedy()))
            }
        }
    }
}

/// What to do next, for failures that Milvus itself explains.
fn advice(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::RetryLater => "it is asked again later",
        Remedy::Replan => "the cluster has changed since it was read; it is read again",
        Remedy::SkipCollection => "the collection is left out this time",
        Remedy::FixAccess => "grant the user what the call needs",
        Remedy::OurBug => "please report this as a bug, with the versions of both sides",
        Remedy::OutcomeUnknown => "whether it had an effect shows in the distribution",
    }
}
