//! What a turn came to, in the forms that people and programs read: one document for `plan --format json` and the
//! journal, numbers for the metrics, and the one reason that holds us back. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Mode;
use crate::execute::executor::ExecutorStatus;
use crate::metrics::{DimensionPressure, DrainSegments, ImmovableShare, NodePressure, TurnMetrics};
use crate::model::own_balancer::KnownSetting;
use crate::model::signals::{AbsentSignal, NodeSignals, Reading as SignalReading};
use crate::model::{
    BalancerState, BytesSource, Doubt, NetZero, OwnBalancer, Snapshot, SnapshotDigest, Standing,
};
use crate::observe::observation::ServerVersion;
use crate::plan::{Drain, Finding, FindingState, ImmovablePart, PlanDigest, Proof, Step};
use crate::reason::Reason;
use crate::turn::Decision;
use crate::units::{Bytes, CollectionId, NodeId, Rate, Ratio};

/// The version of [`PlanReport`] as JSON; it changes when a reader of the old form would misread the new one.
pub const PLAN_REPORT_VERSION: u32 = 1;

/// A plan and everything that is needed to judge it.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// [`PLAN_REPORT_VERSION`].
    pub version: u32,
    /// When the cluster was looked at.
    pub taken_at: jiff::Timestamp,
    /// The name of what was seen: of two looks between which nothing changed it is the same.
    pub snapshot_digest: SnapshotDigest,
    /// Which Milvus it is.
    pub server: ServerVersion,
    /// Its query nodes.
    pub nodes: Vec<NodeSummary>,
    /// Its loaded collections.
    pub collections: Vec<CollectionSummary>,
    /// Copies of sealed segments.
    pub segments: usize,
    /// Every node in every dimension.
    pub findings: Vec<Finding>,
    /// What would be moved, in order.
    pub steps: Vec<Step>,
    /// The name of these moves, by which a person approves them; `None` when there are none.
    pub digest: Option<PlanDigest>,
    /// Positions of the steps that the gates let through.
    pub admitted: Vec<usize>,
    /// What the gates refuse, and why, in words too.
    pub refusals: Vec<RefusalSummary>,
    /// How good the plan is.
    pub proof: Proof,
    /// How far the emptying of nodes has come.
    pub drains: Vec<Drain>,
    /// What policies remark about their configuration, in words.
    pub remarks: Vec<String>,
    /// What is uncertain, in words.
    pub doubts: Vec<String>,
    /// What nodes and proxies count, and what of it is missing.
    pub signals: SignalSummary,
    /// What the moves of the last 24 hours came to; `None` where nothing is known of them, as in a single look.
    pub net_zero: Option<NetZero>,
    /// Milvus' own balancer, as far as it is known.
    pub own_balancer: BalancerSummary,
    /// What holds us back, if anything does.
    pub limited_by: Option<ReasonSummary>,
}

/// Milvus' own balancer, as far as it is known.
#[derive(Clone, Debug, Serialize)]
pub struct BalancerSummary {
    /// Whether it runs, or must be taken to.
    pub state: BalancerState,
    /// Whether plans keep to what it would leave alone.
    pub is_binding: bool,
    /// What it is told, and whose word that is.
    pub settings: Vec<KnownSetting>,
    /// Its moves that have not ended; `None` where its tasks could not be read.
    pub pending_moves: Option<usize>,
}

impl From<&OwnBalancer> for BalancerSummary {
    fn from(balancer: &OwnBalancer) -> BalancerSummary {
        BalancerSummary {
            state: balancer.state,
            is_binding: balancer.is_binding,
            settings: balancer.known.clone(),
            pending_moves: balancer.pending,
        }
    }
}

/// The signals of a turn, but for the loads of single segments.
#[derive(Clone, Debug, Serialize)]
pub struct SignalSummary {
    /// By node.
    pub nodes: BTreeMap<NodeId, NodeSignals>,
    /// Searches of collections, where they are known.
    pub demand: BTreeMap<CollectionId, SignalReading<Rate>>,
    /// How far the loads of the `search` policy can be trusted.
    pub search_confidence: Ratio,
    /// What is missing, and why.
    pub absent: Vec<AbsentSignal>,
}

impl SignalSummary {
    fn of(snapshot: &Snapshot) -> SignalSummary {
        let signals = &snapshot.signals;
        let nodes = snapshot.nodes.iter().map(|node| node.id).zip(signals.nodes.iter().cloned());
        let collections = snapshot.collections.iter().map(|collection| collection.id);
        let demand = collections.zip(&signals.demand).filter_map(|(id, rate)| Some((id, rate.clone()?)));
        SignalSummary {
            nodes: nodes.collect(),
            demand: demand.collect(),
            search_confidence: signals.search_confidence,
            absent: signals.absent.clone(),
        }
    }
}

