//! Recordings: what is read back is what was seen, damage costs no more than the tail, and the disk is used within
//! its budget.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use milvus_rebalancer::journal::{
    Journal, JournalSettings, Recorded, RecordingError, RecordingReader, RecordingSettings, recordings,
    recordings_folder,
};
use milvus_rebalancer::observe::observation::{
    CollectionReport, Gap, GapSubject, GroupNode, HardwareReport, NodeReport, NodeRole, Observation,
    ReplicaReport, ResourceGroupReport, SegmentLevel, SegmentReport, ServerVersion, ShardReport,
};
use milvus_rebalancer::observe::service::{LatencyCounters, ProxyCounters, ServiceReport};
use milvus_rebalancer::observe::signals::{NodeCounters, Oddity, SearchCounters, SignalReport};
use milvus_rebalancer::units::{
    Bytes, CollectionId, Moment, NodeId, PartitionId, ReplicaId, Rows, SegmentId,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::at;

/// A journal in a folder of its own.
struct Place {
    folder: tempfile::TempDir,
    journal: Journal,
}

impl Place {
    fn new(observations: RecordingSettings) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        let settings = JournalSettings { path, observations, ..JournalSettings::default() };
        let journal = Journal::open(&settings, at(0)).unwrap();
        Place { folder, journal }
    }

    async fn record(&self, seconds: i64, observation: &Observation) {
        record(&self.journal, at(seconds), observation).await;
    }

    fn folder(&self) -> PathBuf {
        recordings_folder(&self.folder.path().join("it.db"))
    }

    fn files(&self) -> Vec<PathBuf> {
        recordings(&self.folder()).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        self.files().iter().map(name).collect()
    }

    fn read(&self) -> Vec<Recorded> {
        self.files().iter().flat_map(|path| read(path).map(Result::unwrap)).collect()
    }
}

async fn record(journal: &Journal, at: Timestamp, observation: &Observation) {
    let Some(recording) = journal.begin_recording(at) else { return };
    recording.record(Arc::new(observation.clone()), None);
    journal.finish_recording().await;
}

/// A look without the rest of its turn.
fn recorded(seconds: i64, observation: &Observation) -> Recorded {
    Recorded { at: at(seconds), observation: Arc::new(observation.clone()), turn: None }
}

fn read(path: &Path) -> RecordingReader {
    RecordingReader::open(path).unwrap()
}

fn segment(id: i64, node: i64) -> SegmentReport {
    SegmentReport {
        id: SegmentId(id),
        partition: PartitionId(1),
        rows: Rows(7),
        nodes: vec![NodeId(node)],
        level: SegmentLevel::L1,
    }
}

fn observation(segments: Vec<SegmentReport>) -> Observation {
    Observation {
        started_at: at(0),
        took: Duration::from_nanos(1),
        server: ServerVersion::parse("v2.6.20"),
        nodes: Vec::new(),
        resource_groups: None,
        collections: vec![CollectionReport {
            database: "default".into(),
            name: "books".into(),
            id: CollectionId(1),
            load_percentage: 100,
            read_at: at(0),
            replicas: None,
            segments: Some(segments),
            estimated_row_bytes: None,
        }],
        service: ServiceReport::default(),
        management: None,
        signals: SignalReport::default(),
        complaints: Vec::new(),
        prometheus: Default::default(),
        opinions: Vec::new(),
        gaps: Vec::new(),
    }
}

/// Few values, so that observations are alike in all ways in which they can be.
fn small() -> impl Strategy<Value = i64> {
    prop_oneof![0..4_i64, Just(i64::MAX), Just(-1)]
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, Just(u64::MAX)]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("a".to_owned()), Just("\"\n\0ü".to_owned())]
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![Just(Timestamp::MIN), Just(at(0)), Just(at(1)), Just(Timestamp::MAX)]
}

