//! Options of Rust's own test harness: the test binaries with a command line of their own accept and ignore them,
//! because `cargo test -- OPTIONS` gives them to every binary.

/// Those that take a value.
const WITH_VALUE: [&str; 7] =
    ["--test-threads", "--skip", "--format", "--color", "--logfile", "--shuffle-seed", "-Z"];

/// Those that take none.
const ALONE: [&str; 11] = [
    "--nocapture",
    "--no-capture",
    "--show-output",
    "--quiet",
    "-q",
    "--exact",
    "--include-ignored",
    "--report-time",
    "--ensure-time",
    "--shuffle",
    "--test",
];

/// Whether it is one that takes a value.
pub fn takes_value(option: &str) -> bool {
    WITH_VALUE.contains(&option)
}

/// Whether it is one that stands alone.
pub fn stands_alone(option: &str) -> bool {
    ALONE.contains(&option)
}
