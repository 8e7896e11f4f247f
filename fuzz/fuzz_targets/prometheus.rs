//! `cargo +nightly fuzz run prometheus`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milvus_rebalancer::foreign::prometheus_answer(bytes));
