//! One turn of the pure half, from an observation to a verdict: the middle of the flow in one function, which the
//! daemon, a dry run, the simulator and every replay call alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gate::{self, GateSettings, LoadLimit, Restrictions, Verdict};
use crate::model::{
    BalancerSettings, CapacitySettings, Checkpoint, Controls, Departure, EndedMove, ForeignMove, Guard,
    GuardInput, GuardSettings, GuardView, HeldPlan, History, InFlight, KnownMove, ModelState, NetZero,
    NodesSeen, OwnBalancer, PlanningInput, Remembered, Setback, SignalSettings, Snapshot, SnapshotDigest,
    fold,
};
use crate::observe::observation::Observation;
use crate::plan::relief::LoadPicture;
use crate::plan::{self, DimensionView, Drain, Finding, Move, Placement, Plan, PlanSettings};
use crate::policy::plugin::{self, PluginSettings};
use crate::policy::{self, Assessment, Directive, Policy, PolicySettings, Remark};
use crate::units::{Moment, Ratio};

/// How long foreign moves are remembered: the longest that a gate can be told to look back.
pub const FOREIGN_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a plan. It is [`plan::plan`], unless somebody wants to know what the gate holds back by itself.
pub type Planner = Box<PlannerFunction>;

/// What a planner is.
pub type PlannerFunction =
    dyn Fn(&PlanningInput, &[DimensionView<'_>], &Placement, &[Finding], &Restrictions) -> Plan + Send + Sync;

/// The settings of the pure half.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThinkingSettings {
    /// What load is, and what must be.
    pub policies: PolicySettings,
    /// Of the planner.
    pub plan: PlanSettings,
    /// Of the gates.
    pub gate: GateSettings,
    /// When what users feel holds us.
    pub guard: GuardSettings,
    /// How counters become rates.
    pub signals: SignalSettings,
    /// What nodes really have.
    pub capacity: CapacitySettings,
    /// What is to be believed of Milvus' own balancer where it cannot be read.
    #[serde(default)]
    pub balancer: BalancerSettings,
    /// Whether only what that balancer leaves alone is planned.
    #[serde(default)]
    pub is_within: bool,
}

/// The settings of the pure half and what it remembers from turn to turn.
pub struct Thinking {
    policy_settings: PolicySettings,
    policies: Vec<Box<dyn Policy>>,
    plugins: BTreeMap<String, PluginSettings>,
    planner: Planner,
    plan: PlanSettings,
    gate: GateSettings,
    controls: Controls,
    /// What Milvus' balancer is told, where that cannot be read.
    balancer: BalancerSettings,
    /// Whether what it would undo must not be done.
    is_within: bool,
    model: ModelState,
    guard: Guard,
    /// Calls sent at the last turn.
    calls_sent: u64,
}

/// What the executor contributes to a turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnMoves {
    /// Sent and not settled.
    pub in_flight: Vec<InFlight>,
    /// Landed within the longest cool-down, oldest first.
    pub departures: Vec<Departure>,
    /// Refused or expired within the same time.
    pub setbacks: Vec<Setback>,
    /// Everything that we moved or tried to move lately.
    pub known: Vec<KnownMove>,
    /// Landed within the last day, by whoever works through this program.
    pub landed: Vec<EndedMove>,
    /// The wave that is under way, to be judged on what this turn sees.
    pub wave: Vec<Move>,
    /// Calls sent since the start.
    pub calls_sent: u64,
}

/// What the gates must know after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateMemory {
    /// Nodes that are not new.
    pub nodes_seen: NodesSeen,
    /// The plan that waits for approval, or has it.
    pub held_plan: Option<HeldPlan>,
}

/// What a turn came to.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The cluster.
    pub snapshot: Arc<Snapshot>,
    /// The name of that snapshot.
    pub snapshot_digest: SnapshotDigest,
    /// What was planned on, for whoever asks afterwards why something is, or is not, in the plan.
    pub input: Arc<PlanningInput>,
    /// What the policies said about it.
    pub assessment: Arc<Assessment>,
    /// Every node in every dimension.
    pub findings: Vec<Finding>,
    /// How far the emptying of nodes has come.
    pub drains: Vec<Drain>,
    /// What policies remark about their configuration.
    pub remarks: Vec<Remark>,
    /// What must not be done.
    pub restrictions: Restrictions,
    /// What would be good to do.
    pub plan: Plan,
    /// What of it may be done.
    pub verdict: Verdict,
    /// Moves by somebody else, noticed this turn.
    pub foreign_moves: Vec<ForeignMove>,
    /// What the moves of the last day came to, everybody's, and the time out of band.
    pub net_zero: NetZero,
    /// The loads of this turn, by which a wave is judged later.
    pub loads: Arc<LoadPicture>,
    /// What users feel, and whether that holds us.
    pub guard: GuardView,
}

