//! The right to run a cluster. Most of the time a scene waits for Milvus, so two of them run side by side; whoever measures
//! runs alone. Within a process by a condition, between processes of one checkout by locked files.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

/// Clusters at a time: each takes a gigabyte or two, and half a core while it starts.
const SEATS: usize = 2;

/// Who asks first is served first, or whoever wants to be alone would wait for ever.
static QUEUE: Mutex<()> = Mutex::new(());
static TAKEN: Mutex<[bool; SEATS]> = Mutex::new([false; SEATS]);
static FREED: Condvar = Condvar::new();

/// The right itself, until it is dropped.
pub struct Turn {
    seats: Vec<usize>,
    across_processes: Vec<File>,
}

impl Turn {
    /// Waits for a seat, or for all of them.
    pub fn wait(folder: &Path, alone: bool) -> Turn {
        let seats = within_process(if alone { SEATS } else { 1 });
        std::fs::create_dir_all(folder).expect("target/lab can be made");
        let across_processes = seats.iter().map(|seat| across_processes(folder, *seat)).collect();
        Turn { seats, across_processes }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Other processes first: one that waits for the file must not find the seat taken by a thread of this one.
        self.across_processes.clear();
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        for seat in &self.seats {
            taken[*seat] = false;
        }
        FREED.notify_all();
    }
}

/// Seats in ascending order, so that no two wait for each other's.
fn within_process(wanted: usize) -> Vec<usize> {
    // A test that panicked while it held a guard has still torn its cluster down.
    let _queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let free: Vec<usize> = (0..SEATS).filter(|seat| !taken[*seat]).take(wanted).collect();
        if free.len() == wanted {
            free.iter().for_each(|seat| taken[*seat] = true);
            return free;
        }
        taken = FREED.wait(taken).unwrap_or_else(PoisonError::into_inner);
    }
}

fn across_processes(folder: &Path, seat: usize) -> File {
    let path = folder.join(format!("turn.{seat}.lock"));
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    file.lock().expect("the lab's lock can be held");
    file
}
