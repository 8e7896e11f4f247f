//! A scripted cluster in memory: what becomes of a move and of its answer is said beforehand. It looks into the
//! journal at every call, with a connection of its own: the intent must be there before the call is.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use milvus_rebalancer::clock::Clock;
use milvus_rebalancer::execute::manual::ManualTools;
use milvus_rebalancer::execute::{
    AdmittedMove, BreakerSettings, ExecuteSettings, Executor, MoveCall, Mover, WaveSettings,
};
use milvus_rebalancer::journal::{Journal, JournalSettings};
use milvus_rebalancer::kill_switch::KillSwitch;
use milvus_rebalancer::milvus::{Call, Failure, MilvusError, Refusal, Remedy, Target};
use milvus_rebalancer::observe::observation::{
    CollectionReport, Observation, ReplicaReport, SegmentLevel, SegmentReport, ServerVersion,
};
use milvus_rebalancer::observe::{ObserveError, Observer, SeamFuture};
use milvus_rebalancer::plan::Move;
use milvus_rebalancer::units::{Bytes, CollectionId, NodeId, PartitionId, Ratio, ReplicaId, Rows, SegmentId};
use tokio::time::{Instant, sleep, timeout};

/// Nodes of the one replica of every collection.
pub const NODES: [i64; 4] = [1, 2, 3, 4];
/// Bytes of every segment.
pub const SEGMENT_BYTES: u64 = 100;

/// What becomes of a move, once its call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Seen on both nodes until so many reads have passed, then on its destination.
    LandsAfter(u32),
    /// Nothing happens.
    Stays,
    /// It is found on this node instead.
    GoesTo(i64),
    /// It is compacted away.
    Vanishes,
}

/// How a call is answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    Success,
    SuccessAfter(Duration),
    Error(Remedy),
    /// The destination has no memory for it.
    Full,
    Never,
    Panics,
}

#[derive(Default)]
pub struct State {
    /// By collection, segment: its nodes.
    pub segments: BTreeMap<i64, BTreeMap<i64, Vec<i64>>>,
    /// By segment; the others land at the first read.
    pub fates: BTreeMap<i64, Fate>,
    /// In the order of the calls; then success.
    pub answers: VecDeque<Answer>,
    pub calls: Vec<(Instant, MoveCall)>,
    pub reads: Vec<Instant>,
    pub reads_fail: bool,
    /// By segment; 10 otherwise.
    pub rows: BTreeMap<i64, u64>,
    /// Of every replica.
    pub members: Vec<i64>,
    /// Of every collection.
    pub load_percentage: u8,
    pub read_takes: Duration,
    pub violations: Vec<String>,
    moving: Vec<(i64, i64, i64, Fate)>,
}

impl State {
    /// What is on its way stays where it is.
    pub fn forget_moves(&mut self) {
        self.moving.clear();
    }
}

