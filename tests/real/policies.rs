//! What policies do to a real cluster: bytes that rows do not show, nodes of unequal memory, and a node that is emptied
//! while data comes in. Sealed bytes are read from the nodes themselves, not from what the daemon believes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::daemon::{Daemon, LIMITS_LIFTED, Site, count, says};
use crate::hot_segment::is_asked_for;
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

/// Sealed bytes are to be even, whatever else a node uses.
const SEALED_BYTES: &str = r#"
[policies.memory]
enabled = true
turns = 1
enter = 1.05
leave = 1.01
matters_above = 0.0
base_load = false
[policies.rows]
enabled = false
"#;

/// The options of a test, with where the nodes' own metrics are. A section of the first part gives way to the same one of
/// the second.
fn options(lab: &Lab, policies: &str) -> String {
    let sections = |text: &str| -> Vec<(String, String)> {
        let parts = text.split("\n[").skip(1);
        parts.map(|part| part.split_once("]\n").expect("a heading")).map(owned).collect()
    };
    let mut merged: BTreeMap<String, String> = sections(LIMITS_LIFTED).into_iter().collect();
    merged.extend(sections(policies));
    let targets: Vec<String> = lab
        .nodes
        .iter()
        .map(|node| format!("\"{}\" = \"http://{}/metrics\"", node.address, node.metrics))
        .collect();
    merged.insert("node_metrics.targets".to_owned(), targets.join("\n"));
    merged.iter().map(|(heading, options)| format!("[{heading}]\n{options}\n")).collect()
}

fn owned((heading, options): (&str, &str)) -> (String, String) {
    (heading.to_owned(), options.to_owned())
}

