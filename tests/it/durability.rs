//! The intent is on disk before the call leaves the process. A process that is killed loses nothing that it wrote, so
//! only what the disk was made to keep proves it: the daemon as it is shipped runs with a library between it and the
//! system that writes down, fails or delays each sync of the journal, and every call that reaches the server is held
//! against what a power failure at that very moment would have left.

mod bench;

use std::time::Duration;

use bench::{Bench, Order};
use milvus_rebalancer::journal::{Journal, JournalSettings};

use crate::system::{self, SmallDisk};

#[tokio::test(flavor = "multi_thread")]
async fn a_power_failure_at_the_moment_of_a_call_leaves_its_intent() {
    let bench = Bench::start(Order::None).await;
    bench.wait_until("a call has come", |seen| !seen.calls.is_empty()).await;
    bench.every_intent_was_durable();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_the_journal_cannot_be_synced() {
    let bench = Bench::start(Order::Fail).await;
    bench
        .wait_until("the daemon says so", |seen| seen.log.contains("nothing is sent until the journal"))
        .await;
    let polls = bench.look().polls;
    bench.wait_until("it looks again and again", |seen| seen.polls >= polls + 4).await;
    let seen = bench.look();
    assert!(seen.syncs.iter().any(|sync| sync.failed), "{:?}", seen.syncs);
    assert_eq!(seen.calls, [], "{}", seen.log);

    bench.order(Order::None);
    bench.wait_until("a call has come", |seen| !seen.calls.is_empty()).await;
    bench.every_intent_was_durable();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_slow_disk() {
    let delay = Duration::from_secs(2);
    let bench = Bench::start(Order::Delay(delay)).await;
    bench.wait_until("a call has come", |seen| !seen.calls.is_empty()).await;
    bench.every_intent_was_durable();
    let waited = bench.look().calls[0].after_first_poll;
    assert!(waited >= delay, "the call came {waited:?} after the first look, before any sync could end");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_the_disk_is_full() {
    if !system::runs("root, to mount a small file system") {
        return;
    }
    let disk = SmallDisk::mount(4 << 20);
    let full = disk.path().to_owned();
    let bench = Bench::start_in(disk.path(), move || drop(SmallDisk::fill(&full))).await;
    bench
        .wait_until("the daemon says so", |seen| seen.log.contains("nothing is sent until the journal"))
        .await;
    let polls = bench.look().polls;
    bench.wait_until("it looks again and again", |seen| seen.polls >= polls + 4).await;
    let seen = bench.look();
    assert!(seen.log.contains("make room on its disk"), "{}", seen.log);
    assert_eq!(seen.calls, [], "{}", seen.log);

    std::fs::remove_file(disk.path().join("filler")).unwrap();
    bench.wait_until("a call has come", |seen| !seen.calls.is_empty()).await;
    bench.every_intent_was_durable();
}

#[test]
fn a_daemon_does_not_start_on_a_full_disk_and_says_why() {
    if !system::runs("root, to mount a small file system") {
        return;
    }
    let disk = SmallDisk::mount(1 << 20);
    let filler = SmallDisk::fill(disk.path());
    let settings = JournalSettings { path: disk.path().join("journal.db"), ..JournalSettings::default() };
    let error = Journal::open(&settings, jiff::Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains("make room on its disk"), "{error}");
    std::fs::remove_file(filler).unwrap();
    Journal::open(&settings, jiff::Timestamp::UNIX_EPOCH).unwrap();
}
