//! The daemon's own metrics, for Prometheus. One struct owns them all; what describes the current turn is
//! replaced as a whole, so that a node that went away takes its series along.

mod call_result;
mod catalogue;
mod guard;
mod limits;
mod net_zero;
mod plugins;
mod policies;
mod reloads;
mod signals;
mod waves;

pub use call_result::CallResult;
pub use catalogue::MetricDescription;
pub use reloads::ReloadResult;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::config::Mode;
use crate::execute::LimitUse;
use crate::execute::executor::ExecutorStatus;
use crate::execute::operation::{OperationState, Origin};
use crate::execute::waves::JudgedWave;
use crate::model::{Doubt, GuardView, NetZero, Snapshot};
use crate::reason::Reason;
use crate::units::{Bytes, NodeId, Ratio};
use crate::version;
use net_zero::NetZeroMetrics;
pub use policies::{DrainSegments, ImmovableShare};

/// A poll of a small cluster takes milliseconds, one of a thousand nodes seconds; a minute is a hanging server.
const SECONDS_BUCKETS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// How turns end.
const TURN_RESULTS: [&str; 2] = ["ok", "failed"];

/// `limited_by` when nothing holds us back.
const NOT_LIMITED: &str = "nothing";

/// What one turn saw and decided.
#[derive(Clone, Debug, Default)]
pub struct TurnMetrics {
    /// Query nodes.
    pub nodes: usize,
    /// Loaded collections.
    pub collections: usize,
    /// Copies of sealed segments.
    pub segments: usize,
    /// Doubts by [`crate::model::DoubtKind::code`].
    pub doubts: BTreeMap<&'static str, usize>,
    /// Pressure of each node in each dimension.
    pub pressures: Vec<NodePressure>,
    /// What of the load of nodes moves cannot change.
    pub immovable: Vec<ImmovableShare>,
    /// How far the emptying of nodes has come.
    pub drains: Vec<DrainSegments>,
    /// Worst pressure and floor of each dimension.
    pub dimensions: Vec<DimensionPressure>,
    /// Overloaded nodes in each dimension, those without any included.
    pub overloaded: BTreeMap<String, usize>,
    /// Moves in the plan.
    pub plan_moves: usize,
    /// Bytes that the plan moves.
    pub plan_bytes: Bytes,
    /// Refusals by [`crate::reason::Reason::code`].
    pub refusals: BTreeMap<&'static str, usize>,
    /// What holds us back right now, by [`crate::reason::Reason::code`]; `None` when nothing does.
    pub limited_by: Option<&'static str>,
    /// Operations that have not ended.
    pub operations_open: usize,
    /// State of the circuit breaker; empty before the first turn.
    pub breaker: &'static str,
    /// The executor's limits and how much of each is used.
    pub limits: Vec<LimitUse>,
    /// How long an outcome that nobody knows is waited for.
    pub settle_patience: Duration,
    /// Moves by somebody else that this turn noticed.
    pub foreign_moves: usize,
    /// What the moves of the last 24 hours came to.
    pub net_zero: NetZero,
}

/// How loaded a node is.
#[derive(Clone, Debug)]
pub struct NodePressure {
    /// The dimension.
    pub dimension: String,
    /// The node.
    pub node: NodeId,
    /// Load over fair share.
    pub pressure: Ratio,
}

/// How uneven a dimension is.
#[derive(Clone, Debug)]
pub struct DimensionPressure {
    /// The dimension.
    pub dimension: String,
    /// The worst pressure of any node.
    pub worst: Ratio,
    /// Below this it cannot get, whatever is moved.
    pub floor: Ratio,
}

