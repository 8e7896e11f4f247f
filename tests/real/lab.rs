//! Drives a real Milvus cluster for the integration tests. (Over 500 lines: one method for each thing a lab can do.)
//!
//! Mocks agree with whoever wrote them; only a real server shows what LoadBalance really does.
//! `lab/lab.py serve` starts a real Milvus with several query nodes on loopback and obeys JSON
//! commands on a pipe. [`Lab`] holds the other end: every method is one command, and dropping it
//! (also when a test panics) ends every process and removes every file of the cluster.
//!
//! Two clusters run at a time on a machine's checkout, or one with limited cores (`lab/turn.rs`). Methods panic when the lab reports a
//! failure, unless their name starts with `try_`.
#![allow(dead_code, reason = "each test binary includes this file and uses its own part of it")]
#![allow(clippy::disallowed_methods, reason = "real processes run in real time, outside tokio")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

#[path = "lab/turn.rs"]
mod turn;

use turn::Turn;

const NO_PYTHON: &str = "the real-Milvus tests need python3 with the venv module: \
                         install it, or set MILVUS_LAB=off to skip them";
const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether the tests against a real Milvus are switched off by `MILVUS_LAB=off`.
pub fn lab_is_off() -> bool {
    let is_off = std::env::var("MILVUS_LAB").is_ok_and(|value| value == "off");
    if is_off {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        println!("{test}: skipped: MILVUS_LAB=off");
    }
    is_off
}

/// How connections to the proxy are secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    #[default]
    Off,
    /// The server shows a certificate.
    Server,
    /// The server also demands one from its clients.
    Mutual,
}

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Query nodes, counting the one inside the standalone process (index 0).
    pub nodes: usize,
    pub auth: bool,
    pub tls: Tls,
    /// Milvus's own balancer.
    pub auto_balance: bool,
    /// Merging of small segments; off, so that segments stay what the test made.
    pub compaction: bool,
    /// Bytes of memory that the node at an index believes it has.
    pub memory_limits: Vec<(usize, u64)>,
    /// Cores that the node at an index may use (needs root and a cpu control group, v1 or v2).
    pub cpu_limits: Vec<(usize, f64)>,
    /// Further settings of milvus.yaml, such as `("queryCoord.checkInterval", json!(500))`.
    pub settings: Vec<(String, Value)>,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            auth: false,
            tls: Tls::Off,
            auto_balance: false,
            compaction: false,
            memory_limits: Vec::new(),
            cpu_limits: Vec::new(),
            settings: Vec::new(),
        }
    }
}

impl LabOptions {
    pub fn with_nodes(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    fn to_json(&self) -> Value {
        json!({
            "nodes": self.nodes,
            "auth": self.auth,
            "tls": match self.tls {
                Tls::Off => json!(false),
                Tls::Server => json!(true),
                Tls::Mutual => json!("mutual"),
            },
            "auto_balance": self.auto_balance,
            "compaction": self.compaction,
            "memory_limits": object(&self.memory_limits),
            "cpu_limits": object(&self.cpu_limits),
            "settings": object(&self.settings),
        })
    }
}

fn object<K: ToString, V: Clone + Into<Value>>(pairs: &[(K, V)]) -> Value {
    let entries = pairs.iter().map(|(k, v)| (k.to_string(), v.clone().into()));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// A query node that the lab started.
#[derive(Clone, Debug)]
pub struct LabNode {
    /// The lab's own number of it; 0 is the one inside the standalone process.
    pub index: usize,
    /// The id that Milvus gave it, at the time of this answer: a restart gives a new one.
    pub id: i64,
    /// `host:port` of the node's gRPC service, as Milvus reports it.
    pub address: String,
    /// `host:port` that serves `/metrics`.
    pub metrics: String,
}

/// A query node as it is registered in etcd.
#[derive(Clone, Debug)]
pub struct KnownNode {
    pub id: i64,
    pub address: String,
    pub index: Option<usize>,
    /// False for a killed node, which stays registered for about 30 s.
    pub is_live: bool,
}

/// PEM files for clients of a cluster with TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub client_cert: PathBuf,
    pub client_key: PathBuf,
}

/// A collection of equal sealed segments to create.
#[derive(Clone, Debug)]
pub struct CollectionSpec {
    pub name: String,
    pub database: Option<String>,
    pub segments: usize,
    pub rows_per_segment: usize,
    pub dim: usize,
    pub replicas: usize,
    pub shards: usize,
    /// `FLAT`, `IVF_FLAT` or `HNSW`.
    pub index: &'static str,
    /// Bytes of text in every row besides its vector.
    pub payload_bytes: usize,
    pub load: bool,
}

impl CollectionSpec {
    pub fn new(name: &str, segments: usize, rows_per_segment: usize) -> Self {
        Self {
            name: name.to_owned(),
            database: None,
            segments,
            rows_per_segment,
            dim: 32,
            replicas: 1,
            shards: 1,
            index: "FLAT",
            payload_bytes: 0,
            load: true,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "database": self.database,
            "segments": self.segments,
            "rows_per_segment": self.rows_per_segment,
            "dim": self.dim,
            "replicas": self.replicas,
            "shards": self.shards,
            "index": self.index,
            "payload_bytes": self.payload_bytes,
            "load": self.load,
        })
    }
}

