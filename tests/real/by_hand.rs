//! `load-balance` on a real cluster: all combinations of given and omitted lists, wrong ones, and beside a daemon.

use serde_json::Value;

use crate::daemon::{LIMITS_LIFTED, Ran, Site, count};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

/// The answer to `load-balance --format json`.
fn rows(ran: &Ran) -> Vec<Value> {
    serde_json::from_str::<Value>(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?}, stderr {}", ran.stdout, ran.stderr))
        .as_array()
        .expect("a list of segments")
        .clone()
}

fn move_books(site: &Site, source: i64, more: &[&str]) -> Ran {
    let source = source.to_string();
    let arguments = ["load-balance", "--collection", "books", "--src-node", &source, "--format", "json"];
    site.run(&[&arguments, more].concat())
}

#[test]
fn lists_may_be_given_or_left_out() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    let created = lab.create_collection(&CollectionSpec::new("books", 6, 2000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[0]);
    let digest = lab.search_digest("books");
    let site = Site::of(&lab, LIMITS_LIFTED);
    let second = nodes[1].to_string();
    let ids: Vec<String> = created.segments.iter().map(ToString::to_string).collect();

    // Both lists given: two segments to the second node.
    let two = format!("{},{}", ids[0], ids[1]);
    let ran = move_books(&site, nodes[0], &["--dst-nodes", &second, "--segments", &two]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(lab.segment_counts("books", &nodes), [4, 2, 0]);
    for row in rows(&ran) {
        assert_eq!((&row["outcome"], &row["seen_on"][0]), (&"moved".into(), &Value::from(second.clone())));
    }

    // Destinations left out: the segment goes to the emptiest other node.
    let ran = move_books(&site, nodes[0], &["--segments", &ids[2]]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(lab.segment_counts("books", &nodes), [3, 2, 1]);

    // Segments left out: all go to the one destination.
    let ran = move_books(&site, nodes[0], &["--dst-nodes", &second]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(lab.segment_counts("books", &nodes), [0, 5, 1]);

    // Both left out: the node is emptied onto the others.
    let ran = move_books(&site, nodes[1], &[]);
    assert!(ran.status.success(), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(lab.segment_counts("books", &nodes), [3, 0, 3]);
    assert_eq!(lab.search_digest("books"), digest);

    let origins = site.ask_journal("SELECT count(*) FROM batches WHERE origin = 'manual'");
    assert_eq!(origins, 5, "one call for each source and destination");
    let table = site.run(&["load-balance", "--collection", "books", "--src-node", &nodes[0].to_string()]);
    assert!(table.stdout.contains("3 of 3 segments moved"), "{}", table.stdout);
}

#[test]
fn wrong_wishes_are_refused_before_anything_is_sent() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 3, 2000));
    let mut unloaded = CollectionSpec::new("papers", 1, 1000);
    unloaded.load = false;
    lab.create_collection(&unloaded);
    let (first, second) = (lab.id(0), lab.id(1));
    lab.push_all_to("books", first);
    let site = Site::of(&lab, LIMITS_LIFTED);

    let own = first.to_string();
    for (source, more, expected) in [
        (first, vec!["--dst-nodes", "9999"], "9999"),
        (first, vec!["--dst-nodes", &own], "source"),
        (first, vec!["--segments", "12345"], "12345"),
        (9999, vec![], "9999"),
        (second, vec![], "nothing on node"),
        (first, vec!["--collection", "papers"], "papers"),
        (first, vec!["--db", "nowhere"], "nowhere"),
    ] {
        let source = source.to_string();
        let mut arguments = vec!["load-balance", "--src-node", &source];
        if !more.contains(&"--collection") {
            arguments.extend(["--collection", "books"]);
        }
        let ran = site.run(&[arguments, more.clone()].concat());
        assert_eq!(ran.status.code(), Some(1), "{more:?}: {}{}", ran.stdout, ran.stderr);
        let errors: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(expected), "{expected:?} is not in {}", ran.stderr);
    }
    assert_eq!(lab.segment_counts("books", &[first]), [3]);
    assert_eq!(site.ask_journal("SELECT count(*) FROM batches"), 0);
}

#[test]
fn a_destination_without_memory_refuses_and_that_is_told() {
    if lab_is_off() {
        return;
    }
    let mut lab =
        Lab::start(LabOptions { memory_limits: vec![(1, 40_000_000)], ..LabOptions::with_nodes(2) });
    let created =
        lab.create_collection(&CollectionSpec { dim: 256, ..CollectionSpec::new("books", 2, 30000) });
    let (first, second) = (lab.id(0), lab.id(1));
    lab.push_all_to("books", first);
    let site = Site::of(&lab, LIMITS_LIFTED);
    let there = second.to_string();
    // The guard of 2.3.5 lets a first segment through that is too large; the next one it refuses.
    move_books(&site, first, &["--dst-nodes", &there, "--segments", &created.segments[0].to_string()]);
    let before = lab.segment_counts("books", &[first, second]);
    let ran =
        move_books(&site, first, &["--dst-nodes", &there, "--segments", &created.segments[1].to_string()]);
    assert_eq!(ran.status.code(), Some(4), "{}{}", ran.stdout, ran.stderr);
    let row = &rows(&ran)[0];
    assert_eq!(row["outcome"], "not moved", "{row}");
    assert!(row["why"].as_str().unwrap().contains("memory"), "{row}");
    assert_eq!(lab.segment_counts("books", &[first, second]), before, "the segment stayed where it was");
}

#[test]
fn a_daemon_is_warned_about_and_does_not_take_manual_moves_for_somebody_elses() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    let created = lab.create_collection(&CollectionSpec::new("books", 6, 2000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[0]);
    // Level enough for the daemon to leave it alone, whatever the person does.
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    site.set("POLICIES__ROWS__ENTER", "9.0");
    site.set("POLICIES__ROWS__LEAVE", "8.0");
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.turns(2);
    for segment in &created.segments[..4] {
        let ran = move_books(&site, nodes[0], &["--segments", &segment.to_string()]);
        assert!(ran.status.success(), "{}", ran.stderr);
        assert!(ran.stderr.contains("a daemon works with this journal"), "{}", ran.stderr);
    }
    let events = daemon.turns(3);
    assert_eq!(count(&events, "sending LoadBalance"), 0);
    daemon.terminate();
    let (_, said) = daemon.wait();
    assert!(!said.iter().any(|event| event["limited_by"] == "foreign_mover"), "{said:#?}");
}
