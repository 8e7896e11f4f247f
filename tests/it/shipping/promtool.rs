//! Prometheus' own checks of our rules, its unit tests of every alert, and that every alert has a runbook.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use milvus_rebalancer::metrics::{Metrics, TurnMetrics};

use super::{metric_names, names_in, path, read, run};
use crate::system;

const FILES: [&str; 2] = ["deploy/prometheus/recording.yml", "deploy/prometheus/alerts.yml"];
const TESTS: &str = "deploy/prometheus/alerts_test.yml";

const NEEDS: &str = "promtool (package prometheus)";

fn promtool(arguments: &[&str]) -> String {
    run(Command::new("promtool").args(arguments).current_dir(path("deploy/prometheus")))
}

#[test]
fn prometheus_understands_configuration_and_rules() {
    if !system::runs(NEEDS) {
        return;
    }
    assert!(promtool(&["check", "config", "prometheus.yml"]).contains("SUCCESS"));
    for file in FILES {
        let file = file.rsplit('/').next().unwrap();
        // Rules that say the same twice are a mistake.
        assert!(
            promtool(&["check", "rules", "--lint=all", "--lint-fatal", file]).contains("SUCCESS"),
            "{file}"
        );
    }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    if !system::runs(NEEDS) {
        return;
    }
    assert!(promtool(&["test", "rules", "alerts_test.yml"]).contains("SUCCESS"));
}

#[test]
fn prometheus_finds_nothing_to_mend_in_our_metrics() {
    if !system::runs(NEEDS) {
        return;
    }
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    metrics.observe_turn(&TurnMetrics { breaker: "closed", ..TurnMetrics::default() });
    let (page, _) = metrics.exposition().unwrap();
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&page).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.is_empty(), "{text}");
}

/// Names after `- alert: ` or `alertname: `.
fn alerts(text: &str, key: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(key));
    names.map(|name| name.trim().to_owned()).collect()
}

#[test]
fn every_alert_has_a_test_and_a_runbook_and_nothing_else_has() {
    let rules = read(FILES[1]);
    let alerts_there = alerts(&rules, "alert:");
    assert!(alerts_there.len() >= 10);
    assert_eq!(alerts(&read(TESTS), "alertname:"), alerts_there, "tests of alerts");
    let runbook = read("docs/runbook.md");
    let headings: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|heading| heading.starts_with("MilvusRebalancer"))
        .map(str::to_owned)
        .collect();
    assert_eq!(headings, alerts_there, "headings of docs/runbook.md");
    for alert in &alerts_there {
        let (_, entry) = rules.split_once(&format!("- alert: {alert}\n")).unwrap();
        let entry = entry.split("- alert:").next().unwrap();
        let link = format!(
            "runbook_url: file:///usr/share/doc/milvus-rebalancer/runbook.md#{}\n",
            alert.to_lowercase()
        );
        for part in ["severity: ", "summary: ", "description: ", link.as_str()] {
            assert!(entry.contains(part), "{alert} has no {part:?}");
        }
    }
}

#[test]
fn rules_name_metrics_and_codes_that_there_are() {
    let known = metric_names();
    let reasons = read("src/reason.rs") + &read("src/model/doubt.rs");
    for file in FILES {
        let text = read(file);
        for name in names_in(&text).into_iter().filter(|name| !name.contains(':')) {
            assert!(known.iter().any(|known| known == name), "{file}: there is no {name}");
        }
        for label in ["reason", "doubt"] {
            for matcher in [format!("{label}=~\""), format!("{label}=\"")] {
                for codes in text.split(&matcher).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                    for code in codes.split('|') {
                        assert!(
                            reasons.contains(&format!("\"{code}\"")),
                            "{file}: there is no {label} {code}"
                        );
                    }
                }
            }
        }
    }
}
