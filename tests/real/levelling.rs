//! The main job on a real cluster: it is levelled with few moves, nobody who searches notices, and then there is
//! quiet.

use std::collections::BTreeMap;

use crate::daemon::{LIMITS_LIFTED, Site, count, says};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

#[test]
fn twelve_segments_on_one_of_three_nodes_are_levelled_and_then_there_is_quiet() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 12, 2000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[2]);
    assert_eq!(lab.segment_counts("books", &nodes), [0, 0, 12]);
    let (rows, digest) = (lab.count("books"), lab.search_digest("books"));
    lab.start_load(&["books"], 2);

    let site = Site::of(&lab, LIMITS_LIFTED);
    let mut daemon = site.start(&["--mode", "act"]);
    let mut events = daemon.turns(1);
    while count(&events, "move landed") < 8 {
        events.push(daemon.next_event());
        assert!(count(&events, "turn ended") <= 3, "not level after three polls: {events:#?}");
    }
    assert_eq!(lab.segment_counts("books", &nodes), [4, 4, 4]);
    assert_eq!(count(&events, "move "), 8, "{events:#?}");
    assert!(count(&events, "sending LoadBalance") <= 4, "{events:#?}");

    let quiet = daemon.turns(11);
    assert_eq!(count(&quiet, "sending LoadBalance"), 0, "{quiet:#?}");
    daemon.terminate();
    let (status, _) = daemon.wait();
    assert!(status.success(), "{status}");

    let searches = lab.stop_load();
    assert!(searches.searches > 0);
    assert_eq!(searches.failures, 0, "{:?}", searches.errors);
    assert_eq!((lab.count("books"), lab.search_digest("books")), (rows, digest));
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'"), 8);
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state <> 'landed'"), 0);
}

#[test]
fn each_replica_is_levelled_in_itself() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(4));
    lab.create_collection(&CollectionSpec {
        replicas: 2,
        shards: 2,
        ..CollectionSpec::new("books", 8, 2000)
    });
    let replicas = lab.replicas("books");
    assert_eq!(replicas.len(), 2);
    for replica in &replicas {
        assert_eq!(replica.nodes.len(), 2, "{replicas:?}");
        lab.push_all_to("books", replica.nodes[0]);
    }
    let homes: BTreeMap<i64, i64> =
        replicas.iter().flat_map(|replica| replica.nodes.iter().map(|node| (*node, replica.id))).collect();
    let digest = lab.search_digest("books");

    let site = Site::of(&lab, LIMITS_LIFTED);
    let mut daemon = site.start(&["--mode", "act"]);
    let mut events = daemon.turns(1);
    while count(&events, "nothing more to move") == 0 {
        events.push(daemon.next_event());
        assert!(count(&events, "turn ended") < 60, "not level after sixty polls: {events:#?}");
    }
    let planned = events.iter().filter(|event| says(event, "sending LoadBalance"));
    for call in planned {
        let node = |key: &str| call[key].as_i64().expect("node ids are in the event");
        assert_eq!(homes[&node("from")], homes[&node("to")], "across replicas: {call}");
    }
    let quiet = daemon.turns(5);
    assert_eq!(count(&quiet, "sending LoadBalance"), 0, "{quiet:#?}");
    for replica in &replicas {
        let counts = lab.segment_counts("books", &replica.nodes);
        assert!(counts[0].abs_diff(counts[1]) <= 1, "replica {} has {counts:?}", replica.id);
    }
    assert_eq!(lab.search_digest("books"), digest);
}

#[test]
fn limits_are_kept() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 12, 2000));
    lab.push_all_to("books", lab.id(2));
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    site.set("EXECUTE__CALLS_PER_MINUTE", "3");
    site.set("EXECUTE__SEGMENTS_PER_CALL", "1");
    site.set("EXECUTE__CALLS_IN_FLIGHT", "1");
    let mut daemon = site.start(&["--mode", "act"]);
    // Without the limit all of it would be done in three polls.
    let events = daemon.turns(12);
    assert!(events.iter().any(|event| event["limited_by"] == "call_rate"), "{events:#?}");
    let mut in_flight = 0;
    for event in &events {
        in_flight += i32::from(says(event, "sending LoadBalance")) - i32::from(says(event, "move "));
        assert!(in_flight <= 1, "more than one call in flight: {events:#?}");
    }
    daemon.terminate();
    assert!(daemon.wait().0.success());
    // Counted by the journal's own times, so that a slow machine, on which the fourth call is due, changes nothing.
    let most_in_a_minute = site.ask_journal(
        "SELECT max(calls) FROM (SELECT (SELECT count(*) FROM batches later WHERE later.id >= first.id \
         AND julianday(later.created_at) - julianday(first.created_at) < 59.0 / 86400) AS calls FROM batches first)",
    );
    assert_eq!(most_in_a_minute, 3);
    assert_eq!(
        site.ask_journal("SELECT max(n) FROM (SELECT count(*) AS n FROM operations GROUP BY batch)"),
        1
    );
}