/// Bytes of sealed segments of these collections that a node reports itself.
fn sealed_bytes(metrics: &str, collections: &[i64]) -> f64 {
    let mut stream = TcpStream::connect(metrics).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let sealed = page.lines().filter(|line| {
        line.starts_with("milvus_querynode_entity_size{")
            && line.contains("segment_state=\"Sealed\"")
            && collections.iter().any(|id| line.contains(&format!("collection_id=\"{id}\"")))
    });
    sealed.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The same of each node. Of a collection whose last segment has left it a 2.3.5 reports the old figure for ever, so that
/// only collections count that it holds something of.
fn sealed_bytes_of(lab: &mut Lab, collections: &[(&str, i64)]) -> Vec<f64> {
    let nodes = lab.nodes.clone();
    let ids: Vec<i64> = nodes.iter().map(|node| node.id).collect();
    let mut held: Vec<Vec<i64>> = vec![Vec::new(); nodes.len()];
    for (name, collection) in collections {
        for (at, count) in lab.segment_counts(name, &ids).into_iter().enumerate() {
            if count > 0 {
                held[at].push(*collection);
            }
        }
    }
    nodes.iter().zip(&held).map(|(node, held)| sealed_bytes(&node.metrics, held)).collect()
}

/// Follows the daemon until it has nothing more to move and nothing is on its way.
fn follow_until_quiet(daemon: &mut Daemon) {
    let mut events = daemon.turns(1);
    while count(&events, "nothing more to move") == 0 {
        events.push(daemon.next_event());
        assert!(count(&events, "turn ended") < 60, "not level after sixty polls: {events:#?}");
    }
    // The nodes' own figures follow within two polls.
    let quiet = daemon.turns(3);
    assert_eq!(count(&quiet, "sending LoadBalance"), 0, "{quiet:#?}");
}

#[test]
fn equal_rows_of_sixteen_times_the_bytes_are_levelled_by_bytes() {
    if lab_is_off() || !is_asked_for() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    let long = lab
        .create_collection(&CollectionSpec { payload_bytes: 2_100, ..CollectionSpec::new("long", 6, 500) });
    let short = lab.create_collection(&CollectionSpec::new("short", 12, 500));
    let collections = [("long", long.collection_id), ("short", short.collection_id)];
    let ids = [lab.id(0), lab.id(1), lab.id(2)];
    // Six segments each, of the same number of rows: to Milvus this is even.
    lab.push_all_to("long", ids[0]);
    lab.push_all_to("short", ids[1]);
    let half: Vec<i64> = lab.segments("short").iter().take(6).map(|segment| segment.id).collect();
    lab.push("short", ids[1], ids[2], &half);
    assert_eq!(lab.segment_counts("long", &ids), [6, 0, 0]);
    assert_eq!(lab.segment_counts("short", &ids), [0, 6, 6]);
    let digests = [lab.search_digest("long"), lab.search_digest("short")];

    let site = Site::of(&lab, &options(&lab, SEALED_BYTES));
    let mut daemon = site.start(&[]);
    // A node's own figure follows what it holds when somebody has asked for its metrics, some polls later.
    let (mut before, mut ratio) = (Vec::new(), 0.0);
    for _ in 0..20 {
        daemon.turns(1);
        before = sealed_bytes_of(&mut lab, &collections);
        ratio = (before[0] / 6.0) / ((before[1] + before[2]) / 12.0);
        if (12.0..20.0).contains(&ratio) {
            break;
        }
    }
    drop(daemon);
    assert!((12.0..20.0).contains(&ratio), "a long row has {ratio} times the bytes of a short one");

    let mut daemon = site.start(&["--mode", "act"]);
    follow_until_quiet(&mut daemon);
    let unevenness = |bytes: &[f64]| {
        let most = bytes.iter().copied().fold(0.0, f64::max);
        most * 3.0 / bytes.iter().sum::<f64>()
    };
    let mut after = sealed_bytes_of(&mut lab, &collections);
    for _ in 0..20 {
        if unevenness(&after) <= 1.05 {
            break;
        }
        daemon.turns(1);
        after = sealed_bytes_of(&mut lab, &collections);
    }
    println!(
        "sealed bytes, max/mean: {:.3} before, {:.3} after {} moves; a long row has {ratio:.1} times the bytes",
        unevenness(&before),
        unevenness(&after),
        site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'")
    );
    assert!(unevenness(&after) <= 1.05, "{before:?} became {after:?}");
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state <> 'landed'"), 0);
    assert_eq!([lab.search_digest("long"), lab.search_digest("short")], digests);
}

#[test]
fn unequal_nodes_are_filled_in_proportion_and_nothing_is_sent_that_the_server_would_refuse() {
    if lab_is_off() || !is_asked_for() {
        return;
    }
    const GIB: u64 = 1 << 30;
    // Node 3 comes later, with less memory than its process and two segments need.
    let limits = vec![(0, GIB), (1, GIB), (2, 2 * GIB), (3, 56 << 20)];
    let mut lab = Lab::start(LabOptions { memory_limits: limits, ..LabOptions::with_nodes(3) });
    lab.create_collection(&CollectionSpec { payload_bytes: 2_100, ..CollectionSpec::new("books", 16, 500) });
    let ids = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", ids[0]);
    let small = lab.start_node(None);
    lab.nodes.push(small.clone());
    let digest = lab.search_digest("books");

    let site = Site::of(&lab, &options(&lab, SEALED_BYTES));
    let mut daemon = site.start(&["--mode", "act"]);
    follow_until_quiet(&mut daemon);
    let counts = lab.segment_counts("books", &[ids[0], ids[1], ids[2], small.id]);
    println!("segments of equal size on nodes of 1, 1 and 2 GiB and of 56 MiB: {counts:?}");
    assert_eq!(counts, [4, 4, 8, 0], "in proportion to memory, and nothing for the small one");
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'"), 12);
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state <> 'landed'"), 0);
    let to_small = format!("SELECT count(*) FROM batches WHERE to_node = {}", small.id);
    assert_eq!(site.ask_journal(&to_small), 0);
    assert_eq!(lab.search_digest("books"), digest);
}

#[test]
fn a_node_is_emptied_while_data_comes_in_and_nothing_flows_back() {
    if lab_is_off() || !is_asked_for() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 9, 1000));
    let ids = [lab.id(0), lab.id(1), lab.id(2)];
    let drained = ids[2];
    lab.push_all_to("books", drained);
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    site.set("POLICIES__DRAIN__NODES", &lab.nodes[2].address.clone());
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.turns(1);
    // Milvus itself puts some of the new segments on the node that is being emptied.
    let mut placed_there = 0;
    for _ in 0..6 {
        let sealed = lab.insert_and_flush("books", 300);
        lab.insert("books", 50);
        daemon.turns(2);
        let segments = lab.segments("books");
        let is_new = |id: &i64| sealed.contains(id);
        placed_there += segments.iter().filter(|one| is_new(&one.id) && one.nodes.contains(&drained)).count();
    }
    // What was flushed last is listed when Milvus takes up its next target, ten seconds later.
    let (mut turns, mut quiet_turns) = (0, 0);
    while quiet_turns < 20 {
        let events = daemon.turns(1);
        turns += 1;
        let is_quiet = count(&events, "sending LoadBalance") == 0;
        let sealed = lab.segments("books").into_iter().filter(|segment| segment.state == "Sealed");
        let on_it = sealed.filter(|segment| segment.nodes.contains(&drained)).count();
        quiet_turns = if is_quiet && on_it == 0 { quiet_turns + 1 } else { 0 };
        assert!(turns < 120, "not empty after 120 polls: {on_it} segments");
    }
    let quiet = daemon.turns(5);
    assert_eq!(count(&quiet, "sending LoadBalance"), 0, "{quiet:#?}");
    let landed = site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'");
    println!(
        "{landed} moves; of 6 new segments, Milvus showed {placed_there} on the node that was being emptied"
    );
    assert!(landed >= 9, "{landed}");
    let back = format!("SELECT count(*) FROM batches WHERE to_node = {drained}");
    assert_eq!(site.ask_journal(&back), 0, "nothing flows back");
    let twice = "SELECT count(*) FROM (SELECT segment_id FROM operations WHERE state = 'landed' \
                 GROUP BY segment_id HAVING count(*) > 1)";
    assert_eq!(site.ask_journal(twice), 0, "no segment moves twice");
    let told = daemon.turns(1);
    drop(told);
    let plan = site.run(&["plan"]);
    assert!(plan.stdout.contains("nothing more that can move is on it"), "{}", plan.stdout);
    daemon.terminate();
    let (status, events) = daemon.wait();
    assert!(status.success(), "{status}");
    assert!(events.iter().any(|event| says(event, "being emptied: node")), "the log tells of it");

    // What is left is Milvus' own to move, and it does when the process is told to stop.
    let rows = lab.count("books");
    assert!(lab.stop_node(2), "the node ends in time");
    lab.wait_searchable("books");
    assert_eq!(lab.count("books"), rows);
}
