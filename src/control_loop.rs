//! The control loop: one turn after the other, each from a fresh look to a verdict. It takes no input: it is woken
//! by time and by what became of calls, and reads everything anew.

mod memory;
mod opinions;
mod orders;
mod policies;
mod recording;
mod records;
pub mod reload;
mod state;
mod trail;
mod written;

pub use orders::{GATE_MEMORY, orders};
pub use state::{LastTurn, LoopState};
pub use trail::{Trail, TrailPoint};

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{Mode, PollSettings};
use crate::execute::executor::{AdmittedMove, Executor};
use crate::execute::waves::JudgedWave;
use crate::http::Health;
use crate::journal::{Journal, JournalError, PlanRecord, TurnRecord, VerdictRecord};
use crate::lease::{Election, LeaderNews};
use crate::metrics::{CallResult, Metrics};
use crate::milvus::Remedy;
use crate::model::{Doubt, own_balancer::KnownSetting};
use crate::observe::{ObserveError, Observer, observation::Observation};
use crate::plan::Plan;
use crate::plugin::Plugins;
use crate::reason::Reason;
use crate::report::{self, limiting_reason};
use crate::telemetry::Chain;
use crate::turn::{Decision, OwnMoves, Thinking};
use crate::units::{Bytes, Moment};
use memory::Unwritten;
use policies::ToldOfPolicies;
use records::{failed_turn, plan_record, standing, turn_record};
use reload::Reloader;
use written::Written;

/// How often the journal is checked and old rows leave it. They are counted in days.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A follower looks so many times more seldom than a leader: it needs to know what is going on, and Milvus answers both.
const FOLLOWER_PACE: u32 = 4;

/// Everything the loop works with; put together in [`crate::app`].
pub struct ControlLoop {
    /// Reads the cluster.
    pub observer: Arc<dyn Observer>,
    /// Policies that are other processes.
    pub plugins: Plugins,
    /// The pure half.
    pub thinking: Thinking,
    /// Moves segments, or has no way to, in `advise`.
    pub executor: Executor,
    /// The election that the executor must win to act; `None` where there is one instance only.
    pub election: Option<Arc<dyn Election>>,
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
    /// What is shown to whoever subscribes; nothing is kept for nobody.
    pub state: watch::Sender<LoopState>,
    /// Makes it look sooner than planned, as far as its share of the coordinator's time allows.
    pub wake: Arc<Notify>,
    /// Ends the loop.
    pub stop: CancellationToken,
}

/// What the loop remembers from turn to turn for its own purposes.
#[derive(Default)]
struct Rhythm {
    failures_in_a_row: u32,
    pause: Duration,
    /// The shortest pause that the coordinator is owed after the last look.
    least_pause: Duration,
    pruned_at: Option<Instant>,
    told: Told,
}

/// What the log has said already: it speaks when something changes.
#[derive(Default)]
struct Told {
    doubts: Vec<Doubt>,
    /// Settings of Milvus' own balancer.
    balancer: Option<Vec<KnownSetting>>,
    limited_by: Option<String>,
    planned: usize,
    recorded: Option<Plan>,
    written: Written,
    memory: Unwritten,
    gates: Option<String>,
    policies: ToldOfPolicies,
    /// Turns that were thought through since the start.
    thought: u64,
}

impl ControlLoop {
    /// Turns until it is stopped, then lets running calls finish. Fails only when the journal cannot be read at
    /// the start: acting without memory is worse than not running.
    pub async fn run(self) -> Result<(), JournalError> {
        Box::pin(self.run_reloading(Reloader::never())).await
    }

