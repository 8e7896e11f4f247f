//! Configuration from outside: layers, bad input of every kind, secrets, and the file that lists all options.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use milvus_rebalancer::config::{
    Config, ConfigError, FileChoice, Loaded, LogFormat, Mode, Origin, Overrides, Problem, Sources, load,
};
use milvus_rebalancer::units::{Bytes, Ratio};
use tempfile::TempDir;

/// Loads a file with this content and these environment variables.
fn loaded(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    loaded_bytes(text.as_bytes(), environment).1
}

fn loaded_bytes(content: &[u8], environment: &[(&str, &str)]) -> (TempDir, Result<Loaded, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, content).unwrap();
    let outcome = load(&sources(FileChoice::Given(path), environment));
    (folder, outcome)
}

fn sources(file: FileChoice, environment: &[(&str, &str)]) -> Sources {
    let environment =
        environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    Sources { file, environment, overrides: Overrides::default() }
}

/// All problems of a file and an environment.
fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<Problem> {
    match loaded(text, environment) {
        Err(ConfigError::Invalid { problems }) => problems,
        other => panic!("{text:?} should have problems, but gives {other:?}"),
    }
}

fn keys(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

fn json(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).unwrap()
}

mod layers {
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
}

mod wrong_keys {
    use super::*;

    #[test]
    fn all_are_named_with_where_they_were_set() {
        let text = "mod = 'act'\n[execute]\nretrys = 3\ncalls_per_minute = 'many'\n[execute.waves]\nsise = 2\n\
                    [polices.memory]\nenter = 1.3\n[log]\nformat = 'xml'\n";
        let environment = [
            ("MILVUS_REBALANCER__GATE__MAXAGE", "60s"),
            ("MILVUS_REBALANCER__POLL__INTERVAL", "soon"),
            ("MILVUS_REBALANCER__POLCIES__ROWS__ENABLED", "true"),
        ];
        let found = problems(text, &environment);
        let mut all = keys(&found);
        all.sort_unstable();
        assert_eq!(
            all,
            [
                "execute.calls_per_minute",
                "execute.retrys",
                "execute.waves.sise",
                "gate.maxage",
                "log.format",
                "mod",
                "polcies.rows.enabled",
                "polices",
                "poll.interval",
            ]
        );
        for problem in &found {
            let from_environment = ["gate.maxage", "poll.interval", "polcies.rows.enabled"];
            let name = format!("MILVUS_REBALANCER__{}", problem.key.replace('.', "__").to_uppercase());
            if from_environment.contains(&problem.key.as_str()) {
                assert_eq!(problem.origin, Origin::Environment(name));
            } else {
                assert!(
                    matches!(&problem.origin, Origin::File(path) if path.ends_with("config.toml")),
                    "{problem}"
                );
            }
        }
        let message = |key: &str| &found.iter().find(|problem| problem.key == key).unwrap().message;
        assert!(message("execute.retrys").contains("calls_per_minute"), "the known keys are listed");
        assert!(message("execute.calls_per_minute").contains("a whole number"));
        assert!(message("log.format").contains("text, json"));
        assert!(message("poll.interval").contains("\"30s\""));
    }

    #[test]
    fn wrong_keys_do_not_hide_broken_rules() {
        let found = problems("[poll]\nintervall = '1s'\nduty = 7\n", &[]);
        assert_eq!(keys(&found), ["poll.duty", "poll.intervall"]);
    }

    #[test]
    fn a_table_of_typos_in_both_sources_is_named_for_both() {
        let found = problems("[gates]\na = 1\n", &[("MILVUS_REBALANCER__GATES__B", "2")]);
        assert_eq!(keys(&found), ["gates", "gates.b"]);
        assert!(
            matches!(found[0].origin, Origin::File(_)) && matches!(found[1].origin, Origin::Environment(_))
        );
    }

    #[test]
    fn keys_that_are_paths_are_no_way_to_allocate_memory() {
        let found = problems("'a[99999999999999]' = 1\n'poll.interval' = '1s'\n", &[]);
        assert_eq!(keys(&found), ["\"a[99999999999999]\"", "\"poll.interval\""]);
        let names =
            ["MILVUS_REBALANCER__A[99999999999999]", "MILVUS_REBALANCER__", "MILVUS_REBALANCER__A____B"];
        for name in names {
            let found = problems("", &[(name, "1")]);
            assert_eq!(found[0].origin, Origin::Environment(name.to_owned()));
            assert_eq!(found[0].message, "unknown key");
        }
    }

