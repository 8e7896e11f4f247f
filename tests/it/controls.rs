//! `pause`, `resume`, `approve` and `controls`, by the binary, and a daemon that obeys them on a simulated cluster.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use serde_json::Value;
use tempfile::TempDir;

/// How long the next line of the log may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Turns after which nothing new is to be expected.
const MOST_TURNS: usize = 60;

/// A folder with a configuration and a journal.
struct Site {
    folder: TempDir,
    /// Where Milvus is.
    endpoint: String,
}

impl Site {
    fn new(endpoint: &str, more: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("it.db");
        let config = format!(
            "[journal]\npath = '{}'\n[http]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n[connections.default]\nendpoint = '{endpoint}'\n{more}",
            journal.display()
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Site { folder, endpoint: endpoint.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        command.arg("--config").arg(self.folder.path().join("config.toml")).args(arguments);
        command.env_clear().env("USER", "ann");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints that must succeed.
    fn say(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} on {}: {stderr}", self.endpoint);
        String::from_utf8(output.stdout).unwrap()
    }

    fn controls(&self) -> Value {
        serde_json::from_str(&self.say(&["controls", "--format", "json"])).unwrap()
    }
}

/// A Milvus that nobody has to reach.
fn nowhere(more: &str) -> Site {
    Site::new("http://127.0.0.1:1", more)
}

#[test]
fn a_pause_is_ordered_shown_replaced_and_ended_without_milvus_or_daemon() {
    let site = nowhere("");
    assert_eq!(site.controls()["pause"], Value::Null);
    assert!(!site.folder.path().join("it.db").exists(), "whoever only looks makes no journal");
    let said = site.say(&["pause", "--reason", "load test"]);
    assert!(
        said.starts_with("paused by ann until `milvus-rebalancer resume`: load test\nno daemon works with "),
        "{said}"
    );
    let said = site.say(&["pause", "--for", "2h"]);
    assert!(said.starts_with("paused by ann until 2"), "{said}");
    let pause = site.controls()["pause"].clone();
    assert_eq!((pause["by"].as_str(), pause["reason"].as_str()), (Some("ann"), Some("")));
    let time = |key: &str| pause[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert_eq!(time("until").duration_since(time("from")), jiff::SignedDuration::from_hours(2));
    assert!(site.say(&["controls"]).starts_with("pause:       paused by ann until 2"));

    assert!(site.say(&["resume"]).starts_with("ended: paused by ann until 2"));
    assert_eq!(site.say(&["resume"]), "there was no pause\n");
    assert_eq!(site.controls()["pause"], Value::Null);
}

#[test]
fn a_pause_that_makes_no_sense_is_refused() {
    let site = nowhere("");
    for (arguments, code, named) in [
        (&["pause", "--until", "2020-01-01T00:00:00Z"][..], 1, "is over already"),
        (&["pause", "--for", "90000000h"], 1, "no calendar goes that far"),
        (&["pause", "--until", "18:00"], 2, "with its offset"),
        (&["pause", "--for", "5"], 2, "--for"),
        (&["approve", "everything"], 2, "no digest of a plan"),
    ] {
        let output = site.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
    assert_eq!(site.controls()["pause"], Value::Null);
}

#[test]
fn words_of_people_do_not_reach_the_terminal_raw() {
    let site = nowhere("");
    let said = site.say(&["pause", "--reason", "\u{1b}[2Jgone\nnext"]);
    assert!(!said.contains('\u{1b}'), "{said:?}");
    assert!(!site.say(&["controls"]).contains('\u{1b}'));
}

#[test]
fn controls_show_the_switch_the_windows_and_what_needs_approval() {
    let site = nowhere("");
    let text = site.say(&["controls"]);
    assert_eq!(
        text,
        "pause:       none\nkill switch: none\nwindows:     none: moves may be made at all times\n\
         approval:    not required\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let switch = folder.path().join("stop");
    let strict = nowhere(&format!(
        "[gate]\napproval = 'required'\nkill_switch = '{}'\n[[gate.windows]]\nkind = 'deny'\nfrom = '00:00'\nto = '23:59'\n",
        switch.display()
    ));
    assert!(strict.say(&["controls"]).contains("kill switch: not thrown\n"));
    std::fs::write(&switch, "").unwrap();
    let text = strict.say(&["controls"]);
    assert!(text.contains(&format!("kill switch: the kill switch {} exists", switch.display())), "{text}");
    assert!(text.contains("approval:    required; no plan waits for it\n"), "{text}");
    let shown = strict.controls();
    assert_eq!(shown["has_windows"], true);
    let by_hand = strict.run(&["load-balance", "--collection", "books", "--src-node", "7"]);
    let stderr = String::from_utf8_lossy(&by_hand.stderr);
    assert!(stderr.contains("nothing is moved: the kill switch"), "it holds for people, too: {stderr}");
    assert!(shown["windows_change_at"].is_string());
    assert_eq!(shown["kill_switch"]["unreadable"], Value::Null);
}

/// Limits so wide that the daemon acts at once.
const AT_ONCE: &str = "
[poll]
interval = '200ms'
duty = 1.0
[policies.memory]
enabled = false
[policies.rows]
enabled = true
turns = 1
[execute]
bytes_per_day = 0
calls_per_minute = 0
";

/// A daemon, and the lines of its log.
struct Daemon {
    process: Child,
    lines: Receiver<String>,
}

impl Daemon {
    fn start(site: &Site) -> Daemon {
        let mut command = site.command(&["run", "--mode", "act", "--log-level", "debug"]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Daemon { process, lines }
    }

    /// The next line with this text, and all lines before it.
    fn wait_for(&self, text: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return (line, before);
            }
            before.push(line);
            let turns = before.iter().filter(|line| line.contains("turn ended")).count();
            assert!(turns < MOST_TURNS, "{text:?} does not come within {turns} turns: {before:#?}");
        }
        panic!("{text:?} never comes: {before:#?}")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed by then.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// An uneven cluster.
async fn milvus() -> SimServer {
    let plan = WorldPlan {
        nodes: 3,
        collections: 2,
        segments: 30,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 7)
    };
    SimServer::start(SharedWorld::with_speed(build(&plan), 20)).await.unwrap()
}

const SENT: &str = "sending LoadBalance";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_obeys_a_pause_from_its_start_on_and_goes_on_when_it_ends() {
    let server = milvus().await;
    let site = Site::new(&server.endpoint(), AT_ONCE);
    site.say(&["pause", "--reason", "not yet"]);
    tokio::task::spawn_blocking(move || {
        let daemon = Daemon::start(&site);
        let (_, before) = daemon.wait_for("paused by ann until `milvus-rebalancer resume`: not yet");
        let (_, meanwhile) = daemon.wait_for("turn ended");
        let (_, later) = daemon.wait_for("turn ended");
        assert!(
            !before.iter().chain(&meanwhile).chain(&later).any(|line| line.contains(SENT)),
            "{before:#?}"
        );
        let shown = site.say(&["plan"]);
        assert!(shown.contains("the cluster: paused by ann"), "{shown}");
        assert!(shown.contains("best first"), "the plan stays visible: {shown}");
        let said = site.say(&["pause", "--for", "1h"]);
        assert!(
            said.contains(&format!("(process {}) reads it within a turn", daemon.process.id())),
            "{said}"
        );
        site.say(&["resume"]);
        daemon.wait_for(SENT);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_waits_for_an_approval_says_of_what_and_forgets_neither_over_a_restart() {
    let server = milvus().await;
    let site = Site::new(&server.endpoint(), &format!("[gate]\napproval = 'required'\n{AT_ONCE}"));
    tokio::task::spawn_blocking(move || {
        let daemon = Daemon::start(&site);
        let (line, before) = daemon.wait_for("waits for approval: milvus-rebalancer approve ");
        assert!(!before.iter().any(|line| line.contains(SENT)), "{before:#?}");
        let digest = line.split("approve ").nth(1).unwrap()[..16].to_owned();
        daemon.wait_for("turn ended");
        assert_eq!(site.controls()["waiting_plan"], Value::from(digest.clone()));
        let shown = site.say(&["plan"]);
        assert!(shown.contains(&format!("milvus-rebalancer approve {digest}")), "{shown}");
        assert_eq!(site.say(&["approve", &digest]).lines().next(), Some(&*format!("approved: {digest}")));
        drop(daemon);
        let again = Daemon::start(&site);
        let (_, before) = again.wait_for(SENT);
        assert!(!before.iter().any(|line| line.contains("waits for approval")), "{before:#?}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_obeys_a_file() {
    let server = milvus().await;
    let folder = tempfile::tempdir().unwrap();
    let switch = folder.path().join("stop");
    let site =
        Site::new(&server.endpoint(), &format!("[gate]\nkill_switch = '{}'\n{AT_ONCE}", switch.display()));
    std::fs::write(&switch, "").unwrap();
    tokio::task::spawn_blocking(move || {
        let daemon = Daemon::start(&site);
        let (_, before) = daemon.wait_for("held back: the kill switch");
        let (_, later) = daemon.wait_for("turn ended");
        assert!(!before.iter().chain(&later).any(|line| line.contains(SENT)), "{before:#?}");
        std::fs::remove_file(&switch).unwrap();
        daemon.wait_for(SENT);
    })
    .await
    .unwrap();
}
