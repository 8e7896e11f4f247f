//! What goes wrong in real life: each trouble gives one clear line (what, where, what to do), and the daemon goes on
//! looking.

use serde_json::{Value, json};

use crate::daemon::{Daemon, LIMITS_LIFTED, Site, count, lines_of_level, says};
use crate::lab::{CollectionSpec, Lab, LabOptions, Tls, lab_is_off};

/// What a daemon says when it cannot observe; it must say it in one line and go on.
fn complaint(daemon: &mut Daemon) -> String {
    let event = daemon.wait_for("the cluster could not be observed");
    daemon.wait_for("turn ended");
    daemon.wait_for("the cluster could not be observed");
    let line = event["error"].as_str().expect("the error is a text").to_owned();
    assert!(!line.contains('\n'), "{line}");
    line
}

fn expect_complaint(site: &Site, parts: &[&str]) {
    let line = complaint(&mut site.start(&["--mode", "act"]));
    for part in parts {
        assert!(line.contains(part), "{part:?} is missing from: {line}");
    }
}

#[test]
fn wrong_ways_to_the_server_are_told_apart() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions { auth: true, tls: Tls::Server, ..LabOptions::with_nodes(1) });
    lab.create_collection(&CollectionSpec::new("books", 2, 1000));
    let site = Site::of(&lab, LIMITS_LIFTED);
    let mut daemon = site.start(&["--mode", "act"]);
    let events = daemon.turns(2);
    assert_eq!(
        lines_of_level(&events, "ERROR"),
        Vec::<String>::new(),
        "with everything right there is no trouble"
    );
    drop(daemon);

    let mut wrong_password = Site::of(&lab, LIMITS_LIFTED);
    wrong_password.set("CONNECTIONS__DEFAULT__PASSWORD", "not-it");
    expect_complaint(&wrong_password, &[&lab.proxy, "user", "password"]);

    let mut plain = Site::at(&format!("http://{}", lab.proxy), LIMITS_LIFTED);
    plain.set("CONNECTIONS__DEFAULT__USER", "root");
    plain.set("CONNECTIONS__DEFAULT__PASSWORD", "Milvus");
    expect_complaint(&plain, &[&lab.proxy, "https://"]);

    let unknown_authority = Site::at(&lab.url(), LIMITS_LIFTED);
    expect_complaint(&unknown_authority, &[&lab.proxy, "ca_file"]);

    let metrics_port = format!("http://{}", lab.nodes[0].metrics);
    expect_complaint(&Site::at(&metrics_port, LIMITS_LIFTED), &[&lab.nodes[0].metrics, "19530"]);
}

#[test]
fn a_role_without_rights_sees_no_databases_and_nothing_is_moved() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions { auth: true, ..LabOptions::with_nodes(2) });
    lab.create_collection(&CollectionSpec::new("books", 4, 1000));
    lab.create_database("other");
    lab.create_collection(&CollectionSpec {
        database: Some("other".to_owned()),
        ..CollectionSpec::new("papers", 2, 1000)
    });
    lab.push_all_to("books", lab.id(1));
    lab.create_user("reader", "reader-password");
    lab.grant("small", "reader", "Global", &["ShowCollections", "DescribeCollection"]);
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    site.set("CONNECTIONS__DEFAULT__USER", "reader");
    site.set("CONNECTIONS__DEFAULT__PASSWORD", "reader-password");
    let mut daemon = site.start(&["--mode", "act"]);
    let events = daemon.turns(3);
    assert_eq!(count(&events, "sending LoadBalance"), 0, "{events:#?}");
    assert!(events.iter().any(|event| event["limited_by"] == "visibility_gap"), "{events:#?}");
}

