//! The binary as its callers see it: output, exit codes, help.

use std::process::{Command, Output};

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
    assert!(stderr(&output).contains("[possible values: advise, within, act]"), "{}", stderr(&output));
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
fn the_version_names_the_commit_and_the_versions_of_milvus_that_it_knows() {
    let text = stdout(&run(&["--version"], &[]));
    let (first, second) = text.trim_end().split_once('\n').unwrap();
    let start = concat!("milvus-rebalancer ", env!("CARGO_PKG_VERSION"), " (commit ");
    assert!(first.starts_with(start) && first.ends_with(')'), "{text}");
    assert_eq!(second, "Milvus profiles: 2.2, 2.3, 2.4, 2.5, 2.6, 3.0");
    assert_eq!(stdout(&run(&["-V"], &[])), concat!("milvus-rebalancer ", env!("CARGO_PKG_VERSION"), "\n"));
}