/// A collection that the lab made.
#[derive(Clone, Debug)]
pub struct Created {
    pub collection_id: i64,
    pub segments: Vec<i64>,
}

/// A loaded segment. During a move it is on two nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub id: i64,
    pub rows: i64,
    pub nodes: Vec<i64>,
    pub state: String,
}

/// A replica of a loaded collection.
#[derive(Clone, Debug)]
pub struct Replica {
    pub id: i64,
    pub nodes: Vec<i64>,
    pub resource_group: String,
    /// Channel and the node that leads it.
    pub leaders: Vec<(String, i64)>,
}

/// What the background searches saw.
#[derive(Clone, Debug)]
pub struct LoadReport {
    pub searches: u64,
    pub failures: u64,
    /// The first few.
    pub errors: Vec<String>,
    pub mean_ms: f64,
    pub p99_ms: f64,
    pub per_second: f64,
}

/// A running cluster. Dropping it tears the cluster down.
pub struct Lab {
    agent: Agent,
    /// `host:port` of the Milvus proxy.
    pub proxy: String,
    /// `host:port` of the embedded etcd.
    pub etcd: String,
    /// The nodes as they were at the start.
    pub nodes: Vec<LabNode>,
    /// User and password, when the cluster was started with `auth`.
    pub credentials: Option<(String, String)>,
    pub tls: Option<TlsFiles>,
    // Dropped last: the turn ends after the teardown.
    _turn: Turn,
}

impl Lab {
    /// Starts a cluster, after waiting for other tests' clusters to end.
    pub fn start(options: LabOptions) -> Self {
        let measures =
            !options.cpu_limits.is_empty() || std::env::var_os("MILVUS_REBALANCER_MEASURE").is_some();
        let turn = Turn::wait(&cache_folder(), measures);
        let mut agent = Agent::start();
        let up = agent.must("up", options.to_json());
        let tls = up.get("tls").map(|files| TlsFiles {
            ca: text(files, "ca").into(),
            client_cert: text(files, "client_cert").into(),
            client_key: text(files, "client_key").into(),
        });
        let credentials = up.get("user").map(|_| (text(&up, "user"), text(&up, "password")));
        Self {
            agent,
            proxy: text(&up, "proxy"),
            etcd: text(&up, "etcd"),
            nodes: list(&up, "nodes").iter().map(lab_node).collect(),
            credentials,
            tls,
            _turn: turn,
        }
    }