pub struct Fake {
    own: std::sync::Weak<Fake>,
    pub state: Mutex<State>,
    pub journal_path: PathBuf,
    pub clock: Arc<Clock>,
    /// By how many seconds somebody has set the calendar forward since the start.
    pub stepped: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl Fake {
    /// Collections 1 … with segments 100·c+1 … on node 1.
    pub fn new(collections: i64, segments: i64) -> Arc<Fake> {
        let folder = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let base = Timestamp::from_second(1_790_000_000).unwrap();
        let stepped = Arc::new(AtomicI64::new(0));
        let step = Arc::clone(&stepped);
        let wall = move || {
            let step = SignedDuration::from_secs(step.load(Ordering::Relaxed));
            base + SignedDuration::try_from(started.elapsed()).unwrap() + step
        };
        let mut state = State { members: NODES.to_vec(), load_percentage: 100, ..State::default() };
        for collection in 1..=collections {
            let ids = (1..=segments).map(|number| (collection * 100 + number, vec![1]));
            state.segments.insert(collection, ids.collect());
        }
        Arc::new_cyclic(|own| Fake {
            own: own.clone(),
            state: Mutex::new(state),
            journal_path: folder.path().join("it.db"),
            clock: Arc::new(Clock::with_wall(wall)),
            stepped,
            _folder: folder,
        })
    }

    pub fn arc(&self) -> Arc<Fake> {
        self.own.upgrade().expect("it is in use")
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.read().wall
    }

    pub fn journal(&self) -> Journal {
        let settings = JournalSettings { path: self.journal_path.clone(), ..JournalSettings::default() };
        Journal::open(&settings, self.now()).unwrap()
    }

    /// What a manual run works with.
    pub fn tools(self: &Arc<Fake>, kill_switch: KillSwitch) -> ManualTools {
        ManualTools {
            mover: self.clone(),
            observer: self.clone(),
            journal: self.journal(),
            clock: Arc::clone(&self.clock),
            kill_switch,
        }
    }

    pub fn executor(self: &Arc<Fake>, settings: ExecuteSettings) -> Executor {
        let (mover, observer) = (Arc::clone(self), Arc::clone(self));
        Executor::new(settings, Some(mover), observer, self.journal(), Arc::clone(&self.clock))
    }

    /// States in the journal, by segment, as another program sees them.
    pub fn journalled(&self) -> BTreeMap<i64, String> {
        let client = rusqlite::Connection::open(&self.journal_path).unwrap();
        let mut rows = client.prepare("SELECT segment_id, state FROM operations ORDER BY id").unwrap();
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
    }

    pub fn calls(&self) -> Vec<(i64, i64, Vec<i64>)> {
        let call = |(_, call): &(Instant, MoveCall)| {
            let segments = call.segments().iter().map(|segment| segment.0).collect();
            (call.from().0, call.to().0, segments)
        };
        self.state().calls.iter().map(call).collect()
    }

    pub fn observation(&self) -> Observation {
        let mut state = self.state();
        let ids: Vec<i64> = state.segments.keys().copied().collect();
        let now = self.now();
        let collections = ids.into_iter().map(|id| read(&mut state, id, now)).collect();
        Observation {
            started_at: now,
            took: Duration::ZERO,
            server: ServerVersion::parse("2.3.5"),
            nodes: Vec::new(),
            resource_groups: None,
            collections,
            service: milvus_rebalancer::observe::service::ServiceReport::default(),
            management: None,
            signals: milvus_rebalancer::observe::signals::SignalReport::default(),
            complaints: Vec::new(),
            prometheus: Default::default(),
            opinions: Vec::new(),
            gaps: Vec::new(),
        }
    }

    fn check_intent(&self, call: &MoveCall) {
        let client = rusqlite::Connection::open(&self.journal_path).unwrap();
        let known = "SELECT count(*) FROM operations JOIN batches ON batches.id = batch
                     WHERE segment_id = ?1 AND from_node = ?2 AND to_node = ?3 AND state IN ('admitted', 'sent')";
        for segment in call.segments() {
            let parameters = [segment.0, call.from().0, call.to().0];
            let rows: i64 = client.query_row(known, parameters, |row| row.get(0)).unwrap();
            if rows != 1 {
                self.state()
                    .violations
                    .push(format!("segment {segment} was sent with {rows} rows of intent"));
            }
        }
    }
}

/// What a read shows, which is also what moves things on.
fn read(state: &mut State, collection: i64, now: Timestamp) -> CollectionReport {
    let State { segments, moving, rows, members, load_percentage, .. } = state;
    let nodes_of = segments.get_mut(&collection).expect("a collection that exists");
    moving.retain_mut(|(segment, from, to, fate)| {
        let Some(nodes) = nodes_of.get_mut(segment) else { return true };
        match fate {
            Fate::LandsAfter(reads) if *reads > 1 => {
                *reads -= 1;
                *nodes = vec![*from, *to];
                return true;
            }
            Fate::LandsAfter(_) => *nodes = vec![*to],
            Fate::GoesTo(node) => *nodes = vec![*node],
            Fate::Stays => {}
            Fate::Vanishes => {
                nodes_of.remove(segment);
            }
        }
        false
    });
    let segment = |(id, nodes): (&i64, &Vec<i64>)| SegmentReport {
        id: SegmentId(*id),
        partition: PartitionId(1),
        rows: Rows(rows.get(id).copied().unwrap_or(10)),
        nodes: nodes.iter().copied().map(NodeId).collect(),
        level: SegmentLevel::Legacy,
    };
    CollectionReport {
        database: "default".into(),
        name: format!("c{collection}"),
        id: CollectionId(collection),
        load_percentage: *load_percentage,
        read_at: now,
        replicas: Some(vec![ReplicaReport {
            id: ReplicaId(collection),
            nodes: members.iter().copied().map(NodeId).collect(),
            resource_group: "group".into(),
            shards: Vec::new(),
            outbound_nodes: 0,
        }]),
        segments: Some(nodes_of.iter().map(segment).collect()),
        estimated_row_bytes: None,
    }
}

impl Observer for Fake {
    fn observe(&self) -> SeamFuture<'_, Result<Observation, ObserveError>> {
        Box::pin(async { Ok(self.observation()) })
    }

