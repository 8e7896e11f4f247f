//! Bytes from outside: every file in the corpus of each fuzz target is read, and many broken forms of it, which chance
//! makes from a seed. That finds less than a fuzzer that sees the code, and needs nothing but this test.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use milvus_rebalancer::foreign::READERS;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Broken forms of each file; the environment variable makes them more.
const BROKEN_FORMS: u64 = 300;
const MORE: &str = "MILVUS_REBALANCER_BROKEN_FORMS";

/// What parsers stumble over.
const AWKWARD: [&[u8]; 20] = [
    b"18446744073709551616",
    b"-1",
    b"1e999",
    b"NaN",
    b"+Inf",
    b"null",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"9999-12-31T23:59:59Z",
    b"\x28\xb5\x2f\xfd",
    b"1h99999999999999999999s",
    b"",
];

fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no corpus");
    files
}

/// A place in these bytes, their end included.
fn place(bytes: &[u8], chance: &mut ChaCha8Rng) -> usize {
    chance.random_range(0..=bytes.len())
}

/// Breaks them in one to eight ways.
fn broken(whole: &[u8], chance: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..chance.random_range(1..=8) {
        let (one, other) = (place(&bytes, chance), place(&bytes, chance));
        let (from, to) = (one.min(other), one.max(other));
        match chance.random_range(0..7) {
            0 => bytes.truncate(one),
            1 => drop(bytes.drain(from..to.min(from + 16))),
            2 => {
                let piece = bytes[from..to.min(from + 64)].to_vec();
                drop(bytes.splice(one..one, piece));
            }
            3 | 4 => {
                let awkward = AWKWARD[chance.random_range(0..AWKWARD.len())];
                drop(bytes.splice(from..to.min(from + 8), awkward.iter().copied()));
            }
            5 => bytes.iter_mut().skip(one).take(1).for_each(|byte| *byte ^= 1 << chance.random_range(0..8)),
            _ => bytes.iter_mut().skip(one).take(4).for_each(|byte| *byte = chance.random()),
        }
    }
    bytes
}

/// Something that can be put into a file of the corpus with `printf`.
fn shown(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\x{byte:02x}").unwrap();
        text
    })
}

#[test]
fn whatever_comes_from_outside_is_read_or_refused() {
    let forms = std::env::var(MORE).map_or(BROKEN_FORMS, |number| number.parse().unwrap());
    for (name, read) in READERS {
        for path in corpus(name) {
            let whole = std::fs::read(&path).unwrap();
            read(&whole);
            for seed in 0..forms {
                let bytes = broken(&whole, &mut ChaCha8Rng::seed_from_u64(seed));
                let done = std::panic::catch_unwind(|| read(&bytes));
                assert!(
                    done.is_ok(),
                    "{name} panics, {} with seed {seed}: {}",
                    path.display(),
                    shown(&bytes)
                );
            }
        }
    }
}

#[test]
fn every_target_of_the_fuzzer_has_a_reader_and_every_reader_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let targets = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in READERS {
        assert!(targets.contains(&format!("name = \"{name}\"")), "{name} is no target in fuzz/Cargo.toml");
        let code = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(code.contains("milvus_rebalancer::foreign::"), "{code}");
    }
    assert_eq!(targets.matches("[[bin]]").count(), READERS.len());
}
