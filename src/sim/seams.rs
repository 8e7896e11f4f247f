//! The simulated Milvus behind the project's own seams, without a network: for tests that run days in seconds.
//!
//! The world's time is tokio's, so a test that holds tokio's clock holds the world. What is observed is read from
//! the same answers that the gRPC server sends, by the same code that reads a real Milvus.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::answers::Unanswered;
use super::calls::{BalanceRequest, CallAnswer, CallId};
use super::cluster::SimTime;
use super::world::World;
use crate::execute::{MoveCall, Mover};
use crate::milvus::wire::common::Status;
use crate::milvus::{Call, Failure, MilvusError, Refusal, Target};
use crate::observe::observation::{CollectionReport, Observation};
use crate::observe::row_estimates::RowEstimates;
use crate::observe::system_info::SystemInfo;
use crate::observe::{ObserveError, Observer, SYSTEM_INFO_PAUSE, SeamFuture};
use crate::units::CollectionId;

/// How long the simulated reader waits for `GetMetrics`, as the real one does by default.
pub(super) const METRICS_TIMEOUT: Duration = Duration::from_secs(30);

/// A world that several share, and the clock that drives it.
#[derive(Clone)]
pub struct SharedWorld {
    world: Arc<Mutex<World>>,
    started: Instant,
    /// How many times faster than tokio's clock it goes.
    speed: u32,
}

impl SharedWorld {
    /// A world that goes with tokio's clock from now on.
    pub fn new(world: World) -> SharedWorld {
        SharedWorld::with_speed(world, 1)
    }

    /// A world that goes so many times faster than tokio's clock.
    pub fn with_speed(mut world: World, speed: u32) -> SharedWorld {
        let begun = world.now();
        world.advance(begun);
        let speed = speed.max(1);
        let started = Instant::now();
        // A world that is older than the process cannot be told so by a monotonic clock: it waits.
        SharedWorld { world: Arc::new(Mutex::new(world)), started, speed }
    }

    /// The world as of now.
    pub fn lock(&self) -> MutexGuard<'_, World> {
        // Nothing in the world is left half-done by a panic in a test that holds it.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.elapsed();
        world.advance(now);
        world
    }

    fn elapsed(&self) -> SimTime {
        self.started.elapsed().saturating_mul(self.speed)
    }

    /// A stretch of the world's time, in tokio's.
    pub(super) fn real(&self, time: Duration) -> Duration {
        time / self.speed
    }

    /// A clock that tells the world's time of day.
    pub fn clock(&self) -> crate::clock::Clock {
        let shared = self.clone();
        crate::clock::Clock::with_wall(move || shared.lock().wall())
    }

    /// Sends a call and waits for its answer; `None` when it is lost. A caller that stops waiting is a caller
    /// that went away.
    pub async fn balance(&self, request: BalanceRequest) -> Option<CallAnswer> {
        let call = self.lock().load_balance(request);
        let mut pending = Pending { shared: self, call: Some(call) };
        loop {
            let wait = {
                let mut world = self.lock();
                if let Some(answer) = world.answer(call) {
                    pending.call = None;
                    return Some(answer);
                }
                let next = world.answer_due(call).or_else(|| world.next_event_at());
                next.map(|due| due.saturating_sub(world.now()))
            };
            // Rounded up, or it would wake a hair too early and find nothing.
            let wait = self.real(wait.unwrap_or(Duration::from_secs(1))) + Duration::from_micros(1);
            tokio::time::sleep(wait).await;
        }
    }
}

/// Tells the world when a caller stops waiting.
struct Pending<'a> {
    shared: &'a SharedWorld,
    call: Option<CallId>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call {
            self.shared.lock().disconnect(call);
        }
    }
}

/// Whom the errors of the direct seams name.
fn target() -> Arc<Target> {
    Arc::new(Target { connection: "simulated".to_owned(), endpoint: "simulated".to_owned() })
}

pub(super) fn failed(call: Call, failure: Failure) -> MilvusError {
    MilvusError { call, target: target(), failure }
}

pub(super) fn unanswered(call: Call, why: Unanswered) -> MilvusError {
    let failure = match why {
        Unanswered::Unavailable => Failure::Unreachable { cause: "connection refused".to_owned() },
        Unanswered::Unimplemented => Failure::MissingCall,
    };
    failed(call, failure)
}