    #[test]
    fn wrong_types_are_told_in_words() {
        for (text, key, expected) in [
            ("mode = 1", "mode", "a text"),
            ("mode = 'acting'", "mode", "advise, act"),
            ("execute = 5", "execute", "a table"),
            ("connections = []", "connections", "a table"),
            ("[execute]\ncalls_per_minute = -1", "execute.calls_per_minute", "at least 0"),
            ("[execute]\ncalls_per_minute = true", "execute.calls_per_minute", "a whole number"),
            ("[execute]\ncalls_per_minute = '6'", "execute.calls_per_minute", "a whole number"),
            ("[execute]\ncalls_per_minute = 99999999999", "execute.calls_per_minute", "a whole number"),
            ("[execute]\nbytes_per_call = -1", "execute.bytes_per_call", "4 GiB"),
            ("[execute]\nbytes_per_call = 'much'", "execute.bytes_per_call", "4 GiB"),
            ("[execute]\nbytes_per_day = nan", "execute.bytes_per_day", "at least 0"),
            ("[execute]\nbytes_per_day = -inf", "execute.bytes_per_day", "at least 0"),
            ("[execute]\ncall_timeout = 150", "execute.call_timeout", "a text"),
            ("[execute]\ncall_timeout = '-1s'", "execute.call_timeout", "30s"),
            ("[policies.memory]\nenabled = 'yes'", "policies.memory.enabled", "true or false"),
            ("[policies.memory]\nenter = {}", "policies.memory.enter", "a number"),
            ("[log]\nlevel = []", "log.level", "a text"),
            ("[node_metrics.targets]\na = 1", "node_metrics.targets.a", "a text"),
            ("[node_metrics]\nurl = 7", "node_metrics.url", "a text"),
            ("[http]\nlisten = 1979-05-27T07:32:00Z", "http.listen", "127.0.0.1:9095"),
        ] {
            let found = problems(text, &[]);
            assert_eq!(keys(&found), [key], "{text}");
            assert!(found[0].message.contains(expected), "{text}: {}", found[0]);
            assert!(!found[0].message.contains("struct "), "{}", found[0]);
        }
        let found = problems("", &[("MILVUS_REBALANCER__EXECUTE", "5")]);
        assert_eq!(keys(&found), ["execute"]);
        let found = problems("mode = 'act'", &[("MILVUS_REBALANCER__MODE__X", "5")]);
        assert_eq!(keys(&found), ["mode.x"]);
    }

    #[test]
    fn a_file_of_nothing_but_typos_ends() {
        let text: String = (0..5_000).map(|number| format!("key{number} = {number}\n")).collect();
        let found = problems(&text, &[]);
        assert_eq!(found.len(), 101);
        assert!(found.iter().any(|problem| problem.message.contains("more than 100 problems")));
    }
}

mod bad_files {
    use super::*;

