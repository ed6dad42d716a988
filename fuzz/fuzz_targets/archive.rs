//! libFuzzer's way into [`agentkernel_fuzz::archive`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::archive::check(input));
