//! `docs/adding-a-policy.md` is followed to the letter: its blocks are put into a copy of the repository where it says that
//! they belong, and the copy is built and its test run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::system::runs;

const PAGE: &str = include_str!("../../docs/adding-a-policy.md");

/// One instruction of the page, with the block that follows it.
#[derive(Debug)]
struct Step {
    file: String,
    place: Place,
    block: String,
}

/// Where a block belongs.
#[derive(Debug)]
enum Place {
    NewFile,
    After(String),
    Before(String),
}

/// What stands between backquotes in a line, in order.
fn quoted(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The instructions of the page, in order. A line that begins as one and is none is a mistake of the page.
fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let is_new = line.starts_with("New file `");
        if !is_new && !line.starts_with("In `") {
            continue;
        }
        let names = quoted(line);
        let place = match (&names[..], is_new) {
            ([_], true) => Place::NewFile,
            ([_, anchor], false) if line.contains("`, after `") => Place::After(anchor.clone()),
            ([_, anchor], false) if line.contains("`, before `") => Place::Before(anchor.clone()),
            _ => panic!("neither a new file nor a place in one: {line}"),
        };
        assert_eq!(lines.next(), Some(""), "a block follows: {line}");
        assert!(lines.next().is_some_and(|fence| fence.starts_with("```")), "a block follows: {line}");
        let mut block = String::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            block.push_str(line);
            block.push('\n');
        }
        steps.push(Step { file: names[0].clone(), place, block });
    }
    steps
}

/// The text of a file with a step taken in it.
fn take(step: &Step, text: Option<String>) -> String {
    let (anchor, after) = match &step.place {
        Place::NewFile => {
            assert!(text.is_none(), "{} is there already", step.file);
            return step.block.clone();
        }
        Place::After(anchor) => (anchor, true),
        Place::Before(anchor) => (anchor, false),
    };
    let text = text.unwrap_or_else(|| panic!("{} is not there", step.file));
    let mut answer = String::new();
    let mut found = 0;
    for line in text.lines() {
        let is_anchor = line == anchor;
        found += usize::from(is_anchor);
        if is_anchor && !after {
            answer.push_str(&step.block);
        }
        answer.push_str(line);
        answer.push('\n');
        if is_anchor && after {
            answer.push_str(&step.block);
        }
    }
    assert_eq!(found, 1, "{} should have the line {anchor:?} once: correct the page", step.file);
    answer
}

/// A copy of what the package is built from.
fn copy_of_the_package(to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A file that was deleted and not committed yet is listed and not there.
        let Ok(content) = fs::read(root.join(name)) else { continue };
        let target = to.join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // What has not changed is not built again.
        if fs::read(&target).is_ok_and(|there| there == content) {
            continue;
        }
        fs::write(target, content).unwrap();
    }
}

#[test]
fn the_steps_of_the_page_fit_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let steps = steps();
    assert_eq!(steps.len(), 7, "{steps:?}");
    let mut texts = std::collections::BTreeMap::new();
    for step in &steps {
        let text = texts.remove(&step.file).or_else(|| fs::read_to_string(root.join(&step.file)).ok());
        texts.insert(step.file.clone(), take(step, text));
    }
    assert_eq!(
        texts.keys().collect::<Vec<_>>(),
        ["config/default.toml", "src/policy/mod.rs", "src/policy/small.rs"]
    );
}

#[test]
fn whoever_follows_the_page_has_a_policy_that_works() {
    if !runs("a minute to build a copy of the package") {
        return;
    }
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let copy = tmp.join("adding-a-policy");
    for step in steps().iter().filter(|step| matches!(step.place, Place::NewFile)) {
        fs::remove_file(copy.join(&step.file)).ok();
    }
    copy_of_the_package(&copy);
    for step in steps() {
        let path = copy.join(&step.file);
        fs::write(&path, take(&step, fs::read_to_string(&path).ok())).unwrap();
    }
    let output = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--offline", "--lib", "--", "policy::small"])
        .current_dir(&copy)
        // Beside the tests' own build, whose dependencies are the same.
        .env("CARGO_TARGET_DIR", tmp.parent().unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("small_segments_are_counted_on_every_node ... ok"), "{said}");
}
