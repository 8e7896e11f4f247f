//! Mode `within`: beside the simulated balancer, what we move stays where we put it and still makes the cluster more even;
//! settings that cannot be read are said; a drain moves what it may and names the rest.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalError, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::model::own_balancer::Origin;
use milvus_rebalancer::model::{BalancerSettings, ForeignMove, PlanningInput};
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::observe::observation::{Observation, ServerVersion};
use milvus_rebalancer::plan::{Drain, PlanSettings};
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::policy::drain::DrainSettings;
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::reason::Reason;
use milvus_rebalancer::report::PlanReport;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::profile::ALL_LINES;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimMover, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use milvus_rebalancer::units::{Moment, NodeId, Ratio};
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cluster::{add_collection, cluster, lifted_gates, memory_at_once, moment};

const MINUTE: Duration = Duration::from_secs(60);

/// Long enough for Milvus' balancer to come to rest.
const REST: Duration = Duration::from_secs(2 * 60 * 60);

/// Minutes in which the daemon does what it can.
const PLAYED: u64 = 60;

/// Equal machines and many collections, most of them small, with rows of very different bytes.
fn plan(profile: Profile, seed: u64) -> WorldPlan {
    let mut plan = WorldPlan {
        nodes: 6,
        collections: 60,
        segments: 150,
        unequal_machines: false,
        placement: Placement::EvenRows,
        ..WorldPlan::new(profile, seed)
    };
    plan.settings.traffic_tick = Duration::from_secs(10);
    plan
}

