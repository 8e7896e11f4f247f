//! What is delivered beside the binary: rules and dashboards for Prometheus and Grafana, images, manifests, packages,
//! and the pages of documentation that are made from the code.

mod book;
mod configuration_page;
mod dashboards;
mod manifests;
mod metrics_page;
mod prometheus;
mod promtool;

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn path(name: &str) -> PathBuf {
    root().join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Set to 1, pages that are made from the code are written instead of compared.
const WRITE: &str = "MILVUS_REBALANCER_WRITE_DOCS";

/// Compares a page with what the code says, or writes it. Where CI runs: whoever adds a metric finds out at the latest
/// before it is merged.
fn is_made_from_code(name: &str, made: &str) {
    if !crate::system::runs("to be asked for") {
        return;
    }
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        std::fs::write(path(name), made).unwrap();
    }
    let page = std::fs::read_to_string(path(name)).unwrap_or_default();
    let differs = page.lines().zip(made.lines()).find(|(has, should)| has != should);
    assert!(
        page == made,
        "{name} is not what the code says ({differs:?}): {WRITE}=1 MILVUS_REBALANCER_SYSTEM_TESTS=1 \
         cargo test --test it shipping"
    );
}

/// Runs a tool that the system tests have, and gives its output; it must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// All metrics that a scrape can show: our own, with those that a histogram adds, and those of the process.
fn metric_names() -> Vec<String> {
    let registry = ::prometheus::Registry::new();
    let metrics = milvus_rebalancer::metrics::Metrics::register(&registry).unwrap();
    let mut names = Vec::new();
    for metric in metrics.catalogue() {
        names.push(metric.name.clone());
        if metric.kind == "histogram" {
            names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{}{part}", metric.name)));
        }
    }
    names
}

/// The names of metrics of ours in a text.
fn names_in(text: &str) -> Vec<&str> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == ':';
    text.split(|character| !is_part(character))
        .filter(|word| word.starts_with("milvus_rebalancer_"))
        .collect()
}
