//! docs/journal.md names every table and column that there is, and none that there is not; its queries work.

use std::collections::BTreeMap;

use super::open;

const TEXT: &str = include_str!("../../../docs/journal.md");

/// Columns by table, as the headings and the first cells of the tables under them say.
fn documented() -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in TEXT.lines() {
        if line.starts_with('#') {
            let name = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`'));
            current = name.map(|name| tables.entry(name.to_owned()).or_default());
        } else if let Some(columns) = &mut current
            && let Some((column, meaning)) = line.strip_prefix("| `").and_then(|rest| rest.split_once("` |"))
        {
            assert!(meaning.trim_matches([' ', '|']).len() > 1 || column == "id", "{line}");
            columns.push(column.to_owned());
        }
    }
    tables
}

fn existing(client: &rusqlite::Connection) -> BTreeMap<String, Vec<String>> {
    let query = "SELECT tables.name, columns.name
                 FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
                 WHERE tables.type = 'table' AND tables.name NOT LIKE 'sqlite_%'
                 ORDER BY tables.name, columns.cid";
    let mut statement = client.prepare(query).unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for (table, column) in rows.map(Result::unwrap) {
        let columns: &mut Vec<String> = tables.entry(table).or_default();
        columns.push(column);
    }
    tables
}

#[test]
fn every_table_and_column_is_documented_and_every_example_works() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.db");
    let _journal = open(&path).unwrap();
    let client = rusqlite::Connection::open(&path).unwrap();

    let (documented, mut existing) = (documented(), existing(&client));
    // A column that was added later stands last in the file, not in the text.
    for (table, columns) in &mut existing {
        columns.sort();
        let mut named = documented.get(table).unwrap_or_else(|| panic!("{table} is not documented")).clone();
        named.sort();
        assert_eq!(named, *columns, "{table}");
    }
    assert!(documented.keys().eq(existing.keys()), "tables that do not exist: {documented:?}");

    let examples: Vec<&str> =
        TEXT.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 5);
    for example in examples {
        let mut statement = client.prepare(example).unwrap_or_else(|error| panic!("{error}: {example}"));
        let mut rows = statement.query([]).unwrap();
        rows.next().unwrap();
    }
}
