//! A journal that goes bad while it is in use: it is noticed, said, and nothing is done without a memory.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use milvus_rebalancer::execute::operation::Origin;
use milvus_rebalancer::journal::{Journal, JournalError};

use super::{files, intent, open, record};

/// A journal in use whose pages are on disk and not in memory.
async fn in_use(folder: &Path) -> Journal {
    let path = folder.join("it.db");
    let before = open(&path).unwrap();
    record(&before, Origin::Daemon, &(0..500).collect::<Vec<_>>()).await;
    drop(before);
    open(&path).unwrap()
}

/// Overwrites everything after the first page.
fn damage(path: &Path) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(4_096)).unwrap();
    let rest = usize::try_from(path.metadata().unwrap().len()).unwrap() - 4_096;
    file.write_all(&vec![0xa5; rest]).unwrap();
}

#[tokio::test]
async fn damage_under_a_running_daemon_is_found_and_ends_all_work() {
    let folder = tempfile::tempdir().unwrap();
    let journal = in_use(folder.path()).await;
    journal.check().await.unwrap();
    damage(journal.path());

    let error = journal.check().await.unwrap_err();
    assert!(matches!(error, JournalError::FoundDamaged { .. }), "{error}");
    assert!(error.to_string().contains("nothing is moved any more"), "{error}");
    // What it remembers of the file would still do for a write; but that would be lost with the file.
    let error = journal.start_intent(intent(Origin::Daemon, &[1])).await.unwrap().unwrap_err();
    assert!(matches!(error, JournalError::FoundDamaged { .. }), "{error}");
    journal.save(Vec::new()).await.unwrap_err();
    journal.controls().await.unwrap_err();
    drop(journal);

    let Err(JournalError::Corrupt { kept_as, .. }) = open(&folder.path().join("it.db")) else {
        panic!("the restart finds it")
    };
    assert!(kept_as.exists());
}

#[tokio::test]
async fn damage_that_is_stumbled_upon_ends_all_work_too() {
    let folder = tempfile::tempdir().unwrap();
    let journal = in_use(folder.path()).await;
    // A write by another process makes this one read the file again.
    let other = open(journal.path()).unwrap();
    other.save(Vec::new()).await.unwrap();
    other.check().await.unwrap();
    damage(journal.path());
    other.save(Vec::new()).await.ok();

    let mut errors = Vec::new();
    for _ in 0..2 {
        errors.push(journal.open_operations().await.unwrap_err());
        errors.push(journal.save(Vec::new()).await.unwrap_err());
    }
    assert!(errors.iter().all(|error| matches!(error, JournalError::FoundDamaged { .. })), "{errors:?}");
}

#[tokio::test]
async fn a_journal_that_is_taken_away_is_missed() {
    for name in ["it.db", "it.db-wal"] {
        let folder = tempfile::tempdir().unwrap();
        let journal = in_use(folder.path()).await;
        let (path, elsewhere) = (folder.path().join(name), folder.path().join("elsewhere"));
        std::fs::rename(&path, &elsewhere).unwrap();
        let error = journal.start_intent(intent(Origin::Daemon, &[1])).await.unwrap().unwrap_err();
        assert!(matches!(&error, JournalError::TakenAway { path: named } if *named == path), "{error}");

        // Another file of that name is not the one that was opened.
        std::fs::copy(&elsewhere, &path).unwrap();
        let error = journal.save(Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("was removed or replaced while it was in use"), "{error}");

        std::fs::rename(&elsewhere, &path).unwrap();
        journal.save(Vec::new()).await.unwrap();
        assert_eq!(journal.open_operations().await.unwrap().len(), 500);
    }
}

#[tokio::test]
async fn a_damaged_journal_of_a_running_daemon_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = super::damaged(folder.path(), 5_000).await;
    let lock: PathBuf = folder.path().join("it.db.lock");
    let mut daemon = super::formats::lock_holder(&lock);
    let before = files(folder.path());
    let error = open(&path).unwrap_err();
    assert!(matches!(error, JournalError::CorruptInUse { pid: 4711, .. }), "{error}");
    assert_eq!(files(folder.path()), before);
    daemon.end();
    assert!(matches!(open(&path), Err(JournalError::Corrupt { .. })));
}