    /// The same, with new configurations between turns.
    pub async fn run_reloading(mut self, mut reloader: Reloader) -> Result<(), JournalError> {
        self.executor.recover().await?;
        self.recall().await?;
        self.recall_gates().await?;
        let stop = self.stop.clone();
        let mut leader_news = LeaderNews::of(self.election.as_deref());
        let mut rhythm = Rhythm { pause: self.poll.interval, ..Rhythm::default() };
        let mut next_turn = Instant::now();
        let mut soonest = next_turn;
        let mut heartbeat = tokio::time::interval(self.health.heartbeat());
        loop {
            self.health.beat(rhythm.pause);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = reloader.asked() => {
                    if self.reload(&mut reloader, rhythm.pause).await {
                        // What is new shows in the next turn, not only after a pause that was the old one's.
                        rhythm.pause = self.poll.interval;
                        next_turn = next_turn.min(Instant::now() + self.poll.interval);
                    }
                }
                // Before the turn, so that answers and limits are attended to even when turns follow each other closely.
                () = self.executor.next_event() => self.publish_happenings(),
                () = sleep_until(next_turn) => {
                    let began = Instant::now();
                    if self.turn(&mut rhythm).await.is_none() {
                        break;
                    }
                    next_turn = began + rhythm.pause;
                    soonest = began + rhythm.least_pause;
                }
                () = self.wake.notified() => next_turn = next_turn.min(soonest.max(Instant::now())),
                // A successor must not wait for its next turn, which a follower takes at a slower pace.
                () = leader_news.changed() => next_turn = Instant::now(),
                _ = heartbeat.tick() => self.brake(self.clock.read().wall).await,
            }
        }
        tracing::info!(open = self.executor.open_operations().count(), "stopping: running calls may finish");
        self.health.stopping();
        let health = Arc::clone(&self.health);
        health.alive_while(rhythm.pause, self.executor.stop()).await;
        self.publish_happenings();
        if let Some(election) = &self.election {
            self.executor.share(self.shared_orders()).await;
            election.resign().await;
        }
        self.journal.finish_recording().await;
        Ok(())
    }

    /// Takes over what the process before knew beside its own moves.
    async fn recall(&mut self) -> Result<(), JournalError> {
        let now = self.clock.read().wall;
        let (remembered, foreign_moves) = memory::read(&self.journal, now).await?;
        self.thinking.recall(remembered, foreign_moves, now);
        Ok(())
    }

    /// Hands the model's memory to the next process, which may be needed at any moment.
    async fn keep_memory(&self, decision: &Decision, now: Moment, unwritten: &mut Unwritten) {
        let remembered = self.thinking.remembered(now.wall);
        if let Err(error) = unwritten.write(&self.journal, remembered, decision.foreign_moves.clone()).await {
            tracing::error!(error = %Chain(&error), "after a restart, the last turns would not be remembered");
            self.metrics.journal_failed();
        }
    }

    /// One turn, which also sets the pause until the next one; `None` when it was told to stop meanwhile.
    async fn turn(&mut self, rhythm: &mut Rhythm) -> Option<()> {
        let began = Instant::now();
        let started = self.clock.read();
        let observed = self.observe(rhythm.pause).await?;
        let took = began.elapsed();
        self.metrics.observation_took(took);
        match observed {
            Ok(mut observation) => {
                Box::pin(self.hear_plugins(&mut observation)).await;
                let observation = Arc::new(observation);
                rhythm.failures_in_a_row = 0;
                rhythm.least_pause = took.div_f64(self.poll.duty);
                let pace = if self.executor.is_follower() { FOLLOWER_PACE } else { 1 };
                let interval = self.poll.interval.saturating_mul(pace);
                rhythm.pause = interval.max(rhythm.least_pause);
                // On the heap, because a decision is large and everything that waits for a turn would carry it along.
                let thinking = Box::pin(self.think_and_act(observation, started.wall, &mut rhythm.told));
                let (record, plan, verdicts) = thinking.await;
                self.metrics.turn_succeeded(began.elapsed(), self.clock.read().wall);
                self.health.turn_succeeded();
                self.health.tell(&standing(&record));
                self.write_down(TurnRecord { took: began.elapsed(), ..record }, plan, verdicts).await;
            }
            Err(error) => {
                rhythm.least_pause = took.div_f64(self.poll.duty).min(self.poll.backoff_limit);
                rhythm.pause = back_off(&self.poll, rhythm.failures_in_a_row).max(rhythm.least_pause);
                rhythm.failures_in_a_row = rhythm.failures_in_a_row.saturating_add(1);
                // What was planned from an older look must not be sent on.
                self.executor.offer(Vec::new(), Bytes::ZERO);
                let sentence = Chain(&error).to_string();
                let next_try = crate::config::duration::display(rhythm.pause);
                tracing::error!(error = sentence, %next_try, "the cluster could not be observed");
                self.metrics.turn_failed(began.elapsed());
                self.health.turn_failed(sentence.clone());
                self.state.send_modify(|state| {
                    state.turns += 1;
                    state.failure = Some(sentence.clone());
                    state.trail.push(TrailPoint::blind(started.wall));
                });
                self.write_down(failed_turn(started, began.elapsed(), sentence), None, None).await;
            }
        }
        self.publish_happenings();
        self.prune(rhythm).await;
        tracing::debug!(failures_in_a_row = rhythm.failures_in_a_row, "turn ended");
        Some(())
    }

    /// Looks at the cluster, showing that the loop is alive while the answer takes its time.
    async fn observe(&self, pause: Duration) -> Option<Result<Observation, ObserveError>> {
        let observing = async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                observed = self.observer.observe() => Some(observed),
                () = sleep(self.poll.timeout) => Some(Err(ObserveError::TooLong { after: self.poll.timeout })),
            }
        };
        self.health.alive_while(pause, observing).await
    }

    /// From the observation to the offer that the executor gets.
    async fn think_and_act(
        &mut self,
        observation: Arc<Observation>,
        began: Timestamp,
        told: &mut Told,
    ) -> (TurnRecord, Option<PlanRecord>, Option<Vec<VerdictRecord>>) {
        self.executor.keep_up(self.thinking.settle_time()).await;
        if let Err(error) = self.executor.refresh_from_journal().await {
            tracing::error!(error = %Chain(&error), "cannot read from the journal what was moved by hand");
            self.metrics.journal_failed();
        }
        self.executor.settle(&observation).await;
        let own = OwnMoves {
            in_flight: self.executor.in_flight(),
            departures: self.executor.departures(),
            setbacks: self.executor.setbacks(),
            known: self.executor.known_moves(),
            landed: self.executor.landed_moves(),
            wave: self.executor.wave_moves(),
            calls_sent: self.executor.status().calls_sent,
        };
        let unread = self.obey().await.err();
        let now = self.clock.read();
        let recording = self.begin_recording(began, &own, &mut told.thought);
        let decision = self.thinking.turn(&observation, own, now);
        if let Some(recording) = recording {
            recording.end(observation, &decision);
        }
        self.keep_memory(&decision, now, &mut told.memory).await;
        self.keep_gates(&mut told.gates).await;
        if let Some(wave) = self.executor.judge_wave(decision.loads.clone(), self.thinking.settle_time()) {
            self.publish_wave(wave).await;
        }
        self.executor.hold(decision.guard.hold.clone());
        if self.mode.moves() {
            let cluster_bytes: Bytes = decision.snapshot.copies.bytes.iter().copied().sum();
            let admitted = if unread.is_none() { admitted_moves(&decision) } else { Vec::new() };
            self.executor.note_room(decision.restrictions.rooms());
            self.executor.note_drains(decision.restrictions.evacuated.clone());
            self.executor.keep_order(decision.input.own_balancer.is_binding);
            self.executor.offer(admitted, cluster_bytes);
            self.executor.let_offer_lapse(Instant::now() + self.thinking.plan_holds(now.wall));
        }
        let limited_by = match unread {
            // A pause may be in there.
            Some(error) => Some(Reason::JournalUnavailable { detail: Chain(&error).to_string() }),
            None => limiting_reason(self.mode, &decision, self.executor.limited_by()),
        };
        tell(&decision, self.mode, limited_by.as_ref(), told);
        self.metrics.observe_turn(&report::turn_metrics(
            &decision,
            limited_by.as_ref(),
            &self.executor.status(),
        ));
        self.metrics.waves_stand(&self.executor.status());
        self.metrics.leads(self.election.is_none() || self.executor.leadership_refusal().is_none());
        self.executor.share(self.shared_orders()).await;
        self.metrics.guard_looked(&decision.guard);
        self.metrics.plugins_judged(&decision.snapshot.doubts);
        self.metrics.signals_seen(&decision.snapshot);
        let verdicts = told.written.new_verdicts(&decision.verdict.refusals);
        let records =
            (turn_record(&decision, limited_by.as_ref(), now), plan_record(&decision, told), verdicts);
        self.show_turn(decision, limited_by);
        records
    }

    /// Shows a turn to whoever looks; a decision is large, so it is not kept for nobody.
    fn show_turn(&self, decision: Decision, limited_by: Option<Reason>) {
        let is_watched = !self.state.is_closed();
        self.state.send_modify(|state| {
            state.turns += 1;
            state.failure = None;
            if is_watched {
                state.trail.push(TrailPoint::of(&decision));
            }
            state.last = is_watched.then(|| Arc::new(LastTurn { decision, limited_by }));
        });
    }

    /// Counts, writes down and shows what a wave brought.
    async fn publish_wave(&self, wave: JudgedWave) {
        if let Err(error) = self.journal.record_wave(wave.record()).await {
            tracing::error!(error = %Chain(&error), "the wave is missing from the journal");
            self.metrics.journal_failed();
        }
        self.metrics.wave_judged(&wave);
        self.state.send_modify(|state| {
            state.waves_judged += 1;
            state.last_wave = Some(wave);
        });
    }

    /// Counts and shows what became of calls and moves.
    fn publish_happenings(&mut self) {
        let happened = self.executor.take_happenings();
        self.state.send_modify(|state| {
            state.record_ends(&happened.ended);
            state.executor = self.executor.status();
            state.open = self.executor.open_operations().cloned().collect();
        });
        for operation in &happened.ended {
            self.metrics.move_ended(&operation.state, operation.origin, operation.movement.bytes);
        }
        for (_, reason) in &happened.dropped {
            self.metrics.move_dropped(reason);
        }
        for answer in happened.answers {
            self.metrics.call_ended(match answer {
                None => CallResult::Answered,
                Some(Remedy::OutcomeUnknown) => CallResult::Unknown,
                Some(_) => CallResult::Refused,
            });
        }
    }

    /// The journal of turns is for people; a turn that cannot be written down is still a turn.
    async fn write_down(
        &self,
        turn: TurnRecord,
        plan: Option<PlanRecord>,
        verdicts: Option<Vec<VerdictRecord>>,
    ) {
        if let Err(error) = self.journal.record_turn(turn, plan, verdicts).await {
            tracing::error!(error = %Chain(&error), "the turn is missing from the journal");
            self.metrics.journal_failed();
        }
    }

    async fn prune(&self, rhythm: &mut Rhythm) {
        if rhythm.pruned_at.is_some_and(|at| at.elapsed() < PRUNE_INTERVAL) {
            return;
        }
        rhythm.pruned_at = Some(Instant::now());
        if let Err(error) = self.journal.check().await {
            tracing::error!(error = %Chain(&error), "the journal does not pass its check");
            self.metrics.journal_failed();
            return;
        }
        match self.journal.prune(self.clock.read().wall).await {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "old rows left the journal"),
            Err(error) => tracing::warn!(error = %Chain(&error), "old rows stay in the journal"),
        }
    }
}