    /// The error of a file that cannot be used at all, causes included.
    fn refused(content: &[u8]) -> String {
        let (_folder, outcome) = loaded_bytes(content, &[]);
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("config.toml"), "{error}");
        milvus_rebalancer::telemetry::Chain(&error).to_string()
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        for (text, expected) in [
            ("[execute\n", "line 1"),
            ("mode = \n", "line 1"),
            ("mode = 'act'\nmode = 'act'\n", "duplicate key"),
            ("[log]\n[http]\n[log]\n", "duplicate key"),
            ("just words", "line 1"),
            ("[execute]\ncalls_per_minute = 99999999999999999999\n", "number"),
        ] {
            let error = refused(text.as_bytes());
            assert!(error.contains("is not valid TOML") && error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_line_itself_is_not_shown_because_it_may_hold_a_secret() {
        for text in [
            "[connections.default]\npassword = \"hunter2\n",
            "[connections.default]\npassword = hunter2\n",
            "[connections.default]\npassword = \"a\" \"hunter2\"\n",
            "[connections.default]\ntoken = '''hunter2\n",
        ] {
            let error = refused(text.as_bytes());
            assert!(!error.contains("hunter2") && error.contains("line"), "{error}");
        }
    }

    #[test]
    fn binary_files_are_no_text() {
        assert!(refused(b"mode = '\xff\xfe'").contains("byte 8"));
        assert!(refused(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0]).contains("is not valid TOML"));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let text = format!("mode = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(refused(text.as_bytes()).contains("is not valid TOML"));
    }

    #[test]
    fn huge_files_are_refused_without_reading_them() {
        let error = refused(&vec![b'#'; (1 << 20) + 1]);
        assert!(error.contains("larger than 1048576 bytes"), "{error}");
        if cfg!(target_os = "linux") {
            let endless = load(&sources(FileChoice::Given(PathBuf::from("/dev/zero")), &[]));
            assert!(matches!(endless, Err(ConfigError::TooLarge { .. })), "{endless:?}");
        }
        let (_folder, outcome) = loaded_bytes(&vec![b'#'; 1 << 20], &[]);
        outcome.unwrap();
    }

    #[test]
    fn a_directory_or_a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing.toml")] {
            let outcome = load(&sources(FileChoice::Given(path.clone()), &[]));
            assert!(
                matches!(&outcome, Err(ConfigError::Unreadable { path: named, .. }) if *named == path),
                "{outcome:?}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_unreadable_variable_is_named() {
        use std::os::unix::ffi::OsStringExt;
        let mut sources = sources(FileChoice::Nothing, &[]);
        let name = OsString::from("MILVUS_REBALANCER__LOG__LEVEL");
        sources.environment.push((name, OsString::from_vec(vec![0xff])));
        let error = load(&sources).unwrap_err().to_string();
        assert!(
            error.contains("log.level (MILVUS_REBALANCER__LOG__LEVEL): the value is not UTF-8"),
            "{error}"
        );
    }
}

mod rules {
    use super::*;

    #[test]
    fn every_broken_rule_names_its_key() {
        for (text, key) in [
            ("connection = 'other'", "connection"),
            ("[connections.default]\nendpoint = ''", "connections.default.endpoint"),
            ("[connections.default]\nendpoint = 'milvus:19530'", "connections.default.endpoint"),
            ("[connections.default]\nendpoint = 'ftp://milvus'", "connections.default.endpoint"),
            ("[connections.default]\nendpoint = 'http://'", "connections.default.endpoint"),
            ("[connections.default]\nendpoint = 'http://milvus:99999'", "connections.default.endpoint"),
            ("[connections.default]\npassword = 'x'", "connections.default.user"),
            ("[connections.default]\nuser = 'x'", "connections.default.password"),
            ("[connections.default]\nuser = 'x:y'\npassword = 'z'", "connections.default.user"),
            ("[connections.default]\nuser = 'x'\npassword = 'y'\ntoken = 'z'", "connections.default.token"),
            ("[connections.default]\nconcurrency = 0", "connections.default.concurrency"),
            ("[connections.default]\nrequest_timeout = '0s'", "connections.default.request_timeout"),
            ("[connections.default]\ntoken_file = '/nonexistent/x'", "connections.default.token_file"),
            ("[connections.default.tls]\nca_file = '/nonexistent/x'", "connections.default.tls.ca_file"),
            ("[poll]\ninterval = '0s'", "poll.interval"),
            ("[poll]\nduty = 0", "poll.duty"),
            ("[poll]\nduty = 1.01", "poll.duty"),
            ("[poll]\nduty = nan", "poll.duty"),
            ("[poll]\nbackoff_limit = '1s'", "poll.backoff_limit"),
            ("[node_metrics]\nurl = 'http://node:9091/metrics'", "node_metrics.url"),
            ("[node_metrics]\nurl = '{host}:9091'", "node_metrics.url"),
            ("[node_metrics.targets]\n'n:1' = 'nonsense'", "node_metrics.targets.\"n:1\""),
            ("[policies.memory]\nenabled = false", "policies"),
            ("[policies.memory]\nenter = 1.0\nleave = 1.0", "policies.memory.enter"),
            ("[policies.memory]\nleave = 1.2", "policies.memory.leave"),
            ("[policies.rows]\nleave = 0.9", "policies.rows.leave"),
            ("[policies.memory]\nturns = 0", "policies.memory.turns"),
            ("[policies.memory]\nmatters_above = 30", "policies.memory.matters_above"),
            ("[policies.memory]\nweight = 0", "policies.memory.weight"),
            ("[plan]\neffort = 0", "plan.effort"),
            ("[gate]\nmax_age = '0s'", "gate.max_age"),
            ("[gate]\ndestination_memory = 80", "gate.destination_memory"),
            ("[gate]\ncool_down = '48h'", "gate.cool_down_limit"),
            ("[gate.foreign]\nmoves = 0", "gate.foreign.moves"),
            ("[execute]\nverify_interval = '0s'", "execute.verify_interval"),
            ("[execute]\nsettle_timeout = '1s'", "execute.settle_timeout"),
            ("[execute.waves]\nfirst = 0", "execute.waves.first"),
            ("[execute.waves]\nfirst = 9\nlargest = 8", "execute.waves.largest"),
            ("[journal]\npath = ''", "journal.path"),
            ("[journal]\nkeep = '0s'", "journal.keep"),
            ("[http]\nlisten = '9095'", "http.listen"),
            ("[log]\nlevel = 'inof'", "log.level"),
            ("[log]\nlevel = 'a=b=c'", "log.level"),
            ("[log]\nlevel = ''", "log.level"),
        ] {
            let found = problems(text, &[]);
            assert!(keys(&found).contains(&key), "{text}: {found:?}");
            assert!(found.iter().all(|problem| matches!(problem.origin, Origin::File(_) | Origin::Default)));
        }
    }

    #[test]
    fn all_broken_rules_come_at_once() {
        let text =
            "[poll]\nduty = 0\n[policies.memory]\nturns = 0\n[http]\nlisten = 'x'\n[log]\nlevel = 'x'\n";
        assert_eq!(
            keys(&problems(text, &[])),
            ["http.listen", "log.level", "policies.memory.turns", "poll.duty"]
        );
    }

    #[test]
    fn warnings_do_not_stop_anything() {
        for (text, key) in [
            ("[execute]\ncall_timeout = '120s'", "execute.call_timeout"),
            ("[gate]\ndestination_memory = 0.95", "gate.destination_memory"),
            ("[gate]\nmax_age = '5s'", "gate.max_age"),
            ("[journal]\nkeep = '1h'", "journal.keep"),
            ("[connections.default]\ntoken = 'x'", "connections.default.endpoint"),
            ("[connections.default.tls]\nserver_name = 'x'", "connections.default.tls"),
        ] {
            let loaded = loaded(text, &[]).unwrap();
            assert_eq!(keys(&loaded.warnings), [key], "{text}");
        }
    }

    #[test]
    fn limits_can_be_lifted() {
        let text = "mode = 'act'\n[poll]\ninterval = '1s'\nduty = 1\n[policies.memory]\nenabled = false\n\
                    [policies.rows]\nenabled = true\nturns = 1\nmatters_above = 0\n[gate]\ncool_down = '0s'\n\
                    [execute]\ncalls_per_minute = 0\ncalls_in_flight = 0\ncalls_in_flight_per_node = 0\n\
                    bytes_per_day = 0\nsegments_per_call = 0\nbytes_per_call = 0\n[execute.waves]\nenabled = false\n";
        let loaded = loaded(text, &[]).unwrap();
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.config.gate.cool_down, Duration::ZERO);
    }
}

fn secret(secret: Option<&secrecy::SecretString>) -> &str {
    use secrecy::ExposeSecret;
    secret.unwrap().expose_secret()
}

mod secrets {
    use super::*;