    /// `http://…` or `https://…` of the proxy.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.proxy)
    }

    /// The id that Milvus gave at the start to the node at `index`.
    pub fn id(&self, index: usize) -> i64 {
        self.nodes[index].id
    }

    /// Any command of the agent, by name; the error is what the lab or Milvus said.
    pub fn try_command(&mut self, command: &str, fields: Value) -> Result<Value, String> {
        self.agent.ask(command, fields)
    }

    pub fn create_collection(&mut self, spec: &CollectionSpec) -> Created {
        created(&self.agent.must("create_collection", spec.to_json()))
    }

    /// Several at once, in about the time of one.
    pub fn create_collections(&mut self, specs: &[CollectionSpec]) -> Vec<Created> {
        let specs: Vec<Value> = specs.iter().map(CollectionSpec::to_json).collect();
        let answer = self.agent.must("create_collections", json!({ "collections": specs }));
        list(&answer, "collections").iter().map(created).collect()
    }

    pub fn drop_collection(&mut self, name: &str) {
        self.agent.must("drop_collection", json!({ "name": name }));
    }

    pub fn release_collection(&mut self, name: &str) {
        let fields = json!({ "name": name });
        self.agent.must("release_collection", fields);
    }

    pub fn load_collection(&mut self, name: &str) {
        self.agent.must("load_collection", json!({ "name": name }));
    }

    /// Rows that stay in growing segments.
    pub fn insert(&mut self, name: &str, rows: usize) {
        let fields = json!({ "name": name, "rows": rows });
        self.agent.must("insert", fields);
    }

    /// Rows that are sealed into new segments at once, one per shard.
    pub fn insert_and_flush(&mut self, name: &str, rows: usize) -> Vec<i64> {
        let fields = json!({ "name": name, "rows": rows, "flush": true });
        integers(&self.agent.must("insert", fields), "segments")
    }

    /// The loaded sealed segments of a collection of the default database.
    pub fn segments(&mut self, name: &str) -> Vec<Segment> {
        self.segments_in(None, name)
    }

    pub fn segments_in(&mut self, database: Option<&str>, name: &str) -> Vec<Segment> {
        let fields = json!({ "name": name, "database": database });
        let answer = self.agent.must("segments", fields);
        list(&answer, "segments").iter().map(segment).collect()
    }

    /// How many segments of a collection each of `nodes` (ids) holds.
    pub fn segment_counts(&mut self, name: &str, nodes: &[i64]) -> Vec<usize> {
        let segments = self.segments(name);
        let count = |node| segments.iter().filter(|s| s.nodes.contains(node)).count();
        nodes.iter().map(count).collect()
    }

    pub fn replicas(&mut self, name: &str) -> Vec<Replica> {
        let answer = self.agent.must("replicas", json!({ "name": name }));
        list(&answer, "replicas").iter().map(replica).collect()
    }

    /// `count(*)` at strong consistency.
    pub fn count(&mut self, name: &str) -> i64 {
        integer(&self.agent.must("count", json!({ "name": name })), "count")
    }

    /// A fingerprint of what 100 fixed searches find.
    pub fn search_digest(&mut self, name: &str) -> String {
        text(&self.agent.must("search_digest", json!({ "name": name })), "digest")
    }

    /// For after a kill or a restart: waits until searches work and every segment is placed.
    pub fn wait_searchable(&mut self, name: &str) {
        self.agent.must("wait_searchable", json!({ "name": name }));
    }

    /// For after a kill: waits until searches find again what they found before. Milvus itself needs a moment.
    pub fn wait_search_digest(&mut self, name: &str, digest: &str) {
        self.agent.must("wait_search_digest", json!({ "name": name, "digest": digest }));
    }

    /// Moves segments from node to node (ids), and waits until they are only there.
    pub fn push(&mut self, name: &str, source: i64, destination: i64, segments: &[i64]) {
        let fields = json!({
            "name": name, "src": source, "dst": destination, "segments": segments,
        });
        self.agent.must("push", fields);
    }

    /// Moves every segment of the node's replica onto that node (id); returns how many moved.
    pub fn push_all_to(&mut self, name: &str, node: i64) -> usize {
        let fields = json!({ "name": name, "node": node });
        integer(&self.agent.must("push_all_to", fields), "moved") as usize
    }

    /// Puts collections of one segment each where they are wanted. Two change places at a time, because a balancer that
    /// is on takes segments from a node that holds many more than another.
    pub fn arrange(&mut self, wanted: &[(String, i64)]) {
        /// A balancer that is on may have answered something all the same.
        const MOST_PASSES: usize = 8;
        /// It looks every 3 s: what it began meanwhile shows in that time.
        const HOLDS: Duration = Duration::from_secs(4);
        let mut held = false;
        for _ in 0..MOST_PASSES {
            let mut homes: Vec<i64> =
                wanted.iter().map(|(name, _)| self.segments(name)[0].nodes[0]).collect();
            if homes.iter().zip(wanted).all(|(home, (_, wanted))| home == wanted) {
                if held {
                    return;
                }
                held = true;
                std::thread::sleep(HOLDS);
                continue;
            }
            held = false;
            for at in 0..wanted.len() {
                let (home, (name, to)) = (homes[at], &wanted[at]);
                if home == *to {
                    continue;
                }
                self.push_all_to(name, *to);
                homes[at] = *to;
                let stranger =
                    (0..wanted.len()).find(|other| homes[*other] == *to && wanted[*other].1 != *to);
                if let Some(other) = stranger {
                    self.push_all_to(&wanted[other].0, home);
                    homes[other] = home;
                }
            }
        }
        panic!("the collections do not stay where they were put");
    }

    /// Starts background searches in a process of their own.
    pub fn start_load(&mut self, names: &[&str], threads: usize) {
        let fields = json!({ "names": names, "threads": threads });
        self.agent.must("start_load", fields);
    }

    pub fn stop_load(&mut self) -> LoadReport {
        load_report(&self.agent.must("stop_load", json!({})))
    }

    /// What the background searches saw since they began, or since this was asked last. They go on.
    pub fn load_window(&mut self) -> LoadReport {
        load_report(&self.agent.must("load_window", json!({})))
    }

    /// Starts a node that is down, or with `None` an additional one.
    pub fn start_node(&mut self, index: Option<usize>) -> LabNode {
        lab_node(&self.agent.must("start_node", json!({ "index": index })))
    }

    /// SIGKILL.
    pub fn kill_node(&mut self, index: usize) {
        self.agent.must("kill_node", json!({ "index": index }));
    }

    /// SIGTERM; returns whether the node ended in time.
    pub fn stop_node(&mut self, index: usize) -> bool {
        let answer = self.agent.must("stop_node", json!({ "index": index }));
        answer["ended"] == json!(true)
    }

    /// SIGSTOP: the node hangs, with its connections open.
    pub fn pause_node(&mut self, index: usize) {
        self.agent.must("pause_node", json!({ "index": index }));
    }

    /// SIGCONT.
    pub fn resume_node(&mut self, index: usize) {
        self.agent.must("resume_node", json!({ "index": index }));
    }

    /// Kills the standalone process (coordinators, proxy, etcd, node 0), starts it again, and
    /// waits until the proxy answers and every running node is listed.
    /// Returns the running nodes; node 0 has a new id.
    pub fn restart_standalone(&mut self) -> Vec<LabNode> {
        let answer = self.agent.must("restart_standalone", json!({}));
        list(&answer, "nodes").iter().map(lab_node).collect()
    }

    pub fn create_database(&mut self, name: &str) {
        self.agent.must("create_database", json!({ "name": name }));
    }

    pub fn create_user(&mut self, user: &str, password: &str) {
        let fields = json!({ "user": user, "password": password });
        self.agent.must("create_user", fields);
    }

    /// Gives a role (made when it is missing) privileges on an object type (`Collection`,
    /// `Global` or `User`) with the name `*`, and gives the role to the user.
    pub fn grant(&mut self, role: &str, user: &str, object: &str, privileges: &[&str]) {
        let fields = json!({
            "role": role, "user": user, "object": object, "privileges": privileges,
        });
        self.agent.must("grant", fields);
    }

    /// The query nodes that are registered now.
    pub fn known_nodes(&mut self) -> Vec<KnownNode> {
        let answer = self.agent.must("node_ids", json!({}));
        list(&answer, "nodes").iter().map(known_node).collect()
    }

    /// The raw JSON inside the answer of GetMetrics. The proxy answers from a cache that every
    /// read keeps alive for 5 s more: a test that polls this freezes it for the daemon too.
    pub fn system_info(&mut self) -> Value {
        self.agent.must("get_metrics", json!({}))["system_info"].take()
    }

    /// The last lines of a node's log, for a failing test to print.
    pub fn node_log(&mut self, index: usize) -> String {
        text(&self.agent.must("logs", json!({ "index": index })), "text")
    }
}

