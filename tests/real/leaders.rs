//! Two daemons on one real cluster, of which the cluster's own etcd lets one act: the leader is killed, or stopped and
//! continued, in the middle of its moves, and the other one goes on. A proxy between them and Milvus notes who asks for what.

#![allow(clippy::disallowed_methods, reason = "the life of a lease is real time")]

use std::time::{Duration, Instant};

use crate::call_recorder::CallRecorder;
use crate::daemon::{Daemon, LIMITS_LIFTED, Site};
use crate::killing::{ENDED, OPEN, SOON_KNOWN, TOO_SOON, number};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

/// As short as settings allow.
const LIFE: Duration = Duration::from_secs(3);

/// A bound on hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Falls of the leader, one of either kind; by night `MILVUS_REBALANCER_KILLS`.
const FALLS: u64 = 2;

/// More than that, and the segments are even before all of them have happened.
const MOST_FALLS: u64 = 6;

struct Instance {
    name: &'static str,
    site: Site,
    daemon: Option<Daemon>,
}

impl Instance {
    fn new(name: &'static str, recorder: &CallRecorder, lab: &Lab) -> Instance {
        let (etcd, life) = (&lab.etcd, LIFE.as_secs());
        let lease = format!(
            "[lease]\nengine = \"etcd\"\ninstance = \"{name}\"\n[lease.etcd]\nendpoints = [\"http://{etcd}\"]\n\
             time_to_live = \"{life}s\"\n"
        );
        let mut site = Site::at(recorder.url(), &format!("{lease}{LIMITS_LIFTED}"));
        for (option, value) in SOON_KNOWN {
            site.set(option, value);
        }
        // Many calls, so that there are some left to fall in.
        site.set("EXECUTE__CALLS_IN_FLIGHT", "1");
        Instance { name, site, daemon: None }
    }

    fn start(&mut self) {
        self.daemon = Some(self.site.start(&["--mode", "act"]));
    }

    fn leads(&mut self) -> bool {
        self.shows("milvus_rebalancer_leader 1")
    }

    fn shows(&mut self, line: &str) -> bool {
        let Some(daemon) = &mut self.daemon else { return false };
        daemon.try_get("/metrics").is_some_and(|page| page.lines().any(|other| other == line))
    }
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let ends = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < ends, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn two_daemons_move_as_one_whatever_happens_to_the_leader() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    lab.create_collection(&CollectionSpec::new("books", 24, 1000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[2]);
    let (rows, digest) = (lab.count("books"), lab.search_digest("books"));
    let recorder = CallRecorder::start(&lab.proxy);
    let mut instances = ["first", "second"].map(|name| Instance::new(name, &recorder, &lab));
    instances.iter_mut().for_each(Instance::start);

    let falls = number("MILVUS_REBALANCER_KILLS", FALLS).min(MOST_FALLS);
    let (mut slowest, mut stale) = (Duration::ZERO, 0);
    for fall in 0..falls {
        let mut leader = 0;
        until("one leads", || {
            instances.iter_mut().position(Instance::leads).inspect(|found| leader = *found).is_some()
        });
        let name = instances[leader].name;
        let before = recorder.calls_of(name);
        until("the leader asks for a move", || {
            recorder.calls_of(name) > before || lab.segment_counts("books", &nodes) == [8, 8, 8]
        });
        let is_killed = fall % 2 == 0;
        if is_killed {
            instances[leader].daemon.as_mut().unwrap().kill();
        } else {
            instances[leader].daemon.as_ref().unwrap().signal("STOP");
        }
        let fell = Instant::now();
        until("the other one leads", || instances[1 - leader].leads());
        slowest = slowest.max(fell.elapsed());
        if is_killed {
            instances[leader].start();
        } else {
            let sent = recorder.calls_of(name);
            instances[leader].daemon.as_ref().unwrap().signal("CONT");
            until("who was stopped knows that another one leads", || {
                instances[leader].shows("milvus_rebalancer_limited_by{reason=\"not_leader\"} 1")
            });
            stale += recorder.calls_of(name) - sent;
        }
    }
    let even = [8, 8, 8];
    until("the segments are even", || lab.segment_counts("books", &nodes) == even);
    let leader = instances.iter_mut().find_map(|one| one.leads().then_some(&*one)).expect("one leads");
    until("no move is open", || leader.site.ask_journal(OPEN) == 0);
    assert_eq!(leader.site.ask_journal(ENDED), leader.site.ask_journal("SELECT count(*) FROM operations"));
    assert_eq!(leader.site.ask_journal(TOO_SOON), 0, "a segment was moved again before its move had ended");
    let callers = recorder.callers();
    assert!(callers.iter().all(|caller| caller == "first" || caller == "second"), "{callers:?}");
    assert!(stale as u64 <= falls / 2, "leaders of before sent {stale} calls");
    lab.wait_search_digest("books", &digest);
    assert_eq!(lab.count("books"), rows);
    let landed = leader.site.ask_journal("SELECT count(*) FROM operations WHERE state = 'landed'");
    println!(
        "{falls} falls of the leader: {} calls, {landed} moves landed of the 16 that are needed, {stale} calls by a leader \
         of before; slowest takeover {:.1} s with a lease of {} s",
        callers.len(),
        slowest.as_secs_f64(),
        LIFE.as_secs()
    );
}