struct Daemon {
    state: watch::Receiver<LoopState>,
    task: JoinHandle<Result<(), JournalError>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Daemon {
    /// On a world whose balancer is on.
    fn start(world: &SharedWorld, folder: &Path) -> Daemon {
        let clock = Arc::new(world.clock());
        let observer = Arc::new(SimObserver::new(world.clone(), true).reading_management());
        let execute = ExecuteSettings {
            bytes_per_hour: Ratio::ZERO,
            bytes_per_day: Ratio::ZERO,
            ..ExecuteSettings::default()
        };
        let mover = Arc::new(SimMover::new(world.clone(), execute.call_timeout));
        let settings = JournalSettings { path: folder.join("within.db"), ..JournalSettings::default() };
        let journal = Journal::open(&settings, clock.read().wall).unwrap();
        let executor = Executor::new(execute, Some(mover), observer.clone(), journal.clone(), clock.clone());
        let (state, seen) = watch::channel(LoopState::default());
        let gate = GateSettings { max_age: 5 * MINUTE, ..GateSettings::default() };
        let thinking = Thinking::new(&PolicySettings::default(), PlanSettings::default(), gate);
        let control_loop = ControlLoop {
            observer,
            plugins: milvus_rebalancer::plugin::Plugins::default(),
            thinking: thinking.beside(BalancerSettings::default(), true),
            executor,
            election: None,
            mode: Mode::Within,
            poll: PollSettings { interval: MINUTE, ..PollSettings::default() },
            clock,
            journal,
            metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
            health: Arc::new(Health::new()),
            state,
            stop: CancellationToken::new(),
            wake: Arc::default(),
        };
        Daemon { state: seen, task: tokio::spawn(control_loop.run()) }
    }

    fn latest(&self) -> Decision {
        self.state.borrow().last.as_ref().expect("a turn was taken").decision.clone()
    }
}

/// The sum of what is above an even spread of memory, all nodes together.
fn unevenness(decision: &Decision) -> u64 {
    let above = |pressure: Ratio| pressure.0.saturating_sub(Ratio::ONE.0);
    let of_memory = decision.findings.iter().filter(|finding| finding.dimension == "memory");
    of_memory.map(|finding| above(finding.pressure)).sum()
}

/// What an hour came to.
struct Outcome {
    landed: u64,
    /// Moves by Milvus' balancer meanwhile.
    by_milvus: u64,
    before: u64,
    after: u64,
    /// Why the rest was left alone.
    left: Vec<&'static str>,
}

async fn play(world: &SharedWorld, name: &str) -> Outcome {
    world.lock().switch_own_balancer(true);
    tokio::time::sleep(REST).await;
    let by_milvus = world.lock().own_balancer_moves();
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(world, folder.path());
    tokio::time::sleep(MINUTE / 2).await;
    let before = unevenness(&daemon.latest());
    for _ in 0..PLAYED {
        tokio::time::sleep(MINUTE).await;
        let decision = daemon.latest();
        let mut frozen = decision.restrictions.components.values();
        let taken_back = frozen.find(|reason| matches!(reason, Reason::TakenBack { .. }));
        assert_eq!(taken_back, None, "{name}");
    }
    let after = unevenness(&daemon.latest());
    let landed = daemon.state.borrow().executor.ended.get("landed").copied().unwrap_or(0);
    let left = daemon.latest().plan.proof.left_alone.iter().map(|left| left.reason.code()).collect();
    Outcome { left, landed, by_milvus: world.lock().own_balancer_moves() - by_milvus, before, after }
}

/// Plays seeds on a line of versions: nothing is moved back, and all of them together are more even than before.
async fn play_seeds(line: Line, seeds: std::ops::Range<u64>) -> (u64, u64, u64) {
    let (mut landed, mut before, mut after) = (0, 0, 0);
    for seed in seeds.clone() {
        let world = SharedWorld::new(build(&plan(Profile::of(line), seed)));
        let name = format!("{line}, seed {seed}");
        let outcome = play(&world, &name).await;
        let Outcome { landed: moves, before: worse, after: better, ref left, .. } = outcome;
        println!("{name}: {moves} landed, {worse} -> {better}, left alone: {left:?}");
        let trace = || world.lock().trace().map(ToOwned::to_owned).collect::<Vec<_>>().join("\n");
        assert_eq!(outcome.by_milvus, 0, "{name}: Milvus' balancer was at rest before:\n{}", trace());
        landed += outcome.landed;
        before += outcome.before;
        after += outcome.after;
    }
    println!(
        "{line}, seeds {seeds:?}: {landed} moves landed, none moved back; unevenness {before} -> {after}"
    );
    (landed, before, after)
}

#[tokio::test(start_paused = true)]
async fn what_we_move_stays_and_makes_the_cluster_more_even() {
    // By night, and by hand: MILVUS_REBALANCER_WITHIN_SEEDS=100.
    let asked = std::env::var("MILVUS_REBALANCER_WITHIN_SEEDS").ok();
    let asked = asked.map(|text| text.parse::<u64>().expect("a number of seeds"));
    let mut all = 0;
    // 2.2 is too old for anything to be moved.
    for line in ALL_LINES.into_iter().filter(|line| *line != Line::V2_2) {
        let seeds = match (asked, line) {
            (Some(asked), _) => 1..1 + asked,
            (None, Line::V2_3) => 1..4,
            // In which our moves once stirred Milvus' balancer; the versions after 2.3 take long to be played.
            (None, _) => 3..4,
        };
        let (landed, before, after) = play_seeds(line, seeds).await;
        assert!(landed == 0 || after < before, "{line}: {before} before, {after} after {landed} moves");
        all += landed;
    }
    assert!(all > 0, "nothing was moved at all");
}

/// One turn, everything overloaded at once, in mode `within`.
fn decide(observation: &Observation, policies: &PolicySettings, told: BalancerSettings) -> Decision {
    let mut thinking = Thinking::new(policies, PlanSettings::default(), lifted_gates()).beside(told, true);
    thinking.turn(observation, OwnMoves::default(), moment(1))
}

/// Three nodes. On the first: four collections of one segment, and five segments of one that has three each on the others.
fn mixed() -> Observation {
    let mut observation = cluster(3);
    for id in 11..15 {
        add_collection(&mut observation, id, &[&[(1, 1), (2, 0), (3, 0)]]);
    }
    add_collection(&mut observation, 7, &[&[(1, 4), (2, 4), (3, 4)]]);
    observation
}

#[test]
fn settings_that_cannot_be_read_come_from_the_configuration_or_the_version_and_the_turn_says_which() {
    let told = BalancerSettings { global_row_count_factor: Some(0.2), ..BalancerSettings::default() };
    let mut observation = mixed();
    observation.server = ServerVersion::parse("2.3.5");
    let decision = decide(&observation, &memory_at_once(), told.clone());
    let balancer = &decision.input.own_balancer;
    let origin = |name: &str| balancer.known.iter().find(|known| known.name == name).unwrap().origin;
    assert_eq!(origin("globalRowCountFactor"), Origin::Configured);
    assert_eq!(origin("reverseUnBalanceTolerationFactor"), Origin::Assumed);
    let report = serde_json::to_string(&PlanReport::new(&decision, None)).unwrap();
    assert!(report.contains("globalRowCountFactor") && report.contains("configured"), "{report}");

    observation.server = ServerVersion::parse("9.9-unheard-of");
    let decision = decide(&observation, &memory_at_once(), told);
    assert_eq!(decision.verdict.admitted, Vec::<usize>::new(), "an unknown version is not acted on");
    let says = |reason: &Reason| matches!(reason, Reason::BalancerUnknown { .. });
    assert!(decision.verdict.refusals.iter().any(|refusal| says(&refusal.reason)));
    assert!(!decision.plan.steps.is_empty(), "the plan is shown");
}

#[test]
fn a_plan_is_the_same_from_what_was_recorded() {
    let decision = decide(&mixed(), &memory_at_once(), BalancerSettings::default());
    assert!(!decision.plan.steps.is_empty());
    let text = serde_json::to_string(&*decision.input).unwrap();
    let input: PlanningInput = serde_json::from_str(&text).unwrap();
    assert_eq!(input.own_balancer, decision.input.own_balancer);
    let bare = serde_json::to_value(&*decision.input).unwrap();
    let mut without = bare.clone();
    without.as_object_mut().unwrap().remove("own_balancer");
    let free: PlanningInput = serde_json::from_value(without).unwrap();
    let plan_of = |input: PlanningInput| {
        let policies = memory_at_once();
        milvus_rebalancer::situation::Situation { input, policies, directives: Vec::new() }.decide().plan
    };
    assert_eq!(plan_of(input).steps, decision.plan.steps);
    assert_ne!(plan_of(free).steps, decision.plan.steps, "without it another plan would come out");
}

#[test]
fn a_drain_moves_what_the_score_would_leave_and_names_the_rest() {
    let drain = DrainSettings { nodes: Patterns::of("1") };
    let policies = PolicySettings { drain, ..memory_at_once() };
    let decision = decide(&mixed(), &policies, BalancerSettings::default());
    let [drain]: &[Drain] = &decision.drains else { panic!("{:?}", decision.drains) };
    let moved: Vec<i64> = decision.plan.moves().map(|movement| movement.collection.0).collect();
    assert!(!moved.is_empty() && moved.iter().all(|collection| *collection > 10), "{moved:?}");
    let named: usize = drain
        .staying
        .iter()
        .filter(|staying| matches!(staying.reason, Reason::WouldBeUndone { .. }))
        .map(|staying| staying.segments.len())
        .sum();
    assert_eq!(drain.to_go + named, 8, "{drain:?}");
    assert!(drain.to_go > 0 && named >= 4, "{drain:?}");
}

/// Looks every other second, for so long, and gathers what is taken for foreign; and the last decision.
async fn watched(world: &SharedWorld, thinking: &mut Thinking, seconds: u64) -> (Vec<ForeignMove>, Decision) {
    let observer = SimObserver::new(world.clone(), true);
    let clock = world.clock();
    let (mut found, mut last) = (Vec::new(), None);
    for _ in 0..seconds / 2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A coordinator may not answer for a while; the next look shows what happened.
        let Ok(observation) = observer.observe().await else { continue };
        let now: Moment = clock.read();
        let decision = thinking.turn(&observation, OwnMoves::default(), now);
        found.extend(decision.foreign_moves.iter().copied());
        last = Some(decision);
    }
    (found, last.expect("a look"))
}

