//! The binary as its callers see it: output, exit codes, help; and the unit file that calls it.

use std::path::Path;
use std::process::{Command, Output};

use clap::Parser;
use milvus_rebalancer::cli::Cli;
use milvus_rebalancer::config::{Config, duration};

/// Runs the binary without anything of this machine's environment.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A file with this content, and its path as an argument.
fn file(content: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, content).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn check_config_says_that_a_configuration_is_valid() {
    let (_folder, path) = file("");
    let output = run(&["check-config", "--config", &path], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "configuration is valid\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn check_config_prints_all_problems_to_stderr_and_exits_with_1() {
    let (_folder, path) = file("[execute]\nretrys = 3\n[poll]\nduty = 2\n");
    let environment = [("MILVUS_REBALANCER__LOG__LEVL", "info")];
    let output = run(&["--config", &path, "check-config"], &environment);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    let text = stderr(&output);
    assert!(text.starts_with("error: the configuration has 3 problems:\n"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    for part in ["execute.retrys (", &path, "poll.duty (", "log.levl (MILVUS_REBALANCER__LOG__LEVL)"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn check_config_shows_settings_warnings_and_no_secret() {
    let (_folder, path) = file("[connections.default]\nuser = 'root'\npassword = 'hunter2'\n");
    let output = run(&["check-config", "--show", "--config", &path], &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.contains("connections.default.user = \"root\"  # /"), "{text}");
    assert!(text.contains("execute.bytes_per_call = \"4 GiB\"  # default"), "{text}");
    assert!(text.ends_with("# configuration is valid\n"), "{text}");
    assert!(stderr(&output).starts_with("warning: connections.default.endpoint"), "{}", stderr(&output));
    assert!(!text.contains("hunter2") && !stderr(&output).contains("hunter2"));
}

#[test]
fn every_command_refuses_a_wrong_configuration_before_it_does_anything() {
    let (_folder, path) = file("[poll]\nduty = 2\n");
    let commands: [&[&str]; 3] =
        [&["run"], &["plan"], &["load-balance", "--collection", "books", "--src-node", "7"]];
    for command in commands {
        let output = run(&[&["--config", path.as_str()], command].concat(), &[]);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(stderr(&output).contains("poll.duty"), "{command:?}: {}", stderr(&output));
    }
}

#[test]
fn a_wrong_log_filter_is_refused() {
    let (_folder, path) = file("");
    let output = run(&["run", "--config", &path], &[("RUST_LOG", "a=b=c")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: RUST_LOG is no log filter"), "{}", stderr(&output));
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let (_folder, path) = file("\"\\u001b[2J\" = 1\n[connections.default]\nendpoint = \"\\u001b[2J\"\n");
    let output = run(&["check-config", "--config", &path], &[("MILVUS_REBALANCER__A\u{1b}[2J", "1")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
}

#[test]
fn usage_errors_exit_with_2_and_name_the_argument() {
    let output = run(&["run", "--mode", "acct"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("[possible values: advise, act]"), "{}", stderr(&output));
    assert_eq!(run(&[], &[]).status.code(), Some(2));
}

#[test]
fn help_teaches_and_lists_the_exit_codes() {
    let output = run(&["--help"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    for part in
        ["run --mode act", "Exit codes:", "3  Milvus cannot be reached", "4  not everything was moved"]
    {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(stdout(&run(&["-h"], &[])).contains("Exit codes:"));
    for command in ["run", "plan", "check-config", "load-balance"] {
        let text = stdout(&run(&[command, "--help"], &[]));
        assert!(text.contains("Examples:"), "{command}: {text}");
    }
}

#[test]
fn the_version_is_the_package_version() {
    let output = run(&["--version"], &[]);
    assert_eq!(stdout(&output), concat!("milvus-rebalancer ", env!("CARGO_PKG_VERSION"), "\n"));
}

mod the_unit_file {
    use super::*;

    const UNIT: &str = include_str!("../../systemd/milvus-rebalancer.service");

    /// The values of a key, in order.
    fn values(key: &str) -> Vec<&'static str> {
        UNIT.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    #[test]
    fn its_command_lines_are_understood() {
        let lines = [values("ExecStartPre"), values("ExecStart")].concat();
        assert_eq!(lines.len(), 2, "one check and one start");
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert!(Path::new(words[0]).is_absolute(), "systemd wants absolute paths: {line}");
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
        assert!(values("ExecStartPre")[0].contains(" check-config"));
        assert!(values("ExecStart")[0].contains(" run"));
    }

    #[test]
    fn it_leaves_time_for_running_calls() {
        let timeout = duration::parse(values("TimeoutStopSec")[0]).unwrap();
        assert!(timeout > Config::default().execute.stop_timeout);
    }

    #[test]
    fn the_journal_is_in_the_folder_that_it_asks_for() {
        let folder = Path::new("/var/lib").join(values("StateDirectory")[0]).display().to_string();
        let (_folder, path) = file("");
        let shown = run(&["check-config", "--show", "--config", &path], &[("STATE_DIRECTORY", &folder)]);
        assert!(stdout(&shown).contains(&format!("journal.path = \"{folder}/")), "{}", stdout(&shown));
    }
}
