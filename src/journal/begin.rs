//! A new journal is there with all its tables or not at all: one that a kill left half-made would look like one that
//! was damaged, and nobody may act without knowing what a damaged one held.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::Connection;

use super::open::beside;

/// What the file is called while it is made. One name, so that whoever was killed leaves nothing behind but what the
/// next one goes on with.
const UNFINISHED: &str = ".new";

/// Makes a journal beside its place with what `make` opens, and puts it there. A journal that another process has put
/// there meanwhile stays.
pub(super) fn begin<E>(path: &Path, make: impl FnOnce(&Path) -> Result<Connection, E>) -> io::Result<()> {
    let unfinished = beside(path, UNFINISHED);
    let made = make(&unfinished)
        .map_err(|_| io::Error::other("the tables cannot be made"))
        // Closing it brings everything into the one file.
        .and_then(|connection| connection.close().map_err(|(_, error)| io::Error::other(error)));
    let put = made.and_then(|()| put(&unfinished, path));
    // Another process may have put it there and tidied up before us.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => put.and(Err(error)),
        _ => put,
    }
}

/// Removes what somebody left who was killed after the journal had been put to its place.
pub(super) fn tidy(path: &Path) {
    let unfinished = beside(path, UNFINISHED);
    for suffix in ["", "-wal", "-shm"] {
        let leftover = beside(&unfinished, suffix);
        match fs::remove_file(&leftover) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::debug!(leftover = %leftover.display(), %error, "a file that nobody needs stays");
            }
            _ => {}
        }
    }
}

/// Puts a finished file to its place, for good.
fn put(unfinished: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(unfinished, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists && !path.exists() => return Err(error),
        _ => {}
    }
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(path: &Path) -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS one (id INTEGER);")?;
        Ok(connection)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_whole_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        begin(&path, tables).unwrap();
        assert_eq!(names(folder.path()), ["it.db"]);
        let connection = Connection::open(&path).unwrap();
        connection.execute("INSERT INTO one VALUES (1)", []).unwrap();
    }

    #[test]
    fn what_a_killed_one_left_is_gone_on_with_and_what_another_made_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        fs::write(beside(&path, UNFINISHED), "").unwrap();
        begin(&path, tables).unwrap();
        fs::write(&path, "another's").unwrap();
        begin(&path, tables).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"another's");
        assert_eq!(names(folder.path()), ["it.db"]);
    }

    #[test]
    fn what_is_left_of_its_making_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        begin(&path, tables).unwrap();
        fs::hard_link(&path, beside(&path, UNFINISHED)).unwrap();
        fs::write(beside(&path, ".new-wal"), "").unwrap();
        tidy(&path);
        assert_eq!(names(folder.path()), ["it.db"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it.db");
        let failed = begin(&path, |path| {
            fs::write(path, "half").unwrap();
            Err::<Connection, _>("no space")
        });
        assert!(failed.is_err());
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
}
