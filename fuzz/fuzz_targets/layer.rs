//! libFuzzer's way into [`agentkernel_fuzz::layer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::layer::check(input));
