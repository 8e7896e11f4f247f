//! config/default.toml lists every option, and says the truth.

use super::*;

const TEXT: &str = include_str!("../../../config/default.toml");

/// Every option of the defaults: (section, key).
fn options(value: &serde_json::Value, section: &str, found: &mut Vec<(String, String)>) {
    for (key, child) in value.as_object().unwrap() {
        let path = if section.is_empty() { key.clone() } else { format!("{section}.{key}") };
        match child {
            serde_json::Value::Object(_) => options(child, &path, found),
            _ => found.push((section.to_owned(), key.clone())),
        }
    }
}

#[test]
fn it_says_what_the_defaults_are() {
    let loaded = loaded(TEXT, &[]).unwrap();
    assert_eq!(json(&loaded.config), json(&Config::default()));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn it_lists_every_option_in_its_section_after_a_line_of_why() {
    let mut all = Vec::new();
    options(&json(&Config::default()), "", &mut all);
    let mut section = "";
    let mut previous = "";
    for line in TEXT.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let option = line.trim_start_matches("# ").split_once(" = ").map(|(key, _)| key);
        let position = all.iter().position(|(its, key)| its == section && Some(key.as_str()) == option);
        if let Some(position) = position {
            let explained = previous.starts_with("# ") && previous.len() > "# why".len();
            assert!(explained, "{section}.{} has no line of why before it", all[position].1);
            all.remove(position);
        }
        previous = line;
    }
    assert!(all.is_empty(), "config/default.toml lacks (section, option): {all:?}");
}

/// Their default depends on where the program runs.
const DEPENDING: [&str; 1] = ["/journal/path"];

#[test]
fn options_that_are_commented_out_have_no_default() {
    let defaults = json(&Config::default());
    let mut section = "";
    for line in TEXT.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let Some((key, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) else {
            continue;
        };
        let pointer = format!("/{}/{key}", section.replace('.', "/"));
        if let Some(value) = defaults.pointer(&pointer).filter(|_| !DEPENDING.contains(&pointer.as_str())) {
            assert!(value.is_null(), "{section}.{key} is commented out but has the default {value}");
        }
    }
}
