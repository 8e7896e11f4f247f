//! Files that are replaced while the daemon runs: certificates are renewed and passwords are changed, and nobody should
//! have to restart a daemon for that.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells a file from the one that was there before, without reading it.
type Stamp = (u64, u64, u64, i64, i64);

/// Files, and which ones they were when somebody last asked.
#[derive(Debug)]
pub(crate) struct WatchedFiles {
    files: Vec<(PathBuf, Option<Stamp>)>,
}

impl WatchedFiles {
    /// These files as they are now. Read them after this, so that nothing that comes between is missed.
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> WatchedFiles {
        WatchedFiles { files: paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect() }
    }

    /// Whether one of them is another than when this was last asked. A file that is gone is one, too.
    pub(crate) fn have_changed(&mut self) -> bool {
        let mut have_changed = false;
        for (path, known) in &mut self.files {
            let now = stamp(path);
            have_changed |= now != *known;
            *known = now;
        }
        have_changed
    }
}

/// Links are followed: Kubernetes replaces secrets by pointing a link elsewhere.
fn stamp(path: &PathBuf) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_linked_elsewhere_or_gone_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("first"), "one").unwrap();
        std::fs::write(path("second"), "two").unwrap();
        std::os::unix::fs::symlink(path("first"), path("link")).unwrap();
        let mut files = WatchedFiles::new([path("first"), path("link"), path("missing")]);
        assert!(!files.have_changed());
        std::fs::write(path("first"), "three").unwrap();
        assert!(files.have_changed() && !files.have_changed());
        std::os::unix::fs::symlink(path("second"), path("new")).unwrap();
        std::fs::rename(path("new"), path("link")).unwrap();
        assert!(files.have_changed() && !files.have_changed(), "its target is another file");
        std::fs::write(path("missing"), "").unwrap();
        assert!(files.have_changed() && !files.have_changed());
        std::fs::remove_file(path("missing")).unwrap();
        assert!(files.have_changed() && !files.have_changed());
    }
}
