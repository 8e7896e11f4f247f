//! What a seed stands for: a cluster that needs hundreds of moves, what goes wrong in it, and which limits the
//! daemon is to keep.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::cluster::SimTime;
use milvus_rebalancer::sim::faults::Fault;
use milvus_rebalancer::sim::invariants::InvariantSettings;
use milvus_rebalancer::sim::{Line, Profile, SimServer, WorldPlan, WorldSettings};
use milvus_rebalancer::units::{Bytes, Ratio};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The stream of numbers that scenes are made from; the simulated cluster has others of the same seed.
const STREAM: u64 = 2_000;

/// For how long answers go wrong now and then; longer than any scene is played.
const TROUBLE: Duration = Duration::from_secs(120);

/// Pause between answers that go wrong, on average.
const TROUBLE_PAUSE: Duration = Duration::from_secs(6);

/// How long a moved segment stays: longer than any scene is played.
pub const COOL_DOWN: Duration = Duration::from_secs(30 * 60);

/// How long the daemon waits for an answer, and for a segment that is still on its source; far longer than any
/// move here takes, so that what was given up is over at the server, too.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes in one call: two ordinary segments fit, three do not.
pub const BYTES_PER_CALL: Bytes = Bytes(600 << 20);

/// Bytes that a node loads in a second: most moves take half a second, so that some are always under way and none is
/// for longer than the daemon waits.
const LOAD_BYTES_PER_SECOND: u64 = 4 << 30;

/// A stream of choices.
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Chance {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(STREAM);
        Chance(generator)
    }

    /// Another stream of the same seed, for choices that the scene itself is not made of.
    pub fn for_play(seed: u64) -> Chance {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(STREAM + 1);
        Chance(generator)
    }

    /// A stream of its own for somebody who draws at his own pace.
    pub fn branch(&mut self) -> Chance {
        Chance(ChaCha8Rng::seed_from_u64(self.0.random()))
    }

    /// One of them.
    pub fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.0.random_range(0..list.len())]
    }

    /// A whole number, both ends included.
    pub fn count(&mut self, low: u64, high: u64) -> u64 {
        self.0.random_range(low..=high)
    }

    /// Any time up to this one.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.0.random_range(0.0..1.0))
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability)
    }
}

/// The limits that are to be kept; 0 is no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Calls in any minute.
    pub calls_per_minute: u32,
    /// Calls whose moves have not ended.
    pub calls_in_flight: u32,
    /// Segments in one call.
    pub segments_per_call: u32,
    /// Segments that are on their way.
    pub moves_in_flight: u32,
    /// Segments in an hour.
    pub moves_per_hour: u32,
    /// Share of the cluster's bytes in an hour.
    pub bytes_per_hour: Ratio,
    /// Share of the cluster's bytes in a day.
    pub bytes_per_day: Ratio,
    /// Whether waves are on.
    pub waves: bool,
}

/// Everything that a seed stands for.
pub struct Scene {
    /// The cluster.
    pub plan: WorldPlan,
    /// What goes wrong in it.
    pub faults: Vec<(SimTime, Fault)>,
    /// What the daemon must keep.
    pub limits: Limits,
}

impl Scene {
    /// The scene of a seed, in a world that begins at this time.
    pub fn of(seed: u64, begins_at: Timestamp) -> Scene {
        let mut chance = Chance::new(seed);
        let lines = [Line::V2_3, Line::V2_4, Line::V2_5, Line::V2_6, Line::V3_0];
        let profile = match chance.count(0, 6) {
            0 => Profile::early_2_5(),
            1 => Profile::early_2_6(),
            _ => Profile::of(*chance.of(&lines)),
        };
        let plan = WorldPlan {
            settings: WorldSettings {
                begins_at,
                load_bytes_per_second: LOAD_BYTES_PER_SECOND,
                ..WorldSettings::default()
            },
            nodes: 6,
            collections: 4,
            segments: 300,
            // One node holds it all, and it must fit there.
            memory_fill: 0.06,
            placement: Placement::OneNode,
            ..WorldPlan::new(profile, seed)
        };
        Scene { plan, faults: faults(&mut chance), limits: limits(seed, &mut chance) }
    }

    /// What must be kept in the simulated world's own record. What depends on bytes is
    /// judged by what the daemon knew of them, and calls a minute with some allowance for their way.
    pub fn invariants(&self) -> InvariantSettings {
        let limit = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        InvariantSettings {
            safety_percent: 90,
            calls_per_minute: 0,
            calls_in_flight: 0,
            segments_per_call: limit(self.limits.segments_per_call),
            bytes_per_call: Bytes::ZERO,
            bytes_per_day: Bytes::ZERO,
            cool_down: COOL_DOWN,
        }
    }