impl Thinking {
    /// With an empty memory.
    pub fn new(policies: &PolicySettings, plan: PlanSettings, gate: GateSettings) -> Thinking {
        Thinking {
            policy_settings: policies.clone(),
            policies: policy::registry(policies),
            plugins: policies.plugins.clone(),
            planner: Box::new(plan::plan),
            plan,
            gate,
            controls: Controls::default(),
            balancer: BalancerSettings::default(),
            is_within: false,
            model: ModelState::default(),
            guard: Guard::new(GuardSettings::default()),
            calls_sent: 0,
        }
    }

    /// With an empty memory and all these settings.
    pub fn with_settings(settings: &ThinkingSettings) -> Thinking {
        let ThinkingSettings { policies, plan, gate, guard, signals, capacity, balancer, is_within } =
            settings.clone();
        Thinking::new(&policies, plan, gate)
            .with_guard(guard)
            .with_signals(signals, capacity)
            .beside(balancer, is_within)
    }

    /// The settings in force. Policies that were added by [`Thinking::with_policy`] have none.
    pub fn settings(&self) -> ThinkingSettings {
        ThinkingSettings {
            policies: self.policy_settings.clone(),
            plan: self.plan.clone(),
            gate: self.gate.clone(),
            guard: self.guard.settings().clone(),
            signals: self.model.signals.settings.clone(),
            capacity: self.model.signals.capacity.clone(),
            balancer: self.balancer.clone(),
            is_within: self.is_within,
        }
    }

    /// All that the next turn's plan builds on, beside settings and orders. What the guard has learnt is not in it: no
    /// plan follows from that.
    pub fn checkpoint(&self) -> Checkpoint {
        self.model.checkpoint()
    }

    /// Goes on from there.
    pub fn resume(&mut self, checkpoint: Checkpoint) {
        self.model.resume(checkpoint);
    }

    /// With another guard than the default one.
    pub fn with_guard(mut self, settings: GuardSettings) -> Thinking {
        self.guard = Guard::new(settings);
        self
    }

    /// With what our configuration says of Milvus' own balancer, and whether the mode is `within`.
    pub fn beside(mut self, balancer: BalancerSettings, is_within: bool) -> Thinking {
        self.balancer = balancer;
        self.is_within = is_within;
        self
    }

    /// With these settings of the signals, and these capacities of nodes.
    pub fn with_signals(mut self, settings: SignalSettings, capacity: CapacitySettings) -> Thinking {
        self.reconfigure_signals(settings, capacity);
        self
    }

    /// Goes on with other settings of the signals and other capacities of nodes.
    pub fn reconfigure_signals(&mut self, settings: SignalSettings, capacity: CapacitySettings) {
        self.model.signals.settings = settings;
        self.model.signals.capacity = capacity;
    }

    /// Goes on with other settings and with everything that it remembers.
    pub fn reconfigure(
        &mut self,
        policies: &PolicySettings,
        plan: PlanSettings,
        gate: GateSettings,
        guard: GuardSettings,
    ) {
        self.policy_settings = policies.clone();
        self.policies = policy::registry(policies);
        self.plugins = policies.plugins.clone();
        self.plan = plan;
        self.gate = gate;
        self.guard.reconfigure(guard);
    }

    /// With one more policy, after those that the settings ask for.
    pub fn with_policy(mut self, policy: Box<dyn Policy>) -> Thinking {
        self.policies.push(policy);
        self
    }

    /// The same with another planner.
    pub fn planned_by(self, planner: Planner) -> Thinking {
        Thinking { planner, ..self }
    }

    /// For a look at a single moment: every node counts as overloaded from the first turn on, because there will
    /// be no second one.
    pub fn for_one_look(policies: &PolicySettings, plan: PlanSettings, gate: GateSettings) -> Thinking {
        Thinking::new(&policies.for_one_look(), plan, gate)
    }

