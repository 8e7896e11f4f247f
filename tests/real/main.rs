//! The tests on a real Milvus: they install it themselves, start it with several query nodes, and run the program
//! against it as its users do. `MILVUS_LAB=off` skips them.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in tests a panic is the answer

mod admin;
mod by_hand;
mod call_recorder;
mod contract;
mod daemon;
mod hot_segment;
mod killing;
mod lab;
mod leaders;
mod levelling;
mod plugin_example;
mod policies;
mod stopping;
mod trouble;
mod within;