fn segments() -> impl Strategy<Value = Vec<SegmentReport>> {
    let level = prop_oneof![Just(SegmentLevel::L0), Just(SegmentLevel::L1)];
    let segment = (small(), small(), amount(), vec(small().prop_map(NodeId), 0..3), level).prop_map(
        |(id, partition, rows, nodes, level)| SegmentReport {
            id: SegmentId(id),
            partition: PartitionId(partition),
            rows: Rows(rows),
            nodes,
            level,
        },
    );
    (vec(segment, 0..6), any::<bool>()).prop_map(|(mut segments, in_order)| {
        if in_order {
            segments.sort_by_key(|segment| segment.id);
            segments.dedup_by_key(|segment| segment.id);
        }
        segments
    })
}

fn replicas() -> impl Strategy<Value = Vec<ReplicaReport>> {
    let replica = (small(), vec(small().prop_map(NodeId), 0..3), word()).prop_map(|(id, nodes, word)| {
        let shard = ShardReport { leader: NodeId(id), leader_address: word.clone(), channel: word.clone() };
        ReplicaReport {
            id: ReplicaId(id),
            nodes,
            resource_group: word,
            shards: vec![shard],
            outbound_nodes: u32::MAX,
        }
    });
    vec(replica, 0..2)
}

fn collection() -> impl Strategy<Value = CollectionReport> {
    let names = (word(), word(), small());
    let loaded = (0..=100_u8, time(), option::of(amount()));
    (names, loaded, option::of(replicas()), option::of(segments())).prop_map(
        |((database, name, id), (load_percentage, read_at, estimated_row_bytes), replicas, segments)| {
            CollectionReport {
                database,
                name,
                id: CollectionId(id),
                load_percentage,
                read_at,
                replicas,
                segments,
                estimated_row_bytes,
            }
        },
    )
}

fn node() -> impl Strategy<Value = NodeReport> {
    let role = prop_oneof![
        Just(NodeRole::QueryNode),
        Just(NodeRole::StreamingNode),
        word().prop_map(NodeRole::Other)
    ];
    let identity = (small(), word(), role, option::of(word()), word());
    let bytes = || option::of(amount().prop_map(Bytes));
    let per_collection = || option::of(btree_map(small().prop_map(CollectionId), amount(), 0..3));
    let collections = option::of(vec(small().prop_map(CollectionId), 0..3));
    (identity, (bytes(), bytes(), bytes()), collections, (per_collection(), per_collection())).prop_map(
        |((id, address, role, error, version), memory, collections, (rows, sealed))| {
            let typed = |rows: BTreeMap<CollectionId, u64>| {
                rows.into_iter().map(|(id, rows)| (id, Rows(rows))).collect()
            };
            let sized = |bytes: BTreeMap<CollectionId, u64>| {
                bytes.into_iter().map(|(id, bytes)| (id, Bytes(bytes))).collect()
            };
            NodeReport {
                id: NodeId(id),
                address,
                role,
                error,
                memory_capacity: memory.0,
                memory_used: memory.1,
                growing: memory.2,
                collections,
                collection_rows: rows.map(typed),
                sealed_bytes: sealed.map(sized),
                hardware: HardwareReport {
                    cpu_cores: memory.0.map(|bytes| bytes.0),
                    ..HardwareReport::default()
                },
                version,
            }
        },
    )
}

