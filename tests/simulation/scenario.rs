//! What a seed stands for: a cluster, what changes and fails in it, and how the daemon is configured.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use milvus_rebalancer::config::PollSettings;
use milvus_rebalancer::execute::{ExecuteSettings, WaveSettings};
use milvus_rebalancer::gate::{ForeignSettings, GateSettings};
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings, RowsSettings};
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::faults::{Fault, FaultSettings, random_faults};
use milvus_rebalancer::sim::{Line, Profile, WorldPlan, build};
use milvus_rebalancer::units::{Bytes, Ratio};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Until when things go wrong and change by themselves; afterwards the daemon is to come to rest.
const TROUBLE: Duration = Duration::from_secs(30 * 60);

/// The stream of numbers that scenarios are made from; the simulated cluster has others of the same seed.
const STREAM: u64 = 1_000;

/// Another one, for what came later: the seeds of old go on to mean what they meant.
const LATER_STREAM: u64 = 1_001;

/// A part of a scenario, to find out what a failure needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reduction {
    /// Positions of the faults that strike; all of them without.
    pub faults: Option<BTreeSet<usize>>,
    /// The daemon does not crash.
    pub without_crashes: bool,
    /// Nothing is ingested or compacted.
    pub without_drift: bool,
}

/// The options that ask for it.
impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(faults) = &self.faults {
            let positions: Vec<String> = faults.iter().map(usize::to_string).collect();
            let list = if positions.is_empty() { "none".to_owned() } else { positions.join(",") };
            write!(f, " --faults {list}")?;
        }
        if self.without_crashes {
            f.write_str(" --no-crashes")?;
        }
        if self.without_drift {
            f.write_str(" --no-drift")?;
        }
        Ok(())
    }
}

/// When the daemon is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Not before so many calls were made …
    pub calls: usize,
    /// … and then so much later, which is before, while or after the call is answered.
    pub delay: Duration,
    /// How long it is away.
    pub away: Duration,
}

/// Everything that a seed stands for.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The cluster.
    pub world: WorldPlan,
    /// What goes wrong, in the order of time.
    pub faults: Vec<(Duration, Fault)>,
    /// When the daemon is killed.
    pub crashes: Vec<Crash>,
    /// When the drift ends and the last fault has begun.
    pub trouble_ends: Duration,
    /// Whether the nodes' own metrics are read.
    pub reads_metrics: bool,
    /// When to look.
    pub poll: PollSettings,
    /// Limits.
    pub execute: ExecuteSettings,
    /// Gates.
    pub gate: GateSettings,
    /// What load is.
    pub policies: PolicySettings,
    /// During the trouble plans are made by throwing dice.
    pub sloppy: bool,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64) -> Scenario {
        let mut chance = Chance::new(seed, STREAM);
        let mut later = Chance::new(seed, LATER_STREAM);
        let mut world = world(seed, &mut chance);
        make_later_world(&mut world, &mut later);
        let execute = execute(&mut chance);
        let gate = gate(&mut chance);
        let policies = policies(&mut chance);
        let interval = Duration::from_secs(*chance.of(&[30, 30, 30, 10, 60]));
        let mut scenario = Scenario {
            faults: faults(&world, &mut chance),
            world,
            crashes: crashes(&mut chance),
            trouble_ends: TROUBLE,
            reads_metrics: chance.happens(0.7),
            poll: PollSettings { interval, ..PollSettings::default() },
            execute,
            gate,
            policies,
            sloppy: later.happens(0.15),
        };
        limit_windows(&mut scenario.execute, &mut later);
        scenario
    }

    /// A part of it.
    pub fn reduced(&self, reduction: &Reduction) -> Scenario {
        let mut reduced = self.clone();
        if let Some(kept) = &reduction.faults {
            let faults = self.faults.iter().enumerate().filter(|(position, _)| kept.contains(position));
            reduced.faults = faults.map(|(_, fault)| fault.clone()).collect();
        }
        if reduction.without_crashes {
            reduced.crashes.clear();
        }
        if reduction.without_drift {
            reduced.world.ingest_rows_per_second = 0.0;
            reduced.world.settings.compaction = None;
        }
        reduced
    }
}

/// A stream of choices.
struct Chance(ChaCha8Rng);

impl Chance {
    fn new(seed: u64, stream: u64) -> Chance {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Chance(generator)
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.0.random_range(0..list.len())]
    }

    fn count(&mut self, low: usize, high: usize) -> usize {
        self.0.random_range(low..=high)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0.random_range(low..high)
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }
}

fn profile(chance: &mut Chance) -> Profile {
    let lines = [Line::V2_3, Line::V2_4, Line::V2_5, Line::V2_6, Line::V3_0];
    match chance.count(0, 15) {
        0 => Profile::early_2_5(),
        1 => Profile::early_2_6(),
        // Too old to be acted on, which the daemon must notice.
        2 => Profile::of(Line::V2_2),
        _ => Profile::of(*chance.of(&lines)),
    }
}

