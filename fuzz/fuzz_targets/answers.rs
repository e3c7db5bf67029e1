//! libFuzzer around [`fuzz::answers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::answers(data);
});