prop_compose! {
    fn any_observation()(
        started_at in time(),
        took in (0..3_u64, 0..1_000_000_000_u32),
        version in word(),
        nodes in vec(node(), 0..4),
        groups in option::of(vec((word(), option::of(vec(small(), 0..2))), 0..2)),
        collections in vec(collection(), 0..4),
        waiting in vec((small(), 0..3_u64), 0..3),
        searches in vec((word(), 0..3_u64), 0..3),
        complaints in vec(word(), 0..2),
        gaps in vec((word(), small()), 0..2),
    ) -> Observation {
        let group_node =
            |id: i64| GroupNode { id: NodeId(id), address: "a:1".into(), hostname: "host".into() };
        let group = |(name, nodes): (String, Option<Vec<i64>>)| ResourceGroupReport {
            name,
            nodes: nodes.map(|ids| ids.into_iter().map(group_node).collect()),
        };
        let proxy = |(target, count): (String, u64)| {
            let searches = LatencyCounters { count, sum_micros: count, buckets: vec![(1_000, count)] };
            (target, ProxyCounters { searches, asked: count, failed: 0 })
        };
        let service = ServiceReport {
            proxies: searches.into_iter().map(proxy).collect(),
            waiting: waiting.iter().copied().map(|(node, count)| (NodeId(node), count)).collect(),
        };
        let counters = |(node, count): (i64, u64)| {
            let read_at = Moment { wall: started_at, monotonic: Duration::from_secs(count) };
            let searches = SearchCounters { count, micros: 0, by_collection: [(CollectionId(node), count)].into() };
            let counters = NodeCounters {
                read_at,
                source: version.clone(),
                started_at: None,
                cpu_micros: Some(count),
                as_worker: Some(searches),
                as_delegator: None,
                growing: None,
                resident_memory: None,
                disk_used: None,
                load_failures: None,
                oddities: vec![Oddity::CutOff, Oddity::NoAmount(version.clone())],
            };
            (NodeId(node), counters)
        };
        let signals = SignalReport {
            nodes: waiting.iter().copied().map(counters).collect(),
            ..SignalReport::default()
        };
        let gap = |(cause, id)| Gap { subject: GapSubject::Segments { collection: CollectionId(id) }, cause };
        Observation {
            started_at,
            took: Duration::new(took.0, took.1),
            server: ServerVersion::parse(&version),
            nodes,
            resource_groups: groups.map(|groups| groups.into_iter().map(group).collect()),
            collections,
            service,
            management: None,
            signals,
            complaints,
            prometheus: Default::default(),
            opinions: Vec::new(),
            gaps: gaps.into_iter().map(gap).collect(),
        }
    }
}

#[test]
fn what_is_read_is_what_was_seen() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let place = Place::new(RecordingSettings::default());
    let hours = std::cell::Cell::new(0);
    proptest!(|(observations in vec(any_observation(), 1..6))| {
        // Each case gets a file of its own.
        let hour = hours.get() + 3_600;
        hours.set(hour);
        let expected: Vec<Recorded> = (hour..)
            .zip(observations)
            .map(|(second, observation)| recorded(second, &observation))
            .collect();
        runtime.block_on(async {
            for Recorded { at, observation, turn: _ } in &expected {
                record(&place.journal, *at, observation).await;
            }
        });
        let file = place.files().pop().unwrap();
        prop_assert_eq!(read(&file).map(Result::unwrap).collect::<Vec<_>>(), expected);
        std::fs::remove_file(file).unwrap();
    });
}

#[tokio::test]
async fn what_does_not_change_takes_next_to_nothing() {
    let place = Place::new(RecordingSettings::default());
    let mut seen = observation((0..10_000).map(|id| segment(440_000_000_000 + id, id % 100)).collect());
    place.record(0, &seen).await;
    let length = || std::fs::metadata(&place.files()[0]).unwrap().len();
    let whole = length();
    for (second, id) in (1..).zip([17, 4_711]) {
        seen.collections[0].segments.as_mut().unwrap()[id].nodes = vec![NodeId(5)];
        place.record(second, &seen).await;
    }
    let differences = length() - whole;
    assert!(differences < 1_000 && whole > 10_000, "{differences} bytes of differences after {whole}");
    assert_eq!(*place.read().last().unwrap().observation, seen);
}