    /// How old a view may be that is acted on.
    pub fn oldest_view(&self) -> Duration {
        self.gate.max_age
    }

    /// For how long a plan of that time may be carried out: until its view is too old, or its window closes.
    pub fn plan_holds(&self, now: Timestamp) -> Duration {
        let closes = gate::windows::open_until(&self.gate.windows, now);
        let until_then = closes.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
        until_then.map_or(self.gate.max_age, |until| until.min(self.gate.max_age))
    }

    /// What the gates must know after a restart.
    pub fn gate_memory(&self) -> GateMemory {
        let history = &self.model.history;
        GateMemory { nodes_seen: history.nodes_seen.clone(), held_plan: history.held_plan.clone() }
    }

    /// Takes over what the gates knew when the process before ended.
    pub fn recall_gates(&mut self, memory: GateMemory) {
        let GateMemory { nodes_seen, held_plan } = memory;
        self.model.history.nodes_seen = nodes_seen;
        self.model.history.held_plan = held_plan;
    }

    /// What the next process should know of the turns so far; foreign moves are in each [`Decision`].
    pub fn remembered(&self, at: Timestamp) -> Remembered {
        self.model.remembered(at)
    }

    /// Takes over what the process before knew.
    pub fn recall(&mut self, remembered: Remembered, foreign_moves: Vec<ForeignMove>, now: Timestamp) {
        self.model.recall(remembered, foreign_moves, now);
    }

    /// What people have ordered; it holds for all turns from now on.
    pub fn obey(&mut self, controls: Controls) {
        self.controls = controls;
    }

    /// What people have ordered, as it holds for this turn.
    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    /// How long the figures of nodes lag behind a move.
    pub fn settle_time(&self) -> Duration {
        self.gate.settle_time
    }

    /// The cluster as the next turn will see it, for those who must be asked before; nothing is remembered of it.
    pub fn preview(&self, observation: &Observation) -> Snapshot {
        fold(self.model.clone(), observation, &[]).1
    }

    /// Takes one turn.
    pub fn turn(&mut self, observation: &Observation, own: OwnMoves, now: Moment) -> Decision {
        let is_moving = !own.in_flight.is_empty() || !own.wave.is_empty() || own.calls_sent > self.calls_sent;
        self.calls_sent = own.calls_sent;
        let wave = own.wave.clone();
        let aftermath = Aftermath { landed: own.landed.clone(), wave: wave.clone() };
        let Begun { input, snapshot_digest, foreign_moves } = self.begin(observation, own, now);
        let in_flight = input.in_flight.clone();
        let assessment = assess(&self.policies, &input);
        let (decision, history) = decide(input, assessment, &self.planner, aftermath);

        let guard = self.guard.look(GuardInput {
            service: &observation.service,
            is_moving,
            fullest_destination: fullest_destination(&decision.snapshot, &wave, &in_flight),
            now,
        });
        self.model.history = history;
        Decision { snapshot_digest, foreign_moves, guard, ..decision }
    }

    /// Folds an observation into all that this turn's plan follows from. [`decide`] goes on from there.
    pub fn begin(&mut self, observation: &Observation, own: OwnMoves, now: Moment) -> Begun {
        let known_foreign = self.model.history.foreign_moves.len();
        self.model.history.departures = own.departures;
        self.model.history.setbacks = own.setbacks;
        let (mut model, mut snapshot) = fold(std::mem::take(&mut self.model), observation, &own.known);
        let foreign_moves = model.history.foreign_moves[known_foreign..].to_vec();
        model
            .history
            .foreign_moves
            .retain(|foreign| now.wall.duration_since(foreign.at).unsigned_abs() <= FOREIGN_MEMORY);
        model.history.nodes_seen.note(&snapshot);
        let heard = plugin::hear(&self.plugins, &observation.opinions, &snapshot);
        snapshot.doubts.extend(heard.doubts);
        snapshot.doubts.sort();
        let snapshot_digest = model.digest_of(&snapshot);

        let own_balancer = OwnBalancer::of(observation, &snapshot, &self.balancer, self.is_within);
        let input = PlanningInput {
            snapshot: Arc::new(snapshot),
            in_flight: own.in_flight,
            history: model.history.clone(),
            opinions: heard.assessment,
            own_balancer,
            controls: self.controls.clone(),
            plan: self.plan.clone(),
            gate: self.gate.clone(),
            now,
        };
        self.model = model;
        Begun { input, snapshot_digest, foreign_moves }
    }
}

