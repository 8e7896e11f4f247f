//! The example of a policy plug-in, installed as its users install it, started for real, and followed by the daemon on a
//! simulated cluster. It needs a package index for Python; `MILVUS_LAB=off` leaves it out.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use milvus_rebalancer::sim::build::Placement;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimServer, WorldPlan, build};

use crate::daemon::{LIMITS_LIFTED, Site, says};
use crate::lab::lab_is_off;

/// The example, as it lies in the repository.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policy-plugin")
}

/// A Python with the example's requirements, made once under `target/`. Several test processes may come at once, and any
/// may be killed half-way: a mark written last says that it is whole.
fn python() -> PathBuf {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy-plugin");
    std::fs::create_dir_all(&cache).unwrap();
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = std::fs::read_to_string(example().join("requirements.txt")).unwrap();
    let (environment, mark) = (cache.join("environment"), cache.join("installed"));
    if std::fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        return environment.join("bin/python");
    }
    if environment.exists() {
        std::fs::remove_dir_all(&environment).unwrap();
    }
    let python = environment.join("bin/python");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment));
    let requirements = example().join("requirements.txt");
    let install = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "-r"];
    run(Command::new(&python).args(install).arg(requirements));
    std::fs::write(mark, wanted).unwrap();
    python
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{command:?}: {error}: install python3 with its venv module, or set MILVUS_LAB=off")
    });
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr} (MILVUS_LAB=off leaves this test out)");
}

/// The plug-in as a process. Dropping it kills it.
struct PlugIn(Child);

impl PlugIn {
    fn start(python: &Path, socket: &Path, closed: &str, log: File) -> PlugIn {
        let listen = format!("unix:{}", socket.display());
        let arguments = ["--listen", &listen, "--weight", "collection_1=100", "--closed", closed];
        let mut command = Command::new(python);
        command.arg(example().join("policy_plugin.py")).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("listening at unix:"), "{said:?}");
        PlugIn(child)
    }
}

impl Drop for PlugIn {
    fn drop(&mut self) {
        // Already ended is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A simulated cluster whose last node is empty, and whose first holds half as much again as the others.
async fn milvus() -> (SharedWorld, SimServer) {
    let plan = WorldPlan {
        nodes: 4,
        collections: 3,
        segments: 60,
        placement: Placement::Grown,
        ..WorldPlan::new(Profile::of(Line::V2_5), 11)
    };
    let world = SharedWorld::with_speed(build(&plan), 20);
    let server = SimServer::start(world.clone()).await.unwrap();
    (world, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_in_python_is_followed_left_out_when_it_dies_and_heard_again() {
    if lab_is_off() {
        return;
    }
    let (world, server) = milvus().await;
    tokio::task::spawn_blocking(move || follow(&world, &server)).await.unwrap();
}

fn follow(world: &SharedWorld, server: &SimServer) {
    let python = python();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("weights.sock");
    let log = || OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    // The empty node, to which everything would go.
    let (closed_id, closed) = {
        let world = world.lock();
        let (id, node) = world.nodes().last_key_value().unwrap();
        (*id, node.address.clone())
    };
    let plugin = PlugIn::start(&python, &socket, &closed, log());

    // Nothing but what the plug-in says: its dimension and its directive.
    let alone = LIMITS_LIFTED.replace("enabled = true", "enabled = false");
    let options = format!(
        "{alone}\n[policies.plugins.weights]\nendpoint = 'unix:{}'\ndeadline = '500ms'\nturns = 1\n",
        socket.display()
    );
    let site = Site::at(&server.endpoint(), &options);
    let mut daemon = site.start(&["--mode", "act"]);
    daemon.wait_for("sending LoadBalance");
    daemon.turns(5);
    {
        let world = world.lock();
        let of_dear = |record: &milvus_rebalancer::sim::calls::CallRecord| {
            let segments = record.request.segments.iter().filter_map(|id| world.segments().get(id));
            segments.map(|segment| segment.collection).collect::<Vec<_>>()
        };
        let dear = world.collections().values().find(|it| it.name == "collection_1").unwrap().id;
        let calls = world.calls();
        assert!(!calls.is_empty());
        assert!(
            calls.iter().all(|call| !call.request.to.contains(&closed_id)),
            "{closed} is closed: {calls:?}"
        );
        assert!(of_dear(&calls[0]).contains(&dear), "what is dear goes first: {:?}", calls[0]);
    }
    let metric = |daemon: &crate::daemon::Daemon| {
        let (_, page) = daemon.get("/metrics");
        let line = page.lines().find(|line| line.starts_with("milvus_rebalancer_policy_plugin_heard"));
        line.unwrap_or_else(|| panic!("{page}")).to_owned()
    };
    assert_eq!(metric(&daemon), "milvus_rebalancer_policy_plugin_heard{plugin=\"weights\"} 1");

    drop(plugin);
    let event = daemon.wait_for("the cluster: policy plug-in weights is left out of this turn: ");
    assert_eq!((&event["level"], &event["doubt"]), (&"WARN".into(), &"plugin_left_out".into()), "{event}");
    let meanwhile = daemon.turns(3);
    let warnings = meanwhile.iter().filter(|event| says(event, "the cluster: policy plug-in")).count();
    assert_eq!(warnings, 0, "it is told once: {meanwhile:#?}");
    assert_eq!(metric(&daemon), "milvus_rebalancer_policy_plugin_heard{plugin=\"weights\"} 0");

    let _again = PlugIn::start(&python, &socket, &closed, log());
    daemon.wait_for("no longer: the cluster: policy plug-in weights is left out of this turn: ");
    daemon.turns(1);
    assert_eq!(metric(&daemon), "milvus_rebalancer_policy_plugin_heard{plugin=\"weights\"} 1");
}
