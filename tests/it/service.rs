//! The daemon under a service manager: a real process that is told of a `NOTIFY_SOCKET`, what it says there when it is
//! ready, alive, reloading and stopping, and what `health` says of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::config::{Mode, PollSettings};
use milvus_rebalancer::control_loop::{ControlLoop, LoopState};
use milvus_rebalancer::execute::{ExecuteSettings, Executor};
use milvus_rebalancer::gate::GateSettings;
use milvus_rebalancer::http::Health;
use milvus_rebalancer::journal::{Journal, JournalSettings};
use milvus_rebalancer::metrics::Metrics;
use milvus_rebalancer::observe::observation::{CollectionReport, Observation};
use milvus_rebalancer::observe::{ObserveError, Observer, SeamFuture};
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::service_manager::ServiceManager;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};
use milvus_rebalancer::turn::Thinking;
use milvus_rebalancer::units::CollectionId;
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing is waited for over more messages than this.
const MESSAGES: usize = 1_000;

/// A folder with a configuration, and the socket on which the daemon's manager listens.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new(endpoint: &str, more: &str) -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let manager = Manager { folder, socket };
        manager.configure(endpoint, more);
        manager
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, endpoint: &str, more: &str) {
        let journal = self.path("it.db");
        let text = format!(
            "journal.path = '{}'\nhttp.listen = '127.0.0.1:0'\nadmin.listen = '127.0.0.1:0'\nconnections.default.endpoint = '{endpoint}'\n{more}",
            journal.display()
        );
        fs::write(self.path("config.toml"), text).unwrap();
    }

    fn command(&self, watchdog: Option<Duration>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        command.arg("--config").arg(self.path("config.toml")).arg("run");
        command.env_clear().env("NOTIFY_SOCKET", self.path("notify")).env("RUST_LOG", "info");
        if let Some(watchdog) = watchdog {
            command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    fn start(&self, watchdog: Option<Duration>) -> Service {
        let mut child = self.command(watchdog).spawn().unwrap();
        let (sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Service { child, log }
    }

    /// The next message, as its lines.
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 8_192];
        let length = self.socket.recv(&mut buffer).expect("the daemon says something in time");
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Messages until one has a line that begins so; that line.
    fn told_line(&self, start: &str) -> String {
        let mut seen = Vec::new();
        // Signs of life alone keep nobody waiting for ever.
        for _ in 0..MESSAGES {
            let told = self.told();
            match told.iter().find(|line| line.starts_with(start)) {
                Some(line) => return line.clone(),
                None => seen.extend(told),
            }
        }
        panic!("{start:?} is never said: {seen:?}");
    }
}

/// The running daemon. Dropping it kills it.
struct Service {
    child: Child,
    log: Receiver<String>,
}

impl Service {
    /// The log up to the first line with this text; that line.
    fn logged(&self, text: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{text:?} is never logged"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Where it listens, from its log.
    fn address(&self) -> SocketAddr {
        self.addresses().0
    }

    /// Where it listens for metrics, and where its admin API is.
    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let line = self.logged("listen=");
        let named = |name: &str| -> SocketAddr {
            let value = line.split(name).nth(1).unwrap().split_whitespace().next().unwrap();
            value.trim_matches('"').parse().unwrap()
        };
        (named("listen="), named("admin="))
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    request(address, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
}

/// Sends a JSON document to the admin API.
fn put(address: SocketAddr, path: &str, body: &str) -> String {
    let head = format!("PUT {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close");
    let kind = format!("content-type: application/json\r\ncontent-length: {}", body.len());
    request(address, &format!("{head}\r\n{kind}\r\n\r\n{body}"))
}

fn request(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn health(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
    // A busy machine is no sick daemon; what is tested as late says so itself.
    command.args(["health", "--timeout", "60s"]).args(arguments).env_clear().output().unwrap()
}

#[test]
fn it_is_ready_with_its_journal_and_listener_though_milvus_is_down_and_says_so() {
    let manager = Manager::new("http://127.0.0.1:1", "");
    let service = manager.start(None);
    assert_eq!(manager.told(), ["READY=1", "STATUS=started; Milvus has not been seen yet"]);
    assert!(manager.path("it.db").exists());
    let address = service.address();
    let status = manager.told_line("STATUS=");
    assert!(status.starts_with("STATUS=Milvus cannot be observed: "), "{status}");
    let alive = health(&["--address", &address.to_string()]);
    assert_eq!(
        (alive.status.code(), alive.stdout.as_slice()),
        (Some(0), &b"the control loop is alive\n"[..])
    );
    let ready = health(&["--ready", "--address", &address.to_string()]);
    assert_eq!(ready.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&ready.stdout).starts_with("the last turn failed: "), "{ready:?}");
}

#[test]
fn health_finds_the_daemon_by_its_configuration_and_says_when_nobody_answers() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("MILVUS_REBALANCER__HTTP__LISTEN=0.0.0.0:{}", free.port());
    let (name, value) = listen.split_once('=').unwrap();
    let ask = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
        command.args(["health", "--timeout", "60s"]).env_clear().env(name, value).output().unwrap()
    };
    let nobody = ask();
    assert_eq!(nobody.status.code(), Some(6));
    let told = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(told.starts_with(&format!("error: no daemon answers at 127.0.0.1:{}", free.port())), "{told}");

    let manager = Manager::new("http://127.0.0.1:1", "");
    let mut command = manager.command(None);
    let mut child = command.env(name, value).stderr(Stdio::null()).spawn().unwrap();
    manager.told_line("READY=1");
    assert_eq!(ask().status.code(), Some(0));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn health_takes_no_strange_answer_for_a_good_one() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        for answer in
            ["HTTP/1.1 302 Found\r\nlocation: /healthz\r\ncontent-length: 0\r\n\r\n", "SSH-2.0-x\r\n"]
        {
            let (mut stream, _) = stranger.accept().unwrap();
            let mut asked = [0; 1_024];
            let _length = stream.read(&mut asked).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
        // The third one gets no answer at all.
        stranger
    });
    for _ in 0..2 {
        assert_eq!(health(&["--address", &address]).status.code(), Some(6));
    }
    let _open = answering.join().unwrap();
    let mut late = Command::new(env!("CARGO_BIN_EXE_milvus-rebalancer"));
    let late =
        late.args(["health", "--address", &address, "--timeout", "100ms"]).env_clear().output().unwrap();
    assert_eq!(late.status.code(), Some(6), "{late:?}");
}

