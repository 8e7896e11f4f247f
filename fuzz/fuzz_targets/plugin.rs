//! `cargo +nightly fuzz run plugin`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milvus_rebalancer::foreign::plugin_answer(bytes));
