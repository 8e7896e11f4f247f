//! The tests that need nothing but this package: one binary, one module for each theme.

#![allow(clippy::unwrap_used, clippy::expect_used)] // in tests a panic is the answer

mod admin;
mod architecture;
mod care;
mod cli;
mod cluster;
mod config;
mod controls;
mod demo;
mod directives;
mod durability;
mod executor;
mod fake_milvus;
mod folding;
mod gates;
mod guard;
mod hot_segment;
mod incremental;
mod journal;
mod lease;
mod management;
mod memory_over_restarts;
mod milvus_client;
mod milvus_observer;
mod net_zero;
mod operations_doc;
mod orders;
mod planning;
mod scale;
mod service;
mod shipping;
mod signals;
mod sim_golden;
mod sim_http;
mod sim_model;
mod sim_server;
mod situation;
mod system;
mod systemd_unit;
mod waves;
mod windows;