fn cache_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab")
}

/// The Python process at the other end of the pipe.
struct Agent {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Agent {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/lab/lab.py");
        let mut process = Command::new("python3")
            .arg(script)
            .args(["serve", "--cache"])
            .arg(cache_folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{NO_PYTHON} ({error})"));
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("stdout is piped"));
        let mut agent = Self { process, commands, answers };
        if let Err(error) = agent.read_answer() {
            panic!("the lab did not start: {error}\n{NO_PYTHON}");
        }
        agent
    }

    fn must(&mut self, command: &str, fields: Value) -> Value {
        self.ask(command, fields).unwrap_or_else(|error| panic!("lab command {command} failed: {error}"))
    }

    fn ask(&mut self, command: &str, mut fields: Value) -> Result<Value, String> {
        fields["cmd"] = json!(command);
        let pipe = self.commands.as_mut().expect("the pipe is open until drop");
        writeln!(pipe, "{fields}").map_err(|error| format!("the agent is gone: {error}"))?;
        self.read_answer()
    }

    fn read_answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line);
        if length.map_err(|error| error.to_string())? == 0 {
            return Err("the agent ended; see its messages above".to_owned());
        }
        let answer: Value =
            serde_json::from_str(&line).map_err(|error| format!("not an answer ({error}): {line}"))?;
        if answer["ok"] == json!(true) { Ok(answer) } else { Err(text(&answer, "error")) }
    }

    fn wait_for_end(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + TEARDOWN_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The agent tears everything down when its stdin ends.
        drop(self.commands.take());
        if self.wait_for_end().is_none() {
            // The kernel kills the agent's children with it.
            eprintln!("the lab did not end in {TEARDOWN_TIMEOUT:?}; killing it");
            drop(self.process.kill());
            drop(self.process.wait());
        }
    }
}

