//! The admin API of a daemon on a real Milvus, by the commands that people use.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;

use crate::daemon::{LIMITS_LIFTED, Ran, Site};
use crate::lab::{CollectionSpec, Lab, LabOptions, lab_is_off};

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?}, stderr {}", ran.stdout, ran.stderr))
}

fn said(site: &Site, arguments: &[&str]) -> String {
    let ran = site.run(arguments);
    assert!(ran.status.success(), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
    ran.stdout
}

/// What a browser gets.
fn page(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:.300}");
    answer
}

/// The page shows what the commands print: every node with its pressure, the plan, and the reasons. A turn may come
/// between the two, so it is looked at again.
fn the_page_shows_the_cluster(site: &Site, at: SocketAddr) {
    let mut missing = Vec::new();
    for _ in 0..10 {
        let nodes = json(&site.run(&["nodes", "--format", "json"]));
        let plan = json(&site.run(&["plan", "--live", "--format", "json"]));
        let status = json(&site.run(&["status", "--format", "json"]));
        let shown = page(at, "/");
        let mut wanted = vec![
            status["verdict"].as_str().unwrap().split("; ").next().unwrap().to_owned(),
            "In mode advise nothing is moved.".to_owned(),
            format!("held back: {}.", status["limited_by"]["sentence"].as_str().unwrap()),
            format!("<code>{}</code>", plan["digest"].as_str().unwrap()),
        ];
        for node in nodes.as_array().unwrap() {
            wanted.push(format!("?node={0}#ask\">{0}</a>", node["id"].as_str().unwrap()));
            for pressure in node["pressures"].as_array().unwrap() {
                wanted.push(format!("{:.2}×", pressure["pressure"].as_f64().unwrap()));
                wanted.push(pressure["load_text"].as_str().unwrap().to_owned());
            }
        }
        for step in plan["steps"]["items"].as_array().unwrap() {
            let movement = &step["moves"][0];
            let [segment, from, to] = ["segment", "from", "to"].map(|key| movement[key].as_str().unwrap());
            wanted.push(format!("segment {segment} of "));
            wanted.push(format!("<p>{from} → {to}</p>"));
        }
        missing = wanted.into_iter().filter(|text| !shown.contains(text)).collect();
        if missing.is_empty() {
            return;
        }
    }
    panic!("the page lacks {missing:?}: {}", page(at, "/"));
}

#[test]
fn a_daemon_is_asked_paused_and_moves_by_hand() {
    if lab_is_off() {
        return;
    }
    let mut lab = Lab::start(LabOptions::with_nodes(3));
    let created = lab.create_collection(&CollectionSpec::new("books", 6, 2000));
    let nodes = [lab.id(0), lab.id(1), lab.id(2)];
    lab.push_all_to("books", nodes[0]);
    let mut site = Site::of(&lab, LIMITS_LIFTED);
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.set("ADMIN__LISTEN", &free.to_string());
    let mut daemon = site.start(&[]);
    daemon.wait_for("turn ended");

    let status = json(&site.run(&["status", "--format", "json"]));
    assert_eq!((&status["nodes"], &status["mode"]), (&3.into(), &"advise".into()), "{status}");
    let plan = json(&site.run(&["plan", "--live", "--format", "json"]));
    let movement = &plan["steps"]["items"][0]["moves"][0];
    assert_eq!(movement["from"], nodes[0].to_string(), "{plan}");
    let segment = movement["segment"].as_str().unwrap();
    assert!(created.segments.iter().any(|known| known.to_string() == segment));
    the_page_shows_the_cluster(&site, free);
    for path in ["/page.css", "/page.js"] {
        assert!(page(free, path).contains("\r\n\r\n/"), "{path} begins with what it is for");
    }
    let asked = page(free, &format!("/?segment={segment}"));
    assert!(asked.contains("the plan moves it to node "), "{asked}");
    let why = said(&site, &["why", "segment", segment]);
    assert!(why.contains("the plan moves it to node "), "{why}");
    let to = movement["to"].as_str().unwrap();
    assert!(said(&site, &["why-not", "--segment", segment, "--to", to]).contains("the plan does that"));

    assert!(said(&site, &["pause", "--reason", "lab"]).contains("the daemon has taken the order"));
    daemon.turns(2);
    assert!(said(&site, &["status"]).contains("held back (paused)"));
    assert!(page(free, "/").contains("until somebody resumes: lab."));
    said(&site, &["resume"]);

    let drained = nodes[2].to_string();
    assert!(said(&site, &["drain", &drained]).contains(&format!("drain:       node {drained}")));
    daemon.turns(2);
    let node = json(&site.run(&["nodes", "--format", "json"]));
    let node = node.as_array().unwrap().iter().find(|node| node["id"] == drained).unwrap();
    assert_eq!(node["drained"], true);
    assert!(page(free, "/").contains(&format!("Node {drained} is being emptied, ordered by ")));
    said(&site, &["undrain", &drained]);

    let arguments = ["load-balance", "--collection", "books", "--src-node", &nodes[0].to_string()];
    let moved = said(&site, &[&arguments[..], &["--segments", segment, "--dst-nodes", to]].concat());
    assert!(moved.contains("1 of 1 segments moved"), "{moved}");
    let after = page(free, "/");
    assert!(
        after.contains(&format!("<td>segment {segment} of ")) && after.contains("<td>by hand</td>"),
        "{after}"
    );
    assert_eq!(lab.segment_counts("books", &nodes).iter().sum::<usize>(), 6);
    assert_eq!(site.ask_journal("SELECT count(*) FROM audit WHERE action = 'load-balance'"), 1);
    let more = json(&site.run(&["what-if", "add-node=1GiB", "--format", "json"]));
    assert_eq!((&more["before"]["nodes"], &more["after"]["nodes"]), (&3.into(), &4.into()), "{more}");
    daemon.turns(2);
    daemon.terminate();
    let (ended, _) = daemon.wait();
    assert!(ended.success(), "{ended:?}");

    // What it recorded of a real cluster gives the same plans again.
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (plain, scrubbed) = (file("all.jsonl.zst"), file("scrubbed.jsonl"));
    said(&site, &["record", "export", "--out", &plain]);
    said(&site, &["record", "export", "--out", &scrubbed, "--scrub"]);
    for recording in [&plain, &scrubbed] {
        let report = json(&site.run(&["replay", recording, "--format", "json"]));
        let turns = report["turns"].as_u64().unwrap();
        println!("{turns} real turns in {} bytes", std::fs::metadata(recording).unwrap().len());
        assert!(turns > 5, "{report}");
        assert_eq!(report["reproduced"], turns, "{}", report["first_deviation"]);
    }
    assert!(!std::fs::read_to_string(&scrubbed).unwrap().contains("books"));
}
