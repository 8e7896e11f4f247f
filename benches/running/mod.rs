//! A whole daemon on a simulated cluster, for measurements over real HTTP: it looks once, and then rests.

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::admin::AdminSettings;
use milvus_rebalancer::app::{AppError, Daemon};
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::config::{Config, HttpSettings, PollSettings};
use milvus_rebalancer::journal::JournalSettings;
use milvus_rebalancer::milvus::ConnectionSettings;
use milvus_rebalancer::sim::{SharedWorld, SimServer, WorldPlan, build};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A daemon whose first turn is over.
pub struct Running {
    /// Where its admin API listens.
    pub place: String,
    runtime: Runtime,
    stop: CancellationToken,
    running: JoinHandle<Result<(), AppError>>,
    _server: SimServer,
    _folder: TempDir,
}

impl Running {
    /// Starts it and waits for its first turn.
    pub fn start(plan: &WorldPlan) -> Result<Running, Box<dyn Error>> {
        let runtime = Runtime::new()?;
        let (stop, folder) = (CancellationToken::new(), tempfile::tempdir()?);
        let (daemon, server) = runtime.block_on(assemble(plan, folder.path(), stop.clone()))?;
        let place = daemon.admin_place().ok_or("no admin listener")?.to_string();
        let mut state = daemon.watch();
        let running = runtime.spawn(daemon.run());
        let state =
            runtime.block_on(state.wait_for(|state| state.last.is_some() || state.failure.is_some()))?;
        if let Some(failure) = &state.failure {
            return Err(failure.clone().into());
        }
        drop(state);
        Ok(Running { place, runtime, stop, running, _server: server, _folder: folder })
    }

    /// Asks for a path on a connection of its own.
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Box<dyn Error>> {
        let mut stream = TcpStream::connect(&self.place)?;
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n", self.place)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")?;
        let head = String::from_utf8(answer[..end].to_vec())?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        Ok(Answer { status, head, body: answer.split_off(end + 4) })
    }

    /// Ends it in good order.
    pub fn stop(self) -> Result<(), Box<dyn Error>> {
        self.stop.cancel();
        Ok(self.runtime.block_on(self.running)??)
    }
}

/// What came back, as it came.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Itself, if it is no error.
    pub fn good(self) -> Result<Answer, Box<dyn Error>> {
        if self.status == 200 { Ok(self) } else { Err(self.head.into()) }
    }

    /// The value of a header, whose name is written in small letters.
    #[allow(dead_code, reason = "not every measurement asks for one")]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find_map(|(known, value)| (known == name).then_some(value))
    }
}

async fn assemble(
    plan: &WorldPlan,
    folder: &std::path::Path,
    stop: CancellationToken,
) -> Result<(Daemon, SimServer), Box<dyn Error>> {
    let server = SimServer::start(SharedWorld::new(build(plan))).await?;
    let mut config = Config {
        // One look is enough, and none shall come in between.
        poll: PollSettings {
            interval: Duration::from_secs(3_600),
            timeout: Duration::from_secs(600),
            ..PollSettings::default()
        },
        journal: JournalSettings { path: folder.join("bench.db"), ..JournalSettings::default() },
        http: HttpSettings { listen: "127.0.0.1:0".to_owned() },
        admin: AdminSettings { listen: "127.0.0.1:0".to_owned(), ..AdminSettings::default() },
        ..Config::default()
    };
    let connection = ConnectionSettings { endpoint: server.endpoint(), ..ConnectionSettings::default() };
    config.connections.insert("default".to_owned(), connection);
    let daemon = Daemon::assemble(config, Arc::new(Clock::system()), stop).await?;
    Ok((daemon, server))
}
