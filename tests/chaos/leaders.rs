//! Several daemons on one cluster, of which a real etcd, or a Lease of Kubernetes on a server of our own, lets one act: the leader is killed, or stopped and continued, or cut off from what decides and not from Milvus,
//! again and again. At the simulated Milvus it must look as if there had been one daemon all along, but for the one call
//! that a stopped leader may still have had in its hands.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::sim::invariants::InvariantChecker;
use milvus_rebalancer::sim::{SharedWorld, SimServer, build};
use tokio::time::{Instant, sleep};

use crate::etcd_server::EtcdServer;
use crate::journal;
use crate::kubernetes_server::KubernetesServer;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::process::{Process, Site};
use crate::scene::{Chance, Scene};

/// Daemons on each cluster.
const DAEMONS: usize = 3;

/// How long a leader that is not heard of stays leader; etcd makes no shorter leases that last on a busy machine.
const LIFE: Duration = Duration::from_secs(3);

/// What a takeover may take beyond the life of a lease.
const TAKEOVER: Duration = Duration::from_secs(2);

/// A bound on hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Leaders that fall in one cluster: then it is level, more or less.
const FALLS_IN_ONE: u64 = 10;

/// Pause between looks.
const WATCH: Duration = Duration::from_millis(20);

/// One daemon of several.
struct Instance {
    name: String,
    site: Site,
    /// Of its page of metrics.
    address: SocketAddr,
    namespace: Option<Namespace>,
    process: Option<Process>,
}

impl Instance {
    async fn leads(&self, http: &reqwest::Client) -> bool {
        self.shows(http, "milvus_rebalancer_leader 1").await
    }

    /// Whether a line is on its page of metrics.
    async fn shows(&self, http: &reqwest::Client, wanted: &str) -> bool {
        let page = http.get(format!("http://{}/metrics", self.address)).send().await;
        let Ok(page) = page else { return false };
        page.text().await.is_ok_and(|text| text.lines().any(|line| line == wanted))
    }

    fn start(&mut self) {
        self.process = Some(match &self.namespace {
            Some(namespace) => self.site.start_in(namespace, "act"),
            None => self.site.start("act"),
        });
    }
}

/// What happens to a leader.
enum Fall {
    Killed,
    Stopped,
    CutOff,
}

/// What decides who leads.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Etcd,
    Kubernetes,
}

/// The same, running.
enum Engine {
    Etcd(EtcdServer),
    Kubernetes(KubernetesServer),
}

impl Engine {
    async fn start(kind: Kind) -> Engine {
        match kind {
            Kind::Etcd => Engine::Etcd(EtcdServer::start().await),
            Kind::Kubernetes => Engine::Kubernetes(KubernetesServer::start().await),
        }
    }

    /// What an instance of that name is told of it.
    fn configuration(&self, instance: &str) -> String {
        let (engine, place) = match self {
            Engine::Etcd(etcd) => ("etcd", format!("endpoints = [\"{}\"]", etcd.endpoint())),
            Engine::Kubernetes(server) => {
                ("kubernetes", format!("kubeconfig = \"{}\"", server.kubeconfig().display()))
            }
        };
        let life = LIFE.as_secs();
        format!(
            "[lease]\nengine = \"{engine}\"\ninstance = \"{instance}\"\n[lease.{engine}]\n{place}\n\
             time_to_live = \"{life}s\"\n"
        )
    }
}

/// Lets so many leaders fall.
pub async fn prove(kind: Kind, seed: u64, falls: u64) -> Outcome {
    let mut sum = Outcome::default();
    let mut left = falls;
    let mut seed = seed;
    while left > 0 && sum.problems.is_empty() {
        let falls = left.min(FALLS_IN_ONE);
        sum.add(Cluster::start(kind, seed).await.play(falls).await);
        left -= falls;
        seed += 1;
    }
    sum
}

struct Cluster {
    seed: u64,
    chance: Chance,
    world: SharedWorld,
    // Serve until they are dropped.
    _server: SimServer,
    _engine: Engine,
    http: reqwest::Client,
    instances: Vec<Instance>,
    checker: InvariantChecker,
    outcome: Outcome,
}

