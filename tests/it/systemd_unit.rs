//! The unit file: what it calls is understood, what it promises agrees with the daemon, and systemd's own tools find
//! nothing wrong with it.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use milvus_rebalancer::cli::Cli;
use milvus_rebalancer::config::{Config, duration};

use crate::system;

const UNIT: &str = include_str!("../../systemd/milvus-rebalancer.service");
const BINARY: &str = "/usr/bin/milvus-rebalancer";

/// What `systemd-analyze security` may say at most, in tenths.
const MOST_EXPOSURE: u32 = 15;

/// The values of a key, in order.
fn values(key: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

fn time(key: &str) -> Duration {
    duration::parse(values(key)[0]).unwrap_or_else(|| panic!("{key} is no duration"))
}

#[test]
fn its_command_lines_are_understood() {
    let lines = [values("ExecStartPre"), values("ExecStart"), values("ExecReload")].concat();
    assert_eq!(lines.len(), 4, "a check and a start, a check and a signal");
    for line in &lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(Path::new(words[0]).is_absolute(), "systemd wants absolute paths: {line}");
        if words[0] == BINARY
            && let Err(error) = Cli::try_parse_from(words)
        {
            panic!("{line}: {error}");
        }
    }
    assert!(values("ExecStartPre")[0].ends_with(" check-config"));
    assert!(values("ExecStart")[0].ends_with(" run"));
    let reloads = ["/usr/bin/milvus-rebalancer check-config", "/bin/kill -HUP $MAINPID"];
    assert_eq!(values("ExecReload"), reloads, "first the check, so that a wrong file makes the reload fail");
}

#[test]
fn it_leaves_time_for_running_calls_and_for_signs_of_life() {
    assert!(time("TimeoutStopSec") > Config::default().execute.stop_timeout);
    // Connections that are open when it stops get another five seconds.
    assert!(time("TimeoutStopSec") >= Config::default().execute.stop_timeout + Duration::from_secs(10));
    assert_eq!((values("Type"), values("NotifyAccess")), (vec!["notify"], vec!["main"]));
    // A sign is given every third of it: long enough for a plan of the largest clusters.
    assert!(time("WatchdogSec") >= Duration::from_secs(30));
}

#[test]
fn the_journal_is_in_the_folder_that_it_asks_for() {
    let folder = Path::new("/var/lib").join(values("StateDirectory")[0]).display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
    command.args(["check-config", "--show"]).env_clear().env("STATE_DIRECTORY", &folder);
    let shown = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(shown.contains(&format!("journal.path = \"{folder}/")), "{shown}");
}

/// The file as an installation has it, with a program where the unit expects ours.
fn installed() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let unit = root.path().join("etc/systemd/system/milvus-rebalancer.service");
    for file in [unit.as_path(), &root.path().join("usr/bin/any"), &root.path().join("bin/any")] {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    }
    std::fs::write(&unit, UNIT).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_milvus-rebalancer"), root.path().join(&BINARY[1..])).unwrap();
    std::fs::copy("/bin/kill", root.path().join("bin/kill")).unwrap();
    // What the unit is ordered by comes with systemd.
    let units = root.path().join("usr/lib/systemd");
    std::fs::create_dir_all(&units).unwrap();
    let copied = Command::new("cp").args(["-a", "/usr/lib/systemd/system"]).arg(&units).status().unwrap();
    assert!(copied.success());
    symlink("usr/lib", root.path().join("lib")).unwrap();
    (root, unit)
}

fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("systemd-analyze is installed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn systemd_finds_nothing_wrong_with_it() {
    if !system::runs("systemd-analyze (package systemd)") {
        return;
    }
    let (root, _) = installed();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--root"]).arg(root.path()).arg("milvus-rebalancer.service");
    assert_eq!(said(&mut command), (true, String::new()));
}

#[test]
fn systemd_calls_it_hardly_exposed() {
    if !system::runs("systemd-analyze (package systemd)") {
        return;
    }
    let (_root, unit) = installed();
    let mut command = Command::new("systemd-analyze");
    let threshold = format!("--threshold={MOST_EXPOSURE}");
    command.args(["security", "--offline=yes", "--no-pager", &threshold]).arg(unit);
    let (is_below, text) = said(&mut command);
    assert!(is_below && text.contains("Overall exposure level"), "{text}");
}
