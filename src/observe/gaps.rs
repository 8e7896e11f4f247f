//! What could not be read, with its cause in one line.

use std::error::Error;

use super::observation::{Gap, GapSubject};

/// A gap for an error.
pub(super) fn gap(subject: GapSubject, error: &dyn Error) -> Gap {
    Gap { subject, cause: with_causes(error) }
}

/// An error and what caused it, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
