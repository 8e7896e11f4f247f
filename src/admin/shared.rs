//! What the handlers look at. Views that go over a whole cluster are made once a turn, by whoever asks first.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::problem::Problem;
use super::views::{CollectionView, NodeView};
use crate::app::ByHand;
use crate::clock::Clock;
use crate::config::Mode;
use crate::control_loop::{LastTurn, LoopState};
use crate::gate::GateSettings;
use crate::journal::Journal;
use crate::kill_switch::KillSwitch;
use crate::situation::curve::{Point, along};

/// Everything that the handlers need; put together in [`crate::app`].
pub struct Shared {
    /// What the control loop shows.
    pub state: watch::Receiver<LoopState>,
    /// Where orders go and the past is.
    pub journal: Journal,
    /// The time.
    pub clock: Arc<Clock>,
    /// Whether the daemon may move anything.
    pub mode: Mode,
    /// Windows and approvals, to say what is in force.
    pub gate: GateSettings,
    /// The same file that the loop looks at.
    pub kill_switch: KillSwitch,
    /// The options in force as TOML, without secrets.
    pub configuration: String,
    /// Who is let in.
    pub access: Arc<Access>,
    /// Makes the loop look sooner.
    pub wake: Arc<Notify>,
    /// Moves what a person asks for.
    pub by_hand: Arc<ByHand>,
    /// Ends open streams.
    pub stop: CancellationToken,
    /// Views of the last turn that somebody asked for.
    pub views: Cache,
}

/// Views of one turn.
pub struct TurnViews {
    /// The turn.
    pub last: Arc<LastTurn>,
    /// Its nodes, by id.
    pub nodes: Vec<NodeView>,
    /// Its collections, by id.
    pub collections: Vec<CollectionView>,
    curve: OnceLock<Vec<Point>>,
}

impl TurnViews {
    /// How even the cluster gets along the steps of the plan; made for who asks first.
    pub(super) fn curve(&self) -> &[Point] {
        let decision = &self.last.decision;
        self.curve.get_or_init(|| along(&decision.input, &decision.assessment, &decision.plan.steps))
    }
}

/// The views of the newest turn that somebody asked for.
#[derive(Default)]
pub struct Cache(Mutex<Option<Arc<TurnViews>>>);

impl Cache {
    /// The views of this turn: those that are there, or new ones.
    pub(super) fn of(&self, last: Arc<LastTurn>) -> Arc<TurnViews> {
        // Held while they are made: whoever else asks wants the same ones. A panic leaves the old ones.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(views) = kept.as_ref().filter(|views| Arc::ptr_eq(&views.last, &last)) {
            return Arc::clone(views);
        }
        let views = Arc::new(TurnViews {
            nodes: NodeView::all(&last.decision),
            collections: CollectionView::all(&last.decision.snapshot),
            curve: OnceLock::new(),
            last,
        });
        *kept = Some(Arc::clone(&views));
        views
    }
}

impl Shared {
    /// The last turn that saw the cluster.
    pub(super) fn last(&self) -> Result<Arc<LastTurn>, Problem> {
        let state = self.state.borrow();
        state.last.clone().ok_or_else(|| Problem::nothing_seen(state.failure.as_deref()))
    }

    /// The views of the last turn.
    pub(super) async fn views(self: &Arc<Self>) -> Result<Arc<TurnViews>, Problem> {
        let last = self.last()?;
        let shared = Arc::clone(self);
        // A million segments take milliseconds, which others need not wait for.
        blocking(move || shared.views.of(last)).await
    }
}

/// Work that may take a while, beside everything else.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a request broke off");
        Problem::unavailable("the request broke off; the log says more")
    })
}
