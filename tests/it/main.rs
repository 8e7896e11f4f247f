//! The tests that need nothing but this package, in one binary.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in tests a panic is the answer

mod architecture;
mod cli;
mod config;