#[test]
fn advice_moves_nothing() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(2));
    lab.create_collection(&CollectionSpec::new("books", 4, 2000));
    let (here, there) = (lab.id(0), lab.id(1));
    lab.push_all_to("books", there);
    let site = Site::of(&lab, LIMITS_LIFTED);

    let mut daemon = site.start(&[]);
    let events = daemon.turns(3);
    assert!(events.iter().any(|event| event["limited_by"] == "advise_only"), "{events:#?}");
    drop(daemon);
    let plan = site.run(&["plan"]);
    assert!(plan.status.success(), "{}", plan.stderr);
    for part in ["Plan: 2 moves", "default.books", "rows: node", "worst pressure 2.00 now, 1.00 after"] {
        assert!(plan.stdout.contains(part), "{part:?} is missing from:\n{}", plan.stdout);
    }
    let json = site.run(&["plan", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(report["steps"].as_array().map(Vec::len), Some(2));
    assert!(report["steps"][0]["moves"][0]["segment"].is_string(), "ids are strings");
    assert_eq!(report["limited_by"]["code"], "advise_only");

    assert_eq!(lab.segment_counts("books", &[here, there]), [0, 4]);
    assert_eq!(site.ask_journal("SELECT count(*) FROM batches"), 0);
}

#[test]
fn bytes_are_those_that_the_nodes_report_and_the_daemon_shows_what_it_does() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(2));
    // The text makes a row ten times as large as its vector; a count of rows would not see that.
    lab.create_collection(&CollectionSpec { payload_bytes: 1200, ..CollectionSpec::new("long", 2, 1000) });
    lab.create_collection(&CollectionSpec::new("short", 2, 1000));
    let targets: Vec<String> = lab
        .nodes
        .iter()
        .map(|node| format!("\"{}\" = \"http://{}/metrics\"", node.address, node.metrics))
        .collect();
    let options = format!("{LIMITS_LIFTED}\n[node_metrics.targets]\n{}\n", targets.join("\n"));
    let site = Site::of(&lab, &options);

    let plan = site.run(&["plan", "--format", "json"]);
    let report: serde_json::Value =
        serde_json::from_str(&plan.stdout).unwrap_or_else(|_| panic!("{}", plan.stderr));
    for collection in report["collections"].as_array().unwrap() {
        assert_eq!(collection["bytes_source"], "reported", "{report}");
    }
    // By hand, the sizes are told per segment.
    let bytes_of = |collection: &str, source: i64| {
        let source = source.to_string();
        let arguments =
            ["load-balance", "--collection", collection, "--src-node", &source, "--format", "json"];
        let ran = site.run(&arguments);
        let rows: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        rows[0]["bytes"].as_u64().expect("bytes are a number")
    };
    let home = |lab: &mut Lab, name: &str| lab.segments(name)[0].nodes[0];
    let (long, short) = (home(&mut lab, "long"), home(&mut lab, "short"));
    let (long, short) = (bytes_of("long", long), bytes_of("short", short));
    assert!(long > 5 * short, "equal rows, but {long} bytes against {short}");
    assert_eq!(report["doubts"], serde_json::json!([]));

    let mut daemon = site.start(&[]);
    daemon.turns(2);
    assert_eq!(daemon.get("/healthz").0, "HTTP/1.1 200 OK");
    assert_eq!(daemon.get("/readyz").0, "HTTP/1.1 200 OK");
    let (_, metrics) = daemon.get("/metrics");
    for line in [
        "milvus_rebalancer_nodes 2",
        "milvus_rebalancer_collections 2",
        "milvus_rebalancer_segments 4",
        "milvus_rebalancer_mode{mode=\"advise\"} 1",
        "milvus_rebalancer_turns_total{result=\"ok\"}",
        "milvus_rebalancer_node_pressure_ratio{dimension=\"rows\"",
    ] {
        assert!(metrics.contains(line), "{line:?} is missing from:\n{metrics}");
    }
}
