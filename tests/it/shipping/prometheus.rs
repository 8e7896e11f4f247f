//! A real Prometheus scrapes a running daemon on a simulated cluster; every query of the dashboards and every rule is
//! asked there, and returns data.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::app::Daemon;
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::config::{Config, HttpSettings, Mode, PollSettings};
use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::gate::{BlastRadiusSettings, GateSettings};
use milvus_rebalancer::journal::JournalSettings;
use milvus_rebalancer::milvus::ConnectionSettings;
use milvus_rebalancer::observe::{NodeMetricsSettings, ProxyMetricsSettings};
use milvus_rebalancer::policy::{DimensionSettings, PolicySettings};
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use milvus_rebalancer::units::{Bytes, Ratio};
use reqwest::Url;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::dashboards::{FILES, queries};
use super::{read, root};
use crate::system;

/// So fast that waves are judged within seconds.
const SPEED: u32 = 20;

/// Everything is there after a dozen scrapes and a few waves; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(150);

/// Queries that have no data on a daemon that is well.
const EMPTY_WHEN_WELL: [(&str, &str); 2] = [
    ("milvus_rebalancer_doubts", "nothing is uncertain"),
    ("milvus_rebalancer_moves_dropped_total", "nothing was outdated when its turn came"),
];

/// What the daemon is told: a short pulse, and no limit that a minute would reach.
fn configuration(server: &SimServer, folder: &Path) -> Config {
    let defaults = Config::default();
    let connection = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    let memory = DimensionSettings {
        turns: 1,
        matters_above: Ratio(10_000),
        base_load: false,
        ..DimensionSettings::default()
    };
    Config {
        mode: Mode::Act,
        connections: [(defaults.connection.clone(), connection)].into(),
        poll: PollSettings { interval: Duration::from_millis(250), duty: 0.5, ..PollSettings::default() },
        node_metrics: NodeMetricsSettings {
            targets: server.node_pages().clone(),
            ..NodeMetricsSettings::default()
        },
        proxy_metrics: ProxyMetricsSettings {
            targets: vec![format!("http://{}/metrics", server.http_address())],
            ..ProxyMetricsSettings::default()
        },
        policies: PolicySettings { memory, ..PolicySettings::default() },
        gate: GateSettings {
            settle_time: Duration::ZERO,
            blast_radius: BlastRadiusSettings {
                collection_segments: Ratio::ZERO,
                collection_bytes: Ratio::ZERO,
                node_bytes: Bytes::ZERO,
                ..BlastRadiusSettings::default()
            },
            ..GateSettings::default()
        },
        execute: ExecuteSettings {
            calls_per_minute: 600,
            bytes_per_hour: Ratio::ZERO,
            bytes_per_day: Ratio::ZERO,
            ..ExecuteSettings::default()
        },
        journal: JournalSettings { path: folder.join("it.db"), ..JournalSettings::default() },
        http: HttpSettings { listen: "127.0.0.1:0".to_owned() },
        ..defaults
    }
}

/// A Prometheus of its own. Dropping it kills it.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// Reads our own files, with this target and a short pulse.
    fn start(folder: &Path, target: &str) -> Prometheus {
        let own = read("deploy/prometheus/prometheus.yml");
        let quick = own.replace("127.0.0.1:9095", target).replace("_interval: 30s", "_interval: 1s");
        assert_ne!(own, quick);
        for file in ["recording.yml", "alerts.yml"] {
            fs::copy(root().join("deploy/prometheus").join(file), folder.join(file)).unwrap();
        }
        fs::write(folder.join("prometheus.yml"), quick).unwrap();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = fs::File::create(folder.join("prometheus.log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed");
        Prometheus { child, address }
    }

    /// What it answers on this path; an error as text while it is not up, and when it does not understand.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = Url::parse_with_params(&format!("http://{}{path}", self.address), parameters).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(url).send().await.map_err(|error| error.to_string())?;
        let text = response.text().await.map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&text).map_err(|_| text)?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"].clone()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// How many series a query has.
    async fn series(&self, query: &str) -> Result<usize, String> {
        let data = self.ask("/api/v1/query", &[("query", query)]).await?;
        Ok(data["result"].as_array().map_or(0, Vec::len))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All queries of the dashboards, as Grafana would send them.
fn dashboard_queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for file in FILES {
        for (title, query) in queries(file) {
            let query =
                query.replace("$job", ".*").replace("$instance", ".*").replace("$__rate_interval", "15s");
            all.push((format!("{file}: {title}"), query));
        }
    }
    all
}

/// Asks until all have data, or nothing new comes.
async fn without_data(prometheus: &Prometheus, queries: Vec<(String, String)>) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut waiting = queries;
    let mut missing = Vec::new();
    while !waiting.is_empty() && tokio::time::Instant::now() < deadline {
        let mut still = Vec::new();
        missing.clear();
        for (name, query) in waiting {
            let found = prometheus.series(&query).await;
            if found != Ok(0) && found.is_ok() {
                continue;
            }
            missing.push(format!("{name}: {query}: {found:?}"));
            still.push((name, query));
        }
        waiting = still;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if waiting.is_empty() { Vec::new() } else { missing }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_has_data_on_a_running_daemon() {
    if !system::runs("prometheus (package prometheus)") {
        return;
    }
    // Our own HTTP client needs one, whoever is first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let plan = WorldPlan {
        nodes: 4,
        collections: 2,
        segments: 40,
        memory_fill: 0.2,
        unequal_machines: false,
        placement: Placement::OneNode,
        ..WorldPlan::new(Profile::of(Line::V2_4), 1)
    };
    let world = SharedWorld::with_speed(build(&plan), SPEED);
    let server = SimServer::start(world).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    // Prometheus has the time of this machine, so the daemon has it, too.
    let daemon =
        Daemon::assemble(configuration(&server, folder.path()), Arc::new(Clock::system()), stop.clone());
    let daemon = daemon.await.unwrap();
    let target = daemon.metrics_address().to_string();
    let running = tokio::spawn(daemon.run());
    let prometheus = Prometheus::start(folder.path(), &target);

    let mut all = dashboard_queries();
    assert!(all.len() > 40, "{all:?}");
    // Recorded series by their names, and every metric that an alert asks for; the alerts themselves are silent here.
    let recording = read("deploy/prometheus/recording.yml");
    for name in recording.lines().filter_map(|line| line.trim().strip_prefix("- record: ")) {
        all.push(("recording.yml".to_owned(), name.to_owned()));
    }
    let alerts = read("deploy/prometheus/alerts.yml");
    for name in super::names_in(&alerts) {
        all.push(("alerts.yml".to_owned(), name.to_owned()));
    }
    all.retain(|(_, query)| !EMPTY_WHEN_WELL.iter().any(|(metric, _)| query.contains(metric)));
    let missing = without_data(&prometheus, all).await;
    let log = fs::read_to_string(folder.path().join("prometheus.log")).unwrap_or_default();
    assert!(missing.is_empty(), "without data: {missing:#?}\n{log}");

    // Exceptions are exceptions: those metrics have no series at all.
    for (metric, why) in EMPTY_WHEN_WELL {
        assert_eq!(prometheus.series(metric).await, Ok(0), "{metric}: no exception is needed, though {why}");
    }
    // Every rule is evaluated without an error, and nothing is wrong with this daemon.
    let rules = prometheus.ask("/api/v1/rules", &[]).await.unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 15, "{rules:?}");
    for rule in rules {
        assert!(rule["lastError"].as_str().unwrap_or_default().is_empty(), "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}
