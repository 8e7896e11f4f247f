//! The tests that need nothing but this package: one binary, one module for each theme.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in tests a panic is the answer

mod architecture;
mod cli;
mod cluster;
mod config;
mod demo;
mod executor;
mod fake_milvus;
mod folding;
mod gates;
mod guard;
mod journal;
mod milvus_client;
mod milvus_observer;
mod planning;
mod scale;
mod sim_golden;
mod sim_model;
mod sim_server;
mod waves;
