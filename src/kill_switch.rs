//! The kill switch: a file that stops all calls while it exists. It needs no API, no journal and no working daemon: a
//! person on the machine, a deployment tool or a mounted volume can throw it. When in doubt, it is thrown.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::model::Thrown;
use crate::reason::Reason;

/// A file that may exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillSwitch {
    path: Option<PathBuf>,
}

impl KillSwitch {
    /// At this path; without one it is never thrown.
    pub fn at(path: Option<PathBuf>) -> KillSwitch {
        KillSwitch { path }
    }

    /// Looks whether it stops us: the file is there, or nobody can say that it is not.
    ///
    /// It asks the file system for one name and blocks for as long as that takes: right before a call, nothing may
    /// happen between the look and the call.
    pub fn thrown(&self) -> Option<Thrown> {
        let path = self.path.as_deref()?;
        // Of a link, not of what it points to: a link to nothing was made by somebody, too.
        let unreadable = match path.symlink_metadata() {
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::NotFound && has_folder(path) => return None,
            Err(error) => Some(error.to_string()),
        };
        Some(Thrown { path: path.display().to_string(), unreadable })
    }

    /// The same as a reason.
    pub fn refusal(&self) -> Option<Reason> {
        let Thrown { path, unreadable } = self.thrown()?;
        Some(Reason::KillSwitch { path, unreadable })
    }
}

/// A file that is not there means something only where its folder is: a volume that is not mounted has no files.
fn has_folder(path: &Path) -> bool {
    path.parent().is_some_and(Path::is_dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_exists_stops_and_one_that_does_not_lets_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stop");
        let switch = KillSwitch::at(Some(path.clone()));
        assert_eq!(switch.thrown(), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(switch.thrown().map(|thrown| thrown.unreadable), Some(None));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(switch.thrown().is_some(), "a folder of that name counts, too");
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(switch.thrown(), None);
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(switch.thrown().is_some(), "and so does a link to nothing");
    }

    #[test]
    fn what_cannot_be_seen_stops() {
        let folder = tempfile::tempdir().unwrap();
        let no_folder = KillSwitch::at(Some(folder.path().join("not-mounted").join("stop")));
        assert!(no_folder.thrown().is_some_and(|thrown| thrown.unreadable.is_some()));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below_a_file = KillSwitch::at(Some(file.join("stop")));
        assert!(below_a_file.thrown().is_some_and(|thrown| thrown.unreadable.is_some()));
        let too_long = KillSwitch::at(Some(folder.path().join("x".repeat(5_000))));
        assert!(too_long.refusal().is_some_and(|reason| reason.to_string().contains("cannot be seen")));
        assert_eq!(KillSwitch::default().thrown(), None, "without a path there is no switch");
    }
}
