//! The formats of the journal's tables, and the way from each to the next. A file of any earlier version of this
//! program is brought to the newest format in one transaction, or stays as it was.

use rusqlite::Connection;

/// Marks the file as ours in its header (`PRAGMA application_id`): "mrbl".
pub(super) const APPLICATION_ID: i64 = 0x6d72_626c;

/// What makes each format out of the one before, in order. A released one never changes.
const MIGRATIONS: [&str; 3] =
    [include_str!("formats/1.sql"), include_str!("formats/2.sql"), include_str!("formats/3.sql")];

/// The newest format that this program knows.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The format of a file; 0 for one without tables.
pub(super) fn of(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings the file to the newest format. The write lock is taken in any case: a file that cannot be written is
/// found out now and not when a move waits. (Transactions of this connection write from the start.)
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    apply(connection, &MIGRATIONS)
}

fn apply(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let done = usize::try_from(of(&transaction)?).unwrap_or(0);
    for migration in migrations.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    let newest = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", newest)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A file of format 1 with so many operations that a change of all of them does not fit in memory.
    fn of_format_1(path: &Path) -> Connection {
        let mut connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        apply(&mut connection, &MIGRATIONS[..1]).unwrap();
        let turn = "INSERT INTO turns VALUES (NULL, '2026', 1, 'quiet', '', NULL, 1, 1, 1, 0, 0, 0)";
        let transaction = connection.transaction().unwrap();
        for _ in 0..5_000 {
            transaction.execute(turn, []).unwrap();
        }
        transaction.commit().unwrap();
        connection.pragma_update(None, "cache_size", 2).unwrap();
        connection
    }

    fn format_and_rows(connection: &Connection) -> (i64, i64) {
        let rows = connection.query_row("SELECT count(*) FROM turns", [], |row| row.get(0)).unwrap();
        (of(connection).unwrap(), rows)
    }

    #[test]
    fn a_migration_that_fails_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = of_format_1(&folder.path().join("it.db"));
        let failing =
            "ALTER TABLE turns ADD COLUMN more INTEGER; UPDATE turns SET more = 1; DROP TABLE missing;";
        apply(&mut connection, &[MIGRATIONS[0], failing]).unwrap_err();
        assert_eq!(format_and_rows(&connection), (1, 5_000));
        connection.prepare("SELECT more FROM turns").unwrap_err();
        migrate(&mut connection).unwrap();
        assert_eq!(format_and_rows(&connection), (newest(), 5_000));
    }

    #[test]
    fn a_crash_in_the_middle_of_a_migration_leaves_the_file_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        let mut connection = of_format_1(&path);
        let wal = |name: &str| folder.path().join(format!("{name}-wal"));
        connection.pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
        let transaction = connection.transaction().unwrap();
        transaction.execute_batch(MIGRATIONS[1]).unwrap();
        transaction.execute("UPDATE turns SET verdicts_of = id, detail = 'changed'", []).unwrap();
        // What a crash leaves behind is what the files hold at this moment.
        assert!(std::fs::metadata(wal("it.db")).unwrap().len() > 100_000, "half of it is in the files");
        std::fs::copy(&path, folder.path().join("crashed.db")).unwrap();
        std::fs::copy(wal("it.db"), wal("crashed.db")).unwrap();
        transaction.rollback().unwrap();

        let mut crashed = Connection::open(folder.path().join("crashed.db")).unwrap();
        assert_eq!(format_and_rows(&crashed), (1, 5_000));
        migrate(&mut crashed).unwrap();
        assert_eq!(format_and_rows(&crashed), (newest(), 5_000));
    }
}
