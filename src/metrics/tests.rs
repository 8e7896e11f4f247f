//! The metrics as a scrape sees them.

use super::*;

fn metrics() -> Metrics {
    Metrics::register(&Registry::new()).unwrap()
}

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.exposition().unwrap().0).unwrap()
}

fn pressure(node: i64, pressure: Ratio) -> NodePressure {
    NodePressure { dimension: "memory".to_owned(), node: NodeId(node), pressure }
}

#[test]
fn a_node_that_went_away_takes_its_series_along() {
    let metrics = metrics();
    let pressures = vec![pressure(7, Ratio(1_200_000)), pressure(8, Ratio::MAX)];
    metrics.observe_turn(&TurnMetrics { nodes: 2, pressures, ..TurnMetrics::default() });
    let before = text(&metrics);
    assert!(
        before.contains(r#"milvus_rebalancer_node_pressure_ratio{dimension="memory",node="7"} 1.2"#),
        "{before}"
    );
    assert!(before.contains(r#"node="8"} inf"#), "{before}");

    metrics.observe_turn(&TurnMetrics {
        nodes: 1,
        pressures: vec![pressure(7, Ratio::ONE)],
        ..TurnMetrics::default()
    });
    let after = text(&metrics);
    assert!(after.contains(r#"node="7"} 1"#) && !after.contains(r#"node="8""#), "{after}");
    assert!(after.contains("milvus_rebalancer_nodes 1"), "{after}");
}

#[test]
fn exactly_one_limit_is_in_force() {
    let metrics = metrics();
    for limited_by in [None, Some("call_rate"), Some("daily_bytes"), None] {
        metrics.observe_turn(&TurnMetrics { limited_by, ..TurnMetrics::default() });
        let text = text(&metrics);
        let in_force: Vec<&str> =
            text.lines().filter(|line| line.starts_with("milvus_rebalancer_limited_by{")).collect();
        let expected =
            format!("milvus_rebalancer_limited_by{{reason=\"{}\"}} 1", limited_by.unwrap_or("nothing"));
        assert_eq!(in_force, [expected]);
    }
}

#[test]
fn every_limit_is_shown_with_what_is_used_of_it() {
    let metrics = metrics();
    let limits = vec![
        LimitUse { name: "calls_in_flight", used: 1, limit: 2 },
        LimitUse { name: "bytes_per_day", used: u64::MAX, limit: 0 },
    ];
    let settle_patience = Duration::from_secs(180);
    metrics.observe_turn(&TurnMetrics { limits, settle_patience, ..TurnMetrics::default() });
    metrics.move_dropped(&Reason::SegmentGone);
    let text = text(&metrics);
    for line in [
        r#"limit_used{limit="calls_in_flight"} 1"#,
        r#"limit{limit="calls_in_flight"} 2"#,
        r#"limit_used_bytes{limit="bytes_per_day"} 9223372036854776000"#,
        r#"limit_bytes{limit="bytes_per_day"} 0"#,
        "settle_patience_seconds 180",
        r#"moves_dropped_total{reason="segment_gone"} 1"#,
    ] {
        assert!(text.contains(&format!("milvus_rebalancer_{line}")), "{line}: {text}");
    }
}

#[test]
fn refusals_are_counted_over_turns_and_shown_for_the_current_one() {
    let metrics = metrics();
    let refusing = TurnMetrics { refusals: BTreeMap::from([("pinned", 2)]), ..TurnMetrics::default() };
    metrics.observe_turn(&refusing);
    metrics.observe_turn(&refusing);
    assert!(text(&metrics).contains(r#"milvus_rebalancer_turn_refusals{reason="pinned"} 2"#));
    metrics.observe_turn(&TurnMetrics::default());
    let text = text(&metrics);
    assert!(text.contains(r#"milvus_rebalancer_refusals_total{reason="pinned"} 4"#), "{text}");
    assert!(!text.contains(r#"milvus_rebalancer_turn_refusals{reason="pinned"}"#), "{text}");
}

#[test]
fn only_landed_moves_count_as_moved_bytes() {
    let metrics = metrics();
    metrics.move_ended(&OperationState::Landed, Origin::Daemon, Bytes(100));
    metrics.move_ended(&OperationState::Expired, Origin::Manual, Bytes(40));
    let text = text(&metrics);
    assert!(text.contains("milvus_rebalancer_moved_bytes_total 100"), "{text}");
    assert!(text.contains(r#"milvus_rebalancer_moves_total{origin="manual",result="expired"} 1"#), "{text}");
}

#[test]
fn turns_modes_and_calls_have_their_labels() {
    let metrics = metrics();
    metrics.set_mode(Mode::Act);
    metrics.turn_succeeded(Duration::from_millis(20), Timestamp::from_second(1_700_000_000).unwrap());
    metrics.turn_failed(Duration::from_secs(3));
    metrics.observation_took(Duration::from_millis(5));
    metrics.call_ended(CallResult::Unknown);
    let text = text(&metrics);
    for line in [
        r#"milvus_rebalancer_mode{mode="act"} 1"#,
        r#"milvus_rebalancer_mode{mode="advise"} 0"#,
        r#"milvus_rebalancer_turns_total{result="ok"} 1"#,
        r#"milvus_rebalancer_turns_total{result="failed"} 1"#,
        "milvus_rebalancer_turn_duration_seconds_count 2",
        "milvus_rebalancer_observation_duration_seconds_count 1",
        "milvus_rebalancer_last_successful_turn_timestamp_seconds 1700000000",
        r#"milvus_rebalancer_load_balance_calls_total{result="unknown"} 1"#,
        concat!(
            "milvus_rebalancer_build_info{commit=\"unknown\",version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        ),
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
    }
    if cfg!(target_os = "linux") {
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }
}

#[test]
fn a_registry_takes_them_once() {
    let registry = Registry::new();
    assert!(Metrics::register(&registry).is_ok());
    assert!(Metrics::register(&registry).is_err());
}

#[test]
fn the_net_zero_ledger_is_shown_with_its_moves_and_the_time_out_of_band() {
    use crate::model::{BandTime, NetZeroShare};
    let foreign = NetZeroShare {
        moves: 4,
        bytes: Bytes(400),
        undone_moves: 2,
        undone: Bytes(200),
        cancelled: Bytes(300),
    };
    let band = BandTime { out_of_band: Duration::from_secs(90), observed: Duration::from_secs(3_600) };
    let metrics = metrics();
    metrics.observe_turn(&TurnMetrics {
        net_zero: NetZero { foreign, all: foreign, band, ..NetZero::default() },
        ..TurnMetrics::default()
    });
    let text = text(&metrics);
    for line in [
        r#"milvus_rebalancer_net_zero_ratio{origin="foreign"} 0.5"#,
        r#"milvus_rebalancer_net_zero_ratio{origin="daemon"} 0"#,
        r#"milvus_rebalancer_net_zero_ratio{origin="manual"} 0"#,
        r#"milvus_rebalancer_net_zero_ratio{origin="all"} 0.5"#,
        r#"milvus_rebalancer_net_zero_cancelled_ratio{origin="foreign"} 0.75"#,
        r#"milvus_rebalancer_net_zero_moves{origin="foreign"} 4"#,
        r#"milvus_rebalancer_net_zero_bytes{origin="foreign"} 400"#,
        "milvus_rebalancer_out_of_band_seconds 90",
        "milvus_rebalancer_out_of_band_observed_seconds 3600",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains(r#"net_zero_moves{origin="all"}"#), "a sum over the label is the sum: {text}");
}

/// What a name of a metric must not be: a unit that is no base unit, or a unit that is not at its end.
#[test]
fn names_and_units_are_as_prometheus_wants_them() {
    let metrics = metrics();
    assert!(metrics.catalogue().len() > 30, "the catalogue knows all of them");
    for MetricDescription { name, kind, labels, help } in metrics.catalogue() {
        let own = name.strip_prefix("milvus_rebalancer_").unwrap_or_else(|| panic!("{name}: whose is it?"));
        assert_eq!(own.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
        for unit in ["milliseconds", "microseconds", "minutes", "hours", "mebibytes", "percent"] {
            assert!(!own.contains(unit), "{name}: {unit} is no base unit");
        }
        let words: Vec<&str> = own.trim_end_matches("_total").split('_').collect();
        let inner = &words[..words.len() - 1];
        for unit in ["seconds", "bytes", "ratio"] {
            assert!(!inner.contains(&unit), "{name}: the unit belongs at the end");
        }
        assert!(help.ends_with('.') && help.len() > 15, "{name}: {help:?} is no sentence");
        // One series for each segment or collection would be a million.
        for label in labels {
            assert!(LABELS.contains(&label.as_str()), "{name}: is there a bound on the values of {label}?");
        }
    }
    let mut names: Vec<&str> = metrics.catalogue().iter().map(|metric| metric.name.as_str()).collect();
    let bases: Vec<String> = names.iter().map(|name| name.trim_end_matches("_total").to_owned()).collect();
    names.dedup();
    assert_eq!(names.len(), metrics.catalogue().len());
    let unique: std::collections::BTreeSet<&String> = bases.iter().collect();
    assert_eq!(unique.len(), bases.len(), "a gauge and a counter of one name are one family to OpenMetrics");
}

/// Labels whose values are few: codes of this program, options, dimensions, and the nodes of now.
const LABELS: &[&str] = &[
    "commit",
    "dimension",
    "doubt",
    "kind",
    "limit",
    "mode",
    "node",
    "origin",
    "plugin",
    "policy",
    "reason",
    "result",
    "signal",
    "state",
    "verdict",
    "version",
    "why",
];

#[test]
fn counters_exist_before_they_count() {
    let text = text(&metrics());
    for line in [
        r#"turns_total{result="failed"} 0"#,
        r#"load_balance_calls_total{result="unknown"} 0"#,
        r#"moves_total{origin="daemon",result="contradicted"} 0"#,
        r#"config_reloads_total{result="refused"} 0"#,
        "journal_failures_total 0",
    ] {
        assert!(text.lines().any(|other| other == format!("milvus_rebalancer_{line}")), "{line}: {text}");
    }
}

#[test]
fn overloaded_nodes_are_counted_for_each_dimension() {
    let metrics = metrics();
    let overloaded = BTreeMap::from([("memory".to_owned(), 2), ("rows".to_owned(), 0)]);
    metrics.observe_turn(&TurnMetrics { overloaded, ..TurnMetrics::default() });
    let text = text(&metrics);
    for line in [r#"{dimension="memory"} 2"#, r#"{dimension="rows"} 0"#] {
        assert!(text.contains(&format!("milvus_rebalancer_overloaded_nodes{line}")), "{text}");
    }
}