    /// The daemon's configuration file.
    pub fn configuration(&self, milvus: SocketAddr, server: &SimServer, journal: &Path) -> String {
        let Limits { calls_per_minute, calls_in_flight, segments_per_call, moves_in_flight, .. } =
            &self.limits;
        let Limits { moves_per_hour, bytes_per_hour, bytes_per_day, waves, .. } = &self.limits;
        let bytes_per_hour = bytes_per_hour.decimal();
        let bytes_per_call = BYTES_PER_CALL.0;
        let bytes_per_day = bytes_per_day.decimal();
        let settle = SETTLE_TIMEOUT.as_secs();
        let cool_down = COOL_DOWN.as_secs();
        let journal = journal.display();
        let mut text = format!(
            r#"
[connections.default]
endpoint = "http://{milvus}"
connect_timeout = "1s"
request_timeout = "3s"
[policies.memory]
enter = 1.1
leave = 1.02
turns = 1
matters_above = 0.0
base_load = false
[poll]
interval = "250ms"
duty = 1.0
timeout = "5s"
backoff_limit = "500ms"
[gate]
cool_down = "{cool_down}s"
settle_time = "0s"
setback_rest = "0s"
[gate.warm_up]
time = "0s"
[gate.blast_radius]
collection_segments = 0.0
collection_bytes = 0.0
node_bytes = 0
[execute]
calls_per_minute = {calls_per_minute}
calls_in_flight = {calls_in_flight}
calls_in_flight_per_node = 0
segments_per_call = {segments_per_call}
bytes_per_call = {bytes_per_call}
bytes_per_second = 0
moves_in_flight = {moves_in_flight}
moves_in_flight_per_source = 0
moves_in_flight_per_destination = 0
moves_in_flight_per_collection = 0
moves_per_hour = {moves_per_hour}
moves_per_day = 0
bytes_per_hour = {bytes_per_hour}
bytes_per_day = {bytes_per_day}
call_timeout = "{settle}s"
verify_interval = "100ms"
verify_timeout = "{settle}s"
settle_timeout = "{settle}s"
stop_timeout = "5s"
[execute.breaker]
pause = "2s"
longest_pause = "4s"
[execute.waves]
enabled = {waves}
[journal]
path = "{journal}"
[http]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[node_metrics.targets]
"#
        );
        for (node, page) in server.node_pages() {
            writeln!(text, "\"{node}\" = \"{page}\"").expect("a text grows");
        }
        text
    }
}

/// In each scene another limit is the tight one.
fn limits(seed: u64, chance: &mut Chance) -> Limits {
    let wide = Limits {
        calls_per_minute: 0,
        calls_in_flight: *chance.of(&[3, 4, 6]),
        segments_per_call: *chance.of(&[1, 2, 3]),
        moves_in_flight: 0,
        moves_per_hour: 0,
        bytes_per_hour: Ratio::ZERO,
        bytes_per_day: Ratio::ZERO,
        waves: chance.happens(0.3),
    };
    match seed % 7 {
        0 => Limits { calls_per_minute: 12, ..wide },
        1 => Limits { calls_in_flight: 2, waves: true, ..wide },
        2 => Limits { bytes_per_day: Ratio(50_000), ..wide },
        3 => Limits { moves_per_hour: 15, ..wide },
        4 => Limits { moves_in_flight: 3, ..wide },
        5 => Limits { bytes_per_hour: Ratio(40_000), ..wide },
        _ => wide,
    }
}

/// Answers to calls that get lost, come late, or are refusals.
fn faults(chance: &mut Chance) -> Vec<(SimTime, Fault)> {
    let mut faults = Vec::new();
    let mut at = Duration::ZERO;
    while at < TROUBLE {
        at += chance.up_to(2 * TROUBLE_PAUSE);
        let fault = match chance.count(0, 3) {
            0 => Fault::LoseAnswers { calls: 1 },
            1 => Fault::DelayAnswers { calls: 1, by: chance.up_to(Duration::from_secs(2)) },
            2 => Fault::CoordinatorRestart { lasts: Duration::from_secs(6) },
            _ => Fault::RefuseCalls { calls: 1 },
        };
        faults.push((at, fault));
    }
    faults
}
