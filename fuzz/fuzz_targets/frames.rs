//! libFuzzer's way into [`agentkernel_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::frames::check(input));
