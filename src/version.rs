//! Which program this is: its version, the commit it was built from, and the versions of Milvus that it knows.

use std::sync::LazyLock;

use crate::sim::profile::ALL_LINES;

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from: told by the build's environment or by git, else "unknown". Builds for
/// development say "unknown" too, because they would be made anew with every commit.
pub const COMMIT: &str = env!("MILVUS_REBALANCER_BUILD_COMMIT");

/// What `--version` prints after the name of the program.
pub fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        let lines: Vec<String> = ALL_LINES.iter().map(ToString::to_string).collect();
        format!("{VERSION} (commit {COMMIT})\nMilvus profiles: {}", lines.join(", "))
    });
    &LONG
}