#[test]
fn what_cannot_start_never_says_that_it_is_ready() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    for (name, value) in [
        ("MILVUS_REBALANCER__HTTP__LISTEN", listen.as_str()),
        ("MILVUS_REBALANCER__JOURNAL__PATH", "/proc/no/journal.db"),
        ("MILVUS_REBALANCER__POLL__DUTY", "2"),
    ] {
        let manager = Manager::new("http://127.0.0.1:1", "");
        let output = manager.command(None).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        manager.socket.set_nonblocking(true).unwrap();
        assert!(manager.socket.recv(&mut [0; 16]).is_err(), "{name}: it said something");
    }
}

#[test]
fn the_watchdog_is_fed_while_it_backs_off_and_while_a_call_hangs() {
    // Whoever connects here is never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &hanging] {
        let manager = Manager::new(endpoint, "");
        let _service = manager.start(Some(Duration::from_millis(300)));
        manager.told_line("READY=1");
        for _ in 0..10 {
            manager.told_line("WATCHDOG=1");
        }
    }
}

#[test]
fn it_says_that_it_stops_and_ends_with_0() {
    let manager = Manager::new("http://127.0.0.1:1", "");
    let mut service = manager.start(None);
    manager.told_line("READY=1");
    service.signal("TERM");
    manager.told_line("STOPPING=1");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_configuration_is_in_force_at_once_or_not_at_all() {
    let plan =
        WorldPlan { nodes: 3, collections: 1, segments: 6, ..WorldPlan::new(Profile::of(Line::V2_4), 1) };
    let server = SimServer::start(SharedWorld::new(build(&plan))).await.unwrap();
    let endpoint = server.endpoint();
    tokio::task::spawn_blocking(move || reload(&endpoint)).await.unwrap();
}

/// The scenes of the test above, without a runtime in the way.
fn reload(endpoint: &str) {
    let limit = |address, number: u32| {
        let line = format!("milvus_rebalancer_limit{{limit=\"calls_per_minute\"}} {number}\n");
        get(address, "/metrics").contains(&line)
    };
    let manager = Manager::new(endpoint, "execute.calls_per_minute = 5");
    let service = manager.start(Some(Duration::from_secs(1)));
    manager.told_line("READY=1");
    let (address, admin) = service.addresses();
    manager.told_line("STATUS=3 nodes");
    assert!(limit(address, 5));
    let configured = |number: u32| {
        let shown = get(admin, "/v1/configuration");
        shown.contains(&format!("calls_per_minute = {number}"))
    };
    assert!(configured(5), "{}", get(admin, "/v1/configuration"));

    // What is valid is in force with the next turn, which follows at once.
    manager
        .configure(endpoint, "execute.calls_per_minute = 9\npoll.interval = '1s'\npolicies.memory.turns = 7");
    service.signal("HUP");
    manager.told_line("RELOADING=1");
    assert_eq!(manager.told_line("STATUS="), "STATUS=new configuration in force, 3 options changed");
    let logged = service.logged("option changed");
    assert!(logged.contains("execute.calls_per_minute: 5 → 9"), "{logged}");
    manager.told_line("STATUS=3 nodes");
    assert!(limit(address, 9));
    assert!(configured(9), "the API shows what is in force");

    // So is another level of the log, without a restart.
    let answer = put(admin, "/v1/log-level", r#"{"level": "debug"}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    service.logged("DEBUG");
    put(admin, "/v1/log-level", r#"{"level": "info"}"#);

    // The same again changes nothing.
    service.signal("HUP");
    let told = manager.told_line("STATUS=the configuration");
    assert_eq!(told, "STATUS=the configuration is what it was");

    // What is wrong changes nothing, and all of what is wrong is named.
    manager.configure(endpoint, "execute.calls_per_minute = 7\npoll.duty = 2\npoll.intervall = '1s'");
    service.signal("HUP");
    let told = manager.told_line("STATUS=new configuration refused");
    assert!(told.contains("poll.duty") && told.contains("poll.intervall"), "{told}");
    assert!(get(address, "/metrics").contains("milvus_rebalancer_config_last_reload_successful 0\n"));
    manager.told_line("STATUS=3 nodes");
    assert!(limit(address, 9));

    // What only a restart brings into force is named, and keeps the rest out.
    manager.configure(endpoint, "execute.calls_per_minute = 7\nlog.level = 'warn'\nmode = 'act'");
    service.signal("HUP");
    let told = manager.told_line("STATUS=new configuration refused");
    let named = "log.level: \"info\" → \"warn\"; mode: \"advise\" → \"act\"";
    assert!(told.contains("only a restart") && told.contains(named), "{told}");

    // A file that is gone is no reason to end.
    fs::remove_file(manager.path("config.toml")).unwrap();
    service.signal("HUP");
    let told = manager.told_line("STATUS=new configuration refused");
    assert!(told.contains("cannot read the configuration file"), "{told}");
    manager.told_line("STATUS=3 nodes");
    assert!(limit(address, 9), "it goes on as before");
    let counts = get(address, "/metrics");
    for line in ["{result=\"applied\"} 1", "{result=\"unchanged\"} 1", "{result=\"refused\"} 3"] {
        assert!(
            counts.contains(&format!("milvus_rebalancer_config_reloads_total{line}\n")),
            "{line}: {counts}"
        );
    }
}

/// Never answers and holds its thread, as nothing in this program should.
struct Blocking(std::sync::Mutex<Receiver<()>>);

impl Observer for Blocking {
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>> {
        Box::pin(async {
            self.0.lock().unwrap().recv().unwrap_err();
            Err(ObserveError::TooLong { after: Duration::ZERO })
        })
    }

    fn reread<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>> {
        Box::pin(async { Err(ObserveError::TooLong { after: Duration::ZERO }) })
    }
}

fn control_loop(
    folder: &Path,
    observer: Arc<dyn Observer>,
    health: Arc<Health>,
    stop: &CancellationToken,
) -> ControlLoop {
    let clock = Arc::new(Clock::system());
    let settings = JournalSettings { path: folder.join("it.db"), ..JournalSettings::default() };
    let journal = Journal::open(&settings, clock.read().wall).unwrap();
    let executor =
        Executor::new(ExecuteSettings::default(), None, observer.clone(), journal.clone(), clock.clone());
    ControlLoop {
        observer,
        plugins: milvus_rebalancer::plugin::Plugins::default(),
        thinking: Thinking::new(&PolicySettings::default(), PlanSettings::default(), GateSettings::default()),
        executor,
        election: None,
        mode: Mode::Advise,
        poll: PollSettings::default(),
        clock,
        journal,
        metrics: Arc::new(Metrics::register(&Registry::new()).unwrap()),
        health,
        state: watch::Sender::<LoopState>::default(),
        wake: Arc::default(),
        stop: stop.clone(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_is_stuck_feeds_no_watchdog_until_it_goes_on() {
    let (fed, signs) = channel();
    let manager = ServiceManager::new(Some(Duration::from_millis(30)), move |states| {
        states.iter().for_each(|state| drop(fed.send(state.to_string())));
        Ok(())
    });
    let (release, blocked) = channel();
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let health = Arc::new(Health::watched_by(manager));
    let observer = Arc::new(Blocking(std::sync::Mutex::new(blocked)));
    let running = tokio::spawn(control_loop(folder.path(), observer, health, &stop).run());
    // The loop is stuck as soon as its signs stop coming: three of them would be due in this time.
    let until_silence = || while signs.recv_timeout(Duration::from_millis(300)).is_ok() {};
    tokio::task::block_in_place(until_silence);
    assert!(signs.recv_timeout(Duration::from_millis(300)).is_err(), "a stuck loop gave a sign of life");

    drop(release);
    let sign = tokio::task::block_in_place(|| signs.recv_timeout(PATIENCE));
    sign.expect("a loop that goes on is alive again");
    stop.cancel();
    running.await.unwrap().unwrap();
}
