//! Everything that needs nothing but this package: one binary, one module for each theme.

mod cluster;
mod fake_milvus;
mod folding;
mod gates;
mod milvus_client;
mod planning;
mod sim_server;