/// A query node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeSummary {
    /// Its id.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
    /// What it may do.
    pub standing: Standing,
    /// Memory it has.
    pub memory_capacity: Option<Bytes>,
    /// Memory in use.
    pub memory_used: Option<Bytes>,
}

/// A loaded collection.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionSummary {
    /// Its id.
    pub id: CollectionId,
    /// Database and name.
    pub name: String,
    /// Where the bytes of its segments come from.
    pub bytes_source: BytesSource,
}

/// A refusal.
#[derive(Clone, Debug, Serialize)]
pub struct RefusalSummary {
    /// What is refused, in words.
    pub subject: String,
    /// Why.
    #[serde(flatten)]
    pub reason: ReasonSummary,
}

/// A reason, by its stable name and in words.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonSummary {
    /// Its stable name.
    pub code: &'static str,
    /// One sentence.
    pub sentence: String,
}

impl From<&Reason> for ReasonSummary {
    fn from(reason: &Reason) -> ReasonSummary {
        ReasonSummary { code: reason.code(), sentence: reason.to_string() }
    }
}

impl PlanReport {
    /// Of this decision.
    pub fn new(decision: &Decision, limited_by: Option<&Reason>) -> PlanReport {
        let snapshot = &decision.snapshot;
        let node = |node: &crate::model::Node| NodeSummary {
            id: node.id,
            address: node.address.clone(),
            standing: node.standing,
            memory_capacity: node.memory_capacity,
            memory_used: node.memory_used,
        };
        let collection = |collection: &crate::model::Collection| CollectionSummary {
            id: collection.id,
            name: collection.full_name(),
            bytes_source: collection.bytes_source,
        };
        let refusal = |refusal: &crate::gate::Refusal| RefusalSummary {
            subject: refusal.subject.to_string(),
            reason: ReasonSummary::from(&refusal.reason),
        };
        PlanReport {
            version: PLAN_REPORT_VERSION,
            taken_at: snapshot.taken_at,
            snapshot_digest: decision.snapshot_digest,
            server: snapshot.server.clone(),
            nodes: snapshot.nodes.iter().map(node).collect(),
            collections: snapshot.collections.iter().map(collection).collect(),
            segments: snapshot.copies.len(),
            findings: decision.findings.clone(),
            steps: decision.plan.steps.clone(),
            digest: (!decision.plan.steps.is_empty()).then(|| decision.plan.digest()),
            admitted: decision.verdict.admitted.clone(),
            refusals: decision.verdict.refusals.iter().map(refusal).collect(),
            proof: decision.plan.proof.clone(),
            drains: decision.drains.clone(),
            remarks: decision.remarks.iter().map(ToString::to_string).collect(),
            doubts: snapshot.doubts.iter().map(Doubt::to_string).collect(),
            signals: SignalSummary::of(snapshot),
            net_zero: Some(decision.net_zero).filter(|known| *known != NetZero::default()),
            own_balancer: BalancerSummary::from(&decision.input.own_balancer),
            limited_by: limited_by.map(ReasonSummary::from),
        }
    }
}

/// The one reason that holds us back right now; `None` when nothing does, which includes having nothing to do.
///
/// `executor` is what holds back the first of the moves that were let through.
pub fn limiting_reason(mode: Mode, decision: &Decision, executor: Option<Reason>) -> Option<Reason> {
    if decision.plan.steps.is_empty() {
        return decision.verdict.order().cloned().or_else(|| why_no_plan(decision));
    }
    if decision.verdict.admitted.is_empty() {
        let refusals = &decision.verdict.refusals;
        let reason = decision.verdict.order().or_else(|| decision.restrictions.stop());
        let reason = reason.or_else(|| refusals.last().map(|last| &last.reason));
        return match (reason, executor) {
            // Nobody needs to approve what would not be done either way.
            (Some(Reason::AwaitingApproval { .. }), _) if mode == Mode::Advise => Some(Reason::AdviseOnly),
            (Some(Reason::AwaitingApproval { .. }), Some(reason)) if is_for_the_leader(&reason) => {
                Some(reason)
            }
            (reason, _) => reason.cloned(),
        };
    }
    if mode == Mode::Advise {
        return Some(Reason::AdviseOnly);
    }
    executor
}

/// Whether this instance does nothing because another one does, or may.
fn is_for_the_leader(reason: &Reason) -> bool {
    matches!(reason, Reason::NotLeader { .. } | Reason::LeaderUnknown { .. })
}

