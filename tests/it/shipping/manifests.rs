//! The manifests for Kubernetes, checked by a script that needs packages for Python.

use std::process::Command;

use super::{path, run};
use crate::system;

/// What the script needs, pinned.
const PACKAGES: [&str; 2] = ["kubernetes-validate==1.37.0", "PyYAML"];

#[test]
fn kubernetes_understands_the_manifests_and_they_keep_their_promises() {
    if !system::runs("python3 with venv, and a package index") {
        return;
    }
    let tools = path("target/tools/kubernetes");
    if !tools.join("done").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&tools));
        run(Command::new(tools.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES));
        std::fs::write(tools.join("done"), "").unwrap();
    }
    let script = path("tests/shipping/manifests.py");
    let checked =
        run(Command::new(tools.join("bin/python")).arg(script).arg(env!("CARGO_BIN_EXE_milvus-rebalancer")));
    assert!(checked.contains("the manifests are as they should be"), "{checked}");
}