#[test]
fn nothing_listens_there_and_then_something_does() {
    if lab_is_off() {
        return;
    }
    let site = Site::at("http://127.0.0.1:1", LIMITS_LIFTED);
    expect_complaint(&site, &["127.0.0.1:1"]);
    let once = site.run(&["plan"]);
    assert_eq!(once.status.code(), Some(3), "{}", once.stderr);
    assert_eq!(once.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{}", once.stderr);

    // The daemon rides out a restart of Milvus: it goes on by itself when the server is back.
    let mut lab = Lab::start(LabOptions::with_nodes(2));
    lab.create_collection(&CollectionSpec::new("books", 4, 1000));
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    site.set("POLL__BACKOFF_LIMIT", "2s");
    let mut daemon = site.start(&[]);
    daemon.turns(2);
    lab.restart_standalone();
    lab.wait_searchable("books");
    // Depending on the moment, a whole poll fails or only a part of it; either is told, and then it goes on.
    let mut was_told = false;
    for _ in 0..60 {
        let events = daemon.turns(1);
        let trouble = events.iter().any(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            says(event, "the cluster could not be observed") || message.contains("could not read")
        });
        was_told |= trouble;
        if was_told && !trouble && events.last().is_some_and(|event| event["failures_in_a_row"] == json!(0)) {
            return;
        }
    }
    panic!("a restart of Milvus was not told, or not survived, in sixty turns (told: {was_told})");
}

#[test]
fn clusters_with_nothing_to_do_are_quiet() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(1));
    let site = Site::of(&lab, LIMITS_LIFTED);
    let quiet = |site: &Site| {
        let mut daemon = site.start(&["--mode", "act"]);
        let events = daemon.turns(3);
        assert_eq!(count(&events, "sending LoadBalance"), 0, "{events:#?}");
        assert_eq!(lines_of_level(&events, "ERROR"), Vec::<String>::new());
    };
    quiet(&site);
    let mut unloaded = CollectionSpec::new("papers", 2, 1000);
    unloaded.load = false;
    lab.create_collection(&unloaded);
    quiet(&site);
    lab.create_collection(&CollectionSpec::new("books", 4, 1000));
    quiet(&site);
    let plan = site.run(&["plan"]);
    assert!(plan.stdout.contains("Nothing to move"), "{}", plan.stdout);
}

#[test]
fn a_collection_dropped_between_poll_and_call_is_an_ordinary_end() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(2));
    lab.create_collection(&CollectionSpec::new("books", 6, 1000));
    lab.push_all_to("books", lab.id(1));
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    // One segment a call and one call at a time: the collection goes while most are still to be sent.
    site.set("EXECUTE__SEGMENTS_PER_CALL", "1");
    site.set("EXECUTE__CALLS_IN_FLIGHT", "1");
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.wait_for("sending LoadBalance");
    lab.drop_collection("books");
    let open = "SELECT count(*) FROM operations WHERE state IN ('sent', 'verifying')";
    let mut turns = 0;
    while site.ask_journal(open) > 0 {
        daemon.turns(1);
        turns += 1;
        assert!(turns < 60, "an operation on a dropped collection stays open");
    }
    let events = daemon.turns(3);
    assert_eq!(count(&events, "sending LoadBalance"), 0, "{events:#?}");
    assert_eq!(lines_of_level(&events, "ERROR"), Vec::<String>::new());
}

#[test]
fn a_killed_node_is_neither_source_nor_destination() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(4));
    lab.create_collection(&CollectionSpec::new("books", 12, 1000));
    let dead = lab.id(3);
    lab.push_all_to("books", lab.id(2));
    let digest = lab.search_digest("books");
    let site = Site::of(&lab, LIMITS_LIFTED);
    lab.kill_node(3);
    let mut daemon = site.start(&["--mode", "act"]);
    let mut events: Vec<Value> = daemon.turns(1);
    while count(&events, "nothing more to move") == 0 {
        events.extend(daemon.turns(1));
        assert!(count(&events, "turn ended") < 90, "not level after ninety polls: {events:#?}");
    }
    let sent_to_dead =
        events.iter().filter(|event| event["to"] == json!(dead) || event["from"] == json!(dead));
    let after_it_was_noticed: Vec<&Value> = sent_to_dead.collect();
    assert_eq!(after_it_was_noticed, Vec::<&Value>::new(), "{events:#?}");
    lab.wait_search_digest("books", &digest);
}
