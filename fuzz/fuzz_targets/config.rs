//! libFuzzer's way into [`agentkernel_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::config::check(input));
