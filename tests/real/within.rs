//! Mode `within` on a real cluster whose own balancer is on: what it moves, Milvus leaves where it is. The measurement, which
//! also watches for longer, needs what that of `hot_segment` needs:
//!
//! ```text
//! MILVUS_REBALANCER_MEASURE=1 cargo test --release --test real within -- --nocapture
//! ```

use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::{LIMITS_LIFTED, Site, count};
use crate::hot_segment::{OPTIONS, Scene, is_asked_for, play};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

/// For how long Milvus is watched afterwards. Its balancer looks every few seconds (measured: it levels twelve segments
/// within 18 s).
const WATCHED: Duration = Duration::from_secs(20);
/// The same by night.
const WATCHED_LONG: Duration = Duration::from_secs(120);

/// Bytes, not counting what is no segment: in a lab that small, a process weighs more than its data.
const BYTES_OF_SEGMENTS: [(&str, &str); 5] = [
    ("POLICIES__ROWS__ENABLED", "false"),
    ("POLICIES__MEMORY__ENABLED", "true"),
    ("POLICIES__MEMORY__TURNS", "1"),
    ("POLICIES__MEMORY__MATTERS_ABOVE", "0"),
    ("POLICIES__MEMORY__BASE_LOAD", "false"),
];

/// Where the one segment of each collection is.
fn homes(lab: &mut Lab, names: &[String]) -> Vec<i64> {
    names.iter().map(|name| lab.segments(name)[0].nodes[0]).collect()
}

#[test]
fn bytes_are_levelled_beside_milvus_own_balancer_and_stay_so() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions { auto_balance: true, ..LabOptions::with_nodes(3) });
    // By rows all are equal; two of them are ten times as large as the others.
    let specs: Vec<CollectionSpec> = (0..6)
        .map(|number| {
            let payload_bytes = if number < 2 { 1200 } else { 0 };
            CollectionSpec { payload_bytes, ..CollectionSpec::new(&format!("c{number}"), 1, 2000) }
        })
        .collect();
    lab.create_collections(&specs);
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    // Two on each node, both large ones on the last.
    let wanted = |(number, name): (usize, &String)| (name.clone(), nodes[2 - number / 2]);
    let wanted: Vec<(String, i64)> = names.iter().enumerate().map(wanted).collect();
    lab.arrange(&wanted);
    let before = homes(&mut lab, &names);
    assert_eq!(before, [nodes[2], nodes[2], nodes[1], nodes[1], nodes[0], nodes[0]]);

    let targets: Vec<String> = lab
        .nodes
        .iter()
        .map(|node| format!("\"{}\" = \"http://{}/metrics\"", node.address, node.metrics))
        .collect();
    let options = format!("{LIMITS_LIFTED}\n[node_metrics.targets]\n{}\n", targets.join("\n"));
    let mut site = Site::of(&lab, &options);
    for (option, value) in BYTES_OF_SEGMENTS {
        site.set(option, value);
    }
    let mut daemon = site.start(&["--mode", "within"]);
    let mut events = daemon.turns(1);
    while count(&events, "move landed") < 1 {
        events.push(daemon.next_event());
        assert!(count(&events, "turn ended") <= 20, "nothing was moved: {events:#?}");
    }
    // Large ones are apart now, whatever else was moved with them.
    let mut quiet = daemon.turns(5);
    let after = homes(&mut lab, &names);
    assert_ne!(after[0], after[1], "{quiet:#?}");
    let landed = site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'");
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(i64::try_from(moved), Ok(landed), "{before:?} -> {after:?}: {quiet:#?}");

    let watched = if is_asked_for() { WATCHED_LONG } else { WATCHED };
    let until = Instant::now() + watched;
    while Instant::now() < until {
        quiet.extend(daemon.turns(5));
        assert_eq!(homes(&mut lab, &names), after, "somebody moved on: {quiet:#?}");
    }
    assert_eq!(site.ask_journal("SELECT count(*) FROM foreign_moves"), 0);
    println!("within, autoBalance on: {landed} moves landed, none taken back in {} s", watched.as_secs());
}

#[test]
fn the_hot_pair_is_parted_beside_milvus_own_balancer_and_stays_so() {
    if lab_is_off() || !is_asked_for() {
        return;
    }
    let mut scene = Scene::start(true);
    let measured = play(&mut scene, OPTIONS, "within");
    measured.tell("within, autoBalance on");
    measured.check();
}
