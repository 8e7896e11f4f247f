//! Everything that needs nothing but this package: one binary, one module for each theme.

mod cluster;
mod folding;
mod gates;
mod planning;
