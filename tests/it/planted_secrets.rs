//! Secrets are planted wherever the configuration takes one, a daemon runs, and everything that it says and writes is
//! searched for them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::admin::{Answer, client, read, uneven};

/// What every planted secret has in it.
const MARK: &str = "pl4nted";

/// A bound on hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that was said and written, with where it came from.
#[derive(Default)]
struct Heard(Vec<(String, Vec<u8>)>);

impl Heard {
    fn note(&mut self, from: impl Into<String>, said: impl AsRef<[u8]>) {
        self.0.push((from.into(), said.as_ref().to_vec()));
    }

    fn answer(&mut self, path: &str, answer: &Answer) {
        let headers: String =
            answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
        self.note(format!("the answer of {path}"), format!("{headers}{}", answer.text));
    }

    /// All files of a folder but those that the secrets were planted in.
    fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.files(&path);
            } else if !path.display().to_string().contains("planted") {
                self.note(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }

    /// Fails if a secret is in there, as it is or as it travels.
    fn assert_clean(&self, expected: &[&str]) {
        let encoded: Vec<String> = [format!("ann:{MARK}-milvus"), format!("{MARK}-token")]
            .iter()
            .map(|text| BASE64_STANDARD.encode(text))
            .collect();
        let forms: Vec<&str> = encoded.iter().map(String::as_str).chain([MARK]).collect();
        for (from, said) in &self.0 {
            let text = String::from_utf8_lossy(said);
            for form in &forms {
                let found = text.find(form).map(|at| {
                    text[..at]
                        .chars()
                        .rev()
                        .take(200)
                        .collect::<Vec<_>>()
                        .into_iter()
                        .rev()
                        .collect::<String>()
                });
                assert_eq!(found, None, "{form} is in {from}, after this");
            }
        }
        for wanted in expected {
            assert!(
                self.0.iter().any(|(from, said)| from.contains(wanted) && !said.is_empty()),
                "{wanted} said nothing"
            );
        }
    }
}

/// Writes the configuration and the secrets' files.
fn plant(folder: &Path, endpoint: &str) {
    let secret = |name: &str| {
        let path = folder.join(format!("planted-{name}"));
        std::fs::write(&path, format!("{MARK}-{name}\n")).unwrap();
        path.display().to_string()
    };
    let (milvus, view, operate) = (secret("milvus"), secret("view"), secret("operate"));
    let (prometheus, journal) = (secret("prometheus"), folder.join("it.db").display().to_string());
    let text = format!(
        r#"
[connections.default]
endpoint = "{endpoint}"
user = "ann"
password_file = "{milvus}"
[connections.spare]
endpoint = "https://127.0.0.1:9"
token = "{MARK}-token"
[admin]
listen = "127.0.0.1:0"
view_token_file = "{view}"
operate_token_file = "{operate}"
[http]
listen = "127.0.0.1:0"
[journal]
path = "{journal}"
[poll]
interval = "1s"
duty = 1.0
[policies.rows]
enabled = true
turns = 1
[prometheus]
url = "http://127.0.0.1:9"
user = "ann"
password_file = "{prometheus}"
[prometheus.queries.load]
query = "up"
[lease]
engine = "etcd"
[lease.etcd]
endpoints = ["http://127.0.0.1:9"]
user = "ann"
password = "{MARK}-etcd"
"#
    );
    std::fs::write(folder.join("planted.toml"), text).unwrap();
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
    command.arg("--config").arg(folder.join("planted.toml")).args(arguments).current_dir(folder);
    // An environment variable is a place for secrets, too, and so is a connection that nobody uses.
    command.env_clear().env("USER", "ann").env("RUST_BACKTRACE", "1");
    command.env("MILVUS_REBALANCER__CONNECTIONS__THIRD__ENDPOINT", "http://127.0.0.1:9");
    command.env("MILVUS_REBALANCER__CONNECTIONS__THIRD__USER", "ann");
    command.env("MILVUS_REBALANCER__CONNECTIONS__THIRD__PASSWORD", format!("{MARK}-environment"));
    command
}

/// A running daemon, and what it has said so far.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Daemon {
    fn start(folder: &Path, format: &str) -> Daemon {
        let arguments = ["--log-format", format, "--log-level", "trace", "run", "--mode", "act"];
        let mut child = command(folder, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Daemon { child, lines, said: String::new() }
    }

    /// The addresses of its listeners, metrics first, once it has told them.
    fn places(&mut self) -> (String, String) {
        let address = |line: &str, name: &str| {
            let rest = line.split_once(name).unwrap().1.trim_start_matches(['"', '=', ':']);
            rest.split(['"', ' ', ',']).next().unwrap().to_owned()
        };
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("it says where it listens");
            self.said.push_str(&format!("{line}\n"));
            if line.contains("started") && line.contains("listen") && line.contains("admin") {
                return (address(&line, "listen"), address(&line, "admin"));
            }
        }
    }

    /// All that it said until its end.
    fn stop(mut self) -> String {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push_str(&format!("{line}\n"));
        }
        assert!(self.child.wait().unwrap().success(), "{}", self.said);
        std::mem::take(&mut self.said)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks everything that can be asked, with each kind of token and with wrong ones, and orders what must be refused.
