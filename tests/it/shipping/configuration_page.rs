//! docs/configuration.md is made from config/default.toml, which a test holds to the defaults in the code.

use super::{is_made_from_code, read};

const HEAD: &str = "\
# Configuration

Built-in defaults stand under the file, the file under the environment, the environment under flags. The file is
`/etc/milvus-rebalancer/config.toml`, or what `--config` names; it needs only what differs. This page is made from
`config/default.toml`; a test fails when it differs.

```sh
milvus-rebalancer check-config
milvus-rebalancer check-config --show
```

The first names every problem at once; the second also prints what is in force and where it was set. An environment
variable is `MILVUS_REBALANCER__`, the path with `__` between its parts, in capitals:
`MILVUS_REBALANCER__POLL__INTERVAL=1m` is `poll.interval`. A limit of 0 is no limit.

Which sections a running daemon takes over is in [Deployment](deployment.md#systemd).
";

/// A cell of a table: one line, and no bar of its own.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// The page, section by section.
fn page(toml: &str) -> String {
    let mut page = HEAD.to_owned();
    let mut why: Vec<&str> = Vec::new();
    let mut section = "";
    let mut has_table = false;
    for line in toml.lines() {
        let commented = line.strip_prefix("# ");
        let is_option = |text: &str| {
            text.split_once(" = ").is_some_and(|(key, _)| {
                !key.is_empty()
                    && key
                        .chars()
                        .all(|character| character.is_ascii_alphanumeric() || "_.\"".contains(character))
            })
        };
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(|bracket| bracket == '[' || bracket == ']');
            page.push_str(&format!("\n## {section}\n"));
            if !why.is_empty() {
                page.push_str(&format!("\n{}\n", why.join(" ")));
            }
            (has_table, why) = (false, Vec::new());
        } else if is_option(commented.unwrap_or(line)) {
            let (key, value) = commented.unwrap_or(line).split_once(" = ").unwrap_or_default();
            if !has_table {
                if section.is_empty() {
                    page.push_str("\n## Everywhere\n");
                }
                page.push_str("\n| option | default | why |\n|---|---|---|\n");
                has_table = true;
            }
            let default = match commented {
                Some(_) => format!("not set, for example `{}`", cell(value)),
                None => format!("`{}`", cell(value)),
            };
            page.push_str(&format!("| `{key}` | {default} | {} |\n", cell(&why.join(" "))));
            why.clear();
        } else if line.is_empty() {
            why.clear();
        } else {
            why.push(commented.unwrap_or(line).trim_start_matches('#').trim());
        }
    }
    page
}

#[test]
fn it_lists_every_option() {
    is_made_from_code("docs/configuration.md", &page(&read("config/default.toml")));
}
