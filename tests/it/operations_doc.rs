//! The operator's guide knows every reason and every doubt: a code that nobody explains helps nobody.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const GUIDE: &str = "docs/operations.md";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// All codes that the function `code` of a source file can answer with, in its order.
fn codes(source: &str) -> Vec<String> {
    let text = read(source);
    let begin = text.find("fn code(&self)").unwrap_or_else(|| panic!("{source} has no fn code(&self)"));
    let body = &text[begin..];
    let body = &body[..body.find("\n    }\n").expect("the function ends")];
    let literals: Vec<String> = body.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(literals.len() > 5, "{source}: fn code is not read as it is written");
    literals
}

/// The codes of the table under a heading, each with its other cells.
fn rows(heading: &str) -> Vec<(String, Vec<String>)> {
    let guide = read(GUIDE);
    let (_, section) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<String> =
            line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        (cells[0].trim_matches('`').to_owned(), cells[1..].to_vec())
    })
    .collect()
}

/// Every code has exactly one row with both cells filled in.
fn check(heading: &str, source: &str) {
    let rows = rows(heading);
    let mut known = BTreeSet::new();
    for (code, cells) in &rows {
        assert!(known.insert(code.as_str()), "{GUIDE}: `{code}` has two rows under \"{heading}\"");
        let is_whole = cells.len() == 2 && cells.iter().all(|cell| !cell.is_empty());
        assert!(is_whole, "{GUIDE}: the row of `{code}` under \"{heading}\" needs a meaning and what to do");
    }
    let codes = codes(source);
    let missing: Vec<String> = codes
        .iter()
        .filter(|code| !known.contains(code.as_str()))
        .map(|code| format!("| `{code}` | What it means for an operator. | What to do about it. |"))
        .collect();
    assert!(
        missing.is_empty(),
        "{source} has codes that {GUIDE} does not explain. Add to the table under \"## {heading}\", at the place that \
         they have in {source}, these lines with your own words in them:\n{}",
        missing.join("\n")
    );
    let gone: Vec<&str> = known.into_iter().filter(|code| !codes.iter().any(|other| other == code)).collect();
    assert!(
        gone.is_empty(),
        "{GUIDE} explains codes that {source} does not have; remove the rows of {gone:?}"
    );
}

#[test]
fn every_reason_is_explained_to_operators() {
    check("Reasons", "src/reason.rs");
}

#[test]
fn every_doubt_is_explained_to_operators() {
    check("Doubts", "src/model/doubt.rs");
}