    const PLANTED: &str = "hunter2-planted-secret";

    #[test]
    fn they_are_in_the_settings_and_nowhere_else() {
        let text = format!(
            "[connections.default]\nendpoint = 'https://m:1'\nuser = 'u'\npassword = '{PLANTED}'\n\
             [connections.other]\nendpoint = 'https://m:1'\ntoken = '{PLANTED}'\n"
        );
        let loaded = loaded(&text, &[]).unwrap();
        assert_eq!(secret(loaded.config.connections["default"].password.as_ref()), PLANTED);
        assert_eq!(secret(loaded.config.connections["other"].token.as_ref()), PLANTED);
        for shown in [
            loaded.show(),
            format!("{loaded:?}"),
            format!("{:#?}", loaded.config),
            json(&loaded.config).to_string(),
        ] {
            assert!(!shown.contains(PLANTED), "{shown}");
        }
        assert!(loaded.show().contains("# connections.default.password is set, and not shown"));
    }

    #[test]
    fn problems_do_not_tell_them() {
        let lines = [
            format!("[connections.default]\npassword = ['{PLANTED}']"),
            format!("[connections.default]\npassword = {{ {PLANTED} = 1 }}"),
            format!("[connections.default]\nendpoint = 'http://root:{PLANTED}@milvus:19530'"),
            format!("[connections.default]\nendpoint = '{PLANTED}'"),
            format!("[connections.default]\nendpoint = '{PLANTED}://x'"),
        ];
        for line in lines {
            let error = loaded(&line, &[]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(PLANTED), "{error:?}");
        }
        let digits = loaded("[connections.default]\npassword = 4815162342\n", &[]).unwrap_err().to_string();
        assert!(
            digits.contains("connections.default.password") && !digits.contains("4815162342"),
            "{digits}"
        );
    }

    #[test]
    fn files_hold_them_with_or_without_a_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for content in [PLANTED.to_owned(), format!("{PLANTED}\n"), format!("{PLANTED}\r\n")] {
            std::fs::write(&path, content).unwrap();
            let loaded = loaded(&from_file(&path), &[]).unwrap();
            assert_eq!(secret(loaded.config.connections["default"].password.as_ref()), PLANTED);
            assert!(!loaded.show().contains(PLANTED));
        }
    }

