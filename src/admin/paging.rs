//! Long lists page by page: an answer names where the next page begins, and what came in between does not shift it.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;

/// Entries of a page unless somebody asks for another number.
pub(super) const USUAL: usize = 100;

/// The most that a page holds.
pub(super) const MOST: usize = 1_000;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries, in order.
    pub items: Vec<T>,
    /// What to ask for as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Entries at most, from 1 to 1,000; 100 unless it is given.
    pub limit: Option<usize>,
    /// Go on behind this entry: the `next` of the page before.
    pub after: Option<String>,
}

/// How many entries are wanted.
pub(super) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(USUAL) {
        limit @ 1..=MOST => Ok(limit),
        other => Err(Problem::bad_request(format!("limit: {other} is not between 1 and {MOST}"))),
    }
}

/// Where to begin, as the list counts.
pub(super) fn cursor<T: std::str::FromStr>(after: Option<&str>) -> Result<Option<T>, Problem> {
    let parse = |text: &str| {
        text.parse().map_err(|_| Problem::bad_request(format!("after: {text:?} is no `next` of this list")))
    };
    after.map(parse).transpose()
}

impl<T> Page<T> {
    /// Of entries of which one more was read than is shown; `name` says how an entry is called as a cursor.
    pub(super) fn of(mut items: Vec<T>, limit: usize, name: impl Fn(&T) -> String) -> Page<T> {
        let is_cut = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| is_cut).map(name);
        Page { items, next }
    }
}
