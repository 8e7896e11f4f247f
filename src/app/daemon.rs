//! The daemon, put together from its stages: the control loop and the listener, which live and die together.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus::Registry;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{AppError, ByHand, connect};
use crate::admin::{self, Access, AdminListener, Cache, Place, Shared};
use crate::clock::Clock;
use crate::config::{Config, Mode};
use crate::control_loop::reload::{self, Load, Reloader};
use crate::control_loop::{ControlLoop, LoopState};
use crate::execute::Mover;
use crate::execute::executor::Executor;
use crate::http::{Health, Listener};
use crate::journal::{DaemonLock, DaemonStart, Journal};
use crate::kill_switch::KillSwitch;
use crate::lease::etcd::EtcdElection;
#[cfg(feature = "kubernetes")]
use crate::lease::kubernetes::KubernetesElection;
use crate::lease::{Election, LeaseEngine, LeaseSettings};
use crate::metrics::Metrics;
use crate::milvus::MilvusMover;
use crate::plugin::Plugins;
use crate::service_manager::ServiceManager;
use crate::turn::Thinking;

/// A daemon that has its journal and its port, and waits to be run.
pub struct Daemon {
    control_loop: ControlLoop,
    election: Option<Arc<dyn Election>>,
    listener: Listener,
    admin: Option<(AdminListener, Arc<Shared>)>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    stop: CancellationToken,
    in_force: watch::Sender<Arc<Config>>,
    reloader: Reloader,
    _lock: DaemonLock,
}

impl Daemon {
    /// Takes the journal and the port, and wires the stages. Milvus is not asked yet.
    pub async fn assemble(
        config: Config,
        clock: Arc<Clock>,
        stop: CancellationToken,
    ) -> Result<Daemon, AppError> {
        let in_force = config.clone();
        let Config {
            mode,
            connection,
            connections,
            poll,
            node_metrics,
            proxy_metrics,
            prometheus,
            management,
            milvus,
            signals,
            capacity,
            policies,
            plan,
            gate,
            guard,
            execute,
            journal,
            lease,
            http,
            admin,
            log: _,
        } = config;

        let watches_proxies = !proxy_metrics.targets.is_empty();
        let pages = connect::Pages { node_metrics, proxy_metrics, prometheus, management };
        let connected = connect::connect(&connection, &connections, &pages, &clock)?;
        let lock = DaemonLock::acquire(&journal.path)?;
        let journal = Journal::open(&journal, clock.read().wall)?;
        if let Some(damaged) = journal.fresh_after_corruption() {
            let kept = damaged.display().to_string();
            tracing::warn!(
                kept,
                "the journal begins anew after a damaged one; cool-downs and budgets before it are unknown"
            );
        }
        journal.belongs_to(&connected.client.target().endpoint).await?;
        let started_at = clock.read().wall;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let start = reload::record(&journal, &in_force, started_at).await?;
        if let Some(change) = start.change {
            tracing::info!(?change, "the first wave of moves will be a small one");
        }
        journal.record_start(DaemonStart { started_at, version, mode: mode.code().to_owned() }).await?;

        let metrics = Arc::new(Metrics::register(&Registry::new())?);
        metrics.set_mode(mode);
        if mode.moves() && guard.enabled && !watches_proxies {
            tracing::info!("what users feel is not watched: proxy_metrics.targets names no proxy");
        }
        let health = Arc::new(Health::watched_by(ServiceManager::of_process()));
        let listener = Listener::bind(&http.listen).await?;
        let admin = if admin.enabled { Some((AdminListener::bind(&admin).await?, admin)) } else { None };
        let admin_place =
            admin.as_ref().map_or("nowhere".to_owned(), |(listener, _)| listener.place().to_string());
        tracing::info!(
            mode = mode.code(),
            listen = %listener.address(),
            admin = admin_place,
            journal = %journal.path().display(),
            "started"
        );

        let mover: Option<Arc<dyn Mover>> = match mode {
            Mode::Advise => None,
            Mode::Within | Mode::Act => {
                let client = connected.client.clone().named(&lease.instance_name());
                Some(Arc::new(MilvusMover::new(client, Some(execute.call_timeout))))
            }
        };
        let mut executor =
            Executor::new(execute, mover, connected.observer.clone(), journal.clone(), clock.clone());
        // Who only advises stands in nobody's way.
        let election = if mode == Mode::Advise { None } else { election(&lease, &clock)? };
        if let Some(election) = &election {
            executor.lead_by(election.clone());
        }
        let in_force = watch::Sender::new(Arc::new(in_force));
        let leadership = election.as_deref().map(Election::leadership);
        let by_hand = Arc::new(ByHand::new(&connected, in_force.subscribe(), leadership, clock.clone()));
        executor.obey(KillSwitch::at(gate.kill_switch.clone()));
        let control_loop = ControlLoop {
            observer: connected.observer,
            plugins: Plugins::new(&policies.plugins)?,
            thinking: Thinking::new(&policies, plan, gate)
                .with_guard(guard)
                .with_signals(signals, capacity)
                .beside(milvus.balancer, mode == Mode::Within),
            executor,
            election: election.clone(),
            mode,
            poll,
            clock,
            journal,
            metrics: metrics.clone(),
            health: health.clone(),
            state: watch::Sender::default(),
            wake: Arc::default(),
            stop: stop.clone(),
        };
        let admin = admin.map(|(listener, settings)| {
            let shared = Shared {
                state: control_loop.state.subscribe(),
                journal: control_loop.journal.clone(),
                clock: control_loop.clock.clone(),
                mode,
                in_force: in_force.subscribe(),
                access: Arc::new(Access::new(&settings)),
                wake: control_loop.wake.clone(),
                by_hand,
                what_if: Arc::default(),
                stop: stop.clone(),
                views: Cache::default(),
            };
            (listener, Arc::new(shared))
        });
        let reloader = Reloader::never();
        Ok(Daemon {
            control_loop,
            election,
            listener,
            admin,
            metrics,
            health,
            stop,
            in_force,
            reloader,
            _lock: lock,
        })
    }

