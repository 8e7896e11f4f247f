//! Files that are none, or not whole, or of somebody else: each is refused in words, with exit code 1, and nothing panics.

use std::io::Cursor;
use std::path::Path;

use milvus_rebalancer::journal::ExportReader;
use milvus_rebalancer::replay::{Replay, ReplayError};

use super::exporting::{recorded_folder, run, said};

/// What the program says to a file with this content.
fn refusal(folder: &Path, content: &[u8]) -> String {
    std::fs::write(folder.join("given"), content).unwrap();
    let output = run(folder, &["replay", "given"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: ") && output.stdout.is_empty(), "{stderr}");
    assert!(stderr.lines().count() == 1 && stderr.len() < 1_000, "{stderr}");
    stderr
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_refused_in_words() {
    let folder = recorded_folder(3).await;
    said(&run(folder.path(), &["record", "export", "--out", "all.jsonl"]));
    let whole = std::fs::read_to_string(folder.path().join("all.jsonl")).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines.len(), 4, "a header and three turns");
    let refused = |content: &[u8]| refusal(folder.path(), content);

    assert!(refused(b"").contains("is no recording: it is empty"));
    assert!(refused(b"\n").contains("is no recording"));
    assert!(refused(b"\x1b[2Jhello").contains("is no recording"));
    assert!(refused(&[0x28, 0xb5, 0x2f, 0xfd, 9, 9, 9]).contains("first line cannot be read"));
    assert!(refused(br#"{"format":"milvus-rebalancer snapshot","version":1}"#).contains("calls itself"));
    let newer = br#"{"format":"milvus-rebalancer recording","version":2,"colour":"red"}"#;
    assert!(refused(newer).contains("by a newer milvus-rebalancer (format 2, this one knows 1)"));
    let newer = format!("{}\n{}\n", lines[0], r#"{"format":3,"at":"soon"}"#);
    assert!(refused(newer.as_bytes()).contains("format 3, this one knows 2"));
    assert!(refused(lines[0].as_bytes()).contains("there is no turn in this recording"));

    let cut = &whole[..whole.len() - 40];
    assert!(refused(cut.as_bytes()).contains("line 4"), "the line breaks off");
    let headless = format!("{}\n{}\n{}\n", lines[0], lines[2], lines[3]);
    assert!(refused(headless.as_bytes()).contains("begins with a difference"));
    let holed = format!("{}\n{}\n{}\n", lines[0], lines[1], lines[3]);
    assert!(refused(holed.as_bytes()).contains("builds on one that is not in this recording"));
    let strange = whole.replacen("\"memory\":{", "\"memory\":[{", 1);
    assert!(refused(strange.as_bytes()).contains("line 2"));
    let old = lines[1].replacen("\"turn\":{", "\"other\":{", 1);
    assert!(refused(format!("{}\n{old}\n", lines[0]).as_bytes()).contains("kept observations only"));

    assert!(!run(folder.path(), &["replay", "not-there"]).status.success());
    let elsewhere = tempfile::tempdir().unwrap();
    let output = run(elsewhere.path(), &["record", "export", "--out", "none.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no turn is recorded in"));
    assert!(!elsewhere.path().join("none.jsonl").exists(), "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn indices_that_lead_nowhere_are_found_before_they_are_used() {
    let folder = recorded_folder(3).await;
    said(&run(folder.path(), &["record", "export", "--out", "all.jsonl"]));
    let whole = std::fs::read_to_string(folder.path().join("all.jsonl")).unwrap();
    let mut lines: Vec<serde_json::Value> =
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // As if the first turn had remembered a snapshot whose rows lead to no node.
    let second = lines[1].clone();
    let memory = lines[1].pointer_mut("/turn/memory").unwrap();
    memory["previous"] = serde_json::from_str(r#"{"taken_at":"2026-01-01T00:00:00Z","server":{"text":"","number":null},"nodes":[],"collections":[],"replicas":[],"copies":{"segment":["1"],"replica":[7],"node":[9],"rows":[1],"bytes":[1],"held":[null]},"components":[],"doubts":[]}"#).unwrap();
    assert_ne!(lines[1], second);
    let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let said = refusal(folder.path(), (text.join("\n") + "\n").as_bytes());
    assert!(said.contains("line 2"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn every_cut_and_every_broken_byte_is_an_error_or_a_recording() {
    let folder = recorded_folder(2).await;
    said(&run(folder.path(), &["record", "export", "--out", "all.jsonl.zst"]));
    let whole = std::fs::read(folder.path().join("all.jsonl.zst")).unwrap();
    let read = |bytes: Vec<u8>| -> Result<usize, String> {
        let reader = ExportReader::new(Cursor::new(bytes), Path::new("given"), 1 << 20);
        let reader = reader.map_err(|error| error.to_string())?;
        let mut replay = Replay::new(None);
        for turn in reader {
            replay.turn(&turn.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        }
        replay.finish().map(|report| report.turns).map_err(|error| error.to_string())
    };
    assert_eq!(read(whole.clone()), Ok(2));
    for at in (0..whole.len()).step_by(97) {
        assert!(read(whole[..at].to_vec()).is_err(), "cut at {at}");
        let mut broken = whole.clone();
        broken[at] ^= 0x55;
        assert!(read(broken).is_err(), "the checksum of a file whose byte {at} is another");
    }
}

#[test]
fn a_line_without_an_end_is_not_read_into_memory() {
    // A gigabyte of nothing, compressed to some kilobytes.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b' '), 1 << 30), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    let error = ExportReader::new(Cursor::new(bomb), Path::new("bomb"), 1 << 20).err().unwrap();
    assert!(error.to_string().contains("a line of more than 1048576 bytes"), "{error}");
    assert_eq!(Replay::new(None).finish().err(), Some(ReplayError::NoTurns));
}