fn lab_node(value: &Value) -> LabNode {
    LabNode {
        index: integer(value, "index") as usize,
        id: integer(value, "id"),
        address: text(value, "address"),
        metrics: text(value, "metrics"),
    }
}

fn known_node(value: &Value) -> KnownNode {
    KnownNode {
        id: integer(value, "id"),
        address: text(value, "address"),
        index: value["index"].as_u64().map(|index| index as usize),
        is_live: value["live"] == json!(true),
    }
}

fn load_report(value: &Value) -> LoadReport {
    LoadReport {
        searches: integer(value, "searches") as u64,
        failures: integer(value, "failures") as u64,
        errors: list(value, "errors").iter().map(|error| error.to_string()).collect(),
        mean_ms: number(value, "mean_ms"),
        p99_ms: number(value, "p99_ms"),
        per_second: number(value, "per_second"),
    }
}

fn created(value: &Value) -> Created {
    Created { collection_id: integer(value, "collection_id"), segments: integers(value, "segments") }
}

fn segment(value: &Value) -> Segment {
    Segment {
        id: integer(value, "id"),
        rows: integer(value, "rows"),
        nodes: integers(value, "nodes"),
        state: text(value, "state"),
    }
}

fn replica(value: &Value) -> Replica {
    let leaders = value["leaders"].as_object().into_iter().flatten();
    Replica {
        id: integer(value, "id"),
        nodes: integers(value, "nodes"),
        resource_group: text(value, "resource_group"),
        leaders: leaders.map(|(channel, node)| (channel.clone(), node.as_i64().unwrap_or(-1))).collect(),
    }
}

fn text(value: &Value, field: &str) -> String {
    let found = value[field].as_str();
    found.unwrap_or_else(|| missing(value, field)).to_owned()
}

fn integer(value: &Value, field: &str) -> i64 {
    let found = value[field].as_i64();
    found.unwrap_or_else(|| missing(value, field))
}

fn number(value: &Value, field: &str) -> f64 {
    let found = value[field].as_f64();
    found.unwrap_or_else(|| missing(value, field))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let found = value[field].as_array();
    found.unwrap_or_else(|| missing(value, field))
}

fn integers(value: &Value, field: &str) -> Vec<i64> {
    let items = list(value, field).iter();
    items.map(|item| item.as_i64().unwrap_or_else(|| missing(value, field))).collect()
}

fn missing(value: &Value, field: &str) -> ! {
    panic!("the lab's answer lacks `{field}`: {value}")
}
