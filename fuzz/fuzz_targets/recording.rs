//! `cargo +nightly fuzz run recording`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milvus_rebalancer::foreign::recording(bytes));