async fn ask_everything(heard: &mut Heard, http: &Client, metrics: &str, admin: &str) {
    let get = |path: &str, token: &str| {
        read(http.get(format!("http://{admin}{path}")).bearer_auth(format!("{MARK}-{token}")))
    };
    let seen = tokio::time::timeout(PATIENCE, async {
        while get("/v1/status", "view").await.json()["turns"].as_u64().unwrap_or_default() < 2 {
            // Answers have a rate.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    seen.await.expect("turns end");
    let id = |list: &Value| list["items"][0]["id"].as_str().unwrap().to_owned();
    let node = id(&get("/v1/nodes?limit=1", "view").await.json());
    let segment = id(&get("/v1/segments?limit=1", "view").await.json());
    let described = get("/v1/openapi.json", "view").await;
    heard.answer("/v1/openapi.json", &described);
    let mut asked = 0;
    for (path, methods) in described.json()["paths"].as_object().unwrap() {
        let path = path.replace("{node}", &node).replace("{segment}", &segment);
        if methods.get("get").is_some() && !path.ends_with("/events") {
            let query = if path.ends_with("/why-not") {
                format!("?segment={segment}&to={node}")
            } else {
                String::new()
            };
            let query = if path.ends_with("/what-if") { "?changes=threshold=1.5".to_owned() } else { query };
            let answer = get(&format!("{path}{query}"), "view").await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            heard.answer(&path, &answer);
            heard.answer(&path, &get(&path, "wrong").await);
            asked += 1;
        }
        if methods.get("post").is_some() || methods.get("put").is_some() {
            for (token, body) in
                [("view", json!({})), ("wrong", json!({})), ("operate", json!({"no": ["such"]}))]
            {
                let method = if methods.get("put").is_some() { Method::PUT } else { Method::POST };
                let request = http
                    .request(method, format!("http://{admin}{path}"))
                    .bearer_auth(format!("{MARK}-{token}"));
                heard.answer(&path, &read(request.json(&body)).await);
            }
        }
    }
    assert!(asked > 15, "{asked} paths");
    let pause = http.post(format!("http://{admin}/v1/pause")).bearer_auth(format!("{MARK}-operate"));
    let paused = read(pause.json(&json!({"reason": "a test", "for": "1h"}))).await;
    assert_eq!(paused.status, 200, "{}", paused.text);
    heard.answer("/v1/pause", &paused);
    for path in ["/", "/page.css", "/page.js", "/?node=1", "/no/such/path"] {
        heard.answer(path, &get(path, "operate").await);
    }
    for path in ["/metrics", "/healthz", "/readyz"] {
        heard.answer(path, &read(http.get(format!("http://{metrics}{path}"))).await);
    }
}

/// What the commands print that read this configuration.
fn run_commands(heard: &mut Heard, folder: &Path, admin: &str) {
    let mut said = |arguments: &[&str]| -> Output {
        let output = command(folder, arguments).output().unwrap();
        heard.note(format!("{arguments:?}"), [output.stdout.clone(), output.stderr.clone()].concat());
        output
    };
    for arguments in [
        &["check-config", "--show"][..],
        &["plan", "--connection", "spare"],
        &["snapshot", "--connection", "third", "--out", "never.json"],
        &["status", "--admin", admin, "--token-file", "planted-view"],
        &["pause", "--admin", admin, "--token-file", "planted-wrong"],
        &["history", "audit", "--admin", admin, "--token-file", "planted-operate", "--format", "json"],
        &["record", "export", "--out", "all.jsonl"],
        &["replay", "all.jsonl", "--html", "replay.html", "--format", "json"],
        &["--log-level", "trace", "plan"],
        &["snapshot", "--out", "seen.json"],
    ] {
        said(arguments);
    }
    let shown = said(&["check-config", "--show"]);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    for file in ["all.jsonl", "replay.html", "seen.json"] {
        assert!(folder.join(file).exists(), "{file} was not written");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_run_says_or_writes_has_a_secret_in_it() {
    let server = SimServer::start(SharedWorld::with_speed(build(&uneven()), 20)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path(), &server.endpoint());
    std::fs::write(folder.path().join("planted-wrong"), format!("{MARK}-wrong")).unwrap();
    let mut heard = Heard::default();
    for format in ["json", "text"] {
        let mut daemon = Daemon::start(folder.path(), format);
        let (metrics, admin) = tokio::task::block_in_place(|| daemon.places());
        ask_everything(&mut heard, &client(), &metrics, &admin).await;
        let path = folder.path().to_owned();
        heard = tokio::task::spawn_blocking(move || {
            run_commands(&mut heard, &path, &admin);
            heard.note(format!("the log as {format}"), daemon.stop());
            heard
        })
        .await
        .unwrap();
    }
    heard.files(folder.path());
    heard.assert_clean(&[
        "the log as json",
        "the log as text",
        "/v1/configuration",
        "/metrics",
        "it.db",
        "check-config",
    ]);
}
