//! `cargo +nightly fuzz run admin_request`

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| milvus_rebalancer::foreign::admin_request(bytes));
