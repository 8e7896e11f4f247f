//! What one move is worth: the scene of tests/real/hot_segment.rs on a real cluster, played and measured in both modes
//! that act. `cargo bench --bench hot_segment` prints a table and a line of JSON for each; needs root and control groups
//! for the small nodes, and twelve quiet minutes. The figures are in docs/signals.md.
#![allow(dead_code, unused_imports, reason = "the tests that these files hold are not run here")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "as in tests: what fails here is to be seen")]

#[path = "../tests/real/daemon.rs"]
mod daemon;
#[path = "../tests/real/hot_segment.rs"]
mod hot_segment;
#[path = "../tests/real/lab.rs"]
mod lab;

fn main() {
    for (mode, auto_balance) in [("act", false), ("within", true)] {
        let mut scene = hot_segment::Scene::start(auto_balance);
        let measured = hot_segment::play(&mut scene, hot_segment::OPTIONS, mode);
        measured.tell(&format!("{mode}, autoBalance {}", if auto_balance { "on" } else { "off" }));
        measured.check();
    }
}
