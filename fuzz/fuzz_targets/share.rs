//! libFuzzer's way into [`agentkernel_fuzz::share`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| agentkernel_fuzz::share::check(input));
