//! Stopping, killing and starting again in the middle of moves: nothing is forgotten and nothing done twice.

use crate::daemon::{LIMITS_LIFTED, Site, count, lines_of_level};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

#[test]
fn a_running_call_may_finish_and_its_operations_are_in_the_journal() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(2));
    lab.create_collection(&CollectionSpec::new("books", 4, 2000));
    let nodes = [lab.id(0), lab.id(1)];
    lab.push_all_to("books", nodes[1]);
    let site = Site::of(&lab, LIMITS_LIFTED);
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.wait_for("sending LoadBalance");
    daemon.terminate();
    let (status, said) = daemon.wait();
    assert!(status.success(), "{status}");
    assert_eq!(count(&said, "sending LoadBalance"), 1, "no new calls: {said:#?}");
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations"), 2);
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state IN ('admitted', 'sent')"), 0);

    // A second daemon finds what the first left, ends it, and finds nothing else to do.
    let mut daemon = site.start(&["--mode", "act"]);
    let events = daemon.turns(4);
    assert_eq!(count(&events, "sending LoadBalance"), 0, "{events:#?}");
    assert_eq!(lab.segment_counts("books", &nodes), [2, 2]);
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'"), 2);
}

#[test]
fn a_call_that_hangs_is_left_open_and_settled_by_the_next_daemon() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 4, 2000));
    let nodes = [lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[0]);
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    site.set("EXECUTE__STOP_TIMEOUT", "1s");
    // 2.3 cancels a move whose caller hangs up: it will not happen any more, and that shows only by waiting.
    site.set("EXECUTE__CALL_TIMEOUT", "5s");
    site.set("EXECUTE__VERIFY_TIMEOUT", "5s");
    site.set("EXECUTE__SETTLE_TIMEOUT", "10s");
    let digest = lab.search_digest("books");

    // Every destination hangs, so the calls do too.
    lab.pause_node(2);
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.wait_for("sending LoadBalance");
    daemon.terminate();
    let (status, said) = daemon.wait();
    assert!(status.success(), "{status}: {said:#?}");
    lab.resume_node(2);
    let open = "SELECT count(*) FROM operations WHERE state IN ('sent', 'verifying')";
    assert!(site.ask_journal(open) > 0, "{said:#?}");

    let mut daemon = site.start(&["--mode", "act"]);
    let mut turns = 0;
    while site.ask_journal(open) > 0 {
        daemon.turns(1);
        turns += 1;
        assert!(turns < 60, "an operation stays open");
    }
    daemon.turns(3);
    daemon.terminate();
    let (_, said) = daemon.wait();
    assert_eq!(lines_of_level(&said, "ERROR"), Vec::<String>::new());
    lab.wait_search_digest("books", &digest);
    assert_eq!(site.ask_journal(open), 0);
    let segments = lab.segments("books");
    assert!(segments.iter().all(|segment| segment.nodes.len() == 1), "{segments:?}");
}

#[test]
fn a_killed_daemon_is_followed_by_one_that_knows_what_was_sent() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 12, 2000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[2]);
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    // 2.3 cancels a move whose caller is gone: it will not happen any more, and that shows only by waiting.
    site.set("EXECUTE__CALL_TIMEOUT", "5s");
    site.set("EXECUTE__VERIFY_TIMEOUT", "5s");
    site.set("EXECUTE__SETTLE_TIMEOUT", "10s");
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.wait_for("sending LoadBalance");
    daemon.kill();
    assert!(site.ask_journal("SELECT count(*) FROM operations") > 0, "the intent comes before the call");

    let mut daemon = site.start(&["--mode", "act"]);
    let mut turns = 0;
    while lab.segment_counts("books", &nodes) != [4, 4, 4] {
        daemon.turns(1);
        turns += 1;
        assert!(turns < 60, "not level after sixty polls");
    }
    let quiet = daemon.turns(4);
    assert_eq!(count(&quiet, "sending LoadBalance"), 0, "{quiet:#?}");
    let twice = "SELECT count(*) FROM (SELECT segment_id FROM operations WHERE state = 'landed' \
                 GROUP BY segment_id HAVING count(*) > 1)";
    assert_eq!(site.ask_journal(twice), 0, "no segment moved twice");
    assert_eq!(site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'"), 8);
}

#[test]
fn two_daemons_do_not_share_a_journal() {
    if lab_is_off() {
        return;
    }
    let lab = Lab::start(LabOptions::with_nodes(1));
    let site = Site::of(&lab, LIMITS_LIFTED);
    let mut daemon = site.start(&[]);
    daemon.turns(1);
    let second = site.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(second.stderr.contains("already works with this journal"), "{}", second.stderr);
}
