//! Why a subcommand ended without having done its work, and with which exit code.

use crate::admin::AdminError;
use crate::cli::Exit;
use crate::execute::manual::RequestError;
use crate::http::HttpError;
use crate::journal::{JournalError, LockError, RecordingError};
use crate::milvus::SettingsError;
use crate::observe::{ManagementError, NodeMetricsError, ObserveError, PrometheusError};
use crate::plugin::EndpointError;
use crate::reason::Reason;
use crate::replay::ReplayError;
use crate::sim::server::ServeError;
use crate::situation::file::SnapshotFileError;
use crate::situation::what_if::WhatIfError;

/// Why a subcommand ended without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The alias is not configured. The configuration's own check finds this first.
    #[error("there is no connection {alias:?}: add [connections.{alias}] or use another alias")]
    NoConnection {
        /// The alias.
        alias: String,
    },
    /// The connection cannot be used.
    #[error("connection {alias:?} cannot be used")]
    Connection {
        /// Its alias.
        alias: String,
        /// Why.
        #[source]
        source: SettingsError,
    },
    /// The election cannot be taken part in.
    #[error("the lease cannot be used")]
    Lease(#[from] crate::lease::etcd::EtcdError),
    /// The binary cannot ask the API server of Kubernetes. The configuration's own check finds this first.
    #[error("lease.engine = \"kubernetes\" needs a binary that was built with the feature kubernetes")]
    WithoutKubernetes,
    /// The nodes' own metrics cannot be asked for.
    #[error("node_metrics cannot be used")]
    NodeMetrics(#[from] NodeMetricsError),
    /// The Prometheus server cannot be asked.
    #[error("prometheus cannot be used")]
    Prometheus(#[from] PrometheusError),
    /// A policy plug-in cannot be asked.
    #[error(transparent)]
    Plugin(#[from] EndpointError),
    /// Milvus' own HTTP pages cannot be asked for.
    #[error("management cannot be used")]
    Management(#[from] ManagementError),
    /// The cluster could not be looked at.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// Another daemon is at work.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nobody could ask for metrics and health.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Nobody could use the admin API.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// There is no admin API to be asked.
    #[error("there is no admin API to ask: admin.enabled is false, and --admin names none")]
    NoAdmin,
    /// The token cannot be read.
    #[error("the token for the admin API cannot be used: {why}")]
    Token {
        /// Why.
        why: String,
    },
    /// A certificate by which the daemon is known, or by which it knows us, cannot be used.
    #[error("{key}: {} cannot be used: {why}", path.display())]
    Certificate {
        /// The option.
        key: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// The daemon does not answer.
    #[error("no daemon answers at {place}: is it running, and is admin.listen the same for both?")]
    NoDaemon {
        /// Where it was asked.
        place: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The daemon refused.
    #[error("the daemon refused: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why.
        detail: String,
    },
    /// The metrics cannot be registered.
    #[error("metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received, so that nobody could stop this in good order")]
    Signals(#[source] std::io::Error),
    /// A task broke off.
    #[error("{task} broke off")]
    Task {
        /// Which.
        task: &'static str,
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
    /// A task ended that never should.
    #[error("a task ended by itself; the process ends with it, so that it can be started anew")]
    EndedByItself,
    /// The server is never acted on.
    #[error(
        "this Milvus is {version}: servers before 2.3, or of unknown version, are read but never acted on"
    )]
    TooOld {
        /// What it says of itself.
        version: String,
    },
    /// The kill switch holds for people, too.
    #[error("nothing is moved: {reason}")]
    Stopped {
        /// What it says.
        reason: Reason,
    },
    /// A pause that would be over before it began.
    #[error("{until} is over already: a pause must end later than now")]
    Past {
        /// The end that was asked for.
        until: jiff::Timestamp,
    },
    /// A pause beyond the end of the calendar.
    #[error("no calendar goes that far: leave the end out, and `resume` ends the pause")]
    TooFar,
    /// A picture or page could not be written.
    #[error("the picture cannot be written to {}", .path.display())]
    Picture {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The daemon's plan could not be read as a whole.
    #[error("the daemon plans anew faster than its plan can be read; try again")]
    PlanChanges,
    /// What was asked about is not in the file.
    #[error("{what} is not in this file")]
    NotInFile {
        /// What.
        what: String,
    },
    /// A recording cannot be written or read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A recording cannot be thought through again.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// There is nothing to be exported.
    #[error(
        "no turn is recorded in {}: has a daemon run with this journal.path, and is journal.observations.enabled true?",
        .folder.display()
    )]
    NothingRecorded {
        /// Where recordings would be.
        folder: std::path::PathBuf,
    },
    /// A file of a snapshot cannot be used.
    #[error(transparent)]
    SnapshotFile(#[from] SnapshotFileError),
    /// What was asked about cannot be.
    #[error(transparent)]
    WhatIf(#[from] WhatIfError),
    /// What was asked for cannot be done.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The simulated Milvus has no port.
    #[error("the simulated Milvus cannot be served")]
    Simulated(#[from] ServeError),
    /// No daemon answered.
    #[error("no daemon answers at {address}: is it running, and is this its http.listen?")]
    NoAnswer {
        /// Where it was asked.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Nobody can be asked.
    #[error("a daemon cannot be asked")]
    HealthCheck(#[source] reqwest::Error),
    /// The listener has no address.
    #[error("http.listen is no address: give --address")]
    NoListener,
    /// The output could not be written.
    #[error("the output cannot be written")]
    Output(#[from] std::io::Error),
}

impl AppError {
    /// For tasks that broke off.
    pub(super) fn task(task: &'static str) -> impl FnOnce(tokio::task::JoinError) -> AppError {
        move |source| AppError::Task { task, source }
    }

    /// What the process says to its caller.
    pub fn exit(&self) -> Exit {
        match self {
            AppError::Observe(_) => Exit::Unreachable,
            AppError::Task { .. } | AppError::EndedByItself => Exit::BrokeOff,
            AppError::NoAnswer { .. } => Exit::Unwell,
            AppError::NoDaemon { .. } => Exit::Unwell,
            AppError::Refused { status: 500.., .. } => Exit::Unwell,
            _ => Exit::WrongInput,
        }
    }
}
