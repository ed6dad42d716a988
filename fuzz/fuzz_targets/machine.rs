//! libFuzzer's way into [`agentkernel_fuzz::machine`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::machine::check(input));