#[tokio::test]
async fn a_file_covers_an_hour_and_a_restart_begins_another() {
    let place = Place::new(RecordingSettings::default());
    let seen = observation(vec![segment(1, 1)]);
    for seconds in [0, 3_599, 3_600, 3_601, -5] {
        place.record(seconds, &seen).await;
    }
    let hours = [
        "20231114T221315.000000000Z.jsonl.zst",
        "20231114T221320.000000000Z.jsonl.zst",
        "20231114T231320.000000000Z.jsonl.zst",
    ];
    assert_eq!(place.names(), hours, "the last one after the clock was set back");

    let settings = JournalSettings { path: place.folder.path().join("it.db"), ..JournalSettings::default() };
    let restarted = Journal::open(&settings, at(0)).unwrap();
    record(&restarted, at(0), &seen).await;
    assert_eq!(place.names()[2], "20231114T221320.000000001Z.jsonl.zst", "nobody's file is written to");
    assert_eq!(place.read().len(), 6);
    assert_eq!(place.names().len(), 4);
}

#[tokio::test]
async fn old_recordings_go_by_age_and_by_size_and_other_files_stay() {
    let keep = Duration::from_secs(2 * 3_600);
    let place = Place::new(RecordingSettings { keep, ..RecordingSettings::default() });
    let seen = observation(vec![segment(1, 1)]);
    place.record(0, &seen).await;
    std::fs::write(place.folder().join("notes.txt"), "mine").unwrap();
    for hour in 1..=3 {
        place.record(hour * 3_600, &seen).await;
    }
    assert_eq!(place.names()[0], "20231114T231320.000000000Z.jsonl.zst", "two hours are kept");
    assert!(place.folder().join("notes.txt").exists());

    let budget = Bytes(4_000);
    let place = Place::new(RecordingSettings { max_bytes: budget, ..RecordingSettings::default() });
    for second in 0..200 {
        place.record(second, &observation(vec![segment(second, second)])).await;
        let total: u64 = place.files().iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(total <= budget.0, "{total} bytes");
    }
    let kept = place.read();
    assert!(kept.len() > 5, "{} observations", kept.len());
    assert_eq!(kept.last().unwrap().at, at(199), "the newest are kept");
    assert!(kept.windows(2).all(|pair| pair[0].at < pair[1].at), "without holes");
}

#[tokio::test]
async fn a_damaged_tail_costs_no_more_than_the_tail_and_is_said() {
    let place = Place::new(RecordingSettings::default());
    for second in 0..5 {
        place.record(second, &observation(vec![segment(second, 1)])).await;
    }
    let path = place.files().remove(0);
    let recorded = place.read();
    let bytes = std::fs::read(&path).unwrap();

    let mut seen_counts = Vec::new();
    for cut in (0..bytes.len()).step_by(5) {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let (whole, error) = read_until_error(&path);
        assert_eq!(whole, recorded[..whole.len()], "cut after {cut} bytes");
        if let Some(error) = error {
            let RecordingError::TailLost { whole: told, at_byte, .. } = &error else { panic!("{error}") };
            assert_eq!((*told, *at_byte < cut as u64), (whole.len(), true), "{error}");
        }
        seen_counts.push(whole.len());
    }
    seen_counts.dedup();
    assert_eq!(seen_counts, [0, 1, 2, 3, 4], "each observation is there as soon as its bytes are");

    for position in (0..bytes.len()).step_by(5) {
        let mut garbled = bytes.clone();
        garbled[position] ^= 0x10;
        std::fs::write(&path, &garbled).unwrap();
        let (whole, error) = read_until_error(&path);
        assert_eq!(whole, recorded[..whole.len()], "garbled at {position}");
        // A bit of each frame means nothing to zstd.
        assert!(error.is_some() || whole == recorded, "garbled at {position}, and nobody noticed");
    }
}

