//! Unknown keys and wrong types: all named, with where they were set.

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
    assert!(matches!(found[0].origin, Origin::File(_)) && matches!(found[1].origin, Origin::Environment(_)));
}

#[test]
fn keys_that_are_paths_are_no_way_to_allocate_memory() {
    let found = problems("'a[99999999999999]' = 1\n'poll.interval' = '1s'\n", &[]);
    assert_eq!(keys(&found), ["\"a[99999999999999]\"", "\"poll.interval\""]);
    let names = ["MILVUS_REBALANCER__A[99999999999999]", "MILVUS_REBALANCER__", "MILVUS_REBALANCER__A____B"];
    for name in names {
        let found = problems("", &[(name, "1")]);
        assert_eq!(found[0].origin, Origin::Environment(name.to_owned()));
        assert_eq!(found[0].message, "unknown key");
    }
}

#[test]
fn what_is_wrong_in_a_list_is_named_and_nothing_else_is() {
    let window = "[[gate.windows]]\nkind = 'allow'\nfrom = '22:00'\nto = '06:00'\n";
    let text = format!("{window}{window}zone = 'Europe/Berlin'");
    let found = problems(&text, &[]);
    assert_eq!(keys(&found), ["gate.windows"]);
    assert!(found[0].message.starts_with("entry 2, zone: unknown key"), "{}", found[0].message);
}

#[test]
fn wrong_types_are_told_in_words() {
    for (text, key, expected) in [
        ("mode = 1", "mode", "a text"),
        ("mode = 'acting'", "mode", "advise, within, act"),
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