/// Why nothing is planned although somebody is, or seems, overloaded.
fn why_no_plan(decision: &Decision) -> Option<Reason> {
    let overloaded = decision.findings.iter().any(|finding| finding.state == FindingState::Overloaded);
    if overloaded && decision.restrictions.stop().is_some() {
        return decision.restrictions.stop().cloned();
    }
    let waiting = decision.plan.proof.unmet_orders.iter().find(|order| order.reason.passes_by_itself());
    if let Some(order) = waiting {
        return Some(order.reason.clone());
    }
    if let Some(left) = decision.plan.proof.left_alone.first() {
        return Some(left.reason.clone());
    }
    let reasons = || decision.findings.iter().filter_map(|finding| finding.state.reason());
    let soon = reasons().find(|reason| matches!(reason, Reason::NotLongEnough { .. }));
    let lasting =
        |reason: &&Reason| matches!(reason, Reason::Saturated { .. } | Reason::OverloadImmovable { .. });
    soon.or_else(|| reasons().find(lasting)).cloned()
}

/// The numbers of a turn for the metrics.
pub fn turn_metrics(
    decision: &Decision,
    limited_by: Option<&Reason>,
    executor: &ExecutorStatus,
) -> TurnMetrics {
    let snapshot = &decision.snapshot;
    let mut doubts: BTreeMap<&'static str, usize> = BTreeMap::new();
    for doubt in &snapshot.doubts {
        *doubts.entry(doubt.kind.code()).or_default() += 1;
    }
    let mut refusals: BTreeMap<&'static str, usize> = BTreeMap::new();
    let refused = decision.verdict.refusals.iter().map(|refusal| &refusal.reason);
    let left_alone = decision.plan.proof.left_alone.iter().map(|left| &left.reason);
    let tolerated = decision.findings.iter().filter_map(|finding| finding.state.reason());
    let unmet = decision.plan.proof.unmet_orders.iter().map(|order| &order.reason);
    for reason in refused.chain(left_alone).chain(unmet).chain(tolerated) {
        *refusals.entry(reason.code()).or_default() += 1;
    }
    TurnMetrics {
        nodes: snapshot.query_nodes(),
        collections: snapshot.collections.len(),
        segments: snapshot.copies.len(),
        doubts,
        pressures: pressures(&decision.findings),
        immovable: immovable(&decision.findings),
        drains: decision.drains.iter().map(drain_segments).collect(),
        dimensions: dimensions(&decision.plan.proof),
        overloaded: overloaded(&decision.findings),
        plan_moves: decision.plan.moves().count(),
        plan_bytes: decision.plan.proof.bytes_moved,
        refusals,
        limited_by: limited_by.map(Reason::code),
        operations_open: executor.open_operations,
        breaker: executor.breaker,
        limits: executor.limits.clone(),
        settle_patience: executor.settle_patience,
        foreign_moves: decision.foreign_moves.len(),
        net_zero: decision.net_zero,
    }
}

/// Shares of the load of nodes that moves cannot change, by cause.
fn immovable(findings: &[Finding]) -> Vec<ImmovableShare> {
    let shares = |finding: &Finding| {
        let (dimension, node, load) = (finding.dimension.clone(), finding.node, finding.load);
        let share = move |part: &ImmovablePart| ImmovableShare {
            dimension: dimension.clone(),
            node,
            cause: part.cause.code(),
            share: Ratio::of(part.load.0, load.0),
        };
        finding.immovable_parts.iter().map(share).collect::<Vec<ImmovableShare>>()
    };
    findings.iter().flat_map(shares).collect()
}

fn drain_segments(drain: &Drain) -> DrainSegments {
    let staying = drain.staying.iter().map(|staying| staying.segments.len()).sum();
    DrainSegments { node: drain.node, to_go: drain.to_go, under_way: drain.under_way, staying }
}

fn pressures(findings: &[Finding]) -> Vec<NodePressure> {
    let pressure = |finding: &Finding| NodePressure {
        dimension: finding.dimension.clone(),
        node: finding.node,
        pressure: finding.pressure,
    };
    findings.iter().map(pressure).collect()
}

/// How many nodes are overloaded in each dimension.
fn overloaded(findings: &[Finding]) -> BTreeMap<String, usize> {
    let mut nodes = BTreeMap::new();
    for finding in findings {
        let overloaded = nodes.entry(finding.dimension.clone()).or_default();
        *overloaded += usize::from(finding.state == FindingState::Overloaded);
    }
    nodes
}

/// The worst component of each dimension, and the floor of that very component.
fn dimensions(proof: &Proof) -> Vec<DimensionPressure> {
    let mut worst: BTreeMap<&str, (Ratio, Ratio)> = BTreeMap::new();
    for entry in &proof.dimensions {
        let known = worst.entry(&entry.dimension).or_insert((entry.before, entry.floor));
        if entry.before > known.0 {
            *known = (entry.before, entry.floor);
        }
    }
    let pressure = |(dimension, (worst, floor)): (&str, (Ratio, Ratio))| DimensionPressure {
        dimension: dimension.to_owned(),
        worst,
        floor,
    };
    worst.into_iter().map(pressure).collect()
}