fn world(seed: u64, chance: &mut Chance) -> WorldPlan {
    let resource_groups = if chance.happens(0.2) { 2 } else { 1 };
    let replicas = *chance.of(&[1, 1, 1, 2, 2, 3]);
    let nodes = chance.count(2 * replicas, (2 * replicas).max(8)) * resource_groups;
    let mut plan = WorldPlan {
        nodes,
        unequal_machines: chance.happens(0.5),
        resource_groups,
        databases: chance.count(1, 3),
        collections: chance.count(1, 10),
        segments: chance.count(10, 140),
        replicas,
        nodes_per_replica: if chance.happens(0.3) { chance.count(2, 4) } else { 0 },
        shards: chance.count(1, 3),
        memory_fill: chance.between(0.25, 0.7),
        mapped_every: *chance.of(&[0, 0, 0, 3]),
        placement: *chance.of(&[
            Placement::RoundRobin,
            Placement::RoundRobin,
            Placement::OneNode,
            Placement::EvenRows,
        ]),
        ..WorldPlan::new(profile(chance), seed)
    };
    // Looking at traffic every few seconds is enough, and a fraction of the work.
    plan.settings.traffic_tick = Duration::from_secs(10);
    if chance.happens(0.4) {
        plan.ingest_rows_per_second = chance.between(20.0, 400.0);
    }
    if chance.happens(0.4) {
        plan.settings.compaction = Some(Duration::from_secs(chance.0.random_range(30..300)));
    }
    plan.settings.own_balancer = chance.happens(0.15);
    if chance.happens(0.3) {
        // Slow disks: moves take minutes, and calls outlive the server's patience.
        plan.settings.load_bytes_per_second = 4 << 20;
    }
    plan
}

/// What no version is known to do, and nothing promises that none will.
fn make_later_world(plan: &mut WorldPlan, chance: &mut Chance) {
    if chance.happens(0.15) {
        plan.settings.lists_growing = true;
        plan.ingest_rows_per_second = plan.ingest_rows_per_second.max(200.0);
    }
    if chance.happens(0.3) {
        plan.level0_rows = chance.0.random_range(1..200_000);
    }
}

