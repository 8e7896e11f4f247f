//! Rules that the compiler does not know: what the pure half may not mention, what a file looks like, what must
//! not be in the repository at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The pure half: the same input gives the same bytes out.
const PURE: [&str; 4] = ["model", "policy", "plan", "gate"];

/// What would let the world into the pure half, and why not.
const NOT_IN_PURE: [(&str, &str); 16] = [
    ("async ", "waiting is for the half that does I/O"),
    (".await", "waiting is for the half that does I/O"),
    ("tokio", "the pure half has no runtime"),
    ("tonic::", "wire types end in the client"),
    ("reqwest", "the pure half has no network"),
    ("std::fs", "the pure half reads no files"),
    ("std::net", "the pure half has no network"),
    ("std::env", "everything it may look at is in its input"),
    ("std::thread", "the order of threads is no input"),
    ("::now(", "time is an input"),
    ("Instant", "time is an input"),
    ("SystemTime", "time is an input"),
    ("rand::", "the same input gives the same output"),
    ("HashMap", "its order differs from run to run"),
    ("HashSet", "its order differs from run to run"),
    ("static mut", "state is an input"),
];

/// Longer files must say why in their first line, with these words.
const LONGEST_FILE: usize = 500;
const EXCUSE: &str = "500 lines";

/// `main.rs` only starts the library.
const LONGEST_MAIN: usize = 20;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under a folder of the package, with their text.
fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no Rust files under {folder}");
    found
}

/// A line without its comment. A `//` in a text ends the line too, which only makes the check laxer there.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or("")
}

#[test]
fn the_pure_half_mentions_nothing_impure() {
    let mut offences = Vec::new();
    for folder in PURE {
        for (path, text) in rust_files(&format!("src/{folder}")) {
            for (number, line) in text.lines().enumerate() {
                for (word, why) in NOT_IN_PURE {
                    if code(line).contains(word) {
                        offences.push(format!("{}:{}: {word:?}: {why}", path.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_file_opens_by_saying_why_it_exists() {
    for (path, text) in rust_files("src").into_iter().chain(rust_files("tests")) {
        assert!(text.starts_with("//! "), "{} does not open with `//! ` and a sentence", path.display());
    }
}

#[test]
fn files_stay_readable_at_one_sitting() {
    for (path, text) in rust_files("src") {
        let lines = text.lines().count();
        let excused = text.lines().next().is_some_and(|first| first.contains(EXCUSE));
        assert!(
            lines <= LONGEST_FILE || excused,
            "{} has {lines} lines; split it, or say in its first line why it has more than {EXCUSE}",
            path.display()
        );
    }
    let main = fs::read_to_string(root().join("src/main.rs")).unwrap();
    assert!(main.lines().count() < LONGEST_MAIN, "main.rs only starts the library");
}

/// Paths of one machine, and hosts that only a package manager should know. In two parts, so that this file
/// does not contain them.
const FOREIGN: [(&str, &str); 9] = [
    ("/wo", "rk/"),
    ("/ho", "me/"),
    ("/ro", "ot/"),
    ("/Us", "ers/"),
    ("/tm", "p/"),
    ("../sha", "red"),
    ("crates", ".io"),
    ("py", "pi.org"),
    ("files.python", "hosted"),
];

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    let listed = Command::new("git").arg("ls-files").current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let mut offences = Vec::new();
    for name in names.lines().filter(|name| !name.ends_with("Cargo.lock")) {
        // A file that was deleted and not committed yet is listed and not there.
        let Ok(content) = fs::read(root().join(name)) else { continue };
        let text = String::from_utf8_lossy(&content);
        for (number, line) in text.lines().enumerate() {
            for (start, end) in FOREIGN {
                if mentions(line, &format!("{start}{end}")) {
                    offences.push(format!("{name}:{}: {start}{end}", number + 1));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// Whether a line has the text as a path of its own, not as a part of a longer one (`a/work/b`).
fn mentions(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !text.starts_with('/') || before.is_none_or(|character| !character.is_ascii_alphanumeric())
    })
}
