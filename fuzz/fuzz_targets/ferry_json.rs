//! libFuzzer around [`fuzz::ferry_json`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::ferry_json(data);
});