fn onlooker() -> Thinking {
    Thinking::new(&PolicySettings::default(), PlanSettings::default(), GateSettings::default())
}

fn small(line: Line, seed: u64) -> WorldPlan {
    WorldPlan { nodes: 4, collections: 10, segments: 50, ..plan(Profile::of(line), seed) }
}

/// Whether anybody is taken to be at work besides us.
fn is_frozen(decision: &Decision) -> bool {
    decision.restrictions.components.values().any(|reason| matches!(reason, Reason::ForeignMover { .. }))
}

#[test]
fn moves_off_a_node_that_is_gone_since_were_its_stopping() {
    let mut gates = lifted_gates();
    gates.foreign = GateSettings::default().foreign;
    let mut thinking = Thinking::new(&memory_at_once(), PlanSettings::default(), gates);
    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 4), (2, 4), (3, 4)]]);
    thinking.turn(&observation, OwnMoves::default(), moment(1));
    for segment in observation.collections[0].segments.iter_mut().flatten() {
        if segment.nodes == [NodeId(2)] {
            segment.nodes = vec![NodeId(3)];
        }
    }
    let decision = thinking.turn(&observation, OwnMoves::default(), moment(2));
    assert_eq!(decision.foreign_moves.len(), 4);
    assert!(is_frozen(&decision), "for all that is known somebody balances");
    observation.nodes.retain(|node| node.id != NodeId(2));
    for group in observation.resource_groups.iter_mut().flatten() {
        group.nodes.iter_mut().for_each(|nodes| nodes.retain(|node| node.id != NodeId(2)));
    }
    let replicas = observation.collections[0].replicas.iter_mut().flatten();
    replicas.for_each(|replica| {
        replica.nodes.retain(|node| *node != NodeId(2));
    });
    let decision = thinking.turn(&observation, OwnMoves::default(), moment(3));
    assert!(!is_frozen(&decision), "{:?}", decision.restrictions.components);
}

