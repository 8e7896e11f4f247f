//! What replays are tried on: a cluster that is never quite at rest, and the files that a daemon leaves behind.

use std::path::{Path, PathBuf};

use milvus_rebalancer::execute::ExecuteSettings;
use milvus_rebalancer::journal::{Recorded, RecordingReader, recordings, recordings_folder};
use milvus_rebalancer::sim::SharedWorld;
use milvus_rebalancer::sim::operator::Transfer;
use milvus_rebalancer::turn::ThinkingSettings;
use milvus_rebalancer::units::{NodeId, Ratio};

pub use crate::process::Daemon;
use crate::process::{Options, on_one_node};

/// Four nodes, of which the first holds everything, with ingestion.
pub fn uneven() -> SharedWorld {
    on_one_node(30, 500.0)
}

/// A daemon without a budget for the day, so that it keeps moving.
pub fn busy(thinking: &ThinkingSettings) -> Options {
    let execute = ExecuteSettings {
        bytes_per_hour: Ratio::ZERO,
        bytes_per_day: Ratio::ZERO,
        ..ExecuteSettings::default()
    };
    Options { thinking: thinking.clone(), ..execute.into() }
}

/// Somebody else moves a segment, any that can be.
pub fn somebody_moves(world: &SharedWorld) {
    let mut locked = world.lock();
    let held: Vec<_> = locked
        .segments()
        .values()
        .filter(|segment| !segment.level0)
        .flat_map(|segment| segment.copies.iter().map(|copy| (segment.id, copy.node)))
        .collect();
    let has_moved = held.into_iter().any(|(segment, from)| {
        let to = if from == NodeId(4) { NodeId(3) } else { NodeId(4) };
        let transfer = Transfer { from, to: Some(to), segment: Some(segment), copy: false };
        locked.transfer_segments(&transfer).is_ok()
    });
    assert!(has_moved, "somebody could move something");
}

pub fn files(folder: &Path) -> Vec<PathBuf> {
    recordings(&recordings_folder(&folder.join("it.db"))).unwrap()
}

pub fn recorded(folder: &Path) -> Vec<Recorded> {
    files(folder)
        .iter()
        .flat_map(|file| RecordingReader::open(file).unwrap().map(Result::unwrap).collect::<Vec<_>>())
        .collect()
}