/// All metrics.
pub struct Metrics {
    registry: Registry,
    catalogue: Vec<MetricDescription>,
    /// Held while the metrics of a turn are replaced and while they are read, so that nobody sees half a turn.
    replacing: Mutex<()>,
    turns: IntCounterVec,
    turn_seconds: Histogram,
    observation_seconds: Histogram,
    last_success: Gauge,
    mode: IntGaugeVec,
    leader: IntGauge,
    nodes: IntGauge,
    collections: IntGauge,
    segments: IntGauge,
    doubts: IntGaugeVec,
    node_pressure: GaugeVec,
    policies: policies::PolicyMetrics,
    worst_pressure: GaugeVec,
    floor_pressure: GaugeVec,
    overloaded_nodes: IntGaugeVec,
    plan_moves: IntGauge,
    plan_bytes: IntGauge,
    refusals: IntGaugeVec,
    refusals_total: IntCounterVec,
    limited_by: IntGaugeVec,
    calls: IntCounterVec,
    moves: IntCounterVec,
    moved_bytes: IntCounter,
    moves_dropped: IntCounterVec,
    operations_open: IntGauge,
    breaker: IntGaugeVec,
    limits: limits::LimitMetrics,
    settle_patience: Gauge,
    foreign_moves: IntCounter,
    journal_failures: IntCounter,
    net_zero: NetZeroMetrics,
    waves: waves::WaveMetrics,
    guard: guard::GuardMetrics,
    plugins: plugins::PluginMetrics,
    signals: signals::SignalMetrics,
    reloads: reloads::ReloadMetrics,
}

