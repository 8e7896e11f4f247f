//! The admin API of a daemon on a simulated cluster, over real HTTP.

mod browser;
mod commands;
mod documentation;
mod events;
mod explaining;
mod hostile;
mod leaders;
mod ordering;
mod page;
mod reading;
mod size;
mod sockets;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::admin::AdminSettings;
use milvus_rebalancer::app::{AppError, Daemon};
use milvus_rebalancer::config::{Config, HttpSettings, Mode, PollSettings};
use milvus_rebalancer::control_loop::LoopState;
use milvus_rebalancer::journal::JournalSettings;
use milvus_rebalancer::milvus::ConnectionSettings;
use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use milvus_rebalancer::units::Ratio;
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A bound on hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much faster the simulated cluster is than a real one.
const SPEED: u32 = 20;

/// A daemon that works, and its cluster.
pub struct Site {
    pub folder: TempDir,
    pub endpoint: String,
    pub base: String,
    pub state: watch::Receiver<LoopState>,
    client: Client,
    stop: CancellationToken,
    running: Option<JoinHandle<Result<(), AppError>>>,
    _server: SimServer,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Asserts that it is a problem document with this status, and returns its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["type"].as_str().unwrap().starts_with("urn:milvus-rebalancer:problem:"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// An uneven cluster.
pub fn uneven() -> WorldPlan {
    WorldPlan {
        nodes: 3,
        collections: 2,
        segments: 30,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 7)
    }
}

/// Rows are what is even, at once.
pub fn configuration(folder: &TempDir, server: &SimServer) -> Config {
    let mut config = Config {
        poll: PollSettings { interval: Duration::from_millis(300), duty: 1.0, ..PollSettings::default() },
        journal: JournalSettings { path: folder.path().join("it.db"), ..JournalSettings::default() },
        http: HttpSettings { listen: "127.0.0.1:0".to_owned() },
        admin: AdminSettings { listen: "127.0.0.1:0".to_owned(), ..AdminSettings::default() },
        ..Config::default()
    };
    let connection = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    config.connections.insert("default".to_owned(), connection);
    config.policies.memory.enabled = false;
    config.policies.rows.0.enabled = true;
    config.policies.rows.0.turns = 1;
    config.execute.calls_per_minute = 0;
    config.execute.bytes_per_day = Ratio::ZERO;
    config
}

pub fn client() -> Client {
    // Another test of this process may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder().no_proxy().build().unwrap()
}

impl Site {
    /// A daemon in mode advise on an uneven cluster.
    pub async fn start() -> Site {
        Site::with(uneven(), |_| {}).await
    }

    /// The same on another cluster or with other options.
    pub async fn with(plan: WorldPlan, change: impl FnOnce(&mut Config)) -> Site {
        let server = SimServer::start(SharedWorld::with_speed(build(&plan), SPEED)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut config = configuration(&folder, &server);
        change(&mut config);
        let site = Box::pin(Site::run(folder, server, config)).await;
        site.until(|state| state.last.is_some()).await;
        site
    }

    pub async fn run(folder: TempDir, server: SimServer, config: Config) -> Site {
        let stop = CancellationToken::new();
        let clock = Arc::new(milvus_rebalancer::clock::Clock::system());
        let daemon = Box::pin(Daemon::assemble(config, clock, stop.clone())).await.unwrap();
        let base = format!("http://{}", daemon.admin_place().unwrap());
        let state = daemon.watch();
        let running = Some(tokio::spawn(daemon.run()));
        let endpoint = server.endpoint();
        Site { folder, endpoint, base, state, client: client(), stop, running, _server: server }
    }

    /// Waits until the loop shows this.
    pub async fn until(&self, is_so: impl FnMut(&LoopState) -> bool) {
        let mut state = self.state.clone();
        let waited = tokio::time::timeout(PATIENCE, state.wait_for(is_so)).await;
        waited.expect("the loop never shows it").unwrap();
    }

    /// Waits for the ends of two more turns: the first may have begun before.
    pub async fn two_turns(&self) {
        let now = self.state.borrow().turns;
        self.until(|state| state.turns >= now + 2).await;
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        read(self.request(Method::GET, path)).await
    }

    /// The JSON of a path that must answer.
    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
        answer.json()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("milvus-rebalancer-user", "ann");
        read(request.json(body)).await
    }

    /// The answer of an order that must succeed.
    pub async fn order(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// One value out of the journal.
    pub fn ask_journal(&self, query: &str) -> String {
        let connection = rusqlite::Connection::open(self.folder.path().join("it.db")).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Ends the daemon in good order.
    pub async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        if let Some(running) = self.running.take() {
            running.await.unwrap().unwrap();
        }
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub async fn read(request: reqwest::RequestBuilder) -> Answer {
    let response = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

/// For daemons that move.
pub fn acting(config: &mut Config) {
    config.mode = Mode::Act;
}
