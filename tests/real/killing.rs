//! Whatever is killed in the middle of moves, the daemon, a query node or Milvus itself: no move is forgotten, none is
//! made twice, and searches find what they found before.

#![allow(clippy::disallowed_methods, reason = "a moment to kill at is real time")]

use std::collections::BTreeSet;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use crate::daemon::{Daemon, LIMITS_LIFTED, Site, says};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

/// How often the daemon is killed; the long form sets `MILVUS_REBALANCER_KILLS`.
const KILLS: u64 = 3;

/// Calls a minute, over all lives of the daemon.
const CALLS_PER_MINUTE: i64 = 30;

/// The moves whose end is not known.
pub const OPEN: &str = "SELECT count(*) FROM operations WHERE state IN ('admitted', 'sent', 'verifying')";

/// The moves that ended as moves do.
pub const ENDED: &str = "SELECT count(*) FROM operations \
                     WHERE state IN ('landed', 'refused', 'superseded', 'expired', 'contradicted')";

/// Moves of a segment that began before the one before them had ended.
pub const TOO_SOON: &str = "SELECT count(*) FROM operations later JOIN batches ON batches.id = later.batch \
                        JOIN operations earlier ON earlier.segment_id = later.segment_id AND earlier.id < later.id \
                        WHERE batches.created_at < earlier.changed_at";

/// The most calls within a minute, by the journal's own times.
const MOST_IN_A_MINUTE: &str = "SELECT max(calls) FROM (SELECT (SELECT count(*) FROM batches later WHERE later.id >= first.id \
     AND julianday(later.created_at) - julianday(first.created_at) < 59.0 / 86400) AS calls FROM batches first)";

/// A number from the environment, to repeat or to prolong.
pub fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// One segment a call, so that there are many, and short waits, so that what came to nothing is soon known: 2.3
/// cancels a move whose caller is gone.
pub const SOON_KNOWN: [(&str, &str); 6] = [
    ("EXECUTE__SEGMENTS_PER_CALL", "1"),
    ("EXECUTE__CALL_TIMEOUT", "5s"),
    ("EXECUTE__VERIFY_TIMEOUT", "5s"),
    ("EXECUTE__SETTLE_TIMEOUT", "8s"),
    ("POLL__BACKOFF_LIMIT", "2s"),
    // Segments that were pushed aside by hand are no reason to stop here.
    ("GATE__FOREIGN__MOVES", "1000000"),
];

fn site(lab: &Lab) -> Site {
    let mut site = Site::of(lab, LIMITS_LIFTED);
    for (option, value) in SOON_KNOWN {
        site.set(option, value);
    }
    site.set("EXECUTE__CALLS_IN_FLIGHT", "3");
    site.set("EXECUTE__CALLS_PER_MINUTE", &CALLS_PER_MINUTE.to_string());
    site
}

/// Whether segments lie unevenly enough that there is a wave to interrupt.
fn is_uneven(lab: &mut Lab, nodes: &[i64]) -> bool {
    let counts = lab.segment_counts("books", nodes);
    let (most, least) = (counts.iter().max(), counts.iter().min());
    most.zip(least).is_some_and(|(most, least)| most - least > 6)
}

/// Makes it uneven again, when a daemon that may not move anything has settled what the killed ones left: their moves
/// and ours would get into each other's way.
fn push_aside(site: &Site, lab: &mut Lab, node: i64) {
    let mut daemon = site.start(&[]);
    daemon.turns(1);
    let mut turns = 0;
    while site.ask_journal(OPEN) > 0 {
        daemon.turns(1);
        turns += 1;
        assert!(turns < 60, "a move stays open");
    }
    lab.push_all_to("books", node);
}

/// What must be true when all is over.
fn check_end(site: &Site, lab: &mut Lab, rows: i64, digest: &str) {
    lab.wait_search_digest("books", digest);
    assert_eq!(lab.count("books"), rows);
    let segments = lab.segments("books");
    assert!(segments.iter().all(|segment| segment.nodes.len() == 1), "{segments:?}");
    assert_eq!(site.ask_journal(ENDED), site.ask_journal("SELECT count(*) FROM operations"));
    assert_eq!(site.ask_journal(TOO_SOON), 0, "a segment was moved again before its move had ended");
    let most = site.ask_journal(MOST_IN_A_MINUTE);
    assert!(most <= CALLS_PER_MINUTE, "{most} calls within a minute");
}

