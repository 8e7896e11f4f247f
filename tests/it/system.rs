//! Tests that need more than this package: rights over the machine. They run where the environment says that they
//! must, and then fail where they cannot.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Set to 1 by .ci/run.
const SWITCH: &str = "MILVUS_REBALANCER_SYSTEM_TESTS";

/// Whether such a test runs here; says so when it does not.
pub fn runs(needs: &str) -> bool {
    let runs = std::env::var(SWITCH).is_ok_and(|value| value == "1");
    if !runs {
        println!("skipped: needs {needs} ({SWITCH}=1)");
    }
    runs
}

/// A file system of its own, so small that it fills up at once; gone with the test.
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Needs root.
    pub fn mount(bytes: u64) -> SmallDisk {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "root may mount: {}", String::from_utf8_lossy(&output.stderr));
        SmallDisk { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no room for anything, until the file is removed.
    pub fn fill(folder: &Path) -> PathBuf {
        use std::io::Write;
        let path = folder.join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        // Page by page, or the last ones would stay free.
        let error = loop {
            if let Err(error) = file.write_all(&[0; 4_096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.folder.path()).status().unwrap();
        assert!(status.success() || std::thread::panicking());
    }
}