impl Cluster {
    async fn start(kind: Kind, seed: u64) -> Cluster {
        let scene = Scene::of(seed, Clock::system().read().wall);
        let world = SharedWorld::new(build(&scene.plan));
        let server = SimServer::start(world.clone()).await.expect("a port is free");
        let engine = Engine::start(kind).await;
        let mut instances = Vec::new();
        for number in 0..DAEMONS {
            let (name, site, port) = (format!("daemon-{number}"), Site::new(), free_port());
            let mut base = scene.configuration(server.grpc_address(), &server, &site.journal());
            let mut lease = engine.configuration(&name);
            let (mut namespace, mut host) = (None, Ipv4Addr::LOCALHOST);
            if number == 0 && matches!(kind, Kind::Etcd) && Namespace::is_possible() {
                let mut apart = Namespace::create();
                base = apart.reaching(&base, "milvus").await;
                lease = apart.reaching(&lease, "etcd").await;
                host = apart.address();
                namespace = Some(apart);
            }
            let address = SocketAddr::from((host, port));
            let base = base.replacen("listen = \"127.0.0.1:0\"", &format!("listen = \"{address}\""), 1);
            site.configure(&format!("{lease}{base}"));
            let mut instance = Instance { name, site, address, namespace, process: None };
            instance.start();
            instances.push(instance);
        }
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().expect("a client");
        let checker = InvariantChecker::new(scene.invariants());
        let outcome = Outcome { clusters: 1, ..Outcome::default() };
        let chance = Chance::for_play(seed);
        Cluster { seed, chance, world, _server: server, _engine: engine, http, instances, checker, outcome }
    }

    async fn play(mut self, falls: u64) -> Outcome {
        for _ in 0..falls {
            let fallen = match self.leader(None).await {
                Some(leader) => self.let_fall(leader).await,
                None => break,
            };
            self.check();
            if !self.outcome.problems.is_empty() {
                break;
            }
            if let Some(fallen) = fallen {
                self.instances[fallen].start();
            }
        }
        if self.outcome.problems.is_empty() {
            self.settle().await;
        }
        if !self.outcome.problems.is_empty() {
            for instance in &self.instances {
                println!("seed {} FAILED, {}\n{}", self.seed, instance.name, instance.site.last_said());
            }
            let trace: Vec<String> = self.world.lock().trace().map(str::to_owned).collect();
            println!("{}", trace[trace.len().saturating_sub(40)..].join("\n"));
            let again = format!("again: cargo test --test chaos -- --leaders {falls} --seed {}", self.seed);
            self.outcome.problems.push(again);
        }
        self.outcome
    }

    /// Waits for one that leads, other than this one, and has nothing left to wait for.
    async fn leader(&mut self, other_than: Option<usize>) -> Option<usize> {
        let ends = Instant::now() + PATIENCE;
        while Instant::now() < ends {
            for number in 0..self.instances.len() {
                if Some(number) != other_than && self.instances[number].leads(&self.http).await {
                    return Some(number);
                }
            }
            sleep(WATCH).await;
        }
        self.outcome.problems.push("nobody leads".to_owned());
        None
    }

    /// Lets the leader fall at some moment. `Some` when it must be started anew.
    async fn let_fall(&mut self, leader: usize) -> Option<usize> {
        let calls = self.world.lock().calls().len();
        let ends = Instant::now() + LIFE;
        // In the middle of a wave, where there is one.
        while self.world.lock().calls().len() == calls && Instant::now() < ends {
            sleep(WATCH).await;
        }
        sleep(self.chance.up_to(Duration::from_millis(700))).await;
        let is_killed = self.chance.happens(0.6);
        let fall = match &self.instances[leader].namespace {
            Some(_) => Fall::CutOff,
            None if is_killed => Fall::Killed,
            None => Fall::Stopped,
        };
        self.strike(leader, &fall);
        let fell = Instant::now();
        self.leader(Some(leader)).await?;
        let took = fell.elapsed();
        self.outcome.slowest_takeover = self.outcome.slowest_takeover.max(took);
        if took > LIFE + TAKEOVER {
            self.outcome.late_takeovers += 1;
        }
        if matches!(fall, Fall::Killed) {
            return Some(leader);
        }
        let before = self.calls_of(leader);
        self.raise(leader, &fall).await;
        // Long enough for it to notice, to look and to act, if it wanted to.
        sleep(LIFE).await;
        let stale = self.calls_of(leader) - before;
        self.outcome.stale_calls += stale as u64;
        if stale > 1 {
            self.outcome.problems.push(format!("a leader of before sent {stale} calls"));
        }
        None
    }

    fn strike(&mut self, leader: usize, fall: &Fall) {
        let Instance { namespace, process: Some(process), .. } = &mut self.instances[leader] else { return };
        match (fall, namespace) {
            (Fall::Killed, _) => {
                let calls = self.world.lock().calls().to_vec();
                let unanswered = calls.iter().filter(|call| call.answered.is_none()).count();
                if !process.kill() {
                    self.outcome.problems.push(format!("daemon {leader} ended by itself"));
                }
                self.outcome.kills += 1;
                self.outcome.kills_in_a_call += u64::from(unanswered > 0);
            }
            (Fall::CutOff, Some(namespace)) => {
                namespace.cut("etcd");
                self.outcome.cut_off += 1;
            }
            (Fall::Stopped | Fall::CutOff, _) => {
                process.signal("STOP");
                self.outcome.stops += 1;
            }
        }
    }

