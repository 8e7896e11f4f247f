//! The simulated cluster of `demo`: grown while nobody balanced it, and what goes wrong with it.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::{DemoArgs, Faults, MilvusBalancer};
use crate::sim::build::Placement;
use crate::sim::cluster::SimTime;
use crate::sim::faults::{Fault, FaultSettings, random_faults};
use crate::sim::{Profile, SharedWorld, World, WorldPlan, WorldSettings};

/// Length of a round of faults: long enough to see what they do, short enough to see the next one.
const ROUND: Duration = Duration::from_secs(45);

/// How long any one thing stays broken.
const LONGEST_FAULT: Duration = Duration::from_secs(15);

/// Share of memory that is filled on average: the fullest node of an uneven start must fit its machine.
const MEMORY_FILL: f64 = 0.33;

/// Share of CPU that searches use on average: the busiest node of an uneven start has little left.
const CPU_FILL: f64 = 0.42;

/// How many times more often the hottest collection is searched: a hot spot, but not all there is.
const HOT_FACTOR: f64 = 5.0;

/// Bytes that a node loads in a second: a fast local disk, because somebody is waiting for the end.
const LOAD_BYTES_PER_SECOND: u64 = 1 << 30;

/// Rows a second with `--keep`: a new segment every half minute or so, and hours until the cluster is full.
const DRIFT_ROWS_PER_SECOND: f64 = 3_000.0;

/// Pause between compactions with `--keep`.
const DRIFT_COMPACTION: Duration = Duration::from_secs(20);

/// What the cluster is to be.
pub(super) fn plan(args: &DemoArgs, begins_at: Timestamp) -> WorldPlan {
    let settings = WorldSettings {
        begins_at,
        own_balancer: args.milvus_balancer == MilvusBalancer::On,
        load_bytes_per_second: LOAD_BYTES_PER_SECOND,
        compaction: args.keep.then_some(DRIFT_COMPACTION),
        ..WorldSettings::default()
    };
    WorldPlan {
        settings,
        nodes: args.nodes as usize,
        collections: args.collections as usize,
        segments: args.segments as usize,
        memory_fill: MEMORY_FILL,
        cpu_fill: CPU_FILL,
        hot_factor: HOT_FACTOR,
        ingest_rows_per_second: if args.keep { DRIFT_ROWS_PER_SECOND } else { 0.0 },
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(args.profile), args.seed)
    }
}

/// What goes wrong: faults by seed, round after round.
pub(super) struct Trouble {
    seed: u64,
    faults_in_round: usize,
    hostnames: Vec<String>,
    next_round: u64,
    round_ends: SimTime,
    coming: VecDeque<(SimTime, Fault)>,
}

impl Trouble {
    /// For this world.
    pub(super) fn new(args: &DemoArgs, faults: Faults, world: &World) -> Trouble {
        let faults_in_round = match faults {
            Faults::None => 0,
            Faults::Some => 2,
            Faults::Many => 6,
        };
        let nodes = world.nodes().values().filter(|node| node.resource_group.is_some());
        Trouble {
            seed: args.seed,
            faults_in_round,
            hostnames: nodes.map(|node| node.hostname.clone()).collect(),
            next_round: 0,
            round_ends: world.now(),
            coming: VecDeque::new(),
        }
    }

    /// Whether anything will ever go wrong.
    pub(super) fn is_any(&self) -> bool {
        self.faults_in_round > 0
    }

    /// Puts the next round on the world's calendar when its time has come, and says what has struck since the
    /// last time.
    pub(super) fn strike(&mut self, shared: &SharedWorld) -> Vec<String> {
        let mut world = shared.lock();
        let now = world.now();
        if self.is_any() && now >= self.round_ends {
            let settings = FaultSettings { count: self.faults_in_round, until: ROUND, loses_nodes: false };
            let seed = self.seed.wrapping_add(self.next_round);
            for (at, fault) in random_faults(seed, &self.hostnames, settings) {
                let fault = shortened(fault);
                world.schedule(now + at, fault.clone());
                self.coming.push_back((now + at, fault));
            }
            // Some of the last round's ends may lie behind this round's begins.
            self.coming.make_contiguous().sort_by_key(|(at, _)| *at);
            self.next_round += 1;
            self.round_ends = now + ROUND;
        }
        let mut struck = Vec::new();
        while let Some((_, fault)) = self.coming.pop_front_if(|(at, _)| *at <= now) {
            struck.push(sentence(&fault));
        }
        struck
    }
}

/// The same fault, over before a spectator loses patience.
fn shortened(mut fault: Fault) -> Fault {
    match &mut fault {
        Fault::Crash { back_after: Some(lasts), .. }
        | Fault::Stop { back_after: Some(lasts), .. }
        | Fault::RefuseLoads { lasts, .. }
        | Fault::Erroring { lasts, .. }
        | Fault::CoordinatorRestart { lasts }
        | Fault::ProxyAway { lasts }
        | Fault::DelayAnswers { by: lasts, .. }
        | Fault::StaleMetrics { lasts }
        | Fault::PartialPolls { lasts, .. }
        | Fault::HideCollections { lasts, .. } => *lasts = (*lasts).min(LONGEST_FAULT),
        _ => {}
    }
    fault
}

/// What a fault does, for people.
fn sentence(fault: &Fault) -> String {
    let seconds = |lasts: &Duration| format!("{} s", lasts.as_secs());
    match fault {
        Fault::Crash { hostname, .. } => format!("{hostname} crashes"),
        Fault::Stop { hostname, .. } => format!("{hostname} is told to stop, and is drained by Milvus"),
        Fault::Suspend { hostname } => format!("{hostname} is taken out of its resource group"),
        Fault::Slow { hostname, factor } if *factor > 1.0 => {
            format!("{hostname} becomes {factor:.0} times slower")
        }
        Fault::Slow { hostname, .. } => format!("{hostname} is as fast again as it was"),
        Fault::RefuseLoads { hostname, lasts } => format!("{hostname} loads nothing for {}", seconds(lasts)),
        Fault::Erroring { hostname, lasts } => {
            format!("{hostname} answers with errors for {}", seconds(lasts))
        }
        Fault::CoordinatorRestart { lasts } => format!("the coordinator restarts, for {}", seconds(lasts)),
        Fault::ProxyAway { lasts } => format!("the proxy cannot be reached for {}", seconds(lasts)),
        Fault::LoseAnswers { calls } => format!("the next {calls} answers to LoadBalance get lost"),
        Fault::DelayAnswers { calls, by } => {
            format!("the next {calls} answers to LoadBalance are {} late", seconds(by))
        }
        Fault::RefuseCalls { calls } => format!("the next {calls} LoadBalance calls are refused"),
        Fault::StaleMetrics { lasts } => {
            format!("GetMetrics repeats its last answer for {}", seconds(lasts))
        }
        Fault::PartialPolls { lasts, percent } => {
            format!("{percent} % of all reads fail for {}", seconds(lasts))
        }
        Fault::Release { collection, .. } => format!("{collection} is released"),
        Fault::Load { collection } => format!("{collection} is loaded again"),
        Fault::HotSpell { collection, factor, lasts } => {
            format!("{collection} is searched {factor:.0} times more often for {}", seconds(lasts))
        }
        Fault::HideCollections { lasts, .. } => {
            format!("some collections are hidden from us for {}", seconds(lasts))
        }
    }
}
