//! How much disk a recording takes: an hour of a busy cluster of 100 nodes and 10,000 segments. Prints the figures of
//! docs/journal.md.
//!
//! `cargo bench --bench recording`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use milvus_rebalancer::journal::{
    Journal, JournalSettings, Outcome, RecordedSettings, RecordedTurn, RecordingReader, recordings,
    recordings_folder,
};
use milvus_rebalancer::model::Controls;
use milvus_rebalancer::observe::Observer;
use milvus_rebalancer::observe::observation::Observation;
use milvus_rebalancer::sim::{Line, Profile, SharedWorld, SimObserver, WorldPlan, build};
use milvus_rebalancer::turn::{OwnMoves, Thinking, ThinkingSettings};

/// Looks in an hour, at the default interval.
const LOOKS: u64 = 120;

/// More than this for a turn, and a week would take more than 385 MiB.
const MOST_BYTES_EACH: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    // `cargo test --benches` only wants to know that it starts.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    // The simulated cluster's time is tokio's: an hour passes at once.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(an_hour_of_a_large_cluster())
}

async fn an_hour_of_a_large_cluster() -> Result<(), Box<dyn Error>> {
    let plan = WorldPlan {
        nodes: 100,
        collections: 200,
        segments: 10_000,
        // A segment is sealed about every twenty seconds, and others are compacted.
        ingest_rows_per_second: 5_000.0,
        ..WorldPlan::new(Profile::of(Line::V2_6), 1)
    };
    let world = SharedWorld::new(build(&plan));
    let observer = SimObserver::new(world.clone(), true);
    let clock = world.clock();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("it.db");
    let settings = JournalSettings { path: path.clone(), ..JournalSettings::default() };
    let journal = Journal::open(&settings, clock.read().wall)?;

    let settings = ThinkingSettings::default();
    let mut thinking = Thinking::with_settings(&settings);
    let recorded = RecordedSettings { thinking: settings, ..RecordedSettings::default() };
    let (mut seen, mut as_json, mut number) = (Vec::new(), 0, 0);
    for _ in 0..LOOKS {
        tokio::time::advance(Duration::from_secs(30)).await;
        let mut observation = observer.observe().await?;
        spread_times(&mut observation);
        let observation = Arc::new(observation);
        as_json += serde_json::to_string(&*observation)?.len() as u64;
        let now = clock.read();
        let pen = journal.begin_recording(now.wall).ok_or("nothing is recorded")?;
        let memory = pen.needs_memory().then(|| Box::new(thinking.checkpoint()));
        let own = OwnMoves::default();
        let decision = thinking.turn(&observation, own.clone(), now);
        number += 1;
        pen.record(
            Arc::clone(&observation),
            Some(RecordedTurn {
                number,
                now,
                own,
                controls: Controls::default(),
                settings: recorded.clone(),
                memory,
                outcome: Outcome::of(&decision),
            }),
        );
        journal.finish_recording().await;
        seen.push(observation);
    }

    let files = recordings(&recordings_folder(&path))?;
    let (mut bytes, mut read) = (0, Vec::new());
    for file in &files {
        bytes += file.metadata()?.len();
        for recorded in RecordingReader::open(file)? {
            read.push(recorded?.observation);
        }
    }
    if read != seen {
        return Err("what was read back is not what was recorded".into());
    }

    let first = observer_bytes(&seen[0]).await?;
    println!("{} files; {LOOKS} turns in {bytes} bytes, {} each", files.len(), bytes / LOOKS);
    println!(
        "an observation as a whole: {first}; the rest, for each turn: {}",
        (bytes - first) / (LOOKS - 1)
    );
    println!("as JSON, uncompressed: {} each", as_json / LOOKS);
    println!("a week: {} MiB", bytes / LOOKS * 2 * 60 * 24 * 7 / (1 << 20));
    if bytes / LOOKS > MOST_BYTES_EACH {
        return Err(format!("{} bytes each are more than {MOST_BYTES_EACH}", bytes / LOOKS).into());
    }
    Ok(())
}

/// A real observer reads the collections one after the other; the simulated one reads all at once.
fn spread_times(observation: &mut Observation) {
    let mut scattered = u64::from(observation.started_at.subsec_nanosecond().unsigned_abs()) + 1;
    for collection in &mut observation.collections {
        scattered = scattered.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        collection.read_at += Duration::from_nanos(scattered >> 34);
    }
    observation.took += Duration::from_nanos(scattered >> 34);
}

/// What a recording of this observation alone takes.
async fn observer_bytes(observation: &Arc<Observation>) -> Result<u64, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("it.db");
    let settings = JournalSettings { path: path.clone(), ..JournalSettings::default() };
    let journal = Journal::open(&settings, observation.started_at)?;
    let pen = journal.begin_recording(observation.started_at).ok_or("nothing is recorded")?;
    pen.record(Arc::clone(observation), None);
    journal.finish_recording().await;
    let files = recordings(&recordings_folder(&path))?;
    Ok(files.first().ok_or("nothing was recorded")?.metadata()?.len())
}
