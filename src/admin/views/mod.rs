//! What the API answers with: small documents made of a turn, its ids as texts, its reasons as code and sentence. The
//! command line reads the same types.

mod cluster;
mod explain;
mod ledger;
mod plan;
mod status;

pub use cluster::{CollectionView, DimensionView, NodeView, PressureView, SegmentView};
pub use explain::ExplanationView;
pub use ledger::{AuditView, NetZeroView, OperationView, TurnView, WaveView};
pub use plan::{FloorView, LeftAloneView, MoveView, PlanView, StepView, VerdictView};
pub use status::{ControlsView, DoubtView, DrainView, PauseView, PlanSummary, StatusView};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::reason::Reason;

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// Its stable name; docs/operations.md explains each.
    pub code: String,
    /// One sentence.
    pub sentence: String,
}

impl From<&Reason> for ReasonView {
    fn from(reason: &Reason) -> ReasonView {
        ReasonView { code: reason.code().to_owned(), sentence: reason.to_string() }
    }
}