/// Adds a metric to the registry.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<C>,
) -> prometheus::Result<C> {
    let metric = metric?;
    catalogue::note(&metric);
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

/// Name and help of a metric, with the prefix of the project.
fn described(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("milvus_rebalancer")
}

impl Metrics {
    /// Registers everything. Fails only when the registry has such metrics already.
    pub fn register(registry: &Registry) -> prometheus::Result<Metrics> {
        catalogue::begin();
        let gauge = |name, help| registered(registry, IntGauge::with_opts(described(name, help)));
        let gauges = |name, help, labels: &[&str]| {
            registered(registry, IntGaugeVec::new(described(name, help), labels))
        };
        let ratios =
            |name, help, labels: &[&str]| registered(registry, GaugeVec::new(described(name, help), labels));
        let counter = |name, help| registered(registry, IntCounter::with_opts(described(name, help)));
        let counters = |name, help, labels: &[&str]| {
            registered(registry, IntCounterVec::new(described(name, help), labels))
        };
        let seconds = |name, help| {
            let options = HistogramOpts::from(described(name, help)).buckets(SECONDS_BUCKETS.to_vec());
            registered(registry, Histogram::with_opts(options))
        };
        gauges("build_info", "Always 1; the labels say which version runs.", &["version", "commit"])?
            .with_label_values(&[version::VERSION, version::COMMIT])
            .set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let metrics = Metrics {
            registry: registry.clone(),
            catalogue: Vec::new(),
            replacing: Mutex::new(()),
            turns: counters("turns_total", "Turns of the control loop by how they ended.", &["result"])?,
            turn_seconds: seconds("turn_duration_seconds", "How long a turn took, its calls included.")?,
            observation_seconds: seconds(
                "observation_duration_seconds",
                "How long looking at the cluster took.",
            )?,
            last_success: registered(
                registry,
                Gauge::with_opts(described(
                    "last_successful_turn_timestamp_seconds",
                    "When the last successful turn ended (Unix time); 0 before the first.",
                )),
            )?,
            mode: gauges("mode", "1 for the mode that is in force, 0 for the others.", &["mode"])?,
            leader: gauge("leader", "1 while this instance may act as far as the election goes, 0 else.")?,
            nodes: gauge("nodes", "Query nodes that were seen.")?,
            collections: gauge("collections", "Loaded collections that were seen.")?,
            segments: gauge("segments", "Copies of sealed segments that were seen.")?,
            doubts: gauges("doubts", "Things that are uncertain, by kind.", &["doubt"])?,
            node_pressure: ratios(
                "node_pressure_ratio",
                "Load of a node over its fair share.",
                &["dimension", "node"],
            )?,
            policies: policies::PolicyMetrics::register(registry)?,
            worst_pressure: ratios("pressure_worst_ratio", "Pressure of the worst node.", &["dimension"])?,
            floor_pressure: ratios(
                "pressure_floor_ratio",
                "The lowest worst pressure that moves can reach.",
                &["dimension"],
            )?,
            overloaded_nodes: gauges(
                "overloaded_nodes",
                "Nodes that are overloaded: above their band for long enough, and used enough for that to matter.",
                &["dimension"],
            )?,
            plan_moves: gauge("plan_moves", "Moves in the current plan.")?,
            plan_bytes: gauge("plan_bytes", "Bytes that the current plan moves.")?,
            refusals: gauges("turn_refusals", "Refusals of the last turn, by reason.", &["reason"])?,
            refusals_total: counters("refusals_total", "Refusals of all turns, by reason.", &["reason"])?,
            limited_by: gauges(
                "limited_by",
                "Always 1; the label says what holds us back right now.",
                &["reason"],
            )?,
            calls: counters("load_balance_calls_total", "LoadBalance calls by their answer.", &["result"])?,
            moves: counters(
                "moves_total",
                "Ended moves by outcome and by who wanted them.",
                &["result", "origin"],
            )?,
            moved_bytes: counter("moved_bytes_total", "Bytes of segments that were seen to have moved.")?,
            moves_dropped: counters(
                "moves_dropped_total",
                "Moves that were let through and dropped before their call, by reason.",
                &["reason"],
            )?,
            operations_open: gauge("operations_open", "Moves that have not ended.")?,
            breaker: gauges(
                "breaker",
                "Always 1; the label says whether the circuit breaker lets calls through: closed is good.",
                &["state"],
            )?,
            limits: limits::LimitMetrics::register(registry)?,
            settle_patience: registered(
                registry,
                Gauge::with_opts(described(
                    "settle_patience_seconds",
                    "How long a move is waited for whose outcome nobody knows; learned from those that landed.",
                )),
            )?,
            journal_failures: counter(
                "journal_failures_total",
                "Times that the journal could not be written or read, or did not pass its check.",
            )?,
            foreign_moves: counter("foreign_moves_total", "Moves that were made by somebody else.")?,
            net_zero: NetZeroMetrics::register(registry)?,
            waves: waves::WaveMetrics::register(registry)?,
            guard: guard::GuardMetrics::register(registry)?,
            plugins: plugins::PluginMetrics::register(registry)?,
            signals: signals::SignalMetrics::register(registry)?,
            reloads: reloads::ReloadMetrics::register(registry)?,
        };
        metrics.begin_at_zero();
        Ok(Metrics { catalogue: catalogue::end(), ..metrics })
    }

    /// Every metric of our own, by name: for the page of documentation.
    pub fn catalogue(&self) -> &[MetricDescription] {
        &self.catalogue
    }

    /// Counters whose labels are known beforehand exist from the start: the first failure is a rise, not a beginning.
    fn begin_at_zero(&self) {
        for result in TURN_RESULTS {
            self.turns.with_label_values(&[result]);
        }
        for result in CallResult::ALL {
            self.calls.with_label_values(&[result.code()]);
        }
        for result in OperationState::END_CODES {
            for origin in [Origin::Daemon, Origin::Manual] {
                self.moves.with_label_values(&[result, origin.code()]);
            }
        }
    }

    /// Whether this instance leads, or is the only one.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// The mode in force.
    pub fn set_mode(&self, mode: Mode) {
        for other in [Mode::Advise, Mode::Within, Mode::Act] {
            self.mode.with_label_values(&[other.code()]).set((other == mode).into());
        }
    }

    /// An observation took this long, whether it succeeded or not.
    pub fn observation_took(&self, duration: Duration) {
        self.observation_seconds.observe(duration.as_secs_f64());
    }

    /// A turn ended well at this time.
    pub fn turn_succeeded(&self, duration: Duration, at: Timestamp) {
        self.turns.with_label_values(&["ok"]).inc();
        self.turn_seconds.observe(duration.as_secs_f64());
        self.last_success.set(at.as_duration().as_secs_f64());
    }

    /// A turn ended without a result.
    pub fn turn_failed(&self, duration: Duration) {
        self.turns.with_label_values(&["failed"]).inc();
        self.turn_seconds.observe(duration.as_secs_f64());
    }

    /// Replaces everything that describes the current turn.
    pub fn observe_turn(&self, turn: &TurnMetrics) {
        let TurnMetrics {
            nodes,
            collections,
            segments,
            doubts,
            pressures,
            immovable,
            drains,
            dimensions,
            overloaded,
            plan_moves,
            plan_bytes,
            refusals,
            limited_by,
            operations_open,
            breaker,
            limits,
            settle_patience,
            foreign_moves,
            net_zero,
        } = turn;
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.nodes.set(count(*nodes));
        self.collections.set(count(*collections));
        self.segments.set(count(*segments));
        self.plan_moves.set(count(*plan_moves));
        self.plan_bytes.set(i64::try_from(plan_bytes.0).unwrap_or(i64::MAX));
        self.operations_open.set(count(*operations_open));
        self.foreign_moves.inc_by(*foreign_moves as u64);
        self.breaker.reset();
        self.breaker.with_label_values(&[breaker]).set(1);
        self.settle_patience.set(settle_patience.as_secs_f64());
        self.limits.observe(limits);
        self.net_zero.observe(net_zero);

        self.doubts.reset();
        for (doubt, number) in doubts {
            self.doubts.with_label_values(&[doubt]).set(count(*number));
        }
        self.refusals.reset();
        for (reason, number) in refusals {
            self.refusals.with_label_values(&[reason]).set(count(*number));
            self.refusals_total.with_label_values(&[reason]).inc_by(*number as u64);
        }
        self.limited_by.reset();
        self.limited_by.with_label_values(&[limited_by.unwrap_or(NOT_LIMITED)]).set(1);

        self.node_pressure.reset();
        for NodePressure { dimension, node, pressure } in pressures {
            self.node_pressure.with_label_values(&[dimension, &node.to_string()]).set(decimal(*pressure));
        }
        self.policies.observe(immovable, drains);
        self.worst_pressure.reset();
        self.floor_pressure.reset();
        for DimensionPressure { dimension, worst, floor } in dimensions {
            self.worst_pressure.with_label_values(&[dimension]).set(decimal(*worst));
            self.floor_pressure.with_label_values(&[dimension]).set(decimal(*floor));
        }
        self.overloaded_nodes.reset();
        for (dimension, nodes) in overloaded {
            self.overloaded_nodes.with_label_values(&[dimension]).set(count(*nodes));
        }
    }

    /// A `LoadBalance` call ended.
    pub fn call_ended(&self, result: CallResult) {
        self.calls.with_label_values(&[result.code()]).inc();
    }

    /// A move that was let through will not be sent.
    pub fn move_dropped(&self, reason: &Reason) {
        self.moves_dropped.with_label_values(&[reason.code()]).inc();
    }

    /// A move ended. Only what landed counts as moved bytes.
    pub fn move_ended(&self, state: &OperationState, origin: Origin, bytes: Bytes) {
        self.moves.with_label_values(&[state.code(), origin.code()]).inc();
        if *state == OperationState::Landed {
            self.moved_bytes.inc_by(bytes.0);
        }
    }

    /// The journal could not be written or read.
    pub fn journal_failed(&self) {
        self.journal_failures.inc();
    }

    /// A snapshot with these signals was made.
    pub fn signals_seen(&self, snapshot: &Snapshot) {
        self.signals.seen(snapshot);
    }

    /// The guard took a look.
    pub fn guard_looked(&self, view: &GuardView) {
        self.guard.looked(view);
    }

    /// A policy plug-in was asked, with whatever result.
    pub fn plugin_asked(&self, plugin: &str, took: Duration) {
        self.plugins.asked(plugin, took);
    }

    /// These doubts say which plug-ins the turn is without.
    pub fn plugins_judged(&self, doubts: &[Doubt]) {
        self.plugins.judged(doubts);
    }

    /// A new configuration was asked for.
    pub fn reloaded(&self, result: ReloadResult) {
        self.reloads.reloaded(result);
    }

    /// A wave was judged.
    pub fn wave_judged(&self, wave: &JudgedWave) {
        self.waves.judged(wave);
    }

    /// Where the waves stand now.
    pub fn waves_stand(&self, executor: &ExecutorStatus) {
        self.waves.stand(executor.wave_size, executor.stopped_after_waves.is_some());
    }

    /// Everything in the text format of Prometheus, and its content type.
    pub fn exposition(&self) -> prometheus::Result<(Vec<u8>, String)> {
        let families = {
            let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
            self.registry.gather()
        };
        let encoder = TextEncoder::new();
        let mut text = Vec::new();
        encoder.encode(&families, &mut text)?;
        Ok((text, encoder.format_type().to_owned()))
    }
}

/// A count as a gauge takes it.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A ratio as Prometheus takes it, with its own infinity.
fn decimal(ratio: Ratio) -> f64 {
    if ratio == Ratio::MAX { f64::INFINITY } else { ratio.decimal() }
}

#[cfg(test)]
mod tests;
