//! Colour, where the output goes to a terminal that wants it; plain text everywhere else.

use std::fmt::Display;
use std::io::{IsTerminal, stdout};

use anstyle::{AnsiColor, Style};

/// Whether to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Colours.
    Colored,
    /// None.
    Plain,
}

impl Paint {
    /// As standard output wants it.
    pub fn for_stdout() -> Paint {
        // What NO_COLOR asks for: https://no-color.org
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if stdout().is_terminal() && !no_color { Paint::Colored } else { Paint::Plain }
    }

    /// What went well.
    pub fn good(self, text: impl Display) -> String {
        self.styled(AnsiColor::Green.on_default().bold(), text)
    }

    /// What wants attention.
    pub fn bad(self, text: impl Display) -> String {
        self.styled(AnsiColor::Red.on_default().bold(), text)
    }

    /// What wants a look.
    pub fn warn(self, text: impl Display) -> String {
        self.styled(AnsiColor::Yellow.on_default(), text)
    }

    /// Headings.
    pub fn bold(self, text: impl Display) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// What can be passed over.
    pub fn dim(self, text: impl Display) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    fn styled(self, style: Style, text: impl Display) -> String {
        match self {
            Paint::Colored => format!("{style}{text}{style:#}"),
            Paint::Plain => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_has_no_codes_and_colour_is_switched_off_again() {
        assert_eq!(Paint::Plain.bad("x"), "x");
        let painted = Paint::Colored.good("x");
        assert!(painted.starts_with('\u{1b}') && painted.ends_with("\u{1b}[0m"), "{painted:?}");
    }
}
