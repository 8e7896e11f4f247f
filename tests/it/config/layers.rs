//! Defaults, file, environment, flags: which stands over which.

use super::*;

#[test]
fn no_source_an_empty_file_and_a_file_of_comments_are_the_defaults() {
    let defaults = json(&Config::default());
    let nothing = load(&sources(FileChoice::Nothing, &[])).unwrap();
    assert_eq!(json(&nothing.config), defaults);
    assert_eq!(nothing.warnings, []);
    for text in ["", "\n\n", "# only\n  # comments\n", "[execute]\n# nothing\n[policies.rows]\n"] {
        assert_eq!(json(&loaded(text, &[]).unwrap().config), defaults, "{text:?}");
    }
}

#[test]
fn each_source_stands_over_the_one_before() {
    let text =
        "mode = 'act'\n[execute]\ncalls_per_minute = 7\nsegments_per_call = 8\n[log]\nlevel = 'warn'\n";
    let environment = [
        ("MILVUS_REBALANCER__EXECUTE__SEGMENTS_PER_CALL", "9"),
        ("MILVUS_REBALANCER__LOG__LEVEL", "error"),
        ("MILVUS_REBALANCER__LOG__FORMAT", "json"),
        ("MILVUS_REBALANCER_SOMETHING_ELSE", "ignored"),
        ("UNRELATED", "ignored"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    let mut sources = sources(FileChoice::Given(path), &environment);
    sources.overrides.log_level = Some("debug".to_owned());
    let config = load(&sources).unwrap().config;
    assert_eq!(config.mode, Mode::Act);
    assert_eq!(config.execute.calls_per_minute, 7);
    assert_eq!(config.execute.segments_per_call, 9);
    assert_eq!(config.execute.calls_in_flight, Config::default().execute.calls_in_flight);
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn an_environment_variable_is_whatever_its_option_is() {
    let environment = [
        ("MILVUS_REBALANCER__POLICIES__MEMORY__ENTER", "1.5"),
        ("MILVUS_REBALANCER__POLICIES__MEMORY__ENABLED", "false"),
        ("MILVUS_REBALANCER__POLICIES__ROWS__ENABLED", "true"),
        ("MILVUS_REBALANCER__EXECUTE__BYTES_PER_CALL", "2 GiB"),
        ("MILVUS_REBALANCER__CONNECTIONS__DEFAULT__MAX_RESPONSE", "1048576"),
        ("MILVUS_REBALANCER__POLL__INTERVAL", "1m"),
        ("MILVUS_REBALANCER__POLL__DUTY", "1"),
        ("MILVUS_REBALANCER__CONNECTIONS__DEFAULT__USER", "007"),
        ("MILVUS_REBALANCER__CONNECTIONS__DEFAULT__PASSWORD", "1e5"),
        ("MILVUS_REBALANCER__CONNECTIONS__DEFAULT__DATABASE", ""),
    ];
    let config = loaded("", &environment).unwrap().config;
    assert_eq!(config.policies.memory.enter, Ratio(1_500_000));
    assert!(!config.policies.memory.enabled && config.policies.rows.0.enabled);
    assert_eq!(config.execute.bytes_per_call, Bytes(2 << 30));
    assert_eq!(config.poll.interval, Duration::from_secs(60));
    let connection = &config.connections["default"];
    assert_eq!(connection.max_response, Bytes(1 << 20));
    assert_eq!(connection.user.as_deref(), Some("007"));
    assert_eq!(secret(connection.password.as_ref()), "1e5");
    assert_eq!(connection.database, None);
}

#[test]
fn one_option_of_a_policy_does_not_switch_it_on() {
    let config = loaded("[policies.rows]\nturns = 1\n", &[]).unwrap().config;
    assert!(!config.policies.rows.0.enabled);
    assert_eq!(config.policies.rows.0.turns, 1);
}

#[test]
fn naming_a_connection_removes_the_built_in_one() {
    let text = "connection = 'prod'\n[connections.prod]\nendpoint = 'http://milvus:19530'\n";
    let config = loaded(text, &[]).unwrap().config;
    assert_eq!(config.connections.keys().collect::<Vec<_>>(), ["prod"]);

    let found = problems("[connections.prod]\nendpoint = 'http://milvus:19530'\n", &[]);
    assert_eq!(keys(&found), ["connection"]);
    assert!(found[0].message.contains("prod"), "{}", found[0]);
}

#[test]
fn the_flag_is_named_when_it_is_wrong() {
    let mut sources = sources(FileChoice::Nothing, &[]);
    sources.overrides.connection = Some("prod".to_owned());
    let error = load(&sources).unwrap_err().to_string();
    assert!(error.contains("connection (--connection): there is no connection \"prod\""), "{error}");
}

#[test]
fn sizes_durations_and_lists_of_nodes_read_as_people_write_them() {
    let text = "[execute]\nbytes_per_call = '1.5 GiB'\nsettle_timeout = '1h 30m'\n[journal]\nkeep = '2 weeks'\n\
                [node_metrics.targets]\n'10.0.0.7:21123' = 'http://10.0.0.7:9091/metrics'\n";
    let config = loaded(text, &[]).unwrap().config;
    assert_eq!(config.execute.bytes_per_call, Bytes(3 << 29));
    assert_eq!(config.execute.settle_timeout, Duration::from_secs(5_400));
    assert_eq!(config.journal.keep, Duration::from_secs(14 * 86_400));
    assert_eq!(config.node_metrics.targets["10.0.0.7:21123"], "http://10.0.0.7:9091/metrics");
}
