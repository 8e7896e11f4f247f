//! The same with a real Prometheus, Debian's package, that scrapes a page of ours.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use milvus_rebalancer::model::{ModelState, fold};
use milvus_rebalancer::observe::prometheus::{
    Prometheus, PrometheusSettings, QuerySettings, ServerReport, ServerSignal,
};

use super::sample;
use crate::cluster::{add_collection, cluster};
use crate::system::runs;

/// A bound on hangs: Prometheus starts within a second, and scrapes every second.
const PATIENCE: Duration = Duration::from_secs(120);

/// What nodes' exporters could say.
const PAGE: &str = "\
# TYPE quota_cores gauge
quota_cores{node=\"10.0.0.1:9100\"} 0.3
quota_cores{node=\"10.0.0.2:9100\"} 4
quota_cores{node=\"10.0.0.3:9100\"} NaN
# TYPE heat gauge
heat{node=\"10.0.0.1:9100\",collection_id=\"7\",part=\"a\"} 40
heat{node=\"10.0.0.1:9100\",collection_id=\"7\",part=\"b\"} 2
";

/// A Prometheus of its own; ended with the test.
struct Real {
    process: Child,
    url: String,
}

impl Drop for Real {
    fn drop(&mut self) {
        // Already ended is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Real {
    fn start(folder: &Path, page: &str) -> Real {
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs: [{{job_name: test, static_configs: [{{targets: ['{page}']}}]}}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        // It cannot be told to choose a port and say which; this one was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the Debian package prometheus is installed");
        Real { process, url: format!("http://{address}") }
    }
}

fn query(text: &str, signal: ServerSignal) -> QuerySettings {
    let (query, node_label) = (text.to_owned(), "node".to_owned());
    QuerySettings { query, signal, node_label, ..QuerySettings::default() }
}

/// Asks until the answer is as wanted; the last one and its gaps, in words.
async fn ask_until(
    prometheus: &Prometheus,
    wanted: impl Fn(&ServerReport, &[String]) -> bool,
) -> (ServerReport, Vec<String>) {
    let asking = async {
        loop {
            let (report, gaps) = prometheus.read(milvus_rebalancer::clock::Clock::system().read().wall).await;
            let gaps: Vec<String> =
                gaps.into_iter().map(|gap| format!("{}: {}", gap.subject, gap.cause)).collect();
            if wanted(&report, &gaps) {
                return (report, gaps);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the answer that was wanted")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_is_read_and_its_errors_are_told() {
    if !runs("the Debian package prometheus") {
        return;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let page = listener.local_addr().unwrap().to_string();
    let is_up = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&is_up);
    let handler = move || async move {
        match switch.load(Ordering::Relaxed) {
            true => PAGE.into_response(),
            false => axum::http::StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    };
    let routes = axum::Router::new().route("/metrics", axum::routing::get(handler));
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let folder = tempfile::tempdir().unwrap();
    let real = Real::start(folder.path(), &page);

    let queries = [
        ("cores", query("quota_cores", ServerSignal::CpuCapacity)),
        ("heat", query("sum by (node, collection_id) (heat)", ServerSignal::Points)),
        ("nothing", query("no_such_metric", ServerSignal::Points)),
        ("wrong", query("sum(", ServerSignal::Points)),
        ("number", query("42", ServerSignal::Points)),
    ];
    let settings = PrometheusSettings {
        url: Some(real.url.clone()),
        queries: queries.into_iter().map(|(name, query)| (name.to_owned(), query)).collect(),
        ..PrometheusSettings::default()
    };
    let prometheus = Prometheus::new(&settings).unwrap().unwrap();
    let (report, gaps) = ask_until(&prometheus, |report, _| report.readings.len() == 2).await;
    let cores = [sample("10.0.0.1:9100", None, 300), sample("10.0.0.2:9100", None, 4_000)];
    assert_eq!(report.readings["cores"].samples, cores);
    assert_eq!(report.readings["heat"].samples, [sample("10.0.0.1:9100", Some("7"), 42)]);
    for (gap, wanted) in gaps.iter().zip([
        "the Prometheus query cores: some of the answer is not used: values that are no amounts",
        "the Prometheus query nothing: the answer has no series",
        "the Prometheus query number: the query answers with a scalar",
        "the Prometheus query wrong: the server refuses: bad_data: ",
    ]) {
        assert!(gap.starts_with(wanted), "{gaps:#?}");
    }
    assert_eq!(gaps.len(), 4, "{gaps:#?}");

    let mut observation = cluster(3);
    add_collection(&mut observation, 7, &[&[(1, 2), (2, 2), (3, 2)]]);
    observation.prometheus = report;
    let snapshot = fold(ModelState::default(), &observation, &[]).1;
    let heat: Vec<u64> = snapshot.points["heat"].copy_load.iter().map(|load| load.0).collect();
    assert_eq!(heat, [21, 21, 0, 0, 0, 0]);

    // Values of a page that is gone are stale at once, not five minutes later.
    is_up.store(false, Ordering::Relaxed);
    let (_, gaps) = ask_until(&prometheus, |report, _| report.readings.is_empty()).await;
    assert!(gaps[0].starts_with("the Prometheus query cores: the answer has no series"), "{gaps:#?}");
    drop(real);
    let (_, gaps) = ask_until(&prometheus, |_, gaps| gaps.iter().all(|gap| gap.contains("no answer"))).await;
    assert_eq!(gaps.len(), 5);
    serving.abort();
}
