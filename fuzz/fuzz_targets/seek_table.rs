//! libFuzzer around [`fuzz::seek_table`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::seek_table(data);
});
