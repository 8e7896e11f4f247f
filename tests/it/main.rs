//! Everything that needs nothing but this package: one binary, one module for each theme.

mod cluster;
mod executor;
mod folding;
mod gates;
mod journal;
mod planning;