fn faults(world: &WorldPlan, chance: &mut Chance) -> Vec<(Duration, Fault)> {
    let settings = FaultSettings {
        count: *chance.of(&[0, 1, 2, 4, 6, 10]),
        until: TROUBLE,
        loses_nodes: world.nodes > 3 && chance.happens(0.3),
    };
    let hostnames: Vec<String> = build(world).nodes().values().map(|node| node.hostname.clone()).collect();
    let mut faults = random_faults(world.seed, &hostnames, settings);
    // Suspending a node came with the management calls.
    faults.retain(|(_, fault)| world.profile.has_management || !matches!(fault, Fault::Suspend { .. }));
    let mut at = || Duration::from_secs_f64(TROUBLE.as_secs_f64() * chance.between(0.0, 0.9));
    let (first, second) = (at(), at());
    let collection = format!("collection_{}", chance.count(0, world.collections - 1));
    if chance.happens(0.25) {
        let back_after = Duration::from_secs(chance.0.random_range(5..200));
        faults.push((first, Fault::Release { collection: collection.clone(), back_after }));
    }
    if chance.happens(0.25) {
        let lasts = Duration::from_secs(chance.0.random_range(60..1200));
        faults.push((second, Fault::HotSpell { collection, factor: chance.between(2.0, 20.0), lasts }));
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn crashes(chance: &mut Chance) -> Vec<Crash> {
    let count = *chance.of(&[0, 0, 0, 1, 1, 2]);
    let mut calls = 0;
    let crash = |_| {
        calls += chance.count(1, 6);
        Crash {
            calls,
            delay: Duration::from_millis(*chance.of(&[0, 1, 50, 400, 2_000, 20_000])),
            away: Duration::from_secs(*chance.of(&[0, 1, 20, 90])),
        }
    };
    (0..count).map(crash).collect()
}

fn execute(chance: &mut Chance) -> ExecuteSettings {
    ExecuteSettings {
        calls_per_minute: *chance.of(&[6, 6, 2, 20, 0]),
        calls_in_flight: *chance.of(&[2, 2, 1, 4, 0]),
        calls_in_flight_per_node: *chance.of(&[1, 1, 2, 0]),
        segments_per_call: *chance.of(&[64, 64, 1, 4, 0]),
        bytes_per_call: *chance.of(&[Bytes(4 << 30), Bytes(512 << 20), Bytes::ZERO]),
        bytes_per_day: *chance.of(&[Ratio(5_000_000), Ratio::ZERO, Ratio(500_000), Ratio(50_000)]),
        call_timeout: Duration::from_secs(*chance.of(&[150, 150, 20, 3])),
        settle_timeout: Duration::from_secs(*chance.of(&[600, 600, 120])),
        waves: WaveSettings {
            enabled: chance.happens(0.7),
            first: *chance.of(&[1, 1, 4]),
            largest: *chance.of(&[64, 4, 0]),
            ..WaveSettings::default()
        },
        ..ExecuteSettings::default()
    }
}

/// The limits by the hour, and of moves by the day.
fn limit_windows(execute: &mut ExecuteSettings, chance: &mut Chance) {
    execute.bytes_per_hour =
        *chance.of(&[Ratio::ZERO, Ratio::ZERO, Ratio::ZERO, Ratio(500_000), Ratio(25_000)]);
    execute.moves_per_hour = *chance.of(&[240, 240, 0, 6]);
    execute.moves_per_day = *chance.of(&[1_000, 1_000, 0, 20]);
}

fn gate(chance: &mut Chance) -> GateSettings {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    GateSettings {
        destination_memory: *chance.of(&[Ratio(800_000), Ratio(800_000), Ratio(700_000)]),
        cool_down: minutes(*chance.of(&[30, 30, 5, 0])),
        cool_down_limit: minutes(*chance.of(&[24 * 60, 60])),
        foreign: ForeignSettings { quiet: minutes(*chance.of(&[30, 5])), ..ForeignSettings::default() },
        ..GateSettings::default()
    }
}

fn policies(chance: &mut Chance) -> PolicySettings {
    let dimension = |enabled: bool, chance: &mut Chance| DimensionSettings {
        enabled,
        enter: *chance.of(&[Ratio(1_200_000), Ratio(1_200_000), Ratio(1_100_000), Ratio(1_400_000)]),
        leave: *chance.of(&[Ratio(1_050_000), Ratio(1_050_000), Ratio(1_020_000)]),
        turns: *chance.of(&[3, 3, 1]),
        matters_above: *chance.of(&[Ratio(300_000), Ratio(300_000), Ratio::ZERO]),
        ..DimensionSettings::default()
    };
    let (memory, rows) = *chance.of(&[(true, false), (true, false), (true, true), (false, true)]);
    PolicySettings {
        memory: dimension(memory, chance),
        rows: RowsSettings(dimension(rows, chance)),
        ..PolicySettings::default()
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { world, execute, gate, policies, .. } = self;
        writeln!(
            f,
            "  Milvus {}: {} nodes in {} group(s), {} collections, {} segments, {} replica(s), {} shard(s), \
             memory {:.0} % full, {:?}, own balancer {}",
            world.profile.build_version,
            world.nodes,
            world.resource_groups,
            world.collections,
            world.segments,
            world.replicas,
            world.shards,
            world.memory_fill * 100.0,
            world.placement,
            if world.settings.own_balancer { "on" } else { "off" },
        )?;
        writeln!(
            f,
            "  {:.0} rows/s arrive, compaction {:?}, {} MiB/s load",
            world.ingest_rows_per_second,
            world.settings.compaction,
            world.settings.load_bytes_per_second >> 20
        )?;
        let on = |settings: &DimensionSettings| {
            if settings.enabled { format!("{}/{}", settings.enter, settings.leave) } else { "off".to_owned() }
        };
        writeln!(
            f,
            "  poll {:?}, memory {}, rows {}, cool-down {:?}, destinations {}, waves {:?}",
            self.poll.interval,
            on(&policies.memory),
            on(&policies.rows.0),
            gate.cool_down,
            gate.destination_memory,
            execute.waves.enabled,
        )?;
        writeln!(
            f,
            "  {} calls/min, {} in flight, {} per node, {} segments and {} per call, {} of bytes per day, \
             call timeout {:?}",
            execute.calls_per_minute,
            execute.calls_in_flight,
            execute.calls_in_flight_per_node,
            execute.segments_per_call,
            execute.bytes_per_call,
            execute.bytes_per_day,
            execute.call_timeout,
        )?;
        writeln!(
            f,
            "  {} of bytes and {} moves an hour, {} moves a day",
            execute.bytes_per_hour, execute.moves_per_hour, execute.moves_per_day,
        )?;
        writeln!(
            f,
            "  {} level-0 rows, growing segments {}, plans {}",
            world.level0_rows,
            if world.settings.lists_growing { "listed" } else { "not listed" },
            if self.sloppy { "thrown by dice at first" } else { "made in earnest" },
        )?;
        for (position, (at, fault)) in self.faults.iter().enumerate() {
            writeln!(f, "  fault {position} at {:.0} s: {fault:?}", at.as_secs_f64())?;
        }
        for crash in &self.crashes {
            writeln!(f, "  the daemon is killed: {crash:?}")?;
        }
        Ok(())
    }
}
