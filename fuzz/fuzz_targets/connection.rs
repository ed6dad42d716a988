//! libFuzzer's way into [`agentkernel_fuzz::connection`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::connection::check(input));