/// Follows the daemon until nothing is open, nothing is left to do, and it has said so.
fn come_to_rest(site: &Site, daemon: &mut Daemon) -> Vec<Value> {
    let mut events = Vec::new();
    let mut quiet = 0;
    while quiet < 3 {
        let turn = daemon.turns(1);
        let failed = turn.iter().any(|event| says(event, "the cluster could not be observed"));
        let sent = turn.iter().any(|event| says(event, "sending LoadBalance"));
        let is_quiet = !failed && !sent && site.ask_journal(OPEN) == 0;
        // A limit may hold back what is left for a minute; then it is not at rest.
        let is_done = site.ask_journal("SELECT moves_planned FROM turns ORDER BY id DESC LIMIT 1") == 0;
        quiet = if is_quiet && is_done { quiet + 1 } else { 0 };
        events.extend(turn);
        assert!(
            events.iter().filter(|event| says(event, "turn ended")).count() < 240,
            "it does not come to rest"
        );
    }
    events
}

#[test]
fn daemons_killed_at_random_moments_forget_nothing_and_do_nothing_twice() {
    if lab_is_off() {
        return;
    }
    let (kills, seed) = (number("MILVUS_REBALANCER_KILLS", KILLS), number("MILVUS_REBALANCER_SEED", 0));
    println!("{kills} kills, seed {seed}; MILVUS_REBALANCER_KILLS and MILVUS_REBALANCER_SEED change them");
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 18, 1000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[2]);
    let (rows, digest) = (lab.count("books"), lab.search_digest("books"));
    let site = site(&lab);
    for kill in 0..kills {
        if !is_uneven(&mut lab, &nodes) {
            push_aside(&site, &mut lab, nodes[usize::try_from(kill % 3).unwrap_or_default()]);
        }
        let mut daemon = site.start(&["--mode", "act"]);
        // Some die before their first call, most while one is under way.
        if chance.random_bool(0.8) {
            daemon.wait_for("sending LoadBalance");
        }
        std::thread::sleep(Duration::from_millis(chance.random_range(0..1500)));
        daemon.kill();
    }
    let mut daemon = site.start(&["--mode", "act"]);
    come_to_rest(&site, &mut daemon);
    drop(daemon);
    check_end(&site, &mut lab, rows, &digest);
    let count = |state| site.ask_journal(&format!("SELECT count(*) FROM operations WHERE state = '{state}'"));
    println!(
        "{kills} kills: {} calls, {} moves landed, {} expired, {} refused, {} superseded, {} contradicted",
        site.ask_journal("SELECT count(*) FROM batches"),
        count("landed"),
        count("expired"),
        count("refused"),
        count("superseded"),
        count("contradicted")
    );
}

#[test]
fn a_query_node_and_then_milvus_itself_killed_in_the_middle_of_a_wave() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(4));
    lab.create_collection(&CollectionSpec::new("books", 16, 1000));
    lab.push_all_to("books", lab.id(0));
    let (rows, digest) = (lab.count("books"), lab.search_digest("books"));
    let site = site(&lab);
    let mut daemon = site.start(&["--mode", "act"]);

    // Of a query node, that of the first call: it dies while it loads, or soon after.
    let call = daemon.wait_for("sending LoadBalance");
    let dead = call["to"].as_i64().expect("node ids are in the event");
    let index = lab.nodes.iter().position(|node| node.id == dead).expect("a node of the lab");
    lab.kill_node(index);
    let events = come_to_rest(&site, &mut daemon);
    lab.wait_search_digest("books", &digest);
    let last_calls: Vec<&Value> =
        events.iter().rev().filter(|event| says(event, "sending LoadBalance")).take(3).collect();
    let used: BTreeSet<i64> =
        last_calls.iter().flat_map(|call| [call["from"].as_i64(), call["to"].as_i64()]).flatten().collect();
    assert!(!used.contains(&dead), "calls still go to a node that is dead: {last_calls:#?}");

    // Of Milvus itself, with all its coordinators, the proxy and a query node.
    let target = lab.nodes.iter().find(|node| node.index != 0 && node.id != dead).expect("a node is left").id;
    lab.push_all_to("books", target);
    daemon.wait_for("sending LoadBalance");
    lab.restart_standalone();
    lab.wait_searchable("books");
    come_to_rest(&site, &mut daemon);
    drop(daemon);
    check_end(&site, &mut lab, rows, &digest);
}