    #[test]
    fn bad_files_of_secrets_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (content, expected) in [
            (Vec::new(), "is empty"),
            (b"\n".to_vec(), "is empty"),
            (vec![0xff, 0xfe], "is not UTF-8"),
            (vec![b'x'; (64 << 10) + 1], "is larger than"),
        ] {
            std::fs::write(&path, content).unwrap();
            let found = problems(&from_file(&path), &[]);
            assert_eq!(keys(&found), ["connections.default.password_file"]);
            assert!(found[0].message.contains(expected), "{}", found[0]);
        }
        let found = problems(&from_file(folder.path()), &[]);
        assert!(found[0].message.contains("cannot read"), "{}", found[0]);
    }

    #[test]
    fn a_secret_given_twice_is_a_problem() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, PLANTED).unwrap();
        let found = problems(&format!("{}password = 'x'\n", from_file(&path)), &[]);
        assert_eq!(keys(&found), ["connections.default.password_file"]);
    }

    fn from_file(path: &Path) -> String {
        format!(
            "[connections.default]\nendpoint = 'https://m:1'\nuser = 'u'\npassword_file = '{}'\n",
            path.display()
        )
    }
}

mod the_file_of_all_options {
    use super::*;

    const TEXT: &str = include_str!("../../config/default.toml");

    /// Every option of the defaults: (section, key).
    fn options(value: &serde_json::Value, section: &str, found: &mut Vec<(String, String)>) {
        for (key, child) in value.as_object().unwrap() {
            let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
            match child {
                serde_json::Value::Object(_) => options(child, &path, found),
                _ => found.push((section.to_owned(), key.clone())),
            }
        }
    }

    #[test]
    fn it_says_what_the_defaults_are() {
        let loaded = loaded(TEXT, &[]).unwrap();
        assert_eq!(json(&loaded.config), json(&Config::default()));
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn it_lists_every_option_in_its_section_after_a_line_of_why() {
        let mut all = Vec::new();
        options(&json(&Config::default()), "", &mut all);
        let mut section = "";
        let mut previous = "";
        for line in TEXT.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            let option = line.trim_start_matches("# ").split_once(" = ").map(|(key, _)| key);
            let position = all.iter().position(|(its, key)| its == section && Some(key.as_str()) == option);
            if let Some(position) = position {
                let explained = previous.starts_with("# ") && previous.len() > "# why".len();
                assert!(explained, "{section}.{} has no line of why before it", all[position].1);
                all.remove(position);
            }
            previous = line;
        }
        assert!(all.is_empty(), "config/default.toml lacks (section, option): {all:?}");
    }

    #[test]
    fn options_that_are_commented_out_have_no_default() {
        let defaults = json(&Config::default());
        let mut section = "";
        for line in TEXT.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
            let Some((key, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) else {
                continue;
            };
            let pointer = format!("/{}/{key}", section.replace('.', "/"));
            if let Some(value) = defaults.pointer(&pointer) {
                assert!(value.is_null(), "{section}.{key} is commented out but has the default {value}");
            }
        }
    }
}

#[test]
fn what_is_shown_can_be_used_as_a_file_and_says_where_it_was_set() {
    let text = "[poll]\ninterval = '45s'\n[node_metrics.targets]\n'n:1' = 'http://n:2/metrics'\n[journal]\nkeep = '9 days'\n";
    let first = loaded(text, &[("MILVUS_REBALANCER__POLL__DUTY", "0.25")]).unwrap();
    let shown = first.show();
    let again = loaded(&shown, &[]).unwrap();
    assert_eq!(json(&again.config), json(&first.config), "{shown}");
    assert!(shown.contains("poll.duty = 0.25  # MILVUS_REBALANCER__POLL__DUTY"), "{shown}");
    assert!(shown.contains("poll.backoff_limit = \"5m\"  # default"), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("poll.interval")).unwrap();
    assert!(line.starts_with("poll.interval = \"45s\"  # /") && line.ends_with("config.toml"), "{line}");
}

#[test]
fn every_error_of_bytes_that_are_no_configuration_is_an_error_and_no_panic() {
    // Cuts of the real file at every length: half strings, half tables, half numbers.
    let text = include_str!("../../config/default.toml");
    let cuts = (0..text.len()).step_by(37).filter(|at| text.is_char_boundary(*at));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let mut refused = 0;
    for at in cuts {
        std::fs::write(&path, &text[..at]).unwrap();
        refused += usize::from(load(&sources(FileChoice::Given(path.clone()), &[])).is_err());
    }
    assert!(refused > 0, "some cuts fall into a value");
}