/// An answer, or what its status says.
pub(super) fn checked<A>(
    call: Call,
    answer: Result<A, Unanswered>,
    status: impl Fn(&A) -> Option<&Status>,
) -> Result<A, MilvusError> {
    let answer = answer.map_err(|why| unanswered(call, why))?;
    match status(&answer).and_then(Refusal::in_status) {
        Some(refusal) => Err(failed(call, Failure::Refused(refusal))),
        None => Ok(answer),
    }
}

/// The writing seam on a simulated Milvus.
pub struct SimMover {
    shared: SharedWorld,
    timeout: Duration,
}

impl SimMover {
    /// A mover that waits this long for an answer.
    pub fn new(shared: SharedWorld, timeout: Duration) -> SimMover {
        SimMover { shared, timeout }
    }

    async fn send(&self, call: &MoveCall) -> Result<(), MilvusError> {
        if self.shared.lock().proxy_is_away() {
            return Err(unanswered(Call::LoadBalance, Unanswered::Unavailable));
        }
        let request = BalanceRequest {
            caller: String::new(),
            database: call.database().to_owned(),
            collection: call.collection().to_owned(),
            from: call.from(),
            to: vec![call.to()],
            segments: call.segments().to_vec(),
        };
        let answer = tokio::time::timeout(self.timeout, self.shared.balance(request)).await;
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let cause = "connection reset".to_owned();
                return Err(failed(Call::LoadBalance, Failure::Lost { cause }));
            }
            Err(_) => return Err(failed(Call::LoadBalance, Failure::Deadline { after: self.timeout })),
        };
        let status = self.shared.lock().balance_status(&answer);
        match Refusal::in_status(&status) {
            Some(refusal) => Err(failed(Call::LoadBalance, Failure::Refused(refusal))),
            None => Ok(()),
        }
    }
}

impl Mover for SimMover {
    fn load_balance<'a>(&'a self, call: &'a MoveCall) -> SeamFuture<'a, Result<(), MilvusError>> {
        Box::pin(self.send(call))
    }
}

/// The reading seam on a simulated Milvus.
pub struct SimObserver {
    shared: SharedWorld,
    reads_metrics: bool,
    reads_management: bool,
    row_estimates: RowEstimates,
    system_info: RememberedInfo,
}

/// What `GetMetrics` said last, and when it was asked: like the real observer, this one asks again only after a pause.
#[derive(Default)]
pub(super) struct RememberedInfo(Mutex<Option<(SimTime, SystemInfo)>>);

impl RememberedInfo {
    /// The last answer, while it is fresh enough not to ask again.
    pub(super) fn fresh(&self, now: SimTime) -> Option<SystemInfo> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked_at, info) = remembered.as_ref()?;
        (now < *asked_at + SYSTEM_INFO_PAUSE).then(|| info.clone())
    }

    pub(super) fn put(&self, asked_at: SimTime, info: &SystemInfo) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((asked_at, info.clone()));
    }
}

impl SimObserver {
    /// An observer; `reads_metrics` says whether it also reads the nodes' own /metrics.
    pub fn new(shared: SharedWorld, reads_metrics: bool) -> SimObserver {
        SimObserver {
            shared,
            reads_metrics,
            reads_management: false,
            row_estimates: RowEstimates::default(),
            system_info: RememberedInfo::default(),
        }
    }

    /// Also reads Milvus' own HTTP pages, where its version has them.
    pub fn reading_management(self) -> SimObserver {
        SimObserver { reads_management: true, ..self }
    }

    async fn poll(&self) -> Result<Observation, ObserveError> {
        let began = Instant::now();
        let (delay, mut observation) = {
            let mut world = self.shared.lock();
            let asks = self.system_info.fresh(world.now()).is_none();
            let delay = if asks { world.metrics_delay() } else { Duration::ZERO };
            (delay, world.observe(self.reads_metrics, &self.row_estimates, &self.system_info)?)
        };
        if delay > Duration::ZERO {
            tokio::time::sleep(self.shared.real(delay.min(METRICS_TIMEOUT))).await;
        }
        if self.reads_management {
            observation.management = self.shared.lock().observed_management();
        }
        observation.took = began.elapsed();
        Ok(observation)
    }
}

impl Observer for SimObserver {
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>> {
        Box::pin(self.poll())
    }

    fn reread<'a>(
        &'a self,
        database: &'a str,
        collection: &'a str,
        id: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>> {
        Box::pin(async move { self.shared.lock().reread(database, collection, id, &self.row_estimates) })
    }
}
