//! Ranges, and options that depend on each other.

use super::*;

#[test]
fn every_broken_rule_names_its_key() {
    for (text, key) in [
        ("connection = 'other'", "connection"),
        ("[connections.default]\nendpoint = ''", "connections.default.endpoint"),
        ("[connections.default]\nendpoint = 'milvus:port'", "connections.default.endpoint"),
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
        ("[admin]\nlisten = '0.0.0.0:9096'", "admin.listen"),
        ("[admin]\nlisten = '0.0.0.0:9096'\nallow_remote = true", "admin.listen"),
        ("[admin.tls]\ncertificate_file = '/nonexistent/x'", "admin.tls"),
        ("[admin.tls]\ncertificate_file = '/nonexistent/x'\nkey_file = '/nonexistent/y'", "admin.tls"),
        ("[admin.tls]\nclient_ca_file = '/nonexistent/x'", "admin.tls.client_ca_file"),
        ("[admin.tls]\nclient_key_file = '/nonexistent/x'", "admin.tls.client_certificate_file"),
        ("[poll]\ninterval = '0s'", "poll.interval"),
        ("[poll]\nduty = 0", "poll.duty"),
        ("[poll]\nduty = 1.01", "poll.duty"),
        ("[poll]\nduty = nan", "poll.duty"),
        ("[poll]\nbackoff_limit = '1s'", "poll.backoff_limit"),
        ("[node_metrics]\nurl = 'http://node:9091/metrics'", "node_metrics.url"),
        ("[node_metrics]\nurl = '{host}:9091'", "node_metrics.url"),
        ("[node_metrics.targets]\n'n:1' = 'nonsense'", "node_metrics.targets.\"n:1\""),
        ("[proxy_metrics]\ntargets = ['proxy:9091']", "proxy_metrics.targets"),
        ("[proxy_metrics]\ntargets = ['http://u:p@proxy:9091']", "proxy_metrics.targets"),
        ("[proxy_metrics]\ntimeout = '0s'", "proxy_metrics.timeout"),
        ("[proxy_metrics]\nmax_body = 0", "proxy_metrics.max_body"),
        ("[guard]\nfactor = 0.9", "guard.factor"),
        ("[guard]\nlooks = 0", "guard.looks"),
        ("[guard]\nfewest_searches = 0", "guard.fewest_searches"),
        ("[guard]\nslow_search = '0s'", "guard.slow_search"),
        ("[guard]\nlongest_hold = '0s'", "guard.longest_hold"),
        ("[guard]\nslow_rise = 5", "guard.slow_rise"),
        ("[guard]\nfailed_rise = 5", "guard.failed_rise"),
        ("[guard]\ndestination_memory = 90", "guard.destination_memory"),
        ("[guard]\nrequired = true", "guard.required"),
        ("[policies.memory]\nenabled = false", "policies"),
        ("[policies.memory]\nenter = 1.0\nleave = 1.0", "policies.memory.enter"),
        ("[policies.memory]\nleave = 1.2", "policies.memory.leave"),
        ("[policies.rows]\nleave = 0.9", "policies.rows.leave"),
        ("[policies.memory]\nturns = 0", "policies.memory.turns"),
        ("[policies.memory]\nmatters_above = 30", "policies.memory.matters_above"),
        ("[policies.memory]\nweight = 0", "policies.memory.weight"),
        ("[prometheus]\nurl = 'prometheus:9090'", "prometheus.url"),
        ("[prometheus]\nurl = 'http://u:p@prometheus:9090'", "prometheus.url"),
        ("[prometheus]\nurl = 'http://prometheus:9090?x=1'", "prometheus.url"),
        ("[prometheus]\ntimeout = '0s'", "prometheus.timeout"),
        ("[prometheus]\nmax_age = '0s'", "prometheus.max_age"),
        ("[prometheus]\nconcurrency = 0", "prometheus.concurrency"),
        ("[prometheus]\nmax_body = 0", "prometheus.max_body"),
        ("[prometheus]\nmax_series = 0", "prometheus.max_series"),
        ("[prometheus]\npassword_file = '/x'", "prometheus.user"),
        ("[prometheus]\nuser = 'x'\ntoken_file = '/x'", "prometheus.token_file"),
        ("[prometheus.queries.a]\nquery = 'up'", "prometheus.url"),
        ("[prometheus.queries.a]\nsignal = 'points'", "prometheus.queries.a.query"),
        ("[prometheus.queries.a]\nsignal = 'gpu'", "prometheus.queries.a.signal"),
        ("[prometheus.queries.a]\nquery = 'up'\nnode_label = 'a-b'", "prometheus.queries.a.node_label"),
        (
            "[prometheus.queries.a]\nquery = 'up'\ncollection_label = ''",
            "prometheus.queries.a.collection_label",
        ),
        ("[prometheus.queries.'a b']\nquery = 'up'", "prometheus.queries.\"a b\""),
        ("[policies.plugins.memory]\nendpoint = 'unix:/x'", "policies.plugins.memory"),
        ("[policies.plugins.'a b']\nendpoint = 'unix:/x'", "policies.plugins.\"a b\""),
        ("[policies.plugins.a]", "policies.plugins.a.endpoint"),
        ("[policies.plugins.a]\nendpoint = 'unix:x'", "policies.plugins.a.endpoint"),
        ("[policies.plugins.a]\nendpoint = 'localhost:9200'", "policies.plugins.a.endpoint"),
        ("[policies.plugins.a]\nendpoint = 'https://localhost:9200'", "policies.plugins.a.endpoint"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\ndeadline = '16s'", "policies.plugins.a.deadline"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\ndeadline = '0s'", "policies.plugins.a.deadline"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nmax_answer = 0", "policies.plugins.a.max_answer"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nenter = 1.0", "policies.plugins.a.enter"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nleave = 0.9", "policies.plugins.a.leave"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nturns = 0", "policies.plugins.a.turns"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nmatters_above = 3", "policies.plugins.a.matters_above"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nweight = 0", "policies.plugins.a.weight"),
        ("[policies.plugins.a]\nendpoint = 'unix:/x'\nlimit = 1.5", "policies.plugins.a.limit"),
        ("[plan]\neffort = 0", "plan.effort"),
        ("[gate]\nmax_age = '0s'", "gate.max_age"),
        ("[gate]\ndestination_memory = 80", "gate.destination_memory"),
        ("[gate]\ncool_down = '48h'", "gate.cool_down_limit"),
        ("[gate.foreign]\nmoves = 0", "gate.foreign.moves"),
        ("[gate]\nsettle_above = 5", "gate.settle_above"),
        ("[gate]\nminimum_gain = 1", "gate.minimum_gain"),
        ("[gate]\nemergency_memory = 90", "gate.emergency_memory"),
        ("[gate]\napproval = 'maybe'", "gate.approval"),
        ("[gate]\nkill_switch = 'stop'", "gate.kill_switch"),
        ("[gate]\nkill_switch = ''", "gate.kill_switch"),
        ("[gate.warm_up]\nfirst_share = 10", "gate.warm_up.first_share"),
        ("[gate.blast_radius]\nwithin = '0s'", "gate.blast_radius.within"),
        ("[gate.blast_radius]\ncollection_segments = 50", "gate.blast_radius.collection_segments"),
        ("[gate.blast_radius]\ncollection_bytes = 50", "gate.blast_radius.collection_bytes"),
        ("[gate]\nwindows = 'nights'", "gate.windows"),
        ("[[gate.windows]]\nkind = 'allow'\nfrom = '22:00'\nto = '6:00'", "gate.windows"),
        ("[[gate.windows]]\nkind = 'allow'\nfrom = '22:00'\nto = '06:00'\ndays = []", "gate.windows"),
        ("[[gate.windows]]\nkind = 'deny'\nfrom = '00:00'\nto = '24:00'", "gate.windows"),
        (
            "[[gate.windows]]\nkind = 'allow'\nfrom = '22:00'\nto = '23:00'\n\
             [[gate.windows]]\nkind = 'deny'\nfrom = '20:00'\nto = '00:00'",
            "gate.windows",
        ),
        ("[execute]\nverify_interval = '0s'", "execute.verify_interval"),
        ("[execute]\nsettle_timeout = '1s'", "execute.settle_timeout"),
        ("[execute.waves]\nfirst = 0", "execute.waves.first"),
        ("[execute.waves]\nfirst = 9\nlargest = 8", "execute.waves.largest"),
        ("[execute]\nbytes_per_hour = 107374182400", "execute.bytes_per_hour"),
        ("[execute]\nbytes_per_day = 1000", "execute.bytes_per_day"),
        ("[execute.breaker]\nwithin = '0s'", "execute.breaker.within"),
        ("[execute.breaker]\npause = '0s'", "execute.breaker.pause"),
        ("[execute.breaker]\nlongest_pause = '1m'", "execute.breaker.longest_pause"),
        ("[execute.waves]\nas_predicted = 50", "execute.waves.as_predicted"),
        ("[execute.waves]\nno_relief = 0.6", "execute.waves.no_relief"),
        ("[execute.waves]\nrest = '0s'", "execute.waves.rest"),
        ("[execute.waves]\nrest = '25h'", "execute.waves.rest_limit"),
        ("[journal]\npath = ''", "journal.path"),
        ("[journal]\nkeep = '0s'", "journal.keep"),
        ("[journal.observations]\nmax_bytes = '1 KiB'", "journal.observations.max_bytes"),
        ("[journal.observations]\nkeep = '0s'", "journal.observations.keep"),
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
    let text = "[poll]\nduty = 0\n[policies.memory]\nturns = 0\n[http]\nlisten = 'x'\n[log]\nlevel = 'x'\n";
    assert_eq!(
        keys(&problems(text, &[])),
        ["http.listen", "log.level", "policies.memory.turns", "poll.duty"]
    );
}

#[test]
fn warnings_do_not_stop_anything() {
    for (text, key) in [
        ("[execute]\ncall_timeout = '120s'", "execute.call_timeout"),
        ("[execute]\nbytes_per_day = 2", "execute.bytes_per_day"),
        ("[execute]\nbytes_per_hour = 2.5", "execute.bytes_per_hour"),
        ("[gate]\ndestination_memory = 0.95", "gate.destination_memory"),
        ("[gate]\nmax_age = '5s'", "gate.max_age"),
        (
            "[policies.plugins.a]\nendpoint = 'http://10.0.0.1:9200'\n[policies.memory]\nenabled = false",
            "policies.plugins.a.endpoint",
        ),
        ("[journal]\nkeep = '1h'", "journal.keep"),
        ("[connections.default]\ntoken = 'x'", "connections.default.endpoint"),
        ("[connections.default.tls]\nserver_name = 'x'", "connections.default.tls"),
    ] {
        let loaded = loaded(text, &[]).unwrap();
        assert_eq!(keys(&loaded.warnings), [key], "{text}");
    }
}

#[test]
fn windows_are_read_as_they_are_shown() {
    let text = "[[gate.windows]]\nkind = 'allow'\ndays = ['fri']\nfrom = '22:00'\nto = '24:00'\n\
                time_zone = 'Europe/Berlin'\n[[gate.windows]]\nkind = 'deny'\nfrom = '23:00'\nto = '23:30'\n";
    let first = loaded(text, &[]).unwrap();
    assert_eq!(first.config.gate.windows.len(), 2);
    let again = loaded(&first.show(), &[]).unwrap();
    assert_eq!(again.config.gate, first.config.gate, "{}", first.show());
    let found =
        problems("[[gate.windows]]\nkind = 'allow'\nfrom = '22:00'\nto = '23:00'\ntime_zone = 'CET?'", &[]);
    assert!(found[0].message.contains("\"CET?\" is no time zone"), "{found:?}");
}

#[test]
fn a_plugin_is_reached_by_the_environment_too() {
    let variables = [
        ("MILVUS_REBALANCER__POLICIES__PLUGINS__COST__ENDPOINT", "unix:/run/cost.sock"),
        ("MILVUS_REBALANCER__POLICIES__PLUGINS__COST__WEIGHT", "2.5"),
    ];
    let loaded = loaded("", &variables).unwrap();
    let plugin = &loaded.config.policies.plugins["cost"];
    assert_eq!(plugin.endpoint, "unix:/run/cost.sock");
    assert_eq!(plugin.weight, Some(milvus_rebalancer::units::Ratio(2_500_000)));
}

#[test]
fn limits_can_be_lifted() {
    let text = "mode = 'act'\n[poll]\ninterval = '1s'\nduty = 1\n[policies.memory]\nenabled = false\n\
                [policies.rows]\nenabled = true\nturns = 1\nmatters_above = 0\n[gate]\ncool_down = '0s'\n\
                [execute]\ncalls_per_minute = 0\ncalls_in_flight = 0\ncalls_in_flight_per_node = 0\n\
                bytes_per_day = 0\nsegments_per_call = 0\nbytes_per_call = 0\nmoves_in_flight = 0\n\
                moves_in_flight_per_source = 0\nmoves_in_flight_per_destination = 0\n\
                moves_in_flight_per_collection = 0\nbytes_per_second = 0\nmoves_per_hour = 0\nmoves_per_day = 0\n\
                bytes_per_hour = 0\n[execute.waves]\nenabled = false\n";
    let loaded = loaded(text, &[]).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.gate.cool_down, Duration::ZERO);
}
