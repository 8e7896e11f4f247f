//! Tests that need nothing but this package.

mod executor;
mod journal;
