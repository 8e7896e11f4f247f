//! What leaves the machine: the same turns in one file, with the names of strangers where that is asked for.

use std::process::{Command, Output};

use milvus_rebalancer::journal::{ExportReader, ExportWriter};
use milvus_rebalancer::policy::pattern::Patterns;
use milvus_rebalancer::replay::Replay;
use milvus_rebalancer::replay::scrub::Scrubber;
use milvus_rebalancer::turn::ThinkingSettings;
use serde_json::Value;

use super::world::{Daemon, busy, recorded, uneven};

/// Runs the binary in a folder, without anything of this machine's environment.
pub fn run(folder: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"))
        .args(arguments)
        .env_clear()
        .env("MILVUS_REBALANCER__JOURNAL__PATH", folder.join("it.db"))
        .current_dir(folder)
        .output()
        .unwrap()
}

pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A folder in which a daemon has taken so many turns, by options that name a node and a collection.
pub async fn recorded_folder(turns: u64) -> tempfile::TempDir {
    let (world, folder) = (uneven(), tempfile::tempdir().unwrap());
    let mut settings = ThinkingSettings::default();
    settings.policies.pin.collections = Patterns::of("*nothing*");
    settings.policies.spread.collections = Patterns::of("default.*");
    settings.policies.drain.nodes = Patterns::of("3,*:99999");
    let mut daemon = Daemon::start(&world, folder.path(), busy(&settings));
    daemon.turns(turns).await;
    daemon.kill().await;
    folder
}

#[tokio::test(start_paused = true)]
async fn an_exported_recording_is_the_recording() {
    let folder = recorded_folder(6).await;
    let before = recorded(folder.path());
    for name in ["all.jsonl", "all.jsonl.zst"] {
        let said = said(&run(folder.path(), &["record", "export", "--out", name]));
        assert_eq!(said, format!("6 turns written to {name}\n"));
        let reader = ExportReader::open(&folder.path().join(name)).unwrap();
        assert!(!reader.header().unwrap().scrubbed);
        assert_eq!(reader.map(Result::unwrap).collect::<Vec<_>>(), before, "{name}");
    }
    let length = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    assert!(length("all.jsonl") > 4 * length("all.jsonl.zst"));

    let later = ["record", "export", "--out", "later.jsonl", "--since", "2999-01-01T00:00:00Z"];
    assert_eq!(
        said(&run(folder.path(), &later)),
        "6 turns written to later.jsonl\n",
        "the newest file stays"
    );
}

#[tokio::test(start_paused = true)]
async fn the_program_replays_what_it_exported_and_compares_other_options() {
    let folder = recorded_folder(8).await;
    said(&run(folder.path(), &["record", "export", "--out", "all.jsonl.zst"]));
    let text = said(&run(folder.path(), &["replay", "all.jsonl.zst"]));
    assert!(text.contains("the recorded options give the recorded plans, turn by turn"), "{text}");
    assert!(!text.contains("other options"), "{text}");

    std::fs::write(folder.path().join("new.toml"), "[policies.memory]\nenter = 5.0\nleave = 4.0\n").unwrap();
    let arguments =
        ["replay", "all.jsonl.zst", "--config", "new.toml", "--html", "page.html", "--format", "json"];
    let report: Value = serde_json::from_str(&said(&run(folder.path(), &arguments))).unwrap();
    assert_eq!((&report["turns"], &report["reproduced"]), (&8.into(), &8.into()));
    assert!(report["old"]["asked"]["moves"].as_u64().unwrap() > 0, "{report}");
    assert!(report["old"]["out_of_band_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(report["new"]["out_of_band_seconds"], 0.0, "nothing is above such a band");
    assert!(report["different_plans"].as_u64().unwrap() > 0);
    assert_eq!(report["old"]["series"].as_array().unwrap().len(), 8);

    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for part in
        ["other options", "<svg", "Worst memory pressure", "time out of band", "polyline class=\"new\""]
    {
        assert!(page.contains(part), "{part} is missing");
    }
    for part in ["<script", "http-equiv", "src=", "NaN", "inf,", "<link"] {
        assert!(!page.contains(part), "{part} is there");
    }

    // A file of the daemon itself will do.
    let own = super::world::files(folder.path()).remove(0);
    let text = said(&run(folder.path(), &["replay", own.to_str().unwrap()]));
    assert!(text.starts_with("8 turns from "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_scrubbed_recording_says_no_name_and_gives_the_same_plans() {
    let folder = recorded_folder(8).await;
    let turns = recorded(folder.path());
    let mut names: Vec<String> = Vec::new();
    for turn in &turns {
        let observation = &turn.observation;
        names.extend(observation.nodes.iter().map(|node| node.address.clone()));
        names.extend(
            observation
                .nodes
                .iter()
                .filter_map(|node| node.address.rsplit_once(':').map(|(host, _)| host.to_owned())),
        );
        for group in observation.resource_groups.iter().flatten() {
            names.extend(group.nodes.iter().flatten().map(|node| node.hostname.clone()));
        }
        names.extend(observation.collections.iter().map(|collection| collection.name.clone()));
    }
    names.sort();
    names.dedup();
    names.retain(|name| name.len() > 2);
    assert!(names.len() > 8, "{names:?}");

    said(&run(folder.path(), &["record", "export", "--out", "plain.jsonl"]));
    said(&run(folder.path(), &["record", "export", "--out", "scrubbed.jsonl", "--scrub"]));
    let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (plain, scrubbed) = (text("plain.jsonl"), text("scrubbed.jsonl"));
    for name in &names {
        assert!(plain.contains(name.as_str()), "{name} is not in the plain one: that would be no test");
        assert!(!scrubbed.contains(name.as_str()), "{name} is still there");
    }
    assert!(scrubbed.contains("collection-1") && scrubbed.contains("host-1"), "{scrubbed}");

    let reader = ExportReader::open(&folder.path().join("scrubbed.jsonl")).unwrap();
    assert!(reader.header().unwrap().scrubbed);
    let mut replay = Replay::new(None);
    for turn in reader {
        replay.turn(&turn.unwrap()).unwrap();
    }
    let report = replay.finish().unwrap();
    assert_eq!((report.turns, report.reproduced), (8, 8), "{:?}", report.first_deviation);

    // Twice the same names give the same others.
    let mut scrubber = Scrubber::default();
    let mut writer = ExportWriter::create(&folder.path().join("again.jsonl"), true).unwrap();
    for mut turn in turns {
        scrubber.scrub(&mut turn);
        writer.push(turn).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(text("again.jsonl"), scrubbed);
}
