//! Configuration: built-in defaults < TOML file < environment < flags; raw text, then types, then checks that
//! name every problem at once.

pub mod duration;
