//! The daemon's settings in `demo`: those of a daemon in mode act, with a short pulse and wide limits, because
//! nobody's searches suffer and somebody is watching.

use std::path::Path;
use std::time::Duration;

use crate::admin::AdminSettings;
use crate::cli::DemoArgs;
use crate::config::{Config, HttpSettings, Mode, PollSettings};
use crate::execute::{BreakerSettings, ExecuteSettings, WaveSettings};
use crate::gate::{BlastRadiusSettings, GateSettings};
use crate::journal::{JournalSettings, RecordingSettings};
use crate::milvus::ConnectionSettings;
use crate::observe::{NodeMetricsSettings, ProxyMetricsSettings};
use crate::policy::{DimensionSettings, PolicySettings};
use crate::sim::SimServer;
use crate::units::{Bytes, Ratio};

/// Pause between looks at the cluster: somebody is waiting for the next one.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The daemon's configuration for this server, with its journal in that folder.
pub(super) fn configuration(args: &DemoArgs, server: &SimServer, folder: &Path) -> Config {
    let defaults = Config::default();
    let connection = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    let connections = [(defaults.connection.clone(), connection)].into();
    Config {
        mode: Mode::Act,
        connections,
        poll: PollSettings {
            interval: POLL_INTERVAL / args.speed,
            // This coordinator has nothing else to do.
            duty: 0.5,
            backoff_limit: 4 * POLL_INTERVAL / args.speed,
            ..PollSettings::default()
        },
        node_metrics: NodeMetricsSettings {
            targets: server.node_pages().clone(),
            ..NodeMetricsSettings::default()
        },
        proxy_metrics: ProxyMetricsSettings {
            targets: vec![format!("http://{}/metrics", server.http_address())],
            ..ProxyMetricsSettings::default()
        },
        policies: PolicySettings { memory: memory(), ..PolicySettings::default() },
        gate: GateSettings {
            // Without base load nothing lags behind: segments are seen where they are at once.
            settle_time: Duration::ZERO,
            // A spectator's day is short.
            cool_down: Duration::from_secs(2 * 60),
            cool_down_limit: Duration::from_secs(10 * 60),
            // So is his hour.
            blast_radius: BlastRadiusSettings {
                within: Duration::from_secs(2 * 60),
                ..BlastRadiusSettings::default()
            },
            ..GateSettings::default()
        },
        execute: execute(args.speed),
        journal: JournalSettings {
            path: folder.join("journal.db"),
            // The folder goes away with the demo.
            observations: RecordingSettings { enabled: false, ..RecordingSettings::default() },
            ..JournalSettings::default()
        },
        http: HttpSettings { listen: "127.0.0.1:0".to_owned() },
        admin: AdminSettings { listen: "127.0.0.1:0".to_owned(), ..AdminSettings::default() },
        ..defaults
    }
}

fn memory() -> DimensionSettings {
    DimensionSettings {
        turns: 2,
        // There is room everywhere; it is the unevenness that is to be seen.
        matters_above: Ratio(50_000),
        // What a node uses beyond its segments is reported up to six seconds late, which is long in a demo.
        base_load: false,
        ..DimensionSettings::default()
    }
}

fn execute(speed: u32) -> ExecuteSettings {
    ExecuteSettings {
        calls_per_minute: 240 * speed,
        calls_in_flight: 6,
        calls_in_flight_per_node: 3,
        // What the calls carry at most.
        moves_in_flight: 0,
        moves_in_flight_per_source: 0,
        moves_in_flight_per_destination: 0,
        moves_in_flight_per_collection: 0,
        segments_per_call: 8,
        bytes_per_call: Bytes(2 << 30),
        // No limit: an uneven start is more than a day's drift.
        bytes_per_second: Bytes::ZERO,
        moves_per_hour: 0,
        moves_per_day: 0,
        bytes_per_hour: Ratio::ZERO,
        bytes_per_day: Ratio::ZERO,
        verify_interval: Duration::from_millis(500) / speed,
        // Milvus' own limit for a call is 120 s; nobody watches longer.
        settle_timeout: Duration::from_secs(2 * 60),
        stop_timeout: Duration::from_secs(5),
        // From one move on, as after every start, but it may grow beyond what a call carries.
        waves: WaveSettings::default(),
        // Trouble is part of the show, and five minutes without a move are not.
        breaker: BreakerSettings {
            pause: Duration::from_secs(5),
            longest_pause: Duration::from_secs(30),
            ..BreakerSettings::default()
        },
        ..ExecuteSettings::default()
    }
}