#[tokio::test(start_paused = true)]
async fn moves_of_milvus_balancer_are_recognised_on_every_version() {
    for line in ALL_LINES {
        let world = SharedWorld::new(build(&WorldPlan { placement: Placement::OneNode, ..small(line, 3) }));
        let mut thinking = onlooker();
        assert_eq!(watched(&world, &mut thinking, 6).await.0, [], "{line}: nobody has moved anything");
        world.lock().switch_own_balancer(true);
        let (found, decision) = watched(&world, &mut thinking, 120).await;
        assert!(is_frozen(&decision), "{line}");
        world.lock().switch_own_balancer(false);
        // Those that are on their way may end.
        let found = found.len() + watched(&world, &mut thinking, 20).await.0.len();
        let made = usize::try_from(world.lock().own_balancer_moves()).unwrap();
        assert!(made > 10, "{line}: {made}");
        assert!(found <= made && found * 10 >= made * 9, "{line}: {found} of {made} recognised");
    }
}

#[tokio::test(start_paused = true)]
async fn what_compaction_recovery_and_stopping_nodes_bring_is_no_balancers_move() {
    for line in ALL_LINES {
        let mut plan = small(line, 4);
        plan.settings.compaction = Some(Duration::from_secs(20));
        plan.ingest_rows_per_second = 2_000.0;
        let world = SharedWorld::new(build(&plan));
        let mut thinking = onlooker();
        assert_eq!(watched(&world, &mut thinking, 60).await.0, [], "{line}: compaction");
        world.lock().crash(NodeId(1));
        assert_eq!(watched(&world, &mut thinking, 60).await.0, [], "{line}: recovery after a crash");
        world.lock().stop_gracefully(NodeId(2));
        let (found, decision) = watched(&world, &mut thinking, 60).await;
        // Before 2.4 nothing shows that a node is stopping: only once it is gone is it clear what that was.
        assert!(found.is_empty() || line <= Line::V2_3, "{line}: a node that stops: {found:?}");
        assert!(!is_frozen(&decision) || line <= Line::V2_3, "{line}: nobody balances");
        assert_eq!(world.lock().own_balancer_moves(), 0);
    }
}

/// How long planning takes in both modes is printed, not asserted: clocks of busy machines prove nothing.
///
/// ```text
/// cargo test --release --test it within::what_the_question -- --nocapture
/// ```
#[tokio::test]
async fn what_the_question_costs_is_told_and_the_plan_is_none_the_worse_for_it() {
    for (line, collections) in [(Line::V2_3, 100), (Line::V2_5, 100), (Line::V2_5, 1_000)] {
        let plan = WorldPlan {
            nodes: 25,
            collections,
            segments: 1_000,
            unequal_machines: false,
            placement: Placement::Grown,
            ..WorldPlan::new(Profile::of(line), 7)
        };
        let world = SharedWorld::new(build(&plan));
        let now = world.clock().read();
        let observation = SimObserver::new(world, true).reading_management().observe().await.unwrap();
        let mut took = Vec::new();
        for is_within in [false, true] {
            let mut thinking = Thinking::new(&memory_at_once(), PlanSettings::default(), lifted_gates())
                .beside(BalancerSettings::default(), is_within);
            let begun = tokio::time::Instant::now();
            let decision = thinking.turn(&observation, OwnMoves::default(), now);
            took.push(begun.elapsed());
            let proof = &decision.plan.proof;
            println!(
                "{line}, {collections} collections, within {is_within}: {} steps, {} candidates, {:?}",
                decision.plan.steps.len(),
                proof.effort_used,
                took[took.len() - 1],
            );
            assert!(proof.effort_used < PlanSettings::default().effort, "the budget is enough");
        }
        println!("ratio {:.2}", took[1].as_secs_f64() / took[0].as_secs_f64());
    }
}