    /// Brings one back that was not killed.
    async fn raise(&mut self, fallen: usize, fall: &Fall) {
        let instance = &self.instances[fallen];
        match (fall, &instance.namespace, &instance.process) {
            (Fall::CutOff, Some(namespace), _) => {
                // It goes on looking at Milvus, and says what it lacks.
                let lacks = "milvus_rebalancer_limited_by{reason=\"leader_unknown\"} 1";
                let ends = Instant::now() + PATIENCE;
                while !instance.shows(&self.http, lacks).await {
                    if Instant::now() > ends {
                        self.outcome.problems.push("who is cut off does not say so".to_owned());
                        break;
                    }
                    sleep(WATCH).await;
                }
                namespace.mend("etcd");
            }
            (_, _, Some(process)) => process.signal("CONT"),
            _ => {}
        }
    }

    fn calls_of(&self, instance: usize) -> usize {
        let name = &self.instances[instance].name;
        self.world.lock().calls().iter().filter(|call| call.request.caller == *name).count()
    }

    /// What must never happen, by the world's own record.
    fn check(&mut self) {
        let world = self.world.lock();
        let violations = self.checker.check(&world);
        self.outcome.problems.extend(violations.iter().map(|violation| format!("forbidden: {violation}")));
        for (number, call) in world.calls().iter().enumerate().skip(self.outcome.calls) {
            for segment in call.segments.iter().filter(|segment| segment.is_under_way) {
                let text =
                    format!("call {number} of {} moves segment {}", call.request.caller, segment.segment);
                self.outcome.problems.push(format!("{text} while it is being moved"));
            }
        }
        self.outcome.calls = world.calls().len();
        drop(world);
        for instance in &self.instances {
            if let Ok(pages) = journal::read(&instance.site.journal())
                && pages.limited.contains_key("foreign_mover")
            {
                let text = format!("{} took a move of another instance for somebody else's", instance.name);
                self.outcome.problems.push(text);
            }
        }
    }

    /// Every move that anybody began has an end in the journal of the last leader.
    async fn settle(&mut self) {
        let Some(leader) = self.leader(None).await else { return };
        let ends = Instant::now() + PATIENCE;
        let journal = self.instances[leader].site.journal();
        let mut forgotten = vec!["its journal cannot be read".to_owned()];
        while !forgotten.is_empty() && Instant::now() < ends {
            sleep(Duration::from_millis(250)).await;
            let Ok(pages) = journal::read(&journal) else { continue };
            let calls = self.world.lock().calls().to_vec();
            let is_known = |segment: i64, to: i64| {
                pages.entries.iter().any(|one| one.segment == segment && one.to == to && one.is_ended())
            };
            let moves = calls.iter().rev().skip(1).flat_map(|call| {
                let to = call.request.to.first().map_or(0, |node| node.0);
                call.request.segments.iter().map(move |segment| (segment.0, to))
            });
            // The last call is always young.
            forgotten = moves
                .filter(|(segment, to)| !is_known(*segment, *to))
                .map(|(segment, to)| format!("the move of segment {segment} to node {to} was forgotten"))
                .collect();
        }
        self.outcome.problems.extend(forgotten);
        self.check();
        let last = self.pause_and_fall(leader).await.unwrap_or(leader);
        for instance in &mut self.instances {
            if let Some(process) = &mut instance.process
                && !process.kill()
            {
                self.outcome.problems.push(format!("{} ended by itself", instance.name));
            }
        }
        if let Ok(pages) = journal::read(&self.instances[last].site.journal()) {
            self.outcome.count(&pages);
        }
    }

    /// A pause and a drain that were ordered where the leader is hold for its successor.
    async fn pause_and_fall(&mut self, leader: usize) -> Option<usize> {
        self.instances[leader].site.pause();
        let drained = self.world.lock().calls().first().and_then(|call| call.request.to.first().copied());
        let drained = drained.map_or(1, |node| node.0);
        let ordered = journal::order_drain(&self.instances[leader].site.journal(), drained);
        self.outcome.problems.extend(ordered.err());
        // A turn sees it and shares it; what had been sent before ends meanwhile.
        sleep(LIFE).await;
        let calls = self.world.lock().calls().len();
        self.instances[leader].process.take()?.kill();
        let next = self.leader(Some(leader)).await?;
        sleep(LIFE).await;
        let is_paused = journal::read(&self.instances[next].site.journal())
            .is_ok_and(|pages| pages.last_limit.as_deref() == Some("paused"));
        if !is_paused {
            self.outcome.problems.push("the successor is not paused".to_owned());
        }
        if journal::drained(&self.instances[next].site.journal()) != Ok(vec![drained]) {
            self.outcome.problems.push("the successor does not know of the drain".to_owned());
        }
        if self.world.lock().calls().len() != calls {
            self.outcome.problems.push("something was moved during a pause".to_owned());
        }
        Some(next)
    }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    probe.local_addr().expect("it has an address").port()
}
