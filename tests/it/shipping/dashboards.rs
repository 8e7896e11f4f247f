//! The dashboards as Grafana reads them: sources that can be chosen, units, descriptions, and metrics that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{metric_names, names_in, path, read};

/// The dashboards.
pub const FILES: [&str; 2] = ["deploy/grafana/overview.json", "deploy/grafana/forensic.json"];

/// Every query of a dashboard, with the title of its panel.
pub fn queries(file: &str) -> Vec<(String, String)> {
    let board: Value = serde_json::from_str(&read(file)).unwrap();
    let mut queries = Vec::new();
    for panel in panels(&board) {
        for target in panel["targets"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    queries
}

/// Everything that shows something.
fn panels(board: &Value) -> Vec<&Value> {
    board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

#[test]
fn every_panel_has_a_chosen_source_a_unit_and_an_explanation() {
    let mut uids = BTreeSet::new();
    for file in FILES {
        let board: Value = serde_json::from_str(&read(file)).unwrap();
        assert!(uids.insert(board["uid"].to_string()), "{file}: its uid is another's, too");
        let variables = board["templating"]["list"].as_array().unwrap();
        let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["datasource", "job", "instance"], "{file}");
        assert_eq!(variables[0]["type"], "datasource");
        assert!(panels(&board).len() > 10, "{file}");
        let mut ids = BTreeSet::new();
        let mut titles = BTreeSet::new();
        for panel in panels(&board) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                titles.insert(title) && ids.insert(panel["id"].as_u64()),
                "{file}: {title} is there twice"
            );
            let explanation = panel["description"].as_str().unwrap_or_default();
            assert!(explanation.len() > 10, "{file}: {title} explains nothing");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            assert!(
                ["none", "short", "s", "bytes", "Bps", "percentunit"].contains(&unit),
                "{file}: {title}: {unit:?}"
            );
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{file}: {title}");
            for target in panel["targets"].as_array().unwrap() {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{file}: {title}");
                let expression = target["expr"].as_str().unwrap();
                unit_fits(file, title, unit, expression);
                let selectors = expression.matches("{job=~\"$job\", instance=~\"$instance\"").count();
                let metrics = names_in(expression).len() + expression.matches("process_").count();
                assert_eq!(
                    selectors, metrics,
                    "{file}: {title}: the chosen job and instance are not asked: {expression}"
                );
            }
        }
    }
}

/// Seconds are shown as seconds and bytes as bytes.
fn unit_fits(file: &str, title: &str, unit: &str, expression: &str) {
    let is_ratio_of_two = expression.contains(") / ") || expression.contains("} / ");
    let expected: &[&str] = match expression {
        _ if is_ratio_of_two || expression.contains("net_zero_") && expression.contains("_ratio") => {
            &["percentunit"]
        }
        _ if expression.starts_with("rate(") && expression.contains("_bytes_total") => &["Bps"],
        _ if expression.contains("_bytes") => &["bytes"],
        _ if expression.contains("_seconds") && !expression.contains("cpu_seconds") => &["s"],
        _ => return,
    };
    assert!(expected.contains(&unit), "{file}: {title}: {unit:?} for {expression}");
}

#[test]
fn every_metric_in_them_exists() {
    let known = metric_names();
    for file in FILES {
        for (title, expression) in queries(file) {
            for name in names_in(&expression) {
                assert!(known.iter().any(|known| known == name), "{file}: {title}: there is no {name}");
            }
        }
    }
}

#[test]
fn grafana_finds_them_where_its_provisioning_says() {
    let provider = read("deploy/grafana/provisioning/dashboards.yml");
    assert!(provider.contains("type: file") && provider.contains("apiVersion: 1"));
    assert!(path("deploy/grafana/provisioning/datasources.yml").exists());
}