/// What a turn begins with.
#[derive(Clone, Debug)]
pub struct Begun {
    /// All that its plan follows from.
    pub input: PlanningInput,
    /// The name of its snapshot.
    pub snapshot_digest: SnapshotDigest,
    /// Moves by somebody else, noticed this turn.
    pub foreign_moves: Vec<ForeignMove>,
}

/// What came of earlier turns and is judged in this one; no plan follows from it.
#[derive(Clone, Debug, Default)]
pub struct Aftermath {
    /// Moves that landed within the last day.
    pub landed: Vec<EndedMove>,
    /// The wave that is under way.
    pub wave: Vec<Move>,
}

/// What people ordered to be emptied, as policies would say it.
fn ordered_drains(controls: &Controls) -> impl Iterator<Item = Directive> {
    controls.drains.iter().map(|drain| Directive::Evacuate { node: drain.node })
}

/// What the policies and the orders of people make of it.
pub fn assess(policies: &[Box<dyn Policy>], input: &PlanningInput) -> Assessment {
    let mut assessment = policy::assess_all(policies, input);
    assessment.directives.extend(ordered_drains(&input.controls));
    assessment
}

/// From everything that a plan follows from to the plan and its verdict, and what is to be remembered. The guard has not
/// looked, no moves are foreign, and the digest is left out: those belong to a turn, not to a plan.
pub fn decide(
    mut input: PlanningInput,
    assessment: Assessment,
    planner: &PlannerFunction,
    aftermath: Aftermath,
) -> (Decision, History) {
    let placement = Placement::projected(&input.snapshot, &input.in_flight);
    let views = DimensionView::all(&input.snapshot, &assessment, &placement);
    let (mut findings, mut history) = plan::find_overloads(&input, &views, &placement);
    let mut restrictions = gate::restrict(&input, &assessment.directives);
    restrictions.limits = LoadLimit::all(&input, &assessment.dimensions);
    plan::immovable::explain(&input.snapshot, &views, &placement, &restrictions, &mut findings);
    let mut plan = planner(&input, &views, &placement, &findings, &restrictions);
    plan::immovable::blame(&findings, &views, &mut plan.proof.left_alone);
    let drains = Drain::all(&input.snapshot, &placement, &restrictions, &plan);
    let now = input.now;
    plan::settle_history(&mut history, &findings, &views, &plan.proof.left_alone);
    history.held_plan = gate::approval::advance(&input, &plan);
    history.out_of_band.record(plan::is_out_of_band(&views, &findings), now);
    let foreign = history.foreign_moves.iter().map(EndedMove::from);
    let moved = aftermath.landed.into_iter().chain(foreign);
    let net_zero = NetZero::account(moved, history.out_of_band.total(now), now.wall);
    input.history = history;
    let verdict = gate::check(&input, &restrictions, &plan);
    let loads = Arc::new(LoadPicture::of(&input.snapshot, &views, &aftermath.wave, plan.moves()));
    let history = input.history.clone();
    let decision = Decision {
        snapshot: Arc::clone(&input.snapshot),
        input: Arc::new(input),
        snapshot_digest: SnapshotDigest::default(),
        findings,
        drains,
        remarks: assessment.remarks.clone(),
        assessment: Arc::new(assessment),
        restrictions,
        plan,
        verdict,
        foreign_moves: Vec::new(),
        net_zero,
        loads,
        guard: GuardView::default(),
    };
    (decision, history)
}

/// Memory in use on the fullest node to which something moves.
fn fullest_destination(snapshot: &Snapshot, wave: &[Move], in_flight: &[InFlight]) -> Option<Ratio> {
    let wave = wave.iter().map(|movement| movement.to);
    let destinations = wave.chain(in_flight.iter().map(|flight| flight.to));
    destinations
        .filter_map(|id| {
            let node = snapshot.node(snapshot.node_index(id)?);
            Some(Ratio::of(node.memory_used?.0, node.memory_capacity?.0))
        })
        .max()
}