/// The pause after so many failures in a row: doubling from the interval.
fn back_off(poll: &PollSettings, failures_before: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures_before);
    poll.interval.saturating_mul(factor).min(poll.backoff_limit.max(poll.interval))
}

/// The moves that the gates let through, in plan order, with what a call needs besides.
fn admitted_moves(decision: &Decision) -> Vec<AdmittedMove> {
    let snapshot = &decision.snapshot;
    let mut admitted = Vec::new();
    for step in decision.verdict.admitted.iter().filter_map(|position| decision.plan.steps.get(*position)) {
        for movement in &step.moves {
            let collection = snapshot.collection_index(movement.collection);
            let Some(collection) = collection.map(|index| &snapshot.collections[index.at()]) else {
                continue;
            };
            let source = snapshot.node_index(movement.from).map(|index| snapshot.node(index));
            admitted.push(AdmittedMove {
                movement: movement.clone(),
                database: collection.database.clone(),
                collection_name: collection.name.clone(),
                from_address: source.map(|node| node.address.clone()).unwrap_or_default(),
            });
        }
    }
    admitted
}

/// Says in the log what is new: doubts that came or went, what holds us back, and each new plan.
fn tell(decision: &Decision, mode: Mode, limited_by: Option<&Reason>, told: &mut Told) {
    let doubts = &decision.snapshot.doubts;
    for doubt in doubts.iter().filter(|doubt| !told.doubts.contains(doubt)) {
        tracing::warn!(doubt = doubt.kind.code(), "{doubt}");
    }
    for gone in told.doubts.iter().filter(|doubt| !doubts.contains(doubt)) {
        tracing::info!(doubt = gone.kind.code(), "no longer: {gone}");
    }
    told.doubts.clone_from(doubts);

    if decision.input.own_balancer.is_binding
        && told.balancer.as_ref() != Some(&decision.input.own_balancer.known)
    {
        let settings =
            decision.input.own_balancer.known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!(state = %decision.input.own_balancer.state, settings, "plans keep to what Milvus' own balancer leaves alone");
        told.balancer = Some(decision.input.own_balancer.known.clone());
    }

    let planned = decision.plan.moves().count();
    if planned > 0 && planned != told.planned {
        for proof in decision.plan.proof.dimensions.iter().filter(|proof| proof.after < proof.before) {
            tracing::info!(
                dimension = proof.dimension,
                before = %proof.before,
                after = %proof.after,
                floor = %proof.floor,
                moves = planned,
                bytes = %decision.plan.proof.bytes_moved,
                mode = mode.code(),
                "planned to even out the nodes linked with node {}",
                proof.component
            );
        }
    }
    if planned == 0 && told.planned > 0 {
        tracing::info!("nothing more to move");
    }
    told.planned = planned;
    told.policies.tell(decision);

    let essence = limited_by.map(Reason::essence);
    if essence != told.limited_by {
        match limited_by {
            Some(reason) => tracing::info!(limited_by = reason.code(), "held back: {reason}"),
            None => tracing::info!("nothing holds us back any more"),
        }
        told.limited_by = essence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_every_failure_up_to_its_limit() {
        let poll = PollSettings {
            interval: Duration::from_secs(30),
            backoff_limit: Duration::from_secs(300),
            ..PollSettings::default()
        };
        let pauses: Vec<u64> = (0..6).map(|failures| back_off(&poll, failures).as_secs()).collect();
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
        assert_eq!(back_off(&poll, u32::MAX).as_secs(), 300);
        let slow = PollSettings { interval: Duration::from_secs(600), ..poll };
        assert_eq!(back_off(&slow, 3).as_secs(), 600, "never sooner than in good times");
    }
}
