//! The pages of the book: all of them are in its summary, their links lead somewhere, and what they tell an operator to
//! type or to configure is understood.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use clap::Parser;
use milvus_rebalancer::cli::Cli;
use milvus_rebalancer::config::{ConfigError, FileChoice, Overrides, Sources, load};

use super::{path, read, root};

/// Its blocks configure a policy that the reader adds; a test of its own follows it to the letter.
const FOLLOWED_ELSEWHERE: &str = "docs/adding-a-policy.md";

/// Pages outside of the book that operators and contributors read, too.
const BESIDE: [&str; 2] = ["README.md", "CONTRIBUTING.md"];

/// All pages of the book.
fn pages() -> Vec<String> {
    let folder = std::fs::read_dir(path("docs")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<String> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.sort();
    assert!(pages.len() > 8);
    pages
}

/// Targets of the links of a page, outside of blocks of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code {
            continue;
        }
        for (position, _) in line.match_indices("](") {
            if let Some(target) = line[position + 2..].split(')').next() {
                links.push(target.to_owned());
            }
        }
    }
    links
}

/// A heading as the address of its place in the page.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}

fn has_anchor(text: &str, wanted: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).any(|anchor| anchor == wanted)
}

/// A path without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            other => tidy.push(other),
        }
    }
    tidy
}

#[test]
fn every_page_is_in_the_summary() {
    let listed: BTreeSet<String> = links(&read("docs/SUMMARY.md")).into_iter().collect();
    for page in pages() {
        let name = page.trim_start_matches("docs/");
        assert!(name == "SUMMARY.md" || listed.contains(name), "docs/SUMMARY.md has no link to {name}");
    }
    for page in listed {
        let is_there = path("docs").join(&page).exists();
        assert!(is_there, "docs/SUMMARY.md: there is no page {page}");
    }
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages().into_iter().chain(BESIDE.map(str::to_owned)) {
        let text = read(&page);
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (file, place) = link.split_once('#').unwrap_or((&link, ""));
            let target =
                if file.is_empty() { PathBuf::from(&page) } else { Path::new(&page).with_file_name(file) };
            let target = tidy(&target);
            if !root().join(&target).exists() {
                broken.push(format!("{page}: {link}"));
            } else if !place.is_empty() && !has_anchor(&read(&target.display().to_string()), place) {
                broken.push(format!("{page}: {link} (no such heading)"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Blocks of code of this language, each with the line where it begins.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            Some((_, block)) if !line.starts_with("```") => {
                block.push_str(line);
                block.push('\n');
            }
            Some(_) => blocks.extend(open.take()),
            None if line.trim_end() == format!("```{language}") => open = Some((number + 1, String::new())),
            // Of another language: taken and thrown away.
            None if line.starts_with("```") => open = Some((0, String::new())),
            None => {}
        }
    }
    blocks.retain(|(line, _)| *line > 0);
    blocks
}

#[test]
fn every_configuration_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let mut blocks_seen = 0;
    let read_here = |page: &String| page != FOLLOWED_ELSEWHERE;
    for page in pages().into_iter().filter(read_here).chain(BESIDE.map(str::to_owned)) {
        for (line, block) in blocks(&read(&page), "toml") {
            blocks_seen += 1;
            std::fs::write(&file, &block).unwrap();
            let sources = Sources {
                file: FileChoice::Given(file.clone()),
                environment: Vec::new(),
                overrides: Overrides::default(),
            };
            match load(&sources) {
                Ok(_) => {}
                // Files of secrets and certificates are on the operator's machine.
                Err(ConfigError::Invalid { problems }) => {
                    for problem in problems {
                        assert!(problem.message.contains("cannot read"), "{page}:{line}: {problem}\n{block}");
                    }
                }
                Err(error) => panic!("{page}:{line}: {error}\n{block}"),
            }
        }
    }
    assert!(blocks_seen >= 3);
}

/// The words of a command line as a shell splits them: quotes hold together, `#`, `|` and `>` end the command.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), inside) => word.push(inside),
            (None, '"' | '\'') => quote = Some(character),
            (None, '#' | '|' | '>' | ';' | '&') => break,
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, other) => word.push(other),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[test]
fn every_command_is_understood() {
    let mut commands = 0;
    for page in pages().into_iter().chain(BESIDE.map(str::to_owned)) {
        for (line, block) in blocks(&read(&page), "sh") {
            for command in block.replace("\\\n", " ").lines() {
                let mut words = words(command);
                // Variables for this one command come before it.
                words = words
                    .into_iter()
                    .skip_while(|word| word.contains('=') && !word.starts_with('-'))
                    .collect();
                let Some(program) = words.first().filter(|word| word.ends_with("milvus-rebalancer")) else {
                    continue;
                };
                let program = program.clone();
                commands += 1;
                match Cli::try_parse_from(&words) {
                    Ok(_) => {}
                    Err(error) if !error.use_stderr() => {}
                    Err(error) => panic!("{page}:{line}: {program}: {error}"),
                }
            }
        }
    }
    assert!(commands >= 10, "{commands} commands");
}
