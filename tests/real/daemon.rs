//! Runs the program as its users do, and follows what it says: its JSON log is the clock of these tests, so that
//! they count polls and moves and never seconds.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::Lab;

/// A bound on hangs: no single line of the log takes that long on the slowest machine.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);

/// Nothing holds the daemon back but what is never safe: for tests that count moves.
pub const LIMITS_LIFTED: &str = r#"
[policies.memory]
enabled = false
[policies.rows]
enabled = true
turns = 1
matters_above = 0.0
[poll]
interval = "1s"
duty = 1.0
[gate]
cool_down = "0s"
settle_time = "0s"
setback_rest = "0s"
[gate.warm_up]
time = "0s"
[gate.blast_radius]
collection_segments = 0.0
collection_bytes = 0.0
[execute]
calls_per_minute = 0
calls_in_flight = 0
calls_in_flight_per_node = 0
moves_in_flight = 0
moves_in_flight_per_source = 0
moves_in_flight_per_destination = 0
moves_in_flight_per_collection = 0
bytes_per_second = 0
moves_per_hour = 0
moves_per_day = 0
bytes_per_hour = 0.0
bytes_per_day = 0.0
[execute.waves]
enabled = false
[execute.breaker]
failures = 0
"#;

/// A folder of one test with a configuration and a journal in it.
pub struct Site {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// A finished call of the program.
pub struct Ran {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Site {
    /// For this cluster, with its credentials and certificates.
    pub fn of(lab: &Lab, options: &str) -> Site {
        let mut site = Site::at(&lab.url(), options);
        if let Some((user, password)) = &lab.credentials {
            site.set("CONNECTIONS__DEFAULT__USER", user);
            site.set("CONNECTIONS__DEFAULT__PASSWORD", password);
        }
        if let Some(tls) = &lab.tls {
            site.set("CONNECTIONS__DEFAULT__TLS__CA_FILE", &tls.ca.display().to_string());
        }
        site
    }

    /// For any endpoint.
    pub fn at(endpoint: &str, options: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), options).unwrap();
        let mut site = Site { folder, environment: Vec::new() };
        site.set("CONNECTIONS__DEFAULT__ENDPOINT", endpoint);
        let journal = site.journal().display().to_string();
        site.set("JOURNAL__PATH", &journal);
        site.set("HTTP__LISTEN", "127.0.0.1:0");
        site.set("ADMIN__LISTEN", "127.0.0.1:0");
        site
    }

    /// Sets one option by its environment variable.
    pub fn set(&mut self, option: &str, value: &str) {
        self.environment.push((format!("MILVUS_REBALANCER__{option}"), value.to_owned()));
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    /// One value out of the journal.
    pub fn ask_journal(&self, query: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.journal()).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        command.arg("--config").arg(self.folder.path().join("config.toml"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("RUST_LOG");
        command.envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Ran { status, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Starts the daemon.
    pub fn start(&self, arguments: &[&str]) -> Daemon {
        let log = ["--log-format", "json", "--log-level", "info,milvus_rebalancer=debug", "run"];
        let mut child = self
            .command(&[&log, arguments].concat())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Daemon { child, lines, said: Vec::new() }
    }
}

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    child: Child,
    lines: Receiver<String>,
    said: Vec<Value>,
}

impl Daemon {
    /// The next event of its log.
    pub fn next_event(&mut self) -> Value {
        let line = self.lines.recv_timeout(LONGEST_SILENCE).unwrap_or_else(|error| {
            let status = self.child.try_wait();
            panic!("the daemon says nothing more ({error}, {status:?}); before that: {:#?}", self.last_said())
        });
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.said.push(event.clone());
        event
    }

    fn last_said(&self) -> &[Value] {
        &self.said[self.said.len().saturating_sub(30)..]
    }

    /// Waits for an event whose message begins like this.
    pub fn wait_for(&mut self, message: &str) -> Value {
        loop {
            let event = self.next_event();
            if says(&event, message) {
                return event;
            }
        }
    }

    /// Follows the log for so many turns and returns what was said meanwhile.
    pub fn turns(&mut self, number: usize) -> Vec<Value> {
        let mut events = Vec::new();
        let mut ended = 0;
        while ended < number {
            let event = self.next_event();
            ended += usize::from(says(&event, "turn ended"));
            events.push(event);
        }
        events
    }

    /// Asks its listener, which it announced when it started: status line and body.
    pub fn get(&self, path: &str) -> (String, String) {
        let started = self.said.iter().find(|event| says(event, "started")).expect("it has started");
        let mut stream = TcpStream::connect(started["listen"].as_str().expect("an address")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    /// A page of its listener; `None` while nobody listens there or answers.
    pub fn try_get(&mut self, path: &str) -> Option<String> {
        while let Ok(line) = self.lines.try_recv() {
            self.said.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
        let started = self.said.iter().find(|event| says(event, "started"))?;
        let mut stream = TcpStream::connect(started["listen"].as_str()?).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Asks it to stop, as systemd does.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Kills it, as the kernel does when memory runs out.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; all it said, and how it ended.
    pub fn wait(mut self) -> (ExitStatus, Vec<Value>) {
        while let Ok(line) = self.lines.recv_timeout(LONGEST_SILENCE) {
            self.said.push(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
        let status = self.child.wait().unwrap();
        (status, std::mem::take(&mut self.said))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether an event's message begins like this.
pub fn says(event: &Value, message: &str) -> bool {
    event["message"].as_str().is_some_and(|text| text.starts_with(message))
}

/// How many events begin like this.
pub fn count(events: &[Value], message: &str) -> usize {
    events.iter().filter(|event| says(event, message)).count()
}

/// The events of a level, as text, for messages of failed tests.
pub fn lines_of_level(events: &[Value], level: &str) -> Vec<String> {
    events.iter().filter(|event| event["level"] == level).map(Value::to_string).collect()
}
