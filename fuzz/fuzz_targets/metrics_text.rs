//! `cargo +nightly fuzz run metrics_text`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milvus_rebalancer::foreign::metrics_text(bytes));
