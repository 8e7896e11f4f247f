//! `cargo +nightly fuzz run system_info`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milvus_rebalancer::foreign::system_info(bytes));
