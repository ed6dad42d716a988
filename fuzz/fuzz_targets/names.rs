//! libFuzzer's way into [`agentkernel_fuzz::names`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::names::check(input));