fn read_until_error(path: &Path) -> (Vec<Recorded>, Option<RecordingError>) {
    let mut whole = Vec::new();
    let mut reader = read(path);
    for recorded in &mut reader {
        match recorded {
            Ok(recorded) => whole.push(recorded),
            Err(error) => {
                assert!(reader.next().is_none(), "it ends with the error");
                return (whole, Some(error));
            }
        }
    }
    (whole, None)
}

#[tokio::test]
async fn files_of_others_and_of_later_versions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("20231114T221320.000000000Z.jsonl.zst");
    for (content, part) in [
        (zstd::encode_all(&b"{\"format\": 3}\n"[..], 0).unwrap(), "a newer milvus-rebalancer (format 3"),
        (zstd::encode_all(&b"not JSON"[..], 0).unwrap(), "from byte 0 on"),
        (b"no zstd".to_vec(), "from byte 0 on"),
    ] {
        std::fs::write(&path, content).unwrap();
        let (whole, error) = read_until_error(&path);
        let error = error.unwrap().to_string();
        assert!(whole.is_empty() && error.contains(part), "{error}");
    }
    assert!(recordings(&folder.path().join("missing")).unwrap().is_empty());
    let error = RecordingReader::open(&folder.path().join("missing")).err().unwrap();
    assert!(error.to_string().starts_with("cannot open the recording /"), "{error}");
}

#[tokio::test]
async fn a_difference_without_its_whole_is_refused() {
    let place = Place::new(RecordingSettings::default());
    let mut lengths = Vec::new();
    for second in 0..2 {
        place.record(second, &observation(vec![segment(second, 1)])).await;
        lengths.push(usize::try_from(std::fs::metadata(&place.files()[0]).unwrap().len()).unwrap());
    }
    let path = place.files().remove(0);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[lengths[0]..]).unwrap();
    let error = read_until_error(&path).1.unwrap();
    assert!(error.to_string().contains("it begins with a difference"), "{error}");

    // A difference to an observation with more collections.
    let other = Place::new(RecordingSettings::default());
    other.record(0, &Observation { collections: Vec::new(), ..observation(Vec::new()) }).await;
    let mut mixed = std::fs::read(&other.files()[0]).unwrap();
    mixed.extend(&bytes[lengths[0]..]);
    std::fs::write(&path, mixed).unwrap();
    let (whole, error) = read_until_error(&path);
    assert_eq!(whole.len(), 1);
    assert!(error.unwrap().to_string().contains("collection 0"));
}

#[tokio::test]
async fn an_observation_that_comes_too_soon_is_left_out_and_counted() {
    let place = Place::new(RecordingSettings::default());
    let seen = Arc::new(observation((0..20_000).map(|id| segment(id, 1)).collect()));
    for second in 0..5 {
        if let Some(pen) = place.journal.begin_recording(at(second)) {
            pen.record(Arc::clone(&seen), None);
        }
    }
    place.journal.finish_recording().await;
    let left_out = place.journal.turns_left_out();
    let recorded = place.read();
    assert!(left_out > 0 && recorded.len() as u64 + left_out == 5, "{left_out} left out of 5");
    place.record(9, &seen).await;
    let last = place.read().pop().unwrap();
    assert_eq!((last.at, last.observation == seen), (at(9), true), "the next difference fits");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_stops_nothing_else_and_is_tried_again() {
    let place = Place::new(RecordingSettings::default());
    let seen = observation(vec![segment(1, 1)]);
    std::fs::write(place.folder(), "in the way").unwrap();
    place.record(0, &seen).await;
    place.journal.save(Vec::new()).await.unwrap();
    std::fs::remove_file(place.folder()).unwrap();
    place.record(1, &seen).await;
    assert_eq!(place.read(), [recorded(1, &seen)]);
}

#[tokio::test]
async fn who_wants_no_recordings_gets_no_folder() {
    let place = Place::new(RecordingSettings { enabled: false, ..RecordingSettings::default() });
    place.record(0, &observation(Vec::new())).await;
    assert!(!place.folder().exists());
}