    fn reread<'a>(
        &'a self,
        _database: &'a str,
        _collection: &'a str,
        id: CollectionId,
    ) -> SeamFuture<'a, Result<CollectionReport, ObserveError>> {
        Box::pin(async move {
            let (began, takes) = (self.now(), self.state().read_takes);
            self.state().reads.push(Instant::now());
            sleep(takes).await;
            if self.state().reads_fail {
                let source = failure(Remedy::RetryLater);
                return Err(ObserveError::Unreachable { endpoint: "fake".into(), source });
            }
            Ok(read(&mut self.state(), id.0, began))
        })
    }
}

impl Mover for Fake {
    fn load_balance<'a>(&'a self, call: &'a MoveCall) -> SeamFuture<'a, Result<(), MilvusError>> {
        Box::pin(async move {
            self.check_intent(call);
            let answer = {
                let mut state = self.state();
                state.calls.push((Instant::now(), call.clone()));
                for segment in call.segments() {
                    let fate = state.fates.get(&segment.0).copied().unwrap_or(Fate::LandsAfter(1));
                    state.moving.push((segment.0, call.from().0, call.to().0, fate));
                }
                state.answers.pop_front().unwrap_or(Answer::Success)
            };
            match answer {
                Answer::Success => Ok(()),
                Answer::SuccessAfter(wait) => {
                    sleep(wait).await;
                    Ok(())
                }
                Answer::Error(remedy) => Err(failure(remedy)),
                Answer::Full => Err(refused(605)),
                Answer::Never => std::future::pending().await,
                Answer::Panics => panic!("the mover broke"),
            }
        })
    }
}

/// An error of `LoadBalance` that asks for this.
pub fn failure(remedy: Remedy) -> MilvusError {
    let code = match remedy {
        Remedy::RetryLater => 1,
        Remedy::Replan => 600,
        Remedy::SkipCollection => 103,
        Remedy::FixAccess => 1_401,
        Remedy::OurBug => 1_100,
        Remedy::OutcomeUnknown => 10_001,
    };
    let error = refused(code);
    assert_eq!(error.remedy(), remedy, "the code stands for it");
    error
}

fn refused(code: i32) -> MilvusError {
    let refusal = Refusal { code, legacy_code: 1, reason: "as scripted".into(), retriable: false };
    MilvusError {
        call: Call::LoadBalance,
        target: Arc::new(Target { connection: "default".into(), endpoint: "fake".into() }),
        failure: Failure::Refused(refusal),
    }
}

/// Nothing is limited.
pub fn unlimited() -> ExecuteSettings {
    ExecuteSettings {
        calls_per_minute: 0,
        calls_in_flight: 0,
        calls_in_flight_per_node: 0,
        segments_per_call: 0,
        bytes_per_call: Bytes::ZERO,
        moves_in_flight: 0,
        moves_in_flight_per_source: 0,
        moves_in_flight_per_destination: 0,
        moves_in_flight_per_collection: 0,
        bytes_per_second: Bytes::ZERO,
        moves_per_hour: 0,
        moves_per_day: 0,
        bytes_per_hour: Ratio::ZERO,
        bytes_per_day: Ratio::ZERO,
        waves: WaveSettings { enabled: false, ..WaveSettings::default() },
        breaker: BreakerSettings { failures: 0, ..BreakerSettings::default() },
        ..ExecuteSettings::default()
    }
}

/// A move of a segment that [`Fake::new`] made, from node 1.
pub fn admitted(segment: i64, to: i64) -> AdmittedMove {
    let collection = segment / 100;
    AdmittedMove {
        movement: Move {
            segment: SegmentId(segment),
            collection: CollectionId(collection),
            replica: ReplicaId(collection),
            from: NodeId(1),
            to: NodeId(to),
            bytes: Bytes(SEGMENT_BYTES),
            rows: Rows(10),
        },
        database: "default".into(),
        collection_name: format!("c{collection}"),
        from_address: "host-1:1".into(),
    }
}

/// Lets the executor work until something holds; gives up after a day of paused time.
pub async fn drive(executor: &mut Executor, mut until: impl FnMut(&Executor) -> bool) {
    let day = Duration::from_secs(26 * 3_600);
    let driven = timeout(day, async {
        while !until(executor) {
            executor.next_event().await;
        }
    });
    driven.await.expect("what the test waits for never comes");
}

/// Lets the executor work until all that was offered has been sent and has ended.
pub async fn finish(executor: &mut Executor) {
    drive(executor, |executor| {
        let status = executor.status();
        status.queued == 0 && status.open_operations == 0
    })
    .await;
    save(executor).await;
}

/// Lets the executor write down what it knows.
pub async fn save(executor: &mut Executor) {
    timeout(Duration::from_millis(1), executor.next_event()).await.ok();
}

/// Lets the executor work for this long.
pub async fn let_pass(executor: &mut Executor, time: Duration) {
    let work = async {
        loop {
            executor.next_event().await;
        }
    };
    timeout(time, work).await.ok();
}
