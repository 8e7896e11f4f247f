//! Compiles `proto/` into the Milvus client, for the simulated Milvus the server, and the etcd client. protox reads the
//! files, so nobody needs an installed protoc. Also notes the commit, for `--version`.

use std::error::Error;
use std::process::Command;

/// Tells the commit where there is no git: packages are built from archives.
const COMMIT_VARIABLE: &str = "MILVUS_REBALANCER_COMMIT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-env-changed={COMMIT_VARIABLE}");
    println!("cargo:rustc-env=MILVUS_REBALANCER_BUILD_COMMIT={}", commit());
    let files = protox::compile(["milvus.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // Maps that are read in the same order on every run.
        .btree_map(".")
        // A call that a server does not define answers "unimplemented", as old versions of Milvus do.
        .generate_default_stubs(true)
        .include_file("milvus_wire.rs")
        .compile_fds(files)?;
    let files = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).include_file("etcd_wire.rs").compile_fds(files)?;
    Ok(())
}

/// The commit of this tree. Only optimised builds ask git: whoever develops would otherwise build everything anew
/// after each commit.
fn commit() -> String {
    if let Ok(commit) = std::env::var(COMMIT_VARIABLE)
        && !commit.trim().is_empty()
    {
        return commit.trim().to_owned();
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return "unknown".to_owned();
    }
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    // What moves when HEAD does; in a worktree it is not under this folder. A file that is missing would be
    // looked for, and everything built, each time.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--path-format=absolute", "--git-path", name]);
        if let Some(path) = path.filter(|path| std::path::Path::new(path).exists()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    commit
}

/// What git answers, if there is a git and a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let answer = String::from_utf8(output.stdout).ok()?;
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty())
}