    /// Reads its configuration again with `load` each time that it is `asked`.
    pub fn reloading(mut self, asked: Arc<Notify>, load: Arc<Load>) -> Daemon {
        self.reloader = Reloader::new(self.in_force.clone(), asked, load);
        self
    }

    /// Where `/metrics` is.
    pub fn metrics_address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where the admin API is, if there is one.
    pub fn admin_place(&self) -> Option<&Place> {
        self.admin.as_ref().map(|(listener, _)| listener.place())
    }

    /// What the control loop shows of itself, from now on.
    pub fn watch(&self) -> watch::Receiver<LoopState> {
        self.control_loop.state.subscribe()
    }

    /// Runs until it is told to stop, or until one of its tasks ends by itself, which ends all and is an error.
    pub async fn run(self) -> Result<(), AppError> {
        let Daemon {
            control_loop,
            election,
            listener,
            admin,
            metrics,
            health,
            stop,
            in_force: _,
            reloader,
            _lock,
        } = self;
        let standing = tokio::spawn(async move {
            match election {
                Some(election) => election.run().await,
                None => std::future::pending().await,
            }
        });
        health.started("started; Milvus has not been seen yet");
        let administering =
            admin.map(|(listener, shared)| tokio::spawn(listener.serve(admin::router(shared), stop.clone())));
        let mut serving = tokio::spawn(listener.serve(metrics, health, stop.clone()));
        let mut turning = tokio::spawn(control_loop.run_reloading(reloader));
        let first = tokio::select! {
            served = &mut serving => Ended::Listener(served),
            turned = &mut turning => Ended::Loop(turned),
            // It never ends by itself, so this is a panic; without it nobody would lead here again.
            ended = standing => return ended.map_err(AppError::task("the election")).and(Err(AppError::EndedByItself)),
        };
        let asked_to_stop = stop.is_cancelled();
        stop.cancel();
        // The other one is given the time that its own limits allow.
        let (served, turned) = match first {
            Ended::Listener(served) => (served, turning.await),
            Ended::Loop(turned) => (serving.await, turned),
        };
        if let Some(administering) = administering {
            administering.await.map_err(AppError::task("the admin API"))?;
        }
        turned.map_err(AppError::task("the control loop"))??;
        served.map_err(AppError::task("the listener"))??;
        if !asked_to_stop {
            return Err(AppError::EndedByItself);
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// The election that decides between several instances, if the configuration names one.
#[cfg_attr(not(feature = "kubernetes"), expect(unused_variables))]
fn election(settings: &LeaseSettings, clock: &Arc<Clock>) -> Result<Option<Arc<dyn Election>>, AppError> {
    match settings.engine {
        LeaseEngine::None => Ok(None),
        LeaseEngine::Etcd => {
            let election = EtcdElection::new(settings.instance_name(), &settings.etcd)?;
            Ok(Some(Arc::new(election)))
        }
        #[cfg(feature = "kubernetes")]
        LeaseEngine::Kubernetes => {
            let name = settings.instance_name();
            let election = KubernetesElection::new(&name, &settings.kubernetes, Arc::clone(clock));
            Ok(Some(Arc::new(election)))
        }
        // Checked with the configuration.
        #[cfg(not(feature = "kubernetes"))]
        LeaseEngine::Kubernetes => Err(AppError::WithoutKubernetes),
    }
}

/// Which task ended first, and how.
enum Ended {
    Listener(Result<Result<(), crate::http::HttpError>, tokio::task::JoinError>),
    Loop(Result<Result<(), crate::journal::JournalError>, tokio::task::JoinError>),
}
