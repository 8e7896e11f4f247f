//! Policies from outside: plug-ins that answer well, that answer badly, and that do not answer, each on a real socket.

mod faults;
mod followed;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::plan::PlanSettings;
use milvus_rebalancer::plugin::Plugins;
use milvus_rebalancer::plugin::wire::policy_plugin_server::{PolicyPlugin, PolicyPluginServer};
use milvus_rebalancer::plugin::wire::{
    AssessRequest, AssessResponse, DescribeRequest, DescribeResponse, Dimension, DimensionDescription,
    Directive, LoadUnit, NodeCollectionLoads, NodeLoads, directive,
};
use milvus_rebalancer::policy::PolicySettings;
use milvus_rebalancer::policy::plugin::PluginSettings;
use milvus_rebalancer::turn::{Decision, OwnMoves, Thinking};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tonic::{Request, Response, Status};

use crate::cluster::{add_collection, cluster, lifted_gates, moment, rows_at_once};

/// Generous on a busy machine; only those that never answer need it whole.
const DEADLINE: Duration = Duration::from_secs(20);

type Assessing = Pin<Box<dyn Future<Output = Result<AssessResponse, Status>> + Send>>;
type Describe = Box<dyn Fn(usize) -> DescribeResponse + Send + Sync>;
type Assess = Box<dyn Fn(AssessRequest) -> Assessing + Send + Sync>;

/// A plug-in as a test wants it.
struct Fake {
    describe: Describe,
    assess: Assess,
    described: AtomicUsize,
}

#[tonic::async_trait]
impl PolicyPlugin for Fake {
    async fn describe(&self, _: Request<DescribeRequest>) -> Result<Response<DescribeResponse>, Status> {
        Ok(Response::new((self.describe)(self.described.fetch_add(1, Ordering::Relaxed))))
    }

    async fn assess(&self, request: Request<AssessRequest>) -> Result<Response<AssessResponse>, Status> {
        (self.assess)(request.into_inner()).await.map(Response::new)
    }
}

/// A plug-in on a socket of its own; gone with the test.
struct Served {
    folder: TempDir,
    /// Its own, so that it can die with all its connections, as a process does.
    runtime: Option<tokio::runtime::Runtime>,
}

impl Served {
    fn start(describe: Describe, assess: Assess) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.sock");
        let service = PolicyPluginServer::new(Fake { describe, assess, described: AtomicUsize::new(0) })
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(path).unwrap()
        };
        let incoming = futures::stream::unfold(listener, |listener| async {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let server = tonic::transport::Server::builder().add_service(service);
        runtime.spawn(async move { drop(server.serve_with_incoming(incoming).await) });
        Served { folder, runtime: Some(runtime) }
    }

    /// Ends it as SIGKILL does.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// One that always describes itself as [`described`] and answers with this.
    fn answering(answer: AssessResponse) -> Served {
        let assess = move |_| -> Assessing {
            let answer = answer.clone();
            Box::pin(async move { Ok(answer) })
        };
        Served::start(Box::new(|_| described()), Box::new(assess))
    }

    fn settings(&self) -> PluginSettings {
        PluginSettings {
            endpoint: format!("unix:{}", self.folder.path().join("plugin.sock").display()),
            deadline: DEADLINE,
            turns: Some(1),
            ..PluginSettings::default()
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One dimension `cost`, in points.
fn described() -> DescribeResponse {
    DescribeResponse {
        version: "fake 1".to_owned(),
        dimensions: vec![DimensionDescription {
            name: "cost".to_owned(),
            unit: LoadUnit::Points.into(),
            has_physical_capacity: false,
        }],
    }
}

/// Loads of (node, collection) in the dimension `cost`.
fn cost(loads: &[(i64, i64, u64)]) -> Dimension {
    Dimension {
        name: "cost".to_owned(),
        collection_loads: Some(NodeCollectionLoads {
            node_ids: loads.iter().map(|(node, ..)| *node).collect(),
            collection_ids: loads.iter().map(|(_, collection, _)| *collection).collect(),
            loads: loads.iter().map(|(.., load)| *load).collect(),
        }),
        ..Dimension::default()
    }
}

fn node_loads(loads: &[(i64, u64)]) -> NodeLoads {
    NodeLoads {
        node_ids: loads.iter().map(|(node, _)| *node).collect(),
        loads: loads.iter().map(|(_, load)| *load).collect(),
    }
}

fn directive(kind: directive::Kind) -> Directive {
    Directive { kind: Some(kind) }
}

/// Four nodes with four segments each of collections 7 and 8: even in rows.
fn even() -> Observation {
    let mut observation = cluster(4);
    for collection in [7, 8] {
        add_collection(&mut observation, collection, &[&[(1, 2), (2, 2), (3, 2), (4, 2)]]);
    }
    observation
}

/// The policies of a test: rows, and one plug-in of the name `fake`.
fn policies(settings: PluginSettings) -> PolicySettings {
    let mut policies = rows_at_once();
    policies.plugins.insert("fake".to_owned(), settings);
    policies
}

/// A daemon's half that turns, and the plug-ins that it asks.
struct Turning {
    thinking: Thinking,
    plugins: Arc<Plugins>,
}

impl Turning {
    fn new(settings: PluginSettings) -> Turning {
        let policies = policies(settings);
        let plugins = Arc::new(Plugins::new(&policies.plugins).unwrap());
        Turning { thinking: Thinking::new(&policies, PlanSettings::default(), lifted_gates()), plugins }
    }

    /// Asks and turns, as the control loop does; the observation holds the answers afterwards.
    async fn turn(&mut self, observation: &mut Observation) -> Decision {
        let asked = self.plugins.ask(&self.thinking.preview(observation)).await;
        observation.opinions = asked.into_iter().map(|asked| asked.hearing).collect();
        self.thinking.turn(observation, OwnMoves::default(), moment(1))
    }
}

/// The doubts about plug-ins, in words.
fn left_out(decision: &Decision) -> Vec<String> {
    let doubts = decision.snapshot.doubts.iter().filter(|doubt| doubt.kind.code() == "plugin_left_out");
    doubts.map(ToString::to_string).collect()
}
