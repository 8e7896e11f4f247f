//! The control loop: one turn after the other, each from a fresh look to a verdict. It takes no input: it is woken
//! by time and by what became of calls, and reads everything anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Mode, PollSettings};
use crate::execute::executor::{AdmittedMove, Executor};
use crate::http::Health;
use crate::journal::{Journal, JournalError, PlanRecord, TurnRecord};
use crate::metrics::Metrics;
use crate::model::{Doubt, Snapshot};
use crate::observe::observation::Observation;
use crate::observe::{ObserveError, Observer};
use crate::plan::Plan;
use crate::reason::Reason;
use crate::report::{self, limiting_reason};
use crate::telemetry::Chain;
use crate::turn::{Decision, OwnMoves, Thinking};
use crate::units::Bytes;

/// How often the loop shows that it is alive while it waits for something long.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often old rows leave the journal. They are counted in days.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Everything the loop works with; put together in [`crate::app`].
pub struct ControlLoop {
    /// Reads the cluster.
    pub observer: Arc<dyn Observer>,
    /// The pure half.
    pub thinking: Thinking,
    /// Moves segments, or has no way to, in `advise`.
    pub executor: Executor,
    /// Whether it may.
    pub mode: Mode,
    /// When to look.
    pub poll: PollSettings,
    /// The time.
    pub clock: Arc<Clock>,
    /// What happened, for people and for the next start.
    pub journal: Journal,
    /// What is published.
    pub metrics: Arc<Metrics>,
    /// Whether we are alive and useful.
    pub health: Arc<Health>,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// What the loop remembers from turn to turn for its own purposes.
#[derive(Default)]
struct Rhythm {
    failures_in_a_row: u32,
    doubts: Vec<Doubt>,
    held_back: Option<Reason>,
    pruned_at: Option<Instant>,
}

impl ControlLoop {
    /// Turns until it is stopped; then lets running calls finish. Fails only when the journal cannot be read at the
    /// start: acting without memory is worse than not running.
    pub async fn run(mut self) -> Result<(), JournalError> {
        self.executor.recover().await?;
        let stop = self.stop.clone();
        let mut rhythm = Rhythm::default();
        let mut next_turn = Instant::now();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            self.health.beat();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(next_turn) => {
                    let began = Instant::now();
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => break,
                        pause = self.turn(&mut rhythm) => next_turn = began + pause,
                    }
                }
                () = self.executor.next_event() => self.publish_executor(),
                _ = heartbeat.tick() => {}
            }
        }
        tracing::info!("stopping: no new calls, running ones may finish");
        self.executor.stop().await;
        self.publish_executor();
        Ok(())
    }

    /// One turn; how long after its start the next one begins.
    async fn turn(&mut self, rhythm: &mut Rhythm) -> Duration {
        let began = Instant::now();
        let observed = self.observe().await;
        let took = began.elapsed();
        self.metrics.observation_took(took);
        let pause = match observed {
            Ok(observation) => {
                rhythm.failures_in_a_row = 0;
                self.think_and_act(&observation, rhythm).await;
                self.metrics.turn_succeeded(began.elapsed(), self.clock.read().wall);
                self.health.turn_succeeded();
                self.poll.interval.max(took.div_f64(self.poll.duty))
            }
            Err(error) => {
                let pause = back_off(&self.poll, rhythm.failures_in_a_row);
                rhythm.failures_in_a_row = rhythm.failures_in_a_row.saturating_add(1);
                let sentence = Chain(&error).to_string();
                tracing::error!(next_try_in = ?pause, "{sentence}");
                self.record_failure(began, &sentence).await;
                self.metrics.turn_failed(began.elapsed());
                self.health.turn_failed(sentence);
                pause
            }
        };
        self.prune(rhythm).await;
        pause
    }

    /// Looks at the cluster, showing that the loop is alive while the answer takes its time.
    async fn observe(&self) -> Result<Observation, ObserveError> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut observing = self.observer.observe();
        loop {
            tokio::select! {
                observed = &mut observing => return observed,
                _ = heartbeat.tick() => self.health.beat(),
            }
        }
    }

    async fn think_and_act(&mut self, observation: &Observation, rhythm: &mut Rhythm) {
        let began = Instant::now();
        if let Err(error) = self.executor.refresh_from_journal().await {
            tracing::error!(error = %Chain(&error), "cannot read manual moves from the journal");
        }
        self.executor.settle(observation).await;
        let own = OwnMoves {
            in_flight: self.executor.in_flight(),
            departures: self.executor.departures(),
            known: self.executor.known_moves(),
        };
        let now = self.clock.read();
        let decision = self.thinking.turn(observation, own, now);
        let admitted = admitted_moves(&decision);
        if self.mode == Mode::Act {
            let cluster_bytes: Bytes = decision.snapshot.copies.bytes.iter().copied().sum();
            self.executor.offer(admitted, cluster_bytes);
        }
        let limited_by = limiting_reason(self.mode, &decision, self.executor.limited_by());
        log_changes(&decision, limited_by.as_ref(), rhythm);
        log_plan(&decision, self.mode);
        self.metrics.observe_turn(&report::turn_metrics(&decision, limited_by.as_ref(), &self.executor.status()));
        self.record_turn(observation, &decision, limited_by.as_ref(), now.wall, began.elapsed()).await;
    }

    fn publish_executor(&mut self) {
        self.executor.publish_ended(&self.metrics);
        self.metrics.set_operations_open(self.executor.status().open_operations);
    }
}
