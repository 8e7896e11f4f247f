//! Tables for people: plain text that fits the terminal, and that stays one row a line when it goes to a file or
//! a pipe.

use std::fmt;
use std::io::{IsTerminal, stdout};

use comfy_table::{CellAlignment, ContentArrangement, presets};

use crate::telemetry::shown;

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// A table that is being filled.
pub struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// With these columns, fitted to the terminal if there is one.
    pub fn new(columns: &[(&str, Align)]) -> Table {
        Table::with_width(columns, terminal_width())
    }

    /// With these columns, and no wider than this.
    pub fn with_width(columns: &[(&str, Align)], width: Option<u16>) -> Table {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING);
        inner.set_header(columns.iter().map(|(title, _)| title.to_uppercase()));
        match width {
            Some(width) => {
                inner.set_content_arrangement(ContentArrangement::Dynamic);
                inner.set_width(width);
            }
            None => {
                inner.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        for (column, (_, align)) in inner.column_iter_mut().zip(columns) {
            column.set_cell_alignment(match align {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            });
            column.set_padding((0, 2));
        }
        Table { inner }
    }

    /// Adds a row. Control characters (names come from a server) are shown, not obeyed.
    pub fn row<T: fmt::Display>(&mut self, cells: impl IntoIterator<Item = T>) {
        let plain = |cell: T| shown(&cell.to_string()).into_owned();
        self.inner.add_row(cells.into_iter().map(plain));
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.inner.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Width of the terminal, if the output goes to one.
fn terminal_width() -> Option<u16> {
    if !stdout().is_terminal() {
        return None;
    }
    terminal_size::terminal_size().map(|(width, _)| width.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [(&str, Align); 2] = [("collection", Align::Left), ("rows", Align::Right)];

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_space() {
        let mut table = Table::with_width(&COLUMNS, None);
        table.row(["books", "1200"]);
        table.row(["a", "7"]);
        assert_eq!(table.to_string(), "COLLECTION  ROWS\nbooks       1200\na              7\n");
    }

    #[test]
    fn a_narrow_terminal_wraps_and_a_pipe_does_not() {
        let long = "a_collection_with_a_name_that_goes_on_and_on_and_on";
        let mut narrow = Table::with_width(&COLUMNS, Some(30));
        narrow.row([long, "1"]);
        assert!(narrow.to_string().lines().all(|line| line.chars().count() <= 30), "{narrow}");
        let mut wide = Table::with_width(&COLUMNS, None);
        wide.row([long, "1"]);
        assert_eq!(wide.to_string().lines().count(), 2);
    }

    #[test]
    fn control_characters_are_shown() {
        let mut table = Table::with_width(&COLUMNS, None);
        table.row(["evil\u{1b}[2J\nname", "1"]);
        let text = table.to_string();
        assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
    }
}
