//! libFuzzer around [`fuzz::yaml_tree`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzz::yaml_tree(data);
});
