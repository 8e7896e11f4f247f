//! What policies tell people about their own configuration: it is no reason for anything, but probably not meant.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "remark")]
pub enum Remark {
    /// A pattern means nothing that is there.
    NoMatch {
        /// The option that holds it.
        option: String,
        /// The pattern.
        pattern: String,
    },
    /// More is named than is done at once.
    TooMany {
        /// The option.
        option: String,
        /// So many are named.
        found: usize,
        /// So many are looked at, by id.
        limit: usize,
    },
}

impl Remark {
    /// That this pattern of an option means nothing that is there.
    pub fn no_match(option: &str, pattern: &Pattern) -> Remark {
        Remark::NoMatch { option: option.to_owned(), pattern: pattern.to_string() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::NoMatch { option, pattern } => write!(
                f,
                "{option}: {pattern:?} matches nothing that is there; a typing error, or something that is gone for good?"
            ),
            Remark::TooMany { option, found, limit } => {
                write!(f, "{option} names {found}, and the first {limit} by id are looked at")
            }
        }
    }
}
