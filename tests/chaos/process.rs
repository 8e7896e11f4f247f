//! The daemon as its users run it: a process of its own, with a folder for its configuration, journal and log.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::namespace::Namespace;

/// The daemon.
const PROGRAM: &str = env!("CARGO_BIN_EXE_milvus-rebalancer");

/// Lines of the daemon's log that a report of a failure shows.
const LOG_LINES: usize = 40;

/// The folder of one daemon.
pub struct Site {
    folder: TempDir,
}

impl Site {
    /// A new folder.
    pub fn new() -> Site {
        Site { folder: tempfile::tempdir().expect("a folder for the daemon") }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The journal's file.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    /// Writes the configuration file.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.configuration(), text).expect("the configuration can be written");
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("daemon.log")
    }

    /// Starts the daemon in this mode.
    pub fn start(&self, mode: &str) -> Process {
        self.start_by(Command::new(PROGRAM), mode)
    }

    /// The same in a network namespace.
    pub fn start_in(&self, namespace: &Namespace, mode: &str) -> Process {
        self.start_by(namespace.command(PROGRAM), mode)
    }

    fn start_by(&self, mut command: Command, mode: &str) -> Process {
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("the daemon's log can be written");
        let child = command
            .arg("--config")
            .arg(self.configuration())
            .args(["run", "--mode", mode])
            .current_dir(self.folder.path())
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Process { child }
    }

    /// Orders a pause as a person would.
    pub fn pause(&self) {
        let status = Command::new(PROGRAM)
            .arg("--config")
            .arg(self.configuration())
            .args(["pause", "--reason", "test"])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(status.expect("it can be run").success());
    }

    /// The end of what all daemons said.
    pub fn last_said(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// A running daemon. Dropping it kills it.
pub struct Process {
    child: Child,
}

impl Process {
    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(status.expect("kill can be run").success());
    }

    /// SIGKILL; when this returns, nothing of it runs any more. `false` when it had ended before.
    pub fn kill(&mut self) -> bool {
        let was_running = self.is_running();
        drop(self.child.kill());
        drop(self.child.wait());
        was_running
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
